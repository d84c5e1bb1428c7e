"""How long a site takes: an atlas of VGG16's size, and plain MkDocs Material beside it.

The atlas is synthetic, but of real size: 4,224 channels in 13 layers, 40 references in each
mode, 1,000 classes, 100 explanations, names, senses, scores, questions and answers. Its
pictures are noise on patches of one colour.

    python benchmarks/site.py [--scale 1] [--keep DIR]
"""

import argparse
import gzip
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import synthetic_explanations
from PIL import Image

from atlas.store import Store, files, names
from atlas.store.names import NameRecord

WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
NUMBERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
K = 40
CLASSES = 1000
PICTURES = 5000
EXPLANATIONS = 100
SIDE = 224
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
    layer = np.repeat(layers, widths).tolist()
    number = np.concatenate([np.arange(width) for width in widths])
    count = len(layer)
    pictures, classes = max(50, round(PICTURES * scale)), max(5, round(CLASSES * scale))
    store = Store(root)
    root.mkdir(parents=True)
    write_pictures(store, random, pictures, classes)
    shares = random.dirichlet(np.full(count, 0.05), classes).astype(np.float32)
    top = np.argsort(-shares, axis=0)[:10].T
    near = random.integers(0, count, (count, 20))
    edges = [2.0 ** (n // 4) * (1 + n % 4 / 4) for n in range(-12, 17)]
    labels = ["_".join(phrase(random, 1, 3).split()) for _ in range(classes)]
    named = [phrase(random, 2, 5) for _ in range(count)]
    scores = random.random(count)
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
        "score_ap": scores, "score_ap_low": 0.9 * scores,
        "score_ap_high": np.minimum(1, 1.1 * scores), "score_borrowed_ap": scores / 2,
    })  # fmt: skip
    write_references(store, random, layer, number, pictures, classes)
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
    update_checksums(store)
    picture = next((root / "images").rglob("*.webp"))
    synthetic_explanations.write(store, max(2, round(EXPLANATIONS * scale)), picture)


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


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    seconds: float
    cpu: float  # seconds of all its processes
    memory: float  # most at once, of all its processes, in GiB

    def __str__(self) -> str:
        return f"{self.seconds:7.1f} s {self.cpu:7.1f} s CPU {self.memory:6.2f} GiB"


