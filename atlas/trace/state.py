"""What a module keeps from one call to the next."""

from typing import Any

import numpy as np
import torch
from torch import nn

State = dict[str, tuple[float, ...]]


@torch.no_grad()
def state_of(module: nn.Module, attributes: bool = True) -> State:
    """Return a few numbers for each thing that a module keeps, which change if it does.

    Parameters
    ----------
    module : nn.Module
        A network.
    attributes : bool
        Whether numbers and numpy's arrays among the attributes of its parts are looked at too, and
        not parameters and buffers alone. A first call may fill such attributes without harm.

    Returns
    -------
    dict
        By name: the sum, the length and the first number of a tensor or an array.
    """
    found: State = {}
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.numel() and not (tensor.is_sparse or tensor.is_complex() or tensor.is_meta):
            found[name] = _summary(tensor)
    if attributes:
        for prefix, part in module.named_modules():
            for key, value in vars(part).items():
                name = f"{prefix}.{key}" if prefix else key
                if isinstance(value, bool | int | float):
                    found[name] = (float(value),)
                elif isinstance(value, np.ndarray) and value.size and value.dtype.kind in "biuf":
                    found[name] = _summary(torch.from_numpy(np.ascontiguousarray(value)))
    return found


def changed(before: State, after: State) -> str:
    """Return the first thing that has other numbers afterwards, or is new; "" if nothing has."""
    return next((name for name, value in after.items() if before.get(name) != value), "")


def _summary(tensor: Any) -> tuple[float, ...]:
    numbers = tensor.detach()
    first = numbers[(0,) * numbers.ndim]
    size = numbers if numbers.is_floating_point() else numbers.double()
    of_all = (numbers.sum(dtype=torch.float64), torch.linalg.vector_norm(size), first)  # no copy
    return tuple(torch.nan_to_num(torch.stack([one.double() for one in of_all])).tolist())
