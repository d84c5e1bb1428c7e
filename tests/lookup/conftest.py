"""Small atlases of tables alone, for searching: the worlds of `queries`."""

import csv
from itertools import product
from pathlib import Path

import pytest

from atlas.store import MEASURED, Store
from tests.lookup.queries import NAMES

COLOURS = ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink")
TEXTURES = ("plain", "striped", "dotted", "checked", "zigzag")
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")


def write(root: Path, channels: list[dict], classes: list[str]) -> Path:
    """Write an atlas that can be searched; columns that a channel lacks are empty."""
    store = Store(root)
    columns = {
        name: [channel.get(name) for channel in channels]
        for name in ("layer", "channel", "name", "senses", "description", "top_classes",
                     "top_class_shares", "score_detection", "rel_mean")
    }  # fmt: skip
    store.write_table("channels", columns)
    store.write_table("references", {name: [] for name in MEASURED["references"]})
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
    stages = dict.fromkeys(("prepass", "pictures", "patches"), "done")
    store.write_manifest({"id": "world-00000000", "layers": layers, "stages": stages})
    return root


def channel(layer: str, number: int, name: str, labels: list[int], **rest: object) -> dict:
    shares = [1 / (place + 2) for place in range(len(labels))]
    values = {"layer": layer, "channel": number, "name": name or None, "senses": []}
    return {**values, "top_classes": labels, "top_class_shares": shares, "rel_mean": 0.1, **rest}


def sense(name: str) -> dict:
    return {"name": name, "description": None, "confidence": None, "share": None}


def demo(root: Path) -> Path:
    """The demo's channels with the names, classes and scores that it has, from `demo.tsv`."""
    rows = csv.reader(Path(__file__).with_name("demo.tsv").open("utf-8"), delimiter="\t")
    channels = [
        channel(
            layer, int(number), name, list(map(int, labels.split())),
            senses=[sense(one) for one in senses.split(" | ") if one],
            description=f"Most patches show this: {name}" if name else None,
            score_detection=float(score) if score else None, rel_mean=float(share),
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
