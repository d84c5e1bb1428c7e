"""Which output of the network stands for which label of the data."""

import random
import subprocess
import sys

import pytest
from torchvision.models import SqueezeNet1_1_Weights

from atlas.data import imagenet, match_labels
from atlas.data.labels import ambiguous

IMAGENET = SqueezeNet1_1_Weights.IMAGENET1K_V1.meta["categories"]
SYNONYMS = ["tench, Tinca tinca", "goldfish, Carassius auratus", "crane", "drake", "crane"]


def names(data, model):
    return [None if output is None else model[output] for output in match_labels(data, model)]


def test_the_same_names_are_the_same_numbers():
    assert match_labels(IMAGENET, IMAGENET) == tuple(range(1000))


def test_the_order_of_the_data_does_not_matter():
    data = list(IMAGENET)
    random.Random(0).shuffle(data)
    matched = names(data, IMAGENET)
    assert all(found in (name, None) for name, found in zip(data, matched, strict=True))
    # Only the names that ImageNet has twice stay open.
    unmatched = {name.lower() for name, found in zip(data, matched, strict=True) if found is None}
    assert unmatched == {"crane", "maillot", "cardigan"}


@pytest.mark.parametrize(
    ("label", "output"),
    [
        ("Great_White_Shark", "great white shark"),
        ("great-white shark", "great white shark"),
        ("n01484850_great_white_shark", "great white shark"),
        ("n01484850 great white shark", "great white shark"),
        ("tabby, tabby cat", "tabby"),
        ("Tinca tinca, tench", "tench"),
        ("jack_o_lantern", "jack-o'-lantern"),
        ("carpenters kit", "carpenter's kit"),
        ("black-and-tan_coonhound", "black-and-tan coonhound"),
        ("crane bird", "crane bird"),
        ("maillot, tank suit", "maillot tank suit"),
        ("n02012849_crane", "crane bird"),
        ("n03126707_crane", "crane"),
        ("n02113186_Cardigan", "Cardigan"),
        ("n02963159_cardigan", "cardigan"),
        ("n03710721_maillot", "maillot tank suit"),
        ("n03710637_maillot", "maillot"),
        ("crane", None),
        ("maillot", None),
        ("cardigan", None),
        ("Cardigan", None),
        ("unicorn", None),
        ("n01440764", "tench"),
        ("n02012849", "crane bird"),
        ("n02113186", "Cardigan"),
        ("n03126707_crane_bird", "crane"),
        ("n00000001", None),
        ("n00000001_tench", None),
        ("", None),
        ("_", None),
    ],
)
def test_names_of_imagenet(label, output):
    assert names([label, "something else"], IMAGENET) == [output, None]


def test_a_network_with_synonyms():
    assert names(["Carassius_auratus", "tench", "drake"], SYNONYMS) == [
        "goldfish, Carassius auratus",
        "tench, Tinca tinca",
        "drake",
    ]
    assert names(["crane"], SYNONYMS) == [None]


def test_a_name_with_two_outputs_or_two_labels_is_not_matched():
    assert match_labels(["cock"], ["cock, rooster", "gun, cock"]) == (0,)  # first synonym
    assert match_labels(["x, cock"], ["a, cock", "b, cock"]) == (None,)
    assert match_labels(["a cat", "A_Cat", "dog"], ["dog", "a cat"]) == (None, None, 0)


def test_a_name_as_a_whole_comes_before_a_synonym():
    assert match_labels(["missile", "dog"], ["projectile, missile", "missile", "cat"]) == (1, None)


def test_no_two_labels_have_one_output():
    matched = match_labels(["tench", "Tinca tinca", "dog"], ["tench, Tinca tinca", "cat"])
    assert matched == (0, None, None)
    model = ["n01440764 tench", "cat", "dog", "eel"]
    assert match_labels(["n01440764", "tench", "eel"], model) == (0, None, 3)


def test_wordnet_ids_on_both_sides_decide():
    model = ["n02012849 crane", "n03126707 crane", "n01440764"]
    assert match_labels(["n03126707", "n01440764_tench", "n02012849_kranich"], model) == (1, 2, 0)


def test_as_many_labels_as_outputs_are_no_reason_to_match_other_names():
    assert match_labels(["Katze", "Hund"], ["cat", "dog"]) == (None, None)
    assert match_labels(["Katze", "dog"], ["cat", "dog"]) == (None, 1)
    assert match_labels(["dog", "Katze"], ["cat", "dog"]) == (1, None)


def test_a_name_that_both_have_twice_is_matched_at_the_same_place():
    assert match_labels(["crane", "x", "crane"], ["crane", "y", "crane"]) == (0, None, 2)
    assert match_labels(["a", "crane", "crane"], ["crane", "a", "crane"]) == (1, None, None)


def test_a_name_that_only_the_network_has_twice_is_not_matched_even_at_its_place():
    outputs = ["crane", "dog", "crane", "y"]
    assert match_labels(["crane", "dog", "x", "y"], outputs) == (None, 1, None, 3)
    assert match_labels(outputs, ["crane", "dog", "x", "y"]) == (None, 1, None, 3)
    assert ambiguous(["crane", "dog", "x"], outputs) == ["crane"]
    assert ambiguous(["Cat", "tabby", "eel"], ["cat, tabby", "CAT", "eel, eels"]) == ["Cat"]
    assert ambiguous(["maillot", "tench", "crane_bird"], IMAGENET) == ["maillot"]


def test_other_lists_of_imagenet_in_its_order_have_its_ids():
    lemmas = [f"{name}, something else" for name in IMAGENET]
    for place, name in ((134, "crane"), (517, "crane"), (639, "maillot, tank suit")):
        lemmas[place] = name
    assert match_labels(lemmas, IMAGENET) == tuple(range(1000))
    assert match_labels(IMAGENET, lemmas) == tuple(range(1000))
    data = ["n02012849", "n03126707", "n03710721", "n01440764"]
    assert match_labels(data, lemmas) == (134, 517, 639, 0)
    # Ten classes were replaced by others: those are not taken for ImageNet's.
    assert match_labels(["n01440764", "n01443537"], [*["thing"] * 1, *IMAGENET[1:]]) == (None, 1)
    # A head of ImageNet's size in another order is matched by names alone.
    shuffled = list(IMAGENET)
    random.Random(0).shuffle(shuffled)
    assert names(["n01440764", "n02012849"], shuffled) == ["tench", None]


def test_ids_alone_as_names_of_outputs():
    model = list(imagenet.ids())
    assert match_labels(["tench", "crane", "n03126707"], model) == (0, None, 517)
    assert match_labels(["n02102040", "n01440764"], ["tench", "English springer"]) == (1, 0)
    # The id of the machine is not the name of a bird.
    assert match_labels(["n03126707", "n01440764"], ["crane", "tench"]) == (None, 1)
    assert match_labels(["n03126707_crane"], ["n02012849 crane", "x"]) == (None,)


def test_names_are_torchvisions_and_it_is_not_imported_for_them():
    assert list(imagenet.names().values()) == IMAGENET
    code = (
        "import sys; from atlas.data import imagenet; imagenet.names(); "
        "sys.exit('torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_table_of_ids_is_that_of_the_names():
    assert len(set(imagenet.ids())) == 1000
    assert list(imagenet.ids()) == sorted(imagenet.ids())
    known = imagenet.names()
    assert (known["n01440764"], known["n15075141"]) == ("tench", "toilet tissue")
    assert {known[wordnet] for wordnet in imagenet.TWICE} == set(imagenet.TWICE.values())
    assert all(known[wordnet] == name for wordnet, name in imagenet.TWICE.items())
