"""Objects as models write them: JSON, Python's dicts, and what lies between.

Read are quotes of any kind, quotes inside quotes, keys and texts without quotes, `None`, missing
and trailing commas, comments, and line breaks in texts. What ends too early raises `CutError`, what
makes no sense raises `BrokenError`: nothing is guessed.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DEEPEST = 8
"""Objects and lists within each other that are followed."""

MOST_STEPS = 400_000
"""Looks at a text, after which nothing of it counts as read."""

LONGEST_KEY = 60
LONGEST_BARE = 10_000
"""Characters of a key, and of a value without quotes."""

_QUOTES = {'"': '"', "'": "'", "`": "`", "“": '”“"', "‘": "’'", "„": '“”"', "«": "»"}
_KEY = r"""["'`“‘„«][ ]?(?:[^\W\d]|\*)[\w *-]{0,40}["'`”“’»]\s*[:=：]"""
_SPACE = r"(?:\s|\\[nrt])*"
_BLANK = re.compile(r"(?:\s|\\[nrt]|//[^\n]*|/\*.{0,500}?\*/)*", re.S)
_BARE_KEY = re.compile(r"\*{0,2}[^\W\d][\w -]{0,40}\*{0,2}(?=\s*[:=：])")
_COLON = re.compile(r"[:=：]")
_NEXT = (
    rf"(?:[}}\])]|$|//|/\*|[,;]?{_SPACE}{_KEY}|[,;\n]{_SPACE}[^\W\d]\w*\s*[:=：]"
    rf"|[,;]{_SPACE}(?:[}}\])]|//|/\*|$))"
)
_AFTER = {
    "key": re.compile(r"\s*[:=：]"),
    "value": re.compile(_SPACE + _NEXT),
    "item": re.compile(_SPACE + r"(?:[,\]}]|$)"),
}
_BARE = {
    "value": re.compile(
        rf"""[^\s"'{{}}\[,][^\n"{{}}]{{0,{LONGEST_BARE}}}?(?={_SPACE}(?:\n|{_NEXT}))"""
    ),
    "item": re.compile(
        rf"""[^\s"'{{}}\[,\]][^\n"{{}}]{{0,{LONGEST_BARE}}}?(?=\s*(?:[\n,\]}}]|$))"""
    ),
}
_BEGUN = re.compile(rf"\{{\s*{_KEY}")
_ESCAPE = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\(.)", re.S)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\n", "b": " ", "f": " "}
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_CONSTANTS = {"null": None, "none": None, "nil": None, "undefined": None, "nan": None, "~": None,
              "true": True, "false": False}  # fmt: skip


class CutError(ValueError):
    """The text ends before the object does."""


class BrokenError(ValueError):
    """What stands there is no object."""


@dataclass(frozen=True)
class Objects:
    """The outermost objects of a text, in their order."""

    found: list[dict[str, Any]]
    spans: list[tuple[int, int]]
    """First and last + 1 character of each."""
    cut: int | None
    """Where an object begins that the text's end cuts off."""


def objects(text: str) -> Objects:
    """Read the objects of a text; one that cannot be read is passed over."""
    reader = _Reader(text)
    found: list[dict[str, Any]] = []
    spans: list[tuple[int, int]] = []
    at = 0
    while (start := text.find("{", at)) >= 0:
        try:
            value, at = reader.object(start + 1, 0)
        except CutError:
            return Objects(found, spans, start)
        except BrokenError:
            at = start + 1
            continue
        found.append(value)
        spans.append((start, at))
    if reader.steps > MOST_STEPS:
        return Objects([], [], None)
    return Objects(found, spans, None)


def pairs(text: str, start: int) -> dict[str, Any]:
    """Read an object without its braces that begins at `start`.

    Raises
    ------
    CutError, BrokenError
        It cannot be read to its end.
    """
    return _Reader(text, braces=False).object(start, 0)[0]