def timed(*arguments: object) -> Cost:
    """Run a command and return what it took."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(list(map(str, arguments)), stderr=subprocess.DEVNULL) as process:
        watched, peak = psutil.Process(process.pid), 0
        while process.poll() is None:
            try:
                family = [watched, *watched.children(recursive=True)]
                peak = max(peak, sum(one.memory_info().rss for one in family))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.1)
    if process.returncode:
        sys.exit(f"{arguments} failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.monotonic() - start, cpu, peak / 2**30)


def tree(site: Path) -> dict[str, int]:
    """Return every file and when it was written."""
    return {
        p.relative_to(site).as_posix(): p.stat().st_mtime_ns for p in site.rglob("*") if p.is_file()
    }


def rename(store: Store) -> None:
    """Give one channel another name, as `atlas rename` does."""
    table = store.table("channels").select(["layer", "channel"])
    row = table.to_pylist()[table.num_rows // 2]
    records = names.read(store)
    again = NameRecord(
        row["layer"],
        row["channel"],
        "person",
        "somebody",
        "named",
        phrase(np.random.default_rng(), 3, 5),
    )
    names.append(store, [again], len(records))
    names.write_columns(store, "vlm")
    update_checksums(store)


def plain(root: Path, pages: int, out: Path) -> tuple[Cost, float]:
    """Build some of the pages with MkDocs Material as it comes: all in the navigation."""
    shutil.rmtree(out, ignore_errors=True)
    chosen = sorted((root / "pages" / "channels").rglob("*.md"))[:pages]
    for path in (*chosen, root / "pages" / "index.md"):
        target = out / "docs" / path.relative_to(root / "pages")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    (out / "mkdocs.yml").write_text("site_name: plain\ntheme:\n  name: material\n")
    cost = timed(sys.executable, "-m", "mkdocs", "build", "-q", "-f", out / "mkdocs.yml")
    sizes = [path.stat().st_size for path in (out / "site" / "channels").rglob("*.html")]
    return cost, float(np.mean(sizes)) / 1000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="1 is VGG16")
    parser.add_argument("--keep", type=Path, help="directory to leave the atlas in")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.keep or Path(scratch) / "atlas"
        if not (root / "manifest.json").is_file():
            shutil.rmtree(root, ignore_errors=True)
            make(root, arguments.scale)
        report(Store(root), Path(scratch))


def report(store: Store, scratch: Path) -> None:
    """Build the site in several ways, and print what each took."""
    root, site = store.root, store.root / "site"
    command = sys.executable, "-m", "atlas", "site", root
    for name in ("pages", "site"):
        shutil.rmtree(root / name, ignore_errors=True)
    print_row("everything from nothing", timed(*command))
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) / 2**20
    print(f"the site has {size:.0f} MiB", flush=True)
    # Strips of patches are made once; pages whenever names or templates change.
    forget_pages(root)
    print_row("all pages, strips of patches there", timed(*command))
    before = tree(site)
    rename(store)
    cost = timed(*command)
    after = tree(site)
    changed = [name for name in after if before.get(name) != after[name]]
    print_row(f"after a new name ({len(changed)} files change)", cost)
    print_row("after nothing", timed(*command))
    channels = [path.stat().st_size for path in (site / "channels").rglob("*.html")]
    mean, most = np.mean(channels) / 1000, max(channels) / 1000
    every = len(list(site.rglob("*.html")))
    print(f"{every} pages; of a channel {mean:.1f} kB, at most {most:.1f} kB", flush=True)
    data = (site / "assets" / "search-data.js").read_bytes()
    packed = len(gzip.compress(data)) / 1000
    print(f"search data: {packed:.0f} kB compressed, {len(data) / 1000:.0f} kB")
    print(f"search: {keystrokes(site)}", flush=True)
    for count in (200, 400, 800):
        if count <= len(channels):
            cost, size = plain(root, count, scratch / "plain")
            print_row(f"plain MkDocs Material, {count} pages of {size:.0f} kB", cost)


def print_row(what: str, cost: Cost) -> None:
    """Print a row."""
    print(f"{what:48} {cost}", flush=True)


def forget_pages(root: Path) -> None:
    """Remove everything but the pictures."""
    (root / ".site.json").unlink(missing_ok=True)
    shutil.rmtree(root / "site", ignore_errors=True)
    for path in (root / "pages").rglob("*.md"):
        path.unlink()
    ledger = root / ".pages.json"
    if ledger.is_file():
        known = json.loads(ledger.read_text())
        kept = {key: value for key, value in known["pages"].items() if "." not in key}
        files.write_text(ledger, json.dumps({**known, "pages": kept}))


def keystrokes(site: Path) -> str:
    """Type into the search in Chromium; return the longest time from a key to the results."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return "not measured, there is no Chromium"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto((site / "search.html").as_uri())
        times = page.evaluate(
            """() => {
                const box = document.getElementById("q");
                const times = [];
                for (const query of ["striped fur", "red wheel", "zebra", "28:79", "a", "e"]) {
                    for (let n = 1; n <= query.length; n++) {
                        box.value = query.slice(0, n);
                        const start = performance.now();
                        box.dispatchEvent(new Event("input"));
                        document.body.offsetHeight;
                        times.push(performance.now() - start);
                    }
                }
                return times;
            }"""
        )
        browser.close()
    return f"{len(times)} keystrokes, median {np.median(times):.0f} ms, at most {max(times):.0f} ms"


if __name__ == "__main__":
    main()
