"""The file of a FAISS index, walked through before FAISS reads it.

FAISS believes the sizes in a file, and a wrong one ends the process without a word. Only the kinds
of index that this package writes are let through: exact ones, and inverted lists of bytes behind
a projection.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from atlas.errors import UserError, one_line

INNER_PRODUCT = 0
"""FAISS's number of the metric."""

LARGEST = 1e30
"""Largest size of a number in an index."""

BYTE_PER_DIMENSION = 0
"""FAISS's `QT_8bit`."""


@dataclass
class _Bytes:
    """The content of a file and how far it was walked."""

    content: npt.NDArray[np.uint8]
    at: int = 0

    def take(self, count: int) -> npt.NDArray[np.uint8]:
        if not 0 <= count <= len(self.content) - self.at:
            raise ValueError("it ends before what it says it holds")
        self.at += count
        return self.content[self.at - count : self.at]

    def one(self, form: str) -> int | float:
        """Return a little-endian value by its letter of `struct`."""
        values = struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")).tobytes())
        value: int | float = values[0]
        return value

    def whole(self, form: str) -> int:
        return int(self.one(form))

    def kind(self, *known: str) -> str:
        name = self.take(4).tobytes().decode("latin-1")
        expect(name in known, f"a part of kind {name!r} is none that this package writes")
        return name

    def vector(self, form: str, length: int) -> npt.NDArray[np.generic]:
        """Return an array after its length, which has to be `length`."""
        expect(self.whole("Q") == length, "an array in it has another length than it should")
        kind = np.dtype(f"<{form}")
        found = self.take(length * kind.itemsize).view(kind) if length else np.zeros(0, kind)
        if kind.kind == "f":
            expect(bool((np.abs(found) <= LARGEST).all()), "it has values that are no numbers")
        return found


def expect(true: bool, otherwise: str) -> None:
    """Raise ValueError unless something is true."""
    if not true:
        raise ValueError(otherwise)


def check(content: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Walk through the file of an index.

    Parameters
    ----------
    content : ndarray
        uint8 (bytes,), all of the file; a mapped one does.

    Returns
    -------
    tuple of int
        Rows and dimension.

    Raises
    ------
    ValueError
        It is no index that this package writes, or its parts do not fit together.
    """
    file = _Bytes(content)
    rows, dimension = _index(file)
    expect(file.at == len(content), "something stands behind its end")
    return rows, dimension


def _index(file: _Bytes) -> tuple[int, int]:
    readers: dict[str, Callable[[_Bytes], tuple[int, int]]] = {
        "IxFI": _flat,
        "IxPT": _projected,
        "IwSq": _lists,
    }
    return readers[file.kind(*readers)](file)


def _header(file: _Bytes) -> tuple[int, int]:
    """Read what every index begins with: rows and dimension."""
    dimension, rows, _, _ = (file.whole(form) for form in "iqqq")
    trained, metric = file.whole("B"), file.whole("i")
    expect(0 < dimension <= 1 << 20 and 0 <= rows < 1 << 40, f"{rows} rows of {dimension} numbers")
    expect(trained == 1, "it has not learnt its parts")
    expect(metric == INNER_PRODUCT, "it does not compare by the inner product")
    return rows, dimension


def _flat(file: _Bytes) -> tuple[int, int]:
    rows, dimension = _header(file)
    file.vector("f4", rows * dimension)
    return rows, dimension


def _projected(file: _Bytes) -> tuple[int, int]:
    rows, dimension = _header(file)
    expect(file.whole("i") == 1, "it has not one projection")
    file.kind("Pcam")
    file.one("f")  # power of the eigenvalues
    file.one("f")  # what is added to them
    expect(file.whole("B") == 0, "its projection is turned at random")
    file.whole("i")  # bins that are balanced
    place = file.at
    # The sizes of the arrays follow from the two that stand behind them.
    for form in ("f4", "f4", "f4"):
        _skip(file, form)
    expect(file.whole("B") == 1, "its projection has no offset")
    for form in ("f4", "f4"):
        _skip(file, form)
    wide, narrow, trained = file.whole("i"), file.whole("i"), file.whole("B")
    end, file.at = file.at, place
    expect(wide == dimension and 0 < narrow <= wide and trained == 1, "its projection does not fit")
    for length in (wide, wide, wide * wide):
        file.vector("f4", length)
    file.whole("B")
    for length in (narrow * wide, narrow):
        file.vector("f4", length)
    file.at = end
    inner = _index(file)
    expect(inner == (rows, narrow), "its projection does not fit its lists")
    return rows, dimension


def _skip(file: _Bytes, form: str) -> None:
    file.take(file.whole("Q") * np.dtype(form).itemsize)


def _lists(file: _Bytes) -> tuple[int, int]:
    rows, dimension = _header(file)
    lists, probes = file.whole("Q"), file.whole("Q")
    expect(0 < lists <= 1 << 24 and 0 < probes <= 1 << 24, f"{lists} lists, {probes} visited")
    file.kind("IxFI")
    expect(_flat(file) == (lists, dimension), "it has not one centre for each list")
    expect(file.whole("B") == 0, "it has a map of its rows, which is made when it is needed")
    file.vector("i8", 0)
    expect(file.whole("i") == BYTE_PER_DIMENSION, "it does not keep a byte for each number")
    file.whole("i"), file.one("f")
    expect(file.whole("Q") == dimension == file.whole("Q"), "its bytes do not fit its dimension")
    file.vector("f4", 2 * dimension)
    expect(file.whole("Q") == dimension, "its bytes do not fit its dimension")
    expect(file.whole("B") in (0, 1), "it is neither of rows nor of differences")
    file.kind("ilar")
    expect(file.whole("Q") == lists, "it has another number of lists than it says")
    expect(file.whole("Q") == dimension, "its lists do not fit its dimension")
    sizes = _sizes(file, lists)
    expect(int(sizes.sum()) == rows, "its lists have not all rows")
    seen = np.zeros(rows, np.bool_)
    for size in sizes[sizes > 0].tolist():
        file.take(size * dimension)
        ids = file.take(size * 8).view("<i8")
        expect(bool(((ids >= 0) & (ids < rows)).all()), "a list has a row that is none")
        seen[ids] = True
    expect(bool(seen.all()), "a row is in no list")
    return rows, dimension


def _sizes(file: _Bytes, lists: int) -> npt.NDArray[np.int64]:
    """Return how many rows each list has."""
    sizes = np.zeros(lists, np.int64)
    if file.kind("full", "sprs") == "full":
        sizes[:] = file.vector("i8", lists)
    else:
        count = file.whole("Q")
        expect(count % 2 == 0 and count <= 2 * lists, "its lists do not fit")
        pairs = file.take(count * 8).view("<i8").reshape(-1, 2)
        expect(bool(((pairs[:, 0] >= 0) & (pairs[:, 0] < lists)).all()), "its lists do not fit")
        expect(bool((np.diff(pairs[:, 0]) > 0).all()), "its lists do not fit")
        sizes[pairs[:, 0]] = pairs[:, 1]
    expect(bool(((sizes >= 0) & (sizes < 1 << 40)).all()), "a list has a size that is none")
    return sizes


def load(path: Path) -> Any:
    """Read an index of patches.

    Raises
    ------
    UserError
        It is missing, damaged, or of another kind than those that this package writes.
    """
    try:
        if path.stat().st_size:
            check(np.memmap(path, np.uint8, "r"))
        return faiss.read_index(str(path))
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        raise UserError(
            f"{path} is missing or damaged ({one_line(error)[:100]}): delete it and run `atlas "
            "build` again"
        ) from error
