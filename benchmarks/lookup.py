"""How quickly channels are found in an atlas of VGG16's size.

    python benchmarks/lookup.py [--keep DIR]

Makes a synthetic atlas in a temporary directory: the 4,224 channels of VGG16's 13 convolutions
with drawn names, 40 references each in two modes (337,920 patch vectors in a compressed index),
1,000 classes. Prints opening time, searches by words and by picture in a warm process, and whole
processes of `atlas lookup`.
"""

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

import atlas

LAYERS = {
    "features.0": 64, "features.2": 64, "features.5": 128, "features.7": 128,
    "features.10": 256, "features.12": 256, "features.14": 256,
    "features.17": 512, "features.19": 512, "features.21": 512,
    "features.24": 512, "features.26": 512, "features.28": 512,
}  # fmt: skip
K = 40
IMAGES = 50_000
ENCODED = "features.28"  # what goes into it, 512 numbers

ADJECTIVES = [
    "striped", "dotted", "furry", "feathered", "metallic", "wooden", "shiny", "dark", "bright",
    "red", "green", "blue", "yellow", "orange", "purple", "pink", "white", "black", "brown",
    "grey", "round", "square", "pointed", "curved", "vertical", "horizontal", "diagonal", "wavy",
    "smooth", "rough", "woven", "knitted", "printed", "painted", "rusty", "wet", "snowy", "sandy",
    "grassy", "leafy", "blurred", "crowded", "transparent", "glowing", "folded", "stacked",
    "repeated", "parallel", "crossing", "tiny", "large", "thin", "thick"
]  # fmt: skip
NOUNS = [
    "fur", "feathers", "scales", "eyes", "ears", "snouts", "beaks", "wings", "tails", "legs",
    "paws", "wheels", "windows", "doors", "roofs", "bricks", "tiles", "fences", "grids", "nets",
    "ropes", "wires", "poles", "towers", "bridges", "boats", "masts", "sails", "cars", "trucks",
    "bicycles", "keys", "buttons", "screens", "letters", "numbers", "bottles", "cups", "plates",
    "spoons", "bread", "fruit", "leaves", "flowers", "petals", "branches", "trunks", "grass",
    "water", "waves", "clouds", "sky", "sand", "rocks", "snow", "hands", "faces", "hair", "hats",
    "shirts", "shoes", "bags", "dogs", "cats", "birds", "fish", "snakes", "spiders", "insects",
    "horses", "sheep", "cows", "elephants", "bears"
]  # fmt: skip


def synthetic(root: Path) -> None:
    """Write the atlas."""
    from atlas.model.networks import load
    from atlas.patches import vectors
    from atlas.recipe import Data, Model, Patches, Preprocessing, Recipe
    from atlas.store import INDEX, Store

    draw, numbers = random.Random(0), np.random.default_rng(0)
    model = Model(name="torchvision/vgg16", weights="random", device="cpu")
    recipe = Recipe(
        name="synthetic",
        model=model,
        data=Data(source="folder:nowhere"),
        patches=Patches(layer=ENCODED),
    )
    network = load(model, Preprocessing(), 0)
    store = Store(root)
    rows = [(layer, channel) for layer, count in LAYERS.items() for channel in range(count)]
    count, references = len(rows), len(rows) * 2 * K
    classes = [f"{draw.choice(ADJECTIVES)} {draw.choice(NOUNS)} {n}" for n in range(1000)]

    def name() -> str:
        return f"{draw.choice(ADJECTIVES)} {draw.choice(NOUNS)}"

    named = [name() if draw.random() < 0.9 else None for _ in rows]
    senses = [[name(), name()] if draw.random() < 0.1 else [] for _ in rows]
    store.write_table(
        "channels",
        {
            "layer": [layer for layer, _ in rows],
            "channel": [channel for _, channel in rows],
            "images": [IMAGES] * count,
            **{
                column: numbers.random(count)
                for column in ("act_mean", "act_max", "act_density", "rel_mean", "rel_abs_mean")
            },
            "top_classes": list(numbers.integers(0, 1000, (count, 10))),
            "top_class_shares": list(np.sort(numbers.random((count, 10)))[:, ::-1]),
            "neighbours": list(numbers.integers(0, count, (count, 12))),
            "neighbour_similarities": list(np.sort(numbers.random((count, 12)))[:, ::-1]),
            "name": named,
            "description": [
                text and f"The patches show {text}, often beside {name()} or {name()}."
                for text in named
            ],
            "name_confidence": numbers.random(count),
            "name_status": ["named" if text else "no clear concept" for text in named],
            "named_by": ["vlm"] * count,
            "namer": ["synthetic"] * count,
            "senses": [
                [
                    {"name": text, "description": None, "confidence": 0.5, "share": 0.5}
                    for text in texts
                ]
                for texts in senses
            ],
            "score_ap": numbers.random(count),
        },
    )
    store.write_table(
        "references",
        {
            "layer": [layer for layer, _ in rows for _ in range(2 * K)],
            "channel": [channel for _, channel in rows for _ in range(2 * K)],
            "mode": (["activation"] * K + ["relevance"] * K) * count,
            "rank": list(range(K)) * 2 * count,
            "score": numbers.random(references),
            "image": numbers.integers(0, IMAGES, references),
            **{key: numbers.integers(0, 1000, references) for key in ("label", "predicted")},
            **{key: numbers.integers(0, 14, references) for key in ("y", "x")},
            **{key: numbers.integers(0, 100, references) for key in ("x0", "y0")},
            **{key: numbers.integers(120, 224, references) for key in ("x1", "y1")},
        },
    )
    store.write_table(
        "images",
        {
            "image": np.arange(IMAGES),
            "index": np.arange(IMAGES),
            "key": [f"val_{n:08}.JPEG" for n in range(IMAGES)],
            **{key: numbers.integers(0, 1000, IMAGES) for key in ("label", "predicted")},
            **{key: [224] * IMAGES for key in ("width", "height")},
            "path": [f"images/{n % 256:02x}/{n:020x}.webp" for n in range(IMAGES)],
            "sha256": [f"{n:064x}" for n in range(IMAGES)],
        },
    )
    shares = numbers.random((1000, count), dtype=np.float32)
    store.write_table(
        "classes",
        {"label": range(1000), "name": classes, "count": [50] * 1000, "shares": list(shares)},
    )
    centres = numbers.normal(size=(count, 512)).astype(np.float32)

    def near(channels: np.ndarray) -> np.ndarray:
        drawn = centres[channels] + numbers.normal(size=(len(channels), 512)).astype(np.float32)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    everything = np.repeat(np.arange(count), 2 * K)
    sample = near(numbers.choice(everything, vectors.sample_size(references, 512), replace=False))
    parts = (near(part) for part in np.array_split(everything, 100))
    built = vectors.build(parts, sample, references, 512)
    vectors.save(built.index, root / INDEX)
    store.write_manifest(
        {
            "id": "vgg16-synthetic-00000000",
            "layers": list(LAYERS),
            "stages": {"prepass": "", "pictures": "", "patches": ""},
            "recipe": recipe.as_dict(),
            "model": {
                "name": network.name,
                "weights": network.weights,
                "weights_sha256": network.weights_sha256,
            },
            "data": {"source": "synthetic"},
            "index": {
                "encoder": f"input of {ENCODED} at 112 px",
                "dimension": 512,
                "factory": built.factory,
                "recall_at_10": 1.0,
            },
            "k": K,
            "images": {"seen": 1, "labelled": 1, "correct": 1, "skipped": 0, "skips": []},
            "preprocessing": asdict(network.preprocessing),
            "activation": asdict(recipe.activation),
            "relevance": asdict(recipe.relevance),
            "maps": {layer: [14, 14] for layer in LAYERS},
            "receptive_fields": {
                layer: {"size": [9, 9], "stride": [1, 1], "start": [-4, -4]} for layer in LAYERS
            },
        }
    )


