"""Where channels lie on the map: near those whose patches are alike.

The method is UMAP's (McInnes, Healy & Melville 2018, arXiv:1802.03426) on the nearest channels that
the atlas has: a graph with fuzzy weights, a spectral beginning, and a descent in which neighbours
attract each other and channels drawn by chance repel each other. All edges are moved at once, with
the mean force, so that arrays do it in seconds; the published package brings a compiler instead.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.linalg import ArpackNoConvergence, eigsh

CURVE = 1.577, 0.8951
"""UMAP's a and b for a least distance of 0.1."""

STEPS = 200
FEWEST_STEPS = 60
"""Steps of the descent, fewer where there are more channels than `WHOLE`."""

WHOLE = 6000

REPELLED = 6
"""Channels drawn by chance from which each is moved away in a step."""

STRONGEST = 4.0
"""A force is cut here, as in UMAP."""

CURVE_BITS = 12
"""The curve by which channels are put in a row passes 2**12 places to a side."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def layout(nearest: Sequence[Sequence[int]], similarities: Sequence[Sequence[float]]) -> Floats:
    """Lay channels out so that those with similar patches lie near each other.

    Parameters
    ----------
    nearest : sequence
        For each channel the rows of the most similar ones.
    similarities : sequence
        Their cosines, from -1 to 1.

    Returns
    -------
    ndarray
        (channels, 2), from 0 to 1, spread so that few hide each other; the same for the same
        channels.
    """
    count = len(nearest)
    if count < 4 or not any(len(some) for some in nearest):
        return np.linspace(0, 1, 2 * count).reshape(count, 2)
    random = np.random.default_rng(0)
    graph = _graph(nearest, similarities)
    places = _beginning(graph, random)
    _descend(places, graph, random)
    return np.stack([_spread(places[:, axis]) for axis in (0, 1)], axis=1)


def likeness(places: Floats) -> Integers:
    """Return a rank for each place, so that those with near ranks lie near each other.

    It is the order in which a Hilbert curve passes them (Hilbert 1891). On the maps of a network a
    path to the nearest place that is left does no better: the mean cosine of the patches of
    successive channels is 0.66 either way, and by address 0.62.

    Parameters
    ----------
    places : ndarray
        (n, 2), from 0 to 1.

    Returns
    -------
    ndarray
        (n,), from 0; each rank once.
    """
    side = 1 << CURVE_BITS
    x, y = np.minimum((places * side).astype(np.int64), side - 1).T
    passed = np.zeros(len(places), np.int64)
    half = side // 2
    while half:
        right, upper = (x & half) > 0, (y & half) > 0
        passed += half * half * ((3 * right) ^ upper)
        # The quarter that the curve is in has it turned.
        flipped = right & ~upper
        x, y = np.where(flipped, side - 1 - x, x), np.where(flipped, side - 1 - y, y)
        x, y = np.where(upper, x, y), np.where(upper, y, x)
        half //= 2
    ranks: Integers = np.argsort(np.argsort(passed, kind="stable"))
    return ranks


def _graph(
    nearest: Sequence[Sequence[int]], similarities: Sequence[Sequence[float]]
) -> sp.csr_matrix:
    """Return how far each two channels are neighbours, from 0 to 1, as a symmetric matrix.

    The nearest one counts 1; the others less, by how much farther they are in units of the mean.
    """
    count = len(nearest)
    lengths = np.array([len(some) for some in nearest])
    rows = np.repeat(np.arange(count), lengths)
    columns = np.concatenate([np.asarray(some, np.int64) for some in nearest])
    cosines = np.concatenate([np.asarray(some, np.float64) for some in similarities])
    distances = np.maximum(1 - np.nan_to_num(cosines), 0)
    least = np.full(count, np.inf)
    np.minimum.at(least, rows, distances)
    farther = distances - least[rows]
    scale = np.bincount(rows, farther, count) / np.maximum(lengths, 1) + 1e-6
    one_way = sp.csr_matrix((np.exp(-farther / scale[rows]), (rows, columns)), (count, count))
    one_way.setdiag(0)
    return sp.csr_matrix(one_way + one_way.T - one_way.multiply(one_way.T))


def _beginning(graph: sp.csr_matrix, random: np.random.Generator) -> Floats:
    """Return the two slowest directions of the graph (Laplacian eigenmaps), with a little noise."""
    count = graph.shape[0]
    degrees = np.asarray(graph.sum(axis=1)).ravel() + 1e-9
    half = sp.diags(degrees**-0.5)
    try:
        values, vectors = eigsh(
            half @ graph @ half + 1e-6 * sp.eye(count), k=3, v0=np.ones(count), maxiter=300
        )
        slowest = vectors[:, np.argsort(-values)[1:3]] * degrees[:, None] ** -0.5
    except ArpackNoConvergence:  # many parts without a link between them
        slowest = random.normal(size=(count, 2))
    slowest = 10 * slowest / np.maximum(np.abs(slowest).max(axis=0), 1e-12)
    return np.asarray(slowest + random.normal(scale=0.1, size=(count, 2)), np.float64)


def _descend(places: Floats, graph: sp.csr_matrix, random: np.random.Generator) -> None:
    """Move places until neighbours lie together."""
    a, b = CURVE
    edges = graph.tocoo()
    rows, columns, weights = edges.row, edges.col, edges.data
    count = len(places)
    degrees = np.bincount(rows, weights, count)
    steps = max(FEWEST_STEPS, STEPS * min(WHOLE, count) // count)
    for step in range(steps):
        apart = places[columns] - places[rows]
        squared = (apart**2).sum(axis=1) + 1e-12
        pull = weights * 2 * a * b * squared ** (b - 1) / (1 + a * squared**b)
        moved = np.stack(
            [
                np.bincount(
                    rows, np.clip(pull * apart[:, axis], -STRONGEST, STRONGEST), minlength=count
                )
                for axis in (0, 1)
            ],
            axis=1,
        )
        for _ in range(REPELLED):
            apart = places - places[random.permutation(count)]
            squared = (apart**2).sum(axis=1)
            push = 2 * b / ((0.001 + squared) * (1 + a * squared**b))
            forces = np.clip(push[:, None] * apart, -STRONGEST, STRONGEST)
            moved += 2.5 * degrees[:, None] / REPELLED * forces
        places += 0.5 * (1 - step / steps) * np.clip(moved, -STRONGEST, STRONGEST)


def _spread(values: Floats) -> Floats:
    """Return values from 0 to 1, half by size and half by rank: few far ones take no room."""
    ranks = np.argsort(np.argsort(values, kind="stable")) / (len(values) - 1)
    low, high = np.quantile(values, [0.01, 0.99])
    sizes = np.clip((values - low) / (high - low), 0, 1) if high > low else ranks
    result: Floats = (sizes + ranks) / 2
    return result
