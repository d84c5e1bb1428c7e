"""The pre-pass: one pass over the data that measures every channel in both modes.

What it keeps is bounded by channels, classes and k, never by the number of pictures.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NoReturn

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from atlas import exactsum, topk
from atlas.data import Record
from atlas.errors import UserError
from atlas.exactsum import ExactSum
from atlas.images import BadImage
from atlas.preprocessing import Preprocessing
from atlas.recipe import Activation, Relevance
from atlas.relevance import PREDICTED, Engine, measure
from atlas.store import Mode
from atlas.topk import EMPTY, TopK

SHARE_BITS = 40
"""Shares lie in [-1, 1]: sums of 2**23 of them fit."""

VALUE_BITS = 24
"""Activations and flows: steps of 6e-8, sums up to 5e11."""

STABILISER = 1e-10
"""Added to the denominator of shares, as zennit-crp does."""

LISTED_SKIPS = 1000
"""How many skipped pictures are named; all are counted."""


@dataclass(frozen=True)
class Seen:
    """What is remembered of a picture while it is a reference of some channel."""

    key: str
    label: int | None
    predicted: int


@dataclass
class LayerTally:
    """Running results of one layer."""

    top: dict[Mode, TopK]
    height: int
    """Of a map."""
    width: int
    act_sum: ExactSum
    """Means over positions, (channels,)."""
    act_max: Tensor
    """(channels,)."""
    positive: Tensor
    """Positions with a positive output, int64 (channels,)."""
    rel_sum: ExactSum
    """Shares, (channels,)."""
    rel_abs_sum: ExactSum
    """|share|, (channels,)."""
    class_sum: ExactSum
    """Shares by class, (classes, channels)."""
    flow: ExactSum
    """Relevance that passes the layer, with the sign of the target's logit, ()."""


@dataclass
class Tally:
    """Running results of the pass."""

    k: int
    images: int = 0
    labelled: int = 0
    correct: int = 0
    class_count: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    """Pictures whose relevance was computed for each class."""
    initial: ExactSum = field(default_factory=lambda: exactsum.zeros(bits=VALUE_BITS))
    """|logit| of the targets, ()."""
    layers: dict[str, LayerTally] = field(default_factory=dict)
    seen: dict[int, Seen] = field(default_factory=dict)
    """By index of the sample."""
    skipped: int = 0
    skips: list[tuple[str, str]] = field(default_factory=list)
    """Key and reason of the first `LISTED_SKIPS`."""


@dataclass(frozen=True)
class _Measures:
    """What one batch says about one layer; each (pictures, channels)."""

    scores: dict[Mode, Tensor]
    peaks: dict[Mode, Tensor]
    act_mean: Tensor
    act_max: Tensor
    positive: Tensor
    relevance: Tensor
    height: int
    width: int


def image_scores(maps: Tensor, aggregate: str, normalize: bool) -> tuple[Tensor, Tensor]:
    """Score each channel in each picture.

    Parameters
    ----------
    maps : Tensor
        (pictures, channels, height, width).
    aggregate : {"max", "sum"}
        Over positions.
    normalize : bool
        Whether to divide by the sum of |score| over the channels of the layer.

    Returns
    -------
    scores : Tensor
        (pictures, channels).
    peaks : Tensor
        int64 (pictures, channels), flat position of the largest value.
    """
    flat = maps.flatten(2)
    largest, peaks = flat.max(dim=2)
    scores = largest if aggregate == "max" else flat.sum(dim=2)
    return (shares(scores) if normalize else scores), peaks


def shares(scores: Tensor) -> Tensor:
    """Divide (pictures, channels) by the sum of |score| over the channels of the layer."""
    return scores / (scores.abs().sum(dim=1, keepdim=True) + STABILISER)


