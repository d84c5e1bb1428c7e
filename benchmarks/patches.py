"""How well patches lie where their concept is, and how well their vectors find what is alike.

    python benchmarks/patches.py [--atlas build/out/demo] [--photos ATLAS] [--queries N]

Prints, for the demo atlas, whose pictures' content is known: what the nearest patches of a patch
share with it, what channels a picture finds, how many channels are split into senses, for several
ways of making vectors; and how well boxes and masks cover the object, for several ways of finding
them. For an atlas of photographs: how large its boxes are.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from atlas.demo.truth import PlantedMeaning, base_rates, meaning, shown
from atlas.demo.world import DrawnPicture, draw
from atlas.explain.conditional import propagate
from atlas.naming import senses
from atlas.patches import localise
from atlas.patches.encoders import Encoder, network_encoder
from atlas.patches.pooling import pooled
from atlas.pipeline import Inputs
from atlas.recipe import recorded
from atlas.store import Store, open_store
from atlas.store.pictures import open_picture
from atlas.trace.sights import ReceptiveField

KINDS = ("colour", "texture", "shape")
NEIGHBOURS = 10
BLOCKS = {
    "blocks 1, 2": ("features.0", "features.3", "features.7", "features.10"),
    "block 3": ("features.14", "features.17", "features.20"),
    "block 4": ("features.24", "features.27", "features.30"),
    "block 5": ("features.34", "features.37", "features.40", "planted"),
}
DEPTHS = ("features.17", "features.27", "planted")
"""Layers whose last map before them is tried, alone and together."""

Floats = npt.NDArray[np.float32]
Address = tuple[str, int, str]


@dataclass(frozen=True)
class World:
    """A demo atlas with the truth about its references."""

    store: Store
    inputs: Inputs
    pictures: list[DrawnPicture]
    layer: npt.NDArray[np.str_]
    channel: npt.NDArray[np.int64]
    mode: npt.NDArray[np.str_]
    image: npt.NDArray[np.int64]
    peaks: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.int64]
    masks: npt.NDArray[np.uint8]
    seen: list[dict[str, str]]
    meanings: Mapping[Address, PlantedMeaning]
    rows: Mapping[Address, list[int]]


def load(path: Path) -> World:
    """Open an atlas and draw its pictures again."""
    store = open_store(path)
    manifest = store.manifest()
    seed = manifest["recipe"]["data"]["seed"]
    pictures = [draw(seed, index) for index in store.table("images")["index"].to_pylist()]
    table = store.table("references").to_pydict()
    layer, channel, mode, image = (
        np.array(table[n]) for n in ("layer", "channel", "mode", "image")
    )
    boxes = np.stack([np.array(table[n], np.int64) for n in ("x0", "y0", "x1", "y1")], axis=1)
    peaks = np.stack([np.array(table[n], np.int64) for n in ("y", "x")], axis=1)
    seen = [shown(pictures[i], tuple(box)) for i, box in zip(image, boxes.tolist(), strict=True)]
    rows: dict[Address, list[int]] = defaultdict(list)
    for row, address in enumerate(
        zip(layer.tolist(), channel.tolist(), mode.tolist(), strict=True)
    ):
        rows[address].append(row)
    rates = base_rates([picture.attributes for picture in pictures])
    meanings = {a: meaning([seen[row] for row in mine], rates) for a, mine in rows.items()}
    masks = np.asarray(store.array("masks.npy"))
    return World(
        store, Inputs(recorded(manifest)), pictures, layer, channel, mode, image, peaks, boxes,
        masks, seen, meanings, rows,
    )  # fmt: skip


# Vectors


def whole_pictures(world: World, encoder: Encoder, use_masks: bool) -> Floats:
    """Return the vectors of all references from one encoding of each picture."""
    by_image = np.argsort(world.image, kind="stable")
    firsts = np.searchsorted(world.image[by_image], np.arange(len(world.pictures) + 1))
    found: Floats = np.zeros((0, 0), np.float32)
    paths = world.store.pictures()
    for start in range(0, len(paths), 8):
        maps = encoder.maps([open_picture(path) for path in paths[start : start + 8]])
        for number in range(len(maps)):
            rows = by_image[firsts[start + number] : firsts[start + number + 1]]
            masks = world.masks[rows] if use_masks else np.ones((len(rows), 1, 1), np.uint8)
            boxes = torch.from_numpy(world.boxes[rows])
            made = pooled(maps[number : number + 1], boxes, torch.from_numpy(masks), encoder.size)
            if not found.size:
                found = np.zeros((len(world.image), made.shape[1]), np.float32)
            found[rows] = made.numpy()
    return found


def crops(world: World, encoder: Encoder) -> Floats:
    """Return the vectors of all references, each cut out and blown up."""
    height, width = encoder.size
    paths = world.store.pictures()
    boxes, inverse = np.unique(
        np.column_stack([world.image, world.boxes]), axis=0, return_inverse=True
    )
    parts = []
    for start in range(0, len(boxes), 32):
        cut = [
            open_picture(paths[image]).crop(box).resize((width, height), Image.Resampling.BICUBIC)
            for image, *box in boxes[start : start + 32].tolist()
        ]
        parts.append(F.normalize(encoder.maps(cut).mean(dim=(2, 3)), dim=1))
    vectors: Floats = torch.cat(parts).numpy()[inverse.reshape(-1)]
    return vectors


def neighbours(world: World, vectors: Floats, rows: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return what the nearest patches of other pictures, one of each, share with these.

    The share that shows what the channel means, and the mean share over colour, texture and shape.
    """
    meant, all_three = [], []
    for row in rows.tolist():
        similarity = vectors @ vectors[row]
        similarity[world.image == world.image[row]] = -np.inf
        near = np.argsort(-similarity, kind="stable")[:500]
        first = np.unique(world.image[near], return_index=True)[1]
        near = near[np.sort(first)[:NEIGHBOURS]]
        own = world.meanings[world.layer[row], world.channel[row], world.mode[row]]
        shared = [
            {kind for kind in KINDS if world.seen[one].get(kind) == world.seen[row].get(kind)}
            for one in near.tolist()
        ]
        meant.append(np.mean([own.kind in some for some in shared]))
        all_three.append(np.mean([len(some) / len(KINDS) for some in shared]))
    return float(np.mean(meant)), float(np.mean(all_three))


