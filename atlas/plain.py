"""Text from outside in plain form: one line of it, or one part of an address."""

import hashlib
import re
import unicodedata

_UNSEEN = ("Cc", "Cs", "Zl", "Zp")
_SAFE = re.compile(r"[A-Za-z0-9_.-]")


def plain(value: object) -> str:
    """Return `value` as one line without control characters (also those of Markdown's own)."""
    text = str(value)
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(c) in _UNSEEN else c for c in text)
    return " ".join(text.split())


def slug(name: str) -> str:
    """Return `name` as one part of a path and of a URL; layers of PyTorch stay as they are.

    Different names have different slugs: other characters become `~` and hexadecimal digits.
    """
    hidden = name.startswith(".") or name.lower() in ("", "index", "readme")  # MkDocs' own
    kept = (bool(_SAFE.match(c)) and not (hidden and n == 0) for n, c in enumerate(name))
    parts = [c if safe else f"~{_utf8(c).hex()}" for c, safe in zip(name, kept, strict=True)]
    text = "".join(parts) or "~"
    if len(text) > 100:
        text = f"{text[:80]}~{hashlib.sha256(_utf8(name)).hexdigest()[:16]}"
    return text


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
