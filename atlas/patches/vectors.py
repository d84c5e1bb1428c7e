"""The FAISS index over all patches: exact for small atlases, compressed for large ones."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from atlas.errors import UserError
from atlas.store import files

Vectors = npt.NDArray[np.float32]

FLAT_LIMIT = 100_000
"""Up to this many vectors the index is exact (measured in benchmarks/index_size.py)."""

FLAT_BYTES = 400_000_000
"""An exact index is at most this large; wide vectors reach it earlier."""

COMPONENTS = 512
"""Dimensions that are left in a compressed index."""

QUERIES = 256
"""Rows whose true neighbours are computed beside the index, to measure its recall."""

NEIGHBOURS = 10

PROBES = 32
"""Inverted lists that a search visits."""


@dataclass(frozen=True)
class Built:
    """A finished index.

    Attributes
    ----------
    index : faiss.Index
        Inner product of unit vectors; row i belongs to row i of references.parquet.
    factory : str
        FAISS's description of the index.
    recall : float
        Share of the true `NEIGHBOURS` nearest rows that the index finds, over `QUERIES` rows.
    """

    index: Any
    factory: str
    recall: float


def factory(count: int, dimension: int) -> str:
    """Choose the kind of index for `count` vectors.

    Large ones are inverted lists (Jégou et al. 2011) of vectors with one byte for each of
    at most 512 principal components.
    """
    if count <= FLAT_LIMIT and 4 * count * dimension <= FLAT_BYTES:
        return "Flat"
    components = f"PCA{COMPONENTS}," if dimension > COMPONENTS else ""
    return f"{components}IVF{_lists(count)},SQ8"


def sample_size(count: int, dimension: int) -> int:
    """Return how many vectors `build` wants to see before it begins: none if it needs not learn.

    FAISS asks for 39 vectors for each inverted list.
    """
    return (
        0 if factory(count, dimension) == "Flat" else min(count, max(QUERIES, 40 * _lists(count)))
    )


def build(chunks: Iterable[Vectors], sample: Vectors, count: int, dimension: int) -> Built:
    """Index `count` vectors that arrive in chunks, in the order of their rows.

    Parameters
    ----------
    chunks : iterable of array
        float32 (rows, dimension) each, rows of length one.
    sample : array
        float32 (`sample_size(count, dimension)`, dimension): evenly spaced ones of the same
        vectors, to train on and to measure the recall with.
    count, dimension : int
        Rows of all chunks together, and their columns.
    """
    kind = factory(count, dimension)
    index = faiss.index_factory(dimension, kind, faiss.METRIC_INNER_PRODUCT)
    exact = index.is_trained
    if not exact:
        index.train(sample)
        faiss.extract_index_ivf(index).nprobe = PROBES
    queries = sample[:: max(1, len(sample) // QUERIES)][:QUERIES]
    similarity = np.zeros((len(queries), 0), np.float32)
    rows = np.zeros((len(queries), 0), np.int64)
    for chunk in chunks:
        if not exact:
            similarity = np.hstack([similarity, queries @ chunk.T])
            new = np.arange(index.ntotal, index.ntotal + len(chunk))
            rows = np.hstack([rows, np.broadcast_to(new, (len(queries), len(chunk)))])
            best = np.argsort(-similarity, axis=1, kind="stable")[:, :NEIGHBOURS]
            similarity = np.take_along_axis(similarity, best, axis=1)
            rows = np.take_along_axis(rows, best, axis=1)
        index.add(chunk)
    recall = 1.0 if exact else _overlap(index.search(queries, NEIGHBOURS)[1], rows)
    return Built(index, kind, recall)


def _overlap(found: npt.NDArray[np.int64], true: npt.NDArray[np.int64]) -> float:
    hits = [len(np.intersect1d(a, b)) for a, b in zip(found, true, strict=True)]
    return sum(hits) / true.size


def _lists(count: int) -> int:
    return int(count**0.5)


def save(index: Any, path: Path) -> None:
    """Write the index, whole or not at all."""
    with files.atomic_path(path) as temporary:
        faiss.write_index(index, str(temporary))


def load(path: Path) -> Any:
    """Read an index that `save` wrote.

    Raises
    ------
    UserError
        It is missing or damaged.
    """
    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        raise UserError(
            f"{path} is missing or damaged: run `atlas build` again to make the index anew"
        ) from error


def of_rows(index: Any, rows: npt.NDArray[np.int64]) -> Vectors:
    """Return the vectors of some rows, as well as the index has kept them: (rows, dimension)."""
    if not isinstance(index, faiss.IndexFlat):
        faiss.extract_index_ivf(index).make_direct_map()
    found: Vectors = index.reconstruct_batch(rows)
    return found
