"""Which factors of products are gates: they get no relevance, and the other factor all of it.

Where a network weighs features by a number for each, the features carry what is there and the gate
says how much of it passes (Arras et al. 2017, "signal takes all"). What is a gate follows from how
it is made, not from who calls which function, and does not change when it is scaled or shifted:

- what comes out of a function that squashes any number into two bounds: sigmoid, hard sigmoid,
  tanh, softmax and the like; also written by hand, which its values show; a clipped ReLU (ReLU6) is
  an activation function of features, and none;
- a condition (y > 0) as a number, and a divisor (1 / h);
- what is made of gates alone, and constants, by anything but weights;
- an exponential, as that of a softmax or sigmoid before it is divided, where the other factor is
  neither an exponential nor a gate.
"""

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from atlas.relevance.squashing import Squashing
from atlas.trace.bounds import ANY, Bounds
from atlas.trace.following import OF_TYPE, Value
from atlas.trace.kinds import KINDS, WEIGHTED
from atlas.trace.record import Operation, Trace
from atlas.trace.softmax import softmax_of

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
_EXPONENTIAL = ("exp", "exp2", "expm1", "special_exp2", "special_expm1", "rpow")
_LOGARITHMS = ("log", "log2", "log10", "log1p", "logsumexp", "logaddexp", "special_log1p")


@dataclass(frozen=True)
class Gates:
    """What is known of the factors of a network's products."""

    gates: frozenset[Value]
    """The values that are gates wherever they are a factor."""
    exponentials: frozenset[Value]
    """Gates of what is neither a gate nor an exponential."""
    features: Mapping[int, int]
    """Which factor of a product is no gate, if the other is one with what it is divided by later,
    as in y * g / (1 + |g|)."""

    def __contains__(self, value: object) -> bool:
        return value in self.gates


def find_gates(trace: Trace) -> Gates:
    """Return which values of a network are gates where they are a factor."""
    known = {
        value: bounds
        for operation in trace.operations
        for value, bounds in zip(operation.inputs, operation.bounds, strict=True)
    }
    gates: set[Value] = set()
    exponentials: set[Value] = set()
    for operation in trace.operations:
        made = [Value(operation.number, i) for i in range(len(operation.outputs))]
        if (
            operation.name in SQUASHING
            or divides(operation)
            or _of_gates(operation, gates)
            or _in_bounds(trace, operation, known, known.get(made[0], ANY))
            or softmax_of(trace, operation) is not None
        ):
            gates.update(made)
        elif operation.name not in _LOGARITHMS and (
            _grows(operation) or _of_gates(operation, gates | exponentials)
        ):
            exponentials.update(made)
    features: dict[int, int] = {}
    values = Squashing(trace)
    for operation in trace.operations:
        if KINDS.get(operation.name) == "affine":
            gates |= {one for one in operation.inputs if one not in gates and values.squashes(one)}
        elif _is_open(operation, gates, exponentials):
            by_values = {one for one in operation.inputs if values.squashes(one)}
            gates |= by_values
            if not by_values:
                squashed = [values.squashes_later(operation, place) for place in (0, 1)]
                if squashed[0] != squashed[1]:
                    features[operation.number] = squashed.index(False)
    return Gates(frozenset(gates), frozenset(exponentials), features)


def features_of(operation: Operation, gates: Gates) -> int | None:
    """Return which factor of a product is not a gate; None if they are of equal standing.

    Where both are gates or neither is, a tanh is the signal of a sigmoid (Arras et al. 2017), and
    a factor that is repeated weighs the other: one number for all places, or for all channels.
    """
    if len(operation.inputs) != 2 or operation.inputs[0] == operation.inputs[1]:
        return None
    if operation.number in gates.features:
        return gates.features[operation.number]
    one, other = operation.shapes
    placed = operation.placed
    are_gates = [value in gates for value in operation.inputs]
    weigh = [value in gates or value in gates.exponentials for value in operation.inputs]
    of_one_sign = [all(are_gates) and not b.signed for b in operation.bounds]
    fewer = [math.prod(one[1:]) < math.prod(other[1:]), math.prod(other[1:]) < math.prod(one[1:])]
    repeated = [
        is_repeated(one, other) or (fewer[0] and placed[1] and not placed[0]),
        is_repeated(other, one) or (fewer[1] and placed[0] and not placed[1]),
    ]
    for less in (are_gates, weigh, of_one_sign, repeated):
        if less[0] != less[1]:
            return less.index(False)
    return None


def _is_open(operation: Operation, gates: Container[Value], weigh: Container[Value]) -> bool:
    """Return whether what is known of a product's factors does not say which one is a gate."""
    if KINDS.get(operation.name) != "product" or len(set(operation.inputs)) != 2:
        return False
    ranks = [2 if one in gates else 1 if one in weigh else 0 for one in operation.inputs]
    return ranks[0] == ranks[1] < 2 or sorted(ranks) == [1, 2]


def _grows(operation: Operation) -> bool:
    """Return whether an operation is an exponential, to whatever base."""
    base = operation.argument(0, "input")
    power = operation.name in ("pow", "float_power") and not isinstance(base, Value)
    return operation.name in _EXPONENTIAL or power


def is_repeated(shape: Sequence[int], other: Sequence[int]) -> bool:
    """Return whether a factor is repeated over places or channels of the other."""
    full = (*[1] * (len(other) - len(shape)), *shape)
    return any(a == 1 and b > 1 for a, b in zip(full[1:], other[1:], strict=False))


def _numbers(operation: Operation) -> Iterator[Value]:
    """Yield the live inputs whose numbers play a part; of a quotient, what is divided."""
    if operation.name == "div" and isinstance(one := operation.argument(0, "input"), Value):
        yield one
        return
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
