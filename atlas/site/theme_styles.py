"""The theme's style sheets, without rules for what no page of an atlas has.

Material styles admonitions, tabs, footnotes, its own search and much else: 150 kB that every page
would load, of which these pages need a fifth. A rule stays if all classes that it asks for stand in
a template or in the frame that MkDocs puts around pages; so does a custom property that is used.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

_CLASSES = re.compile(
    r"""class(?:Name)?\s*=\s*(?:"((?:[^"{]|{{.*?}}|{%.*?%}|{)*)"|'([^']*)'|([\w-]+))"""
    r"""|classList\.\w+\(\s*["']([\w-]+)""",
    re.DOTALL,
)
"""Where a class is given; a template may have quotes within those of the attribute."""
_WORD = re.compile(r"[A-Za-z_][\w-]*")
_ASKED = re.compile(r"\.(-?[A-Za-z_](?:[\w-]|\\.)*)")
_COLOURS = re.compile(r'\[(data-md-color-(?:primary|accent))="?([\w-]+)"?\]')
_MAY_BE = re.compile(r":(?:not|is|where|has)\(")
_DECLARED = re.compile(r"(--[\w-]+)\s*:")
_USED = re.compile(r"var\(\s*(--[\w-]+)")
_GROUPS = ("@media", "@supports", "@container", "@layer")


def classes(sources: Iterable[str]) -> set[str]:
    """Return every class that pages, templates or scripts give to something."""
    found = (match for source in sources for match in _CLASSES.finditer(source))
    return {
        word for match in found for word in _WORD.findall(" ".join(filter(None, match.groups())))
    }


def pruned(
    sheets: Mapping[str, str], pages: Sequence[str], templates: Sequence[str]
) -> dict[str, str]:
    """Return style sheets with the rules that can apply.

    Parameters
    ----------
    sheets : mapping
        The style sheets of the theme by their names, without comments.
    pages : sequence of str
        HTML of pages, for the frame around all of them; the first one for the colours chosen.
    templates : sequence of str
        What bodies of pages are made of: templates, scripts, and style sheets that may use the
        custom properties of the theme.
    """
    known = classes((*pages, *templates))
    kept = {name: "".join(_kept(css, known, pages[0])) for name, css in sheets.items()}
    while True:
        used = {name for css in (*kept.values(), *templates) for name in _USED.findall(css)}
        fewer = {name: "".join(_without_unused(css, used)) for name, css in kept.items()}
        if fewer == kept:
            return kept
        kept = fewer


def _kept(css: str, known: Collection[str], frame: str) -> Iterator[str]:
    for head, body in _blocks(css):
        if body is None:
            yield f"{head};"
        elif head.startswith(_GROUPS):
            if inside := "".join(_kept(body, known, frame)):
                yield f"{head}{{{inside}}}"
        elif head.startswith("@"):
            yield f"{head}{{{body}}}"
        elif selectors := [s for s in _split(head, ",") if _can_apply(s, known, frame)]:
            yield f"{','.join(selectors)}{{{body}}}"


def _can_apply(selector: str, known: Collection[str], frame: str) -> bool:
    """Say whether all classes are there that a selector asks for, and the theme's colours."""
    asked = _without_arguments(selector)
    colours = _COLOURS.findall(asked)
    return all(name in known for name in _ASKED.findall(asked)) and all(
        f'{name}="{value}"' in frame for name, value in colours
    )


def _without_arguments(selector: str) -> str:
    """Return a selector without what stands in `:not(…)`, `:is(…)` and the like."""
    while found := _MAY_BE.search(selector):
        depth, end = 1, found.end()
        while depth and end < len(selector):
            depth += {"(": 1, ")": -1}.get(selector[end], 0)
            end += 1
        selector = selector[: found.start()] + selector[end:]
    return selector


def _without_unused(css: str, used: Collection[str]) -> Iterator[str]:
    for head, body in _blocks(css):
        if body is None:
            yield f"{head};"
        elif head.startswith(_GROUPS):
            yield f"{head}{{{''.join(_without_unused(body, used))}}}"
        elif head.startswith("@"):
            yield f"{head}{{{body}}}"
        else:
            declared = ((one, _DECLARED.match(one.strip())) for one in _split(body, ";"))
            left = [one for one, name in declared if name is None or name[1] in used]
            if left:
                yield f"{head}{{{';'.join(left)}}}"


def _blocks(css: str) -> Iterator[tuple[str, str | None]]:
    """Yield the rules of a style sheet: what stands before the braces, and in them."""
    start, depth, opened = 0, 0, 0
    for place, mark in _marks(css):
        if mark == "{":
            if not depth:
                opened = place
            depth += 1
        elif mark == "}":
            depth -= 1
            if not depth:
                yield css[start:opened].strip(), css[opened + 1 : place]
                start = place + 1
        elif mark == ";" and not depth:
            yield css[start:place].strip(), None
            start = place + 1


def _split(text: str, mark: str) -> list[str]:
    """Return the parts of a text between marks that stand in no string and no parentheses."""
    places = [-1, *(place for place, found in _marks(text) if found == mark), len(text)]
    parts = (text[a + 1 : b] for a, b in pairwise(places))
    return [part for part in parts if part.strip()]


_TOKENS = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\\.|[(){};,]""", re.DOTALL)


def _marks(text: str) -> Iterator[tuple[int, str]]:
    """Yield braces, semicolons and commas with their places, outside strings and parentheses."""
    inside = 0
    for found in _TOKENS.finditer(text):
        mark = found[0]
        if mark == "(":
            inside += 1
        elif mark == ")":
            inside = max(0, inside - 1)
        elif len(mark) == 1 and not inside:
            yield found.start(), mark
