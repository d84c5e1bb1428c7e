"""The influence of hue, saturation, contrast, texture and shape on every channel.

A picture is changed once for all channels that have it among their references, and pictures that
many channels share are chosen first, so that few are run.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from atlas.influences.changes import CHANGES
from atlas.model.preprocessing import Preprocessor
from atlas.relevance.engine import PREDICTED, Engine, measure
from atlas.store import KINDS_OF_CHANGE, Mode, Store
from atlas.store.checks import channel_rows
from atlas.store.pictures import read_picture

LEAST_SPREAD = 0.05
"""Added to the spread of a layer's drops: where all channels drop alike, none stands out."""

AT_ONCE = 8
"""Pictures that are changed and run together."""

Numbers = npt.NDArray[np.float64]

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def influence_columns(
    store: Store,
    engine: Engine,
    preprocessing: Preprocessor,
    device: torch.device,
    references: int,
    seed: int,
) -> dict[str, list[Any]]:
    """Return the columns of channels.parquet that say what channels react to.

    Parameters
    ----------
    store : Store
        An atlas whose pictures are stored, or the part of one that has its factors.
    engine : Engine
        What gives its channels' activations.
    preprocessing : Preprocessor
        How the network takes pictures.
    device : torch.device
        Where it runs.
    references : int
        Pictures for each channel.
    seed : int
        Seed of the shuffles.
    """
    table = store.table("channels", ["layer", "channel"])
    layers = np.array(table["layer"].to_pylist())
    chosen = chosen_references(store, references)
    dropped = drops(
        store, engine, preprocessing, device, chosen, CHANGES, seed, len(layers), layers
    )
    found = dict(zip(KINDS_OF_CHANGE, dropped.T, strict=True))
    relative = {kind: relative_to_layer(values, layers) for kind, values in found.items()}
    return {"influence": _structs(found), "influence_relative": _structs(relative)}


def chosen_references(store: Store, count: int) -> dict[int, list[int]]:
    """Return pictures by their row, and the rows of the channels that each is measured for.

    Each channel gets `count` of its references by activation (by relevance where there are no
    others), or all if it has fewer; the fewest pictures that a greedy choice finds.
    """
    table = store.table("references", ["layer", "channel", "mode", "image"])
    modes = np.array(table["mode"].to_pylist())
    mode = "activation" if (modes == "activation").any() else "relevance"
    rows = channel_rows(table, store.table("channels", ["layer", "channel"]))[modes == mode]
    images = table["image"].to_numpy()[modes == mode]
    of: dict[int, set[int]] = defaultdict(set)
    for row, image in zip(rows.tolist(), images.tolist(), strict=True):
        of[image].add(row)
    missing = {
        row: min(count, number)
        for row, number in zip(*np.unique(rows, return_counts=True), strict=True)
    }
    heap = [(-len(channels), image) for image, channels in of.items()]
    heapq.heapify(heap)
    chosen: dict[int, list[int]] = {}
    while heap:
        known, image = heapq.heappop(heap)
        wanted = sorted(row for row in of[image] if missing[row] > 0)
        if len(wanted) < -known:
            if wanted:
                heapq.heappush(heap, (-len(wanted), image))
            continue
        chosen[image] = wanted
        for row in wanted:
            missing[row] -= 1
    return dict(sorted(chosen.items()))


def drops(
    store: Store,
    engine: Engine,
    preprocessing: Preprocessor,
    device: torch.device,
    chosen: Mapping[int, Sequence[int]],
    changes: Mapping[str, Change],
    seed: int,
    count: int,
    layers: npt.NDArray[np.str_],
) -> Numbers:
    """Return by how much each channel's activation drops on its pictures when they are changed.

    Parameters
    ----------
    store, engine, preprocessing, device, seed
        What `influence_columns` takes.
    chosen : mapping
        What `chosen_references` gives.
    changes : mapping
        From a picture and a source of random numbers to a changed one.
    count : int
        How many channels there are.
    layers : ndarray
        The layer of each.

    Returns
    -------
    ndarray
        float64 (channels, changes): 1 - (sum of the largest outputs on changed pictures) / (that
        on the pictures as they are), NaN where a channel has no positive output on its pictures.
    """
    first = {layer: int(np.argmax(layers == layer)) for layer in dict.fromkeys(layers.tolist())}
    paths, images = store.pictures(), list(chosen)
    kinds = 1 + len(changes)
    sums = np.zeros((count, kinds))
    with tqdm(total=len(images), desc="influences", unit=" pictures") as progress:
        for start in range(0, len(images), AT_ONCE):
            part = images[start : start + AT_ONCE]
            views = []
            for image in part:
                picture = read_picture(paths[image])
                random = np.random.default_rng([seed, image])
                views += [picture, *(change(picture, random) for change in changes.values())]
            batch = preprocessing.tensor(views).to(device)

            def visit(
                at: slice, layer: str, mode: Mode, maps: Tensor, part: list[int] = part
            ) -> None:
                if mode != "activation":
                    return
                largest = maps.float().flatten(2).amax(dim=2).clamp(min=0).cpu().numpy()
                stop = first[layer] + largest.shape[1]
                for number, values in zip(range(at.start, at.stop), largest, strict=True):
                    rows = chosen[part[number // kinds]]
                    mine = [row for row in rows if first[layer] <= row < stop]
                    sums[mine, number % kinds] += values[np.array(mine, int) - first[layer]]

            targets = torch.full((len(views),), PREDICTED, device=device)
            measure(engine, batch, targets, visit)
            progress.update(len(part))
    whole = sums[:, :1]
    found: Numbers = 1 - np.divide(sums[:, 1:], whole, out=np.full_like(sums[:, 1:], np.nan),
                                   where=whole > 0)  # fmt: skip
    return found


def relative_to_layer(values: Numbers, layers: npt.NDArray[np.str_]) -> Numbers:
    """Return how many spreads values lie above the median of their layer's.

    The spread is 1.4826 times the median deviation, which is the standard deviation of a normal
    distribution, and `LEAST_SPREAD`.
    """
    found = np.full(len(values), np.nan)
    for layer in dict.fromkeys(layers.tolist()):
        mine = (layers == layer) & ~np.isnan(values)
        if mine.any():
            middle = np.median(values[mine])
            spread = 1.4826 * np.median(np.abs(values[mine] - middle)) + LEAST_SPREAD
            found[mine] = (values[mine] - middle) / spread
    return found


def _structs(columns: Mapping[str, Numbers]) -> list[dict[str, float] | None]:
    """Return one structure a row; None where nothing is known."""
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return [None if any(np.isnan(row)) else dict(zip(columns, row, strict=True)) for row in rows]
