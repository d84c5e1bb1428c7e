"""Names of outputs from files as people have them."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from atlas.errors import UserError, one_line

LARGEST = 5_000_000
"""Bytes of a file of names, at most."""

_NUMBERED = re.compile(r"(\d+)\s*[,:;\t ]\s*(\S.*)")
_NUMBER_LAST = re.compile(r"(.*\S)\s*[,:;\t ]\s*(\d+)")
_WORDNET = re.compile(r"(n\d{8})(?:\s*[,:;\t ]\s*|_)(\S.*)")


def read(file: str) -> tuple[str, ...]:
    """Read the names of a network's outputs, in order, from `file`.

    JSON or Python's way of writing it: a list of names, names by number (`{0: "ant"}`), numbers
    by name, each name also as `["n01440764", "tench"]`. Or text: one name a line, or
    `0,ant`, or `n01440764 tench`.

    Raises
    ------
    UserError
        The file cannot be read, or a line or entry of it does not fit the others.
    """
    path = Path(file)
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"model.classes = {file!r} has more than {LARGEST:,} bytes: no names")
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"model.classes = {file!r} cannot be read: {one_line(error)}") from error
    try:
        if text.lstrip()[:1] in ("[", "{", "("):
            return _listed(_parsed(text))
        lines = [(at, line.strip()) for at, line in enumerate(text.splitlines(), 1)]
        return _lines([(f"line {at}", line) for at, line in lines if line])
    except ValueError as error:
        raise UserError(f"model.classes = {file!r}: {one_line(error)[:300]}") from error


def _parsed(text: str) -> Any:
    """Read JSON, or what Python writes for lists and dicts."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        problem = one_line(error)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(
            f"it is not JSON ({problem}), nor a list or dict as Python writes it"
        ) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if (twice := _twice(key for key, _ in pairs)) is not None:
        raise ValueError(f"{twice!r} stands there twice")
    return dict(pairs)


def _twice(values: Iterable[Any]) -> Any:
    """Return a value that occurs more than once, None if there is none."""
    return next((value for value, count in Counter(values).items() if count > 1), None)


def _listed(content: object) -> tuple[str, ...]:
    """Return the names of a list, of a dict by number, or of a dict of numbers."""
    if isinstance(content, Mapping):
        if content and all(type(value) is int for value in content.values()):
            if (twice := _twice(content.values())) is not None:
                raise ValueError(f"output {twice} has two names")
            content = {value: key for key, value in content.items()}
        numbered = {}
        for key, value in content.items():
            if not (type(key) is int or (isinstance(key, str) and key.isdecimal())):
                raise ValueError(f"{key!r} is no number of an output")
            numbered[int(key)] = value
        content = _in_order(numbered)
    if not isinstance(content, Sequence):
        raise ValueError("expected a list of names, or names by number")
    return tuple(_name(value, f"entry {at}") for at, value in enumerate(content))


def _in_order(numbered: Mapping[int, Any]) -> list[Any]:
    """Return what is numbered from 0 on in that order."""
    for number in range(len(numbered)):
        if number not in numbered:
            counted = ", and they are counted from 0" if number == 0 else ""
            raise ValueError(f"output {number} has no name{counted}")
    return [numbered[number] for number in range(len(numbered))]


def _name(value: object, place: str) -> str:
    """Return one name; of a WordNet id and a name both, as "n01440764 tench"."""
    parts: Any = [value] if isinstance(value, str) else value
    if (
        not isinstance(parts, Sequence)
        or not 0 < len(parts) <= 2
        or not all(isinstance(part, str) and part.strip() for part in parts)
    ):
        raise ValueError(f"{place} ({str(value)[:60]}) is no name: expected text")
    return " ".join(part.strip() for part in parts)


def _lines(lines: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return the names in lines of text, each with its place for messages."""
    if numbered := _split(lines, _NUMBERED, "NUMBER,NAME"):
        names: dict[int, tuple[str, str]] = {}
        for (place, _), (number, name) in zip(lines, numbered, strict=True):
            if int(number) in names:
                raise ValueError(f"{place} has the number {number} again")
            names[int(number)] = (place, _unquoted(name))
        lines = _in_order(names)
    last = [_NUMBER_LAST.fullmatch(line) for _, line in lines]
    order = {int(match[2]): _unquoted(match[1]) for match in last if match}
    if not numbered and sorted(order) == list(range(len(lines))):  # every number once: "ant,0"
        lines = [("", order[number]) for number in range(len(lines))]
    if identified := _split(lines, _WORDNET, "n01440764 NAME"):
        return tuple(f"{wordnet} {_unquoted(name)}" for wordnet, name in identified)
    return tuple(name for _, name in lines)


def _split(
    lines: Sequence[tuple[str, str]], pattern: re.Pattern[str], form: str
) -> list[tuple[str, str]]:
    """Return each line in two, if most have the form of `pattern`, which all have to then."""
    matches = [pattern.fullmatch(line) for _, line in lines]
    if sum(match is not None for match in matches) * 2 <= len(lines):
        return []
    for (place, line), match in zip(lines, matches, strict=True):
        if match is None:
            raise ValueError(f"{place} ({line[:60]}) is not as the others, {form}")
    return [(match[1], match[2]) for match in matches if match]


def _unquoted(name: str) -> str:
    quoted = len(name) > 2 and name[0] == name[-1] and name[0] in "\"'"
    return name[1:-1].strip() if quoted else name