@dataclass
class _Reader:
    """Reads values at given places of a text; each step returns the value and where it ends."""

    text: str
    braces: bool = True
    """Whether the outermost object has them; without, it may end with the text."""
    steps: int = 0

    def object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        """Read from behind the opening brace."""
        found: dict[str, Any] = {}
        braces = self.braces or depth > 0
        while True:
            at = self._blank(at)
            if at == len(self.text):
                if braces or not found:
                    raise CutError
                return found, at
            if self.text[at] == "}" or (not braces and self.text[at] == ")"):
                return found, at + 1
            if self.text[at] in ",;" and found:
                at += 1
                continue
            key, at = self._key(at)
            at = self._blank(at)
            if at == len(self.text):
                raise CutError
            if not _COLON.match(self.text, at):
                raise BrokenError
            found[key], at = self._value(at + 1, "value", depth + 1)

    def _blank(self, at: int) -> int:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise BrokenError
        found = _BLANK.match(self.text, at)
        return found.end() if found else at

    def _key(self, at: int) -> tuple[str, int]:
        if self.text[at] in _QUOTES:
            return self._string(at, "key")
        if found := _BARE_KEY.match(self.text, at):
            return found[0], found.end()
        if re.fullmatch(r"\w+\s*", self.text[at : at + LONGEST_KEY]):
            raise CutError
        raise BrokenError

    def _value(self, at: int, place: str, depth: int) -> tuple[Any, int]:
        at = self._blank(at)
        if at == len(self.text):
            raise CutError
        if depth > DEEPEST:
            raise BrokenError
        if self.text[at] == "{":
            return self.object(at + 1, depth)
        if self.text[at] == "[":
            return self._list(at + 1, depth)
        if self.text[at] in _QUOTES:
            return self._string(at, place)
        found = _BARE[place].match(self.text, at)
        if not found:
            raise BrokenError
        self.steps += len(found[0])
        if found.end() == len(self.text) and (self.braces or depth > 1):
            raise CutError
        return _constant(found[0]), found.end()

    def _list(self, at: int, depth: int) -> tuple[list[Any], int]:
        found: list[Any] = []
        while True:
            at = self._blank(at)
            if at == len(self.text):
                raise CutError
            if self.text[at] == "]":
                return found, at + 1
            if self.text[at] == "," and found:
                at += 1
                continue
            value, at = self._value(at, "item", depth + 1)
            found.append(value)

    def _string(self, at: int, place: str) -> tuple[str, int]:
        """Read a text in quotes: it ends at a quote behind which the object goes on or ends."""
        start = at + 1
        limit = start + LONGEST_KEY if place == "key" else len(self.text)
        closed = 0
        for end in self._closing(self.text[at], start, limit):
            closed += 1
            if _AFTER[place].match(self.text, end + 1):
                if closed > 1 and end + 1 == len(self.text):
                    raise CutError  # a quote that may as well begin something
                body = self.text[start:end]
                if self.text[at] != "'" and closed % 2 == 0:
                    raise BrokenError  # half of a quotation, or something left out
                if place != "key" and _BEGUN.search(body):
                    raise BrokenError
                if re.search(rf"{self.text[at]}[\w *-]{{1,40}}{self.text[at]}\s*[:=：]", body):
                    raise BrokenError
                return _unescaped(body), end + 1
        if limit < len(self.text) or (closed and "}" in self.text[start:]):
            raise BrokenError
        raise CutError

    def _closing(self, quote: str, start: int, limit: int) -> Iterator[int]:
        at = start
        pattern = re.compile(rf"\\.|[{re.escape(_QUOTES[quote])}]", re.S)
        while found := pattern.search(self.text, at, limit):
            self.steps += 1
            if self.steps > MOST_STEPS:
                raise BrokenError
            at = found.end()
            if len(found[0]) == 1:
                yield found.start()


def _constant(text: str) -> Any:
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    return float(text) if _NUMBER.fullmatch(text) else text


def _unescaped(body: str) -> str:
    def one(found: re.Match[str]) -> str:
        if found[1] is None:  # the halves of a pair stand next to each other
            return str(json.loads(f'"{found[0]}"'))
        return _ESCAPES.get(found[1], found[1])

    return _ESCAPE.sub(one, body)
