"""How an atlas, a channel, a class or an explanation is cited: BibTeX, CSL-JSON, text."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from atlas.api.contents import Channel, Contents
from atlas.errors import UserError
from atlas.plain import plain
from atlas.store import evidence, files

Format = Literal["bibtex", "csl-json", "text"]

PUBLISHER = "Concept Atlas"

GRAPH = "graph.html"
"""The page of all factors and the classes."""

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        # BibTeX counts braces even behind a backslash.
        "{": r"\textbraceleft{}",
        "}": r"\textbraceright{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        **{letter: f"\\{letter}" for letter in "&%$#_"},
    }
)


@dataclass(frozen=True)
class Citation:
    """What every format is made from."""

    key: str
    """Made from the page's `identity` and its permalink: renaming a channel does not change it."""
    title: str
    part_of: str | None
    """Title of the atlas, where one of its pages is cited."""
    authors: tuple[str, ...]
    """`Family, Given`, or a whole name."""
    date: str
    """2026-11-21, or its beginning; empty where nobody knows."""
    version: str
    atlas_id: str
    url: str
    """Permalink; without the recipe's `cite.url`, the address inside the site."""
    doi: str
    note: str
    """What makes it reproducible: network and hash of its weights, data, who gave the names."""

    @property
    def published(self) -> bool:
        """Whether `url` leads anywhere from anywhere."""
        return self.url.startswith(("http://", "https://"))


def default_title(manifest: Mapping[str, Any]) -> str:
    """Return what an atlas without a title is called: by its recipe and its network."""
    model = plain(manifest["model"]["name"]).rsplit("/", 1)[-1]
    name = plain(manifest.get("recipe", {}).get("name", ""))
    return f"Atlas of {model}" if name in ("", model) else f"{name}: atlas of {model}"


def cite_atlas(contents: Contents) -> Citation:
    """Cite an atlas as a whole."""
    times = [r.time[:10] for records in contents.namings.values() for r in records if r.time]
    return cite_page(contents, None, "index.html", _namers(contents), max(times, default=""))


def cite_channel(channel: Channel, contents: Contents) -> Citation:
    """Cite a channel's page."""
    unit = "Factor" if channel.layer in contents.bases else "Channel"
    what = f"{unit} {channel.address}" + (f" “{plain(channel.name)}”" if channel.name else "")
    records = [
        record
        for record in contents.namings.get(channel.address, ())
        if (record.method, record.by) == (channel.named_by, channel.namer)
    ]
    namer, named = channel.namer or "", ""
    if records:
        namer, named = by_model(records[-1].by, records[-1].revision), records[-1].time[:10]
    by = f"; name by {namer}" if namer and channel.name else ""
    return cite_page(contents, what, channel.permalink, by, named)


def cite_class(label: int, contents: Contents) -> Citation:
    """Cite the page of a class, by its number."""
    name = contents.class_names[label]
    return cite_page(contents, f"Class “{plain(name)}”", f"classes/{label}.html", "")


@dataclass(frozen=True)
class _Named:
    name: str


@dataclass(frozen=True)
class _Explained:
    """What a citation says of evidence.json."""

    target: _Named
    picture: _Named


_EXPLAINED = TypeAdapter(_Explained)


def cite_explanation(slug: str, contents: Contents) -> Citation:
    """Cite an explanation, by its id.

    Raises
    ------
    UserError
        The atlas has none of this id.
    """
    folder = contents.store.root / "explanations"
    known = sorted(path.parent.name for path in folder.glob("*/evidence.json"))
    if slug not in known:
        there = ", ".join(known[:10]) or "none yet"
        raise UserError(f"no explanation {slug!r} in {contents.store.root}: there are {there}")
    found = evidence.parsed(_EXPLAINED, folder / slug / evidence.FILE)
    what = f"Explanation of “{found.target.name}” in {found.picture.name}"
    return cite_page(contents, what, f"explanations/{slug}.html", _namers(contents))


def identity(contents: Contents, permalink: str) -> str:
    """Return what the content of a page is of: the id of the atlas, behind it that of its factors.

    An atlas keeps its id where other factors take the addresses of those that it had.
    """
    found = _factors(contents, permalink)
    return f"{contents.id}-{found[:8]}" if found else contents.id


def version(contents: Contents, permalink: str) -> str:
    """Return the end of a page's identity, by which its address says what was cited."""
    return identity(contents, permalink).removeprefix(f"{contents.id.rpartition('-')[0]}-")


def _factors(contents: Contents, permalink: str) -> str:
    """Return the SHA-256 of the factors that a page is of; empty if it is of none.

    The graph is of all; of several sets it is that of theirs.
    """
    if permalink == GRAPH:
        digests = [basis.digest for basis in contents.bases.values()]
        every = " ".join(digests)
        return files.digest(every.encode()) if len(digests) > 1 else every
    slug = permalink.removesuffix(".html").partition("/")[2].partition("/")[0]
    own = (one.digest for name, one in contents.bases.items() if contents.slugs[name] == slug)
    return next(own, "")


def key(identity_: str, permalink: str) -> str:
    """Return the BibTeX key of a page; that of index.html is the atlas's own."""
    page = "" if permalink == "index.html" else permalink.removesuffix(".html")
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{identity_}-{page}").strip("-")


