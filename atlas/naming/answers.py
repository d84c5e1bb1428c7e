"""What a vision-language model answered, made into a name: tolerant, and never inventing.

An answer that cannot be used is no name. Models' words are untrusted: they are taken as text,
freed of control characters, and everything that shows them escapes them.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from atlas.store.names import Status

MOST_WORDS = 5
LONGEST_NAME = 60
LONGEST_DESCRIPTION = 400

_NOTHING = {"", "null", "none", "n/a", "unclear", "no clear concept", "no concept", "unknown"}
_LINE = re.compile(r"^\W*(name|description|confidence)\W*[:=]\s*(.+?)[\s,]*$", re.I | re.M)


@dataclass(frozen=True)
class Answer:
    """What was understood of an answer."""

    status: Status
    name: str | None = None
    description: str | None = None
    confidence: float | None = None
    problem: str | None = None
    """Why the answer is unusable."""


def parse(raw: str) -> Answer:
    """Understand an answer: a JSON object anywhere in it, or lines such as `name: ...`.

    Parameters
    ----------
    raw : str
        The answer as it came, of any length.
    """
    found = next(_objects(raw), None)
    if found is None:
        found = {
            key.lower(): value.strip("\"'*` ")
            for key, value in _LINE.findall(raw[:4_000])
            if value.count('"') != 1  # else it was cut off
        }
    if "name" not in found:
        return Answer("unnamed", problem="empty" if not raw.strip() else "no name in it")
    name = found["name"]
    description = _text(found.get("description"))[:LONGEST_DESCRIPTION] or None
    confidence = _confidence(found.get("confidence"))
    if name is None or (isinstance(name, str) and _text(name).casefold() in _NOTHING):
        return Answer("no clear concept", None, description, confidence)
    if not isinstance(name, str):
        return Answer("unnamed", problem="the name is no text")
    name = _text(name)
    if len(name.split()) > MOST_WORDS or len(name) > LONGEST_NAME:
        return Answer("unnamed", problem=f"the name is longer than {MOST_WORDS} words")
    return Answer("named", name, description, confidence)


def _objects(raw: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects with a name that stand in a text."""
    decoder = json.JSONDecoder()
    for found in re.finditer(r"\{", raw):
        try:
            value, _ = decoder.raw_decode(raw, found.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and "name" in value:
            yield value


def _text(value: Any) -> str:
    """Return a text on one line without control and formatting characters."""
    if not isinstance(value, str):
        return ""
    kept = (" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in value)
    visible = (c for c in kept if unicodedata.category(c) not in ("Cf", "Cs", "Co", "Cn"))
    return " ".join("".join(visible).split()).strip("\"'`").rstrip(".")


def _confidence(value: Any) -> float | None:
    """Return a number from 0 to 1, from `0.9`, `"0.9"` or `"90 %"`."""
    percent = isinstance(value, str) and value.strip().endswith("%")
    try:
        number = float(value.strip(" %") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        return None
    number = number / 100 if percent else number
    return number if 0 <= number <= 1 and not isinstance(value, bool) else None
