"""From the running results of the pre-pass to the tables of the atlas."""

from collections.abc import Sequence
from typing import Any

import torch

from atlas.prepass.tally import LayerTally, RelevanceTally, Tally, references
from atlas.store import Store

TOP_CLASSES = 10
"""How many classes channels.parquet names for each channel."""


def write(store: Store, tally: Tally, classes: Sequence[str]) -> None:
    """Write images, references, channels and classes.

    Parameters
    ----------
    store : Store
        Where to.
    tally : Tally
        Of the finished pass.
    classes : sequence of str
        Names of the network's outputs.
    """
    samples = sorted(references(tally))
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
    store.write_table("channels", _channels(tally))
    store.write_table("classes", _classes(tally, classes))


def conservation(tally: Tally) -> dict[str, float]:
    """Return for each layer the relevance that passes it, as a share of all initial relevance.

    One where the rules conserve relevance and all paths lead through the layer; less on a
    branch, and what biases and stabilisers absorbed is missing.
    Empty for a pass without relevance.
    """
    initial = tally.initial.value().item()
    return {
        name: round(layer.relevance.flow.value().item() / initial, 6) if initial else 0.0
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
        for channel in range(len(results.act_max)):
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


def _channels(tally: Tally) -> dict[str, list[Any]]:
    table: dict[str, list[Any]] = {}
    for layer, results in tally.layers.items():
        count = len(results.act_max)
        columns: dict[str, list[Any]] = {
            "layer": [layer] * count,
            "channel": list(range(count)),
            "images": [tally.images] * count,
            **_activation(tally, results, count),
            **_relevance(tally, results.relevance, count),
        }
        for name, values in columns.items():
            table.setdefault(name, []).extend(values)
    return table


def _activation(tally: Tally, results: LayerTally, count: int) -> dict[str, list[Any]]:
    """Return the means over pictures; nothing is known where references were imported."""
    if not tally.images:
        return {name: [None] * count for name in ("act_mean", "act_max", "act_density")}
    values = tally.images * results.height * results.width
    return {
        "act_mean": (results.act_sum.value() / tally.images).tolist(),
        "act_max": results.act_max.tolist(),
        "act_density": (results.positive.double() / values).tolist(),
    }


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
        "rel_mean": (results.rel_sum.value() / tally.images).tolist(),
        "rel_abs_mean": (results.rel_abs_sum.value() / tally.images).tolist(),
        "top_classes": classes,
        "top_class_shares": best,
    }


def _top_classes(
    tally: Tally, results: RelevanceTally
) -> tuple[list[list[float]], list[list[int]]]:
    """Return for each channel the largest mean shares among the classes seen, and whose."""
    present = tally.class_count.nonzero()[:, 0]
    means = results.class_sum.value()[present] / tally.class_count[present, None]
    order = means.argsort(dim=0, descending=True, stable=True)[:TOP_CLASSES]
    return means.gather(0, order).T.tolist(), present[order].T.tolist()


def _classes(tally: Tally, names: Sequence[str]) -> dict[str, list[Any]]:
    known = [layer.relevance for layer in tally.layers.values() if layer.relevance is not None]
    shares: list[Any] = [None] * len(names)
    if known:
        sums = torch.cat([results.class_sum.value() for results in known], dim=1)
        shares = list((sums / tally.class_count[:, None].clamp(min=1)).float().numpy())
    return {
        "label": list(range(len(names))),
        "name": list(names),
        "count": tally.class_count.tolist(),
        "shares": shares,
    }