def bibtex(citation: Citation) -> str:
    """Return an entry for BibTeX or biber."""
    fields = {
        "author": " and ".join(
            _latex(author) if "," in author else f"{{{_latex(author)}}}"
            for author in citation.authors
        ),
        "title": f"{{{_latex(_whole_title(citation))}}}",
        "year": citation.date[:4],
        "month": _month(citation.date),
        "version": _latex(citation.version),
        "publisher": PUBLISHER,
        "doi": citation.doi,
        "url": citation.url if citation.published else "",
        "howpublished": "" if citation.published else _latex(citation.url),
        "note": _latex(f"Concept Atlas {citation.atlas_id}. {citation.note}"),
    }
    lines = [f"  {name} = {{{value}}},\n" for name, value in fields.items() if value]
    return f"@misc{{{citation.key},\n{''.join(lines)}}}\n"


def csl(citation: Citation) -> dict[str, Any]:
    """Return an item of CSL-JSON 1.0.2."""
    item = {
        "id": citation.key,
        "type": "dataset",
        "title": citation.title,
        "container-title": citation.part_of,
        "author": [_csl_name(author) for author in citation.authors],
        "issued": {"date-parts": [[int(part) for part in citation.date.split("-")]]}
        if citation.date
        else {},
        "version": citation.version,
        "publisher": PUBLISHER,
        "number": citation.atlas_id,
        "DOI": citation.doi,
        "URL": citation.url if citation.published else "",
        "archive_location": "" if citation.published else citation.url,
        "note": citation.note,
    }
    return {name: value for name, value in item.items() if value}


def text(citation: Citation) -> str:
    """Return one paragraph."""
    authors = "; ".join(citation.authors)
    # Without authors the title comes first, as in most styles.
    when = citation.date[:4] or "n.d."
    begin = f"{authors} ({when}). " if authors else ""
    year = "" if authors else f" ({when})"
    doi = f" https://doi.org/{citation.doi}." if citation.doi else ""
    return (
        f"{begin}{_whole_title(citation)}{year}, version {citation.version}. {PUBLISHER} "
        f"{citation.atlas_id}. {citation.url}.{doi} {citation.note}\n"
    )


def written(citation: Citation, form: Format) -> str:
    """Return a citation in one of the formats."""
    writers: Mapping[str, Callable[[Citation], str]] = {
        "bibtex": bibtex,
        "csl-json": lambda c: json.dumps([csl(c)], indent=2, ensure_ascii=False) + "\n",
        "text": text,
    }
    if form not in writers:
        raise UserError(f"no format {form!r} of citations: there are {', '.join(writers)}")
    return writers[form](citation)


def cite_page(
    contents: Contents, what: str | None, permalink: str, named_by: str, named: str = ""
) -> Citation:
    """Cite a page as `what`; `named_by` says who named what is on it, `named` when."""
    manifest = contents.manifest
    given = contents.recipe.cite
    model, data = manifest["model"], manifest["data"]
    of_whole = plain(given.title or contents.recipe.site.title)
    of_whole = of_whole or default_title(manifest)
    seen = version(contents, permalink)
    factors = _factors(contents, permalink if what else GRAPH)
    base = given.url.rstrip("/")
    source = plain(" ".join(str(data[part]) for part in ("source", "revision") if data.get(part)))
    note = (
        f"Network {plain(model['name'])}, weights SHA-256 {model['weights_sha256']}"
        f"{factors and f'; factors SHA-256 {factors}'}; data {source}; concept-atlas "
        f"{manifest.get('versions', {}).get('concept-atlas', '')}{named_by}."
    )
    return Citation(
        key=key(identity(contents, permalink), permalink),
        title=plain(what) if what else of_whole,
        part_of=of_whole if what else None,
        authors=tuple(filter(None, map(plain, given.authors))),
        date=given.date or named or measured(manifest),
        version=plain(given.version) or seen,
        atlas_id=contents.id,
        # The version in the address says what the reader had before them.
        url=f"{base}/{permalink}?v={seen}" if base else f"{permalink}?v={seen}",
        doi=plain(given.doi),
        note=note,
    )


def _namers(contents: Contents) -> str:
    """Return which models gave names."""
    every = (record for records in contents.namings.values() for record in records)
    models = {by_model(record.by, record.revision) for record in every if record.method == "vlm"}
    return f"; names by {', '.join(sorted(models))}" if models else ""


def by_model(name: str, revision: str | None) -> str:
    """Return a model, or a person, with the revision."""
    return plain(name) + (f" at {plain(revision)}" if revision else "")


def measured(manifest: Mapping[str, Any]) -> str:
    """Return the day on which the pictures were chosen; empty where the atlas does not say."""
    return str(manifest.get("measured", ""))


def _whole_title(citation: Citation) -> str:
    part = f" In: {citation.part_of}" if citation.part_of else ""
    return f"{citation.title}{'.' if part else ''}{part}"


def _month(date: str) -> str:
    return str(int(date[5:7])) if len(date) >= 7 else ""


def _csl_name(author: str) -> dict[str, str]:
    family, comma, given = (part.strip() for part in author.partition(","))
    return {"family": family, "given": given} if comma else {"literal": author}


def _latex(value: str) -> str:
    return value.translate(_LATEX)