def run(
    records: Iterable[Record],
    count: int | None,
    outputs: Sequence[int | None] | None,
    engine: Engine,
    preprocessing: Preprocessing,
    activation: Activation,
    relevance: Relevance,
    k: int,
    batch_size: int,
    device: torch.device,
) -> Tally:
    """Stream `records` through `engine` and keep what the tables need.

    Parameters
    ----------
    records : iterable of Record
        The pictures. Unreadable ones are skipped, counted and listed.
    count : int or None
        How many there are, for the progress bar; None if not known.
    outputs : sequence of (int or None), or None
        The network's output for every label of the data; None if there are no labels.
    engine : Engine
        What computes activation and relevance maps.
    preprocessing : Preprocessing
        From pictures to the network's input.
    activation, relevance : Activation, Relevance
        How references are scored.
    k : int
        References of each channel in each mode.
    batch_size : int
        Pictures that are read together.
    device : torch.device
        Where the network is.

    Raises
    ------
    UserError
        No picture could be read, or the network returned something that is not finite.
    """
    tally = Tally(k)
    with tqdm(total=count, desc="pre-pass", unit=" images") as progress:
        for batch in _batches(_readable(records, tally, progress), batch_size):
            keys = [record for record, _ in batch]
            views = [preprocessing.view(picture) for _, picture in batch]
            labels = [_output(record.label, outputs) for record in keys]
            known = [-1 if label is None else label for label in labels]
            wanted = known if relevance.target == "label" else [PREDICTED] * len(known)
            targets = torch.tensor(wanted, device=device)
            images = preprocessing.tensor(views).to(device)
            logits, measures = _measure_batch(engine, images, targets, activation, relevance)
            _add(tally, keys, labels, targets.cpu(), logits.cpu(), measures)
            progress.update(len(batch))
    if not tally.images:
        first = f"; the first: {': '.join(tally.skips[0])}" if tally.skips else ""
        raise UserError(f"no picture of the data could be read ({tally.skipped} skipped{first})")
    return tally


def _readable(
    records: Iterable[Record], tally: Tally, progress: "tqdm[NoReturn]"
) -> Iterator[tuple[Record, Image.Image]]:
    for record in records:
        try:
            yield record, record.picture()
        except BadImage as error:
            tally.skipped += 1
            if len(tally.skips) < LISTED_SKIPS:
                tally.skips.append((record.key, str(error)))
            progress.update(1)


def _batches(
    readable: Iterator[tuple[Record, Image.Image]], size: int
) -> Iterator[list[tuple[Record, Image.Image]]]:
    while batch := list(islice(readable, size)):
        yield batch


def _output(label: int | None, outputs: Sequence[int | None] | None) -> int | None:
    if label is None or outputs is None or label >= len(outputs):
        return None
    return outputs[label]


def _measure_batch(
    engine: Engine, images: Tensor, targets: Tensor, activation: Activation, relevance: Relevance
) -> tuple[Tensor, dict[str, _Measures]]:
    """Run the engine on a batch and reduce every map to numbers as soon as it arises."""
    parts: dict[tuple[str, Mode], list[list[Tensor]]] = {}
    sizes: dict[str, tuple[int, int]] = {}

    def visit(_part: slice, layer: str, mode: Mode, maps: Tensor) -> None:
        rule = activation if mode == "activation" else relevance
        scores, peaks = image_scores(maps, rule.aggregate, rule.normalize)
        flat = maps.flatten(2)
        sizes[layer] = (maps.shape[2], maps.shape[3])
        reduced = [scores, peaks]
        if mode == "activation":
            reduced += [flat.mean(dim=2), flat.amax(dim=2), (flat > 0).sum(dim=2)]
        else:
            reduced += [flat.sum(dim=2)]
        parts.setdefault((layer, mode), []).append([tensor.cpu() for tensor in reduced])

    logits = measure(engine, images, targets, visit)
    measures = {}
    for layer, (height, width) in sizes.items():
        act = [torch.cat(column) for column in zip(*parts[layer, "activation"], strict=True)]
        rel = [torch.cat(column) for column in zip(*parts[layer, "relevance"], strict=True)]
        measures[layer] = _Measures(
            {"activation": act[0], "relevance": rel[0]},
            {"activation": act[1], "relevance": rel[1]},
            act[2], act[3], act[4], rel[2], height, width,
        )  # fmt: skip
    return logits, measures


