"""From pages to the site: MkDocs for the pages that changed, links for all other files.

A page outside the navigation depends on its own Markdown and the configuration alone, not on
the other pages. So MkDocs is given only what changed, together with the few pages of the
navigation, and the work is divided among processes. Nor need it read what it would not change:
the body of a page is one block of HTML (`text.body`), which Markdown passes through. MkDocs gets
a placeholder instead and spends a third of the time. A test compares the result with that of one
plain run of MkDocs over everything.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from atlas.errors import UserError
from atlas.resources import shipped
from atlas.site import text
from atlas.site.output import CACHE_BYTES, Tree, directory_id, link, prune, put, same, walk
from atlas.store import bounds, files

TEMPORARY = ".site.partial"
CACHE = ".site.json"
THEME = "theme"
PAGES_PER_PROCESS = 200
"""Pages for which it is not worth starting one more process: that takes a second."""

MOST_PAGES_PER_PROCESS = 4000
"""Pages that one process builds at most: MkDocs keeps them all in memory."""

BODY_PLACEHOLDER = '<div id="atlas-body"><h1></h1></div>'
"""Stands for the body of a page while MkDocs builds it; Material adds a heading if it has none."""

UNWANTED = ("404.html", "sitemap.xml", "sitemap.xml.gz")
"""Files of MkDocs that are left out: its page for unknown addresses has absolute links, which are
wrong from the file system and below a path of a host, and a sitemap needs to know the host."""


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
    sources, assets = _sources(root / "pages")
    known = _known(root / CACHE, base)
    present = dict(walk(site))
    ours = present if known else {}  # files that came with an atlas are put anew
    changed = [
        name
        for name, digest in sources.items()
        if known.get(name) != digest or _html(name) not in ours
    ]
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        made = _mkdocs(root, temporary, changed, _navigation(configuration)) if changed else {}
        (root / CACHE).unlink(missing_ok=True)  # until the site is whole again
        for name, path in made.items():
            _move_into_site(site / name, path, root / "pages" / f"{name.removesuffix('.html')}.md")
        for name, entry in assets.items():
            if name not in ours or not same(entry.stat(), ours[name].stat()):
                link(site / name, Path(entry.path))
        theme = _theme(made, known)
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


def _sources(pages: Path) -> tuple[dict[str, str], dict[str, os.DirEntry[str]]]:
    """Return the digests of the Markdown files, and the other files."""
    sources, assets = {}, {}
    for name, entry in walk(pages):
        if name.endswith(".md"):
            sources[name] = files.sha256(Path(entry.path))[:16]
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


def _theme(made: dict[str, Path], known: dict[str, Any]) -> set[str]:
    """Return the files of the theme."""
    return {name for name in made if not name.endswith(".html")} | {*known.get("", ())}


def _html(source: str) -> str:
    return source.removesuffix(".md") + ".html"


def _move_into_site(target: Path, made: Path, source: Path) -> None:
    """Move a file into the site unless the same is there."""
    data = made.read_bytes()
    if made.suffix == ".html":
        data = _without_blanks(data).replace(
            BODY_PLACEHOLDER.encode(), _split_body(source.read_text("utf-8"))[1].encode()
        )
    if not target.is_file() or target.read_bytes() != data:
        put(target, data)


def _split_body(page: str) -> tuple[str, str]:
    """Return the Markdown of a page without its body, and the body.

    Only what Markdown passes through is taken for the body: one block of HTML whose lines all
    begin with a tag. The body of any other page, which somebody changed by hand, is empty.
    """
    head, end, body = page.partition("\n---\n")
    lines = body.strip().split("\n")
    whole = lines[0].startswith('<div class="atlas ') and lines[-1] == "</div>"
    if not whole or not all(line.startswith("<") for line in lines):
        return page, ""
    return f"{head}{end}\n{BODY_PLACEHOLDER}\n", "\n".join(lines)


def _without_blanks(html: bytes) -> bytes:
    """Take out indentation and blank lines, half of what the theme adds to each page."""
    return re.sub(rb"\s*\n\s*", b"\n", html).strip() + b"\n"


def _navigation(configuration: str) -> list[str]:
    """Return the pages of the navigation."""
    entries = yaml.safe_load(configuration)["nav"]
    return [name for entry in entries for name in entry.values()]


def _mkdocs(
    root: Path, temporary: Path, changed: Sequence[str], navigation: Sequence[str]
) -> dict[str, Path]:
    """Build some pages; return the files that are made, by their name in the site."""
    workers = min(os.cpu_count() or 1, len(changed) // PAGES_PER_PROCESS + 1)
    count = max(workers, -(-len(changed) // MOST_PAGES_PER_PROCESS))
    parts = [temporary / str(number) for number in range(count)]
    for number, part in enumerate(parts):
        for name in {*changed[number::count], *navigation}:
            page = _split_body((root / "pages" / name).read_text("utf-8"))[0]
            put(part / "pages" / name, page.encode())
        shutil.copytree(root / THEME, part / THEME)
        shutil.copyfile(root / "mkdocs.yml", part / "mkdocs.yml")
    steps = 2 * (len(changed) + count * len(navigation))
    with (
        tqdm(total=steps, desc="site", unit=" steps") as progress,
        ThreadPoolExecutor(workers) as pool,
    ):
        for _ in pool.map(lambda part: _run(root, part, progress), parts):
            pass
    wanted = {_html(name) for name in changed}
    made = {}
    for part in parts:
        for name, entry in walk(part / "site"):
            if name not in UNWANTED and (name in wanted or not name.endswith(".html")):
                made[name] = Path(entry.path)
    return made


def _run(root: Path, part: Path, progress: "tqdm[Any]") -> None:
    """Run MkDocs strictly, and say what it reads and writes."""
    command = [
        *(sys.executable, "-m", "mkdocs", "build", "--strict", "--verbose"),
        *("--config-file", str(part / "mkdocs.yml")),
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
            if "Reading: " in line or "Building page " in line:
                progress.update()
            elif line.startswith(("WARNING", "ERROR", "CRITICAL")):
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
