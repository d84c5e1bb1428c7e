"""Receptive fields: which pixels each unit of a layer can see.

They follow from kernel, stride, padding and dilation along every path from the input. The
network is run once on one picture, and each tensor operation that torch carries out is
told how it moves and widens what its output sees (`Tracker`). So it does not matter how a
network is written: what Python decides on the way has been decided. Branches that meet are
united. What an operation does to positions is looked up in a list; after one that is not in
it (attention, interpolation, reflecting pads), a unit is taken to see the whole picture, as
it is after pooling, flattening or normalising over positions. The answer may thus be too
wide, never too narrow, for the path that this one picture took.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from atlas.errors import UserError
from atlas.model.positions import RULES, Axis, Call, LostError, Sight, united


@dataclass(frozen=True)
class ReceptiveField:
    """What the units of a layer see, in pixels of the input; pairs are (rows, columns)."""

    size: tuple[int, int]
    """Rows and columns that one unit sees, the padding included."""
    stride: tuple[int, int]
    """How far apart neighbouring units look; 0 where every unit sees the same."""
    start: tuple[int, int]
    """First row and column that the unit (0, 0) sees; negative inside the padding."""

    def box(self, y: int, x: int, picture: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return what the unit at (`y`, `x`) sees as (x0, y0, x1, y1), half-open.

        Parameters
        ----------
        y, x : int
            Row and column in the layer's map.
        picture : (int, int)
            Height and width of the input, to which the box is clipped.
        """
        top, left = (self.start[i] + self.stride[i] * at for i, at in enumerate((y, x)))
        y0, y1 = (min(max(edge, 0), picture[0]) for edge in (top, top + self.size[0]))
        x0, x1 = (min(max(edge, 0), picture[1]) for edge in (left, left + self.size[1]))
        return x0, y0, x1, y1


@torch.no_grad()
def receptive_fields(
    module: nn.Module, layers: Sequence[str], input_size: tuple[int, int]
) -> dict[str, ReceptiveField]:
    """Compute what the units of each of `layers` see.

    Parameters
    ----------
    module : nn.Module
        A network in eval mode that takes (1, 3, height, width).
    layers : sequence of str
        Names of its modules. Where an output has no rows and columns, (B, C), there is one
        unit, (0, 0), which sees the whole picture.
    input_size : (int, int)
        Height and width of the input in pixels.

    Raises
    ------
    UserError
        A layer is not called by the network.
    """
    device = next((value.device for value in module.parameters()), torch.device("cpu"))
    picture = torch.zeros(1, 3, *input_size, device=device)
    tracker = Tracker(picture)
    found: dict[str, Sight] = {}

    def hook(part: nn.Module, inputs: tuple[Any, ...], output: Tensor, name: str) -> None:
        sight = tracker.sight(output)
        if sight is None or not tracker.is_map(output):
            sight = tracker.everything
        found[name] = united([sight, found.get(name, sight)], tracker.everything)

    handles = [
        module.get_submodule(name).register_forward_hook(functools.partial(hook, name=name))
        for name in layers
    ]
    try:
        with tracker:
            module(picture)
    finally:
        for handle in handles:
            handle.remove()
    if missing := [name for name in layers if name not in found]:
        raise UserError(f"layer {missing[0]!r} is not used when the network classifies a picture")
    return {
        name: ReceptiveField(
            size=(rows.size, columns.size),
            stride=(rows.stride, columns.stride),
            start=(rows.start, columns.start),
        )
        for name, (rows, columns) in ((name, found[name]) for name in layers)
    }


class Tracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While entered, learns for each tensor made from a picture what its elements see.

    Parameters
    ----------
    picture : Tensor
        Of shape (1, 3, height, width).
    """

    def __init__(self, picture: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        height, width = picture.shape[-2:]
        self.everything: Sight = (Axis(0, height, 0, 1, 0), Axis(0, width, 0, 1, 0))
        self._known: dict[int, tuple[Tensor, Sight]] = {}  # with the tensors: ids stay unique
        self._mixed: set[int] = set()
        pixel = Axis(start=0, size=1, stride=1, count=0, step=0)
        self._learn(picture, (pixel.along(2, picture.shape), pixel.along(3, picture.shape)))

    def sight(self, tensor: Tensor) -> Sight | None:
        """Return what `tensor` sees; None if it does not depend on the picture."""
        if tensor.untyped_storage()._cdata in self._mixed:
            return self.everything
        return self._known[id(tensor)][1] if id(tensor) in self._known else None

    def is_map(self, tensor: Tensor) -> bool:
        """Return whether rows and columns, where `tensor` has them, are its last dimensions."""
        places = zip(self.sight(tensor) or self.everything, (-2, -1), strict=True)
        return all(
            axis.count == 1 or axis.dim(tensor.shape) == tensor.ndim + place
            for axis, place in places
        )

    def _learn(self, tensor: Tensor, sight: Sight) -> None:
        self._known[id(tensor)] = tensor, sight

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        seen = [(tensor, sight) for tensor in read if (sight := self.sight(tensor)) is not None]
        if not seen:
            return result
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        rule = RULES.get(func.overloadpacket)
        for tensor in made:
            try:
                if rule is None:
                    raise LostError
                call = Call(self.everything, args, kwargs or {}, seen, tensor.shape)
                sight = rule(call)
            except LostError:
                sight = self.everything
            self._learn(tensor, sight)
        if func._schema.is_mutable:
            self._mix(made, [tensor for tensor, _ in seen])
        return result

    def _mix(self, written: Sequence[Tensor], read: Sequence[Tensor]) -> None:
        """Note that tensors which share memory with a written one may have changed with it."""
        for tensor in written:
            if all(other is tensor for other in read) and not tensor._is_view():
                continue  # positions stay what they are in an operation on one tensor
            storage = tensor.untyped_storage()._cdata
            sharing = (other for other, _ in self._known.values() if other is not tensor)
            if tensor._is_view() or any(o.untyped_storage()._cdata == storage for o in sharing):
                self._mixed.add(storage)
