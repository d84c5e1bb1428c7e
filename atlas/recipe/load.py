"""Reading a recipe: TOML, `--set`, and one line about what does not fit."""

import copy
import difflib
import tomllib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from atlas.errors import UserError
from atlas.recipe.recipe import Recipe
from atlas.resources import shipped

RECIPE = TypeAdapter(Recipe)


def load(recipe: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and check every field of it.

    Parameters
    ----------
    recipe : str
        Path of a TOML file, or the bare name of a recipe that ships (`demo`).
    overrides : sequence of str
        `table.key=value` each; the value is read as TOML, and as text where it is none.

    Raises
    ------
    UserError
        The file is missing or is not TOML, a key is unknown, or a value does not fit.
    """
    path = _find(recipe)
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a TOML file: {error}") from error
    tables.setdefault("name", path.stem)
    for override in overrides:
        _apply(tables, override)
    return parse(tables, str(path), overrides)


def recorded(manifest: dict[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe that an atlas was made by, from its manifest.

    Parameters
    ----------
    manifest : dict
        As `atlas.store.Store.manifest` returns it.
    overrides : sequence of str
        As in `load`.

    Raises
    ------
    UserError
        The manifest has no recipe that this version can read, or an override does not fit.
    """
    tables = copy.deepcopy(manifest.get("recipe", {}))
    for override in overrides:
        _apply(tables, override)
    return parse(tables, "the recipe in manifest.json", overrides)


def parse(tables: dict[str, Any], origin: str, overrides: Sequence[str] = ()) -> Recipe:
    """Check `tables` and complete them with defaults.

    Messages name `origin`, or the one of the `overrides` in there that does not fit.
    """
    try:
        return RECIPE.validate_python(tables)
    except ValidationError as error:
        wrong = ".".join(str(part) for part in error.errors()[0]["loc"])
        for override in overrides:
            key = override.partition("=")[0].strip()
            if f"{wrong}.".startswith(f"{key}."):
                origin = f"--set {override}"
        raise UserError(f"{origin}: {_explain(error)}") from error


def _find(recipe: str) -> Path:
    path = Path(recipe)
    if path.is_file():
        return path
    if path.name == recipe and not path.suffix:
        path = shipped("build") / f"{recipe}.toml"
        if path.is_file():
            return path
    names = ", ".join(sorted(p.stem for p in shipped("build").glob("*.toml")))
    raise UserError(f"no recipe {recipe!r}: give the path of a TOML file, or one of {names}")


def _apply(tables: dict[str, Any], override: str) -> None:
    """Set one `table.key=value` in `tables`."""
    dotted, equals, text = override.partition("=")
    *parents, key = dotted.strip().split(".")
    if not equals or not key:
        raise UserError(f"--set {override!r}: write it as table.key=value, as data.limit=100")
    table = tables
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise UserError(f"--set {override!r}: {parent!r} is not a table of the recipe")
    try:
        table[key] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        table[key] = text


def _explain(error: ValidationError) -> str:
    """Turn the first problem that pydantic found into one line that says how to mend it."""
    problem = error.errors()[0]
    where = [str(part) for part in problem["loc"]]
    name = ".".join(where)
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = _keys(where[:-1])
        close = difflib.get_close_matches(where[-1], known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
        return f"there is no {name!r}; {hint}"
    if problem["type"] == "missing":
        return f"{name!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "tuple_type":
        message = 'write a list, as [1, 2] or ["a", "b"]'
    more = error.error_count() - 1
    return f"{name} = {problem['input']!r}: {message}" + (f" (and {more} more)" if more else "")


def _keys(tables: Sequence[str]) -> list[str]:
    """Return the known keys of the table that the path `tables` leads to."""
    kind: Any = Recipe
    for table in tables:
        kind = next((f.type for f in fields(kind) if f.name == table), Recipe)
        if not is_dataclass(kind):
            return []
    return [f.name for f in fields(kind)]
