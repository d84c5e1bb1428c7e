"""What each of torch's operations does to positions: what its output sees of a picture.

The rules serve `atlas.model.receptive`. A rule is told of one operation that was carried out and
returns what the elements of its output see, or gives up (`LostError`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

aten = torch.ops.aten

T = TypeVar("T")
Size = Sequence[int] | int


@dataclass(frozen=True)
class Axis:
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

    def along(self, dim: int, shape: Sequence[int]) -> "Axis":
        """Return the same, if not all see the same, as dimension `dim` of a tensor of `shape`."""
        if self.count == 1:
            return self
        if shape[dim] == 1:
            return replace(self, stride=0, count=1, step=0)
        return replace(self, count=shape[dim], step=math.prod(shape[dim + 1 :]))

    def window(self, kernel: int, stride: int, padding: int, dilation: int) -> "Axis":
        """Return what the outputs of a sliding window over these positions see."""
        return replace(
            self,
            start=self.start - padding * self.stride,
            size=self.size + (kernel - 1) * dilation * self.stride,
            stride=self.stride * stride,
        )


Sight = tuple[Axis, Axis]
"""What the elements of a tensor see: by rows and by columns."""


class LostError(Exception):
    """A rule does not know where the positions went."""


def united(sights: Sequence[Sight], everything: Sight) -> Sight:
    """Return what elements see that are made of elements at the same positions."""
    rows, columns = (
        _united(parts, whole)
        for parts, whole in zip(zip(*sights, strict=True), everything, strict=True)
    )
    return rows, columns


def _united(parts: Sequence[Axis], whole: Axis) -> Axis:
    """Return what positions see that see all that `parts` see."""
    placed = {(part.count, part.step) for part in parts if part.count > 1} or {(1, 0)}
    if len(placed) > 1 or len({part.stride for part in parts}) > 1:
        return whole
    start = min(part.start for part in parts)
    stop = max(part.start + part.size for part in parts)
    return Axis(start, stop - start, parts[0].stride, *placed.pop())


@dataclass(frozen=True)
class Call:
    """One operation, carried out."""

    everything: Sight
    """The whole picture, seen from a tensor without positions."""
    args: tuple[Any, ...]
    options: Mapping[str, Any]
    seen: Sequence[tuple[Tensor, Sight]]
    """The tensors among the arguments that depend on the picture."""
    shape: Sequence[int]
    """Of the output."""

    def argument(self, place: int, default: T) -> T:
        """Return the argument at `place`, which may have been left out."""
        value: T = self.args[place] if len(self.args) > place else default
        return value

    def only(self) -> tuple[Sequence[int], Sight]:
        """Return shape and sight of the one tensor read that depends on the picture."""
        if len(self.seen) != 1 or self.seen[0][0] is not self.args[0]:
            raise LostError
        return self.seen[0][0].shape, self.seen[0][1]

    def placed(self, sight: Sight, dims: Sequence[int | None]) -> Sight:
        """Return `sight` with rows and columns along `dims` of the output.

        None in place of a dimension: there are no positions any more, all is seen.
        """
        axes = []
        for axis, whole, dim in zip(sight, self.everything, dims, strict=True):
            if axis.count == 1:
                axes.append(axis)
            elif dim is None:
                axes.append(whole)
            elif -len(self.shape) <= dim < len(self.shape):
                axes.append(axis.along(dim % len(self.shape), self.shape))
            else:
                raise LostError
        return axes[0], axes[1]


def _dims(sight: Sight, shape: Sequence[int]) -> list[int | None]:
    """Return the dimensions of rows and columns; None for those that have no positions."""
    dims = [axis.dim(shape) for axis in sight]
    if any(dim is None and axis.count > 1 for dim, axis in zip(dims, sight, strict=True)):
        raise LostError
    return dims


def _elementwise(call: Call) -> Sight:
    """Broadcast: dimensions are counted from the last."""
    sights = []
    for tensor, sight in call.seen:
        if tensor.shape == call.shape:
            sights.append(sight)
            continue
        dims = [None if d is None else d - tensor.ndim for d in _dims(sight, tensor.shape)]
        sights.append(call.placed(sight, dims))
    return united(sights, call.everything)


def _norm(call: Call) -> Sight:
    """Batch norm: of each element by itself, if the statistics are given."""
    if call.argument(5, False):
        raise LostError
    return _elementwise(call)


def _reshape(call: Call) -> Sight:
    """Elements in reading order stay what they are."""
    return call.only()[1]


def _pair(value: Size) -> tuple[int, int]:
    """Return the numbers for rows and columns, which are the last of all dimensions."""
    numbers = [value] if isinstance(value, int) else list(value)
    return (numbers * 2)[-2], numbers[-1]


def _slide(
    call: Call,
    kernel: Size,
    stride: Size,
    padding: Size,
    dilation: Size,
) -> Sight:
    """Slide a window over the last two dimensions."""
    shape, sight = call.only()
    if any(dim not in (None, len(shape) - 2 + i) for i, dim in enumerate(_dims(sight, shape))):
        raise LostError
    windows = zip(sight, _pair(kernel), _pair(stride), _pair(padding), _pair(dilation), strict=True)
    rows, columns = (axis.window(*numbers) for axis, *numbers in windows)
    return call.placed((rows, columns), (-2, -1))


def _convolution(call: Call) -> Sight:
    _, weight, _, stride, padding, dilation, transposed = call.args[:7]
    if transposed or weight.ndim != 4:
        raise LostError
    return _slide(call, weight.shape, stride, padding, dilation)


def _max_pool(call: Call) -> Sight:
    kernel = call.args[1]
    stride = call.argument(2, None) or kernel
    return _slide(call, kernel, stride, call.argument(3, 0), call.argument(4, 1))


def _average_pool(call: Call) -> Sight:
    kernel = call.args[1]
    return _slide(call, kernel, call.argument(2, None) or kernel, call.argument(3, 0), 1)


def _adaptive_pool(call: Call) -> Sight:
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


def _reduce(call: Call) -> Sight:
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


def _along(place: int) -> Callable[[Call], Sight]:
    """Make the rule of what mixes elements along the dimension that is argument `place`."""

    def rule(call: Call) -> Sight:
        shape, sight = call.only()
        mixed = call.argument(place, 0) % len(shape)
        return call.placed(sight, [None if dim == mixed else dim for dim in _dims(sight, shape)])

    return rule


def _select(call: Call) -> Sight:
    shape, sight = call.only()
    taken = call.args[1] % len(shape)
    dims = _dims(sight, shape)
    return call.placed(sight, [None if d is None or d == taken else d - (d > taken) for d in dims])


def _concatenate(call: Call) -> Sight:
    joined = call.argument(1, 0) % len(call.shape)
    sights = []
    for tensor, sight in call.seen:
        dims = _dims(sight, tensor.shape)
        sights.append(call.placed(sight, [None if dim == joined else dim for dim in dims]))
    return united(sights, call.everything)


def _pad(call: Call) -> Sight:
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


def _permute(call: Call) -> Sight:
    shape, sight = call.only()
    order = [dim % len(shape) for dim in call.args[1]]
    dims = _dims(sight, shape)
    return call.placed(sight, [None if dim is None else order.index(dim) for dim in dims])


def _transpose(call: Call) -> Sight:
    shape, sight = call.only()
    one, other = (dim % len(shape) for dim in (*call.args[1:], 0, 1)[:2])
    swapped = {one: other, other: one}
    return call.placed(
        sight, [None if d is None else swapped.get(d, d) for d in _dims(sight, shape)]
    )


def _layer_norm(call: Call) -> Sight:
    shape, sight = call.only()
    first = len(shape) - len(call.args[1])
    dims = _dims(sight, shape)
    return call.placed(sight, [None if dim is None or dim >= first else dim for dim in dims])


def _linear(place: int) -> Callable[[Call], Sight]:
    """Make the rule of a matrix product whose argument `place` depends on the picture.

    Its rows may be positions, also of rows and columns flattened into one.
    """

    def rule(call: Call) -> Sight:
        (matrix, sight), *more = call.seen
        if more or matrix is not call.args[place]:
            raise LostError
        inner, outer = matrix.shape[1], call.shape[1]
        if any(axis.step % inner for axis in sight):
            raise LostError
        rows, columns = (replace(axis, step=axis.step // inner * outer) for axis in sight)
        return rows, columns

    return rule


RULES: Mapping[Any, Callable[[Call], Sight]] = (
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
