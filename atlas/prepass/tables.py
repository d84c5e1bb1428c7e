"""From the running results of the pre-pass to the tables of the atlas."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atlas.prepass import bands, classpictures, products, reductions
from atlas.prepass.bands import Chosen, Integers
from atlas.prepass.tally import LayerTally, RelevanceTally, Tally, references
from atlas.prepass.topk import EMPTY
from atlas.store import BANDS, Store

TOP_CLASSES = 10
"""How many classes channels.parquet names for each channel."""

CORRELATED = 10
"""How many channels of a kind it names as those that rise and fall with each."""

PER_OCTAVE = 4
"""Bins of the histograms in channels.parquet."""


def write(store: Store, tally: Tally, classes: Sequence[str]) -> None:
    """Write images, references, bands, channels and classes, and the samples if there are some.

    Pictures that are references come first in images.parquet, then those of bands alone; both in
    the order of the data.

    Parameters
    ----------
    store : Store
        Where to.
    tally : Tally
        Of the finished pass.
    classes : sequence of str
        Names of the network's outputs.
    """
    referenced = references(tally)
    chosen = _chosen(tally) if referenced else {}  # without any the atlas is refused
    banded = {index for some in chosen.values() for index in some.index.tolist()}
    samples = [*sorted(referenced), *sorted(banded - referenced)]
    rows = {index: row for row, index in enumerate(samples)}
    seen = [tally.seen[index] for index in samples]
    images: dict[str, list[Any]] = {
        "image": list(range(len(samples))),
        "index": samples,
        "key": [picture.key for picture in seen],
        "label": [picture.label for picture in seen],
        "predicted": [picture.predicted for picture in seen],
    }
    store.write_table("images", images)
    store.write_table("references", _references(tally, rows, images))
    store.write_table("bands", _bands(tally, rows, chosen))
    store.write_table("channels", _channels(tally))
    store.write_table("classes", _classes(tally, classes))
    if tally.samples:
        store.write_table("samples", classpictures.columns(classpictures.lowest(tally.samples)))


def conservation(tally: Tally) -> dict[str, float]:
    """Return for each layer the relevance that passes it, as a share of all initial relevance.

    One where the rules conserve relevance and all paths lead through the layer; less on a
    branch, and what biases and stabilisers absorbed is missing.
    Empty for a pass without relevance.
    """
    initial = tally.logit_abs_sum.value().item()
    return {
        name: round(layer.relevance.relevance_sum.value().item() / initial, 6) if initial else 0.0
        for name, layer in tally.layers.items()
        if layer.relevance is not None
    }


def _references(
    tally: Tally, rows: dict[int, int], images: dict[str, list[Any]]
) -> dict[str, list[Any]]:
    names = ("layer", "channel", "mode", "rank", "score", "image", "label", "predicted", "y", "x")
    table: dict[str, list[Any]] = {name: [] for name in names}
    for layer, results in tally.layers.items():
        scores = {mode: top.scores.tolist() for mode, top in results.top.items()}
        indices = {mode: top.indices.tolist() for mode, top in results.top.items()}
        peaks = {mode: top.peaks.tolist() for mode, top in results.top.items()}
        for channel in range(len(results.maximum)):
            for mode in tally.modes:
                for rank, index in enumerate(indices[mode][channel]):
                    if index not in rows:  # fewer pictures than k spoke
                        break
                    row = rows[index]
                    y, x = divmod(peaks[mode][channel][rank], results.width)
                    values = (
                        layer, channel, mode, rank, scores[mode][channel][rank], row,
                        images["label"][row], images["predicted"][row], y, x,
                    )  # fmt: skip
                    for name, value in zip(names, values, strict=True):
                        table[name].append(value)
    return table


def _chosen(tally: Tally) -> dict[str, Chosen]:
    """Return the pictures of the bands of each layer's channels."""
    if not tally.per_band:
        return {}
    known = np.array(sorted(tally.seen), np.int64)
    numbers = np.array([tally.seen[index].drawn for index in known.tolist()], np.int64)

    def drawn(indices: Integers) -> Integers:
        place = np.searchsorted(known, indices).clip(max=len(known) - 1)
        return np.where(indices == EMPTY, EMPTY, numbers[place])

    return {
        name: bands.choose(layer.bands, layer.histogram, tally.k, tally.per_band, drawn)
        for name, layer in tally.layers.items()
        if layer.bands is not None
    }


