"""What windows that slide over a map, and maps of another size, do to positions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from atlas.trace.axes import LostError, Sight
from atlas.trace.executed import ExecutedOperation, carried, dims_of, taken

Size = Sequence[int] | int


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
    if _pair(kernel) == _pair(stride) == (1, 1) and _pair(padding) == (0, 0):  # of each by itself
        return carried(sight, shape, {dim: dim for dim in range(2, len(shape))}, call.shape)
    _last_two(sight, shape)
    windows = zip(sight, _pair(kernel), _pair(stride), _pair(padding), _pair(dilation), strict=True)
    rows, columns = (axis.window(*numbers) for axis, *numbers in windows)
    return call.placed((rows, columns), (-2, -1))


def convolution(call: ExecutedOperation) -> Sight:
    """Slide over a map, or, transposed, spread each position out."""
    _, weight, _, stride, padding, dilation, transposed = call.args[:7]
    if weight.ndim != 4:
        raise LostError
    if not transposed:
        return _slide(call, weight.shape, stride, padding, dilation)
    shape, sight = call.only()
    _last_two(sight, shape)
    axes = []
    numbers = zip(*map(_pair, (weight.shape, stride, padding, dilation)), strict=True)
    for axis, (kernel, step, pad, apart) in zip(sight, numbers, strict=True):
        reach = (kernel - 1) * apart / step
        axes.append(axis.resampled(pad / step - reach / 2, 1 / step, 1 + reach))
    return call.placed((axes[0], axes[1]), (-2, -1))


def max_pool(call: ExecutedOperation) -> Sight:
    """Slide over a map and take the largest."""
    kernel = call.args[1]
    stride = call.argument(2, None) or kernel
    return _slide(call, kernel, stride, call.argument(3, 0), call.argument(4, 1))


def average_pool(call: ExecutedOperation) -> Sight:
    """Slide over a map and take means."""
    kernel = call.args[1]
    return _slide(call, kernel, call.argument(2, None) or kernel, call.argument(3, 0), 1)


def adaptive_pool(call: ExecutedOperation) -> Sight:
    """Windows that overlap unevenly where the lengths do not divide."""
    shape, sight = call.only()
    _last_two(sight, shape)
    axes = [
        axis.resampled(*_adaptive_windows(shape[dim], call.shape[dim]))
        for axis, dim in zip(sight, (-2, -1), strict=True)
    ]
    return call.placed((axes[0], axes[1]), (-2, -1))


def _adaptive_windows(old: int, new: int) -> tuple[float, float, float]:
    """Return where the first window's centre is, their distance, and a length that holds each.

    Window i is of positions floor(i old / new) to ceil((i + 1) old / new), as torch has it.
    """
    ratio = old / new
    first = _centred(ratio)
    half = max(
        max(first + i * ratio - i * old // new, -(-(i + 1) * old // new) - 1 - first - i * ratio)
        for i in range(new)
    )
    return first, ratio, 2 * half + 1


def _resized(
    call: ExecutedOperation,
    look: Callable[[float], tuple[float, float]],
    corners: bool = False,
    scales: Sequence[float | None] = (),
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
    scales : sequence of (float or None), optional
        How many times more positions there are, where the lengths do not say it exactly.
    """
    shape, sight = call.only()
    _last_two(sight, shape)
    axes = []
    for i, (axis, dim) in enumerate(zip(sight, (-2, -1), strict=True)):
        scale = scales[i] if len(scales) == 2 else None
        ratio = 1 / scale if scale else shape[dim] / call.shape[dim]
        first, reach = look(ratio)
        if corners and call.shape[dim] > 1:
            first, ratio = 0.0, (shape[dim] - 1) / (call.shape[dim] - 1)
        axes.append(axis.resampled(first, ratio, reach))
    return call.placed((axes[0], axes[1]), (-2, -1))


def _last_two(sight: Sight, shape: Sequence[int]) -> None:
    """Give up if rows and columns are not the last dimensions."""
    if any(dim not in (None, len(shape) - 2 + i) for i, dim in enumerate(dims_of(sight, shape))):
        raise LostError("rows and columns are not the last dimensions")


def _centred(ratio: float) -> float:
    return (ratio - 1) / 2


def nearest(call: ExecutedOperation) -> Sight:
    """Look at the position that is a place times the ratio, rounded down."""

    def look(ratio: float) -> tuple[float, float]:
        if ratio.is_integer():
            return 0, 1
        return (_centred(ratio), 2 - ratio) if (1 / ratio).is_integer() else (-0.5, 2)

    return _resized(call, look, scales=call.args[2:4])


def nearest_exact(call: ExecutedOperation) -> Sight:
    """Look at the position that is nearest to the middle of a place."""
    return _resized(call, lambda ratio: (_centred(ratio), 2), scales=call.args[2:4])


def between(neighbours: int) -> Callable[[ExecutedOperation], Sight]:
    """Make the rule of an interpolation between so many neighbours on each side."""

    def look(ratio: float) -> tuple[float, float]:
        return _centred(ratio), 2 * neighbours * max(1, math.ceil(ratio)) + 1

    def rule(call: ExecutedOperation) -> Sight:
        corners = call.argument(2, False) is True
        return _resized(call, look, corners, call.args[3:5])

    return rule


def shuffle(call: ExecutedOperation) -> Sight:
    """Channels become rows and columns."""
    return _resized(call, lambda ratio: (_centred(ratio), 2 - ratio))


def unshuffle(call: ExecutedOperation) -> Sight:
    """Rows and columns become channels."""
    return _resized(call, lambda ratio: (_centred(ratio), ratio))


def im2col(call: ExecutedOperation) -> Sight:
    """Windows stand in reading order in the last dimension."""
    shape, sight = call.only()
    numbers = [_pair(one) for one in call.args[1:5]]  # kernel, dilation, padding, stride
    axes = []
    for axis, dim, place, (kernel, apart, pad, step) in zip(
        sight, (-2, -1), dims_of(sight, shape), zip(*numbers, strict=True), strict=True
    ):
        if place not in (None, len(shape) + dim):
            raise LostError
        count = (shape[dim] + 2 * pad - apart * (kernel - 1) - 1) // step + 1
        axes.append(replace(axis.window(kernel, step, pad, apart), count=count))
    return replace(axes[0], step=axes[1].count), replace(axes[1], step=1)


def unfold(call: ExecutedOperation) -> Sight:
    """Windows along one dimension, whose elements get a dimension behind all."""
    shape, sight = call.only()
    cut, size, step = call.args[1] % len(shape), call.args[2], call.args[3]
    to = {dim: dim for dim in range(len(shape)) if dim != cut}
    rows, columns = (
        axis.window(size, step, 0, 1).along(cut, call.shape)
        if axis.count > 1 and axis.dim(shape) == cut
        else taken(axis, shape, to, call.shape)
        for axis in sight
    )
    return rows, columns
