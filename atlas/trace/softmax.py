"""Softmax as networks write it out: exp(z) / sum(exp(z)), z - logsumexp(z) and the like."""

from collections.abc import Sequence

from atlas.trace.following import Value
from atlas.trace.kinds import KINDS
from atlas.trace.record import Operation, Trace

_TOTAL = ("sum", "mean")
_CHOOSING = ("amax", "amin", "max", "min", "maximum", "minimum")


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
        chooses = operation.name in _CHOOSING
        if len(operation.inputs) != 1 or not ((moves and not chooses) or operation.name in also):
            return value
        value = operation.inputs[0]
    return value
