"""The frame that the theme puts around a page, taken from one page for all.

Pages outside the navigation get the same frame from MkDocs, but for what their head says of them
and for the way to the site's root. So MkDocs is run on one page of every place, with marks where
something differs, and these are filled in for all others. A test compares the result with that
of one plain run of MkDocs over everything.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import escape

from atlas.site import text

BODY = '<div id="atlas-body"><h1></h1></div>'
"""Stands for the body of a page while MkDocs builds it; Material adds a heading if it has none."""

TITLE, DESCRIPTION, HEAD = "atlas-frame-title", "atlas-frame-description", "atlas-frame-head"
"""Stand for a page's title and description, and for the tags of its head."""

_OTHER_LINE = re.compile("\n(?!<)")
"""A line that does not begin with a tag."""

_MARKED_HEAD = f'<meta name="{HEAD}" content="">\n'
_FIELDS = {"title", "description", "hide", "tags_of_head", "json"}
_MARKS = re.compile("|".join(map(re.escape, (TITLE, DESCRIPTION, _MARKED_HEAD, BODY))))


@dataclass(frozen=True)
class Framed:
    """A page as `text.front_matter` and `text.body` make it."""

    title: str
    description: str
    tags: str
    """The tags of its head, as the theme's `main.html` writes them."""
    body: str


def split_body(page: str) -> tuple[str, str]:
    """Return the Markdown of a page with a mark for its body, and the body.

    Only what Markdown passes through is taken for the body: one block of HTML whose lines all
    begin with a tag. The body of any other page, which somebody changed by hand, is empty.
    """
    head, end, body = page.partition("\n---\n")
    body = body.strip()
    whole = body.startswith('<div class="atlas ') and body.endswith("\n</div>")
    if not whole or _OTHER_LINE.search(body):
        return page, ""
    return f"{head}{end}\n{BODY}\n", body


def read(page: str) -> Framed | None:
    """Return what a page puts into its frame; None if it was not made so."""
    marked, body = split_body(page)
    if not body:
        return None
    try:
        fields = dict(_field(line) for line in marked.split("\n---\n")[0].split("\n")[1:])
    except ValueError:
        return None
    title, description = fields.get("title"), fields.get("description")
    if not title or not description or fields.keys() - _FIELDS or "hide" not in fields:
        return None
    tags = [
        f'<meta name="{escape(name)}" content="{escape(content)}">\n'
        for name, content in fields.get("tags_of_head", ())
    ]
    if data := fields.get("json"):
        where = f'type="application/json" href="{escape(data)}"'
        tags.append(f'<link rel="alternate describedby" {where}>\n')
    return Framed(title, description, "".join(tags), body)


def marked() -> str:
    """Return the Markdown of a page that has marks in all places that differ."""
    return f"{text.front_matter(TITLE, DESCRIPTION, [(HEAD, '')])}\n{BODY}\n"


def fill(frame: str, page: Framed) -> str:
    """Return the HTML of a page from what MkDocs made of `marked()` at its place."""
    places = {
        TITLE: page.title,
        DESCRIPTION: page.description,
        _MARKED_HEAD: page.tags,
        BODY: page.body,
    }
    return _MARKS.sub(lambda found: places[found[0]], frame)


def place(name: str) -> tuple[str, int]:
    """Return what decides the links of a page's frame: its folder below the root, and its depth."""
    return name.partition("/")[0], name.count("/")


def one_of_each_place(names: Iterable[str]) -> dict[tuple[str, int], str]:
    """Return the first of the names at each place."""
    found: dict[tuple[str, int], str] = {}
    for name in names:
        found.setdefault(place(name), name)
    return found


def _field(line: str) -> tuple[str, Any]:
    name, _, value = line.partition(": ")
    return name, json.loads(value)
