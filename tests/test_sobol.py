"""Total Sobol indices: a closed form, and another implementation on the same points."""

import math

import numpy as np
from SALib.analyze import sobol

from atlas.sobol import designs, total_indices


def ishigami(points):
    x, y, z = (2 * math.pi * points - math.pi).T
    return np.sin(x) + 7 * np.sin(y) ** 2 + 0.1 * z**4 * np.sin(x)


def test_total_indices_of_the_ishigami_function():
    """Closed form: Ishigami and Homma 1990, with a = 7 and b = 0.1."""
    found = total_indices(ishigami, *designs(3, 8192, seed=0))
    np.testing.assert_allclose(found, [0.5576, 0.4424, 0.2437], atol=0.005)


def test_total_indices_are_those_of_salib_on_the_same_points():
    one, other = designs(3, 256, seed=5)
    rows = []
    for number in range(len(one)):  # in Saltelli's order: A, A with columns of B, B
        rows.append(one[number])
        for column in range(3):
            mixed = one[number].copy()
            mixed[column] = other[number, column]
            rows.append(mixed)
        rows.append(other[number])
    problem = {"num_vars": 3, "names": ["x", "y", "z"], "bounds": [[0, 1]] * 3}
    theirs = sobol.analyze(
        problem, ishigami(np.array(rows)), calc_second_order=False, num_resamples=2, seed=1
    )
    np.testing.assert_allclose(
        total_indices(ishigami, one, other), theirs["ST"], rtol=0, atol=1e-12
    )


def test_a_function_that_is_constant_rests_on_nothing():
    points = designs(2, 8, 0)
    assert not total_indices(lambda some: np.ones(len(some)), *points).any()
