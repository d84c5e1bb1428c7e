"""From which channels a tensor is made: followed through a network's description.

Between two layers a network moves channels about: it activates, pools, concatenates, splits,
shuffles and adds them. Here every number of a tensor carries a mark that says of which units below
it is made, so that whatever is done to places and channels is done to the marks by the same
function. Units are the output channels of convolutions, of linear layers and of the layers of the
atlas. What is not followed is marked as lost, with the operation that did it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atlas.relevance.gates import Gates, features_of, find_gates
from atlas.trace.following import Value, mapped
from atlas.trace.kinds import KINDS
from atlas.trace.record import Operation, Trace

Mixture = Mapping[int, float]
"""Units by their number, and how much of each there is."""

MOST = 1 << 17
"""Most mixtures of one tensor: a tensor of more is made of places, not of channels."""

_LARGEST = 1 << 25
"""Most numbers of a tensor that is followed."""

_TURNS = {"abs", "pow", "square", "sin", "cos", "erf", "tanhshrink", "local_response_norm"}
"""Activation functions that are not rising, or mix channels: what goes in cannot be told."""

_BY_WEIGHT = {"batch_norm", "native_batch_norm", "group_norm", "native_group_norm", "instance_norm",
              "layer_norm", "native_layer_norm", "rms_norm"}  # fmt: skip
"""Norms, whose weight says how much of a channel goes on."""

_APART = 0.375
"""Marks are whole numbers and this: constants that come among them are seen as such."""


@dataclass(frozen=True)
class Origin:
    """The units that a tensor is made of."""

    marks: Tensor
    """int64, of the tensor's shape: for each number its row of `mixtures`; -1 for constants."""
    mixtures: tuple[Mixture, ...]
    lost: str = ""
    """The operation behind which it could not be followed; empty if it is known."""

    def along(self, axis: int) -> list[Mixture] | None:
        """Return the mixture of each place along an axis; None if they differ elsewhere too."""
        marks = self.marks.movedim(axis, 0).flatten(1)
        first = marks.amax(dim=1)
        if ((marks != first[:, None]) & (marks >= 0)).any():
            return None
        return [self.mixtures[mark] if mark >= 0 else {} for mark in first.tolist()]


def unit_channels(numbers: Sequence[int], shape: Sequence[int], axis: int = 1) -> Origin:
    """Return the origin of a tensor whose places along an axis are units of these numbers."""
    view = [1] * len(shape)
    view[axis] = len(numbers)
    marks = torch.arange(len(numbers)).view(view).expand(tuple(shape)).contiguous()
    return Origin(marks, tuple({number: 1.0} for number in numbers))


def lost(operation: Operation, output: int = 0) -> Origin:
    """Return the origin of what cannot be followed."""
    shape = operation.outputs[output]
    return Origin(torch.full(shape, -1), (), str(operation))


class Carrying:
    """Carries origins from the inputs of an operation to its outputs.

    Parameters
    ----------
    trace : Trace
        Description of the network.
    identities : collection of int
        Operations that hand their input on: norms that are merged into the layer before.
    """

    def __init__(self, trace: Trace, identities: Mapping[int, int]) -> None:
        self._trace = trace
        self._gates = find_gates(trace)
        self._identities = identities

    def through(self, operation: Operation, inputs: Sequence[Origin]) -> list[Origin]:
        """Return the origins of the outputs of an operation."""
        count = len(operation.outputs)
        known = [one for one, number in zip(inputs, operation.numbers, strict=True) if number]
        reason = next((one.lost for one in known if one.lost), "")
        large = any(math.prod(shape) > _LARGEST for shape in operation.outputs)
        kind = KINDS.get(operation.name)
        if reason and kind != "product" and operation.name != "cat":
            return [Origin(torch.full(shape, -1), (), reason) for shape in operation.outputs]
        if large:
            reason = f"the outputs of {operation} are too large to be followed"
            return [
                Origin(torch.full((), -1).expand(shape), (), reason) for shape in operation.outputs
            ]
        if not known:
            return [lost(operation, n) for n in range(count)]
        try:
            found = self._through(operation, inputs, kind)
        except Exception:  # a function that does not take marks, as one of its own may not
            found = None
        return [lost(operation, n) for n in range(count)] if found is None else found

    def _through(
        self, operation: Operation, inputs: Sequence[Origin], kind: str | None
    ) -> list[Origin] | None:
        if operation.number in self._identities:
            return [inputs[0]]
        if kind in ("product", "quotient"):
            return _scaled_by(operation, inputs, kind, self._gates)
        follow = {"passing": _passed, "average": _averaged, "moving": _moved, "sum": _summed}
        return follow[kind](operation, inputs) if kind in follow else None


