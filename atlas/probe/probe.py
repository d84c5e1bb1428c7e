"""Responses of every channel to a sample of the stored pictures, and the patches at its peaks.

References are the best pictures only. To find out which labels or words a channel distinguishes one
needs the others as well; the stored pictures are the references of all channels, so that most of
them are none of the one in question. Names are scored on pictures of known weight instead, those of
the bands, whose patches are cut here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from atlas.model.preprocessing import Preprocessor
from atlas.patches import localise
from atlas.patches.views import Patch
from atlas.relevance.engine import PREDICTED, Engine, measure
from atlas.store import Mode, Store
from atlas.store.pictures import open_picture
from atlas.trace.sights import ReceptiveField

_BATCH = 32


@dataclass(frozen=True)
class Probe:
    """The network as it was in the pre-pass, to measure channels in stored pictures."""

    engine: Engine
    preprocessing: Preprocessor
    fields: Mapping[str, ReceptiveField]
    device: torch.device


@dataclass(frozen=True)
class Responses:
    """Activations of all channels in a sample of pictures.

    Attributes
    ----------
    images : ndarray
        int64 (n,), rows of images.parquet, rising.
    values : ndarray
        float32 (n, channels), the maximum of each map; channels in the order of the table.
    """

    images: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]


def measure_responses(store: Store, probe: Probe, count: int, seed: int) -> Responses:
    """Measure every channel on `count` of the stored pictures, or on all if there are fewer.

    Parameters
    ----------
    store : Store
        The atlas that has the pictures.
    probe : Probe
        The network.
    count : int
        How many pictures are drawn at random.
    seed : int
        Seed of the draw; the same pictures for the same seed.
    """
    paths = store.pictures()
    random = np.random.default_rng(seed)
    images = np.sort(random.permutation(len(paths))[:count]).astype(np.int64)
    columns = _columns(store)
    total = sum(part.stop - part.start for part in columns.values())
    values = np.zeros((len(images), total), np.float32)

    def visit(rows: slice, layer: str, maps: Tensor) -> None:
        values[rows, columns[layer]] = maps.float().flatten(2).amax(dim=2).cpu().numpy()

    _measure([paths[image] for image in images], probe, visit, "responses")
    return Responses(images, values)


def cut_patches(
    store: Store, probe: Probe, wanted: Sequence[tuple[int, int, tuple[int, int]]]
) -> list[Patch]:
    """Return the patch around the peak of a channel in a picture, for each of `wanted`.

    Parameters
    ----------
    store : Store
        The atlas that has the pictures.
    probe : Probe
        The network.
    wanted : sequence of (int, int, (int, int))
        Row of images.parquet, row of channels.parquet, and row and column of the peak unit.
    """
    paths = store.pictures()
    columns = _columns(store)
    by_image: dict[int, dict[int, tuple[int, int]]] = {}
    for image, column, peak in wanted:
        by_image.setdefault(image, {})[column] = peak
    images = sorted(by_image)
    found: dict[tuple[int, int], Patch] = {}
    size = probe.preprocessing.size

    def visit(part: slice, layer: str, maps: Tensor) -> None:
        inside = columns[layer]
        cut = [
            (number, image, column, peak)
            for number, image in enumerate(images[part])
            for column, peak in by_image[image].items()
            if inside.start <= column < inside.stop
        ]
        if not cut:
            return
        picture = torch.tensor([number for number, *_ in cut])
        channel = torch.tensor([column - inside.start for _, _, column, _ in cut])
        picked = maps[picture, channel].float().cpu()
        peaks = torch.tensor([peak for *_, peak in cut])
        boxes = localise.boxes(picked, peaks, probe.fields[layer], size)
        masks = localise.masks(picked, boxes, probe.fields[layer], size).numpy()
        for (_, image, column, _), box, mask in zip(cut, boxes.tolist(), masks, strict=True):
            x0, y0, x1, y1 = box
            found[image, column] = Patch(paths[image], (x0, y0, x1, y1), mask)

    _measure([paths[image] for image in images], probe, visit, "patches")
    return [found[image, column] for image, column, _ in wanted]


def _columns(store: Store) -> dict[str, slice]:
    """Return where the channels of each layer stand in channels.parquet."""
    layers = np.array(store.table("channels")["layer"].to_pylist())
    columns = {}
    for layer in dict.fromkeys(layers.tolist()):
        rows = np.flatnonzero(layers == layer)
        columns[layer] = slice(int(rows[0]), int(rows[-1]) + 1)
    return columns


def _measure(
    paths: Sequence[Path], probe: Probe, visit: Callable[[slice, str, Tensor], None], label: str
) -> None:
    with tqdm(total=len(paths), desc=label, unit=" pictures") as progress:
        for start in range(0, len(paths), _BATCH):
            views = [open_picture(path) for path in paths[start : start + _BATCH]]
            batch = probe.preprocessing.tensor(views).to(probe.device)

            def inner(
                part: slice, layer: str, mode: Mode, maps: Tensor, start: int = start
            ) -> None:
                if mode == "activation":
                    visit(slice(start + part.start, start + part.stop), layer, maps)

            targets = torch.full((len(views),), PREDICTED, device=probe.device)
            measure(probe.engine, batch, targets, inner)
            progress.update(len(views))
