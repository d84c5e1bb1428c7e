"""Which functions of a network squash any number into two bounds, by their values.

A value that is made number by number (`g / (1 + g.abs())`, `relu(g + 3) - relu(g - 3)`) is a
function of what stands before it. It is carried out again on ever larger numbers: what stays
between two bounds and is not a clipped ReLU, which gives the same of every number below zero, is a
sigmoid of some kind, however it is written.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from atlas.trace.following import OF_TYPE, Value
from atlas.trace.kinds import IDLE, KINDS, TYPES
from atlas.trace.record import Operation, Trace
from atlas.trace.replaying import LONGEST, noise, repeats, replayed, shape_of

_NAMES = """
    add sub rsub mul div rdiv neg pow rpow float_power square sqrt rsqrt reciprocal exp exp2 expm1
    log log2 log10 log1p logaddexp logaddexp2 abs sign sgn relu relu6 leaky_relu elu selu celu silu
    gelu mish hardtanh hardswish hardsigmoid hardshrink softshrink tanhshrink threshold sigmoid tanh
    softplus softsign logsigmoid clamp clamp_min clamp_max minimum maximum fmin fmax where
    masked_fill lerp addcmul addcdiv gt lt ge le eq ne logical_and logical_or logical_not
    bitwise_and bitwise_or bitwise_not and or invert erf erfc atan atan2 sin cos sinh cosh asinh
    hypot heaviside xlogy logit ndtr view reshape flatten unflatten permute transpose t T mT
    movedim squeeze unsqueeze expand expand_as broadcast_to view_as reshape_as unsafe_view
    contiguous stack select getitem unbind
"""
_ONE_BY_ONE = frozenset((*_NAMES.split(), *IDLE, *OF_TYPE, *TYPES))
"""Operations whose every number is made of one number of each thing they read."""

_LARGE, _LARGER, _MOST = 20.0, 60.0, 3.0
"""Scales at which a function is looked at, and the largest number at scale 1: powers of e, also the
cube of one, are still numbers in float64."""


class Squashing:
    """Looks at the functions of a network by their values."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._first = repeats(trace)

    def squashes(self, value: Value) -> bool:
        """Return whether a value lies between two bounds as a gate does, whatever it is made of."""
        return self._between_bounds({value: 1})

    def squashes_later(self, operation: Operation, place: int) -> bool:
        """Return whether a factor of a product is a gate with what is multiplied or divided later.

        As g in y * g / (1 + |g|): what it is divided by is made of what g is made of.
        """
        trace, factor = self._trace, operation.inputs[place]
        factors = {factor: 1}
        sources = self._kinds(factor)
        if not sources or self._kinds(operation.inputs[1 - place]) <= sources:
            return False
        value = Value(operation.number)
        while len(readers := trace.readers.get(value, ())) == 1:
            reader = trace.operations[readers[0]]
            by = reader.argument(1, "other")
            divided = reader.name == "div" and reader.argument(0, "input") == value
            if len(reader.inputs) == 2 and (divided or reader.name == "mul"):
                other = by if divided else next(one for one in reader.inputs if one != value)
                if isinstance(other, Value) and self._kinds(other) <= sources:
                    factors[other] = factors.get(other, 0) + (-1 if divided else 1)
            elif len(reader.inputs) != 1 or not _only_scales(reader):
                break
            value = Value(reader.number)
        return len(factors) > 1 and self._between_bounds(factors)

    def _sources(self, value: Value) -> frozenset[Value]:
        """Return the values that a value is made of number by number, and that are not so made."""
        trace = self._trace
        todo, seen, found = [value], set(), set()
        while todo:
            one = todo.pop()
            if one in seen:
                continue
            seen.add(one)
            inner = one.operation >= 0 and _is_one_by_one(trace, trace.of(one))
            if inner and len(seen) < LONGEST:
                todo += trace.of(one).inputs
            else:
                found.add(one)
        return frozenset(found)

    def _kinds(self, value: Value) -> frozenset[Value]:
        """Return the sources of a value, each but once, however often it is computed."""
        return frozenset(self._first[one] for one in self._sources(value))

    def _between_bounds(self, factors: Mapping[Value, int]) -> bool:
        """Return whether a product of powers of values lies between two bounds as a gate does."""
        trace = self._trace
        sources = frozenset[Value]().union(*(self._sources(one) for one in factors))
        if sources >= factors.keys() or any(one.operation < 0 for one in sources):
            return False  # as it is, or what the picture itself is multiplied by
        given = {
            one: noise(shape_of(trace, one), self._first[one].operation).clamp(-_MOST, _MOST)
            for one in sources
        }

        def at(scale: float, below: bool = False) -> Tensor | None:
            parts = {v: -scale * x.abs() if below else scale * x for v, x in given.items()}
            product = torch.ones((), dtype=torch.float64)
            for value, power in factors.items():
                one = replayed(trace, value, parts)
                if one is None:
                    return None
                product = product * one**power
            return product

        zero, below, near, far, farther = (
            at(0), at(_LARGE, below=True), at(1), at(_LARGE), at(_LARGER)
        )  # fmt: skip
        if zero is None or below is None or near is None or far is None or farther is None:
            return False
        known = torch.stack([_range(one) for one in (near, far, farther)])
        if not known.isfinite().all() or not zero.isfinite().all():
            return False
        size = float(known[1].max() - known[1].min())
        grows = float((known[2] - known[1]).abs().max()) > 0.05 * size
        flat = bool((below == below.flatten()[0]).all())
        clipped = flat and float((zero - below).abs().max()) == 0
        return size > 0 and not grows and not clipped


def _only_scales(operation: Operation) -> bool:
    scales = KINDS.get(operation.name) in ("moving", "product", "quotient")
    return scales or operation.name in ("neg", *IDLE)


def _is_one_by_one(trace: Trace, operation: Operation) -> bool:
    name = operation.name.removeprefix("special_")
    if name in ("amax", "amin", "max", "min", "sum", "mean"):  # of a stack: as of several
        (first, *_) = operation.inputs
        return first.operation >= 0 and trace.of(first).name == "stack"
    return name in _ONE_BY_ONE


def _range(numbers: Tensor) -> Tensor:
    """Return the lowest and the highest of some numbers."""
    return torch.stack(torch.aminmax(numbers))
