"""Which output each label of the data is: right, or refused with a line that says what to give."""

import json
import re
from dataclasses import dataclass

import pytest
from torchvision.models import SqueezeNet1_1_Weights

from atlas.data import match_outputs, output_names
from atlas.data.imagenet import ids
from atlas.errors import UserError

IMAGENET = SqueezeNet1_1_Weights.IMAGENET1K_V1.meta["categories"]
IMAGENETTE = (
    *("n01440764", "n02102040", "n02979186", "n03000684", "n03028079"),
    *("n03394916", "n03417042", "n03425413", "n03445777", "n03888257"),
)
IMAGENETTE_OUTPUTS = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)


@dataclass(frozen=True)
class Labels:
    """As much of a source as has its labels."""

    classes: tuple[str, ...] | None = None
    label_numbers: tuple[int, ...] | None = ()


def named(*classes):
    return Labels(classes)


def numbered(numbers):
    return Labels(None, numbers if numbers is None else tuple(numbers))


def match(labels, outputs, names=None, asked="", needed=True):
    return match_outputs(labels, outputs, names, asked, needed=needed)


def refused(*arguments, **options):
    with pytest.raises(UserError) as caught:
        match(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Names and ids


def test_folders_of_ten_wordnet_ids_meet_a_head_of_imagenet():
    found = match(named(*IMAGENETTE), 1000, IMAGENET)
    assert found.outputs == IMAGENETTE_OUTPUTS
    assert found.summary == "10 of 10 met an output of the network, by name or WordNet id"
    assert match(named(*IMAGENETTE), 1000, ids()).outputs == IMAGENETTE_OUTPUTS


def test_what_met_no_output_is_named():
    found = match(named("goldfish", "unicorn", "dragon", "tench"), 1000, IMAGENET)
    assert found.outputs == (1, None, None, 0)
    assert found.summary.startswith("2 of 4 met an output of the network")
    assert found.summary.endswith("; not 'unicorn', 'dragon'")
    many = named("tench", *(f"thing {number}" for number in range(9)))
    assert match(many, 1000, IMAGENET).summary.endswith("'thing 4' and 4 more")


def test_the_same_names_in_another_order():
    assert match(named("ant", "bee", "cat"), 3, ["cat", "ant", "bee"]).outputs == (1, 2, 0)


def test_other_spelling():
    found = match(named("Golden_Retriever", "great-white shark", "TABBY CAT"), 3,
                  ["tabby cat", "golden retriever", "great white shark"])  # fmt: skip
    assert found.outputs == (1, 2, 0)


def test_a_name_that_several_outputs_have_meets_none_and_is_said():
    found = match(named("crane", "dog", "x", "y"), 4, ["crane", "dog", "crane", "y"])
    assert found.outputs == (None, 1, None, 3)
    assert "not 'crane', 'x'; several outputs have the name 'crane': give a file" in found.summary
    assert "several outputs have the name 'crane'" in refused(named("crane"), 2, ["crane"] * 2)


def test_as_many_labels_of_other_names_are_refused():
    for names in (["cat", "dog"], ["Auto", "Schiff"]):
        message = refused(named("Hund", "Katze"), 2, names)
        assert "none of the data's 2 labels ('Hund', 'Katze')" in message
        assert "--set data.labels=FILE" in message
        assert "--set relevance.target=predicted" in message


def test_wordnet_ids_and_a_head_of_a_thousand_outputs_without_names_are_refused():
    message = refused(named(*IMAGENETTE), 1000)
    assert "10 labels ('n01440764'" in message
    assert "--set model.classes=FILE" in message


def test_without_names_order_counts_only_where_both_are_equally_many():
    found = match(named("Hund", "Katze"), 2)
    assert found.outputs == (0, 1)
    assert "2 of 2" in found.summary
    assert "by their order" in found.summary
    for count in (1, 3, 1000):
        assert "--set model.classes=FILE" in refused(named("Hund", "Katze"), count)
    assert match(named("Hund", "Katze"), 2, ["", ""]).outputs == (0, 1)


# Labels that are numbers


def test_folders_of_digits_and_a_head_of_ten():
    digits = named(*"0123456789")
    assert match(digits, 10).outputs == tuple(range(10))
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    assert match(digits, 10, words).outputs == tuple(range(10))
    assert match(digits, 10, list("9876543210")).outputs == tuple(range(9, -1, -1))


def test_folders_of_digits_and_a_head_of_a_thousand_are_refused():
    for names in (None, IMAGENET):
        message = refused(named(*"0123456789"), 1000, names)
        assert "--set data.labels" in message


def test_folders_of_numbers_that_texts_order_in_another_way():
    texts = sorted(str(number) for number in range(11))
    words = [f"c{number}" for number in range(11)]
    assert match(named(*texts), 11, words).outputs == (0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9)
    message = refused(named(*texts), 11)  # it may have been trained on folders in this order
    assert "--set model.classes=FILE" in message
    assert "data.labels='from 0'" in message
    assert match(named(*texts), 11, asked="from 0").outputs == (0, 1, 10, *range(2, 10))
    padded = [f"{number:02}" for number in range(11)]
    assert match(named(*padded), 11).outputs == tuple(range(11))
    flowers = sorted(str(number) for number in range(1, 103))
    assert "'from 1'" in refused(named(*flowers), 102)
    found = match(named(*flowers), 102, asked="from 1").outputs
    assert [found[flowers.index(str(n))] for n in (1, 2, 10, 102)] == [0, 1, 9, 101]


def test_bare_numbers_are_outputs_if_they_begin_and_end_as_outputs_do():
    found = match(numbered(range(10)), 10)
    assert found.outputs == tuple(range(10))
    assert found.summary == "10 of 10 met an output of the network, as numbers"
    assert match(numbered([0, 4, 9]), 10, list("abcdefghij")).outputs == tuple(range(10))


@pytest.mark.parametrize(
    ("numbers", "outputs", "says"),
    [
        (range(1, 11), 10, "numbers 1 to 10, those of the outputs 0 to 9: if label 1 is the first"),
        (range(1, 11), 1000, "numbers 1 to 10, those of the outputs 0 to 999"),
        (range(10), 1000, "numbers 0 to 9, those of the outputs 0 to 999"),
        (range(9), 10, "numbers 0 to 8, those of the outputs 0 to 9"),
        (range(11), 10, "numbers 0 to 10, those of the outputs 0 to 9"),
        (range(1, 10), 10, "numbers 1 to 9, those of the outputs 0 to 9"),
        ([5], 10, "the label is 5, those of the outputs"),
        ([0, 1], 1, "numbers 0 to 1, those of the outputs 0 to 0"),
        (None, 10, "only reading all pictures would show"),
    ],
)
def test_other_bare_numbers_are_asked_about(numbers, outputs, says):
    message = refused(numbered(numbers), outputs)
    assert says in message
    assert "--set data.labels='from " in message


def test_the_recipe_says_what_numbers_mean():
    assert match(numbered(range(1, 11)), 10, asked="from 1").outputs == (None, *range(10))
    assert match(numbered(range(9)), 10, asked="from 0").outputs == tuple(range(10))
    found = match(numbered(None), 10, asked="from 0")
    assert found.outputs == tuple(range(10))
    assert found.summary == "they are taken as numbers from 0; others have no output"
    for numbers, asked, wrong in ((range(11), "from 0", 10), (range(10), "from 1", 0)):
        assert f"the data has the label {wrong}" in refused(numbered(numbers), 10, asked=asked)
    assert "the label 'cat'" in refused(named("0", "cat"), 10, asked="from 0")


# A file


def write(tmp_path, content, name="labels.csv"):
    file = tmp_path / name
    file.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return str(file)


def test_a_file_says_which_output_a_label_is(tmp_path):
    names = ["cat", "dog", "bird"]
    data = named("Hund", "Katze", "Maus", "Vogel")
    by_csv = write(tmp_path, 'label,output\nKatze,cat\n"Hund", dog\nVogel,2\nFisch,bird\n')
    found = match(data, 3, names, by_csv)
    assert found.outputs == (1, 0, None, 2)
    assert found.summary == "3 of 4 met an output of the network, by labels.csv; not 'Maus'"
    by_json = write(tmp_path, {"katze": 0, "Hund": "Dog", "Maus": "cat", "Vogel": 2}, "l.json")
    assert match(data, 3, names, by_json).outputs == (1, 0, 0, 2)  # two labels may be one output
    assert match(data, 3, None, write(tmp_path, {"Hund": 1, "Vogel": 2})).outputs == (
        *(1, None, None, 2),
    )
    numbers = write(tmp_path, {"1": "dog", "7": "cat"})
    assert match(numbered([1, 7, 8]), 3, names, numbers).outputs == (*[None, 1], *[None] * 5, 0)
    assert "not '8'" in match(numbered([1, 7, 8]), 3, names, numbers).summary
    imagenet = write(tmp_path, {"Schleie": "tench", "Hund": "n02102040", "Kranich": "crane bird"})
    assert match(named("Hund", "Kranich", "Schleie"), 1000, IMAGENET, imagenet).outputs == (
        *(217, 134, 0),
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "has no labels"),
        ("Hund,dog,x\n", "expected two columns, label and output, and not 'Hund,dog,x'"),
        ("Hund;dog\n", "expected two columns"),
        ("Hund,wolf\n", "has the output 'wolf', which the network has not"),
        ("Hund,3\n", "has the output '3', which the network has not"),
        ("Hund,dog\nHund,cat\n", "has two outputs for the label 'Hund'"),
        ('{"Hund": 1, "Hund": 0}', "has two outputs for the label 'Hund'"),
        ('{"Hund": -1}', "has the output -1"),
        ('{"Hund": true}', "expected an object that has for each label"),
        ('{"Hund": [1]}', "expected an object that has for each label"),
        ('["Hund"]', "expected an object that has for each label"),
        ('{"Hund": 1', "is not JSON"),
        ("Fisch,dog\n", "none of the data's 2 labels ('Hund', 'Katze') met an output by x.csv"),
    ],
)
def test_what_a_file_cannot_mean_is_one_line(tmp_path, content, says):
    file = write(tmp_path, content, "x.csv")
    assert says in refused(named("Hund", "Katze"), 3, ["cat", "dog", "bird"], file)