def queries(count: int, share: float | None) -> tuple[list[Image.Image], list[DrawnPicture]]:
    """Return pictures of another world, or squares of this share of the side around its objects."""
    random = np.random.default_rng(1)
    drawn = [draw(777, number) for number in range(count)]
    pieces = []
    for picture in drawn:
        side = len(picture.image)
        size = side if share is None else round(share * side)
        rows, columns = np.nonzero(picture.mask)
        if share is not None and share < 0.4:  # somewhere on the object
            place = random.integers(len(rows))
            y, x = int(rows[place]), int(columns[place])
        else:
            y, x = int(rows.mean()), int(columns.mean())
        left, top = (int(np.clip(at - size // 2, 0, side - size)) for at in (x, y))
        pieces.append(Image.fromarray(picture.image).crop((left, top, left + size, top + size)))
    return pieces, drawn


def search(world: World, vectors: Floats, found: Floats, drawn: Sequence[DrawnPicture]) -> float:
    """Return the share of the first ten clear channels that mean what a query shows."""
    shares = []
    for vector, picture in zip(found, drawn, strict=True):
        similarity = vectors @ vector
        order = np.argsort(-similarity, kind="stable")[:1000]
        best: dict[tuple[str, int], list[float]] = defaultdict(list)
        for row in order.tolist():
            best[world.layer[row], int(world.channel[row])].append(float(similarity[row]))
        least = float(similarity[order[-1]])
        means = {a: (sum(s[:3]) + least * (3 - len(s[:3]))) / 3 for a, s in best.items()}
        right = []
        for layer, channel in sorted(means, key=lambda address: -means[address]):
            own = world.meanings.get((layer, channel, "relevance"))
            if own is not None and own.clear and own.kind != "position":
                right.append(picture.attributes[own.kind] == own.value)
        shares.append(np.mean(right[:NEIGHBOURS]))
    return float(np.mean(shares))


def split(world: World, vectors: Floats) -> tuple[int, int]:
    """Return how many clear channels have several senses, and how many others."""
    counts = {True: 0, False: 0}
    for (_, _, mode), rows in world.rows.items():
        if mode == "relevance" and len(rows) >= 2 * senses.FEWEST:
            own = world.meanings[world.layer[rows[0]], world.channel[rows[0]], mode]
            counts[own.clear] += bool(senses.split(vectors[rows]).any())
    return counts[True], counts[False]


def compare_vectors(world: World, count: int) -> None:
    """Print the table of ways of making vectors."""
    random = np.random.default_rng(0)
    asked = {}
    for name, layers in BLOCKS.items():
        rows = [
            row
            for address, mine in world.rows.items()
            if address[0] in layers and world.meanings[address].clear
            for row in mine
            if world.seen[row].get(world.meanings[address].kind) == world.meanings[address].value
            and world.meanings[address].kind in KINDS
        ]
        asked[name] = random.choice(rows, min(count, len(rows)), replace=False)
    inputs = world.inputs
    network, device = inputs.network, inputs.network.device

    def of(layer: str) -> Encoder:
        return network_encoder(network.module, layer, network.trace, network.preprocessing, device)

    def several(layers: Sequence[str]) -> Floats:
        parts = [whole_pictures(world, of(layer), True) for layer in layers]
        joined: Floats = np.hstack(parts) / np.float32(len(parts) ** 0.5)
        return joined

    encoder = of("planted")
    ways: dict[str, Callable[[], Floats]] = {
        "crops, each encoded": lambda: crops(world, encoder),
        "last map, box": lambda: whole_pictures(world, encoder, False),
        "last map, mask": lambda: whole_pictures(world, encoder, True),
        "map before features.27, mask": lambda: several(DEPTHS[1:2]),
        "two depths, mask": lambda: several(DEPTHS[1:]),
        "three depths, mask": lambda: several(DEPTHS),
    }
    head = ["vectors", "s", *asked, "mean", "split: clear", "others"]
    print("\nOf the nearest ten: mean the same / share colour, texture and shape\n")
    print("| " + " | ".join(head) + " |\n|:--" + "|--:" * (len(head) - 1) + "|")
    kept = {}
    for name, way in ways.items():
        start = time.perf_counter()
        kept[name] = way()
        seconds = time.perf_counter() - start
        found = [neighbours(world, kept[name], rows) for rows in asked.values()]
        cells = [f"{a:.3f} / {b:.3f}" for a, b in [*found, tuple(np.mean(found, axis=0))]]
        cells += map(str, split(world, kept[name]))
        print(f"| {name} | {seconds:.0f} | {' | '.join(cells)} |")

    print("\nSearch by picture: of the first ten clear channels mean what is shown\n")
    print("| query | crops, blown up | last map, box | last map, mask |\n|:--|--:|--:|--:|")
    for name, share in {"whole": None, "62 %": 0.62, "50 %": 0.5, "25 %": 0.25}.items():
        pieces, drawn = queries(count // 2, share)
        blown = [piece.resize(encoder.size, Image.Resampling.BICUBIC) for piece in pieces]
        before = search(world, kept["crops, each encoded"], encoder.encode(blown), drawn)
        own = encoder.encode(pieces)
        now = [search(world, kept[f"last map, {way}"], own, drawn) for way in ("box", "mask")]
        print(f"| {name} of the side | {before:.3f} | {now[0]:.3f} | {now[1]:.3f} |")


# Where


Where = Callable[[Tensor, Tensor, ReceptiveField, Tensor, Tensor], tuple[Tensor, Tensor]]


def former(maps: Tensor, peaks: Tensor, field: ReceptiveField) -> Tensor:
    """Return the boxes of before: half of the map around the peak, and a stride on each side."""
    positive = maps.clamp(min=0)
    count, height, width = positive.shape
    rows = (torch.arange(height) - peaks[:, :1]).abs()[:, :, None]
    columns = (torch.arange(width) - peaks[:, 1:]).abs()[:, None, :]
    distance = torch.maximum(rows.expand(-1, -1, width), columns.expand(-1, height, -1))
    mass = torch.zeros(count, max(height, width)).scatter_add_(
        1, distance.flatten(1), positive.flatten(1)
    )
    held = mass.cumsum(dim=1)
    radius = (held < 0.5 * held[:, -1:]).sum(dim=1)
    half = (2 * radius + 3) * max(field.stride) / 2
    boxes = []
    for (y, x), reach in zip(peaks.tolist(), half.tolist(), strict=True):
        middle = field.middle(y, x)
        boxes.append([middle[1] - reach, middle[0] - reach, middle[1] + reach, middle[0] + reach])
    return torch.tensor(boxes)


def compare_places(world: World, count: int) -> None:
    """Print how boxes and masks cover the object."""
    random = np.random.default_rng(0)
    inputs = world.inputs
    side = inputs.network.preprocessing.size[0]
    layers = [*BLOCKS["block 4"], *BLOCKS["block 5"]]
    labels = world.store.table("images")["label"].to_pylist()
    paths = world.store.pictures()
    of_image: dict[int, list[int]] = defaultdict(list)
    for (layer, _, _), rows in world.rows.items():
        if layer in layers:
            for row in rows:
                of_image[int(world.image[row])].append(row)
    results: dict[tuple[str, str, str], list[tuple[float, float, float]]] = defaultdict(list)
    for image in random.permutation(sorted(of_image))[:count].tolist():
        tensor = inputs.network.preprocessing.tensor([open_picture(paths[image])])
        measured = propagate(inputs.instrumented, tensor, labels[image])
        heat = localise.heat_of(measured.heat[None, None])
        conditional: dict[tuple[str, int], Tensor] = {}
        for layer in layers:
            channels = sorted(
                {int(world.channel[r]) for r in of_image[image] if world.layer[r] == layer}
            )
            if channels:
                found = measured.condition(layer, channels, []).heat
                conditional |= {(layer, c): found[n] for n, c in enumerate(channels)}
        for row in of_image[image]:
            layer, channel = str(world.layer[row]), int(world.channel[row])
            own = world.meanings[layer, channel, world.mode[row]]
            about = "object" if own.kind in KINDS else own.kind
            if not own.clear or about == "position":
                continue
            if about == "object" and world.pictures[image].attributes[own.kind] != own.value:
                continue
            values = measured.activation if world.mode[row] == "activation" else measured.relevance
            field, maps = inputs.fields[layer], values[layer][channel][None]
            peaks = torch.from_numpy(world.peaks[row])[None]
            even = ReceptiveField(
                (side, side), (side / 28, side / 28), ((side / 28 - side) / 2,) * 2
            )
            middle = torch.full_like(peaks, 14)  # a unit that sees all of the picture
            own_heat = localise.heat_of(conditional[layer, channel][None, None])
            ways = {
                "half of the map, and a margin": (former(maps, peaks, field), maps, field, "map"),
                "root of the map": (peaks, maps, field, None),
                "root of map x relevance of pixels": (peaks, maps, field, heat),
                "root of relevance of pixels alone": (middle, heat, even, None),
                "root of conditional relevance": (middle, own_heat, even, None),
                "the picture's centre": (torch.tensor([[28.0, 28, 84, 84]]), None, field, "box"),
            }  # fmt: skip
            truth = world.pictures[image].mask
            block = "block 4" if layer in BLOCKS["block 4"] else "block 5"
            for name, (place, source, seat, way) in ways.items():
                results[name, about, block].append(_covers(place, source, seat, way, side, truth))
    head = ["where", "channels of", "block", "patches", "IoU", "mask inside the object", "side"]
    print("\nBox and mask against the object\n")
    print("| " + " | ".join(head) + " |\n|:--|:--|:--" + "|--:" * (len(head) - 3) + "|")
    for (name, about, block), values in sorted(results.items(), key=lambda item: item[0][1:]):
        overlap, inside, _ = np.mean(values, axis=0)
        median = np.median([value[2] for value in values])
        cells = [name, about, block, str(len(values))]
        cells += [f"{overlap:.3f}", f"{inside:.3f}", f"{median:.2f}"]
        print(f"| {' | '.join(cells)} |")


def _covers(
    place: Tensor, maps: Tensor | None, field: ReceptiveField, way: object, side: int,
    truth: npt.NDArray[np.bool_],
) -> tuple[float, float, float]:  # fmt: skip
    """Return IoU of the mask (from half of its maximum) and the object, its part inside, side.

    The place is a box, (1, 4), or the peak unit of the maps, (1, 2), around which one is found.
    """
    size = (side, side)
    heat = way if isinstance(way, Tensor) else None
    if place.shape[1] == 2:
        assert maps is not None
        place = localise.boxes(maps, place, field, size, heat)
    box = place.round().long().clamp(0, side)
    x0, y0, x1, y1 = box[0].tolist()
    cells = torch.ones(1, 1, 16, 16)
    if maps is not None:
        small = ReceptiveField((1, 1), field.stride, tuple(
            start + extent / 2 - 0.5 for start, extent in zip(field.start, field.size, strict=True)
        ))  # fmt: skip
        seen = small if way == "map" else field  # of a small field the mask is the map itself
        cells = localise.masks(maps, box, seen, size, heat)[None].float()
    mask = np.zeros(size, np.float32)
    mask[y0:y1, x0:x1] = F.interpolate(cells, (y1 - y0, x1 - x0), mode="bilinear")[0, 0].numpy()
    strong = mask >= 0.5 * mask.max()
    overlap = (strong & truth).sum() / (strong | truth).sum()
    return (
        float(overlap),
        float(mask[truth].sum() / max(mask.sum(), 1e-9)),
        max(x1 - x0, y1 - y0) / side,
    )


def sizes(path: Path) -> None:
    """Print how large the boxes of an atlas are."""
    store = open_store(path)
    height, width = (store.table("images")[n][0].as_py() for n in ("height", "width"))
    table = store.table("references", ["layer", "x0", "y0", "x1", "y1"]).to_pandas()
    table["side"] = np.maximum((table.x1 - table.x0) / width, (table.y1 - table.y0) / height)
    table["area"] = (table.x1 - table.x0) * (table.y1 - table.y0) / (height * width)
    print("\n| layer | median side | boxes over 80 % of the picture |\n|:--|--:|--:|")
    for layer, rows in table.groupby("layer", sort=False):
        print(f"| {layer} | {rows.side.median():.2f} | {(rows.area > 0.8).mean():.3f} |")


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atlas", type=Path, default=Path("build/out/demo"))
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--queries", type=int, default=600)
    parser.add_argument("--pictures", type=int, default=300)
    options = parser.parse_args()
    world = load(options.atlas)
    compare_vectors(world, options.queries)
    compare_places(world, options.pictures)
    if options.photos:
        sizes(options.photos)


if __name__ == "__main__":
    main()
