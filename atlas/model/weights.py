"""Weights: read without unpickling, found in checkpoints, fitted into a network, and hashed."""

import difflib
import hashlib
import pickle
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from tqdm import tqdm

from atlas.errors import UserError, one_line

State = dict[str, Tensor]

ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar")

DEPTH = 3
"""How many keys deep a state dict may lie in a checkpoint."""

_WRAPPERS = re.compile(
    r"(?:(?<=\.)|^)(?:_orig_mod|module|_checkpoint_wrapped_module|_fsdp_wrapped_module)\."
)
"""What torch's wrappers put into names: compile, DataParallel, checkpoint and FSDP."""

_EMA = re.compile(r"(?:^|[._])ema(?:[._]|$)", re.IGNORECASE)
"""What running means of weights are called."""


@dataclass(frozen=True)
class _Reading:
    """One way in which a part of a file may be the network's state dict."""

    where: str
    """Keys and prefix under which it was found, with dots between; empty for the whole file."""
    state: State
    beside: tuple[str, ...]
    """Names that do not have the prefix."""
    problems: tuple[str, ...]
    """What does not fit the network."""
    misfit: str
    """The first of them and what to do about it; empty if all fits."""


def fill(
    module: nn.Module, path: Path, entry: str = "", rename: Callable[[State], State] = dict
) -> None:
    """Fill `module` with the weights in the file `path`.

    The file holds a state dict, or a checkpoint with one under a key, such as `state_dict`.
    Prefixes that all names have in common, such as `module.`, `model.` or both, and what
    torch's wrappers put into names, are taken off where the names fit the network then and
    only then. Numbers of any precision are taken over.

    Parameters
    ----------
    module : nn.Module
        The network, whose weights are overwritten.
    path : Path
        A file with one of `ENDINGS`.
    entry : str
        The key or prefix to take, where there are several; a running mean ("ema") is taken
        if it is asked for, and not otherwise.
    rename : function
        Turns the names of older files into the network's.

    Raises
    ------
    UserError
        The file cannot be read, holds no state dict, none that fits, or several different ones.
    """
    found = dict(_state_dicts(_read(path)))
    if not found:
        raise UserError(
            f"weights {path} holds no state dict (names with tensors): "
            "save it as torch.save(network.state_dict(), FILE)"
        )
    expected = module.state_dict()
    readings = [
        one for key, state in found.items() for one in _readings(key, state, expected, rename)
    ]
    if entry:
        readings = _asked(readings, entry, path)
    plain = [one for one in readings if entry or not _EMA.search(one.where)]
    fitting = [one for one in plain if not one.problems]
    if not fitting:
        if means := [one.where for one in readings if not one.problems]:
            raise UserError(
                f"weights {path}: only the running mean {means[0]!r} fits the network: "
                f"ask for it with --set model.entry={means[0]}"
            )
        best = min(plain or readings, key=lambda one: len(one.problems))
        inside = f", {best.where!r}," if best.where else ""
        raise UserError(f"weights {path}{inside} does not fit the network: {best.misfit}")
    chosen = fitting[0]
    if any(not _equal(chosen.state, other.state) for other in fitting[1:]):
        names = ", ".join(repr(one.where) for one in fitting)
        raise UserError(
            f"weights {path}: several parts fit the network and differ ({names}): "
            "choose one with --set model.entry=NAME"
        )
    if chosen.beside:
        some = ", ".join(chosen.beside[:3]) + (", …" if len(chosen.beside) > 3 else "")
        tqdm.write(
            f"weights {path}: of {chosen.where!r}; {len(chosen.beside)} other names are no part of "
            f"the network ({some})",
            sys.stderr,
        )
    _load(module, chosen.state, f"weights {path}")


def _load(module: nn.Module, state: State, origin: str) -> None:
    try:
        module.load_state_dict(state, strict=False)
    except (RuntimeError, NotImplementedError) as error:  # tensors without numbers, sparse ones
        raise UserError(f"{origin} cannot be taken over: {one_line(error)[:200]}") from error


def put(module: nn.Module, state: State, origin: str) -> None:
    """Load `state` into `module`; `origin` names it in messages.

    Raises
    ------
    UserError
        Names or shapes differ: the first difference, and how many there are.
    """
    expected = module.state_dict()
    if problems := _problems(expected, state):
        raise UserError(f"{origin} does not fit the network: {_misfit(problems, expected, state)}")
    _load(module, state, origin)


