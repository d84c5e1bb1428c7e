"""What a network keeps from one call to the next: in its tensors, and wherever Python keeps it.

Parameters and buffers, attributes of its parts and of what these hold (lists, dicts, other
objects), attributes of their classes, values that functions carry along (defaults, closures) and
the plain variables of the files that its classes stand in.
"""

import collections
import contextlib
import copy
import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

State = dict[str, tuple[Any, ...]]

DEPTH = 4
"""So many containers inside each other are looked into."""

MANY = 64
"""So many things are looked at in each container, the first ones, and its length."""

MOST = 10_000
"""So many things are looked at in all."""

_LIBRARIES = (
    "torch", "torchvision", "timm", "transformers", "atlas", "builtins", "numpy", "zennit",
)  # fmt: skip
"""Whose classes and files keep nothing between calls that answers depend on."""

_OWN = frozenset(vars(nn.Module())) - {"training"}
"""Attributes of every module: its parts, parameters and hooks."""


@dataclass(frozen=True)
class Held:
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


def kept(module: nn.Module) -> list[Held]:
    """Return what a module keeps besides parameters and buffers."""
    return _Contents(module).found


def snapshot(module: nn.Module) -> Callable[[], None]:
    """Return a function that brings back what containers, classes and files hold now."""
    walk = _Contents(module)
    contents = [(one, copy.copy(one)) for one in walk.containers]

    def restore() -> None:
        for container, content in contents:
            container.clear()
            (container.extend if isinstance(content, (list, collections.deque))
             else container.update)(content)  # fmt: skip
        for put, value in walk.shared:
            put(value)

    return restore


def _is_of_library(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _LIBRARIES


def _into(mapping: Any, key: Any) -> Callable[[Any], None]:
    return lambda value: mapping.__setitem__(key, value)


class _Contents:
    """Looks into what a module holds, and at each thing but once."""

    def __init__(self, module: nn.Module) -> None:
        self.found: list[Held] = []
        self.containers: list[Any] = []
        self.shared: list[tuple[Callable[[Any], None], Any]] = []
        """What classes and files hold: how to put it there, and what it is."""
        self._seen: set[Any] = set()
        self._alive: list[Any] = []  # ids stay unique
        self._variables: dict[tuple[str, str], Any] = {}
        classes: dict[type, None] = {}
        for prefix, part in module.named_modules():
            for key, value in vars(part).items():
                if key not in _OWN:
                    name = f"{prefix}.{key}" if prefix else key
                    self._look(name, value, _into(vars(part), key))
            for hooks in (part._forward_pre_hooks, part._forward_hooks):
                for key, hook in hooks.items():
                    self._look(f"{prefix or 'network'}.hook {key}", hook, None)
            classes |= dict.fromkeys(type(part).__mro__)
        for cls in classes:
            for key, value in () if _is_of_library(cls.__module__) else vars(cls).items():
                if not key.startswith("__") or key in ("__call__", "__getattr__"):
                    put = functools.partial(setattr, cls, key)
                    self._look_shared(f"{cls.__qualname__}.{key}", value, put)
        while self._variables:
            (file, name), functions = self._variables.popitem()
            self._look_shared(f"{file}.{name}", functions[name], _into(functions, name))

    def _look_shared(self, name: str, one: Any, put: Callable[[Any], None]) -> None:
        if _is_plain(one):
            self.shared.append((put, one))
        self._look(name, one, put)

    def _look(
        self, name: str, one: Any, put: Callable[[Any], None] | None, depth: int = DEPTH
    ) -> None:
        """Note what a thing holds."""
        if _is_plain(one):
            self.found.append(Held(name, one, put))
            return
        if depth == 0 or id(one) in self._seen or len(self.found) >= MOST:
            return
        self._seen.add(id(one))
        self._alive.append(one)
        if type(one) in (dict, list, set, collections.deque):
            self.containers.append(one)
        if isinstance(one, FunctionType) and not _is_of_library(one.__module__):
            for variable in one.__code__.co_names:
                if variable in one.__globals__ and (one.__module__, variable) not in self._seen:
                    self._seen.add((one.__module__, variable))
                    self._variables[one.__module__, variable] = one.__globals__
        for inner, value, into in _parts(one):
            self._look(f"{name}{inner}", value, into, depth - 1)


def _is_plain(one: Any) -> bool:
    """Return whether a thing is looked at as a whole."""
    if isinstance(one, nn.Parameter):
        return False
    kinds = (bool, int, float, str, Tensor, np.ndarray, torch.Generator, itertools.count)
    return one is None or isinstance(one, kinds)


_Part = tuple[str, Any, Callable[[Any], None] | None]
"""How a part is reached from the whole, what it is, and how to put another there."""


def _parts(one: Any) -> Iterator[_Part]:
    """Yield what a thing holds."""
    if isinstance(one, (Mapping, list, tuple, set, frozenset, collections.deque)):
        yield "", len(one), None
        yield from _items(one)
    elif isinstance(one, FunctionType):
        yield from _carried(one)
    elif isinstance(one, (staticmethod, classmethod, MethodType)):
        yield "", one.__func__, None
        if isinstance(one, MethodType):
            yield "", one.__self__, None
    elif isinstance(one, GeneratorType):
        for key, value in inspect.getgeneratorlocals(one).items():
            yield f".{key}", value, None
    elif isinstance(one, functools.partial):
        yield "", one.func, None
        yield "", (*one.args, *one.keywords.values()), None
    elif not isinstance(one, (nn.Module, nn.Parameter, type, ModuleType)):
        held = getattr(one, "__dict__", None)
        if isinstance(held, dict) and not _is_of_library(type(one).__module__):
            for key, value in itertools.islice(list(held.items()), MANY):
                yield f".{key}", value, _into(held, key)


def _items(one: Any) -> Iterator[_Part]:
    """Yield what a container holds, if it has an order."""
    if isinstance(one, (set, frozenset)):
        return
    pairs = one.items() if isinstance(one, Mapping) else enumerate(one)
    fixed = isinstance(one, tuple) or (isinstance(one, Mapping) and not isinstance(one, dict))
    for key, value in list(itertools.islice(pairs, MANY)):
        yield f"[{key!r}]", value, None if fixed else _into(one, key)


def _carried(function: FunctionType) -> Iterator[_Part]:
    """Yield what a function carries along: what it encloses, and its defaults."""
    if _is_of_library(function.__module__):
        return
    for key, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        with contextlib.suppress(ValueError):  # not yet filled
            yield f".{key}", cell.cell_contents, None
    for place, value in enumerate(function.__defaults__ or ()):
        yield f".default {place}", value, None
    for key, value in (*(function.__kwdefaults__ or {}).items(), *vars(function).items()):
        yield f".{key}", value, None


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
