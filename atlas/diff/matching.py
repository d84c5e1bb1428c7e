"""Which channel of one atlas is which channel of another."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from atlas.api.contents import Contents
from atlas.errors import UserError

By = Literal["address", "patches"]

Vectors = npt.NDArray[np.float32]
Pairs = list[tuple[int, int]]

CHUNK = 65_536
"""Vectors taken out of an index at once."""


def other_factors(first: Contents, second: Contents) -> list[str]:
    """Return the sets of factors that have one name in both and are not the same factors."""
    digests = {name: basis.digest for name, basis in second.bases.items()}
    return [
        name for name, one in first.bases.items() if digests.get(name, one.digest) != one.digest
    ]


def match_by_address(first: Contents, second: Contents) -> Pairs:
    """Pair the rows of channels that have the same address, but for other factors."""
    others = other_factors(first, second)
    return [
        (row, second.rows[name])
        for name, row in first.rows.items()
        if name in second.rows and name.rpartition(":")[0] not in others
    ]


def match_by_patches(first: Contents, second: Contents, vectors: tuple[Vectors, Vectors]) -> Pairs:
    """Pair the rows of channels that look alike.

    Within each layer that both have: the assignment that maximises the sum of the cosines (the
    Hungarian method). Channels without references are left out.

    Parameters
    ----------
    first, second : Contents
        The atlases.
    vectors : tuple of ndarray
        Vectors of each atlas, from `mean_vectors`.

    Raises
    ------
    UserError
        No layer has the same name in both.
    """
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 (slow, and only for this)

    shared = [layer for layer in first.layers if layer in second.layers]
    if not shared:
        raise UserError(
            f"no layer of {first.id} is one of {second.id}: there is nothing to compare"
        )
    pairs: Pairs = []
    for layer in shared:
        rows = [_rows(contents, layer) for contents in (first, second)]
        mine, other = (
            part[np.linalg.norm(whole[part], axis=1) > 0]
            for part, whole in zip(rows, vectors, strict=True)
        )
        similarity = vectors[0][mine] @ vectors[1][other].T
        left, right = linear_sum_assignment(similarity, maximize=True)
        pairs += zip(mine[left].tolist(), other[right].tolist(), strict=True)
    return sorted(pairs)


def comparable(first: Contents, second: Contents) -> bool:
    """Say whether the patches of both were turned into vectors by the same encoder."""
    indexes = [contents.manifest["index"] for contents in (first, second)]
    same = all(indexes[0][key] == indexes[1][key] for key in ("encoder", "dimension"))
    by_network = any(contents.recipe.patches.encoder == "model" for contents in (first, second))
    weights = [contents.manifest["model"]["weights_sha256"] for contents in (first, second)]
    return same and (not by_network or weights[0] == weights[1])


def mean_vectors(contents: Contents, index: Any) -> Vectors:
    """Return the mean patch vector of each channel at length one: (channels, dimension).

    Channels without references have zeros.
    """
    from atlas.patches import vectors  # noqa: PLC0415 (needs faiss)

    sums = np.zeros((len(contents), index.d))
    for start in range(0, index.ntotal, CHUNK):
        rows = np.arange(start, min(start + CHUNK, index.ntotal))
        np.add.at(sums, contents.channel_rows[rows], vectors.of_rows(index, rows))
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.where(lengths == 0, 1, lengths), np.float32)


def _rows(contents: Contents, layer: str) -> npt.NDArray[np.int64]:
    return np.array(
        [row for name, row in contents.rows.items() if name.rpartition(":")[0] == layer]
    )
