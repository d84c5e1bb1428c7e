"""An atlas of VGG16's size for benchmarks: every table is there, and nothing of it is true."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import synthetic_explanations
from PIL import Image

from atlas.store import Store, bases, names
from atlas.store.bases import Basis
from atlas.store.names import NameRecord

WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
NUMBERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
K = 40
CLASSES = 1000
PICTURES = 5000
EXPLANATIONS = 100
SIDE = 224
FACTORS = 40
SAMPLES = 20
"""Factors of each layer, and pictures of each class whose shares of them are kept."""
TEXT = (
    "striped spotted furry round red blue green yellow dark bright curved straight wooden metal "
    "glass woven dotted smooth rough wet sandy leafy grassy snowy head eye ear leg wheel window "
    "door roof wall sky water tree flower bird dog cat fish snake insect car boat train plane "
    "bottle cup ball book chair table lamp keyboard screen button letter edge corner texture "
    "pattern background feather fur scale shell horn beak wing tail paw hand face"
)
WORDS = TEXT.split()


def phrase(random: np.random.Generator, least: int, most: int) -> str:
    """Return some words."""
    return " ".join(random.choice(WORDS, random.integers(least, most + 1)))


def make(root: Path, scale: float) -> None:
    """Write the tables, the arrays and the pictures of an atlas."""
    random = np.random.default_rng(0)
    widths = [max(1, round(width * scale)) for width in WIDTHS]
    layers = [f"features.{number}" for number in NUMBERS]
    pictures, classes = max(50, round(PICTURES * scale)), max(5, round(CLASSES * scale))
    store = Store(root)
    root.mkdir(parents=True)
    write_pictures(store, random, pictures, classes)
    labels = ["_".join(phrase(random, 1, 3).split()) for _ in range(classes)]
    scores = random.random(sum(widths))
    columns = {
        "score_ap": scores, "score_ap_low": 0.9 * scores,
        "score_ap_high": np.minimum(1, 1.1 * scores), "score_borrowed_ap": scores / 2,
    }  # fmt: skip
    layer, number = write_channels(store, random, layers, widths, pictures, labels, columns)
    count = len(layer)
    named = [phrase(random, 2, 5) for _ in range(count)]
    # Records carry the id of the atlas that they speak of, so that it has to be there.
    store.write_manifest({
        "id": "vgg16-synthetic-00000000", "layers": layers, "k": K,
        "stages": dict.fromkeys(("prepass", "pictures", "patches"), "done"),
        "model": {"name": "torchvision/vgg16", "weights": "none", "weights_sha256": "0" * 64},
        "data": {"source": "synthetic"}, "versions": {"concept-atlas": "0"},
        "images": {"seen": 50_000, "labelled": 50_000, "correct": 36_000, "skipped": 0,
                   "skips": []},
        "preprocessing": {"resize": 256, "crop": SIDE, "mean": [0.5] * 3, "std": [0.5] * 3,
                          "interpolation": "bilinear"},
        "activation": {"aggregate": "max", "normalize": False},
        "relevance": {"aggregate": "sum", "normalize": True, "target": "label",
                      "composite": "epsilon_plus_flat"},
        "recipe": {"name": "synthetic", "model": {"name": "torchvision/vgg16"},
                   "data": {"source": "folder:none"}, "site": {}},
        "conservation": {}, "maps": {layer: [14, 14] for layer in layers},
        "receptive_fields": {
            layer: {"size": [9, 9], "stride": [1, 1], "start": [-4, -4]} for layer in layers
        },
        "index": {"encoder": "none", "dimension": 512, "factory": "Flat", "recall_at_10": 1.0},
    })  # fmt: skip
    records = []
    for row in range(count):
        record = NameRecord(
            layer[row], int(number[row]), "vlm", "Qwen/Qwen3-VL-8B-Instruct", "named",
            named[row], f"It shows {phrase(random, 6, 12)}.", float(random.random()),
            revision="cc594898137f460bfe9f0759e9844b3ce807cfb5",
            prompt={"name": "patches", "version": 1, "sha256": "0" * 64}, references="0" * 64,
            images=list(range(80 * row, 80 * row + 9)),
            raw=json.dumps({"name": named[row], "why": phrase(random, 30, 60)}),
            details={"set": "s"},
        )  # fmt: skip
        records.append(record)
        if row % 5 == 0:
            for sense in range(2):
                members = range(80 * row + 40 + sense, 80 * row + 80, 2)
                records.append(
                    NameRecord(
                        record.layer,
                        record.channel,
                        "vlm",
                        record.by,
                        "named",
                        phrase(random, 2, 4),
                        None,
                        0.5,
                        sense,
                        0.5,
                        revision=record.revision,
                        details={"set": "s", "members": list(members)},
                    )
                )
    names.append(store, records, 0)
    names.write_columns(store, "vlm")
    update_checksums(store)
    picture = next((root / "images").rglob("*.webp"))
    synthetic_explanations.write(store, max(2, round(EXPLANATIONS * scale)), picture)


def write_channels(
    store: Store,
    random: np.random.Generator,
    layers: list[str],
    widths: list[int],
    pictures: int,
    labels: list[str],
    more: dict[str, object],
) -> tuple[list[str], np.ndarray]:
    """Write channels, their references and the classes; return layer and number of each channel.

    `more` has further columns of the channels.
    """
    layer = np.repeat(layers, widths).tolist()
    number = np.concatenate([np.arange(width) for width in widths])
    count, classes = len(layer), len(labels)
    shares = random.dirichlet(np.full(count, 0.05), classes).astype(np.float32)
    top = np.argsort(-shares, axis=0)[:10].T
    near = random.integers(0, count, (count, 20))
    edges = [2.0 ** (n // 4) * (1 + n % 4 / 4) for n in range(-12, 17)]
    store.write_table("classes", {
        "label": range(classes), "name": labels, "count": [50] * classes, "shares": list(shares),
    })  # fmt: skip
    store.write_table("channels", {
        "layer": layer, "channel": number, "images": [50_000] * count,
        "act_mean": random.random(count), "act_max": 10 * random.random(count),
        "act_density": random.random(count), "rel_mean": random.random(count) / 100,
        "rel_abs_mean": random.random(count) / 50, "top_classes": list(top),
        "top_class_shares": [shares[row, channel] for channel, row in enumerate(top)],
        "act_edges": [edges] * count,
        "act_counts": list(random.integers(0, 3000, (count, len(edges) - 1))),
        **company(random, widths),
        "neighbours": list(near), "neighbour_similarities": [np.linspace(0.9, 0.5, 20)] * count,
        **more,
    })  # fmt: skip
    write_references(store, random, layer, number, pictures, classes)
    return layer, number


def add_factors(store: Store) -> None:
    """Write factors of every layer, with the shares of each class's pictures."""
    random = np.random.default_rng(1)
    part, manifest = bases.place(store), store.manifest()
    part.root.mkdir()
    widths = [min(FACTORS, width) for width in Counter(_layers(store)).values()]
    channels = Counter(_layers(store))
    images, classes = (store.table(name).to_pydict() for name in ("images", "classes"))
    part.write_table("images", images)
    found = []
    for layer, width in zip(manifest["layers"], widths, strict=True):
        directions = random.random((width, channels[layer])) ** 4
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        ones = np.ones(width, np.float32)
        facts = {"explained": 0.9, "stable": True}
        found.append(
            Basis(layer, "nmf", directions.astype(np.float32), ones / width, ones, facts=facts)
        )
        bases.write(part, found[-1])
    layers = [basis.name for basis in found]
    labels = classes["name"]
    write_channels(part, random, layers, widths, len(images["image"]), labels, {})
    shares = part.table("classes")["shares"].to_pylist()
    part.write_table("classes", {
        **{name: classes[name] for name in ("label", "name", "count")},
        "shares": shares, "fired": shares,
    })  # fmt: skip
    targets = np.repeat(np.arange(len(labels)), SAMPLES)
    part.write_table("samples", {
        "target": targets, "index": np.arange(len(targets)), "label": targets,
        "predicted": random.integers(0, len(labels), len(targets)),
        "shares": list(random.dirichlet(np.full(sum(widths), 0.05), len(targets))),
    })  # fmt: skip
    of_layer = {
        key: dict(zip(layers, manifest[key].values(), strict=True))
        for key in ("maps", "receptive_fields")
    }
    whole = {
        **manifest, **of_layer, "layers": layers, "atlas": manifest["id"],
        "id": "vgg16-synthetic-11111111", "conservation": {}, "files": part.checksums(),
    }  # fmt: skip
    part.write_manifest(whole)
    part.write_manifest({**whole, "directions": bases.checksums(part)})


