"""Norms that become part of the layer before them.

A batch norm by running statistics that directly follows a convolution or a linear layer, and alone
reads its output, is a scale and a shift of that layer's channels. Nothing of the network is
changed for it: the layer's step computes both, and the norm's hands its input on. This is found
from what is done with the picture, not from the order in which modules were registered.

Whoever writes such a norm out, with constants in place of its statistics, in another order of
dimensions, channel by channel, has the same relevance: what follows a layer is a norm if it *is* a
scale and a shift by channels, which its values show. Scales above zero alone change no relevance,
and stay where they are.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from atlas.relevance.weighted import Geometry
from atlas.trace.following import OF_TYPE, Value
from atlas.trace.head import find_head
from atlas.trace.kinds import IDLE, KINDS, NORMS, TYPES, WEIGHTED
from atlas.trace.record import Operation, Trace
from atlas.trace.replaying import alike, noise, numbers_of, replayed, shape_of

_RUNNING_FIRST = ("running_mean", "running_var", "weight", "bias")
_WEIGHT_FIRST = ("weight", "bias", "running_mean", "running_var")
_CASTS = (*OF_TYPE, *TYPES, "cpu", "cuda")


@dataclass(frozen=True)
class Norm:
    """y = x * scale + shift by channels, of a layer's output x that nothing else reads."""

    layer: int
    operations: tuple[int, ...]
    """Those that scale and shift; what lies between them only moves numbers."""
    scale: Tensor
    shift: Tensor
    end: Value
    """The y: the last value, in the shape of x."""


def find_norms(trace: Trace) -> list[Norm]:
    """Find the norms that directly follow a convolution or linear layer and alone read it."""
    logits = find_head(trace).logits
    found: list[Norm] = []
    parts: set[int] = set()
    for operation in trace.operations:
        channels = _channels(operation)
        if channels is None or operation.number in parts:
            continue
        norm = None
        for part in _following(trace, Value(operation.number), logits):
            norm = _extended(trace, norm, part, channels) or norm
        if norm is not None:
            found.append(norm)
            parts.update(norm.operations)
    return found


def find_turned(trace: Trace, norms: Sequence[Norm]) -> list[Norm]:
    """Find the norms of layers whose numbers are given another shape or order before.

    As of maps that are flattened, cut or flipped. They are part of the layer's rule, but computed
    where they stand, as nowhere else are there maps of the layer with its norm.
    """
    logits = find_head(trace).logits
    merged = {number for norm in norms for number in (norm.layer, *norm.operations)}
    found = []
    for operation in trace.operations:
        channels = _channels(operation)
        if channels is None or operation.number in merged:
            continue
        last = None
        for part in _following(trace, Value(operation.number), logits):
            last = _turned(trace, part, channels) or last
        if last is not None:
            found.append(last)
    return found


def find_added(trace: Trace) -> dict[int, Tensor]:
    """Find what is added to a product with a constant matrix that nothing else reads.

    As in x @ w + b, which is what a linear layer with a bias computes.

    Returns
    -------
    dict
        By the operation's number: constants, of the shape of its output for one picture.
    """
    logits = find_head(trace).logits
    found = {}
    for operation in trace.operations:
        if KINDS.get(operation.name) == "matrix" and len(operation.inputs) == 1:
            for part in _following(trace, Value(operation.number), logits):
                if (added := _added(trace, part)) is not None:
                    found[operation.number] = added
    return found


def _channels(operation: Operation) -> int | None:
    """Return the dimension of the channels of a convolution or linear layer; None for others."""
    if len(operation.inputs) != 1:
        return None
    if KINDS.get(operation.name) == "convolution":
        return 1
    linear = operation.name in ("linear", "addmm")
    return len(operation.outputs[0]) - 1 if linear else None


# What follows a layer ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Continuation:
    """Operations from a layer's output to the one value that all else is made of."""

    layer: Value
    end: Value
    scaling: tuple[int, ...]
    """Those that scale or shift."""
    last: tuple[Operation, ...]
    """All since the part before."""
    moves: bool
    """Whether numbers are moved, as by a change of shape."""


