"""One operation that was carried out, and where its positions go."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

from atlas.trace.axes import Axis, LostError, Sight

T = TypeVar("T")


@dataclass(frozen=True)
class ExecutedOperation:
    """One operation, carried out."""

    name: str
    everything: Sight
    """The whole picture, seen from a tensor without positions."""
    args: tuple[Any, ...]
    options: Mapping[str, Any]
    seen: Sequence[tuple[Tensor, Sight]]
    """The tensors among the arguments that depend on the picture."""
    shape: Sequence[int]
    """Shape of the output."""
    which: int = 0
    """Which of several outputs it is."""

    def argument(self, place: int, default: T) -> T:
        """Return the argument at `place`, which may have been left out."""
        value: T = self.args[place] if len(self.args) > place else default
        return value

    def only(self) -> tuple[Sequence[int], Sight]:
        """Return shape and sight of the one tensor read that depends on the picture."""
        if len(self.seen) != 1 or self.seen[0][0] is not self.args[0]:
            raise LostError
        return self.seen[0][0].shape, self.seen[0][1]

    def placed(self, sight: Sight, dims: Sequence[int]) -> Sight:
        """Return `sight` with rows and columns along `dims` of the output."""
        rows, columns = (
            axis if axis.count == 1 else axis.along(dim % len(self.shape), self.shape)
            for axis, dim in zip(sight, dims, strict=True)
        )
        return rows, columns


def dims_of(sight: Sight, shape: Sequence[int]) -> list[int | None]:
    """Return the dimensions of rows and columns; None for those that have no positions."""
    dims = [axis.dim(shape) for axis in sight]
    if any(dim is None and axis.count > 1 for dim, axis in zip(dims, sight, strict=True)):
        raise LostError
    return dims


def carried(sight: Sight, shape: Sequence[int], to: Mapping[int, int], new: Sequence[int]) -> Sight:
    """Take positions to other dimensions (those that `to` says) of another shape."""
    rows, columns = (taken(axis, shape, to, new) for axis in sight)
    return rows, columns


def taken(axis: Axis, shape: Sequence[int], to: Mapping[int, int], new: Sequence[int]) -> Axis:
    """Take positions, also of maps flattened into one dimension, to another."""
    if axis.count == 1:
        return axis
    dim = axis.within(shape)
    if dim is None and (grouped := axis.coarse(shape)) is not None:
        dim, axis = grouped
    if dim is None or dim not in to:
        raise LostError
    ratio = axis.step // math.prod(shape[dim + 1 :])
    return replace(axis, step=ratio * math.prod(new[to[dim] + 1 :]))
