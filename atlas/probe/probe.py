"""Responses of every channel to a sample of the stored pictures, and the patches at their peaks.

References are the best pictures only. To test what is said of a channel one needs the others as
well; the stored pictures are the references of all channels, so that most of them are none of
the one in question.
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
    peaks : ndarray
        int32 (n, channels, 2), row and column of the maximum.
    """

    images: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    peaks: npt.NDArray[np.int32]


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
    peaks = np.zeros((len(images), total, 2), np.int32)

    def visit(rows: slice, layer: str, maps: Tensor) -> None:
        best, place = maps.float().flatten(2).max(dim=2)
        values[rows, columns[layer]] = best.cpu().numpy()
        yx = np.unravel_index(place.cpu().numpy(), tuple(maps.shape[2:]))
        peaks[rows, columns[layer]] = np.stack(yx, axis=-1)

    _measure([paths[image] for image in images], probe, visit, "responses")
    return Responses(images, values, peaks)


def cut_patches(
    store: Store, probe: Probe, responses: Responses, wanted: Sequence[tuple[int, int]]
) -> list[Patch]:
    """Return the patch around the peak of a channel in a picture, for each pair of `wanted`.

    Parameters
    ----------
    store : Store
        The atlas that has the pictures.
    probe : Probe
        The network.
    responses : Responses
        From `measure_responses`.
    wanted : sequence of (int, int)
        Row of `responses`, and column (channel).
    """
    paths = store.pictures()
    rows = sorted({row for row, _ in wanted})
    columns = _columns(store)
    by_row: dict[int, list[int]] = {}
    for row, column in wanted:
        by_row.setdefault(row, []).append(column)
    found: dict[tuple[int, int], Patch] = {}
    size = probe.preprocessing.size

    def visit(part: slice, layer: str, maps: Tensor) -> None:
        inside = columns[layer]
        pairs = [
            (row, column)
            for row in rows[part]
            for column in by_row[row]
            if inside.start <= column < inside.stop
        ]
        if not pairs:
            return
        picture = torch.tensor([rows.index(row, part.start) - part.start for row, _ in pairs])
        channel = torch.tensor([column - inside.start for _, column in pairs])
        picked = maps[picture, channel].float().cpu()
        peak = torch.from_numpy(np.array([responses.peaks[pair] for pair in pairs], np.int64))
        boxes = localise.boxes(picked, peak, probe.fields[layer], size)
        masks = localise.masks(picked, boxes, probe.fields[layer], size).numpy()
        for (row, column), box, mask in zip(pairs, boxes.tolist(), masks, strict=True):
            x0, y0, x1, y1 = box
            path = paths[responses.images[row]]
            found[row, column] = Patch(path, (x0, y0, x1, y1), mask)

    _measure([paths[responses.images[row]] for row in rows], probe, visit, "where")
    return [found[pair] for pair in wanted]


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
