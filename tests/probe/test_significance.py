from itertools import combinations
from math import comb

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, rankdata
from sklearn.metrics import roc_auc_score

from atlas.probe import significance


def test_ranks_and_aucs_are_those_of_scipy_and_scikit_learn():
    random = np.random.default_rng(0)
    values = np.round(random.normal(size=(200, 3)), 1)  # with ties
    ranked = significance.ranks(values)
    assert np.allclose(ranked, np.stack([rankdata(column) for column in values.T], axis=1))
    shown = random.random((4, 200)) < 0.3
    for label in shown:
        for channel in range(3):
            expected = roc_auc_score(label, values[:, channel])
            assert significance.auc(ranked[:, channel], label) == pytest.approx(expected)


def test_the_p_value_of_many_pictures_is_that_of_scipy():
    random = np.random.default_rng(1)
    values = np.round(random.normal(size=300), 1)
    shown = random.random(300) < 0.2
    values[shown] += 0.4
    expected = mannwhitneyu(
        values[shown], values[~shown], alternative="greater", method="asymptotic"
    )
    assert significance.p_value(values, shown) == pytest.approx(expected.pvalue, rel=1e-9)
    assert significance.p_value(np.ones(300), shown) == 1


def every_deal(values, positive):
    """Return U and p for all ways in which so many of the pictures may have a label."""
    found = []
    for rows in combinations(range(len(values)), positive):
        shown = np.isin(np.arange(len(values)), rows)
        above = np.sign(np.subtract.outer(values[shown], values[~shown]))
        found.append(((above + 1).sum() / 2, significance.p_value(values, shown)))
    return np.array(found).T


def test_the_p_value_of_few_pictures_is_the_share_of_deals_that_are_as_good():
    u, p = every_deal(np.random.default_rng(2).normal(size=11), 4)
    assert len(p) == comb(11, 4)
    assert np.allclose(p, [(u >= one).mean() for one in u])


def test_with_ties_chance_gives_no_p_value_too_often():
    values = np.array([0, 0, 0, 0, 0, 1, 1, 2, 3, 3, 4.0])
    _, p = every_deal(values, 4)
    for level in np.unique(p):
        assert (p <= level).mean() <= level + 1e-12
    assert p.min() < 0.05


def test_the_false_discovery_rate_is_that_of_its_definition():
    random = np.random.default_rng(3)
    for _ in range(20):
        p = np.concatenate([random.random(30), random.random(10) ** 6])
        q = significance.false_discovery(p)
        for level in (0.01, 0.05, 0.2):
            # The largest k of which the k smallest p values are at most k/m of the level.
            ordered = np.sort(p)
            passing = [k for k in range(1, 41) if ordered[k - 1] <= k / 40 * level]
            least = ordered[max(passing) - 1] if passing else -1
            assert ((q <= level) == (p <= least)).all()
    assert len(significance.false_discovery([])) == 0


def test_halves_have_as_much_of_every_class():
    random = np.random.default_rng(4)
    classes = random.integers(-1, 12, 501)
    first, second = significance.halves(classes)
    assert not (first & second).any()
    assert ((first | second) == (classes >= 0)).all()
    for number in range(12):
        mine = classes == number
        assert abs(int(first[mine].sum()) - int(second[mine].sum())) <= 2
    single = np.arange(200)  # one picture a class: those beside each other are parted
    first, second = significance.halves(single)
    assert (first[::2] != first[1::2]).all()
    assert 0.2 < first[::2].mean() < 0.8
