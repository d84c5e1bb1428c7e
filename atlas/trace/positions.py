"""What each of torch's operations does to positions: what its output sees of a picture.

The rules serve `atlas.trace.sights`. A rule is given one operation that was carried out and
returns what the elements of its output see, or gives up (`LostError`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from atlas.trace.axes import LostError, Sight, united

aten = torch.ops.aten

T = TypeVar("T")
Size = Sequence[int] | int


@dataclass(frozen=True)
class ExecutedOperation:
    """One operation, carried out."""

    everything: Sight
    """The whole picture, seen from a tensor without positions."""
    args: tuple[Any, ...]
    options: Mapping[str, Any]
    seen: Sequence[tuple[Tensor, Sight]]
    """The tensors among the arguments that depend on the picture."""
    shape: Sequence[int]
    """Shape of the output."""

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


def _elementwise(call: ExecutedOperation) -> Sight:
    """Broadcast: dimensions are counted from the last."""
    sights = []
    for tensor, sight in call.seen:
        if tensor.shape == call.shape:
            sights.append(sight)
            continue
        dims = [None if d is None else d - tensor.ndim for d in _dims(sight, tensor.shape)]
        sights.append(call.placed(sight, dims))
    return united(sights, call.everything)


def _norm(call: ExecutedOperation) -> Sight:
    """Batch norm: of each element by itself; by statistics of the picture if none are given."""
    sight = _elementwise(call)
    return _beyond(sight) if call.argument(5, False) else sight


def _group_norm(call: ExecutedOperation) -> Sight:
    """Normalise each element by itself, by statistics of the picture."""
    return _beyond(_elementwise(call))


def _beyond(sight: Sight) -> Sight:
    return replace(sight[0], whole=True), replace(sight[1], whole=True)


def _reshape(call: ExecutedOperation) -> Sight:
    """Elements in reading order stay what they are."""
    return call.only()[1]


def _pair(value: Size) -> tuple[int, int]:
    """Return the numbers for rows and columns, which are the last of all dimensions."""
    numbers = [value] if isinstance(value, int) else list(value)
    return (numbers * 2)[-2], numbers[-1]


def _slide(
    call: ExecutedOperation,
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


def _convolution(call: ExecutedOperation) -> Sight:
    _, weight, _, stride, padding, dilation, transposed = call.args[:7]
    if weight.ndim != 4:
        raise LostError
    if not transposed:
        return _slide(call, weight.shape, stride, padding, dilation)
    axes = []
    numbers = zip(*map(_pair, (weight.shape, stride, padding, dilation)), strict=True)
    for axis, (kernel, step, pad, apart) in zip(call.only()[1], numbers, strict=True):
        reach = (kernel - 1) * apart / step
        axes.append(axis.resampled(pad / step - reach / 2, 1 / step, 1 + reach))
    return call.placed((axes[0], axes[1]), (-2, -1))


def _max_pool(call: ExecutedOperation) -> Sight:
    kernel = call.args[1]
    stride = call.argument(2, None) or kernel
    return _slide(call, kernel, stride, call.argument(3, 0), call.argument(4, 1))


def _average_pool(call: ExecutedOperation) -> Sight:
    kernel = call.args[1]
    return _slide(call, kernel, call.argument(2, None) or kernel, call.argument(3, 0), 1)


def _adaptive_pool(call: ExecutedOperation) -> Sight:
    """Windows that overlap unevenly where the lengths do not divide."""
    return _resized(call, lambda ratio: (_centred(ratio), _whole_or(ratio, math.ceil(ratio) + 1)))


def _resized(
    call: ExecutedOperation, look: Callable[[float], tuple[float, float]], corners: bool = False
) -> Sight:
    """Rows and columns, the last two dimensions, have other lengths, over the same extent.

    Parameters
    ----------
    call : ExecutedOperation
        The operation.
    look : callable
        From how many positions there are for each new one to where the first new one looks and of
        how many positions around it is made.
    corners : bool
        Whether the first new position is the first old one, and the last the last.
    """
    shape, sight = call.only()
    axes = []
    for axis, dim in zip(sight, (-2, -1), strict=True):
        ratio = shape[dim] / call.shape[dim]
        first, reach = look(ratio)
        if corners and call.shape[dim] > 1:
            first, ratio = 0.0, (shape[dim] - 1) / (call.shape[dim] - 1)
        axes.append(axis.resampled(first, ratio, reach))
    return call.placed((axes[0], axes[1]), (-2, -1))


def _centred(ratio: float) -> float:
    return (ratio - 1) / 2


def _whole_or(ratio: float, otherwise: float) -> float:
    return ratio if ratio.is_integer() else otherwise


def _nearest(call: ExecutedOperation) -> Sight:
    """Look at the position that is a place times the ratio, rounded down."""

    def look(ratio: float) -> tuple[float, float]:
        if ratio.is_integer():
            return 0, 1
        return (_centred(ratio), 2 - ratio) if (1 / ratio).is_integer() else (-0.5, 2)

    return _resized(call, look)


def _nearest_exact(call: ExecutedOperation) -> Sight:
    return _resized(call, lambda ratio: (_centred(ratio), 2))


def _between(neighbours: int) -> Callable[[ExecutedOperation], Sight]:
    """Make the rule of an interpolation between so many neighbours on each side."""

    def look(ratio: float) -> tuple[float, float]:
        return _centred(ratio), 2 * neighbours * max(1, math.ceil(ratio)) + 1

    def rule(call: ExecutedOperation) -> Sight:
        corners = call.argument(2, False) is True
        return _resized(call, look, corners)

    return rule


def _shuffle(call: ExecutedOperation) -> Sight:
    """Channels become rows and columns."""
    return _resized(call, lambda ratio: (_centred(ratio), 2 - ratio))


def _unshuffle(call: ExecutedOperation) -> Sight:
    """Rows and columns become channels."""
    return _resized(call, lambda ratio: (_centred(ratio), ratio))


def _reduced(place: int = 1) -> Callable[[ExecutedOperation], Sight]:
    """Make the rule of what has no positions along the dimensions that are argument `place`."""

    def rule(call: ExecutedOperation) -> Sight:
        shape, sight = call.only()
        given = call.argument(place, None)
        summed = [given] if isinstance(given, int) else given
        gone = range(len(shape)) if not summed else [dim % len(shape) for dim in summed]
        kept = len(call.shape) == len(shape)
        return call.placed(
            sight,
            [
                None
                if dim is None or dim in gone
                else dim - (0 if kept else sum(g < dim for g in gone))
                for dim in _dims(sight, shape)
            ],
        )

    return rule


def _along(place: int) -> Callable[[ExecutedOperation], Sight]:
    """Make the rule of what mixes elements along the dimension that is argument `place`."""

    def rule(call: ExecutedOperation) -> Sight:
        shape, sight = call.only()
        mixed = call.argument(place, 0) % len(shape)
        return call.placed(sight, [None if dim == mixed else dim for dim in _dims(sight, shape)])

    return rule


def _slice(call: ExecutedOperation) -> Sight:
    """Keep some positions, each so many after the last."""
    shape, sight = call.only()
    cut = call.argument(1, 0) % len(shape)
    first, step = call.argument(2, None) or 0, call.argument(4, 1)
    first = min(max(first + (shape[cut] if first < 0 else 0), 0), shape[cut])
    dims = _dims(sight, shape)
    axes = [
        axis.window(1, step, -first, 1) if dim == cut else axis
        for axis, dim in zip(sight, dims, strict=True)
    ]
    return call.placed((axes[0], axes[1]), dims)


def _select(call: ExecutedOperation) -> Sight:
    shape, sight = call.only()
    taken = call.args[1] % len(shape)
    dims = _dims(sight, shape)
    return call.placed(sight, [None if d is None or d == taken else d - (d > taken) for d in dims])


def _concatenate(call: ExecutedOperation) -> Sight:
    joined = call.argument(1, 0) % len(call.shape)
    sights = []
    for tensor, sight in call.seen:
        dims = _dims(sight, tensor.shape)
        sights.append(call.placed(sight, [None if dim == joined else dim for dim in dims]))
    return united(sights, call.everything)


def _pad(call: ExecutedOperation) -> Sight:
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


def _permute(call: ExecutedOperation) -> Sight:
    shape, sight = call.only()
    order = [dim % len(shape) for dim in call.args[1]]
    dims = _dims(sight, shape)
    return call.placed(sight, [None if dim is None else order.index(dim) for dim in dims])


def _transpose(call: ExecutedOperation) -> Sight:
    shape, sight = call.only()
    one, other = (dim % len(shape) for dim in (*call.args[1:], 0, 1)[:2])
    swapped = {one: other, other: one}
    return call.placed(
        sight, [None if d is None else swapped.get(d, d) for d in _dims(sight, shape)]
    )


def _layer_norm(call: ExecutedOperation) -> Sight:
    shape, sight = call.only()
    first = len(shape) - len(call.args[1])
    dims = _dims(sight, shape)
    return call.placed(sight, [None if dim is None or dim >= first else dim for dim in dims])


def _linear(place: int) -> Callable[[ExecutedOperation], Sight]:
    """Make the rule of a matrix product whose argument `place` depends on the picture.

    Its rows may be positions, also of rows and columns flattened into one.
    """

    def rule(call: ExecutedOperation) -> Sight:
        (matrix, sight), *more = call.seen
        if more or matrix is not call.args[place]:
            raise LostError
        inner, outer = matrix.shape[1], call.shape[1]
        if any(axis.step % inner for axis in sight):
            raise LostError
        rows, columns = (replace(axis, step=axis.step // inner * outer) for axis in sight)
        return rows, columns

    return rule


RULES: Mapping[Any, Callable[[ExecutedOperation], Sight]] = (
    {
        aten.convolution: _convolution,
        aten.max_pool2d_with_indices: _max_pool,
        aten.avg_pool2d: _average_pool,
        aten.avg_pool3d: _average_pool,
        aten._adaptive_avg_pool2d: _adaptive_pool,
        aten.upsample_nearest2d: _nearest,
        aten._upsample_nearest_exact2d: _nearest_exact,
        aten.upsample_bilinear2d: _between(1),
        aten._upsample_bilinear2d_aa: _between(1),
        aten.upsample_bicubic2d: _between(2),
        aten._upsample_bicubic2d_aa: _between(2),
        aten.pixel_shuffle: _shuffle,
        aten.pixel_unshuffle: _unshuffle,
        aten.reflection_pad2d: _pad,
        aten.replication_pad2d: _pad,
        aten.native_group_norm: _group_norm,
        aten.adaptive_max_pool2d: _adaptive_pool,
        aten.mean: _reduced(),
        aten.sum: _reduced(),
        aten.amax: _reduced(),
        aten.amin: _reduced(),
        aten.max: _reduced(),
        aten.min: _reduced(),
        aten.var: _reduced(),
        aten.std: _reduced(),
        aten.var_mean: _reduced(),
        aten.std_mean: _reduced(),
        aten.logsumexp: _reduced(),
        aten.linalg_vector_norm: _reduced(2),
        aten.native_batch_norm: _norm,
        aten.cudnn_batch_norm: _norm,
        aten.miopen_batch_norm: _norm,
        aten._native_batch_norm_legit_no_training: _elementwise,
        aten.native_layer_norm: _layer_norm,
        aten.addmm: _linear(1),
        aten.mm: _linear(0),
        aten._softmax: _along(1),
        aten.slice: _slice,
        aten.split: _along(2),
        aten.split_with_sizes: _along(2),
        aten.select: _select,
        aten.index_select: _along(1),
        aten.cumsum: _along(1),
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
"""The rule of each operation, whatever its overload; after others positions are lost."""
