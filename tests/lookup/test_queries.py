"""The table of queries, through Python and through the script of the site, in a real browser."""

import random
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

import atlas
from atlas.searching.analyser import words
from atlas.site import search
from atlas.site.catalogue import Catalogue
from atlas.store import open_store
from tests.lookup.queries import CHOSEN, HELD_OUT, TABLE, Query

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TEMPLATES = Path(__file__).parents[2] / "site_templates"


@pytest.fixture(scope="module")
def atlases(worlds) -> dict[str, atlas.Atlas]:
    return {name: atlas.open(path) for name, path in worlds.items()}


@pytest.fixture(scope="module")
def pages(worlds) -> Iterator[dict[str, object]]:
    """For each world an empty page with the site's scripts and data."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = {}
        for name, path in worlds.items():
            page = opened[name] = browser.new_page()
            data = search.script(Catalogue(open_store(path)), lambda _: None, [])
            page.add_script_tag(content=data)
            page.add_script_tag(path=TEMPLATES / "find.js")
            page.evaluate("window.finder = new ConceptFinder(conceptAtlas)")
        yield opened
        browser.close()


def asked(a: atlas.Atlas, text: str) -> tuple[list[atlas.Hit], str]:
    """Return what is found, and what is said about it."""
    try:
        hits = a.search(text, n=5000)
    except atlas.UserError as error:
        return [], str(error)
    return hits, hits[0].remark if hits else ""


def wrong(row: Query, hits: list[atlas.Hit], said: str) -> list[str]:
    """Return which conditions of a row do not hold."""
    names = [hit.channel.name for hit in hits]
    found = {*names, *(hit.channel.address for hit in hits)}
    faults = []
    if row.nothing != (not hits) and not (row.says and not hits):
        faults.append(f"{len(hits)} hits")
    if row.first:
        first = {names[0], hits[0].channel.address} if hits else set()
        if not first & {*row.first.split("|")}:
            faults.append(f"first {first}")
    faults += [f"lacks {one}" for one in row.must.split("|") if one and one not in found]
    faults += [f"has {one}" for one in row.never.split("|") if one and one in found]
    ordered = [one.strip() for one in row.order.split(">") if one]
    if missing := [one for one in ordered if one not in names]:
        faults.append(f"lacks {missing}")
    elif sorted(ordered, key=names.index) != ordered:
        faults.append("the order is another")
    if row.says not in said:
        faults.append(f"says {said!r}")
    return faults


@pytest.mark.parametrize("row", CHOSEN, ids=lambda row: f"{row.world} {row.text[:20]}")
def test_what_is_asked_is_found(atlases, row):
    assert wrong(row, *asked(atlases[row.world], row.text)) == []