def _layers(store: Store) -> list[str]:
    """Return the layer of each channel."""
    layers: list[str] = store.table("channels", ["layer"])["layer"].to_pylist()
    return layers


def company(random: np.random.Generator, widths: list[int]) -> dict[str, list]:
    """Return the columns of channels that rise and fall together."""
    starts = np.cumsum([0, *widths])
    columns: dict[str, list] = {}
    for place, width in enumerate(widths):
        for name, other in (("together", place), ("lower", place - 1), ("upper", place + 1)):
            there = 0 <= other < len(widths)
            shape = (width, 10 if there else 0)
            rows = random.integers(0, widths[other] if there else 1, shape)
            first = int(starts[other]) if there else 0
            columns.setdefault(name, []).extend(rows + first)
            columns.setdefault(f"{name}_correlations", []).extend(
                [np.linspace(0.9, 0.3, shape[1])] * width
            )
    return columns


def write_pictures(store: Store, random: np.random.Generator, count: int, classes: int) -> None:
    """Write a hundred pictures, each under many names: their content is not measured."""
    folder = store.root / "images" / "00"
    folder.mkdir(parents=True)
    paths = []
    for image in range(count):
        path = folder / f"{image:020}.webp"
        paths.append(path.relative_to(store.root).as_posix())
        if image < 100:
            coarse = random.integers(0, 256, (14, 14, 3), np.uint8)
            picture = Image.fromarray(coarse).resize((SIDE, SIDE))
            noise = random.integers(-12, 13, (SIDE, SIDE, 3))
            picture = Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))
            picture.save(path, quality=90)
        else:
            shutil.copyfile(folder / f"{image % 100:020}.webp", path)
    store.write_table("images", {
        "image": range(count), "index": range(count),
        "key": [f"val/n{image % classes:08}/{image:08}.JPEG" for image in range(count)],
        "label": [image % classes for image in range(count)],
        "predicted": random.integers(0, classes, count), "width": [SIDE] * count,
        "height": [SIDE] * count, "path": paths, "sha256": [f"{n:064x}" for n in range(count)],
    })  # fmt: skip


