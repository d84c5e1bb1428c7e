"""A small synthetic atlas whose names try to break the pages, and a parser to look at them."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from PIL import Image

from atlas.store import MEASURED, MODES, Store, files

LAYERS = {"features.0": 3, "features.28": 4, "we ird/..&<b>": 2}
K = 5
SIDE = 48

NAMES = [
    "zebra",
    "<script>alert(1)</script>",
    "](javascript:alert(1))",
    "{{ 7*7 }} {% raw %}",
    "| a | b |\n|---|---|",
    "<!-- --> </div> &amp; \"quoted\" 'single' `code`",
    "../../etc",
    "חתול \u202eevil\u202c",
    "long " * 800,
    "```\nfence\n```\n--8<-- 'x' \x02wzxhzdk:0\x03 {: .attr onclick=alert(1) }",
    "---\ntitle: stolen\n---",
    "# not a heading\n- nor a list\n[link](x) **bold** $x$ :smile:",
    "never seen",
]


def correlated(channels: list[tuple[str, int]], rng: np.random.Generator) -> dict[str, list]:
    """Histograms, and every channel of the layer and of those beside it as correlated with it."""
    layers = list(LAYERS)

    def rows(place: int) -> list[int]:
        name = layers[place] if 0 <= place < len(layers) else None
        return [row for row, (layer, _) in enumerate(channels) if layer == name]

    columns: dict[str, list] = {"act_edges": [], "act_counts": []}
    for row, (layer, _) in enumerate(channels):
        place = layers.index(layer)
        own = [other for other in rows(place) if other != row]
        found = {"together": own, "lower": rows(place - 1), "upper": rows(place + 1)}
        for name, others in found.items():
            columns.setdefault(name, []).append(others)
            values = sorted(rng.random(len(others)), reverse=True)
            columns.setdefault(f"{name}_correlations", []).append(values)
        columns["act_edges"].append([2.0, 2.5, 3.0, 3.5, 4.0, 5.0])
        columns["act_counts"].append([7, 0, 9, 1, 2])
    return columns


def make_atlas(root: Path) -> Store:
    store = Store(root)
    rng = np.random.default_rng(5)
    seen = len(NAMES) - 1
    paths = []
    for number in range(2 * seen):
        pixels = rng.integers(0, 256, (6, 6, 3), np.uint8)
        path = root / "images" / f"{number % 7:02x}" / f"{number:020x}.webp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    labels = [None if number == 1 else number % seen for number in range(len(paths))]
    predicted = [(number + number // seen) % seen for number in range(len(paths))]
    store.write_table(
        "images",
        {
            "image": range(len(paths)),
            "index": range(len(paths)),
            "key": [f"{NAMES[number % seen]}/{number}.jpg" for number in range(len(paths))],
            "label": labels,
            "predicted": predicted,
            "width": [SIDE] * len(paths),
            "height": [SIDE] * len(paths),
            "path": [path.relative_to(root).as_posix() for path in paths],
            "sha256": [files.sha256(path) for path in paths],
        },
    )
    channels = [(layer, channel) for layer, count in LAYERS.items() for channel in range(count)]
    shares = rng.random((len(NAMES), len(channels))).astype(np.float32) / 4
    shares[-1] = 0
    top = np.argsort(-shares[:seen], axis=0)[:10].T
    nearest = [np.roll(np.arange(len(channels)), -row)[1:].tolist() for row in range(len(channels))]
    store.write_table(
        "channels",
        {
            "layer": [layer for layer, _ in channels],
            "channel": [channel for _, channel in channels],
            "images": [len(paths)] * len(channels),
            "act_mean": rng.normal(size=len(channels)),
            "act_max": rng.random(len(channels)) * 100,
            "act_density": rng.random(len(channels)),
            "rel_mean": rng.normal(size=len(channels)) / 100,
            "rel_abs_mean": rng.random(len(channels)) / 100,
            "top_classes": top.tolist(),
            "top_class_shares": [shares[rows, c].tolist() for c, rows in enumerate(top)],
            **correlated(channels, rng),
            "neighbours": nearest,
            "neighbour_similarities": [
                sorted(rng.random(len(rows)), reverse=True) for rows in nearest
            ],
        },
    )
    references: dict[str, list] = {name: [] for name in MEASURED["references"]}
    for layer, channel in channels:
        if (layer, channel) == ("features.28", 3):  # nothing made it speak
            continue
        for mode in MODES:
            for rank, image in enumerate(rng.permutation(len(paths))[:K].tolist()):
                x0, y0 = rng.integers(0, SIDE - 12, 2).tolist()
                row = (layer, channel, mode, rank, 0.021 / (rank + 1), image, labels[image])
                row += (predicted[image], 0, 0, x0, y0, x0 + 12, y0 + 12)
                for name, value in zip(references, row, strict=True):
                    references[name].append(value)
    store.write_table("references", references)
    count = len(references["layer"])
    masks = np.zeros((count, 16, 16), np.uint8)
    for mask, (y, x) in zip(masks, rng.integers(0, 9, (count, 2)), strict=True):
        mask[y : y + 8, x : x + 8] = 255
    store.write_array("masks.npy", masks)
    store.write_table(
        "classes",
        {
            "label": range(len(NAMES)),
            "name": NAMES,
            "count": [2] * seen + [0],
            "shares": list(shares),
        },
    )
    store.write_manifest(
        {
            "id": "toy-world-0123abcd",
            "model": {"name": "toy.py:net", "weights": NAMES[1], "weights_sha256": "ab" * 32},
            "data": {"source": "folder:{{ 7*7 }}", "split": None, "fingerprint": "cd" * 32},
            "preprocessing": {
                "resize": SIDE,
                "crop": SIDE,
                "interpolation": "bilinear",
                "mean": [0.5, 0.5, 0.5],
                "std": [0.25, 0.25, 0.25],
            },
            "layers": list(LAYERS),
            "activation": {"aggregate": "max", "normalize": False},
            "relevance": {
                "aggregate": "sum",
                "normalize": True,
                "target": "label",
                "composite": "epsilon_plus_flat",
            },
            "k": K,
            "maps": {layer: [24, 24] for layer in LAYERS},
            "images": {
                "seen": len(paths),
                "labelled": len(paths) - 1,
                "correct": 11,
                "skipped": 1,
                "skips": [{"key": f"{NAMES[1]}.jpg", "reason": NAMES[3]}],
            },
            "conservation": dict.fromkeys(LAYERS, 0.97),
            "receptive_fields": {
                layer: {"size": [11, 11], "stride": [2, 2], "start": [-4, -4]} for layer in LAYERS
            },
            "index": {
                "encoder": "model",
                "dimension": 8,
                "factory": "Flat",
                "recall_at_10": 1.0,
            },
            "recipe": {
                "name": "toy",
                "model": {"name": "toy.py:net"},
                "data": {"source": "folder:pictures"},
                "site": {"title": "Toy & <i>atlas</i> {{ 7*7 }}", "description": NAMES[5]},
            },
            "versions": {"concept-atlas": "0.1.0", "torch": "2.15.0"},
            "stages": dict.fromkeys(("prepass", "pictures", "patches"), "done"),
            "files": {},
        }
    )
    return store


@pytest.fixture(scope="session")
def toy() -> SimpleNamespace:
    """What the atlas is made of, and how to make another one."""
    return SimpleNamespace(layers=LAYERS, names=NAMES, k=K, make=make_atlas)


@pytest.fixture(scope="session")
def crawl() -> SimpleNamespace:
    """Functions that read pages."""
    return SimpleNamespace(parse=parse, targets=targets, resolve=resolve)


@pytest.fixture(scope="session")
def toy_atlas(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The atlas with its pages and its site; tests only read it."""
    from atlas import site

    store = make_atlas(tmp_path_factory.mktemp("site") / "atlas")
    site.render(store)
    site.build(store)
    return store


