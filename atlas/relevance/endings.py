"""What a network does behind its last weights, and whether what it returns is a logit.

Relevance starts at a number and is handed down, so the number must be one that more evidence makes
larger, without end: a sum of weighed features. Behind its last weights a network may move such
numbers, average and add them, scale them by constants, choose the largest of several, cut them off
with a function that is straight in pieces, and weigh them by gates that are made of something else.
All else (tanh, a softmax among others, division by their own length) makes another thing of them,
of which the parts of relevance are no parts. Where such functions are the known ends of networks,
relevance starts before them (`atlas.trace.head`).
"""

import math
from collections.abc import Iterable

from torch import Tensor

from atlas.relevance.gates import Gates, features_of, find_gates
from atlas.trace.bounds import Bounds
from atlas.trace.following import Value
from atlas.trace.head import LEAVING, Head
from atlas.trace.kinds import IDLE, KINDS, NORMS, TYPES, WEIGHTED
from atlas.trace.record import Operation, Trace
from atlas.trace.replaying import repeats

WIDE = 10.0
"""Numbers that are cut off on both sides, but not below this, are as good as not cut off: a
softmax or sigmoid does not tell them from larger ones."""

PROBABILITIES = (*LEAVING, "hardsigmoid", "softmin")
"""Functions that give probabilities, or their logarithms."""

_STRAIGHT = ("neg", "pos", "positive", "relu", "leaky_relu", "prelu", "rrelu", "abs", "threshold")
"""Functions of single numbers that are straight in pieces, and end nowhere."""

_CUT = ("clamp", "clamp_min", "clamp_max", "relu6", "hardtanh")
"""Those that may end on both sides."""

_ACTIVATIONS = (*_CUT, "elu", "selu", "celu", "silu", "gelu", "mish", "hardswish", "softplus")
"""Activation functions, which a map may pass before it is averaged, as in other layers."""


_ADDING = ("product", "quotient", "sum", "average", "moving", "affine", "matrix")
"""Kinds of operations that weigh, add, move and choose."""

_PICKING = ("gather", "index", "getitem", "index_select", "take_along_dim", "index_copy", "scatter")
"""Functions that put values at places; which, must not depend on the picture."""


def not_logits(trace: Trace, head: Head) -> str:
    """Return in words what makes no logits of what a network returns; "" if nothing does.

    Parameters
    ----------
    trace : Trace
        Trace of the network.
    head : Head
        What is taken for its logits.
    """
    gates = find_gates(trace)
    behind = behind_last_weights(trace, head)
    same = repeats(trace)
    todo, seen = [head.logits], set[Value]()
    while todo:
        value = todo.pop()
        if value.operation not in behind or value in seen:
            continue
        seen.add(value)
        operation = trace.of(value)
        signal, factors = _parts(operation, gates)
        if not signal or not _may_be(operation):
            return _named(operation)
        placed = any(
            known
            for one, known in zip(operation.inputs, operation.placed, strict=True)
            if one in signal
        )
        own = {same[Value(number)] for number in _to_weights(trace, signal)[1]}
        if not placed and own & {same[Value(number)] for number in _above(trace, factors)}:
            verb = "divides by" if KINDS.get(operation.name) == "quotient" else "multiplies with"
            return f"{verb} a function of what it returns itself ({operation})"
        if len(signal) > 1 and KINDS.get(operation.name) == "product":
            return f"multiplies two features with each other ({operation})"
        todo += signal
    return ""


def behind_last_weights(trace: Trace, head: Head) -> frozenset[int]:
    """Return the operations between a network's last weights and its logits."""
    above, last = _to_weights(trace, [head.logits])
    # What other weights stand behind is no end, though it may have a part in one, as a length.
    before = {one for number in last for one in _above(trace, [Value(number)]) if one != number}
    return frozenset(above - before)


def _weighs(operation: Operation) -> bool:
    """Return whether an operation weighs values by constants."""
    return KINDS.get(operation.name) in WEIGHTED and len(operation.inputs) == 1


def _above(trace: Trace, values: Iterable[Value]) -> set[int]:
    """Return the numbers of all operations that values are made by."""
    todo, found = list(values), set[int]()
    while todo:
        value = todo.pop()
        if value.operation >= 0 and value.operation not in found:
            found.add(value.operation)
            todo += trace.of(value).inputs
    return found


def _to_weights(trace: Trace, values: Iterable[Value]) -> tuple[set[int], set[int]]:
    """Return the operations that values are made by, up to weights, and those with the weights."""
    todo, above, last = list(values), set[int](), set[int]()
    while todo:
        value = todo.pop()
        if value.operation < 0 or value.operation in above | last:
            continue
        operation = trace.of(value)
        if _weighs(operation):
            last.add(value.operation)
        else:
            above.add(value.operation)
            todo += operation.inputs
    return above, last


def _parts(operation: Operation, gates: Gates) -> tuple[list[Value], list[Value]]:
    """Return the inputs that are the signal, and those that only scale it."""
    given = operation.arguments[0]
    kind = KINDS.get(operation.name)
    numbers = [
        value for value, number in zip(operation.inputs, operation.numbers, strict=True) if number
    ]
    scaling: list[Value] = []
    if kind == "product" and len(numbers) > 1:
        features = features_of(operation, gates)
        if features is not None:
            scaling = [one for i, one in enumerate(operation.inputs) if i != features]
    elif kind == "quotient":
        scaling = [one for one in given[1:] if isinstance(one, Value)]
        if operation.name == "rdiv" or not isinstance(operation.argument(0, "input"), Value):
            return [], []
    elif kind in ("affine", "matrix"):
        scaling = [one for one in numbers if one in gates]
    elif kind == "passing":
        numbers = numbers[:1]
    return [one for one in numbers if one not in scaling], scaling


def _may_be(operation: Operation) -> bool:
    """Return whether what an operation makes of logits are logits."""
    name = operation.name
    if name in _PICKING and not all(operation.numbers):
        return False
    if name in NORMS:  # by constants
        return not operation.argument(5, "training", False)
    if name in _CUT and not operation.placed[0]:
        low, high = _ends(operation)
        return high >= WIDE or low == -math.inf
    adds = KINDS.get(name) in _ADDING or name in (*IDLE, *TYPES, *_STRAIGHT)
    return adds or (operation.placed[0] and name in _ACTIVATIONS)


def _ends(operation: Operation) -> Bounds:
    """Return where numbers are cut off, by a function and by those before it."""
    known, given = operation.bounds[0], operation.argument
    ends: dict[str, tuple[object, object]] = {
        "clamp": (given(1, "min"), given(2, "max")),
        "clamp_min": (given(1, "min"), None),
        "clamp_max": (None, given(1, "max")),
        "relu6": (0, 6),
        "hardtanh": (given(1, "min_val", -1), given(2, "max_val", 1)),
    }
    low, high = (_number(one) for one in ends[operation.name])
    return Bounds(
        known.low if low is None else max(known.low, low),
        known.high if high is None else min(known.high, high),
    )


def _number(one: object) -> float | None:
    if isinstance(one, Tensor) and one.numel() == 1:
        return float(one)
    return one if isinstance(one, (int, float)) else None


def _named(operation: Operation) -> str:
    if operation.name in _CUT:
        return f"cuts numbers off on both sides ({operation})"
    if operation.name in _PICKING:
        return f"puts numbers at places that depend on the picture ({operation})"
    if KINDS.get(operation.name) == "quotient":
        return f"divides by what it returns ({operation})"
    says = ": these are probabilities, no logits" if operation.name in PROBABILITIES else ""
    return f"computes {operation}{says}"