def write_references(
    store: Store,
    random: np.random.Generator,
    layer: list[str],
    number: np.ndarray,
    pictures: int,
    classes: int,
) -> None:
    """Write the references, best first, and their masks."""
    each, rows = 2 * K, 2 * K * len(layer)
    image = random.integers(0, pictures, rows)
    x0, y0 = random.integers(0, SIDE - 120, (2, rows))
    size = random.integers(20, 120, rows)
    store.write_table("references", {
        "layer": [name for name in layer for _ in range(each)], "channel": np.repeat(number, each),
        "mode": (["activation"] * K + ["relevance"] * K) * len(layer),
        "rank": np.tile(np.arange(K), 2 * len(layer)),
        "score": -np.sort(-random.random((2 * len(layer), K)), axis=1).ravel(),
        "image": image, "label": image % classes, "predicted": image % classes,
        "y": y0, "x": x0, "x0": x0, "y0": y0, "x1": x0 + size, "y1": y0 + size,
    })  # fmt: skip
    y, x = np.mgrid[-1:1:16j, -1:1:16j]
    centres = random.uniform(-0.5, 0.5, (rows, 2, 1, 1)).astype(np.float32)
    maps = np.exp(-3 * ((y - centres[:, 0]) ** 2 + (x - centres[:, 1]) ** 2))
    store.write_array("masks.npy", (255 * maps).astype(np.uint8))


def update_checksums(store: Store) -> None:
    """Record the tables in the manifest."""
    store.write_manifest({**store.manifest(), "files": store.checksums()})
