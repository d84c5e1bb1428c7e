"""Norms that a network writes out by hand: (y - mean(y)) / sqrt(var(y) + eps).

They pass relevance on as `layer_norm` and its like do. In a norm that is written out, the quotient
does so by its own rule (a divisor gets nothing); left is what takes the mean away, where all
relevance goes to y: a sum, or a product with a constant matrix. Whether it is part of a norm shows
in the values: what comes out does not change when y is multiplied by a number, nor when a number
is added to it, whether the mean is `mean`, a convolution or a product with a matrix of equal
numbers. Where nothing is divided by a statistic of y, y - mean(y) is a sum like any other.
"""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from atlas.trace.following import OF_TYPE, Value
from atlas.trace.kinds import IDLE, KINDS, TYPES, WEIGHTED
from atlas.trace.record import Operation, Trace
from atlas.trace.replaying import alike, made_by, noise, replayed, shape_of

_STATISTICS = (
    "pow", "square", "sqrt", "exp", "neg", "log1p", "abs", "normalize", *OF_TYPE, *TYPES, *IDLE,
)  # fmt: skip
"""Functions of one number each that a norm may be made of; activation functions are none."""

_DEEPEST = 6
"""At most so many scales and changes of shape lie between what takes the mean away and the norm."""


def norms_by_hand(trace: Trace) -> Mapping[int, int]:
    """Return which input is y, by the number of each operation that takes a norm's mean away.

    Both (y - m) / s and y * r - m * r are found, however m, s and r are computed from y.
    """
    found = {}
    for operation in trace.operations:
        result = Value(operation.number)
        for place, source in _sources(trace, operation):
            if any(_is_norm(trace, one, source) for one in _further(trace, result)):
                found[operation.number] = place
                break
    return found


def _sources(trace: Trace, operation: Operation) -> Iterator[tuple[int, Value]]:
    """Yield the inputs of an operation that may take their mean away, with the y of each."""
    kind = KINDS.get(operation.name)
    if kind in WEIGHTED and len(operation.inputs) == 1:
        (y,) = operation.inputs
        same = y.operation >= 0 and operation.shapes[0] == operation.outputs[0]
        if same and _adds_up_to_nothing(operation):
            yield 0, y
        return
    if kind != "sum" or len(operation.inputs) != 2:
        return
    for place in (0, 1):
        y, mean = operation.inputs[place], operation.inputs[1 - place]
        for source in _behind(trace, y):
            made = made_by(trace, mean, {source})
            if made and all(_may_be_a_statistic(one) for one in made):
                yield place, source


def _behind(trace: Trace, value: Value, depth: int = 0) -> Iterator[Value]:
    """Yield a value, and what it is but for its scale, its shape and a quotient."""
    if value.operation < 0 or depth > _DEEPEST:
        return
    yield value
    operation = trace.of(value)
    if len(operation.inputs) == 1 and _only_scales(operation):
        yield from _behind(trace, operation.inputs[0], depth + 1)
    elif operation.name in ("mul", "div") and not depth:
        for one in operation.inputs:
            yield from _behind(trace, one, _DEEPEST)


def _only_scales(operation: Operation) -> bool:
    scales = KINDS.get(operation.name) in ("moving", "product", "quotient", "sum")
    return scales or operation.name in (*IDLE, *OF_TYPE, "neg", "float", "double")


def _may_be_a_statistic(operation: Operation) -> bool:
    return KINDS.get(operation.name) != "passing" or operation.name in _STATISTICS


def _adds_up_to_nothing(operation: Operation) -> bool:
    """Return whether an operation weighs by a square matrix that makes nothing of equal numbers."""
    positional, named = operation.arguments
    for one in (*positional, *named.values()):
        if isinstance(one, Tensor) and one.ndim >= 2 and one.is_floating_point():
            matrix = one.detach().squeeze()
            if matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] > 1:
                size = 1e-5 * len(matrix) * float(matrix.abs().max())
                if any(float(matrix.sum(dim).abs().max()) < size for dim in (0, 1)):
                    return alike(matrix.double() @ matrix.double(), matrix.double())
    return False


def _further(trace: Trace, value: Value, depth: int = 0) -> Iterator[Value]:
    """Yield a value, what reads it, and what reads that where it only scales or moves numbers."""
    if not depth:
        yield value
    for number in trace.readers.get(value, ()) if depth < _DEEPEST else ():
        reader, made = trace.operations[number], Value(number)
        yield made
        if len(reader.inputs) == 1 and _only_scales(reader):
            yield from _further(trace, made, depth + 1)


def _is_norm(trace: Trace, value: Value, source: Value) -> bool:
    """Return whether a value stays when all of `source` is multiplied, or has a number added."""
    shape = shape_of(trace, source)
    if math.prod(shape) != math.prod(shape_of(trace, value)) or math.prod(shape) < 2:
        return False
    y = 1e3 * noise(shape)
    usual = replayed(trace, value, {source: y})
    if usual is None or not alike(replayed(trace, value, {source: 7 * y}), usual):
        return False
    if not alike(replayed(trace, value, {source: y + 500}), usual):
        return False
    other = replayed(trace, value, {source: 1e3 * noise(shape, seed=1)})
    return other is not None and not torch.allclose(other, usual)
