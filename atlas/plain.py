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
_TURNING = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
"""Marks that turn the direction of a text, also of what stands behind them."""
_SAFE = re.compile(r"[A-Za-z0-9_.-]")
_SAFE_LOWER = re.compile(r"[a-z0-9_.-]")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE | re.DOTALL)
"""Names that Windows has for devices, with any ending."""
_ESCAPED = re.compile(
    "~([0-7][0-9a-f]|[cd][0-9a-f]{3}|e[0-9a-f]{5}|f[0-9a-f]{7})", re.IGNORECASE | re.ASCII
)
"""What `slug` makes of a character: the first byte says how many there are."""


def plain(value: object) -> str:
    """Return `value` as one line without control characters or marks that turn its direction."""
    text = str(value)
    if not text.isprintable():
        text = text.translate(_TURNING)
        text = "".join(" " if unicodedata.category(c) in _UNSEEN else c for c in text)
    return " ".join(text.split())


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