def milliseconds(run: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


def queries(count: int) -> list[str]:
    """Return names, plurals, single words and misspellings."""
    draw = random.Random(1)
    asked = []
    for number in range(count):
        words = f"{draw.choice(ADJECTIVES)} {draw.choice(NOUNS)}"
        kind = number % 4
        if kind == 1:
            words = words.split()[1].removesuffix("s")
        elif kind == 2:
            place = draw.randrange(1, len(words) - 2)
            words = words[:place] + words[place + 1] + words[place] + words[place + 2 :]
        elif kind == 3:
            words = f"a {words} with {draw.choice(NOUNS)}"
        asked.append(words)
    return asked


def row(label: str, times: list[float], limit: int | str) -> None:
    """Print a line of the table."""
    ordered = sorted(times)
    ninety_fifth = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    print(f"| {label} | {statistics.median(times):.0f} | {ninety_fifth:.0f} | {limit} |")


def measure(root: Path) -> None:
    """Measure and print."""
    print("| | median ms | 95 % ms | at most |\n|:--|--:|--:|--:|")
    code = f"import time, atlas; s = time.perf_counter(); a = atlas.open({str(root)!r}); "
    code += "a['features.28:79']; print(1000 * (time.perf_counter() - s))"
    opened = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(5)
    ]
    row("open, and one channel, after import", opened, 300)
    a = atlas.open(root)
    row("first search by words (makes the index)", [milliseconds(lambda: a.search("fur"))], "")
    asked = queries(200)
    row("by words", [milliseconds(lambda q=q: a.search(q)) for q in asked], 50)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 333, 500, 3)).astype(np.uint8)
    pictures = [Image.fromarray(picture) for picture in pixels]
    first = milliseconds(lambda: a.search_picture(pictures[0]))
    row("first search by picture (loads network and index)", [first], "")
    row("by picture", [milliseconds(lambda p=p: a.search_picture(p)) for p in pictures], 300)
    command = [sys.executable, "-m", "atlas", "lookup", str(root)]

    def process(*arguments: str) -> float:
        return milliseconds(
            lambda: subprocess.run([*command, *arguments], capture_output=True, check=True)
        )

    row("`atlas lookup` by words, whole process", [process(q) for q in asked[:8]], 1500)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        pictures[0].save(path)
        row("`atlas lookup --image`, whole process", [process("--image", str(path))], "")


def main() -> None:
    """Make the atlas and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="make the atlas here, or take the one that is")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as folder:
        root = keep or Path(folder)
        if not (root / "manifest.json").is_file():
            synthetic(root)
        measure(root)


if __name__ == "__main__":
    main()
