"""Pages that several processes write are those that one writes."""

import json
from pathlib import Path

import pytest

from atlas import site
from atlas.errors import UserError
from atlas.site import workers

TASK = {"title": "t", "description": "d", "images": "full", "pictures": []}


def tree(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def pages_known(root: Path) -> dict:
    return json.loads((root / ".pages.json").read_text("utf-8"))["pages"]


def test_two_processes_write_the_same_bytes_as_one(tmp_path, toy, toy_atlas, monkeypatch):
    monkeypatch.setattr(workers, "LEAST", 4)
    monkeypatch.setattr(workers, "AT_ONCE", 2)
    monkeypatch.setattr(workers, "_processors", lambda: 2)
    store = toy.make(tmp_path / "atlas")
    assert workers.count(store.rows("channels")) == 2
    site.render(store)
    assert tree(store.root / "pages") == tree(toy_atlas.root / "pages")
    assert pages_known(store.root) == pages_known(toy_atlas.root)

    before = {p: p.stat().st_ino for p in (store.root / "pages").rglob("*")}
    site.render(store)  # from what they reported nothing is made again
    assert {p: p.stat().st_ino for p in (store.root / "pages").rglob("*")} == before


def test_what_the_user_can_mend_is_raised_here(tmp_path):
    with pytest.raises(UserError, match="no patches yet"):
        list(workers.written(2, {**TASK, "root": str(tmp_path)}, range(5)))


def test_a_process_that_ends_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_BEGIN", "raise SystemExit(3)")
    with pytest.raises(UserError, match="ended with status 3"):
        list(workers.written(1, {**TASK, "root": str(tmp_path)}, range(5)))


@pytest.mark.parametrize(
    ("pages", "processors", "expected"),
    [(0, 4, 1), (999, 4, 1), (1999, 4, 1), (2000, 4, 2), (21008, 2, 2), (10**6, 64, workers.MOST)],
)
def test_small_parts_are_not_shared(pages, processors, expected, monkeypatch):
    monkeypatch.setattr(workers, "_processors", lambda: processors)
    assert workers.count(pages) == expected