def _bands(
    tally: Tally, rows: dict[int, int], chosen: Mapping[str, Chosen]
) -> dict[str, list[Any]]:
    names = ("layer", "channel", "band", "image", "activation", "weight", "y", "x")
    table: dict[str, list[Any]] = {name: [] for name in names}
    for layer, some in chosen.items():
        y, x = np.divmod(some.peak, tally.layers[layer].width)
        columns: dict[str, list[Any]] = {
            "layer": [layer] * len(some.index),
            "channel": some.channel.tolist(),
            "band": [BANDS[band] for band in some.band.tolist()],
            "image": [rows[index] for index in some.index.tolist()],
            "activation": some.value.tolist(),
            "weight": some.weight.tolist(),
            "y": y.tolist(),
            "x": x.tolist(),
        }
        for name, values in columns.items():
            table[name].extend(values)
    return table


def _channels(tally: Tally) -> dict[str, list[Any]]:
    table: dict[str, list[Any]] = {}
    first = 0  # row of the layer's first channel
    names = list(tally.layers)
    for number, (layer, results) in enumerate(tally.layers.items()):
        count = len(results.maximum)
        columns: dict[str, list[Any]] = {
            "layer": [layer] * count,
            "channel": list(range(count)),
            "images": [tally.images] * count,
            **_activation(tally, results, count),
            **_histogram(results),
            **_relevance(tally, results.relevance, count),
            **_correlated(tally, names, number, first),
        }
        for name, values in columns.items():
            table.setdefault(name, []).extend(values)
        first += count
    return table


def _activation(tally: Tally, results: LayerTally, count: int) -> dict[str, list[Any]]:
    """Return the means over pictures; nothing is known where references were imported."""
    if not tally.images:
        return {name: [None] * count for name in ("act_mean", "act_max", "act_density")}
    values = tally.images * results.height * results.width
    return {
        "act_mean": (results.mean_sum.value() / tally.images).tolist(),
        "act_max": results.maximum.tolist(),
        "act_density": (results.positive_count.double() / values).tolist(),
    }


def _histogram(results: LayerTally) -> dict[str, list[Any]]:
    """Return how many pictures have which largest output, for the bins that any picture is in.

    Pictures without a positive output are in no bin.
    """
    every, edges, counts = reductions.edges(PER_OCTAVE), [], []
    for row in reductions.coarser(results.histogram, PER_OCTAVE)[:, 1:].tolist():
        filled = [number for number, pictures in enumerate(row) if pictures]
        start, stop = (filled[0], filled[-1] + 1) if filled else (0, 0)
        counts.append(row[start:stop])
        edges.append(every[start : stop + 1] if filled else [])
    return {"act_edges": edges, "act_counts": counts}


def _correlated(
    tally: Tally, names: Sequence[str], number: int, first: int
) -> dict[str, list[Any]]:
    """Return the channels that rise and fall with those of a layer, and the correlations.

    Parameters
    ----------
    tally : Tally
        Of the finished pass.
    names : sequence of str
        The layers, in the order of the forward pass.
    number : int
        Which of them.
    first : int
        Row of its first channel.
    """
    mine = tally.layers[names[number]]
    count = len(mine.maximum)
    squares = mine.product_sum.diagonal()
    within = products.correlation(
        mine.product_sum, (mine.gridded_sum,) * 2, (squares,) * 2, tally.images or 1
    )
    within.fill_diagonal_(0)
    lower = upper = torch.zeros(count, 0)
    below = first
    if number and tally.images:
        before = tally.layers[names[number - 1]]
        below -= len(before.maximum)
        lower = _passing(before, mine, tally.images).T
    if number + 1 < len(names) and tally.images:
        upper = _passing(mine, tally.layers[names[number + 1]], tally.images)
    return {
        **_best("together", within, first),
        **_best("lower", lower, below),
        **_best("upper", upper, first + count),
    }