def _following(trace: Trace, layer: Value, logits: Value) -> Iterator[_Continuation]:
    """Yield longer and longer parts of what may scale and shift a layer's output by channels."""
    inside, unread = {layer}, {layer: _readers(trace, layer)}
    todo = sorted(unread[layer])
    scaling: list[int] = []
    last: list[Operation] = []
    moved = False
    while todo and not unread.keys() & {logits, trace.output}:
        number = heapq.heappop(todo)
        operation = trace.operations[number]
        if not inside.issuperset(numbers_of(operation)) or not all(operation.numbers):
            return
        moves = _moves(operation)
        if not moves and not _scales(operation):
            return
        moved = moved or (moves and operation.name not in IDLE)
        last.append(operation)
        scaling += [] if moves else [number]
        for value in numbers_of(operation):
            unread[value].discard(number)
        for place in range(len(operation.outputs)):
            made = Value(number, place)
            inside.add(made)
            unread[made] = _readers(trace, made)
            for reader in unread[made]:
                if reader not in todo:
                    heapq.heappush(todo, reader)
        unread = {value: left for value, left in unread.items() if left or value == trace.output}
        if len(unread) == 1:
            (end,) = unread
            yield _Continuation(layer, end, tuple(scaling), tuple(last), moved)
            last.clear()


def _readers(trace: Trace, value: Value) -> set[int]:
    """Return the operations that read the numbers of a value."""
    readers = trace.readers.get(value, ())
    return {number for number in readers if value in numbers_of(trace.operations[number])}


def _moves(operation: Operation) -> bool:
    """Return whether an operation gives the numbers that it takes, or moves them."""
    name = operation.name
    if KINDS.get(name) == "average":  # of the same number many times, as the values show
        return operation.shapes[0] != operation.outputs[0]
    moves = KINDS.get(name) == "moving" and not any(one in name for one in ("max", "min"))
    return moves or name in IDLE or name in _CASTS


def _scales(operation: Operation) -> bool:
    """Return whether an operation may scale and shift what it reads, one number by one."""
    kind, name = KINDS.get(operation.name), operation.name
    if any(shape != operation.outputs[0] for shape in operation.shapes):
        return False
    if kind in WEIGHTED:  # by a matrix with a diagonal alone
        most = max(operation.outputs[0])
        alone = len(operation.inputs) == 1
        return alone and all(int(one.count_nonzero()) <= most for one in _constants(operation))
    if name in ("instance_norm", "neg", *NORMS):
        return True
    return kind in ("sum", "product", "affine", "average") or (
        kind == "quotient" and name != "rdiv"
    )


def _constants(operation: Operation) -> list[Tensor]:
    positional, named = operation.arguments
    return [one for one in (*positional, *named.values()) if isinstance(one, Tensor)]


def _extended(trace: Trace, before: Norm | None, part: _Continuation, channels: int) -> Norm | None:
    """Return the norm that a part is; None if it is none, or not another than `before`."""
    literal = next((one for one in part.last if _statistics(one) is not None), None)
    alone = literal is not None and part.scaling == (literal.number,) and not part.moves
    if literal is not None and alone and channels == 1:
        scale, shift = _of_statistics(literal)
        return Norm(part.layer.operation, part.scaling, scale, shift, part.end)
    numbers = _by_numbers(trace, part, channels)
    if numbers is None:
        return None
    scale, shift = numbers
    by, offset = (1.0, 0.0) if before is None else (before.scale.cpu(), before.shift.cpu())
    further = scale / by
    shifts = bool(((shift - further * offset).abs() > 1e-9 * shift.abs()).any())
    turns = channels == 1 and not bool((further > 0).all())
    if literal is None and not shifts and (not turns or _is_summand(trace, part.end, further)):
        return None
    return Norm(part.layer.operation, part.scaling, scale, shift, part.end)


def _is_summand(trace: Trace, value: Value, scale: Tensor) -> bool:
    """Return whether a value, one number times what it was, is only added to something else.

    As in b - a: there the sum's rule knows of the sign.
    """
    readers = [trace.operations[number] for number in trace.readers.get(value, ())]
    sums = all(KINDS.get(one.name) == "sum" and len(one.inputs) == 2 for one in readers)
    return bool(readers) and sums and alike(scale, scale[:1].expand_as(scale), 1e-6)


def _by_numbers(trace: Trace, part: _Continuation, channels: int) -> tuple[Tensor, Tensor] | None:
    """Return scale and shift by channels of a part, in float64; None if it does something else."""
    shape = shape_of(trace, part.layer)
    if shape_of(trace, part.end) != shape or not part.scaling:
        return None
    places = torch.arange(math.prod(shape), dtype=torch.float64).reshape(shape)
    moved = replayed(trace, part.end, {part.layer: places}, part.scaling)
    if not alike(moved, places, 1e-12):
        return None
    numbers = _scaled_and_shifted(trace, part)
    if numbers is None:
        return None
    scale, shift = (one.movedim(channels, 0).flatten(1) for one in numbers)
    if any(not alike(one, one[:, :1].expand_as(one), 1e-6) for one in (scale, shift)):
        return None
    return scale[:, 0], shift[:, 0]


