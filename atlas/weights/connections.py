"""By which weights the channels of a layer read those of others.

The weights of a convolution or a linear layer, with the norm behind it merged into them, are laid
on the channels from which its input is made (`atlas.weights.origins`). Of a kernel, and of the
places of a map that a linear layer reads, the largest and the smallest weight count: a kernel that
looks for an edge adds up to nothing and still reads its input.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from atlas.relevance.merging import Norm, find_norms, merge_norm
from atlas.relevance.plan import convolution_of
from atlas.trace.following import PICTURE, Value
from atlas.trace.head import find_head
from atlas.trace.kinds import KINDS
from atlas.trace.record import Operation, Trace
from atlas.weights.origins import Carrying, Mixture, Origin, unit_channels

Weights = npt.NDArray[np.float64]

CLASSES = ""
"""In place of a layer's name: the network's logits, one for each class."""

THE_PICTURE = "the picture"


@dataclass(frozen=True)
class Incoming:
    """What a layer reads."""

    layer: str
    """Its name, or `CLASSES`."""
    inputs: tuple[tuple[str, int], ...]
    """Layer and channel of all that it reads, of the layers of the atlas."""
    largest: Weights
    """(channels, inputs): the largest weight, none below 0."""
    smallest: Weights
    """(channels, inputs): the smallest weight, none above 0."""
    left_out: Mapping[str, int]
    """How many channels it reads besides that the atlas does not have, by where they come from."""
    problem: str = ""
    """Why it is not known what it reads; empty if it is."""


def incoming(trace: Trace, layers: Sequence[str]) -> Iterator[Incoming]:
    """Yield what the layers of an atlas read, in the order of the forward pass; then the classes.

    Parameters
    ----------
    trace : Trace
        Description of the network.
    layers : sequence of str
        The layers of the atlas.
    """
    yield from _Walk(trace, layers).go()


@dataclass(frozen=True)
class _WeighedInput:
    """A convolution or linear layer, and of what its input channels are made."""

    operation: Operation
    mixtures: Sequence[Mixture] | None
    lost: str


class _Walk:
    """Goes through a network's operations."""

    def __init__(self, trace: Trace, layers: Sequence[str]) -> None:
        self._trace = trace
        self._head = find_head(trace)
        norms = find_norms(trace)
        self._norms = {norm.layer: norm for norm in norms}
        self._merged = {number: norm.layer for norm in norms for number in norm.operations}
        self._names: dict[Value, list[str]] = {}
        for name in layers:
            value = trace.layers[name].value
            assert value is not None, "layers of an atlas have maps"
            self._names.setdefault(value, []).append(name)
        self._units: list[tuple[str, int, int | None]] = []
        """Where each unit is: layer (or place), channel, and the operation if not measured."""
        self._readings: dict[int, _WeighedInput] = {}

    def go(self) -> Iterator[Incoming]:
        """Yield what each layer reads."""
        trace = self._trace
        carrying = Carrying(trace, self._merged)
        origins: dict[Value, Origin] = {}
        last = {value: max(readers) for value, readers in trace.readers.items()}
        for operation in trace.operations[: self._head.logits.operation + 1]:
            for value, shape in zip(operation.inputs, operation.shapes, strict=True):
                if value == PICTURE and value not in origins:
                    origins[value] = self._new(THE_PICTURE, shape, 1, None)
            inputs = [origins[value] for value in operation.inputs]
            axis = self._weighted(operation)
            if axis is None:
                outputs = carrying.through(operation, inputs)
            else:
                (first, *_) = inputs
                mixtures = None if first.lost else first.along(axis)
                reading = _WeighedInput(operation, mixtures, first.lost)
                self._readings[operation.number] = reading
                place = operation.place or operation.name
                outputs = [self._new(place, operation.outputs[0], axis, operation.number)]
            for number, origin in enumerate(outputs):
                value = Value(operation.number, number)
                names = self._names.get(value, [])
                shape = operation.outputs[number]
                for name in names:
                    yield self._read(name, value, origin, len(shape))
                if value == self._head.logits:
                    yield self._read(CLASSES, value, origin, 2)
                origins[value] = self._new(names[0], shape, 1, None) if names else origin
            for value in set(operation.inputs):
                if last[value] <= operation.number:
                    del origins[value]

    def _new(self, place: str, shape: Sequence[int], axis: int, reading: int | None) -> Origin:
        """Return the origin of a tensor with units of its own."""
        count, first = shape[axis], len(self._units)
        self._units += [(place, channel, reading) for channel in range(count)]
        return unit_channels(range(first, first + count), shape, axis)

    def _weighted(self, operation: Operation) -> int | None:
        """Return along which axis an operation weighs channels with constants; None if not."""
        kind = KINDS.get(operation.name)
        if len(operation.inputs) != 1 or operation.number in self._merged:
            return None
        if kind == "convolution":
            weight = convolution_of(operation)[0]
            return 1 if isinstance(weight, Tensor) else None
        if operation.name in ("linear", "addmm", "matmul", "mm"):
            weight = _matrix(operation)
            return -1 if weight is not None else None
        return None

    def _read(self, name: str, value: Value, origin: Origin, dimensions: int) -> Incoming:
        """Return what a layer reads."""
        number = self._merged.get(value.operation, value.operation)
        reading = self._readings.get(number)
        if reading is not None:
            if reading.mixtures is None:
                return _unknown(name, reading.lost or f"{reading.operation} reads places")
            return self._gathered(name, *self._matrices(reading), reading.mixtures, set())
        mixtures = None if origin.lost else origin.along(1)
        if mixtures is None:
            return _unknown(name, origin.lost or "its channels are not followed one by one")
        one = np.eye(len(mixtures))
        return self._gathered(name, one, np.zeros_like(one), mixtures, self._behind(mixtures))

    def _behind(self, mixtures: Sequence[Mixture]) -> set[int]:
        """Return the readings of the units in mixtures that are not measured."""
        found = (self._units[unit][2] for mixture in mixtures for unit in mixture)
        return {number for number in found if number is not None}

    def _gathered(
        self,
        name: str,
        largest: Weights,
        smallest: Weights,
        mixtures: Sequence[Mixture],
        opened: set[int],
    ) -> Incoming:
        """Lay weights on the units that inputs are made of.

        Units of the operations in `opened` are what those read in their turn.
        """
        columns: dict[tuple[str, int], int] = {}
        parts: list[tuple[int, Weights, Weights]] = []
        left_out: Counter[str] = Counter()
        seen: set[int] = set()

        def put(unit: int, high: Weights, low: Weights) -> None:
            place, channel, reading = self._units[unit]
            if reading is None and place != THE_PICTURE:
                column = columns.setdefault((place, channel), len(columns))
                parts.append((column, high, low))
            elif unit not in seen:
                seen.add(unit)
                left_out[place] += 1

        over, under = (np.ascontiguousarray(one.T) for one in (largest, smallest))  # much faster
        matrices = {number: self._matrices(self._readings[number]) for number in opened}
        for number, mixture in enumerate(mixtures):
            high, low = over[number], under[number]
            for unit, factor in mixture.items():
                a, b = _times(high, low, factor)
                _, channel, reading = self._units[unit]
                inner = self._readings[reading] if reading in opened else None
                if inner is None or inner.mixtures is None:
                    put(unit, a, b)
                    continue
                above, below = matrices[inner.operation.number]
                for place, deeper in enumerate(inner.mixtures):
                    c, d = above[channel, place], below[channel, place]
                    for below_unit, by in deeper.items():
                        e, f = _times(np.array([c]), np.array([d]), by)
                        put(below_unit, a * e + b * f, a * f + b * e)
        shape = (len(columns), len(largest))
        highest, lowest = np.zeros(shape), np.zeros(shape)
        for column, high, low in parts:
            np.maximum(highest[column], high, out=highest[column])
            np.minimum(lowest[column], low, out=lowest[column])
        return Incoming(name, tuple(columns), highest.T, lowest.T, dict(left_out))

    def _matrices(self, reading: _WeighedInput) -> tuple[Weights, Weights]:
        """Return the largest and the smallest weight of each pair of output and input."""
        norm = self._norms.get(reading.operation.number)
        weights = weights_of(reading.operation, norm)
        return (
            _dense(weights.amax(dim=3).clamp(min=0)),
            _dense(weights.amin(dim=3).clamp(max=0)),
        )


