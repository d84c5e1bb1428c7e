"""The comparison of two atlases as a page with pictures."""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from atlas.api.contents import Contents
from atlas.diff.compare import Comparison
from atlas.plain import plain
from atlas.resources import shipped
from atlas.store import Mode, files

SHOWN = 60
"""Channels, the most changed ones, that have pictures."""

PATCHES = 6
"""Pictures of each."""

SIDE = 80
"""Side of a picture, in pixels."""


def write(comparison: Comparison, first: Contents, second: Contents, out: Path) -> Path:
    """Write index.html, diff.json and the patches of the most changed channels.

    The page needs nothing from elsewhere and can stand beside the sites of the atlases. Pictures go
    along only if `[site] images` of both atlases is `full`.

    Parameters
    ----------
    comparison : Comparison
        Comparison of `first` and `second`.
    first, second : Contents
        The atlases.
    out : Path
        Directory to write into.

    Returns
    -------
    Path
        The page.
    """
    mode: Mode = "relevance" if "relevance" in first.modes else "activation"
    pictures = all(contents.recipe.site.images == "full" for contents in (first, second))
    rows = [
        {
            "pair": pair,
            "sides": [
                _patches(contents, address, mode, out) if pictures else []
                for contents, address in ((first, pair.first), (second, pair.second))
            ],
        }
        for pair in comparison.most_changed()[:SHOWN]
    ]
    text = json.dumps(comparison.as_dict(), indent=1, ensure_ascii=False) + "\n"
    files.write_bytes(out / "diff.json", text.encode("utf-8", "replace"))
    environment = Environment(
        loader=FileSystemLoader(shipped("site_templates")),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = plain
    values: dict[str, Any] = {"comparison": comparison, "rows": rows, "mode": mode}
    page = environment.get_template("diff.html").render(values)
    files.write_bytes(out / "index.html", page.encode("utf-8", "replace"))
    return out / "index.html"


def _patches(contents: Contents, address: str, mode: Mode, out: Path) -> list[str]:
    """Write the best patches of a channel; return where they are."""
    written = []
    for reference in contents[address].references(mode)[:PATCHES]:
        name = f"patches/{contents.id}/{reference.row}.webp"
        patch = reference.patch().resize((SIDE, SIDE))
        with files.atomic_path(out / name) as temporary:
            patch.save(temporary, "WEBP", quality=85)
        written.append(name)
    return written