def _turned(trace: Trace, part: _Continuation, channels: int) -> Norm | None:
    """Return the norm that a part is, in another shape than that of its layer."""
    shape = shape_of(trace, part.layer)
    if not part.scaling or not part.moves:
        return None
    count = shape[channels]
    if (came := _moved(trace, part)) is None or (
        numbers := _scaled_and_shifted(trace, part)
    ) is None:
        return None
    places = came // math.prod(shape[channels + 1 :]) % count
    by_channel = []
    for one, other in zip(numbers, (1.0, 0.0), strict=True):
        each = torch.full((count,), other, dtype=torch.float64)
        each[places.flatten()] = one.flatten()
        if not alike(each[places], one, 1e-6):
            return None
        by_channel.append(each)
    scale, shift = by_channel
    if not (shift.any() or (channels == 1 and (scale <= 0).any())):
        return None
    return Norm(part.layer.operation, (), scale, shift, part.layer)


def _moved(trace: Trace, part: _Continuation) -> Tensor | None:
    """Return where in the layer's output each number of a part's end comes from, as int64.

    None where a number is made of several, or several of one.
    """
    shape = shape_of(trace, part.layer)
    places = torch.arange(math.prod(shape), dtype=torch.float64).reshape(shape)
    moved = replayed(trace, part.end, {part.layer: places}, part.scaling)
    if moved is None or not alike(moved, moved.round(), 1e-12):
        return None
    found = moved.round().long()
    each = torch.bincount(found.flatten(), minlength=math.prod(shape))
    return found if int(each.max()) == 1 else None


def _added(trace: Trace, part: _Continuation) -> Tensor | None:
    """Return what a part adds, in parts of what it multiplies by; None if nothing."""
    shape = shape_of(trace, part.layer)
    if not part.scaling or (came := _moved(trace, part)) is None:
        return None
    if (numbers := _scaled_and_shifted(trace, part)) is None:
        return None
    scale, shift = numbers
    if not shift.any() or not scale.all():
        return None
    added = torch.zeros(math.prod(shape), dtype=torch.float64)
    added[came.flatten()] = (shift / scale).flatten()
    return added.reshape(shape)


def _scaled_and_shifted(trace: Trace, part: _Continuation) -> tuple[Tensor, Tensor] | None:
    """Return by what a part multiplies, and what it adds, where its numbers come to in the end."""
    shape = shape_of(trace, part.layer)
    none, random = torch.zeros(shape, dtype=torch.float64), 10 * noise(shape)
    shift, ones, moved, some = (
        replayed(trace, part.end, {part.layer: one}, skipped)
        for one, skipped in ((none, ()), (none + 1, ()), (random, part.scaling), (random, ()))
    )
    if shift is None or ones is None or moved is None:
        return None
    return (ones - shift, shift) if alike(some, shift + (ones - shift) * moved, 1e-5) else None


def _of_statistics(operation: Operation) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a batch norm by running statistics, in float64."""
    numbers = _statistics(operation)
    assert numbers is not None, "asked before"
    mean, var, weight, bias, eps = numbers
    scale = torch.rsqrt(var.double() + eps) * (1 if weight is None else weight.double())
    return scale, (0 if bias is None else bias.double()) - mean.double() * scale


def _statistics(
    operation: Operation,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, float] | None:
    """Return mean, variance, weight, bias and epsilon of a batch norm by running statistics."""
    if operation.name not in NORMS:
        return None
    get = operation.argument
    if operation.function is F.batch_norm:
        mean, var, weight, bias = (
            get(i, name) for i, name in enumerate(_RUNNING_FIRST, 1)
        )  # fmt: skip
        training, eps = get(5, "training", default=False), get(7, "eps", 1e-5)
    else:  # torch.batch_norm, which takes them in another order
        weight, bias, mean, var = (
            get(i, name) for i, name in enumerate(_WEIGHT_FIRST, 1)
        )  # fmt: skip
        training, eps = get(5, "training"), get(7, "eps")
    if training or mean is None or var is None:
        return None
    return mean, var, weight, bias, eps


def merge_norm(
    weight: Tensor, bias: Tensor | None, norm: Norm, geometry: Geometry
) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution with a norm merged into it."""
    scale, shift = (one.to(weight.device) for one in (norm.scale, norm.shift))
    if geometry.transposed:  # (inputs, outputs of a group, ...)
        groups, each = geometry.groups, weight.shape[1]
        by_group = weight.double().reshape(groups, -1, each, *weight.shape[2:])
        ends = [1] * (weight.ndim - 2)
        whole = (by_group * scale.reshape(groups, 1, each, *ends)).reshape(weight.shape)
    else:
        whole = weight.double() * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return whole, shift + (0 if bias is None else bias.double() * scale)
