"""Receptive fields: which pixels each unit of a layer sees, and where it stands.

They follow from kernel, stride, padding and dilation along every path from the input. Each tensor
operation that torch carries out on a picture has a rule: how it moves and widens what its output
sees (`Tracker`). So it does not matter how a network is written: what Python decides on the way
has been decided. Branches that meet are united; a factor or a statistic without positions (a
squeeze-and-excitation gate, a norm over the picture) leaves a unit where it stands, and is noted.
What an operation does to positions is looked up in a list; after one that is not in it, positions
are lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from atlas.trace.axes import Axis, LostError, Sight
from atlas.trace.executed import ExecutedOperation
from atlas.trace.following import tensors
from atlas.trace.positions import rule_of


@dataclass(frozen=True)
class ReceptiveField:
    """What the units of a layer see, in pixels of the input; pairs are (rows, columns)."""

    size: tuple[float, float]
    """Rows and columns that one unit sees, the padding included."""
    stride: tuple[float, float]
    """How far apart neighbouring units look; 0 where every unit sees the same."""
    start: tuple[float, float]
    """First row and column that the unit (0, 0) sees; negative inside the padding. A unit stands
    in the middle of what it sees."""
    whole: bool = False
    """Whether it sees, besides, something of the whole picture, through a gate or a norm."""
    lost: str = ""
    """The operation by which positions were lost; units are then taken to see the whole picture."""

    def middle(self, y: int, x: int) -> tuple[float, float]:
        """Return where the unit at (`y`, `x`) stands: row and column, in pixels."""
        top, left = (self.start[i] + self.stride[i] * at for i, at in enumerate((y, x)))
        return top + self.size[0] / 2, left + self.size[1] / 2

    def box(self, y: int, x: int, picture: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return what the unit at (`y`, `x`) sees as (x0, y0, x1, y1), half-open.

        Parameters
        ----------
        y, x : int
            Row and column in the layer's map.
        picture : (int, int)
            Height and width of the input, to which the box is clipped.
        """
        edges = []
        for axis, at in enumerate((y, x)):
            low = self.start[axis] + self.stride[axis] * at
            high = low + self.size[axis]
            edges.append([min(max(edge, 0), picture[axis]) for edge in (low // 1, -(-high // 1))])
        (y0, y1), (x0, x1) = edges
        return int(x0), int(y0), int(x1), int(y1)


def receptive_field(sight: Sight, shape: Sequence[int]) -> ReceptiveField:
    """Return the receptive field of the units of a map.

    Where positions were lost on the way, each unit is taken to see the whole picture, since nothing
    less is known to hold what it sees.

    Parameters
    ----------
    sight : Sight
        What the map's elements see.
    shape : sequence of int
        Shape of the map: (1, channels, height, width) or (1, channels).
    """
    numbers = []
    for axis, side in zip(sight, (-2, -1), strict=True):
        several = len(shape) == 4 and shape[side] > 1
        lost = axis.lost if several else ""
        numbers.append((axis.size, axis.stride, axis.start, axis.whole and several, lost))
    sizes, strides, starts, wholes, losses = zip(*numbers, strict=True)
    lost = next(filter(None, losses), "")
    return ReceptiveField(_whole(sizes), _whole(strides), _whole(starts), any(wholes), lost)


def _whole(pair: tuple[float, float]) -> tuple[float, float]:
    """Return whole numbers as such."""
    rows, columns = (int(one) if float(one).is_integer() else one for one in pair)
    return rows, columns


class Tracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While entered, learns for each tensor made from a picture what its elements see.

    Parameters
    ----------
    picture : Tensor
        One picture, (1, channels, height, width).
    """

    def __init__(self, picture: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        height, width = picture.shape[-2:]
        self.everything: Sight = (
            Axis(0, height, 0, 1, 0, whole=True), Axis(0, width, 0, 1, 0, whole=True)
        )  # fmt: skip
        self._known: dict[int, tuple[Tensor, Sight]] = {}  # with the tensors: ids stay unique
        pixel = Axis(start=0, size=1, stride=1, count=0, step=0)
        self.learn(picture, (pixel.along(2, picture.shape), pixel.along(3, picture.shape)))

    def sight(self, tensor: Tensor) -> Sight | None:
        """Return what `tensor` sees; None if it does not depend on the picture."""
        return self._known[id(tensor)][1] if id(tensor) in self._known else None

    def is_map(self, tensor: Tensor) -> bool:
        """Return whether rows and columns, where `tensor` has them, are its last dimensions."""
        places = zip(self.sight(tensor) or self.everything, (-2, -1), strict=True)
        return all(
            axis.count == 1 or axis.dim(tensor.shape) == tensor.ndim + place
            for axis, place in places
        )

    def learn(self, tensor: Tensor, sight: Sight) -> None:
        """Note what a tensor sees."""
        self._known[id(tensor)] = tensor, sight

    def forget(self, tensor: Tensor) -> None:
        """Note that a tensor has nothing of the picture but its shape."""
        self._known.pop(id(tensor), None)

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        read = tensors((args, kwargs))
        seen = [(tensor, sight) for tensor in read if (sight := self.sight(tensor)) is not None]
        if not seen:
            return result
        rule = rule_of(func)
        name = func.overloadpacket.__name__
        for which, tensor in enumerate(tensors(result)):
            try:
                if rule is None:
                    raise LostError
                sight = rule(
                    ExecutedOperation(
                        name, self.everything, args, kwargs or {}, seen, tensor.shape, which
                    )
                )
            except LostError as reason:
                pooled = all(axis.pooled(whole) for _, one in seen
                             for axis, whole in zip(one, self.everything, strict=True))  # fmt: skip
                sight = (
                    self.everything
                    if pooled
                    else self.lost(f"{name} ({reason})" if reason.args else name)
                )
            self.learn(tensor, sight)
        return result

    def lost(self, name: str) -> Sight:
        """Return what is seen by what an operation has made of which nothing is known."""
        rows, columns = self.everything
        return replace(rows, lost=name), replace(columns, lost=name)