def _passed(operation: Operation, inputs: Sequence[Origin]) -> list[Origin] | None:
    """Follow an activation function or a norm: one number in, one out."""
    one = inputs[0]
    if operation.name in _TURNS or len(inputs) != 1:
        return None
    if operation.name == "neg":
        return [_scaled(one, torch.tensor(-1.0))]
    if operation.name not in _BY_WEIGHT:
        return [one]
    get = operation.argument
    given = {name: get(place, name) for name, place in _places(operation).items()}
    weight, variance = given.get("weight"), given.get("running_var")
    scale = torch.ones(()) if weight is None else weight.detach().double()
    if isinstance(variance, Tensor):
        scale = scale * torch.rsqrt(variance.double() + get(7, "eps", 1e-5))
    if scale.ndim and not operation.name.endswith(("layer_norm", "rms_norm")):
        scale = scale.view(1, -1, *[1] * (one.marks.ndim - 2))
    return [_scaled(one, scale), *[lost(operation, n) for n in range(1, len(operation.outputs))]]


def _places(operation: Operation) -> dict[str, int]:
    """Return where a norm has its parameters."""
    if operation.name == "batch_norm" and operation.function is torch.nn.functional.batch_norm:
        return {"running_var": 2, "weight": 3}
    if operation.name in ("batch_norm", "native_batch_norm"):
        return {"weight": 1, "running_var": 4}
    if operation.name == "native_group_norm":
        return {"weight": 1}
    if operation.name == "instance_norm":
        return {"weight": 3}
    return {"weight": 2}


