"""What the recipe that came with an atlas may reach on this machine.

An atlas is a thing that people pass on, and its manifest has the recipe that it was made by. That
names a Python file, weights, lists of words, models: for its maker they were his own files. Here
they may be anybody's. So code is not run, files outside the atlas are not opened, and no server is
spoken to, unless the user says so; what he sets himself on the command line is his own.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas.errors import UserError
from atlas.recipe import Recipe
from atlas.store import Store
from atlas.vlm import SERVER

CODE = ".py:"
"""Pattern of a `model.name` that names a function in a file."""

NETWORK = ("model.name", "model.weights", "model.classes")
"""What has to be opened for the network."""


@dataclass(frozen=True)
class Border:
    """Says what of a recipe may be opened.

    Attributes
    ----------
    root : Path or None
        Directory of the atlas that the recipe came with; None for a recipe that the user gave.
    own : frozenset of str
        Fields that the user set himself, `table.key`.
    settable : bool
        Whether he could: not every command takes settings.
    """

    root: Path | None = None
    own: frozenset[str] = frozenset()
    settable: bool = True

    def check(self, recipe: Recipe, *fields: str) -> None:
        """Look at fields, `table.key`, before what they name is opened.

        Raises
        ------
        UserError
            One names code, a file outside the atlas, or a server.
        """
        if self.root is None:
            return
        for name in fields:
            table, _, key = name.partition(".")
            value: Any = getattr(getattr(recipe, table), key)
            if name in self.own or not value:
                continue
            if name == "model.name" and CODE in value:
                raise UserError(
                    f"the recipe of this atlas runs Python code ({_short(value)}): if you trust "
                    "who made it, add --trust-code (in Python: trust_code=True)"
                )
            if value.startswith(SERVER):
                raise UserError(
                    f"the recipe of this atlas sends pictures to a server, {name} = "
                    f"{_short(value)}: {self._instead(name)}if you trust "
                    "who made it, add --trust-code (in Python: trust_code=True)"
                )
            path = value.partition(":")[2] if name == "data.source" else value
            if path and self._outside(Path(path)):
                raise UserError(
                    f"the recipe of this atlas opens what lies outside the atlas, {name} = "
                    f"{_short(value)}: {self._instead(name)}if you trust "
                    "who made it, add --trust-code (in Python: trust_code=True)"
                )

    def _instead(self, name: str) -> str:
        return f"set it yourself with --set {name}=..., or, " if self.settable else ""

    def _outside(self, path: Path) -> bool:
        """Say whether a value is a path that leads out, and not a name on the Hub or of a thing."""
        is_path = path.is_absolute() or ".." in path.parts or _exists(path)
        is_path = is_path or str(path).startswith(("~", "\\\\")) or "\0" in str(path)
        if not is_path or self.root is None:
            return False
        if "\0" in str(path):
            return True
        return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.root))


OWN = Border()
"""The border of a recipe that the user gave, who knows what is in it."""


def border(
    store: Store, overrides: Sequence[str] | None = None, *, trust_code: bool = False
) -> Border:
    """Return what the recipe of an atlas may reach.

    Parameters
    ----------
    store : Store
        The atlas that the recipe came with.
    overrides : sequence of str, optional
        What the user set, `table.key=value` each; None where he could set nothing.
    trust_code : bool
        Whether he trusts who made the atlas with running code and reading files.
    """
    if trust_code:
        return OWN
    own = frozenset(override.partition("=")[0].strip() for override in overrides or ())
    return Border(store.root, own, settable=overrides is not None)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _short(value: str) -> str:
    return repr(value if len(value) <= 120 else f"{value[:119]}…")
