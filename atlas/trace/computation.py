"""A hash of what a network computes: the same if, and only if, it computes the same way.

The weights have a hash of their own. Two networks with the same weights can still compute
different things; what they do with a picture distinguishes them.
"""

import hashlib
from typing import Any

from torch import Tensor, nn

from atlas.trace.following import Value, mapped
from atlas.trace.record import Trace, is_computed

DIGITS = 3
"""Digits that count of the sums of what is computed from weights, whose last bits differ from
machine to machine."""


def computation_hash(trace: Trace) -> str:
    """Return the SHA-256 of a network's operations: 64 hexadecimal digits.

    Their names, what each reads, the numbers it is called with and the shapes of its outputs
    count; of tensors that are parameters the shape alone, of what is computed from them their
    sum, of all others every number.
    """
    digest = hashlib.sha256()
    for operation in trace.operations:
        given = mapped(_described, operation.arguments)
        line = operation.name, operation.inputs, operation.outputs, _plain(given)
        digest.update(repr(line).encode())
    digest.update(repr(trace.output).encode())
    return digest.hexdigest()


def _described(one: Tensor) -> tuple[Any, ...]:
    if isinstance(one, nn.Parameter):
        content = ""
    elif is_computed(one) and one.is_floating_point():
        content = f"{float(one.double().sum()):.{DIGITS}g}"
    else:  # indices, conditions, numbers that stand in the code
        numbers = one.double() if one.is_floating_point() else one
        content = hashlib.sha256(numbers.cpu().numpy().tobytes()).hexdigest()
    return "tensor", tuple(one.shape), content


def _plain(structure: Any) -> Any:
    """Return arguments as text that is the same in every process."""
    if isinstance(structure, Value) or structure is None:
        return structure
    if isinstance(structure, (bool, int, float, str)):
        return structure
    if isinstance(structure, (tuple, list)):
        return [_plain(part) for part in structure]
    if isinstance(structure, dict):
        return {str(key): _plain(part) for key, part in structure.items()}
    if isinstance(structure, slice):
        return [_plain(part) for part in (structure.start, structure.stop, structure.step)]
    return type(structure).__name__
