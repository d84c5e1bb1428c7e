"""Which channels a search may find."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from atlas import classes
from atlas.api.contents import Contents
from atlas.errors import UserError


@dataclass(frozen=True)
class Conditions:
    """Conditions on channels; all that are given must hold."""

    layer: str | None = None
    """Name of the layer."""
    label: str | None = None
    """Name or number of a class that must be among the channel's top classes."""
    min_score: float | None = None
    """Least average precision of the name (`score_ap`, 0 to 1)."""

    def allowed(self, contents: Contents) -> npt.NDArray[np.bool_]:
        """Say for each row of channels.parquet whether it meets the conditions.

        Raises
        ------
        UserError
            The atlas has no such layer or class, or no scores yet.
        """
        table = contents.channels
        allowed = np.ones(len(table), bool)
        if self.layer is not None:
            if self.layer not in contents.layers:
                raise UserError(
                    f"no layer {self.layer!r} in {contents.id}: it has {', '.join(contents.layers)}"
                )
            allowed &= _numbers(pc.equal(table["layer"], self.layer))
        if self.label is not None:
            label = classes.find(self.label, contents.class_names)
            lists = table["top_classes"].combine_chunks()
            shares = _numbers(pc.list_flatten(table["top_class_shares"].combine_chunks()))
            found = _numbers(pc.is_in(pc.list_flatten(lists), pa.array([label], pa.int32())))
            found &= shares > 0
            has = np.zeros(len(table), bool)
            has[_numbers(pc.list_parent_indices(lists))[found]] = True
            allowed &= has
        if self.min_score is not None:
            if "score_ap" not in table.column_names:
                raise UserError(
                    f"{contents.store.root} has no scores of names yet: run `atlas score` first, "
                    "or leave the least score out"
                )
            allowed &= _numbers(pc.fill_null(table["score_ap"], -1.0)) >= self.min_score
        return allowed


def _numbers(array: Any) -> npt.NDArray[Any]:
    numbers: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return numbers