def _add(
    tally: Tally,
    records: Sequence[Record],
    labels: Sequence[int | None],
    targets: Tensor,
    logits: Tensor,
    measures: dict[str, _Measures],
) -> None:
    """Add one batch to the running results."""
    keys = ", ".join(record.key for record in records[:3])
    if not torch.isfinite(logits).all():
        raise UserError(f"the network's output is not finite on a batch with {keys}")
    predicted = logits.argmax(dim=1)
    classes = torch.where(targets == PREDICTED, predicted, targets)
    initial = logits.gather(1, classes[:, None])[:, 0]
    indices = torch.tensor([record.index for record in records])

    for layer, measured in measures.items():
        for mode, scores in measured.scores.items():
            if not torch.isfinite(scores).all():
                raise UserError(f"{mode} of layer {layer} is not finite on a batch with {keys}")
        if layer not in tally.layers:
            tally.layers[layer] = _empty_layer(measured, logits.shape[1], tally.k)
        _add_layer(tally.layers[layer], measured, indices, classes, initial)

    tally.images += len(records)
    tally.initial.add_all(initial.abs())
    tally.class_count = torch.bincount(classes, minlength=logits.shape[1]) + (
        tally.class_count if len(tally.class_count) else 0
    )
    for record, label, guess in zip(records, labels, predicted.tolist(), strict=True):
        tally.seen[record.index] = Seen(record.key, label, guess)
        tally.labelled += label is not None
        tally.correct += label == guess
    _forget(tally)


def _empty_layer(measured: _Measures, classes: int, k: int) -> LayerTally:
    channels = measured.act_max.shape[1]
    return LayerTally(
        {mode: topk.empty(channels, k) for mode in measured.scores},
        measured.height,
        measured.width,
        exactsum.zeros(channels, bits=VALUE_BITS),
        torch.full((channels,), -torch.inf),
        torch.zeros(channels, dtype=torch.int64),
        exactsum.zeros(channels, bits=SHARE_BITS),
        exactsum.zeros(channels, bits=SHARE_BITS),
        exactsum.zeros(classes, channels, bits=SHARE_BITS),
        exactsum.zeros(bits=VALUE_BITS),
    )


def _add_layer(
    tally: LayerTally, measured: _Measures, indices: Tensor, classes: Tensor, initial: Tensor
) -> None:
    for mode, scores in measured.scores.items():
        offered = topk.offer(scores, indices, measured.peaks[mode])
        tally.top[mode] = topk.merge(tally.top[mode], offered)
    share = shares(measured.relevance)
    tally.act_sum.add_all(measured.act_mean)
    tally.act_max = torch.maximum(tally.act_max, measured.act_max.amax(dim=0))
    tally.positive += measured.positive.sum(dim=0)
    tally.rel_sum.add_all(share)
    tally.rel_abs_sum.add_all(share.abs())
    tally.class_sum.add_rows(classes, share)
    tally.flow.add_all(measured.relevance.sum(dim=1) * initial.sign())


def _forget(tally: Tally) -> None:
    """Drop the pictures that are no longer a reference of any channel."""
    limit = 2 * sum(2 * layer.act_max.numel() * tally.k for layer in tally.layers.values())
    if len(tally.seen) > limit:
        kept = references(tally)
        tally.seen = {index: seen for index, seen in tally.seen.items() if index in kept}


def references(tally: Tally) -> set[int]:
    """Return the indices of the samples that are references now."""
    tops = [top.indices for layer in tally.layers.values() for top in layer.top.values()]
    return {index for indices in tops for index in indices.flatten().tolist()} - {EMPTY}
