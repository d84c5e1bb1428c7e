"""From pages to the site: MkDocs for the pages that changed, links for all other files.

A page outside the navigation depends on its own Markdown and the configuration alone, not on the
other pages, and its frame is that of any other at its place. So MkDocs is given the few pages of
the navigation and one page of each place; the others are put into its frame (`frames`).
"""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from atlas.errors import UserError
from atlas.resources import shipped
from atlas.site import frames, text, theme_styles
from atlas.site.output import CACHE_BYTES, Tree, directory_id, link, prune, put, same, walk
from atlas.store import bounds, files

_Made = dict[str, Path]
"""Files by their names in the site."""

TEMPORARY = ".site.partial"
CACHE = ".site.json"
THEME = "theme"
UNWANTED = (
    *("404.html", "sitemap.xml", "sitemap.xml.gz", "*.map"),
    "assets/javascripts/*",
)
"""Patterns of files of MkDocs that are left out: its page for unknown addresses has absolute links,
which are wrong from the file system and below a path of a host; a sitemap needs to know the host;
the scripts of the theme are not used, and source maps are for those who change it."""


def configure(root: Path, title: str, description: str, atlas_id: str) -> None:
    """Write mkdocs.yml, the shipped base with this atlas's title, and what it refers to."""
    base: dict[str, Any] = yaml.safe_load(shipped("mkdocs.yml").read_text("utf-8"))
    base |= {
        "site_name": text.neutral(title, 80),
        "site_description": text.neutral(description, 200),
        "copyright": text.neutral(atlas_id, 120),
        "docs_dir": "pages",
        "site_dir": "site",
    }
    base["theme"]["custom_dir"] = THEME
    if not (root / "pages" / "explanations" / "index.md").is_file():
        base["nav"] = [entry for entry in base["nav"] if "Explanations" not in entry]
    if (root / "pages" / "audit.md").is_file():
        after = next(n for n, entry in enumerate(base["nav"], 1) if "Compare" in entry)
        base["nav"].insert(after, {"How far maps hold": "audit.md"})
    comment = "# Made by `atlas site` from the base configuration; changes here are lost.\n"
    text_of_base: str = yaml.safe_dump(base, allow_unicode=True, sort_keys=False)
    theme = Tree(root / THEME)
    theme.write("main.html", (shipped("site_templates") / THEME / "main.html").read_bytes())
    theme.close()  # MkDocs runs every template that lies there
    _write(root / "mkdocs.yml", comment + text_of_base)


def build(root: Path) -> None:
    """Build ROOT/site from ROOT/pages; what did not change is left as it is.

    The old site stays untouched until MkDocs has built everything.

    Raises
    ------
    UserError
        MkDocs could not build the pages, or warned about them.
    """
    if not (root / "mkdocs.yml").is_file() or not (root / "pages").is_dir():
        raise UserError(f"{root} has no pages: run `atlas site {root}`")
    site, temporary = root / "site", root / TEMPORARY
    configuration = (root / "mkdocs.yml").read_text("utf-8")
    base = _digest(configuration, (root / THEME / "main.html").read_text("utf-8"), *_versions())
    navigation = _navigation(configuration)
    pages, assets = _found(root / "pages")
    known = _known(root / CACHE, base)
    present = dict(walk(site))
    ours = present if known else {}  # files that came with an atlas are put anew
    sources, changed, framed = dict[str, str](), list[str](), list[str]()
    for name, path in pages.items():
        data = path.read_bytes()
        sources[name] = hashlib.sha256(data).hexdigest()[:16]
        if known.get(name) != sources[name] or _html(name) not in ours:
            changed.append(name)
            if name not in navigation and frames.read(data.decode()):
                framed.append(name)
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        made = _mkdocs(root, temporary, changed, framed, navigation) if changed else {}
        (root / CACHE).unlink(missing_ok=True)  # until the site is whole again
        theme = _place(root, changed, framed, made, navigation) | {*known.get("", ())}
        for name, entry in assets.items():
            if name not in ours or not same(entry.stat(), ours[name].stat()):
                link(site / name, Path(entry.path))
        for name in present.keys() - assets.keys() - {_html(name) for name in sources} - theme:
            (site / name).unlink()
        prune(site)
        cache = {
            "place": directory_id(root),
            "base": base,
            "sources": sources,
            "theme": sorted(theme),
        }
        files.write_text(root / CACHE, json.dumps(cache, separators=(",", ":")))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _place(
    root: Path,
    changed: Sequence[str],
    framed: Sequence[str],
    made: _Made,
    navigation: Sequence[str],
) -> set[str]:
    """Put what was made into the site; return the names of the theme's files."""
    pages, site = root / "pages", root / "site"
    examples, in_frames = frames.one_of_each_place(framed), frozenset(framed)
    filled = {place: _compact(made[_html(name)]) for place, name in examples.items()}
    for name in tqdm(changed, desc="site", unit=" pages"):
        source = (pages / name).read_text("utf-8")
        if name in in_frames:
            page = frames.read(source)
            assert page is not None, "it was asked before"
            html = frames.fill(filled[frames.place(name)], page)
        else:
            html = _compact(made[_html(name)]).replace(frames.BODY, frames.split_body(source)[1])
        _put(site / _html(name), html.encode())
    theme = {name for name in made if not name.endswith(".html")}
    styles = {name for name in theme if name.endswith(".css")}
    for name in theme - styles:
        _put(site / name, made[name].read_bytes())
    if styles:
        whole = [made[_html(name)].read_text("utf-8") for name in navigation]
        sheets = {name: made[name].read_text("utf-8") for name in sorted(styles)}
        for name, css in theme_styles.pruned(sheets, whole, _templates()).items():
            _put(site / name, css.encode())
    return theme


