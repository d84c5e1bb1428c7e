"""A small project to build: a network in a Python file, a folder of pictures, a recipe."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from tests.forked import Launcher

# Tests never reach for the network, and never by accident.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
# Small networks gain nothing from threads, and threads that wait for each other on a busy
# machine cost tenfold.
os.environ["OMP_NUM_THREADS"] = "1"

NETWORK = """
import torch
from torch import nn


def make():
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 7, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(28, 3),
    )
    network.classes = ["disc", "square", "stripe"]
    network.preprocessing = dict(resize=48, crop=48, mean=[0.5] * 3, std=[0.25] * 3)
    return network
"""

RECIPE = """
name = "tiny"
[model]
name = "{root}/network.py:make"
device = "cpu"
[data]
source = "folder:{root}/pictures"
[prepass]
k = 5
batch_size = 8
"""

COUNT = 30


def draw(kind: str, random: np.random.Generator) -> Image.Image:
    """A disc, a square or a stripe in random colours, 60 x 52 pixels."""
    y, x = np.mgrid[:52, :60]
    cy, cx = random.integers(15, 37, 2)
    size = random.integers(6, 14)
    inside = {
        "disc": (y - cy) ** 2 + (x - cx) ** 2 < size**2,
        "square": np.maximum(abs(y - cy), abs(x - cx)) < size,
        "stripe": abs(y - x - cy + cx) < size // 2,
    }[kind]
    pixels = np.where(inside[..., None], *random.integers(0, 256, (2, 3)))
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Make a folder once for all processes that run tests: `made_once(name, make)`."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def call(name: str, make: Callable[[Path], None]) -> Path:
        folder, done = root / "shared" / name, root / "shared" / f"{name}.done"
        folder.parent.mkdir(exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not done.exists():
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return call


@pytest.fixture(scope="session")
def project(made_once) -> Path:
    """A directory with network.py, pictures/ and tiny.toml."""

    def make(root: Path) -> None:
        (root / "network.py").write_text(NETWORK)
        (root / "tiny.toml").write_text(RECIPE.format(root=root.as_posix()))
        random = np.random.default_rng(0)
        for number in range(COUNT):
            kind = ("disc", "square", "stripe")[number % 3]
            (root / "pictures" / kind).mkdir(parents=True, exist_ok=True)
            draw(kind, random).save(root / "pictures" / kind / f"{number:03}.png")

    return made_once("data", make)


@pytest.fixture(scope="session")
def pictures(project) -> Path:
    """A folder with a class folder for each kind, 30 pictures in all."""
    return project / "pictures"


@pytest.fixture(scope="session")
def run() -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run `atlas` as a user does; `run("build", ...)`."""
    launcher = Launcher()

    def call(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return launcher([*map(str, arguments)], cwd)

    yield call
    launcher.close()


@pytest.fixture(scope="session")
def small_demo(run, made_once) -> Path:
    """A directory in which `atlas build demo` was run, with fewer pictures."""

    def make(home: Path) -> None:
        result = run(
            "build", "demo", "--set", "data.limit=64", "--set", "prepass.k=3",
            "--set", "model.layers=['features.0', 'features.40', 'planted']", cwd=home,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert str(home / "build/out/demo/site/index.html") in result.stdout

    return made_once("small_demo", make)


@pytest.fixture(scope="session")
def built(project, run, made_once) -> Path:
    """The atlas of the project, with its site. Tests must not change it."""

    def make(folder: Path) -> None:
        result = run("build", project / "tiny.toml", "--out", folder / "tiny")
        assert result.returncode == 0, result.stderr

    return made_once("built", make) / "tiny"


@pytest.fixture(scope="session")
def indexed(project, run, made_once) -> Path:
    """The atlas of the project without names and without its site. Tests must not change it."""

    def make(folder: Path) -> None:
        result = run("index", project / "tiny.toml", "--out", folder / "tiny")
        assert result.returncode == 0, result.stderr

    return made_once("indexed", make) / "tiny"


@pytest.fixture(scope="session")
def named(run, made_once) -> Path:
    """The demo on 600 pictures and three layers, its channels named by the planted truth.

    A channel is called what its relevance references share beyond chance if that is clear. Where
    its activation references clearly share something else, both are senses of it.
    """
    return made_once("named", lambda folder: make_named(run, folder / "demo")) / "demo"


def make_named(run: Callable[..., subprocess.CompletedProcess[str]], out: Path) -> None:
    """Build the demo on few pictures and name its channels."""
    from atlas.demo.truth import base_rates, meaning, shown
    from atlas.demo.world import draw
    from atlas.store import Store

    count = 600
    result = run(
        "index", "demo", "--out", out, "--set", f"data.limit={count}", "--set", "prepass.k=8",
        "--set", "model.layers=['features.30', 'features.40', 'planted']",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    store = Store(out)
    pictures = [draw(1, index) for index in range(count)]
    rates = base_rates([picture.attributes for picture in pictures])
    indices = store.table("images")["index"].to_pylist()
    seen: dict[tuple, list] = {}
    for row in store.table("references").to_pylist():
        box = tuple(row[edge] for edge in ("x0", "y0", "x1", "y1"))
        address = row["layer"], row["channel"], row["mode"]
        seen.setdefault(address, []).append(shown(pictures[indices[row["image"]]], box))
    meanings = []
    for row in store.table("channels").select(["layer", "channel"]).to_pylist():
        sets = [seen.get((*row.values(), mode)) for mode in ("relevance", "activation")]
        found = [meaning(references, rates) for references in sets if references]
        meanings.append([(each.value, each.purity) for each in found if each.clear])
    write_names(store, meanings)


def write_names(store: Any, named: list[list[tuple[str, float]]]) -> None:
    """Write columns of names: for each channel none, one, or the names of its senses."""
    senses = [list(dict(clear).items()) for clear in named]
    best = [clear[0] if clear else (None, None) for clear in senses]
    store.extend_table(
        "channels",
        {
            "name": [name for name, _ in best],
            "description": [name and f"Answers to what is {name}." for name, _ in best],
            "name_confidence": [purity for _, purity in best],
            "name_status": ["named" if name else "no clear concept" for name, _ in best],
            "named_by": ["vlm"] * len(best),
            "namer": ["planted truth"] * len(best),
            "other_names": [[{"method": "labels", "name": name}] for name, _ in best],
            "name_agreement": [name and 1.0 for name, _ in best],
            "senses": [
                [
                    {
                        "name": name,
                        "description": None,
                        "confidence": purity,
                        "share": 1 / len(all_),
                    }
                    for name, purity in all_
                ]
                if len(all_) > 1
                else []
                for all_ in senses
            ],
            "score_ap": [purity for _, purity in best],
        },
    )
    manifest = store.manifest()
    store.write_manifest({**manifest, "files": store.checksums()})


HOSTILE = (
    "<script>alert(1)</script>",
    "](javascript:alert(1))",
    "{{ 7*7 }}{% raw %}",
    '"><img src=x onerror=alert(1)>',
    "many words " * 364,
    "\u0641\u0631\u0627\u0621 \u0645\u062e\u0637\u0637 \u202e stripes",
    "../../etc",
    "*a* _b_ `c` ~~~ # d | e\n\n    code\n---\n",
    "&lt;b&gt; &#x3c;script&#x3e;",
    "</script><!-- ]]> ${7*7} \\u003c",
)
"""Names that must show as text."""


@pytest.fixture(scope="session")
def hostile() -> tuple[str, ...]:
    """Names that must show as text."""
    return HOSTILE


@pytest.fixture(scope="session")
def planted(built, run, tmp_path_factory) -> Path:
    """The atlas of the project with names of every kind, some of them hostile, and its site."""
    from atlas.store import MODES, TESTED, byweights, names, nametests, open_store, standing
    from atlas.store.names import NameRecord

    out = shutil.copytree(built, tmp_path_factory.mktemp("planted") / "atlas")
    store = open_store(out)
    table = store.table("channels").select(["layer", "channel"]).to_pylist()
    records = []
    hostile = iter(HOSTILE)
    for row, address in enumerate(table):
        if row == 6:  # nobody asked for this one
            continue
        status, name = {5: ("no clear concept", None), 12: ("unnamed", None)}.get(
            row, ("named", f"striped thing {row}")
        )
        if name and (row % 2 or row > 12):
            name = next(hostile, name)
        records.append(
            NameRecord(
                **address, method="vlm", by="some/model", status=status, name=name,
                description=name and f"It shows {name}.", confidence=0.75, revision="abc123",
                prompt={"name": "patches", "version": 1, "sha256": "f" * 64},
                references="0" * 64, images=(0, 1), raw=f"<b>raw</b>\n{name}\n```json```",
                details={"set": "s"},
            )
        )  # fmt: skip
    records.append(
        NameRecord(**table[0], method="person", by="Ada", status="named", name="seen by Ada")
    )
    references = store.table("references").select(["layer", "channel"]).to_pylist()
    mine = [row for row, address in enumerate(references) if address == table[2]]
    for sense, name in enumerate(("left half", HOSTILE[0])):
        records.append(
            NameRecord(
                **table[2], method="vlm", by="some/model", status="named", name=name,
                confidence=0.5, sense=sense, share=0.5, revision="abc123",
                details={"set": "s", "members": mine[sense::2]},
            )
        )  # fmt: skip
    records.append(
        NameRecord(
            **table[7], method="vlm", by="some/model", status="named", name=HOSTILE[1],
            revision="abc123", side="activation",
        )
    )  # fmt: skip
    names.append(store, records, 0)
    names.write_columns(store, "vlm")
    called = store.table("channels")["name"].to_pylist()
    shown = store.table("references").select(["layer", "channel", "mode"]).to_pylist()
    nametests.append(store, [{
        "key": "k", "test": nametests.SIDES, **table[7], "name": called[7], "by": "some/model",
        "revision": "abc123", "side": "relevance", "fits": {"relevance": 1, "activation": 0.25},
        "answers": {"relevance": [0.9] * 4, "activation": [0.9, 0.1, 0.2, 0.3]},
        "references": {
            mode: [n for n, row in enumerate(shown) if row == {**table[7], "mode": mode}][:4]
            for mode in MODES
        },
    }])  # fmt: skip
    scores = [None if row % 3 == 2 or not name else (row % 10) / 10
              for row, name in enumerate(called)]  # fmt: skip
    store.extend_table("channels", {
        **dict.fromkeys(TESTED, scores),
        "score_name": [None if s is None else HOSTILE[1] if row == 7 else called[row]
                       for row, s in enumerate(scores)],
        "score_ap_low": [s and s / 2 for s in scores],
        "score_ap_high": [s and min(1, s * 1.1) for s in scores],
        "score_base_rate": [s and 0.05 for s in scores],
        "score_borrowed_ap": [s and (s if row % 5 == 1 else s / 3) for row, s in enumerate(scores)],
        "score_frequent_ap": [s and s / 4 for s in scores],
    })  # fmt: skip
    figures = {name.removeprefix("score_"): store.table("channels")[name][4].as_py()
               for name in TESTED if name != "score_name"}  # fmt: skip
    nametests.append(store, [{
        "key": "r", "test": nametests.RANGE, **table[4], "name": called[4], **figures,
        "images": [0, 1], "answers": [0.9, 0.8], "activations": [5, 1], "positive": [True, False],
    }])  # fmt: skip
    standing.write_columns(store, "vlm")
    byweights.write_columns(store)
    store.extend_table("classes", {"name": [HOSTILE[6], HOSTILE[0], HOSTILE[3]]})
    store.write_manifest({**store.manifest(), "files": store.checksums()})
    result = run("site", out)
    assert result.returncode == 0, result.stderr
    return out
