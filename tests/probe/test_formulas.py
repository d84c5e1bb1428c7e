import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from atlas.probe import formulas

CLASSES = [f"{c} {s}" for c in ("red", "blue", "green") for s in ("star", "disc", "cross")]
KINGDOM = {"reddish": frozenset({0, 1, 2}), "pointed": frozenset({0, 3, 6, 2, 5, 8})}


def pictures(count=900):
    return np.arange(count) % len(CLASSES)


def test_labels_are_classes_superclasses_and_the_words_they_share():
    known = formulas.labels(CLASSES, pictures().tolist())
    assert set(known.names) == {*CLASSES, "red", "blue", "green", "star", "disc", "cross"}
    red = known.shown[known.names.index("red")]
    assert (red == (pictures() < 3)).all()
    known = formulas.labels(
        CLASSES, pictures().tolist(), {"starry": frozenset({0, 3, 6}), "round": frozenset({1, 4})}
    )
    # A superclass that is the same as a word stands for it.
    assert set(known.names) == {
        *CLASSES, "red", "blue", "green", "starry", "round", "disc", "cross",
    }  # fmt: skip


def test_of_superclasses_with_the_same_pictures_the_narrowest_is_kept():
    above = {"entity": range(4), "animal": range(3), "dog": (0, 1), "thing": range(4)}
    known = formulas.labels(
        ["pug", "beagle", "tabby", "jeep"],
        [0] * 20 + [1] * 20 + [3] * 60,
        {name: frozenset(below) for name, below in above.items()},
    )
    assert known.names == ["pug", "beagle", "jeep", "dog"]


def test_a_class_above_others_and_a_class_with_the_name_of_a_superclass():
    labelled = np.repeat(np.arange(4), 25).tolist()
    classes = ["dog", "pug", "crane", "heron"]
    above = {"dog": frozenset({0, 1}), "crane": frozenset({3, 1})}
    known = formulas.labels(classes, labelled, above)
    share = dict(zip(known.names, known.shown.sum(1).tolist(), strict=True))
    assert share == {"dog": 50, "pug": 25, "crane": 25, "heron": 25, "crane (superclass)": 50}


def test_rare_labels_and_pictures_without_a_class_are_no_evidence():
    labelled = [0] * 9 + [1] * 11 + [2] * 30 + [None] * 10
    known = formulas.labels(["one", "two", "three"], labelled)
    assert known.names == ["two", "three"]  # the first has fewer than five in a half
    assert not (known.choosing | known.testing)[50:].any()
    assert formulas.best(formulas.labels([], [None] * 9), np.ones((9, 2))) == [None, None]


def found(truth, noise=0.1, above=None):
    random = np.random.default_rng(2)
    known = formulas.labels(CLASSES, pictures().tolist(), above)
    values = truth + noise * random.normal(size=len(truth))
    return formulas.best(known, values[:, None])[0]


def has(word):
    return np.char.find(np.array(CLASSES)[pictures()], word) >= 0


def test_a_channel_for_one_word_a_class_and_combinations():
    assert found(has("red")).name == "red"
    assert found(has("blue disc")).name == "blue disc"
    without = found(has("red") & ~has("star"))
    assert without.text in ("red AND NOT star", "red disc OR red cross", "red cross OR red disc")
    assert without.p < 1e-10
    assert without.auc > 0.99
    assert without.pictures == 200
    assert without.tested == 450
    either = found(has("red disc") | has("blue star"))
    assert set(either.text.split(" OR ")) == {"red disc", "blue star"}
    assert either.passes


def test_a_channel_for_a_superclass_and_what_is_left_out_of_it():
    assert found(has("red"), above=KINGDOM).name == "reddish"
    hot = frozenset({0, 1, 2, 3})
    kept = found(np.isin(pictures(), [1, 2, 3]), above={"hot": hot})
    assert kept.text == "hot AND NOT red star"
    assert kept.name == "hot, not red star"