def _templates() -> list[str]:
    """Return what makes the bodies of pages and how they look."""
    kinds = (".html", ".js", ".css")
    paths = (path for path in shipped("site_templates").rglob("*") if path.suffix in kinds)
    return [path.read_text("utf-8") for path in sorted(paths)]


def _put(target: Path, data: bytes) -> None:
    """Write a file unless the same is there."""
    if not target.is_file() or target.read_bytes() != data:
        put(target, data)


def _compact(html: Path) -> str:
    """Return a page without indentation and blank lines, half of what the theme adds to it."""
    return re.sub(r"\s*\n\s*", "\n", html.read_text("utf-8")).strip() + "\n"


def _found(pages: Path) -> tuple[dict[str, Path], dict[str, os.DirEntry[str]]]:
    """Return the Markdown files in their order, and the other files."""
    sources, assets = {}, {}
    for name, entry in walk(pages):
        if name.endswith(".md"):
            sources[name] = Path(entry.path)
        else:
            assets[name] = entry
    return dict(sorted(sources.items())), assets


def _known(cache: Path, base: str) -> dict[str, Any]:
    """Return what the site was built from; nothing if it was built in another way."""
    try:
        known = bounds.read_json(cache, CACHE_BYTES)
        if known["place"] == directory_id(cache.parent) and known["base"] == base:
            return {**known["sources"], "": known["theme"]}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {}


def is_unwanted(name: str) -> bool:
    """Say whether a file of MkDocs is left out of the site."""
    return any(fnmatchcase(name, pattern) for pattern in UNWANTED)


def _html(source: str) -> str:
    return source.removesuffix(".md") + ".html"


def _navigation(configuration: str) -> list[str]:
    """Return the pages of the navigation."""
    entries = yaml.safe_load(configuration)["nav"]
    return [name for entry in entries for name in entry.values()]


def _mkdocs(
    root: Path,
    temporary: Path,
    changed: Sequence[str],
    framed: Sequence[str],
    navigation: Sequence[str],
) -> _Made:
    """Run MkDocs on what needs it; return the files that are made, by their names in the site."""
    wanted = {*changed, *navigation} - {*framed}
    pages = ((name, (root / "pages" / name).read_text("utf-8")) for name in wanted)
    sources = {name: frames.split_body(page)[0] for name, page in pages}
    sources |= {name: frames.marked() for name in frames.one_of_each_place(framed).values()}
    for name, source in sources.items():
        put(temporary / "pages" / name, source.encode())
    shutil.copytree(root / THEME, temporary / THEME)
    shutil.copyfile(root / "mkdocs.yml", temporary / "mkdocs.yml")
    _run(root, temporary)
    made = ((name, Path(entry.path)) for name, entry in walk(temporary / "site"))
    return {name: path for name, path in made if not is_unwanted(name)}


def _run(root: Path, folder: Path) -> None:
    """Run MkDocs strictly."""
    command = [
        *(sys.executable, "-m", "mkdocs", "build", "--strict"),
        *("--config-file", str(folder / "mkdocs.yml")),
    ]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONUNBUFFERED": "1"}
    warning = last = ""
    with subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(("WARNING", "ERROR", "CRITICAL")):
                warning = warning or " ".join(line.split())
            elif line.strip() and not line.startswith(("DEBUG", "INFO")):
                last = " ".join(line.split())
    if process.returncode:
        raise UserError(
            f"MkDocs could not build the site ({warning or last or 'it says nothing'}): "
            f"`mkdocs build --strict --config-file {root / 'mkdocs.yml'}` shows more"
        )


def _versions() -> list[str]:
    """Return the versions of what makes HTML from Markdown."""
    return [importlib.metadata.version(name) for name in ("mkdocs", "mkdocs-material", "markdown")]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _write(path: Path, content: str) -> None:
    if not path.is_file() or path.read_text("utf-8") != content:
        put(path, content.encode())
