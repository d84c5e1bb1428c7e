"""Receptive fields: which pixels each unit of a layer can see.

They follow from kernel, stride, padding and dilation along every path from the input. The
network is run once on one picture, and each tensor operation that torch carries out is
told how it moves and widens what its output sees (`_Tracker`). So it does not matter how a
network is written: what Python decides on the way has been decided. Branches that meet are
united. What an operation does to positions is looked up in a list; after one that is not in
it (attention, interpolation, reflecting pads), a unit is taken to see the whole picture, as
it is after pooling, flattening or normalising over positions. The answer may thus be too
wide, never too narrow, for the path that this one picture took.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from atlas.errors import UserError

aten = torch.ops.aten


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
    tracker = _Tracker(picture)
    found: dict[str, _Sight] = {}

    def hook(part: nn.Module, inputs: tuple[Any, ...], output: Tensor, name: str) -> None:
        sight = tracker.sight(output)
        if sight is None:
            sight = tracker.everything
        axes = zip(sight, tracker.everything, (output.ndim - 2, output.ndim - 1), strict=True)
        rows, columns = (
            axis if axis.count == 1 or axis.dim(output.shape) == dim else whole
            for axis, whole, dim in axes
        )
        found[name] = tracker.united([(rows, columns), found.get(name, (rows, columns))])

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


@dataclass(frozen=True)
class _Axis:
    """What the positions along rows, or along columns, of a tensor see of the picture."""

    start: int
    """What the first position sees begins here, in pixels."""
    size: int
    """So many pixels each position sees."""
    stride: int
    """So many pixels further the next position sees."""
    count: int
    """Number of positions; 1 where all elements of the tensor see the same."""
    step: int
    """From one position to the next, in elements of the tensor in reading order. A reshape
    changes nothing here, so that rows and columns flattened into one are found again."""

    def dim(self, shape: Sequence[int]) -> int | None:
        """Return the dimension of a tensor of `shape` that has these positions, if one has."""
        for dim, length in enumerate(shape):
            if length == self.count > 1 and math.prod(shape[dim + 1 :]) == self.step:
                return dim
        return None

    def along(self, dim: int, shape: Sequence[int]) -> "_Axis":
        """Return the same, if not all see the same, as dimension `dim` of a tensor of `shape`."""
        if self.count == 1:
            return self
        if shape[dim] == 1:
            return replace(self, stride=0, count=1, step=0)
        return replace(self, count=shape[dim], step=math.prod(shape[dim + 1 :]))

    def window(self, kernel: int, stride: int, padding: int, dilation: int) -> "_Axis":
        """Return what the outputs of a sliding window over these positions see."""
        return replace(
            self,
            start=self.start - padding * self.stride,
            size=self.size + (kernel - 1) * dilation * self.stride,
            stride=self.stride * stride,
        )


_Sight = tuple[_Axis, _Axis]
"""What the elements of a tensor see: by rows and by columns."""


class _Lost(Exception):
    """A rule does not know where the positions went."""


class _Tracker(TorchDispatchMode):
    """Knows for each tensor made from the picture what its elements see."""

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        height, width = picture.shape[-2:]
        self.everything: _Sight = (_Axis(0, height, 0, 1, 0), _Axis(0, width, 0, 1, 0))
        self._known: dict[int, tuple[Tensor, _Sight]] = {}  # with the tensors: ids stay unique
        self._mixed: set[int] = set()
        pixel = _Axis(start=0, size=1, stride=1, count=0, step=0)
        self._learn(picture, (pixel.along(2, picture.shape), pixel.along(3, picture.shape)))

    def sight(self, tensor: Tensor) -> _Sight | None:
        """Return what `tensor` sees; None if it does not depend on the picture."""
        if tensor.untyped_storage()._cdata in self._mixed:
            return self.everything
        return self._known[id(tensor)][1] if id(tensor) in self._known else None

    def _learn(self, tensor: Tensor, sight: _Sight) -> None:
        self._known[id(tensor)] = tensor, sight

    def united(self, sights: Sequence[_Sight]) -> _Sight:
        """Return what elements see that are made of elements at the same positions."""
        rows, columns = (
            _united(parts, whole)
            for parts, whole in zip(zip(*sights, strict=True), self.everything, strict=True)
        )
        return rows, columns

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        result = func(*args, **(kwargs or {}))
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        seen = [(tensor, sight) for tensor in read if (sight := self.sight(tensor)) is not None]
        if not seen:
            return result
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        rule = _RULES.get(func.overloadpacket)
        for tensor in made:
            try:
                if rule is None:
                    raise _Lost
                call = _Call(self, args, kwargs or {}, seen, tensor.shape)
                sight = rule(call)
            except _Lost:
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


def _united(parts: Sequence[_Axis], whole: _Axis) -> _Axis:
    """Return what positions see that see all that `parts` see."""
    placed = {(part.count, part.step) for part in parts if part.count > 1} or {(1, 0)}
    if len(placed) > 1 or len({part.stride for part in parts}) > 1:
        return whole
    start = min(part.start for part in parts)
    stop = max(part.start + part.size for part in parts)
    return _Axis(start, stop - start, parts[0].stride, *placed.pop())


# How operations move positions --------------------------------------------------------------


@dataclass(frozen=True)
class _Call:
    """One operation, carried out."""

    tracker: _Tracker
    args: tuple[Any, ...]
    options: Mapping[str, Any]
    seen: Sequence[tuple[Tensor, _Sight]]
    """The tensors among the arguments that depend on the picture."""
    shape: Sequence[int]
    """Of the output."""

    def argument(self, place: int, default: Any) -> Any:  # noqa: ANN401
        return self.args[place] if len(self.args) > place else default

    def only(self) -> tuple[Sequence[int], _Sight]:
        """Return shape and sight of the one tensor read that depends on the picture."""
        if len(self.seen) != 1 or self.seen[0][0] is not self.args[0]:
            raise _Lost
        return self.seen[0][0].shape, self.seen[0][1]

    def placed(self, sight: _Sight, dims: Sequence[int | None]) -> _Sight:
        """Return `sight` with rows and columns along `dims` of the output.

        None in place of a dimension: there are no positions any more, all is seen.
        """
        axes = []
        for axis, whole, dim in zip(sight, self.tracker.everything, dims, strict=True):
            if axis.count == 1:
                axes.append(axis)
            elif dim is None:
                axes.append(whole)
            elif -len(self.shape) <= dim < len(self.shape):
                axes.append(axis.along(dim % len(self.shape), self.shape))
            else:
                raise _Lost
        return axes[0], axes[1]


def _dims(sight: _Sight, shape: Sequence[int]) -> list[int | None]:
    """Return the dimensions of rows and columns; None for those that have no positions."""
    dims = [axis.dim(shape) for axis in sight]
    if any(dim is None and axis.count > 1 for dim, axis in zip(dims, sight, strict=True)):
        raise _Lost
    return dims


def _elementwise(call: _Call) -> _Sight:
    """Broadcast: dimensions are counted from the last."""
    sights = []
    for tensor, sight in call.seen:
        if tensor.shape == call.shape:
            sights.append(sight)
            continue
        dims = [None if d is None else d - tensor.ndim for d in _dims(sight, tensor.shape)]
        sights.append(call.placed(sight, dims))
    return call.tracker.united(sights)


def _norm(call: _Call) -> _Sight:
    """Batch norm: of each element by itself, if the statistics are given."""
    if call.argument(5, False):
        raise _Lost
    return _elementwise(call)


def _reshape(call: _Call) -> _Sight:
    """Elements in reading order stay what they are."""
    return call.only()[1]


def _pair(value: Sequence[int] | int) -> tuple[int, int]:
    """Return the numbers for rows and columns, which are the last of all dimensions."""
    numbers = [value] if isinstance(value, int) else list(value)
    return (numbers * 2)[-2], numbers[-1]


def _slide(
    call: _Call,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,  # noqa: ANN401
) -> _Sight:
    """Slide a window over the last two dimensions."""
    shape, sight = call.only()
    if any(dim not in (None, len(shape) - 2 + i) for i, dim in enumerate(_dims(sight, shape))):
        raise _Lost
    windows = zip(sight, _pair(kernel), _pair(stride), _pair(padding), _pair(dilation), strict=True)
    rows, columns = (axis.window(*numbers) for axis, *numbers in windows)
    return call.placed((rows, columns), (-2, -1))


def _convolution(call: _Call) -> _Sight:
    _, weight, _, stride, padding, dilation, transposed = call.args[:7]
    if transposed or weight.ndim != 4:
        raise _Lost
    return _slide(call, weight.shape, stride, padding, dilation)


def _max_pool(call: _Call) -> _Sight:
    kernel = call.args[1]
    stride = call.argument(2, None) or kernel
    return _slide(call, kernel, stride, call.argument(3, 0), call.argument(4, 1))


def _average_pool(call: _Call) -> _Sight:
    kernel = call.args[1]
    if len(call.shape) == 5 and kernel[0] != 1 and _pair(kernel) != (1, 1):
        raise _Lost
    return _slide(call, kernel, call.argument(2, None) or kernel, call.argument(3, 0), 1)


def _adaptive_pool(call: _Call) -> _Sight:
    """Equal windows where the lengths divide; else they overlap unevenly."""
    shape, sight = call.only()
    dims: list[int | None] = []
    axes = []
    for axis, dim in zip(sight, _dims(sight, shape), strict=True):
        if dim is None or shape[dim] % call.shape[dim]:
            dims.append(None)
            axes.append(axis)
        else:
            width = shape[dim] // call.shape[dim]
            dims.append(dim)
            axes.append(axis.window(width, width, 0, 1))
    return call.placed((axes[0], axes[1]), dims)


def _reduce(call: _Call) -> _Sight:
    """Dimensions that are summed up have no positions any more."""
    shape, sight = call.only()
    summed = call.argument(1, None)
    gone = range(len(shape)) if not summed else [dim % len(shape) for dim in summed]
    kept = call.argument(2, False)
    return call.placed(
        sight,
        [
            None
            if dim is None or dim in gone
            else dim - (0 if kept else sum(g < dim for g in gone))
            for dim in _dims(sight, shape)
        ],
    )


def _along(place: int) -> Callable[[_Call], _Sight]:
    """Make the rule of what mixes elements along the dimension that is argument `place`."""

    def rule(call: _Call) -> _Sight:
        shape, sight = call.only()
        mixed = call.argument(place, 0) % len(shape)
        return call.placed(sight, [None if dim == mixed else dim for dim in _dims(sight, shape)])

    return rule


def _select(call: _Call) -> _Sight:
    shape, sight = call.only()
    taken = call.args[1] % len(shape)
    dims = _dims(sight, shape)
    return call.placed(sight, [None if d is None or d == taken else d - (d > taken) for d in dims])


def _concatenate(call: _Call) -> _Sight:
    joined = call.argument(1, 0) % len(call.shape)
    sights = []
    for tensor, sight in call.seen:
        dims = _dims(sight, tensor.shape)
        sights.append(call.placed(sight, [None if dim == joined else dim for dim in dims]))
    return call.tracker.united(sights)


def _pad(call: _Call) -> _Sight:
    """Pad with a constant; the widths come in pairs, from the last dimension on."""
    shape, sight = call.only()
    widths = call.args[1]
    dims = _dims(sight, shape)
    axes = []
    for axis, dim in zip(sight, dims, strict=True):
        place = 0 if dim is None else 2 * (len(shape) - 1 - dim)
        before = widths[place] if dim is not None and place < len(widths) else 0
        axes.append(axis.window(1, 1, before, 1))
    return call.placed((axes[0], axes[1]), dims)


def _permute(call: _Call) -> _Sight:
    shape, sight = call.only()
    order = [dim % len(shape) for dim in call.args[1]]
    dims = _dims(sight, shape)
    return call.placed(sight, [None if dim is None else order.index(dim) for dim in dims])


def _transpose(call: _Call) -> _Sight:
    shape, sight = call.only()
    one, other = (dim % len(shape) for dim in (*call.args[1:], 0, 1)[:2])
    swapped = {one: other, other: one}
    return call.placed(
        sight, [None if d is None else swapped.get(d, d) for d in _dims(sight, shape)]
    )


def _layer_norm(call: _Call) -> _Sight:
    shape, sight = call.only()
    first = len(shape) - len(call.args[1])
    dims = _dims(sight, shape)
    return call.placed(sight, [None if dim is None or dim >= first else dim for dim in dims])


def _linear(place: int) -> Callable[[_Call], _Sight]:
    """Make the rule of a matrix product whose argument `place` depends on the picture.

    Its rows may be positions, also of rows and columns flattened into one.
    """

    def rule(call: _Call) -> _Sight:
        (matrix, sight), *more = call.seen
        if more or matrix is not call.args[place]:
            raise _Lost
        inner, outer = matrix.shape[1], call.shape[1]
        if any(axis.step % inner for axis in sight):
            raise _Lost
        rows, columns = (replace(axis, step=axis.step // inner * outer) for axis in sight)
        return rows, columns

    return rule


_RULES: Mapping[Any, Callable[[_Call], _Sight]] = (
    {
        aten.convolution: _convolution,
        aten.max_pool2d_with_indices: _max_pool,
        aten.avg_pool2d: _average_pool,
        aten.avg_pool3d: _average_pool,
        aten._adaptive_avg_pool2d: _adaptive_pool,
        aten.adaptive_max_pool2d: _adaptive_pool,
        aten.mean: _reduce,
        aten.sum: _reduce,
        aten.amax: _reduce,
        aten.native_batch_norm: _norm,
        aten.cudnn_batch_norm: _norm,
        aten.miopen_batch_norm: _norm,
        aten._native_batch_norm_legit_no_training: _elementwise,
        aten.native_layer_norm: _layer_norm,
        aten.addmm: _linear(1),
        aten.mm: _linear(0),
        aten._softmax: _along(1),
        aten.slice: _along(1),
        aten.split: _along(2),
        aten.split_with_sizes: _along(2),
        aten.select: _select,
        aten.cat: _concatenate,
        aten.constant_pad_nd: _pad,
        aten.permute: _permute,
        aten.transpose: _transpose,
        aten.t: _transpose,
    }
    | {
        getattr(aten, name): _reshape
        for name in ("view", "_unsafe_view", "squeeze", "unsqueeze", "squeeze_", "unsqueeze_")
    }
    | {
        getattr(aten, name + ending): _elementwise
        for name in (
            *("add", "sub", "rsub", "mul", "div", "pow", "maximum", "minimum", "where", "copy"),
            *("relu", "leaky_relu", "elu", "celu", "silu", "gelu", "mish", "hardtanh", "hardswish"),
            *("hardsigmoid", "sigmoid", "tanh", "softplus", "clamp", "clamp_min", "clamp_max"),
            *("abs", "neg", "exp", "log", "sqrt", "rsqrt", "square", "reciprocal", "_prelu_kernel"),
            *("clone", "alias", "detach", "_to_copy", "expand", "native_dropout"),
        )
        for ending in ("", "_")
        if hasattr(aten, name + ending)
    }
)
"""The rule of each operation, whatever its overload; after others all is seen."""
