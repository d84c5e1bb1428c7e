"""Norms that a network writes out by hand: (y - mean(y)) / sqrt(var(y) + eps).

They pass relevance on as `layer_norm` and its like do. In a norm that is written out, the quotient
does so by its own rule (a divisor gets nothing); left is the sum that takes the mean away, where
all relevance goes to y. Where nothing is divided by a statistic of y, y - mean(y) is a sum like any
other.
"""

from collections.abc import Iterator, Mapping

from atlas.relevance.gates import divides, is_repeated
from atlas.trace.following import Value
from atlas.trace.kinds import IDLE, KINDS, WEIGHTED
from atlas.trace.record import Operation, Trace
from atlas.trace.softmax import behind

_AVERAGING = (
    "mean", "sum", "var_mean", "std_mean", "avg_pool2d", "adaptive_avg_pool1d",
    "adaptive_avg_pool2d", "adaptive_avg_pool3d", "einsum",
)  # fmt: skip


def norms_by_hand(trace: Trace) -> Mapping[int, int]:
    """Return which summand is y, by the number of each sum that takes a norm's mean away.

    Both (y - m) / s and y * r - m * r are found, however m, s and r are computed from y.
    """
    found = {}
    for operation in trace.operations:
        if operation.name not in ("add", "sub") or len(operation.inputs) != 2:
            continue
        for place in (0, 1) if operation.name == "add" else (0,):
            y, mean = operation.inputs[place], operation.inputs[1 - place]
            if operation.name == "add" and not _is_negative(trace, mean):
                continue
            one, other = operation.shapes[1 - place], operation.shapes[place]
            source = _scaled(trace, y)
            averages = is_repeated(one, other) and _averages(trace, mean, source or y)
            if averages and (source or _divided(trace, Value(operation.number), y)):
                found[operation.number] = place
    return found


def _is_negative(trace: Trace, value: Value) -> bool:
    """Return whether a value is -m, or b - m with a constant b."""
    value = behind(trace, value)
    if value.operation < 0 or len(trace.of(value).inputs) != 1:
        return False
    operation = trace.of(value)
    constant = not isinstance(operation.argument(0, "input"), Value)
    return operation.name in ("neg", "rsub") or (operation.name == "sub" and constant)


def _scaled(trace: Trace, value: Value) -> Value | None:
    """Return the y of y * r or y / s, where r and s are computed from y; None if there is none."""
    operation = trace.of(value) if value.operation >= 0 else None
    if operation is None or len(operation.inputs) != 2:
        return None
    for place in (0, 1):
        y = operation.inputs[place]
        if _divided_in(trace, operation, place, y):
            return y
    return None


def _divided(trace: Trace, centred: Value, source: Value) -> bool:
    """Return whether y - mean(y), as it is or scaled, is divided by a statistic of y."""
    for number in trace.readers.get(centred, ()):
        reader = trace.operations[number]
        if any(
            value == centred and _divided_in(trace, reader, place, source)
            for place, value in enumerate(reader.inputs)
        ):
            return True
        kind = KINDS.get(reader.name)
        scales = kind in ("moving", "product", "quotient", "sum") or reader.name in IDLE
        if len(reader.inputs) == 1 and scales and _divided(trace, Value(number), source):
            return True
    return False


def _divided_in(trace: Trace, operation: Operation, place: int, source: Value) -> bool:
    """Return whether an operation divides its input `place` by a statistic of `source`."""
    if len(operation.inputs) != 2 or operation.name not in ("mul", "div"):
        return False
    if operation.name == "div" and place != 0:
        return False
    by = operation.inputs[1 - place]
    if not is_repeated(operation.shapes[1 - place], operation.shapes[place]):
        return False
    made = _from_alone(trace, by, source)
    return bool(made) and (operation.name == "div" or any(divides(one) for one in made))


def _averages(trace: Trace, value: Value, source: Value) -> bool:
    return any(one.name in _AVERAGING for one in _from_alone(trace, value, source))


def _from_alone(trace: Trace, value: Value, source: Value) -> list[Operation]:
    """Return the operations that make a value from `source`; none where others have a part."""
    made = list(_above(trace, value, source))
    for operation in made:
        weighs = KINDS.get(operation.name) in WEIGHTED
        if (weighs and operation.name != "einsum") or operation.number <= source.operation:
            return []
    return made


def _above(trace: Trace, value: Value, source: Value) -> Iterator[Operation]:
    """Yield the operations that a value is made by, back to `source`, or to what was before it."""
    todo, seen = [value], {source}
    while todo:
        one = todo.pop()
        if one in seen or one.operation < 0:
            continue
        seen.add(one)
        yield trace.of(one)
        if one.operation > source.operation:
            todo += trace.of(one).inputs