def test_logic_has_brackets_where_it_needs_them():
    classes = [
        f"{colour} {shape}"
        for colour in ("red", "blue", "green", "pink", "grey", "black")
        for shape in ("star", "disc", "cross", "heart", "moon")
    ]
    names = np.array(classes)[np.arange(900) % 30]
    colours, shapes = np.char.partition(names, " ")[:, 0], np.char.partition(names, " ")[:, 2]
    known = formulas.labels(classes, (np.arange(900) % 30).tolist())
    values = np.stack(
        [
            np.isin(colours, ["red", "blue"]) & (shapes != "star"),
            ((colours == "red") & (shapes != "star")) | (shapes == "moon"),
        ],
        axis=1,
    ) + 0.1 * np.random.default_rng(7).normal(size=(900, 2))
    narrower, wider = formulas.best(known, values)
    assert narrower.text in ("(red OR blue) AND NOT star", "(blue OR red) AND NOT star")
    assert narrower.name in ("red or blue, not star", "blue or red, not star")
    assert wider.text in ("(red AND NOT star) OR moon", "(moon OR red) AND NOT red star")
    assert wider.name in ("red, not star; or moon", "moon or red, not red star")


def test_a_channel_for_a_superclass_is_not_named_by_one_of_its_classes():
    # The AUC of each class is nearly that of all of them together, and chance decides.
    classes = ["pug", "beagle", "boxer", "whippet", *(f"thing {n}" for n in range(16))]
    labelled = np.arange(400) % 20
    known = formulas.labels(classes, labelled.tolist(), {"dog": frozenset(range(4))})
    random = np.random.default_rng(8)
    values = 2 * (labelled < 4)[:, None] + random.normal(size=(400, 20))
    assert [one.text for one in formulas.best(known, values)] == ["dog"] * 20
    best_auc = [
        max(known.names, key=lambda name: roc_auc_score(shown(known, name), column))
        for column in values[known.choosing].T
    ]
    assert best_auc.count("dog") < 18


def shown(known, name):
    return known.shown[list(known.names).index(name)][known.choosing]


def test_what_is_in_most_pictures_is_no_concept():
    one = found(~has("red star"))  # eight of nine classes
    assert "NOT red star" not in one.text
    assert one.pictures <= 0.6 * 900


def test_a_channel_that_is_the_same_everywhere_has_no_formula():
    known = formulas.labels(CLASSES, pictures().tolist())
    assert formulas.best(known, np.ones((900, 1))) == [None]


@pytest.fixture(scope="module")
def world():
    """Sixty classes under a tree of superclasses, six pictures each."""
    classes = [f"kind {chr(97 + n // 26)}{chr(97 + n % 26)}x" for n in range(60)]
    above = {f"family {n}": frozenset(range(4 * n, 4 * n + 4)) for n in range(15)}
    above |= {f"order {n}": frozenset(range(12 * n, 12 * n + 12)) for n in range(5)}
    return classes, above, np.arange(360) % 60


def best(world, values, labelled=None):
    classes, above, own = world
    return formulas.best(
        formulas.labels(classes, (own if labelled is None else labelled).tolist(), above), values
    )


def test_shuffled_labels_name_nothing_in_twenty_draws(world):
    random = np.random.default_rng(5)
    values = random.normal(size=(360, 40)) + 3 * (world[2] < 12)[:, None]  # all like one order
    assert all(one.passes for one in best(world, values))
    for _ in range(20):
        named = [one for one in best(world, values, random.permutation(world[2])) if one.passes]
        assert named == []


def test_p_values_of_chance_are_no_smaller_than_chance(world):
    values = np.random.default_rng(6).normal(size=(360, 300))
    one = best(world, values)
    p = np.array([each.p for each in one])
    for level in (0.2, 0.05, 0.01):
        assert (p <= level).sum() <= binom.ppf(0.999, 300, level)
    assert np.mean([each.auc for each in one]) == pytest.approx(0.5, abs=0.04)
    # What the search has seen looks good: a test on it would find something everywhere.
    assert np.mean([each.chosen_auc for each in one]) > 0.6


def test_planted_superclasses_are_found_and_at_most_a_twentieth_is_false(world):
    _, above, own = world
    named = false = missed = 0
    for seed in range(4):
        random = np.random.default_rng(seed)
        values = random.normal(size=(360, 120))
        truths = sorted(above)
        for column, truth in enumerate(truths):
            values[:, column] += 3 * np.isin(own, list(above[truth]))
        for column, one in enumerate(best(world, values)):
            planted = column < len(truths)
            if one.passes:
                named += 1
                false += not planted
                assert not planted or truths[column] in one.text
            missed += planted and not one.passes
    assert false <= 0.05 * named
    assert missed <= 0.05 * 4 * len(above)
