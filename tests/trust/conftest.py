"""An atlas that somebody else could have made: every file of it is turned against its reader."""

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SECRET = "the-secret-of-the-user"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


def command(*arguments: object) -> Ended:
    """Run `atlas` in this process; anything but an exit status is a fault."""
    from atlas.cli import main

    out, err = io.StringIO(), io.StringIO()
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main.main([str(argument) for argument in arguments])
        except SystemExit as ended:
            status = int(ended.code or 0)
    return Ended(status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def atlas_command() -> Callable[..., Ended]:
    """Run `atlas` in this process; anything but an exit status is a fault."""
    return command


@pytest.fixture(scope="session")
def honest(tmp_path_factory) -> Path:
    """A small whole atlas with names, scores and an explanation. Tests must not change it."""
    from atlas import pipeline
    from atlas.store import SCORES_FILE, journal, names, open_store
    from atlas.store.names import NameRecord

    root = tmp_path_factory.mktemp("honest") / "atlas"
    index = [
        *("index", "demo", "--out", root, "--set", "data.limit=60", "--set", "prepass.k=3"),
        *("--set", "model.layers=['features.40', 'planted']", "--set", "explain.pictures=[]"),
    ]
    assert command(*index).status == 0
    store = open_store(root)
    table = store.table("channels").select(["layer", "channel"]).to_pylist()
    records = [
        NameRecord(
            **address, method="vlm", by="some/model", status="named", name=f"thing {row}",
            description=f"It shows thing {row}.", confidence=0.75, revision="abc123",
            prompt={"name": "patches", "version": 1, "sha256": "f" * 64},
            decoding={"greedy": True}, references="0" * 64, images=(0, 1), raw="{}",
            details={"set": "s"},
        )
        for row, address in enumerate(table)
    ]  # fmt: skip
    references = store.table("references").select(["layer", "channel"]).to_pylist()
    mine = [row for row, address in enumerate(references) if address == table[2]]
    records += [
        NameRecord(
            **table[2], method="vlm", by="some/model", status="named", name=name,
            confidence=0.5, sense=sense, share=0.5, revision="abc123",
            details={"set": "s", "members": mine[sense::2]},
        )
        for sense, name in enumerate(("left half", "right half"))
    ]  # fmt: skip
    names.append(store, records, 0)
    names.write_columns(store, "vlm")
    scores = [
        "score_ap", "score_ap_low", "score_ap_high", "score_correlation",
        "score_borrowed_ap", "score_clarity", "score_label_auc",
    ]  # fmt: skip
    store.extend_table("channels", {name: np.linspace(0, 1, len(table)) for name in scores})
    journal.append(root / SCORES_FILE, [{"key": "k", "layer": "planted", "channel": 0}])
    store.write_manifest({**store.manifest(), "files": store.checksums()})
    picture = root.parent / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)).save(picture)
    from atlas.recipe import recorded

    overrides = ["explain.draws=1", "explain.concepts=3"]
    recipe = recorded(store.manifest(), overrides)
    assert len(pipeline.explain(store, recipe, [picture], None).done) == 1
    return root


@dataclass(frozen=True)
class Place:
    """A directory with an atlas to turn, and things outside that must stay as they are."""

    atlas: Path
    outside: Path

    def untouched(self) -> None:
        """Fail if anything outside has changed."""
        files = {
            path.relative_to(self.outside).as_posix(): path.read_text()
            for path in self.outside.rglob("*")
            if path.is_file()
        }
        assert files == {"secret.txt": SECRET, "folder/secret.webp": SECRET}

    def unread(self, folder: Path) -> None:
        """Fail if what stands outside has come into a folder."""
        for path in [] if folder.is_symlink() else folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                assert SECRET.encode() not in path.read_bytes(), path


@pytest.fixture
def place(honest, tmp_path) -> Iterator[Place]:
    """A copy of the honest atlas, beside files that belong to the user."""
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "secret.txt").write_text(SECRET)
    (outside / "folder" / "secret.webp").write_text(SECRET)
    shutil.copytree(honest, tmp_path / "atlas", symlinks=True)
    it = Place(tmp_path / "atlas", outside)
    yield it
    it.untouched()


def edit_json(path: Path, change: Callable[[dict], object]) -> None:
    """Change a JSON file."""
    value = json.loads(path.read_text("utf-8"))
    change(value)
    path.write_text(json.dumps(value), "utf-8")
