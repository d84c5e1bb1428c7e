"""Rows of numbers on the disk, written in any order and read in any other."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from atlas.patches.pooling import Vectors
from atlas.store.unfinished import Unfinished

Integers = npt.NDArray[np.int64]


class Rows:
    """Float32 rows of one length in a file, as many as the first that is written has.

    They are more than fit into memory beside an index, and they come picture by picture, while the
    index takes them in their order.
    """

    def __init__(self, descriptor: int, count: int, unfinished: Unfinished) -> None:
        self._descriptor, self._count, self._unfinished = descriptor, count, unfinished
        begun = unfinished.load() or {}
        self.done, self.dimension = 0, 0
        """How many steps are done, and the length of a row; 0 while nothing is written."""
        if "done" in begun and "dimension" in begun:
            done, dimension = int(begun["done"][0]), int(begun["dimension"][0])
            if os.fstat(descriptor).st_size == 4 * count * dimension:
                self.done, self.dimension = done, dimension

    def write(self, rows: Integers, values: Vectors) -> None:
        """Keep `values` (rows, dimension) as the rows of these numbers."""
        if not self.dimension:
            self.dimension = values.shape[1]
            os.ftruncate(self._descriptor, 4 * self._count * self.dimension)
        values = np.ascontiguousarray(values, "<f4")
        for row, value in zip(rows.tolist(), values, strict=True):
            os.pwrite(self._descriptor, value.data, 4 * self.dimension * row)

    def finished(self, done: int, *, last: bool) -> None:
        """Remember that so many steps are done, if it is time to or they were the last."""
        self.done = done
        if last or self._unfinished.due():
            os.fsync(self._descriptor)
            numbers = {"done": done, "dimension": self.dimension}
            self._unfinished.save({key: np.array([n]) for key, n in numbers.items()})

    def read(self, rows: Integers) -> Vectors:
        """Return rows by their numbers: float32 (rows, dimension)."""
        values = np.empty((len(rows), self.dimension), "<f4")
        for row, value in zip(rows.tolist(), values, strict=True):
            os.preadv(self._descriptor, [value.data], 4 * self.dimension * row)
        return values


@contextmanager
def open_rows(path: Path, count: int, unfinished: Unfinished) -> Iterator[Rows]:
    """Open the rows at `path`, of which there are `count`, and go on where `unfinished` says.

    Parameters
    ----------
    path : Path
        The file; one that is not what `unfinished` says of it is written anew.
    count : int
        Rows.
    unfinished : Unfinished
        What is kept about them.
    """
    if unfinished.load() is None:
        path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        yield Rows(descriptor, count, unfinished)
    finally:
        os.close(descriptor)
