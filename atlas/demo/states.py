"""Files of a training run: weights with what the optimizer knows, whole or not there at all."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


def write(tensors: Mapping[str, Tensor], path: Path, about: dict[str, str]) -> None:
    """Save tensors and facts about them, so that there is never half a file."""
    partial = path.with_name(path.name + ".partial")
    # Copies: tensors that share memory, as tied embeddings do, are saved once each.
    order = torch.contiguous_format
    copies = {name: t.detach().clone(memory_format=order) for name, t in tensors.items()}
    save_file(copies, partial, about)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def save(
    parts: nn.Module, optimizer: torch.optim.Optimizer, path: Path, about: dict[str, str]
) -> None:
    """Save all that a run needs to go on."""
    tensors = {f"parts.{name}": value for name, value in parts.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
    write(tensors, path, about)


def facts(path: Path) -> dict[str, str]:
    """Return what a saved state says about itself."""
    with safe_open(path, framework="pt") as file:
        about: dict[str, str] = file.metadata()
    return about


def restore(parts: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Take up a saved state."""
    tensors = load_file(path)
    weights: dict[str, Tensor] = {}
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "parts":
            weights[rest] = value
        else:
            number, _, field = rest.partition(".")
            state.setdefault(int(number), {})[field] = value
    parts.load_state_dict(weights)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
