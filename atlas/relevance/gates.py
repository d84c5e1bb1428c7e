"""Which factors of products are gates: they get no relevance, and the other factor all of it.

Where a network weighs features by a number for each, the features carry what is there and the gate
says how much of it passes (Arras et al. 2017, "signal takes all"). What is a gate follows from how
it is made, not from who calls which function, and does not change when it is scaled or shifted:

- what comes out of a function that squashes any number into two bounds: sigmoid, hard sigmoid,
  tanh, softmax and the like, also written by hand as exp(z) / sum(exp(z)), exp(-softplus(z)) or a
  clip with 0 inside; a clipped ReLU (ReLU6) is an activation function of features, and none;
- a condition (y > 0) as a number, and a divisor (1 / h);
- what is made of gates alone, and constants, by anything but weights.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from atlas.trace.bounds import ANY, Bounds
from atlas.trace.following import OF_TYPE, Value
from atlas.trace.kinds import KINDS, WEIGHTED
from atlas.trace.record import Operation, Trace

SQUASHING = (
    "sigmoid", "hardsigmoid", "softmax", "softmin", "tanh", "erf", "softsign", "sign", "heaviside",
    "sin", "cos", "atan",
)  # fmt: skip
"""Functions that put any number between two bounds."""

_DIVIDING = ("reciprocal", "rsqrt", "rdiv")
_CLIPPING = (
    "relu6", "hardtanh", "clamp", "clamp_min", "clamp_max", "minimum", "maximum", "min", "max",
    "relu", "threshold",
)  # fmt: skip
_SHIFTING = ("add", "sub", "rsub", "mul", "div", "neg")
_TOTAL = ("sum", "mean", "amax")


def find_gates(trace: Trace) -> frozenset[Value]:
    """Return the values of a network that are gates wherever they are a factor."""
    known = {
        value: bounds
        for operation in trace.operations
        for value, bounds in zip(operation.inputs, operation.bounds, strict=True)
    }
    gates: set[Value] = set()
    for operation in trace.operations:
        made = [Value(operation.number, i) for i in range(len(operation.outputs))]
        if (
            operation.name in SQUASHING
            or divides(operation)
            or _of_gates(operation, gates)
            or _in_bounds(trace, operation, known, known.get(made[0], ANY))
            or _is_softmax(trace, operation)
        ):
            gates.update(made)
    return frozenset(gates)


def features_of(operation: Operation, gates: frozenset[Value]) -> int | None:
    """Return which factor of a product is not a gate; None if they are of equal standing.

    Where both are gates or neither is, a tanh is the signal of a sigmoid (Arras et al. 2017), and
    one number for the whole map weighs what has a number for each place.
    """
    if len(operation.inputs) != 2 or operation.inputs[0] == operation.inputs[1]:
        return None
    one, other = operation.shapes
    placed = operation.placed
    are_gates = [value in gates for value in operation.inputs]
    of_one_sign = [all(are_gates) and not b.low < 0 < b.high for b in operation.bounds]
    repeated = [
        is_repeated(one, other) or (placed[1] and not placed[0]),
        is_repeated(other, one) or (placed[0] and not placed[1]),
    ]
    for less in (are_gates, of_one_sign, repeated):
        if less[0] != less[1]:
            return less.index(False)
    return None


def is_repeated(shape: Sequence[int], other: Sequence[int]) -> bool:
    """Return whether a factor is repeated over places of the other."""
    full = (*[1] * (len(other) - len(shape)), *shape)
    return any(a == 1 and b > 1 for a, b in zip(full[1:], other[1:], strict=False))


def _numbers(operation: Operation) -> Iterator[Value]:
    """Yield the live inputs whose numbers play a part."""
    for place, (value, number) in enumerate(zip(operation.inputs, operation.numbers, strict=True)):
        if number and not (place and operation.name in OF_TYPE):
            yield value


def _of_gates(operation: Operation, gates: set[Value]) -> bool:
    """Return whether an operation reads gates and conditions alone."""
    weighs = KINDS.get(operation.name) in WEIGHTED
    return not weighs and all(value in gates for value in _numbers(operation))


def divides(operation: Operation) -> bool:
    """Return whether an operation gives one over a number, or over its power."""
    exponent = operation.argument(1, "exponent")
    below = isinstance(exponent, (int, float)) and exponent < 0
    return operation.name in _DIVIDING or (operation.name == "pow" and below)


def _in_bounds(
    trace: Trace, operation: Operation, known: dict[Value, Bounds], bounds: Bounds
) -> bool:
    """Return whether an operation gives any number two bounds, and is no clipped ReLU."""
    ends = [known.get(value, ANY) for value in _numbers(operation)]
    if not bounds.finite or not ends or any(one.finite for one in ends):
        return False
    if operation.name not in _CLIPPING:
        return True
    centre = _at_zero(trace, Value(operation.number))
    return centre is not None and bounds.low < centre < bounds.high


def _at_zero(trace: Trace, value: Value) -> float | None:
    """Return what shifts, scales and clips by plain numbers make of 0."""
    if value.operation < 0:
        return 0.0
    operation = trace.of(value)
    if operation.name not in (*_CLIPPING, *_SHIFTING) or len(operation.inputs) != 1:
        return 0.0
    positional, named = operation.arguments
    if any(isinstance(x, Tensor) and x.ndim for x in (*positional, *named.values())):
        return 0.0  # by learned numbers, as a layer's bias
    before = _at_zero(trace, operation.inputs[0])
    if before is None:
        return None
    zero = torch.tensor(before, dtype=torch.float64)
    fill: Any = lambda one: zero if isinstance(one, Value) else one  # noqa: E731
    result = operation.function(*map(fill, positional), **{k: fill(x) for k, x in named.items()})
    return float(result) if isinstance(result, Tensor) and not result.ndim else None


# Softmax written by hand ------------------------------------------------------------------


def _is_softmax(trace: Trace, operation: Operation) -> bool:
    """Return whether an operation is the last of exp(z) / sum(exp(z)) or exp(z - logsumexp(z))."""
    return softmax_of(trace, operation) is not None


def softmax_of(trace: Trace, operation: Operation) -> Value | None:
    """Return the z of a softmax by hand, of which an operation is the last; None if it is none."""
    if operation.name == "exp" and len(operation.inputs) == 1:
        return log_softmax_of(trace, operation.inputs[0])
    over = quotient_of(trace, operation)
    if over is None:
        return None
    top, below = over
    total = behind(trace, below, ("add", "clamp", "clamp_min"))
    if total.operation < 0 or top.operation < 0 or trace.of(top).name != "exp":
        return None
    if trace.of(total).name not in _TOTAL or trace.of(total).inputs[0] != top:
        return None
    return trace.of(top).inputs[0]


def log_softmax_of(trace: Trace, value: Value) -> Value | None:
    """Return the z of z - logsumexp(z); None if a value is something else."""
    operation = trace.of(value) if value.operation >= 0 else None
    if operation is None or operation.name != "sub" or len(operation.inputs) != 2:
        return None
    z, taken = operation.inputs[0], behind(trace, operation.inputs[1])
    if taken.operation < 0 or trace.of(taken).name != "logsumexp":
        return None
    return z if trace.of(taken).inputs[0] == z else None


def quotient_of(trace: Trace, operation: Operation) -> tuple[Value, Value] | None:
    """Return a and b of a / b or a * (1 / b); None if an operation is something else."""
    if len(operation.inputs) != 2:
        return None
    one, other = operation.inputs
    if operation.name == "div":
        return one, other
    if operation.name == "mul":
        for top, inverse in ((one, other), (other, one)):
            below = behind(trace, inverse)
            if below.operation >= 0 and trace.of(below).name in ("reciprocal", "rdiv"):
                return top, trace.of(below).inputs[0]
    return None


def behind(trace: Trace, value: Value, also: Sequence[str] = ()) -> Value:
    """Return what a value is but for its shape, and for operations `also` of it alone."""
    while value.operation >= 0:
        operation = trace.of(value)
        moves = KINDS.get(operation.name) == "moving" and value.output == 0
        chooses = operation.name in (*_CLIPPING, *_TOTAL)
        if len(operation.inputs) != 1 or not ((moves and not chooses) or operation.name in also):
            return value
        value = operation.inputs[0]
    return value
