"""A small atlas of the demo, and the demo's model in the process, at a server, and by files."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas.store import Store, open_store
from tests.vlm.comparing import finish
from tests.vlm.serving import Model, serving

SETTINGS = (
    "data.limit=100", "prepass.k=8", "model.layers=['planted']", "naming.references=8",
    "scoring.patches=4", "scoring.resamples=20", "naming.batch_size=4",
)  # fmt: skip


@pytest.fixture(scope="session")
def small(run, made_once) -> Path:
    """The demo on 100 pictures and its last layer, without names. Tests must not change it."""

    def make(folder: Path) -> None:
        settings = [part for setting in SETTINGS for part in ("--set", setting)]
        result = run("index", "demo", "--out", folder / "demo", *settings)
        assert result.returncode == 0, result.stderr

    return made_once("small", make) / "demo"


@pytest.fixture
def atlas_copy(small, tmp_path) -> Store:
    return open_store(shutil.copytree(small, tmp_path / "atlas"))


@pytest.fixture(scope="session")
def in_process(small, made_once) -> Store:
    """The same, named and scored by the model in this process. Tests must not change it."""

    def make(folder: Path) -> None:
        store = open_store(shutil.copytree(small, folder / "demo"))
        finish(store)

    return open_store(made_once("in_process", make) / "demo")


@pytest.fixture(scope="session")
def model() -> Model:
    return Model()


@pytest.fixture
def served(model) -> Iterator[str]:
    with serving(model) as name:
        yield name
