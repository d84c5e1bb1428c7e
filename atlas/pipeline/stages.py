"""Running stages one at a time, and once.

A stage is done when the manifest holds the fingerprint of its inputs. So an interrupted
build goes on where it stopped, and a changed recipe repeats just what depends on the change.
"""

from collections.abc import Callable
from typing import Any

from atlas.store import Store
from atlas.store.lock import alone

__all__ = ["alone", "done", "stage"]


def stage(store: Store, name: str, inputs: str, run: Callable[[], dict[str, Any]]) -> None:
    """Run a stage unless the manifest says that it is done with these inputs."""
    if done(store, name, inputs):
        return
    manifest = store.manifest()
    manifest["stages"].pop(name, None)
    store.write_manifest(manifest)
    results = run()
    manifest = {**store.manifest(), **results, "files": store.checksums()}
    manifest["stages"][name] = inputs
    store.write_manifest(manifest)


def done(store: Store, name: str, inputs: str) -> bool:
    """Say whether a stage is done with these inputs, and all its files are there."""
    manifest = store.manifest()
    whole = all((store.root / file).is_file() for file in manifest.get("files", {}))
    return whole and manifest["stages"].get(name) == inputs
