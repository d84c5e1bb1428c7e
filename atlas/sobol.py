"""Total Sobol indices: which part of a function's variance is lost where an input is not known."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

Function = Callable[[Numbers], Numbers]
"""From points (N, inputs) to numbers (N,)."""


def designs(inputs: int, count: int, seed: int) -> tuple[Numbers, Numbers]:
    """Return two sets of points in the unit cube, (count, inputs) each.

    They are the halves of one scrambled Sobol sequence of twice the dimension (Saltelli 2002).

    Parameters
    ----------
    inputs : int
        Dimension of the cube.
    count : int
        A power of 2.
    seed : int
        Of the scrambling.
    """
    from scipy.stats import qmc  # noqa: PLC0415 (slow to import)

    points: Numbers = qmc.Sobol(2 * inputs, scramble=True, seed=seed).random(count)
    return points[:, :inputs], points[:, inputs:]


def total_indices(of: Function, one: Numbers, other: Numbers) -> Numbers:
    """Return the total Sobol index of each input by Jansen's estimator.

    That is the mean of (f(A) - f(A with column i of B))^2 / 2, by the variance of f over A and B
    (Jansen 1999; Saltelli et al. 2010, table 2f).

    Parameters
    ----------
    of : callable
        The function.
    one, other : array
        A and B, of `designs`: (count, inputs) each.

    Returns
    -------
    array
        (inputs,); zeros for a function that is constant.
    """
    base = of(one)
    variance = float(np.var(np.concatenate([base, of(other)])))
    if variance == 0:
        return np.zeros(one.shape[1])
    found = np.empty(one.shape[1])
    for column in range(one.shape[1]):
        mixed = one.copy()
        mixed[:, column] = other[:, column]
        found[column] = np.mean((base - of(mixed)) ** 2) / 2 / variance
    return found
