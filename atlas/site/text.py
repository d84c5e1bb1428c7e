"""Escaping: what comes from data becomes harmless text before it reaches a page.

Names of classes, layers and pictures are anything that anybody wrote. On a page they pass
three readers: YAML (front matter), Markdown, and the browser. Bodies of pages are one block
of HTML made with autoescaping, and `body` takes from it what Markdown or a templating
plugin could still see; titles, which themes print as they are, go through `neutral`.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from atlas import plain as plainly

plain, slug, slugs = plainly.plain, plainly.slug, plainly.slugs

NO_BREAK = "\N{NO-BREAK SPACE}"
UNKNOWN = "–"
"""Stands for a number that was not measured."""

CLIP = 40
"""Characters of a name in a list; its own page has all of them."""

_NEUTRAL = str.maketrans(
    {
        "<": "‹",
        ">": "›",
        '"': "”",
        "'": "’",
        "`": "’",
        "{": "(",
        "}": ")",
        "&": "＆",
        "\\": "/",
    }
)
_MARKDOWN = (("{", "&#123;"), ("}", "&#125;"), ("`", "&#96;"))


def clip(text: str, length: int = CLIP) -> str:
    """Return `text`, cut with an ellipsis where it is longer than `length`."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def neutral(text: str, length: int) -> str:
    """Return `text` for places that themes print unescaped, or escape twice.

    Characters with a meaning in HTML, Markdown or templates give way to typographic ones
    that look alike: no escaping would be right for every theme.
    """
    return clip(plain(text), length).translate(_NEUTRAL)


def percent(share: float | None) -> str:
    """Return a share with two significant digits: `12 %`, `2.1 %`, `0.034 %`; a dash for None."""
    if share is None:
        return UNKNOWN
    if not math.isfinite(share):
        return "not a number"
    return f"{_digits(100 * share, 2)}{NO_BREAK}%"


def number(value: float | None) -> str:
    """Return a count in groups of three, or a measured value with three significant digits.

    What was not measured is a dash.
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "not a number"
    return _digits(value, 3)


def counted(every: int, factors: int) -> str:
    """Return how many channels and factors there are: `649 channels and 25 factors`.

    Parameters
    ----------
    every : int
        Both together.
    factors : int
        Those of them that are factors.
    """
    both = (("channel", every - factors), ("factor", factors))
    said = [f"{number(many)} {what}{'s' if many != 1 else ''}" for what, many in both if many]
    return " and ".join(said) or "no channels"


def _digits(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}" if places <= 6 else f"{value:.{digits - 1}e}"
    return text.replace("-", "−")


def lines(value: object, length: int) -> Markup:
    """Return a longer text as HTML that keeps its lines, cut where it is longer than `length`."""
    kept = "\n".join(plain(line) for line in str(value)[: length + 1].splitlines())
    return Markup(str(escape(clip(kept, length))).replace("\n", "&#10;"))  # noqa: S704 (escaped)


def front_matter(
    title: str, description: str, meta: Sequence[tuple[str, str]] = (), data: str | None = None
) -> str:
    """Return the head of a page; its content has its own navigation, so Material's is hidden."""
    values: dict[str, Any] = {
        "title": neutral(title, 90),
        "description": neutral(description, 200),
        "hide": ["navigation", "toc"],
    }
    if meta:
        values["tags_of_head"] = [[name, neutral(content, 300)] for name, content in meta]
    if data:
        values["json"] = neutral(data, 300)
    # JSON is YAML, and is written fifty times as fast.
    lines = "".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items())
    return f"---\n{lines}---\n"


def body(html: str) -> str:
    """Return rendered HTML as one block that Markdown passes through untouched.

    Every line begins with a tag, so that nothing in a text can open a fence, a list or a
    table, and no braces are left for a templating plugin.
    """
    lines = (line.strip() for line in html.splitlines())
    joined = "".join(f"\n{line}" if line.startswith("<") else f" {line}" for line in lines if line)
    for character, harmless in _MARKDOWN:  # five times as fast as str.translate
        joined = joined.replace(character, harmless)
    return joined.strip() + "\n"
