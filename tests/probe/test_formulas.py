import numpy as np
import pytest
from scipy.stats import mannwhitneyu, rankdata
from sklearn.metrics import roc_auc_score

from atlas.probe import formulas

CLASSES = [f"{c} {s}" for c in ("red", "blue", "green") for s in ("star", "disc", "cross")]


def pictures(count=900):
    return np.arange(count) % len(CLASSES)


def test_ranks_and_aucs_are_those_of_scipy_and_scikit_learn():
    random = np.random.default_rng(0)
    values = np.round(random.normal(size=(200, 3)), 1)  # with ties
    ranked = formulas.ranks(values)
    assert np.allclose(ranked, np.stack([rankdata(column) for column in values.T], axis=1))
    shown = random.random((4, 200)) < 0.3
    found = formulas.aucs(ranked, shown)
    for label in range(4):
        for channel in range(3):
            expected = roc_auc_score(shown[label], values[:, channel])
            assert found[label, channel] == pytest.approx(expected)


def test_the_p_value_is_that_of_scipy():
    random = np.random.default_rng(1)
    values = np.round(random.normal(size=300), 1)
    shown = random.random(300) < 0.2
    values[shown] += 0.4
    ranked = formulas.ranks(values[:, None])
    auc = formulas.aucs(ranked, shown[None])[0, 0]
    expected = mannwhitneyu(
        values[shown], values[~shown], alternative="greater",
        method="asymptotic", use_continuity=False,
    )  # fmt: skip
    assert formulas.p_value(auc, int(shown.sum()), ranked[:, 0]) == pytest.approx(
        expected.pvalue, rel=1e-6
    )


def test_labels_are_classes_and_the_words_they_share():
    known = formulas.labels(CLASSES, pictures().tolist())
    assert set(known.names) == {*CLASSES, "red", "blue", "green", "star", "disc", "cross"}
    red = known.shown[known.names.index("red")]
    assert (red == (pictures() < 3)).all()


def reported(truth, noise=0.1):
    random = np.random.default_rng(2)
    known = formulas.labels(CLASSES, pictures().tolist())
    values = truth + noise * random.normal(size=len(truth))
    ranked = formulas.ranks(values[:, None])
    return formulas.best_formula(known, ranked[:, 0], formulas.aucs(ranked, known.shown)[:, 0])


def test_a_channel_for_one_word_a_class_and_combinations():
    names = np.array(CLASSES)[pictures()]

    def has(word):
        return np.char.find(names, word) >= 0

    assert reported(has("red")).name == "red"
    assert reported(names == "blue disc").name == "blue disc"
    either = reported(has("red") | has("star"))
    assert set(either.text.split(" OR ")) == {"red", "star"}
    assert either.auc > 0.99
    without = reported(has("red") & ~has("star"))
    assert without.text in ("red AND NOT star", "red disc OR red cross", "red cross OR red disc")
    assert without.p < 1e-10


def test_chance_is_not_significant():
    random = np.random.default_rng(3)
    formula = reported(random.normal(size=900), noise=1)
    assert formula.auc < 0.7
    assert formula.p > 0.01
    assert formula.tried > len(CLASSES)
