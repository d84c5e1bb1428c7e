"""Running stages one at a time, and once.

A stage is done when the manifest holds the fingerprint of its inputs and its files are there. So
an interrupted build goes on where it stopped, and a changed recipe or a lost file repeats just
what depends on it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from atlas.errors import UserError
from atlas.pipeline.steps import Steps
from atlas.store import ARRAYS, COLUMNS, INDEX, STAGES, Store
from atlas.store.lock import alone

__all__ = ["WEIGHTS", "alone", "check_finished", "done", "stage"]

WEIGHTS = "weights"
"""The stage that reads the weights; atlases without it are finished as well."""

ORDER = (*STAGES, WEIGHTS, "explanations")
"""Each works on what those before it leave, so if one runs, those after it have to run again."""


def check_finished(store: Store) -> None:
    """Raise `UserError` unless the stages of `atlas index` are done."""
    if not store.finished:
        raise UserError(f"{store.root} is not finished: run `atlas index` on its recipe to go on")


def stage(
    store: Store, name: str, inputs: str, run: Callable[[], dict[str, Any]], steps: Steps
) -> None:
    """Run a stage unless it is done with these inputs, and show it as one of `steps`."""
    if done(store, name, inputs):
        return
    manifest = store.manifest()
    before = ORDER[: ORDER.index(name)]
    manifest["stages"] = {key: value for key, value in manifest["stages"].items() if key in before}
    store.write_manifest(manifest)
    with steps.step(name):
        results = run()
    manifest = {**store.manifest(), **results, "files": store.checksums()}
    manifest["stages"][name] = inputs
    store.write_manifest(manifest)


def done(store: Store, name: str, inputs: str) -> bool:
    """Say whether a stage is done with these inputs, and all its files are there."""
    if store.manifest()["stages"].get(name) != inputs:
        return False
    return all(path.is_file() for path in _files(store, name))


def _files(store: Store, name: str) -> Iterator[Path]:
    """Yield the files that a stage leaves."""
    if name == "prepass":
        yield from (store.table_path(name) for name in COLUMNS if store.has_table(name))
    elif name == "pictures":
        yield from store.pictures()
    elif name == "patches":
        yield from (store.root / file for file in (*ARRAYS, INDEX))
