"""What a network keeps from one call to the next: in its tensors, and wherever Python keeps it.

Parameters and buffers, attributes of its parts and of what these hold (lists, dicts, other
objects), attributes of their classes, values that functions carry along (defaults, closures) and
the plain variables of the files that its classes stand in.
"""

import collections
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

State = dict[str, tuple[Any, ...]]

DEPTH = 4
"""So many containers inside each other are looked into."""

MANY = 64
"""Of longer containers the first so many are looked at, and the length."""

MOST = 10_000
"""So many things are looked at in all."""

_LIBRARIES = ("torch", "torchvision", "timm", "transformers", "atlas", "builtins", "numpy", "zennit")
"""Whose classes and files keep nothing between calls that answers depend on."""

_OWN = frozenset(vars(nn.Module())) - {"training"}
"""Attributes of every module: its parts, parameters and hooks."""


@dataclass(frozen=True)
class Kept:
    """A tensor, number or the like that is kept."""

    name: str
    """`body.1.mean`, `memory.seen[0]`: how code gets at it."""
    value: Any
    put: Callable[[Any], None] | None = None
    """Puts something else there."""


@torch.no_grad()
def state_of(
    module: nn.Module, tensors: bool = True, attributes: bool = True, maps: bool = True
) -> State:
    """Return a few numbers for each thing that a module keeps, which change if it does.

    Parameters
    ----------
    module : nn.Module
        A network.
    tensors : bool
        Whether parameters and buffers are looked at.
    attributes : bool
        Whether what is neither is looked at too. A first call may fill that without harm.
    maps : bool
        Whether tensors among that are.

    Returns
    -------
    dict
        By name: the sum, the length and the first number of a tensor or an array, or a number.
    """
    found: State = {}
    if tensors:
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.numel() and not (tensor.is_sparse or tensor.is_complex() or tensor.is_meta):
                found[name] = summary(tensor)
    if attributes:
        held = [one for one in kept(module) if maps or not isinstance(one.value, Tensor)]
        found |= {one.name: summary(one.value) for one in held}
    return found


def changed(before: State, after: State) -> str:
    """Return the first thing that has other numbers afterwards, or is new; "" if nothing has."""
    return next((name for name, value in after.items() if before.get(name) != value), "")


def summary(one: Any) -> tuple[Any, ...]:
    """Return a few numbers that change if a thing does."""
    if isinstance(one, np.ndarray):
        if one.dtype.kind not in "biuf" or not one.size:
            return one.shape, str(one.dtype)
        one = torch.from_numpy(np.ascontiguousarray(one).copy())
    if isinstance(one, Tensor):
        plain = one.layout == torch.strided and not (one.is_complex() or one.is_meta)
        return _of_numbers(one) if plain and one.numel() else tuple(one.shape)
    if isinstance(one, torch.Generator):
        return summary(one.get_state())
    return (repr(one),)


def _of_numbers(tensor: Tensor) -> tuple[float, ...]:
    numbers = tensor.detach()
    first = numbers[(0,) * numbers.ndim]
    size = numbers if numbers.is_floating_point() else numbers.double()
    of_all = (numbers.sum(dtype=torch.float64), torch.linalg.vector_norm(size), first)  # no copy
    return tuple(torch.nan_to_num(torch.stack([one.double() for one in of_all])).tolist())


def kept(module: nn.Module) -> list[Kept]:
    """Return what a module keeps besides parameters and buffers."""
    walk = _Walk()
    places: dict[str, Any] = {}
    for prefix, part in module.named_modules():
        for key, value in vars(part).items():
            if key not in _OWN:
                name = f"{prefix}.{key}" if prefix else key
                walk.look(name, value, _into(vars(part), key))
        for cls in type(part).__mro__:
            if not _is_of_library(cls.__module__):
                places[f"{cls.__module__}.{cls.__qualname__}"] = cls
    for cls in places.values():
        for key, value in vars(cls).items():
            if not key.startswith("__"):
                walk.look(f"{cls.__qualname__}.{key}", value, None)
    for name in dict.fromkeys(cls.__module__ for cls in places.values()):
        for key, value in vars(sys.modules[name]).items() if name in sys.modules else ():
            if not key.startswith("__") and not isinstance(value, (FunctionType, nn.Module)):
                walk.look(f"{name}.{key}", value, None)
    return walk.found


