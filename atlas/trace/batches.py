"""Whose maps a layer has: of each picture by itself, or of something else.

Networks put windows, crops, views or colours of a picture beside each other as if they were
pictures, turn a batch round, or exchange its dimension with another. A layer in such a part has no
map that is one picture's, and what it gives at a picture's place belongs to others. It is found by
running the network on two pictures, one by one and together; what could be rounding is decided in
float64.
"""

import contextlib
import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from atlas.trace.following import Following

MOST = 4096
"""How many numbers of the maps of a picture are compared, about; they are spread evenly."""

SAME = 1e-3
"""Maps are the same if they differ by at most this part of the largest number."""

ROUNDED = 0.1
"""The same in half precision."""

BESIDE = "has other maps of a picture when others are beside it"
"""The problem of a layer that mixes pictures."""


def unlike(pictures: Tensor) -> Tensor:
    """Return other pictures: turned round, darker and with less contrast.

    Their numbers lie between those of `pictures` (..., colours, height, width), as networks may
    insist on what pictures can have.
    """
    darkest = pictures.amin(dim=(-2, -1), keepdim=True)
    return darkest + (pictures.flip(-1) - darkest) / 4


def several(count: int) -> str:
    """Return the problem of a layer whose output for one picture is `count` long."""
    return (
        f"has no maps: it gives {count} for one picture, which are parts or views of it put beside "
        "each other as if they were pictures"
    )


def sampled(maps: Tensor) -> Tensor:
    """Return some numbers of each picture's maps, (pictures, numbers)."""
    flat = maps.detach().flatten(1)
    return flat[:, :: max(1, flat.shape[1] // MOST)].clone()


def differ(one: Tensor, other: Tensor) -> bool:
    """Return whether two samples, as of `sampled`, are of other maps; NaN differs from nothing."""
    if one.shape != other.shape or one.is_meta:
        return one.shape != other.shape
    allowed = SAME if one.dtype.itemsize >= 4 else ROUNDED
    one, other = one.float(), other.float()
    return bool(((one - other).abs() > allowed * one.abs().amax().clamp(min=1e-12)).any())


@torch.no_grad()
def not_alone(
    module: nn.Module, layers: Iterable[str], one: Tensor, other: Tensor
) -> dict[str, str]:
    """Return the problem of each layer that has no maps of each picture by itself.

    Parameters
    ----------
    module : nn.Module
        The network. If it cannot take two pictures at once, which the pass will report, nothing is
        found.
    layers : iterable of str
        Those to look at; each gives one tensor for a picture, whose first dimension is 1.
    one, other : Tensor
        Two pictures, (1, colours, height, width).
    """
    problems = _beside(module, layers, one, other)
    unsure = [name for name, problem in problems.items() if problem == BESIDE]
    if unsure and one.dtype == torch.float32:
        with contextlib.suppress(Exception):  # of a network that computes in float32 only
            exact = copy.deepcopy(module).double()
            found = _beside(exact, unsure, one.double(), other.double())
            problems = {
                name: problem
                for name, problem in problems.items()
                if name not in unsure or name in found
            }
    return problems


def _beside(module: nn.Module, layers: Iterable[str], one: Tensor, other: Tensor) -> dict[str, str]:
    names = list(layers)
    alone = [_outputs(module, names, picture) for picture in (one, other)]
    try:
        both = _outputs(module, names, torch.cat([one, other]))
    except Exception:  # whatever a user's own network raises
        return {}
    problems = {}
    for name in names:
        if name not in both or len(both[name]) != 2:
            problems[name] = "has no maps: its first dimension is not that of the pictures"
        elif any(differ(own[name][0], both[name][i]) for i, own in enumerate(alone)):
            problems[name] = BESIDE
    return problems


def _outputs(module: nn.Module, names: Iterable[str], pictures: Tensor) -> Mapping[str, Tensor]:
    """Return samples of what layers give."""
    found: dict[str, Tensor] = {}
    parts = dict(module.named_modules())

    def seen(name: str) -> Any:
        def hook(part: nn.Module, inputs: object, output: Any) -> None:
            found[name] = sampled(output)

        return hook

    handles = [parts[name].register_forward_hook(seen(name)) for name in names]
    try:
        with Following(pictures) as running:
            module(running.picture)
    finally:
        for handle in handles:
            handle.remove()
    return found
