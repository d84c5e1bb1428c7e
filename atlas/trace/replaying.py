"""Parts of a network as functions: carried out again on other numbers, in float64.

What a part does to what it reads (squash it, take its mean away, scale and shift it) shows in its
values, however it is written. Nothing here knows one spelling from another.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from atlas.trace.following import OF_TYPE, PICTURE, Value, tensors
from atlas.trace.record import Operation, Trace

LONGEST = 60
"""Parts of more operations are not looked at."""


def made_by(trace: Trace, value: Value, sources: Collection[Value]) -> list[Operation] | None:
    """Return the operations that make a value of `sources` alone, in order; None if others do."""
    todo = [value]
    found: dict[int, Operation] = {}
    while todo:
        one = todo.pop()
        if one in sources or one.operation in found:
            continue
        if one.operation < 0 or len(found) >= LONGEST:
            return None
        found[one.operation] = trace.of(one)
        todo += numbers_of(trace.of(one))
    return [found[number] for number in sorted(found)]


def numbers_of(operation: Operation) -> tuple[Value, ...]:
    """Return what an operation reads, without what it takes type, device or shape of alone."""
    if operation.name not in OF_TYPE:
        return operation.inputs
    first = operation.argument(0, "input")
    return tuple(value for value in operation.inputs if value == first)


@torch.no_grad()
def replayed(
    trace: Trace, value: Value, given: Mapping[Value, Tensor], skipped: Collection[int] = ()
) -> Tensor | None:
    """Return what a value is for other numbers; None where that cannot be said.

    Parameters
    ----------
    trace : Trace
        Description of the network.
    value : Value
        What is wanted.
    given : mapping
        The numbers that it is made of, in float64, of the shapes that the network has there.
    skipped : collection of int
        Operations that hand the first of what they read on.
    """
    operations = made_by(trace, value, given)
    if operations is None:
        return None
    known = dict(given)
    try:
        for operation in operations:
            if operation.number in skipped:
                known[Value(operation.number)] = known[operation.inputs[0]]
                continue
            for read in set(operation.inputs) - known.keys():  # for their shapes alone
                known[read] = torch.zeros(shape_of(trace, read), dtype=torch.float64)
            positional, named = _filled(operation.arguments, known)
            result = operation.function(*positional, **named)
            for place, one in enumerate(tensors(result)):
                known[Value(operation.number, place)] = one
    except Exception:  # whatever torch says of numbers in another precision
        return None
    found = known.get(value)
    return found if found is None or not found.is_floating_point() else found.double()


def repeats(trace: Trace) -> Mapping[Value, Value]:
    """Return for each value the first that is computed in the same way of the same."""
    first: dict[Value, Value] = {PICTURE: PICTURE}
    known: dict[Any, int] = {}
    for operation in trace.operations:
        made = (operation.name, _key(operation.arguments, first))
        number = known.setdefault(made, operation.number)
        for place in range(len(operation.outputs)):
            first[Value(operation.number, place)] = Value(number, place)
    return first


def _key(structure: Any, first: Mapping[Value, Value]) -> Any:
    """Return what arguments are to be compared by; constants are the same if they are one."""
    if isinstance(structure, Value):
        return first[structure]
    if isinstance(structure, Tensor):
        return id(structure)
    if isinstance(structure, Mapping):
        return tuple((key, _key(part, first)) for key, part in structure.items())
    if isinstance(structure, (tuple, list)):
        return tuple(_key(part, first) for part in structure)
    return repr(structure)


def shape_of(trace: Trace, value: Value) -> tuple[int, ...]:
    """Return the shape of a value, which an operation has made."""
    return trace.of(value).outputs[value.output]


def noise(shape: Sequence[int], seed: int = 0) -> Tensor:
    """Return numbers from a normal distribution, always the same, in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def alike(one: Tensor | None, other: Tensor | None, within: float = 1e-4) -> bool:
    """Return whether two results are known, finite and the same but for rounding."""
    if one is None or other is None or one.shape != other.shape or not one.numel():
        return False
    size = float(other.abs().max())
    gap = float((one - other).abs().max())  # NaN compares false
    return gap <= within * max(size, 1e-9)


def _filled(structure: Any, known: Mapping[Value, Tensor]) -> Any:
    """Return arguments with numbers in place of values, and constants in float64."""
    if isinstance(structure, Value):
        return known[structure]
    if isinstance(structure, Tensor):
        constant = structure.detach().cpu()
        return constant.double() if constant.is_floating_point() else constant
    if isinstance(structure, Mapping):
        return {key: _filled(part, known) for key, part in structure.items()}
    if type(structure) in (tuple, list):
        return type(structure)(_filled(part, known) for part in structure)
    return structure
