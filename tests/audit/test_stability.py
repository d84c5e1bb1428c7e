"""MeGe and ReCo on numbers whose result is known by hand."""

import numpy as np
import pytest

from benchmarks.stability import Pair, compared, distance, interval, mege, reco


def test_distances_of_maps():
    map_ = np.arange(9.0).reshape(3, 3)
    assert distance(map_, np.exp(map_)) == 0  # the same order
    assert distance(map_, -map_) == 0  # as in the paper, the sign does not count
    assert distance(map_, np.ones((3, 3))) == 1
    # Ranks 1 2 3 4 and 2 1 4 3: Spearman's correlation is 1 - 6 * 4 / (4 * 15) = 0.6.
    assert distance(np.array([1, 2, 3, 4]), np.array([2, 1, 4, 3])) == pytest.approx(0.4**0.5)


def pairs(agreeing, disagreeing):
    return [
        Pair(picture, agree, distance)
        for agree, distances in ((True, agreeing), (False, disagreeing))
        for picture, distance in enumerate(distances)
    ]


def test_mege_and_reco_by_hand():
    some = pairs([0.0, 0.2, 0.4, 0.6], [0.3, 0.7])
    assert mege(some) == pytest.approx(1 / 1.3)
    # At 0.2 half of the agreeing and no other pair: 0.5 + 1 - 1; at 0.6 all and one: 1 + 0.5 - 1.
    assert reco(some) == pytest.approx(0.5)
    assert reco(pairs([0.1, 0.2], [0.5])) == 1
    assert reco(pairs([0.5], [0.1])) == 0
    low, high = interval(mege, some)
    assert 0.5 <= low < mege(some) < high <= 1


def test_each_picture_is_compared_by_the_network_that_has_not_seen_it():
    up, down = np.arange(4.0), np.array([1.0, 0, 3, 2])
    maps = [np.array([up, up]), np.array([up, down]), np.array([down, up])]
    answers = [np.array([0, 5]), np.array([0, 5]), np.array([7, 5])]
    # Picture 0, class 0, not seen by network 0: agrees with network 1, not with network 2.
    # Picture 1, class 6: nobody is right, so that it does not count.
    far = pytest.approx(0.4**0.5)
    found = compared(maps, answers, np.array([0, 6]), np.array([0, 1]), 0)
    assert found == [Pair(0, agree=True, distance=0), Pair(0, agree=False, distance=far)]
    shifted = compared(maps, answers, np.array([0, 6]), np.array([0, 1]), 1)
    assert shifted == [Pair(0, agree=True, distance=far), Pair(0, agree=False, distance=0)]
