"""The FAISS index over all patches: exact for small atlases, compressed for large ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from atlas.errors import UserError
from atlas.store import INDEX, Store, bounds, files, indexfile

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

TIED = 1e-3
"""Similarities that differ by no more are the same."""

PROBES = 32
"""Inverted lists that a search visits."""


@dataclass
class Growing:
    """An index while rows are added to it, in their order.

    Attributes
    ----------
    factory : str
        FAISS's description of the index.
    index : faiss.Index
        Inner product of unit vectors; row i belongs to row i of references.parquet.
    queries : array
        float32 (queries, dimension): vectors whose true neighbours are found beside the index.
    similarity : array
        float32 (queries, up to `NEIGHBOURS`): those of the nearest rows so far, falling.
    """

    factory: str
    index: Any
    queries: Vectors
    similarity: Vectors


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
    """Return how many vectors `begin` wants to see: none if the index needs not learn.

    FAISS asks for 39 vectors for each inverted list.
    """
    return (
        0 if factory(count, dimension) == "Flat" else min(count, max(QUERIES, 40 * _lists(count)))
    )


def begin(sample: Vectors, count: int, dimension: int) -> Growing:
    """Return an index without rows.

    Parameters
    ----------
    sample : array
        float32 (`sample_size(count, dimension)`, dimension): evenly spaced ones of the vectors
        that will be added, to train on and to measure the recall with.
    count, dimension : int
        Rows that will be added, and their columns.
    """
    kind = factory(count, dimension)
    index = faiss.index_factory(dimension, kind, faiss.METRIC_INNER_PRODUCT)
    if not index.is_trained:
        index.train(sample)
        faiss.extract_index_ivf(index).nprobe = PROBES
    queries = sample[:: max(1, len(sample) // QUERIES)][:QUERIES]
    return Growing(kind, index, queries, np.zeros((len(queries), 0), np.float32))


def add(growing: Growing, chunk: Vectors) -> None:
    """Append rows, float32 (rows, dimension), each of length one."""
    if len(growing.queries):
        similarity = np.hstack([growing.similarity, growing.queries @ chunk.T])
        growing.similarity = -np.sort(-similarity, axis=1)[:, :NEIGHBOURS]
    growing.index.add(chunk)


def recall(growing: Growing, read: Callable[[npt.NDArray[np.int64]], Vectors]) -> float:
    """Return how many of the rows that the index finds are as near as the nearest ones.

    Many channels have the same patch, so that far more than `NEIGHBOURS` rows can be equally near;
    any of them is right. As in ANN-Benchmarks (Aumüller et al. 2020) a row counts if its similarity
    falls short of the last true neighbour's by at most `TIED`.

    Parameters
    ----------
    growing : Growing
        With all rows.
    read : callable
        Returns rows by their numbers, float32 (rows, dimension), as they were added.
    """
    if not len(growing.queries):  # it compares with every row
        return 1.0
    rows = growing.index.search(growing.queries, NEIGHBOURS)[1]
    vectors = read(rows.clip(min=0).ravel()).reshape(*rows.shape, -1)
    similarity = np.einsum("qd,qnd->qn", growing.queries, vectors)
    hits = (rows >= 0) & (similarity >= growing.similarity[:, -1:] - TIED)
    return float(hits.sum() / growing.similarity.size)


def _lists(count: int) -> int:
    return int(count**0.5)


def save(index: Any, path: Path) -> None:
    """Write the index, whole or not at all."""
    with files.atomic_path(path) as temporary:
        faiss.write_index(index, str(temporary))


def load_of(store: Store) -> Any:
    """Read the index of an atlas, which has a row for each reference.

    Raises
    ------
    UserError
        As of `indexfile.load`, or it does not fit the atlas.
    """
    if len(store.parts) > 1:
        return JoinedIndex([load_of(part) for part in store.parts])
    index = indexfile.load(store.root / INDEX)
    rows, dimension = store.rows("references"), store.manifest()["index"]["dimension"]
    if (index.ntotal, index.d) != (rows, dimension):
        raise bounds.damaged(
            store.root / INDEX,
            f"{index.ntotal} rows of {index.d} numbers, not {rows} of {dimension}",
        )
    return index


class JoinedIndex:
    """Several indexes whose rows stand one after another, as far as readers need them.

    Parameters
    ----------
    indexes : sequence of faiss.Index
        Of vectors that one encoder made.
    """

    def __init__(self, indexes: Sequence[Any]) -> None:
        self.d = int(indexes[0].d)
        if any(index.d != self.d for index in indexes):
            raise UserError(
                "the patches of channels and of factors were encoded differently: run `atlas "
                "factors` again"
            )
        self._indexes = indexes
        self._first = np.cumsum([0, *(int(index.ntotal) for index in indexes)])
        self.ntotal = int(self._first[-1])

    def search(self, queries: Vectors, count: int) -> tuple[Vectors, npt.NDArray[np.int64]]:
        """Return the nearest rows of all, as an index of FAISS does."""
        found = [index.search(queries, min(count, int(index.ntotal))) for index in self._indexes]
        similarity = np.hstack([values for values, _ in found])
        places = zip(found, self._first, strict=False)
        rows = np.hstack([np.where(of < 0, -1, of + first) for (_, of), first in places])
        best = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
        return np.take_along_axis(similarity, best, 1), np.take_along_axis(rows, best, 1)

    def vectors(self, rows: npt.NDArray[np.int64]) -> Vectors:
        """Return the vectors of some rows."""
        found = np.empty((len(rows), self.d), np.float32)
        for index, first, last in zip(self._indexes, self._first, self._first[1:], strict=False):
            mine = (rows >= first) & (rows < last)
            if mine.any():
                found[mine] = of_rows(index, rows[mine] - first)
        return found


def of_rows(index: Any, rows: npt.NDArray[np.int64]) -> Vectors:
    """Return the vectors of some rows, as well as the index has kept them: (rows, dimension)."""
    if isinstance(index, JoinedIndex):
        return index.vectors(rows)
    if not isinstance(index, faiss.IndexFlat):
        faiss.extract_index_ivf(index).make_direct_map()
    found: Vectors = index.reconstruct_batch(rows)
    return found