def _read(path: Path) -> Any:
    """Return what the file `path` holds, on the CPU: tensors in plain containers."""
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f"weights {path}: expected a file that ends in {', '.join(ENDINGS)}")
    if not path.is_file():
        raise UserError(f"weights {path}: there is no such file")
    if _is_torchscript(path):
        raise UserError(
            f"weights {path} is a TorchScript program: save its weights as "
            "torch.save(torch.jit.load(FILE).state_dict(), NEW)"
        )
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        kind = re.search(r"GLOBAL (\S+)", str(error))
        what = f"more than tensors ({kind[1]})" if kind else "more than tensors"
        raise UserError(
            f"weights {path} is damaged or holds {what}, which is not read because it could run "
            "code: save the weights alone as torch.save(network.state_dict(), FILE)"
        ) from error
    except Exception as error:  # damaged files make the readers raise all kinds
        raise UserError(f"weights {path} cannot be read: {one_line(error)[:200]}") from error


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _state_dicts(content: object, key: str = "", depth: int = DEPTH) -> Iterator[tuple[str, State]]:
    """Yield the state dicts in a checkpoint's `content`, each with the keys that lead to it."""
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        return
    if content and all(isinstance(value, Tensor) for value in content.values()):
        yield key, dict(content)
    elif depth:
        for name, value in content.items():
            yield from _state_dicts(value, f"{key}.{name}" if key else name, depth - 1)


def _readings(
    key: str, state: State, expected: State, rename: Callable[[State], State]
) -> Iterator[_Reading]:
    """Yield the ways in which a state dict found under `key` may be the network's.

    As it is; without what torch's wrappers put into names; and both of these without each
    prefix behind which names of the network follow. The first that fits without a prefix
    is the only one.
    """
    unwrapped = {_WRAPPERS.sub("", name): value for name, value in state.items()}
    spellings = (
        [state, unwrapped] if len(unwrapped) == len(state) and unwrapped != state else [state]
    )
    for spelling in spellings:
        for prefix in ("", *_prefixes(spelling, expected)):
            inner = {
                name.removeprefix(prefix): value
                for name, value in spelling.items()
                if name.startswith(prefix)
            }
            beside = tuple(name for name in spelling if not name.startswith(prefix))
            inner = rename(inner)
            problems = _problems(expected, inner)
            where = ".".join(part for part in (key, prefix.rstrip(".")) if part)
            misfit = _misfit(problems, expected, inner) if problems else ""
            yield _Reading(where, inner, beside, tuple(problems), misfit)
            if not problems and not prefix:
                return


def _prefixes(state: State, expected: State) -> list[str]:
    """Return what stands before names of the network in a state dict, the commonest first."""
    found: Counter[str] = Counter()
    for name in state:
        dots = [i + 1 for i, sign in enumerate(name) if sign == "."]
        found.update(name[:dot] for dot in dots if name[dot:] in expected)
    return [prefix for prefix, _ in found.most_common(8)]


def _asked(readings: list[_Reading], entry: str, path: Path) -> list[_Reading]:
    """Return the readings of the part of a file that `entry` names."""
    result = [one for one in readings if one.where == entry or one.where.startswith(f"{entry}.")]
    if not result:
        known = list(dict.fromkeys(one.where for one in readings if one.where))
        close = difflib.get_close_matches(entry, known, n=1)
        hint = (
            f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known[:8]) or 'none'}"
        )
        raise UserError(f"weights {path} has no entry {entry!r}; {hint}")
    return result


def _problems(expected: State, state: State) -> list[str]:
    """Return what keeps `state` from being loaded, changed shapes first."""
    problems = []
    for name, value in expected.items():
        given = state.get(name)
        if given is None:
            continue
        if value.is_floating_point() and not given.is_floating_point():
            kind = str(given.dtype).removeprefix("torch.")
            problems.append(f"{name!r} has whole numbers ({kind}), the network's are not")
        elif _resized(value, given):
            shapes = f"{tuple(given.shape)}, the network's {tuple(value.shape)}"
            problems.append(f"{name!r} has shape {shapes}")
    # Old state dicts do not count batches, and evaluation does not need the count.
    missing = [
        name for name in expected if name not in state and not name.endswith("num_batches_tracked")
    ]
    problems += [f"{name!r} is missing" for name in missing]
    return problems + [
        f"{name!r} is not a part of the network" for name in state if name not in expected
    ]


def _misfit(problems: list[str], expected: State, state: State) -> str:
    """Return the first of `problems`, how many more there are, and what to do."""
    common = [name for name in expected if name in state]
    if not common and expected and state:
        return (
            f"they have no name in common (its first is {next(iter(state))!r}, the network's "
            f"{next(iter(expected))!r}); is model.name right?"
        )
    resized = [name for name in common if _resized(expected[name], state[name])]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    hint = "is model.name right?"
    if 0 < len(resized) == len(problems) <= 2:  # only the last layer's weight and bias differ
        hint = f"is it --set model.num_classes={state[resized[0]].shape[0]}?"
    return f"{problems[0]}{more}; {hint}"


def _resized(value: Tensor, given: Tensor) -> bool:
    # A lazy layer takes the shape that it is given.
    return not is_lazy(value) and value.shape != given.shape


def _equal(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


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
