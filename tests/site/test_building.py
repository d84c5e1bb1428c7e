"""Building again makes only what changed, and the same as building at once."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from atlas.store import names, open_store
from atlas.store.names import NameRecord


def content(site: Path) -> dict[str, bytes]:
    return {
        path.relative_to(site).as_posix(): path.read_bytes()
        for path in sorted(site.rglob("*"))
        if path.is_file()
    }


COUNTING = ("concepts", "trust.html")
"""Pages that count names: they change also where a name is no more."""


def rename(out: Path, name: str) -> None:
    store = open_store(out)
    record = NameRecord("3", 5, "person", "Grace", "named", name)
    names.append(store, [record], len(names.read(store)))
    names.write_columns(store, "vlm")
    store.write_manifest({**store.manifest(), "files": store.checksums()})


@pytest.fixture
def copy(planted, tmp_path) -> Path:
    """A copy that keeps times, by which the site knows what is old."""
    return shutil.copytree(planted, tmp_path / "atlas")


def test_a_new_name_changes_what_shows_it_and_nothing_else(copy, run):
    assert run("site", copy).returncode == 0  # what came with a copy is made anew
    before = {path: path.stat().st_ino for path in (copy / "site").rglob("*") if path.is_file()}
    pages = content(copy / "site")
    rename(copy, "quite another name")
    assert run("site", copy).returncode == 0
    after = content(copy / "site")
    changed = {name for name in after if after[name] != pages.get(name)}
    assert {"channels/3/5.html", "layers/3.html", "assets/search-data.js"} <= changed
    assert "api/v1/channels/3/5.json" in changed
    html = {name for name in changed if name.endswith(".html")}
    shows = {name for name in html if b"quite another name" in after[name]}
    assert {name for name in html if name.partition("/")[0] not in COUNTING} == {
        name for name in shows if name.partition("/")[0] not in COUNTING
    }
    assert {name for name in after if b"quite another name" in after[name]} <= changed
    rewritten = {
        path.relative_to(copy / "site").as_posix()
        for path, inode in before.items()
        if path.stat().st_ino != inode
    }
    assert rewritten <= changed | {"api/v1/tables/references.parquet"}  # a link to the table

    assert run("site", copy).returncode == 0  # the same as from nothing
    for name in (".pages.json", ".site.json"):
        (copy / name).unlink()
    for name in ("pages", "site"):
        shutil.rmtree(copy / name)
    assert run("site", copy).returncode == 0
    assert content(copy / "site") == after


def test_a_damaged_or_missing_page_is_made_again(copy, run):
    pages = content(copy / "site")
    (copy / "site" / "channels" / "0" / "1.html").unlink()
    (copy / "pages" / "channels" / "0" / "2.md").unlink()
    (copy / "pages" / "channels" / "0" / "3.md").write_bytes(b"")
    (copy / "site" / "left-over.html").write_text("of an earlier version")
    assert run("site", copy).returncode == 0
    assert content(copy / "site") == pages


def test_pages_are_those_of_one_plain_run_of_mkdocs(copy, tmp_path):
    """Built a few at a time or all at once: the same, but for the theme's indentation."""
    from atlas.site.builder import is_unwanted

    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-q", "--strict", "--site-dir", tmp_path / "all"],
        cwd=copy, check=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    built, plain = content(copy / "site"), content(tmp_path / "all")
    # For GitHub Pages, which would leave out names that begin with a line; MkDocs leaves this out.
    assert built.pop(".nojekyll") == b""
    assert b"There is no such page" in built.pop("404.html")
    assert built.keys() == {name for name in plain if name != ".nojekyll" and not is_unwanted(name)}
    for name, data in built.items():
        if name.startswith("assets/stylesheets/"):
            continue  # those of the theme are cut down: test_theme_styles.py
        one, other = (re.sub(rb"\s+", b" ", d).strip() for d in (data, plain[name]))
        assert re.sub(rb"> <", b"><", one) == re.sub(rb"> <", b"><", other), name


def test_zensical_builds_the_same_pages(copy):
    expected = {name for name in content(copy / "site") if name.endswith(".html")}
    shutil.rmtree(copy / "site")
    result = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--config-file", "mkdocs.yml"],
        cwd=copy, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    made = content(copy / "site")
    assert expected <= made.keys()
    page = made["channels/0/4.html"].decode()
    assert "striped thing 4" in page
    assert 'name="citation_title"' in page
    assert "Copy BibTeX" in page


def published(site: Path) -> list[Path]:
    return [path for path in site.rglob("*.webp") if not re.search(r"\dv-", path.name)]


def test_without_pictures_only_shapes_are_published(copy, run):
    assert run("site", copy, "--set", "site.images=none").returncode == 0
    site = copy / "site"
    assert not (site / "i").exists()
    for path in published(site):  # thumbnail strips of shapes: grey, and seen by their opacity
        with Image.open(path) as strip:
            assert path.name.split("-")[0].endswith("s")
            colours = strip.convert("RGBA").getcolors(10**6)
            assert {colour[:3] for _, colour in colours if colour[3]} <= {(120, 120, 120)}
    text = (site / "channels" / "0" / "0.html").read_text("utf-8")
    assert ".png" in text  # the keys by which an owner of the data finds them
    assert "--x:" in text and "--w:" in text


def test_thumbnails_are_small(copy, run):
    assert run("site", copy, "--set", "site.images=thumbs").returncode == 0
    for path in published(copy / "site"):
        with Image.open(path) as picture:
            if path.name == "map.webp":  # its patches are of 36 pixels
                continue
            assert picture.width <= 256
            assert picture.width <= 64 or path.name.split("-")[0].endswith("s")


def test_an_owner_of_the_data_fills_the_pictures_in(copy, run, pictures):
    before = content(copy / "images")
    for name in ("images", "pages"):
        shutil.rmtree(copy / name)
    result = run("site", copy)
    assert result.returncode == 2
    assert "--images-from" in result.stderr
    assert run("site", copy, "--images-from", pictures).returncode == 0
    assert content(copy / "images") == before
    assert run("verify", copy).returncode == 0
    shutil.rmtree(copy / "images")
    (copy / "empty" / "a").mkdir(parents=True)
    shutil.copy(next(pictures.rglob("*.png")), copy / "empty" / "a")
    result = run("site", copy, "--images-from", copy / "empty")
    assert result.returncode == 2
    assert "lacks" in result.stderr
