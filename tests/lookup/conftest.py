"""Small atlases of tables alone, for searching: the worlds of `queries`."""

import csv
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest

from atlas.store import MEASURED, Store
from tests.lookup.queries import NAMES

COLOURS = ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink")
TEXTURES = ("plain", "striped", "dotted", "checked", "zigzag")
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")


def write(root: Path, channels: list[dict], classes: list[str]) -> Path:
    """Write an atlas that can be searched."""
    store = Store(root)
    columns = {name: [one[name] for one in channels] for name in channels[0]}
    store.write_table("channels", columns)
    for table in ("references", "images"):
        store.write_table(table, {name: [] for name in MEASURED[table]})
    store.write_table(
        "classes",
        {
            "label": range(len(classes)),
            "name": classes,
            "count": [1] * len(classes),
            "shares": [[0.0] * len(channels)] * len(classes),
        },
    )
    layers = list(dict.fromkeys(channel["layer"] for channel in channels))
    field = {"size": [1, 1], "stride": [1, 1], "start": [0, 0]}
    stages = dict.fromkeys(("prepass", "pictures", "patches"), "done")
    store.write_manifest(
        {
            "id": "world-00000000", "layers": layers, "stages": stages, "k": 1, "versions": {},
            "model": {"name": "none", "weights": "none", "weights_sha256": "0" * 64},
            "data": {"source": "none"}, "conservation": {},
            "preprocessing": {"resize": 8, "crop": 8, "mean": [0.5], "std": [0.5],
                              "interpolation": "bilinear"},
            "images": {"seen": 1, "labelled": 1, "correct": 1, "skipped": 0, "skips": []},
            "activation": {"aggregate": "max", "normalize": False},
            "relevance": {"aggregate": "sum", "normalize": True, "target": "label",
                          "composite": "epsilon_plus_flat"},
            "receptive_fields": dict.fromkeys(layers, field),
            "maps": {layer: [1, 1] for layer in layers}, "recipe": {"name": "none"},
            "index": {"encoder": "none", "dimension": 1, "factory": "Flat", "recall_at_10": 1.0},
        }
    )  # fmt: skip
    return root


def channel(
    layer: str, number: int, name: str, labels: list[int], senses: Sequence[str] = (),
    score: float | None = None, share: float = 0.1, description: str | None = None,
) -> dict:  # fmt: skip
    """Return the row of a channel that has a few classes."""
    empty = {"description": None, "confidence": None, "share": None}
    return {
        "layer": layer, "channel": number, "images": 1, "act_mean": 0.0, "act_max": 0.0,
        "act_density": 0.0, "rel_mean": share, "rel_abs_mean": share, "top_classes": labels,
        "top_class_shares": [1 / (place + 2) for place in range(len(labels))],
        "neighbours": [], "neighbour_similarities": [], "name": name or None,
        "description": description, "score_ap": score,
        "name_state": None if score is None else "tested" if score >= 0.5 else "one-sided",
        "senses": [{"name": sense, **empty} for sense in senses],
    }  # fmt: skip


def demo(root: Path) -> Path:
    """The demo's channels with the names, classes and scores that it has, from `demo.tsv`."""
    rows = csv.reader(Path(__file__).with_name("demo.tsv").open(encoding="utf-8"), delimiter="\t")
    channels = [
        channel(
            layer, int(number), name, list(map(int, labels.split())),
            [one for one in senses.split(" | ") if one], float(score) if score else None,
            float(share), f"Most patches show this: {name}" if name else None,
        )
        for layer, number, name, senses, labels, score, share in rows
    ]  # fmt: skip
    classes = [" ".join(words) for words in product(COLOURS, TEXTURES, SHAPES)]
    return write(root, channels, classes)


def imagenet(root: Path) -> Path:
    """Channels called after torchvision's 1,000 class names, each relevant for that class."""
    from torchvision.models._meta import _IMAGENET_CATEGORIES as NAMES_

    layers = {"conv1": 64, "layer1.0.conv2": 236, "layer4": 300, "layer4.1.conv2": 400}
    places = [(layer, number) for layer, count in layers.items() for number in range(count)]
    channels = [
        channel(layer, number, name, [label])
        for label, ((layer, number), name) in enumerate(zip(places, NAMES_, strict=True))
    ]
    return write(root, channels, list(NAMES_))


def scripts(root: Path) -> Path:
    """Names in many scripts; one class without a name."""
    return write(root, [channel("ebene.1", n, name, [0]) for n, name in enumerate(NAMES)], [""])


@pytest.fixture(scope="session")
def worlds(tmp_path_factory) -> dict[str, Path]:
    """The directory of each world's atlas."""
    return {
        make.__name__: make(tmp_path_factory.mktemp("worlds") / make.__name__)
        for make in (demo, imagenet, scripts)
    }