def _run(operation: Operation, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Carry an operation out on other tensors."""
    rest = iter(inputs)
    put: Callable[[Any], Any] = lambda one: next(rest) if isinstance(one, Value) else one  # noqa: E731
    positional, named = (_replaced(put, part) for part in operation.arguments)
    result = operation.function(*positional, **named)
    found: list[Tensor] = []
    mapped(found.append, result)
    return found


def _replaced(put: Callable[[Any], Any], part: Any) -> Any:
    if isinstance(part, Value):
        return put(part)
    if isinstance(part, (tuple, list)):
        return type(part)([_replaced(put, one) for one in part])
    if isinstance(part, Mapping):
        return {key: _replaced(put, one) for key, one in part.items()}
    return part


def _averaged(operation: Operation, inputs: Sequence[Origin]) -> list[Origin] | None:
    """Follow a mean, sum or resizing over numbers that are made of the same units."""
    if len(inputs) != 1:
        return None
    marks = inputs[0].marks
    there = (marks >= 0).double()
    numbers = (marks.double() + 1) * there
    (weight, *_), (sums, *_), (squares, *_) = (
        _run(operation, [one]) for one in (there, numbers, numbers**2)
    )
    empty = weight.abs() < 1e-9
    mean = sums / weight.masked_fill(empty, 1)
    spread = squares / weight.masked_fill(empty, 1) - mean**2
    if (spread.abs() > 1e-6 * (1 + mean**2)).any():
        return None  # channels are mixed
    found = torch.where(empty, -1, mean.round().long() - 1)
    return [Origin(found, inputs[0].mixtures)]


def _moved(operation: Operation, inputs: Sequence[Origin]) -> list[Origin] | None:
    """Follow numbers to other places, or the largest of numbers that are made of the same units."""
    if not all(operation.numbers):
        return None
    mixtures: list[Mixture] = []
    high, low = [], []
    for one in inputs:
        there = one.marks >= 0
        marks = one.marks.double() + 1 + len(mixtures) + _APART
        high.append(torch.where(there, marks, -math.inf if _chooses(operation) else 0.0))
        low.append(torch.where(there, -marks, -math.inf if _chooses(operation) else 0.0))
        mixtures += one.mixtures
    found = []
    pairs = zip(_run(operation, high), _run(operation, low), strict=True)
    for first, second in pairs:
        if not first.is_floating_point():
            found.append(Origin(torch.full(first.shape, -1), (), str(operation)))
            continue
        known = first.isfinite() & ((first - first.floor()) == _APART)
        if not torch.equal(first[known], -second[known]):
            return None
        marks = torch.where(known, first.nan_to_num(0, 0, 0).floor().long() - 1, -1)
        reason = next((one.lost for one in inputs if one.lost), "")
        found.append(Origin(marks, tuple(mixtures), reason if not known.any() else ""))
    return found


def _chooses(operation: Operation) -> bool:
    """Return whether the largest of several numbers is taken."""
    return "max" in operation.name or operation.name in ("amin", "min")


def _summed(operation: Operation, inputs: Sequence[Origin]) -> list[Origin] | None:
    """Follow a sum of two tensors that are made from the picture, or of one and a constant."""
    alpha = float(operation.argument(2, "alpha", 1))
    first, second = {"add": (1.0, alpha), "sub": (1.0, -alpha), "rsub": (-alpha, 1.0)}[
        operation.name
    ]
    if len(inputs) == 1:
        live = isinstance(operation.argument(0, "input"), Value)
        return [_scaled(inputs[0], torch.tensor(first if live else second))]
    shape = operation.outputs[0]
    a, b = (one.marks.expand(shape) for one in inputs)
    count = len(inputs[1].mixtures) + 1
    pairs, places = _distinct((a + 1) * count + b + 1)
    mixtures = []
    for pair in pairs:
        one, two = pair // count - 1, pair % count - 1
        whole: dict[int, float] = {}
        for origin, mark, factor in ((inputs[0], one, first), (inputs[1], two, second)):
            for unit, part in origin.mixtures[mark].items() if mark >= 0 else ():
                whole[unit] = whole.get(unit, 0.0) + factor * part
        mixtures.append(whole)
    return [Origin(places, tuple(mixtures))]


def _scaled_by(
    operation: Operation, inputs: Sequence[Origin], kind: str, gates: Gates
) -> list[Origin] | None:
    """Follow a product with, or a quotient by, a constant or a gate."""
    if len(inputs) == 2:
        if kind == "quotient":
            features: int | None = 0 if operation.argument(0, "input") == operation.inputs[0] else 1
        else:
            features = features_of(operation, gates)
        if features is None or inputs[features].lost:
            return None
        one = inputs[features]
        marks = torch.broadcast_to(one.marks, operation.outputs[0])
        return [Origin(marks, one.mixtures)]
    if inputs[0].lost or operation.name == "rdiv":
        return None
    arguments = [*operation.arguments[0], *operation.arguments[1].values()]
    constants = [one for one in arguments if isinstance(one, (Tensor, int, float))]
    if len(constants) != 1:
        return None
    factor = torch.as_tensor(constants[0]).detach().double()
    return [_scaled(inputs[0], 1 / factor if kind == "quotient" else factor)]


def _scaled(one: Origin, factor: Tensor) -> Origin:
    """Return the origin of a tensor times constants."""
    shape = np.broadcast_shapes(tuple(one.marks.shape), tuple(factor.shape))
    marks = one.marks.expand(shape)
    if (factor == 1).all():
        return Origin(marks, one.mixtures)
    known, numbers = _distinct(factor.double())
    pairs, places = _distinct((marks + 1) * len(known) + numbers)
    mixtures: list[Mixture] = []
    for code in pairs:
        mark, number = int(code) // len(known) - 1, int(code) % len(known)
        by = known[number]
        parts = one.mixtures[mark].items() if mark >= 0 else ()
        mixtures.append({unit: by * part for unit, part in parts})
    return Origin(places, tuple(mixtures))


def _distinct(values: Tensor) -> tuple[list[Any], Tensor]:
    """Return the distinct values, and for each place its number among them.

    Raises
    ------
    OverflowError
        They are too many to be made of channels.
    """
    found, numbers = torch.unique(values, return_inverse=True)
    if len(found) > MOST:
        raise OverflowError(f"{len(found)} mixtures")
    return found.tolist(), numbers.view(values.shape)
