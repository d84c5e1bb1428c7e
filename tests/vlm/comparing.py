"""Running and comparing the names and scores of one atlas, got in different ways."""

from collections.abc import Callable
from typing import Any

import pytest

from atlas import pipeline
from atlas.recipe import recorded
from atlas.store import SCORES_FILE, Store, journal, names, nametests


def finish(store: Store, *settings: str, files: Callable[[], Any] = lambda: None) -> None:
    """Name and score an atlas."""
    recipe = recorded(store.manifest(), settings)
    pipeline.name(store, recipe, exchange=files())
    pipeline.score(store, recipe, exchange=files())


def said(store: Store) -> list[dict[str, Any]]:
    """Return what records of names say, without who was asked when and where."""
    records = [vars(record).copy() for record in names.read(store)]
    for record in records:
        record["details"] = {k: v for k, v in record["details"].items() if k != "server"}
        record["time"] = record["record"] = None
    return sorted(records, key=lambda one: (one["channel"], one["sense"] is not None, str(one)))


def scored(store: Store) -> list[dict[str, Any]]:
    """Return what records of tests say, in the order of channels."""
    scores = journal.read(store.root / SCORES_FILE)
    return sorted(scores, key=lambda one: (one["channel"], one["test"]))


def assert_same(store: Store, other: Store) -> None:
    """Compare names and scores record by record."""
    assert said(store) == said(other)
    mine, theirs = scored(store), scored(other)
    assert [one["key"] for one in mine] == [one["key"] for one in theirs]
    for one, two in zip(mine, theirs, strict=True):
        if one["test"] == nametests.SIDES:
            assert one["fits"] == two["fits"]
            for mode, answers in one["answers"].items():
                assert answers == pytest.approx(two["answers"][mode], abs=2e-4)
        else:
            assert one["answers"] == pytest.approx(two["answers"], abs=2e-4)
            for measure in ("ap", "ap_low", "borrowed_ap", "frequent_ap", "f1"):
                assert one[measure] == pytest.approx(two[measure])
            assert one["correlation"] == pytest.approx(two["correlation"], abs=1e-3)
