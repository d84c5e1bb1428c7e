"""State dicts: read without unpickling, checked against a network, and hashed."""

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from atlas.errors import UserError, one_line

ENDINGS = (".safetensors", ".pth", ".pt")

NESTED = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts put the state dict inside a checkpoint."""

PREFIXES = ("_orig_mod.", "module.")
"""What torch.compile and DataParallel put before each name."""


def read(path: Path) -> dict[str, Tensor]:
    """Read a state dict from `path` onto the CPU.

    Safetensors, or what `torch.save` wrote, of which only tensors and plain containers are
    accepted: nothing is ever unpickled that could run code. Checkpoints that keep the state
    dict under a key, and names with a wrapper's prefix, are understood.

    Raises
    ------
    UserError
        The file is missing, has another ending, is damaged, or is no state dict.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f"weights {path}: expected a file that ends in {', '.join(ENDINGS)}")
    if not path.is_file():
        raise UserError(f"weights {path}: there is no such file")
    try:
        if path.suffix.lower() == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"weights {path} is damaged or holds more than tensors, which is not read because it "
            "could run code: save it anew as torch.save(network.state_dict(), FILE)"
        ) from error
    except Exception as error:  # damaged files make the readers raise all kinds
        raise UserError(f"weights {path} cannot be read: {one_line(error)[:200]}") from error
    return _state_dict(content, path)


def _state_dict(content: object, path: Path) -> dict[str, Tensor]:
    """Take the state dict out of a checkpoint's `content`, names without prefixes."""
    for key in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    ):
        raise UserError(
            f"weights {path} holds no state dict (names with tensors): "
            "save it as torch.save(network.state_dict(), FILE)"
        )
    state = dict(content)
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def put(module: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Load `state` into `module`; `origin` names it in messages.

    Raises
    ------
    UserError
        Names or shapes differ: the first difference, and how many there are.
    """
    expected = module.state_dict()
    problems = [
        f"{name!r} has shape {tuple(state[name].shape)}, the network's {tuple(value.shape)}"
        for name, value in expected.items()
        if name in state and state[name].shape != value.shape
    ]
    resized = len(problems)
    # Old state dicts do not count batches, and evaluation does not need the count.
    problems += [
        f"{name!r} is missing"
        for name in expected
        if name not in state and not name.endswith("num_batches_tracked")
    ]
    problems += [f"{name!r} is not a part of the network" for name in state if name not in expected]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        hint = "is model.name right?"
        if 0 < resized == len(problems) <= 2:  # only the last layer's weight and bias differ
            name = next(n for n, v in expected.items() if state[n].shape != v.shape)
            hint = f"is it --set model.num_classes={state[name].shape[0]}?"
        raise UserError(f"{origin} does not fit the network: {problems[0]}{more}; {hint}")
    module.load_state_dict(state, strict=False)


def fingerprint(module: nn.Module) -> str:
    """Return the SHA-256 of the state dict's content: 64 hexadecimal digits.

    Names, types, shapes and bytes count, in the order of names; the file format does not.
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