def _is_of_library(module: str) -> bool:
    return module.partition(".")[0] in _LIBRARIES


def _into(mapping: Any, key: Any) -> Callable[[Any], None]:
    return lambda value: mapping.__setitem__(key, value)


class _Walk:
    """Looks into containers and objects, and at each but once."""

    def __init__(self) -> None:
        self.found: list[Kept] = []
        self._seen: set[int] = set()
        self._alive: list[Any] = []  # ids stay unique

    def look(
        self, name: str, one: Any, put: Callable[[Any], None] | None, depth: int = DEPTH
    ) -> None:
        """Note what a thing holds."""
        simple = one is None or isinstance(one, (bool, int, float, str))
        single = isinstance(one, (np.ndarray, torch.Generator, itertools.count))
        if simple or single or (isinstance(one, Tensor) and not isinstance(one, nn.Parameter)):
            self.found.append(Kept(name, one, put))
            return
        if depth == 0 or id(one) in self._seen or len(self.found) >= MOST:
            return
        self._seen.add(id(one))
        self._alive.append(one)
        for inner, value, into in _parts(one):
            self.look(f"{name}{inner}", value, into, depth - 1)


def _parts(one: Any) -> Iterator[tuple[str, Any, Callable[[Any], None] | None]]:
    """Yield what a thing holds: how it is reached, what it is, and how to put another there."""
    if isinstance(one, Mapping):
        yield "", len(one), None
        own = isinstance(one, dict)
        for key, value in itertools.islice(list(one.items()), MANY):
            yield f"[{key!r}]", value, _into(one, key) if own else None
    elif isinstance(one, (list, collections.deque)):
        yield "", len(one), None
        for key, value in enumerate(itertools.islice(list(one), MANY)):
            yield f"[{key}]", value, _into(one, key)
    elif isinstance(one, (tuple, set, frozenset)):
        yield "", len(one), None
        for key, value in enumerate(itertools.islice(one, MANY) if isinstance(one, tuple) else ()):
            yield f"[{key}]", value, None
    elif isinstance(one, FunctionType):
        if not _is_of_library(one.__module__ or ""):
            cells = zip(one.__code__.co_freevars, one.__closure__ or (), strict=False)
            for key, cell in cells:
                try:
                    yield f".{key}", cell.cell_contents, None
                except ValueError:  # not yet filled
                    continue
            for key, value in enumerate(one.__defaults__ or ()):
                yield f".default {key}", value, None
            for key, value in (one.__kwdefaults__ or {}).items():
                yield f".{key}", value, None
    elif isinstance(one, (staticmethod, classmethod, MethodType)):
        yield "", one.__func__, None
    elif not isinstance(one, (nn.Module, nn.Parameter, type, ModuleType)):
        held = getattr(one, "__dict__", None)
        if isinstance(held, dict) and not _is_of_library(type(one).__module__):
            for key, value in itertools.islice(list(held.items()), MANY):
                yield f".{key}", value, _into(held, key)


@torch.no_grad()
def answers_by(module: nn.Module, picture: Tensor, names: set[str]) -> str:
    """Return the first of some kept tensors on which answers depend; "" if none does.

    Each is replaced by other numbers before a call. What the network writes before it reads, as
    the last features for a later look, has no influence.

    Parameters
    ----------
    module : nn.Module
        A network.
    picture : Tensor
        (1, colours, height, width).
    names : set of str
        As `kept` gives them.
    """
    for one in kept(module):
        if one.name not in names or one.put is None:
            continue
        right = _answer(module, picture)
        one.put(one.value * -3 + 1 if one.value.dtype != torch.bool else ~one.value)
        try:
            other = _answer(module, picture)
        except Exception:  # whatever a user's network raises that meets other numbers
            return one.name
        if not torch.allclose(right, other, rtol=0, atol=1e-4 * float(right.abs().max())):
            return one.name
    return ""


def _answer(module: nn.Module, picture: Tensor) -> Tensor:
    result = module(picture.clone())
    found: Tensor = result.double()
    return found