def _passing(lower: LayerTally, upper: LayerTally, images: int) -> Tensor:
    """Return the correlations of the relevance shares of two layers, (lower, upper channels)."""
    one, other = lower.relevance, upper.relevance
    if one is None or other is None:
        return torch.zeros(len(lower.maximum), len(upper.maximum))
    sums = one.gridded_sum, other.gridded_sum
    squares = one.gridded_square_sum, other.gridded_square_sum
    return products.correlation(other.lower_product_sum, sums, squares, images)


def _best(name: str, correlations: Tensor, first: int) -> dict[str, list[Any]]:
    """Return for each row the columns with the highest correlation above 0, as rows of channels."""
    order = correlations.argsort(dim=1, descending=True, stable=True)[:, :CORRELATED]
    values = correlations.gather(1, order).tolist()
    kept = [[value for value in row if value > 0] for row in values]
    rows = [row[: len(some)] for row, some in zip((order + first).tolist(), kept, strict=True)]
    return {name: rows, f"{name}_correlations": kept}


def _relevance(tally: Tally, results: RelevanceTally | None, count: int) -> dict[str, list[Any]]:
    """Return the columns that need relevance; nothing is known of them without it."""
    if results is None or not tally.images:
        none: list[Any] = [None] * count
        empty: list[list[Any]] = [[]] * count
        return {
            "rel_mean": none, "rel_abs_mean": none, "top_classes": empty, "top_class_shares": empty
        }  # fmt: skip
    best, classes = _top_classes(tally, results)
    return {
        "rel_mean": (results.share_sum.value() / tally.images).tolist(),
        "rel_abs_mean": (results.share_abs_sum.value() / tally.images).tolist(),
        "top_classes": classes,
        "top_class_shares": best,
    }


def _top_classes(
    tally: Tally, results: RelevanceTally
) -> tuple[list[list[float]], list[list[int]]]:
    """Return for each channel the largest mean shares among the classes seen, and whose."""
    present = tally.class_count.nonzero()[:, 0]
    means = results.class_share_sum.value()[present] / tally.class_count[present, None]
    order = means.argsort(dim=0, descending=True, stable=True)[:TOP_CLASSES]
    return means.gather(0, order).T.tolist(), present[order].T.tolist()


def _classes(tally: Tally, names: Sequence[str]) -> dict[str, list[Any]]:
    known = [layer.relevance for layer in tally.layers.values() if layer.relevance is not None]
    shares: list[Any] = [None] * len(names)
    if known:
        # Layer by layer: of all at once there are gigabytes where classes are many.
        counts = tally.class_count[:, None].clamp(min=1)
        widths = [results.class_share_sum.total.shape[1] for results in known]
        means = torch.empty(len(names), sum(widths))
        for part, results in zip(torch.split(means, widths, dim=1), known, strict=True):
            part.copy_(results.class_share_sum.value() / counts)
        shares = list(means.numpy())
    table: dict[str, list[Any]] = {
        "label": list(range(len(names))),
        "name": list(names),
        "count": tally.class_count.tolist(),
        "shares": shares,
    }
    fired = [layer.class_fired_sum for layer in tally.layers.values()]
    if tally.fired_by_class and fired:
        counts = tally.class_count[:, None].clamp(min=1)
        sums = torch.cat([one.value() for one in fired if one is not None], dim=1)
        table["fired"] = list((sums / counts).float().numpy())
    return table
