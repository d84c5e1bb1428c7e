"""An atlas and its factors as one: the tables that readers see, which nobody writes.

Rows of factors stand behind those of channels, under the name of their basis in place of a layer.
Where a row names another row, of a channel, a picture or a class, it is counted as here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from atlas.store import bases
from atlas.store.directory import COLUMNS, Store

OWN_ROWS = ("together", "lower", "upper", "neighbours")
"""Columns of channels.parquet that name rows of it."""

MERGED = ("layers", "receptive_fields", "maps", "depths", "conservation")
"""Fields of the manifest that say something of each layer."""


@dataclass(frozen=True)
class Joined(Store):
    """The tables of an atlas with those of its factors behind them; `joined` makes it."""

    part: Store | None = None
    """That with the factors."""

    @property
    def parts(self) -> tuple[Store, ...]:
        """The atlas itself, and the part with its factors."""
        assert self.part is not None, "made by `joined`"
        return Store(self.root, self.home), self.part

    def manifest(self) -> dict[str, Any]:
        """Read the manifest of the atlas, with what that of the factors says of its layers."""
        whole, other = (store.manifest() for store in self.parts)
        for name in MERGED:
            if name in whole and name in other:
                both = whole[name], other[name]
                whole[name] = [*both[0], *both[1]] if name == "layers" else both[0] | both[1]
        return whole

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a table of both; `samples` are of the factors alone."""
        if name == "samples":
            return self.parts[1].table(name, columns)
        if name == "images":
            return self._images(columns)
        one, other = (store.table(name, columns) for store in self.parts)
        if name == "classes":
            return _with_shares(one, other)
        if name == "channels":
            before = self.parts[0].rows(name)
            for column in [c for c in OWN_ROWS if c in other.column_names]:
                other = _replaced(other, column, _moved(other[column].combine_chunks(), before))
        elif "image" in other.column_names:
            places = pa.array(self._places()[other["image"].to_numpy()], pa.int32())
            other = _replaced(other, "image", places)
        whole = pa.concat_tables([one, other], promote_options="default")
        return whole.select([column for column in COLUMNS[name] if column in whole.column_names])

    def has_table(self, name: str) -> bool:
        """Say whether there is a table."""
        return self.parts[name == "samples"].has_table(name)

    def _images(self, columns: Sequence[str] | None) -> pa.Table:
        one, other = (store.table("images") for store in self.parts)
        new = np.flatnonzero(self._places() >= one.num_rows)
        other = other.take(pa.array(new))
        numbers = np.arange(one.num_rows, one.num_rows + len(new))
        whole = pa.concat_tables([one, _replaced(other, "image", pa.array(numbers, pa.int32()))])
        return whole if columns is None else whole.select(list(columns))

    def _places(self) -> npt.NDArray[np.int64]:
        """Return the row of each picture of the factors."""
        one, other = (store.table("images", ["path"])["path"].to_pylist() for store in self.parts)
        rows = {path: row for row, path in enumerate(one)}
        return np.array([rows.setdefault(path, len(rows)) for path in other], np.int64)

    def rows(self, name: str) -> int:
        """Return the number of rows of a table."""
        if name == "images":
            return int(self.table(name, ["path"]).num_rows)
        if name == "samples":
            return self.parts[1].rows(name)
        counts = [store.rows(name) for store in self.parts]
        return counts[0] if name == "classes" else sum(counts)

    def array(self, name: str) -> npt.NDArray[Any]:
        """Return the masks of both, one after the other; other arrays are those of the atlas."""
        if name != "masks.npy":
            return self.parts[0].array(name)
        found: npt.NDArray[Any] = np.concatenate([store.array(name) for store in self.parts])
        return found


def joined(store: Store) -> Store:
    """Return an atlas with its factors as one; the atlas itself where it has none."""
    part = None if store.home else bases.factors(store)
    return store if part is None else Joined(store.root, store.home, part)


def _replaced(table: pa.Table, column: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(column), column, values)


def _moved(lists: pa.ListArray, by: int) -> pa.ListArray:
    """Add a number to all that stands in lists."""
    numbers = [None if some is None else [n + by for n in some] for some in lists.to_pylist()]
    return pa.array(numbers, lists.type)


def _with_shares(one: pa.Table, other: pa.Table) -> pa.Table:
    """Return classes with their shares of channels and of factors."""
    if "shares" not in one.column_names:
        return one
    pairs = zip(one["shares"], other["shares"], strict=True)
    shares = [
        np.concatenate([a.values.to_numpy(), b.values.to_numpy()])
        if a.is_valid and b.is_valid
        else None
        for a, b in pairs
    ]
    return _replaced(one, "shares", pa.array(shares, one["shares"].type))