def test_a_name_that_is_another_outputs_number_is_refused(tmp_path):
    file = write(tmp_path, "a,1\n")
    assert "is the name of output 0 and the number of" in refused(named("a"), 2, ["1", "2"], file)
    assert match(named("a"), 2, ["1", "2"], write(tmp_path, {"a": 1})).outputs == (1,)
    assert match(named("a"), 2, ["0", "1"], file).outputs == (1,)


def test_a_file_that_is_not_there_and_words_for_numbers(tmp_path):
    assert "'from 0' or 'from 1'" in refused(named("a"), 1, None, str(tmp_path / "none.csv"))
    message = refused(numbered(range(3)), 3, list("abc"), write(tmp_path, "x,a\n"))
    assert "has the label 'x', and the data's labels are numbers" in message
    assert "the data has no labels" in refused(Labels(), 3, None, "from 0")


# Where labels are not needed


def test_data_without_labels():
    found = match(Labels(), 3)
    assert found.outputs == ()
    assert found.summary == ("the data has none, so that relevance starts at the predicted class")
    assert match(Labels(), 3, needed=False).summary == "the data has none"


@pytest.mark.parametrize("labels", [named("a", "b"), numbered(range(1, 4)), numbered(None)])
def test_where_relevance_starts_at_predictions_nothing_is_refused(labels):
    found = match(labels, 3, needed=False)
    assert not any(output is not None for output in found.outputs)
    assert found.summary.startswith("none met an output of the network; the")
    assert "\n" not in found.summary


def test_outputs_have_their_names_or_those_of_their_labels():
    assert output_names(["x", "y"], ["a"], (1,), 2) == ["x", "y"]
    assert output_names(None, ["a", "b"], (1, 0), 3) == ["b", "a", "class 2"]
    assert output_names(None, ["a", "b", "c"], (0, 0, None), 2) == ["class 0", "class 1"]
    assert output_names(None, None, (0, 1), 2) == ["class 0", "class 1"]


def test_lines_have_no_control_characters():
    message = refused(named("\x1b[31mred\nline", "b" * 500), 3, ["x", "y", "z"])
    assert re.fullmatch(r"[ -~]+", message)
    assert len(message) < 400
