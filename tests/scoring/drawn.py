"""Channels drawn with a known share of pictures to respond to, and names of known quality."""

from typing import Any

import numpy as np
import numpy.typing as npt

from atlas.scoring.trials import KeptRange
from atlas.store import BANDS

EDGES = 2.0 ** (np.arange(-16, 17) / 4)
"""Edges of histograms, four to the octave, as in channels.parquet."""

PER_BAND = 6

SHARES = (0.004, 0.01, 0.1, 0.5)
"""Shares of all pictures above the lower borders of `top` and the bands after it."""

Floats = npt.NDArray[np.float64]


def channel(random: np.random.Generator, pictures: int, rate: float) -> Floats:
    """Return largest outputs: above half of the best for this share of the pictures.

    Of the others some respond weakly, and the channel is silent on the rest.
    """
    responding = max(round(rate * pictures), 8)
    strong = random.uniform(0.55, 1, responding)
    weak = random.uniform(-0.4, 0.4, pictures - responding) * random.random()
    return 8 * random.permutation(np.concatenate([strong, weak]))


def kept(activations: Floats, random: np.random.Generator) -> KeptRange:
    """Return what the pre-pass would keep: a few pictures of each band, and the histogram."""
    count = len(activations)
    order = np.argsort(-activations, kind="stable")
    positive = int((activations > 0).sum())
    borders = [0, *(max(round(share * count), 4) for share in SHARES), count]
    names = [n for n, name in enumerate(BANDS) if name in ("top", "99", "90", "50", "low")]
    parts: list[tuple[int, npt.NDArray[np.int64]]] = [
        (name, order[low : min(high, positive)])
        for name, low, high in zip(names, borders[:-1], borders[1:], strict=True)
    ]
    parts.append((BANDS.index("silent"), order[positive:]))
    rows: dict[str, list[Any]] = {"band": [], "image": [], "weight": []}
    for band, inside in parts:
        taken = random.permutation(inside)[:PER_BAND].tolist()
        rows["image"] += taken
        rows["band"] += [band] * len(taken)
        rows["weight"] += [len(inside) / max(len(taken), 1)] * len(taken)
    image = np.array(rows["image"], np.int64)
    counts = np.histogram(activations, EDGES)[0]
    return KeptRange(
        np.array(rows["band"], np.int64), image, activations[image], np.array(rows["weight"]),
        np.zeros((len(image), 2), np.int64), EDGES.tolist(), counts.tolist(), count,
    )  # fmt: skip


def precision_and_recall(
    activations: Floats, random: np.random.Generator, precision: float, recall: float
) -> npt.NDArray[np.bool_]:
    """Return which pictures a name fits that has this precision and recall."""
    positive = activations >= activations.max() / 2
    hits = random.permutation(np.flatnonzero(positive))[: max(round(recall * positive.sum()), 1)]
    alarms = min(round(len(hits) * (1 - precision) / precision), int((~positive).sum()))
    fits = np.zeros(len(activations), np.bool_)
    fits[hits] = True
    fits[random.permutation(np.flatnonzero(~positive))[:alarms]] = True
    return fits
