"""Norms that become part of the layer before them.

A batch norm by running statistics that directly follows a convolution or a linear layer, and alone
reads its output, is a scale and a shift of that layer's channels. Nothing of the network is
changed for it: the layer's step computes both, and the norm's hands its input on. This is found
from what is done with the picture, not from the order in which modules were registered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from atlas.relevance.weighted import Geometry
from atlas.trace.following import Value
from atlas.trace.kinds import IDLE, KINDS, NORMS
from atlas.trace.record import Operation, Trace

_RUNNING_FIRST = ("running_mean", "running_var", "weight", "bias")
_WEIGHT_FIRST = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Norm:
    """y = x * scale + shift by channels, of a layer's output x that nothing else reads."""

    layer: int
    operations: tuple[int, ...]
    scale: Tensor
    shift: Tensor


def find_norms(trace: Trace) -> list[Norm]:
    """Find the norms that directly follow a convolution or linear layer and alone read it."""
    found = []
    for operation in trace.operations:
        if KINDS.get(operation.name) not in ("convolution", "linear") or len(operation.inputs) != 1:
            continue
        if operation.name not in ("linear", "addmm") and KINDS[operation.name] == "linear":
            continue
        passed, reader = _only_reader(trace, Value(operation.number))
        if reader is None:
            continue
        shape = operation.outputs[0]
        if KINDS[operation.name] == "linear" and len(shape) != 2:
            continue  # the norm is not over the layer's channels
        numbers = _statistics(reader)
        if numbers is not None:
            mean, var, weight, bias, eps = numbers
            scale = torch.rsqrt(var.double() + eps) * (1 if weight is None else weight.double())
            shift = (0 if bias is None else bias.double()) - mean.double() * scale
            found.append(Norm(operation.number, (*passed, reader.number), scale, shift))
        elif (factor := _by_channel(reader, "mul", shape)) is not None:
            more, after = _only_reader(trace, Value(reader.number))
            if after is not None and (term := _by_channel(after, "add", shape)) is not None:
                numbers_ = (*passed, reader.number, *more, after.number)
                found.append(Norm(operation.number, numbers_, factor.double(), term.double()))
    return found


def _only_reader(trace: Trace, value: Value) -> tuple[list[int], Operation | None]:
    """Return what alone reads a value, and before it the numbers of what only hands it on."""
    passed: list[int] = []
    while True:
        readers = trace.readers.get(value, ())
        reader = trace.operations[readers[0]] if len(readers) == 1 else None
        if reader is None or value == trace.output or reader.inputs != (value,):
            return passed, None
        if reader.name not in IDLE:
            return passed, reader
        passed.append(reader.number)
        value = Value(reader.number)


def _statistics(
    operation: Operation,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, float] | None:
    """Return mean, variance, weight, bias and epsilon of a batch norm by running statistics."""
    if operation.name not in NORMS:
        return None
    get = operation.argument
    if operation.function is F.batch_norm:
        mean, var, weight, bias = (
            get(i, name) for i, name in enumerate(_RUNNING_FIRST, 1)
        )  # fmt: skip
        training, eps = get(5, "training", default=False), get(7, "eps", 1e-5)
    else:  # torch.batch_norm, which takes them in another order
        weight, bias, mean, var = (
            get(i, name) for i, name in enumerate(_WEIGHT_FIRST, 1)
        )  # fmt: skip
        training, eps = get(5, "training"), get(7, "eps")
    if training or mean is None or var is None:
        return None
    return mean, var, weight, bias, eps


def _by_channel(operation: Operation, name: str, shape: Sequence[int]) -> Tensor | None:
    """Return the constant, one number a channel, that an operation multiplies by or adds."""
    arguments = [*operation.arguments[0], *operation.arguments[1].values()]
    constants = [one for one in arguments if isinstance(one, Tensor)]
    if operation.name != name or len(arguments) != 2 or len(constants) != 1:
        return None
    full = (*[1] * (len(shape) - constants[0].ndim), *constants[0].shape)
    wanted = tuple(length if dim == 1 else 1 for dim, length in enumerate(shape))
    return constants[0].flatten() if full == wanted else None


def merge_norm(
    weight: Tensor, bias: Tensor | None, norm: Norm, geometry: Geometry
) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution with a norm merged into it."""
    scale = norm.scale
    if geometry.transposed:  # (inputs, outputs of a group, ...)
        groups, each = geometry.groups, weight.shape[1]
        by_group = weight.double().reshape(groups, -1, each, *weight.shape[2:])
        ends = [1] * (weight.ndim - 2)
        whole = (by_group * scale.reshape(groups, 1, each, *ends)).reshape(weight.shape)
    else:
        whole = weight.double() * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return whole, norm.shift + (0 if bias is None else bias.double() * scale)
