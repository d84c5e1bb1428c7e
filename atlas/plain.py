"""Text from outside in plain form: one line of it, or one part of an address."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

_UNSEEN = ("Cc", "Cs", "Zl", "Zp")
_SIGNS = frozenset("\u06dd\u070f\u08e2\u0890\u0891\U000110bd\U000110cd") | {
    chr(code) for code in (*range(0x0600, 0x0606), *range(0x13430, 0x13456))
}
"""Formatting characters that are seen."""
_JOINABLE = re.compile(
    "[\u0600-\u109f\u1780-\u18af\u1a20-\u1cff\u2190-\u2bff\ua840-\ua9df\uaa00-\uaadf\ufe0f"
    "\U00010a00-\U00011fff\U0001f000-\U0001faff]"
)
"""Letters of scripts in which joiners decide what a letter looks like, and parts of emoji."""
_FLAG = "\U0001f3f4"
_TAG = re.compile(f"{_FLAG}[\U000e0020-\U000e007f]{{1,8}}")
"""A flag by the letters of its country, of which each is a character of no width."""
_VIRAMA = 9
"""Unicode's class of the signs that take a letter's vowel away; a joiner behind one is seen."""
_SAFE = re.compile(r"[A-Za-z0-9_.-]")
_SAFE_LOWER = re.compile(r"[a-z0-9_.-]")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE | re.DOTALL)
"""Names that Windows has for devices, with any ending."""
_ESCAPED = re.compile(
    "~([0-7][0-9a-f]|[cd][0-9a-f]{3}|e[0-9a-f]{5}|f[0-9a-f]{7})", re.IGNORECASE | re.ASCII
)
"""What `slug` makes of a character: the first byte says how many there are."""


def plain(value: object) -> str:
    """Return `value` as one line without characters that are not seen.

    Those are control characters, marks that turn the direction of a text, also of what stands
    behind it, and what has no width. Joiners stay where letters or emoji need them.
    """
    text = str(value)
    if not text.isprintable():
        text = "".join(_shown(text, at) for at in range(len(text)))
    return " ".join(text.split())


def unseen(text: str) -> str:
    """Return the first character of a text that `plain` takes away or makes a space; else none."""
    if text.isprintable():
        return ""
    return next((one for at, one in enumerate(text) if _shown(text, at) != one), "")


def _shown(text: str, at: int) -> str:
    """Return what stands for a character of a text: itself, a space, or nothing."""
    one = text[at]
    kind = unicodedata.category(one)
    if kind in _UNSEEN:
        return " "
    if kind != "Cf" or one in _SIGNS:
        return one
    before, behind = text[at - 1 : at], text[at + 1 : at + 2]
    if one in "\u200c\u200d":
        needed = _JOINABLE.match(before) and (
            _JOINABLE.match(behind) or unicodedata.combining(before) == _VIRAMA
        )
    else:  # the letters of a flag that has no code of its own
        needed = _TAG.fullmatch(text, max(text.rfind(_FLAG, 0, at), 0), at + 1)
    return one if needed else ""


def shortened(name: str, most: int = 6) -> str:
    """Return a name on one line; of one with more than `most` words the first four and `…`."""
    words = plain(name).split()
    return " ".join(words) if len(words) <= most else f"{' '.join(words[:4])}…"


def cell(value: Any) -> Any:
    """Return a text as a table for spreadsheets may have it: never a formula, which they would run.

    What begins like one gets an apostrophe in front; numbers stay numbers.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def slug(name: str) -> str:
    """Return `name` as one part of a path and of a URL; layers of PyTorch stay as they are.

    Different names have different slugs: other characters become `~` and hexadecimal digits.
    So does the first one of names that MkDocs or Windows has for itself.
    """
    return _escaped(name, _SAFE)


def slugs(names: Iterable[str]) -> dict[str, str]:
    """Return the slugs of names that stand beside each other, also where case makes no difference.

    Capital letters are escaped where nothing else distinguishes two slugs.
    """
    found = {name: slug(name) for name in names}
    alike = Counter(text.lower() for text in found.values())
    return {
        name: text if alike[text.lower()] == 1 else _escaped(name, _SAFE_LOWER)
        for name, text in found.items()
    }


def unslug(text: str) -> str:
    """Return the name that has the slug `text`, also where the address was escaped as URLs are.

    Of names that are too long for a slug it returns the slug.
    """

    def character(found: re.Match[str]) -> str:
        try:
            return bytes.fromhex(found[1]).decode()
        except UnicodeDecodeError:
            return found[0]

    return _ESCAPED.sub(character, unquote(text))


def _escaped(name: str, safe_letters: re.Pattern[str]) -> str:
    taken = name.lower() in ("", "index", "readme") or _RESERVED.fullmatch(name)
    hidden = name.startswith(".") or taken
    last = len(name) - 1
    kept = (
        bool(safe_letters.match(c))
        and not (hidden and n == 0)
        and not (c == "." and n == last)  # Windows drops a last dot
        for n, c in enumerate(name)
    )
    parts = [c if safe else f"~{_utf8(c).hex()}" for c, safe in zip(name, kept, strict=True)]
    text = "".join(parts) or "~"
    if len(text) > 100:
        text = f"{text[:80]}~{hashlib.sha256(_utf8(name)).hexdigest()[:16]}"
    return text


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