@torch.no_grad()
def weights_of(operation: Operation, norm: Norm | None) -> Tensor:
    """Return the weights of an operation, with a norm merged into them.

    Returns
    -------
    Tensor
        (groups, outputs of a group, inputs of a group, places of the kernel).
    """
    if KINDS[operation.name] != "convolution":
        matrix = _matrix(operation)
        assert matrix is not None, "asked before"
        whole = matrix.detach()
        if norm is not None:
            whole = whole.double() * norm.scale[:, None].to(whole.device)
        return whole[None, :, :, None].cpu()
    weight, _, geometry = convolution_of(operation)
    if norm is not None:
        weight, _ = merge_norm(weight.detach(), None, norm, geometry)
    places: Tensor = weight.detach().flatten(2).cpu()
    each = places.view(geometry.groups, -1, *places.shape[1:])
    return each.transpose(1, 2) if geometry.transposed else each  # there inputs stand in front


def _dense(groups: Tensor) -> Weights:
    """Return a matrix (outputs, inputs) of those of groups, 0 where groups do not meet."""
    count, outputs, inputs = groups.shape
    found = np.zeros((count * outputs, count * inputs))
    for number, group in enumerate(groups.double().numpy()):
        rows = slice(number * outputs, (number + 1) * outputs)
        found[rows, number * inputs : (number + 1) * inputs] = group
    return found


def _matrix(operation: Operation) -> Tensor | None:
    """Return the constant weights (outputs, inputs) of a linear layer."""
    if operation.name == "linear":
        found: Any = operation.argument(1, "weight")
    elif operation.name == "addmm":
        live = isinstance(operation.argument(1, "mat1"), Value)
        other = operation.argument(2, "mat2")
        found = other.T if live and isinstance(other, Tensor) else None
    else:
        other = operation.argument(1, "mat2" if operation.name == "mm" else "other")
        found = other.T if isinstance(other, Tensor) and other.ndim == 2 else None
    return found if isinstance(found, Tensor) and found.ndim == 2 else None


def _times(high: Weights, low: Weights, factor: float) -> tuple[Weights, Weights]:
    """Return largest and smallest weight times a number."""
    if factor == 1:
        return high, low
    return (high * factor, low * factor) if factor >= 0 else (low * factor, high * factor)


def _unknown(name: str, problem: str) -> Incoming:
    return Incoming(name, (), np.zeros((0, 0)), np.zeros((0, 0)), {}, problem)
