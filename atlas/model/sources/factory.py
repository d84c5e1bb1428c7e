"""`path/to/file.py:FACTORY` or `package.module:FACTORY`: a function of one's own."""

import difflib
import hashlib
import importlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from atlas import recipe
from atlas.errors import UserError, one_line
from atlas.model import unwrap
from atlas.model.sources.raw import Raw, fill_from_file, slug

_OURS = Path(__file__).parents[2]


def build(spec: recipe.Model, seed: int) -> Raw:
    """Run the user's own code, and the function in it that makes the network.

    The function is called with `model.arguments` as keywords. While it is imported and
    called, the file's folder and the current one can be imported from, as by `python file.py`.

    Raises
    ------
    UserError
        The code cannot be run, the function fails, or what it returns cannot be looked into.
    """
    file, _, function = spec.name.rpartition(":")
    if spec.weights == "random":
        raise UserError(f"{spec.name} makes its own weights: leave model.weights out, or a file")
    path = Path(file)
    with _importing(path):
        code = _run(path) if path.suffix == ".py" else _imported(file, spec.name)
        module = _call(_function(code, function, file), spec)
        sha256 = _sha256(code, spec.arguments)
    if not isinstance(module, nn.Module):
        raise UserError(f"{spec.name} returned {type(module).__name__}, expected a torch.nn.Module")
    outer, module = module, unwrap.unwrapped(module, spec.name)
    classes = _carried("classes", outer, module)
    view = _carried("preprocessing", outer, module) or {}
    label = "as made by the factory"
    if spec.weights != "default":
        label = fill_from_file(module, spec, ["default"])
    if not isinstance(view, Mapping):
        raise UserError(f"{spec.name}: the module's `preprocessing` is not a dict")
    name = slug(f"{path.stem if path.suffix == '.py' else file}-{function}")
    return Raw(module, name, label, _names(classes, spec.name), view, sha256)


@contextmanager
def _importing(path: Path) -> Iterator[None]:
    """Import from the folder of `path` and the current one first, and then as before.

    Settings of torch that the user's code changes for the whole process are put back too.
    """
    before = sys.path.copy()
    gradients, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    folders = [path.resolve().parent] if path.suffix == ".py" else []
    sys.path[:0] = [str(folder) for folder in (*folders, Path.cwd())]
    try:
        yield
    finally:
        sys.path[:] = before
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(dtype)


def _run(path: Path) -> ModuleType:
    """Run the Python file `path` as a module."""
    if not path.is_file():
        raise UserError(f"model.name: there is no file {path}")
    _forget_neighbours()
    name = f"atlas_user_{path.stem}"
    loading = importlib.util.spec_from_file_location(name, path.resolve())
    assert loading is not None
    assert loading.loader is not None
    code = importlib.util.module_from_spec(loading)
    sys.modules[name] = code  # dataclasses and pickles look their module up there
    known = set(sys.modules)
    try:
        loading.loader.exec_module(code)
    except Exception as error:  # whatever a user's own code raises
        raise UserError(
            f"{path} cannot be run: {type(error).__name__}: {one_line(error)}"
        ) from error
    finally:
        _NEIGHBOURS.update(_beside(path.resolve().parent).keys() - known)
    return code


_NEIGHBOURS: set[str] = set()
"""Names of modules that files of factories imported from beside themselves."""


def _forget_neighbours() -> None:
    """Let the next file import its own `helper`, not that of the file before."""
    for name in _NEIGHBOURS:
        sys.modules.pop(name, None)
    _NEIGHBOURS.clear()


def _imported(name: str, asked: str) -> ModuleType:
    """Import the module `name` of an installed package."""
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
        raise UserError(
            f"model.name = {asked!r}: write path/to/file.py:FACTORY or package.module:FACTORY"
        )
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever a user's own code raises
        raise UserError(
            f"{asked}: {name} cannot be imported: {type(error).__name__}: {one_line(error)}"
        ) from error


def _function(code: ModuleType, function: str, file: str) -> Callable[..., Any]:
    factory = getattr(code, function, None)
    if not callable(factory):
        own = [
            key
            for key, value in vars(code).items()
            if getattr(value, "__module__", "") == code.__name__
        ]
        close = difflib.get_close_matches(function, own, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UserError(f"{file} has no function {function!r}{hint}")
    result: Callable[..., Any] = factory
    return result


def _call(factory: Callable[..., Any], spec: recipe.Model) -> Any:
    try:
        return factory(**spec.arguments)
    except Exception as error:  # whatever a user's own code raises
        takes = "" if spec.arguments else " (arguments go into [model.arguments])"
        hint = takes if isinstance(error, TypeError) and "argument" in str(error) else ""
        raise UserError(
            f"{spec.name} failed: {type(error).__name__}: {one_line(error)}{hint}"
        ) from error


def _sha256(code: ModuleType, arguments: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a factory's source, of what it imported beside it, and arguments."""
    digest = hashlib.sha256()
    if file := getattr(code, "__file__", None):  # none of a package without code
        folder = Path(file).parent
        paths = {Path(file), *_beside(folder).values()}
        for path in sorted(paths):
            digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update(json.dumps(arguments, sort_keys=True).encode())
    return digest.hexdigest()


def _beside(folder: Path) -> dict[str, Path]:
    """Return the loaded modules whose files lie in `folder`, but for installed ones and ours."""
    elsewhere = [Path(sys.prefix), Path(sys.base_prefix), _OURS]
    elsewhere = [one for one in elsewhere if not folder.is_relative_to(one)]
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name == "__main__" or not isinstance(file, str) or not file.endswith(".py"):
            continue
        if not file.startswith(f"{folder}{os.sep}"):
            continue
        path = Path(file)
        installed = {"site-packages", "dist-packages"} & set(path.relative_to(folder).parts)
        if not installed and not any(path.is_relative_to(one) for one in elsewhere):
            found[name] = path
    return found


def _carried(name: str, *modules: nn.Module) -> Any:
    """Return what the first module that has it says in the attribute `name`, None if none does."""
    values = (getattr(module, name, None) for module in modules)
    # A layer that happens to be called so says nothing.
    return next((one for one in values if one is not None and not isinstance(one, nn.Module)), None)


def _names(classes: object, name: str) -> list[str] | None:
    """Return the names of the outputs that a user's module carries, if it does."""
    if classes is None:
        return None
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise UserError(f"{name}: the module's `classes` is no list of names")
    return [str(one) for one in classes]
