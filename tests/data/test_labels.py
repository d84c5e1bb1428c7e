"""Which output of the network stands for which label of the data."""

import random

import pytest
from torchvision.models import SqueezeNet1_1_Weights

from atlas.data import match_labels

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
        ("n01440764", None),
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


def test_as_many_labels_as_outputs_go_by_order_unless_names_contradict():
    assert match_labels(["Katze", "Hund"], ["cat", "dog"]) == (0, 1)
    assert match_labels(["Katze", "dog"], ["cat", "dog"]) == (0, 1)
    assert match_labels(["dog", "Katze"], ["cat", "dog"]) == (1, None)
    assert match_labels(["Katze", "Hund", "Maus"], ["cat", "dog"]) == (None, None, None)
    assert match_labels(["crane", "x", "crane"], ["crane", "y", "crane"]) == (0, 1, 2)


def test_numbers_are_numbers_of_outputs():
    assert match_labels(None, ["a", "b", "c"]) == (0, 1, 2)
    assert match_labels(["0", "1", "10", "2"], [f"c{i}" for i in range(11)]) == (0, 1, 10, 2)
    assert match_labels(["1", "10", "2"], ["a", "b", "c"]) == (1, None, 2)
    assert match_labels(["7", "9"], ["9", "8", "7"]) == (2, 0)


def test_outputs_without_names():
    assert match_labels(["a", "b"], ["", ""]) == (0, 1)
    assert match_labels(["a"], ["", ""]) == (None,)
    assert match_labels([], ["a"]) == ()
