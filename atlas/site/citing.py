"""How a page is cited: BibTeX, and the meta tags that reference managers read."""

import re
from typing import Any

from atlas.site import text
from atlas.site.entries import Channel

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}


class Citing:
    """Cites the pages of one atlas."""

    def __init__(self, manifest: dict[str, Any], title: str) -> None:
        given = manifest.get("recipe", {}).get("cite") or {}
        self._title = title
        self._id = text.plain(manifest["id"])
        self._url = text.plain(given.get("url") or "")
        self._authors = [text.plain(author) for author in given.get("authors") or ()]

    @property
    def version(self) -> str:
        """The version of the atlas in addresses: the last part of its id."""
        return self._id.rpartition("-")[2]

    def permalink(self, link: str) -> str:
        """Return the address of a page with the version that it was cited in."""
        address = f"{link}?v={self.version}"
        return f"{self._url.rstrip('/')}/{address}" if self._url else address

    def bibtex(self, what: str, link: str) -> str:
        """Return an entry for the page at `link` about `what`."""
        key = re.sub(r"[^A-Za-z0-9]+", "-", f"{self._id}-{link.removesuffix('.html')}").strip("-")
        fields = {"title": f"{{{_latex(what)}. {_latex(self._title)}}}"}
        if self._authors:
            fields["author"] = " and ".join(f"{{{_latex(author)}}}" for author in self._authors)
        fields["note"] = f"Concept Atlas {_latex(self._id)}"
        fields["howpublished" if not self._url else "url"] = (
            self.permalink(link) if self._url else _latex(self.permalink(link))
        )
        inner = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
        return f"@misc{{{key},\n{inner}}}"

    def meta(self, what: str, link: str) -> list[tuple[str, str]]:
        """Return Highwire and Dublin Core tags for the page at `link` about `what`."""
        title = f"{what}. {self._title}"
        tags = [
            ("citation_title", title),
            *(("citation_author", author) for author in self._authors),
            ("citation_publisher", "Concept Atlas"),
            ("citation_technical_report_number", self._id),
            ("DC.title", title),
            ("DC.type", "Dataset"),
            ("DC.identifier", f"{self._id}/{link}"),
            ("DC.isPartOf", self._id),
        ]
        if self._url:
            tags.append(("citation_public_url", self.permalink(link)))
        return tags


def heading(channel: Channel) -> str:
    """Return what a citation calls a channel."""
    return f"{channel.address} “{channel.called}”" if channel.name else channel.address


def _latex(value: str) -> str:
    return "".join(_LATEX.get(character, character) for character in value)
