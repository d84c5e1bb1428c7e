"""Non-negative matrix factorisation of a layer's output: activation = coefficients x directions.

The rows of the matrix are positions of pictures, its columns the layer's channels. A factor is a
direction, a pattern of channels that are active together; at each position a few of them add up
to the output (Lee and Seung 1999; for concepts of networks Fel et al. 2023, CRAFT).
"""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from atlas.errors import UserError
from atlas.factors.nnls import coefficients as coefficients_of

Matrix = npt.NDArray[np.float32]

ITERATIONS = 200
"""Rounds of coordinate descent, at most; the tolerance is scikit-learn's default, 1e-4."""


@dataclass(frozen=True)
class Factorisation:
    """Directions of a layer, and how much of its output they hold."""

    directions: Matrix
    """float32 (factors, channels), none negative, each of Euclidean length 1."""
    explained: float
    """Part of the sum of squares that the factors hold, at most 1."""
    energy: Matrix
    """float32 (factors,): each factor's part of the summed squares of the coefficients."""


def factorise(matrix: Matrix, rank: int, seed: int, start: Matrix | None = None) -> Factorisation:
    """Factorise a matrix by scikit-learn's NMF.

    Parameters
    ----------
    matrix : array
        float32 (positions, channels), none negative.
    rank : int
        How many factors; at most as many as the matrix has rows and columns.
    seed : int
        Of the randomised singular vectors, from which it starts.
    start : array, optional
        Directions (rank, channels) to start from instead.

    Raises
    ------
    UserError
        scikit-learn is not installed.
    """
    try:
        from sklearn.decomposition import NMF  # noqa: PLC0415 (an extra, and slow)
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            "factors need scikit-learn: install it with pip install 'concept-atlas[factors]'"
        ) from error
    total = float(np.square(matrix, dtype=np.float64).sum())
    init = "nndsvda" if start is None else "custom"
    model = NMF(rank, init=init, max_iter=ITERATIONS, random_state=seed)
    given = {} if start is None else {"W": _fitted(matrix, start), "H": start.copy()}
    with warnings.catch_warnings():  # the residual that pages show says how good it is
        warnings.simplefilter("ignore", ConvergenceWarning)
        coefficients = model.fit_transform(matrix, **given)
    lengths = np.linalg.norm(model.components_, axis=1)
    # A factor of nothing, where the rank is above what the matrix has, is a direction all the same.
    directions = np.where(
        lengths[:, None] > 0,
        model.components_ / np.maximum(lengths, 1e-30)[:, None],
        np.full(matrix.shape[1], matrix.shape[1] ** -0.5, matrix.dtype),
    )
    squares = np.square(coefficients * lengths, dtype=np.float64).sum(axis=0)
    order = np.argsort(-squares, kind="stable")
    return Factorisation(
        directions[order].astype(np.float32),
        1.0 - float(model.reconstruction_err_) ** 2 / total if total else 0.0,
        (squares / max(squares.sum(), 1e-30))[order].astype(np.float32),
    )


def _fitted(matrix: Matrix, directions: Matrix) -> Matrix:
    """Return the coefficients of directions, (positions, factors)."""
    found = coefficients_of(torch.from_numpy(matrix), torch.from_numpy(directions))
    return np.ascontiguousarray(found.numpy())
