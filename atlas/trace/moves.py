"""What operations do to positions that move elements, take some out or join tensors."""

import itertools
from collections.abc import Callable, Mapping, Sequence

from atlas.trace.axes import LostError, Sight, united
from atlas.trace.executed import ExecutedOperation, carried, dims_of, taken


def reshape(call: ExecutedOperation) -> Sight:
    """Elements in reading order stay what they are."""
    _, sight = call.only()
    dims = [axis.within(call.shape) for axis in sight if axis.count > 1]
    if len(call.shape) != 4 or not set(dims) <= {2, 3} or len(set(dims)) < len(dims):
        return sight
    rows, columns = (axis.fine(call.shape) for axis in sight)
    return rows, columns


def reduced(place: int = 1) -> Callable[[ExecutedOperation], Sight]:
    """Make the rule of what has no positions along the dimensions that are argument `place`."""

    def rule(call: ExecutedOperation) -> Sight:
        shape, sight = call.only()
        given = call.argument(place, None)
        summed = [given] if isinstance(given, int) else given
        gone = range(len(shape)) if not summed else [dim % len(shape) for dim in summed]
        kept = len(call.shape) == len(shape)
        to = {
            dim: dim - (0 if kept else sum(g < dim for g in gone))
            for dim in range(len(shape))
            if dim not in gone
        }
        left = tuple(
            whole if axis.count > 1 and axis.within(shape) in gone else axis
            for axis, whole in zip(sight, call.everything, strict=True)
        )
        return carried((left[0], left[1]), shape, to, call.shape)

    return rule


def along(call: ExecutedOperation) -> Sight:
    """Mix elements along a dimension."""
    shape, sight = call.only()
    mixed = call.args[1] % len(shape)
    return carried(sight, shape, {dim: dim for dim in range(len(shape)) if dim != mixed}, shape)


def cut_out(call: ExecutedOperation) -> Sight:
    """Keep some positions, each so many after the last."""
    shape, _ = call.only()
    cut = call.argument(1, 0) % len(shape)
    first, step = call.argument(2, None) or 0, call.argument(4, 1)
    first = min(max(first + (shape[cut] if first < 0 else 0), 0), shape[cut])
    return _kept(call, cut, first, step)


def split(call: ExecutedOperation) -> Sight:
    """Cut into parts, each so many positions long."""
    shape, _ = call.only()
    cut, lengths = call.argument(2, 0) % len(shape), call.args[1]
    first = lengths * call.which if isinstance(lengths, int) else sum(lengths[: call.which])
    return _kept(call, cut, first, 1)


def index_select(call: ExecutedOperation) -> Sight:
    """Keep positions by their numbers, evenly apart or else mixed."""
    shape, _ = call.only()
    chosen = call.args[2].flatten().tolist()
    steps = {b - a for a, b in itertools.pairwise(chosen)} or {1}
    cut = call.args[1] % len(shape)
    return along(call) if len(steps) > 1 else _kept(call, cut, chosen[0], steps.pop())


def _kept(call: ExecutedOperation, cut: int, first: int, step: int) -> Sight:
    """Keep of dimension `cut` every position that is `step` further than the last."""
    shape, sight = call.only()
    same = {dim: dim for dim in range(len(shape))}
    rows, columns = (
        axis.window(1, step, -first, 1).along(cut, call.shape)
        if axis.count > 1 and axis.dim(shape) == cut
        else taken(axis, shape, {} if axis.within(shape) == cut else same, call.shape)
        for axis in sight
    )
    return rows, columns


def flip(call: ExecutedOperation) -> Sight:
    """Turn positions round: the last is the first."""
    shape, sight = call.only()
    turned = [dim % len(shape) for dim in call.args[1]]
    rows, columns = (
        axis.reversed() if dim in turned else axis
        for axis, dim in zip(sight, dims_of(sight, shape), strict=True)
    )
    return rows, columns


def select(call: ExecutedOperation) -> Sight:
    """Keep one element along a dimension, which must not be one of positions."""
    shape, sight = call.only()
    gone = call.argument(1, 0) % len(shape)
    to = {dim: dim - (dim > gone) for dim in range(len(shape)) if dim != gone}
    return carried(sight, shape, to, call.shape)


def stack(call: ExecutedOperation) -> Sight:
    """Put tensors beside each other along a new dimension."""
    new = call.argument(1, 0) % len(call.shape)
    to = {dim: dim + (dim >= new) for dim in range(len(call.shape) - 1)}
    return _joined(call, to)


def repeat(call: ExecutedOperation) -> Sight:
    """Put copies beside each other along dimensions, which must not be those of positions."""
    shape, sight = call.only()
    more = len(call.shape) - len(shape)
    times = call.args[1][more:]
    to = {dim: dim + more for dim in range(len(shape)) if times[dim] == 1}
    return carried(sight, shape, to, call.shape)


def concatenate(call: ExecutedOperation) -> Sight:
    """Join tensors along a dimension, which must not be one of positions."""
    joined = call.argument(1, 0) % len(call.shape)
    return _joined(call, {dim: dim for dim in range(len(call.shape)) if dim != joined})


def _joined(call: ExecutedOperation, to: Mapping[int, int]) -> Sight:
    sights = [carried(sight, tensor.shape, to, call.shape) for tensor, sight in call.seen]
    for parts in zip(*sights, strict=True):
        if len({part.start for part in parts if part.count == 1 and not part.whole}) > 1:
            raise LostError  # single rows or columns, which may be put together to maps
    return united(sights, call.everything)


def pad(call: ExecutedOperation) -> Sight:
    """Pad with a constant; the widths come in pairs, from the last dimension on."""
    shape, sight = call.only()
    widths = call.args[1]
    before = {len(shape) - 1 - i: width for i, width in enumerate(widths[::2])}
    changed = {dim for i, dim in enumerate(before) if any(widths[2 * i : 2 * i + 2])}
    to = {dim: dim for dim in range(len(shape)) if dim not in changed}
    axes = []
    for axis in sight:
        dim = axis.dim(shape)
        if dim is None or dim not in changed:
            axes.append(taken(axis, shape, to, call.shape))
        else:
            axes.append(axis.window(1, 1, before[dim], 1).along(dim, call.shape))
    return axes[0], axes[1]


def permute(call: ExecutedOperation) -> Sight:
    """Give the dimensions another order."""
    shape, _ = call.only()
    return _reordered(call, [dim % len(shape) for dim in call.args[1]])


def transpose(call: ExecutedOperation) -> Sight:
    """Exchange two dimensions."""
    shape, _ = call.only()
    one, other = (dim % len(shape) for dim in (*call.args[1:], 0, 1)[:2])
    swapped = {one: other, other: one}
    return _reordered(call, [swapped.get(dim, dim) for dim in range(len(shape))])


def _reordered(call: ExecutedOperation, order: Sequence[int]) -> Sight:
    """Give the dimensions of the input another order."""
    shape, sight = call.only()
    return carried(sight, shape, {dim: place for place, dim in enumerate(order)}, call.shape)
