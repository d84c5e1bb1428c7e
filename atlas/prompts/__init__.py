"""The prompts: TOML files with a version; what is asked is identified by its SHA-256.

A file is read once in a process, since a question is made for every channel and patch.
"""

import hashlib
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from atlas.errors import UserError

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Prompt:
    """A question, ready to be asked."""

    name: str
    """Name of the file it comes from."""
    version: int
    text: str
    retry: str = ""
    """Added when the first answer could not be read."""

    @property
    def sha256(self) -> str:
        """Hash of everything that is asked."""
        return hashlib.sha256(f"{self.text}\0{self.retry}".encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Return what a record says about its prompt."""
        return {"name": self.name, "version": self.version, "sha256": self.sha256}


def naming(name: str, view: str, layout: str, references: int, contrast: int) -> Prompt:
    """Return the question what `references` patches share.

    Parameters
    ----------
    name : str
        A prompt that ships (`patches`, `brief`), or the path of a TOML file like them.
    view, layout : str
        As in the recipe's `[name]`.
    references, contrast : int
        How many patches of either kind are shown.
    """
    parts = _read(name)
    try:
        sentences = [
            parts["references"][layout].format(references=references),
            parts["view"][view],
            parts["contrast"][layout].format(contrast=contrast) if contrast else "",
            parts["task"]["text"].strip().format(),
        ]
        retry = str(parts["retry"]["text"])
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise UserError(_lacking(name, error)) from error
    text = " ".join(sentence for sentence in sentences if sentence)
    return Prompt(Path(name).stem, int(parts["version"]), text, retry)


def fitting(name: str, view: str, concept: str) -> Prompt:
    """Return the question whether a patch fits the name `concept`."""
    parts = _read(name)
    try:
        # Replaced rather than formatted: a name may contain braces.
        task = parts["task"]["text"].strip().replace("{name}", concept)
        text = f"{parts['view'][view]} {task}".strip()
    except (KeyError, AttributeError) as error:
        raise UserError(_lacking(name, error)) from error
    return Prompt(Path(name).stem, int(parts["version"]), text)


def _lacking(name: str, error: Exception) -> str:
    return f"the prompt {name} lacks a part or has a stray brace ({error}): write it like {FOLDER}"


@lru_cache
def _read(name: str) -> dict[str, Any]:
    shipped = FOLDER / f"{name}.toml"
    path = shipped if shipped.is_file() and Path(name).name == name else Path(name)
    try:
        parts = tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        names = ", ".join(sorted(file.stem for file in FOLDER.glob("*.toml")))
        raise UserError(
            f"the prompt {name!r} cannot be read: give one of {names}, or the path of a TOML file"
        ) from error
    if not isinstance(parts.get("version"), int):
        raise UserError(f"the prompt {name} has no version: begin it with version = 1")
    return parts