@dataclass
class Page:
    title: str = ""
    text: str = ""
    meta: dict[str, str] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    unclosed: list[str] = field(default_factory=list)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


class _Parser(HTMLParser):
    VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "source", "wbr"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self.stack: list[str] = []
        self.inside_body = False

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.page.tags.append((tag, attributes))
        if "id" in attributes:
            self.page.ids.append(attributes["id"])
        if tag == "meta" and "name" in attributes:
            self.page.meta[attributes["name"]] = attributes.get("content") or ""
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        if "svg" in self.stack and tag != "svg" and tag not in self.stack:
            return
        if not self.stack or self.stack[-1] != tag:
            self.page.unclosed.append(f"</{tag}> in {self.stack[-3:]}")
        while self.stack and self.stack.pop() != tag:
            pass

    def handle_startendtag(self, tag, attrs):
        self.page.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if "title" in self.stack and "svg" not in self.stack:
            self.page.title += data
        if "script" not in self.stack and "style" not in self.stack:
            self.page.text += data


def parse(path: Path) -> Page:
    parser = _Parser()
    parser.feed(path.read_text("utf-8"))
    return parser.page


def targets(page: Page) -> list[str]:
    """Return every address that the page loads or links to."""
    found = []
    for _, attributes in page.tags:
        found += [attributes[name] for name in ("href", "src") if attributes.get(name)]
        style = attributes.get("style") or ""
        found += [part.split(")")[0] for part in style.split("url(")[1:]]
    return found


def resolve(page: Path, target: str) -> Path | None:
    """Return the file that `target` on `page` is, or nothing for addresses elsewhere."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc or not parts.path:
        return None
    return (page.parent / unquote(parts.path)).resolve()


@pytest.fixture(scope="session")
def explained(built, run, pictures, tmp_path_factory) -> Path:
    """The atlas of the project with two explained pictures, and its site."""
    import shutil

    out = shutil.copytree(built, tmp_path_factory.mktemp("explained") / "atlas")
    chosen = [next((pictures / kind).glob("*.png")) for kind in ("disc", "stripe")]
    for command in (("explain", out, *chosen, "--trust-code"), ("site", out)):
        result = run(*command)
        assert result.returncode == 0, result.stderr
    return out
