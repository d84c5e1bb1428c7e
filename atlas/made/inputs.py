"""Which inputs drive a channel where it is most active: on a made picture, and on references.

A channel that was changed so that a made picture shows something else is often driven there by
other inputs than on its references. What an input adds is gradient times activation (Shrikumar et
al., "Not just a black box", 2016), here of the channel's largest output by the nearest tensors that
weights read. For a convolution that is its weights times what they read, summed over the kernel.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from atlas.relevance.engine import to_maps
from atlas.relevance.tape import Instrumented
from atlas.trace.following import PICTURE, Call, Following, Value, tensors
from atlas.trace.kinds import KINDS
from atlas.trace.record import Operation, Trace

Numbers = npt.NDArray[np.float64]

MATRICES = ("linear", "matmul", "mm")
"""Operations whose first argument has its channels in the last dimension."""


def read_below(trace: Trace, top: Value) -> Mapping[Value, int]:
    """Return the nearest tensors on the way to a layer that weights read, but for the picture.

    Parameters
    ----------
    trace : Trace
        The network.
    top : Value
        The layer's output.

    Returns
    -------
    dict
        For each of them the dimension that has its channels.
    """
    found: dict[Value, int] = {}
    waiting, seen = {top}, {PICTURE}
    while waiting:
        value = waiting.pop()
        seen.add(value)
        operation = trace.of(value)
        dimension = _channels_of(operation)
        inputs = set(operation.inputs) - seen
        if dimension is None:
            waiting |= inputs
        else:
            found |= dict.fromkeys(inputs, dimension)
    return found


def _channels_of(operation: Operation) -> int | None:
    """Return the dimension of channels of what an operation weighs.

    None if it weighs no channels against each other: a depthwise convolution reads one for each.
    """
    if len(operation.inputs) != 1:
        return None
    if KINDS.get(operation.name) == "convolution":
        weight = operation.argument(1, "weight")
        return None if isinstance(weight, Tensor) and weight.shape[1] == 1 else 1
    first = operation.argument(0, "input")
    return -1 if operation.name in MATRICES and isinstance(first, Value) else None


def driving(
    model: Instrumented, picture: Tensor, layer: str, direction: Tensor
) -> dict[Value, Numbers]:
    """Return what each channel of earlier tensors adds to a unit's largest output on a picture.

    Parameters
    ----------
    model : Instrumented
        The network, with the layer.
    picture : Tensor
        (1, colours, height, width), preprocessed.
    layer : str
        Its name.
    direction : Tensor
        float32 (channels,): 1 at a channel and 0 elsewhere, or the direction of a factor.

    Returns
    -------
    dict
        Of each tensor of `read_below` that a gradient comes to: float64 (channels,), gradient times
        activation summed over places, 0 where that is negative, and of length 1 (or 0).
    """
    trace, top = model.plan.trace, model.plan.shown(model.layers[layer])
    below = read_below(trace, top)
    with torch.enable_grad():
        keeping = _Keeping(model.input(picture).detach().requires_grad_(), {top, *below}, top)
        try:
            with keeping:
                model.module(keeping.picture)
        except _ReachedError:
            pass
        output = to_maps(keeping.found[top]).float()
        peak = torch.tensordot(output.movedim(1, -1), direction.to(output.device), dims=1).amax()
        values = {value: keeping.found[value] for value in below}
        values = {value: one for value, one in values.items() if one.requires_grad}
        if not values:
            return {}
        slopes = torch.autograd.grad(peak, list(values.values()), allow_unused=True)
    return {
        value: _added(slope * one.detach(), below[value])
        for (value, one), slope in zip(values.items(), slopes, strict=True)
        if slope is not None
    }


def inputs_alike(
    made: Mapping[Value, Numbers], references: Sequence[Mapping[Value, Numbers]]
) -> float | None:
    """Return how far the same inputs drive a unit on a made picture as on its references.

    How like each other the references are depends on the layer: many inputs or few drive a unit.
    So the made picture is compared with all of them in parts of what they have with each other.

    Parameters
    ----------
    made, references : mapping
        What `driving` gave for them.

    Returns
    -------
    float or None
        Cosine between the made picture's inputs and the sum of the references', in parts of the
        median cosine between a reference's and the sum of the others', of the tensor where this
        is smallest; 1 at most. None where nothing can be compared, as with one reference.
    """
    found = []
    for value in {value for one in references for value in one}:
        rows = np.array([one[value] for one in references if value in one])
        whole = rows.sum(axis=0)
        usual = float(np.median([_cosine(row, whole - row) for row in rows]))
        if usual > 0:
            mine = made.get(value, np.zeros_like(whole))
            found.append(_cosine(mine, whole) / usual)
    return min(1.0, *found) if found else None


def _cosine(one: Numbers, other: Numbers) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other) or 1.0))


def _added(product: Tensor, dimension: int) -> Numbers:
    values = product.double().movedim(dimension, 0).flatten(1).sum(dim=1).clamp(min=0)
    numbers: Numbers = values.cpu().numpy()
    return numbers / (np.linalg.norm(numbers) or 1.0)


class _ReachedError(Exception):
    """Ends a forward pass: what lies behind the layer is not needed."""


class _Keeping(Following):
    """Keeps some values on the way to the last of them."""

    def __init__(self, picture: Tensor, wanted: set[Value], last: Value) -> None:
        super().__init__(picture)
        self._wanted = wanted
        self._last = last
        self.found: dict[Value, Tensor] = {}

    def compute(self, call: Call) -> Any:
        """Carry out an operation, and keep what it gives."""
        result = call()
        made = list(tensors(result))
        for output, one in enumerate(made):
            if Value(call.number, output) in self._wanted:
                self.found[Value(call.number, output)] = one
        if made and call.number == self._last.operation:
            raise _ReachedError
        return result
