"""From pages to the site: MkDocs' configuration, and a build that is whole or absent."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from atlas.errors import UserError
from atlas.resources import shipped
from atlas.site import text
from atlas.site.output import Tree

TEMPORARY = ".site.partial"


def configuration(title: str, description: str, atlas_id: str) -> str:
    """Return the mkdocs.yml of an atlas: the shipped base with its own title."""
    base: dict[str, Any] = yaml.safe_load(shipped("mkdocs.yml").read_text("utf-8"))
    base |= {
        "site_name": text.neutral(title, 80),
        "site_description": text.neutral(description, 200),
        "copyright": text.neutral(atlas_id, 120),
        "docs_dir": "pages",
        "site_dir": "site",
    }
    comment = "# Made by `atlas site` from the base configuration; changes here are lost.\n"
    text_of_base: str = yaml.safe_dump(base, allow_unicode=True, sort_keys=False)
    return comment + text_of_base


def build(root: Path) -> None:
    """Build ROOT/site from ROOT/pages; the old site stays until the new one is complete.

    Raises
    ------
    UserError
        MkDocs could not build the pages, or warned about them.
    """
    if not (root / "mkdocs.yml").is_file() or not (root / "pages").is_dir():
        raise UserError(f"{root} has no pages: run `atlas site {root}`")
    new, old, site = root / TEMPORARY, root / ".site-old.partial", root / "site"
    if old.is_dir() and not site.exists():  # killed between the two renames below
        old.rename(site)
    try:
        shutil.rmtree(new, ignore_errors=True)
        _mkdocs(root, new)
        # The theme's page for unknown addresses has absolute links, which are wrong from the
        # file system and below a path of a host.
        (new / "404.html").unlink(missing_ok=True)
        shutil.rmtree(old, ignore_errors=True)
        if site.is_dir():
            site.rename(old)
        new.rename(site)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _mkdocs(root: Path, destination: Path) -> None:
    """Run MkDocs strictly, with a bar of what it reads and writes."""
    command = [
        *(sys.executable, "-m", "mkdocs", "build", "--strict", "--verbose"),
        *("--config-file", str(root / "mkdocs.yml"), "--site-dir", str(destination.resolve())),
    ]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONUNBUFFERED": "1"}
    steps = 2 * sum(1 for _ in (root / "pages").rglob("*.md"))
    warning = last = ""
    with (
        subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as process,
        tqdm(total=steps, desc="site", unit=" steps") as progress,
    ):
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


def write_configuration(root: Path, content: str) -> None:
    """Write ROOT/mkdocs.yml when it changed."""
    Tree(root).write("mkdocs.yml", content)
