"""Coefficients, factorisation and the number of factors, beside SciPy and planted directions."""

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from atlas.factors import nmf, ranks
from atlas.factors.nnls import coefficients


def planted(rank, channels, seed, pictures=160, each=8, noise=0.2):
    """Return positions (pictures, each, channels) made of directions, and these."""
    random = np.random.default_rng(seed)
    directions = random.gamma(0.3, 1, (rank, channels))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    made = random.gamma(0.2, 1, (pictures * each, rank)) @ directions
    made = np.maximum(made + noise * made.std() * random.standard_normal(made.shape), 0)
    return made.reshape(pictures, each, channels).astype(np.float32), directions


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 1.0])
def test_coefficients_are_those_of_scipy(sparsity):
    random = np.random.default_rng(1)
    directions = random.gamma(sparsity, 1, (20, 40)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rows = random.gamma(0.3, 1, (200, 40)).astype(np.float32)
    rows[0] = 0
    found = coefficients(torch.from_numpy(rows), torch.from_numpy(directions)).numpy()
    expected = [nnls(directions.T.astype(float), row.astype(float))[0] for row in rows]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (found >= 0).all()
    assert not found[0].any()


def test_a_row_does_not_depend_on_those_beside_it():
    random = np.random.default_rng(2)
    directions = torch.from_numpy(random.random((6, 9), np.float32))
    rows = torch.from_numpy(random.random((12, 9), np.float32))
    whole = coefficients(rows, directions)
    assert torch.allclose(coefficients(rows[3:4], directions), whole[3:4], atol=1e-6)


def test_two_equal_directions_have_coefficients_too():
    random = np.random.default_rng(3)
    directions = torch.from_numpy(random.random((3, 7), np.float32))
    twice = torch.cat([directions, directions[:1]])
    rows = torch.from_numpy(random.random((30, 7), np.float32))
    one, other = coefficients(rows, directions), coefficients(rows, twice)
    torch.testing.assert_close(other @ twice, one @ directions, rtol=1e-4, atol=1e-5)
    assert (other >= 0).all()


def test_planted_directions_are_found():
    positions, directions = planted(7, 24, seed=3, noise=0.05)
    found = nmf.factorise(positions.reshape(-1, 24), 7, 0)
    assert ranks.matched(found.directions, directions).min() > 0.99
    assert found.explained > 0.98
    assert found.energy.sum() == pytest.approx(1)
    assert (np.diff(found.energy) <= 0).all()
    np.testing.assert_allclose(np.linalg.norm(found.directions, axis=1), 1, atol=1e-5)


def test_from_given_directions_on_they_stay():
    positions, directions = planted(5, 16, seed=4, noise=0.05)
    start = directions.astype(np.float32)[::-1].copy()
    found = nmf.factorise(positions.reshape(-1, 16), 5, 0, start)
    assert ranks.matched(found.directions, directions).min() > 0.99


@pytest.mark.parametrize(("rank", "channels"), [(6, 32), (11, 48)])
def test_the_number_of_planted_directions_is_found_without_being_given(rank, channels):
    positions, directions = planted(rank, channels, seed=rank)
    tried = ranks.search(positions, (), 0)
    assert abs(tried[-1].rank - rank) <= 1
    assert tried[-1].stable
    assert all(not one.stable for one in tried[:-1])  # it is the largest that was tried
    best = ranks.matched(directions, np.resize(tried[-1].best.directions, directions.shape))
    assert np.median(best) > 0.9


def test_of_given_ranks_the_largest_stable_one_is_taken():
    positions, _ = planted(6, 32, seed=6)
    tried = ranks.search(positions, (3, 6, 20), 0)
    assert [one.rank for one in tried] == [20, 6]
    assert ranks.search(positions, (20,), 0)[-1].rank == 20  # and else what there is


def test_the_worst_pair_and_not_the_median_shows_a_wrong_rank():
    positions, _ = planted(6, 32, seed=6)
    wrong = ranks.attempt(positions, 7, 0)
    assert np.median(wrong.cosines) > 0.9 > wrong.worst
