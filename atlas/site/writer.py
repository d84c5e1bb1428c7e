"""From a context through a template to the Markdown of a page."""

import posixpath
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from atlas.resources import shipped
from atlas.site import text
from atlas.site.output import Tree


class PageWriter:
    """Writes pages into a tree."""

    def __init__(self, tree: Tree, shared: Mapping[str, Any]) -> None:
        self._tree = tree
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(shipped("site_templates")),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {
            "percent": text.percent,
            "number": text.number,
            "counted": text.counted,
            "plain": text.plain,
            "clip": text.clip,
            "lines": text.lines,
        }
        self._environment.globals |= {"basename": posixpath.basename, "kept": self._kept, **shared}
        self._parts: dict[str, Any] = {}
        self._pieces: dict[tuple[str, str, Hashable], Markup] = {}

    def _kept(self, up: str, macro: str, key: Hashable, *arguments: object) -> Markup:
        """Return what a macro of parts.html makes of arguments; the same for the same key."""
        place = up, macro, key
        if place not in self._pieces:
            if up not in self._parts:
                parts = self._environment.get_template("parts.html").make_module({"up": up})
                self._parts[up] = parts
            self._pieces[place] = getattr(self._parts[up], macro)(*arguments)
        return self._pieces[place]

    def file(self, name: str, template: str) -> None:
        """Write a file that is no page of the theme."""
        self._tree.write(name, self._environment.get_template(template).render())

    def page(
        self,
        address: str,
        template: str,
        title: str,
        description: str,
        *,
        meta: Sequence[tuple[str, str]] = (),
        json: str | None = None,
        **context: object,
    ) -> str:
        """Write the Markdown of one page and return its name in the tree.

        Parameters
        ----------
        address : str
            Where the page will be, from the site's root.
        template : str
            In site_templates.
        title, description : str
            For the head of the page.
        meta : sequence of tuple
            Names and contents of further meta tags; a name may occur twice.
        json : str, optional
            Where the same is as JSON, from the site's root.
        **context
            For the template.
        """
        up = "../" * address.count("/")
        html = self._environment.get_template(template).render(up=up, json=json, **context)
        head = text.front_matter(title, description, meta, up + json if json else None)
        name = address.removesuffix(".html") + ".md"
        self._tree.write(name, f"{head}\n{text.body(html)}")
        return name
