"""Running results of the pre-pass: everything that the tables need of the pictures so far.

Sums are exact and reservoirs have a total order, so a tally depends only on which pictures
went into it: not on batches, order, interruptions or how many processes shared the work.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from atlas.data.images import kind_of
from atlas.errors import UserError
from atlas.prepass import exactsum, products, topk
from atlas.prepass.exactsum import ExactSum, RangeError
from atlas.prepass.reductions import BINS, Reduce, bins, reduce
from atlas.prepass.topk import EMPTY, TopK
from atlas.recipe import Activation, Relevance
from atlas.store import MODES, Mode

SHARE_BITS = 40
"""Shares lie in [-1, 1]: sums of 2**22 of them fit, and of more where none is always near 1."""

VALUE_BITS = 24
"""Activations and flows: steps of 6e-8, sums up to 2e11."""

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
class RelevanceTally:
    """Running results of one layer that need its relevance."""

    rel_sum: ExactSum
    """Shares, (channels,)."""
    rel_abs_sum: ExactSum
    """|share|, (channels,)."""
    class_sum: ExactSum
    """Shares by class, (classes, channels)."""
    flow: ExactSum
    """Relevance that passes the layer, with the sign of the target's logit, ()."""
    grid_sum: Tensor
    """Gridded shares, int64 (channels,); see `products`."""
    squares: Tensor
    """Of the gridded shares, int64 (channels,)."""
    below: Tensor
    """Gridded shares times those of the layer before, int64 (its channels, channels)."""


@dataclass
class LayerTally:
    """Running results of one layer."""

    height: int
    """Of a map."""
    width: int
    top: dict[Mode, TopK]
    """For each mode of the pass."""
    act_sum: ExactSum
    """Means over positions, (channels,)."""
    act_max: Tensor
    """(channels,)."""
    positive: Tensor
    """Positions with a positive output, int64 (channels,)."""
    histogram: Tensor
    """Pictures by the bin of their largest output, int64 (channels, BINS)."""
    grid_sum: Tensor
    """Gridded shares of the largest outputs of a picture, int64 (channels,); see `products`."""
    together: Tensor
    """Gridded shares times each other, int64 (channels, channels)."""
    relevance: RelevanceTally | None
    """None in a pass without relevance."""


@dataclass
class Tally:
    """Running results of the pass."""

    k: int
    outputs: int
    """Classes of the network."""
    modes: tuple[Mode, ...] = MODES
    """By which references are chosen."""
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
    skips: list[tuple[int, str, str]] = field(default_factory=list)
    """Index, key and reason of the first `LISTED_SKIPS`."""
    reasons: dict[str, int] = field(default_factory=dict)
    """How many were skipped for a reason of each kind."""

    def __post_init__(self) -> None:
        if not len(self.class_count):
            self.class_count = torch.zeros(self.outputs, dtype=torch.int64)


def shares(scores: Tensor) -> Tensor:
    """Divide (pictures, channels) by the sum of |score| over the channels of the layer."""
    return scores / (scores.abs().sum(dim=1, keepdim=True) + STABILISER)


@dataclass(frozen=True)
class BatchTally:
    """One batch on its way into a tally.

    `visit` takes the maps of a layer as they arise and keeps nothing as large as they are;
    `finish` adds what is known only when all maps were seen.
    """

    tally: Tally
    activation: Activation
    relevance: Relevance
    indices: Tensor
    """Of the samples, int64 (pictures,)."""
    keys: list[str]
    reduce: Reduce = reduce
    sums: dict[str, list[Tensor]] = field(default_factory=dict)
    """Relevance summed over positions, by layer: (pictures of a part, channels) each."""

    def visit(self, part: slice, layer: str, mode: Mode, maps: Tensor) -> None:
        """Add the maps (pictures, channels, height, width) of a part of the batch."""
        flat = maps.flatten(2)
        rule = self.activation if mode == "activation" else self.relevance
        largest, total, positive = self.reduce(maps, mode == "activation")
        values = largest if rule.aggregate == "max" else total
        scores = shares(values) if rule.normalize else values
        if not torch.isfinite(scores).all():
            keys = ", ".join(self.keys[part][:3])
            raise UserError(f"{mode} of layer {layer} is not finite on a batch with {keys}")
        if layer not in self.tally.layers:
            self.tally.layers[layer] = empty_layer(maps, self.tally)
        tally = self.tally.layers[layer]
        indices = self.indices[part].to(maps.device)
        topk.update(tally.top[mode], scores, indices, lambda *some: _peaks(flat, *some))
        if positive is not None:
            with _in_range(layer, "activation", self.keys[part]):
                tally.act_sum.add_all(total / flat.shape[2])
            tally.act_max = torch.maximum(tally.act_max, largest.amax(dim=0))
            tally.positive += positive.sum(dim=0)
            found = bins(largest).T
            tally.histogram.scatter_add_(1, found, torch.ones_like(found))
            fired = products.gridded(shares(largest.clamp(min=0)))
            tally.grid_sum += fired.sum(dim=0).long()
            with _in_range(layer, "activation", self.keys[part]):
                # Which bounds the products of two shares, of which none is larger than 1.
                exactsum.check(tally.grid_sum.double() * 2.0**products.BITS)
            tally.together += products.products(fired, fired)
        else:
            self.sums.setdefault(layer, []).append(total)

    def finish(self, labels: list[int | None], classes: Tensor, logits: Tensor) -> None:
        """Add what the logits tell.

        Parameters
        ----------
        labels : list of (int or None)
            The network's output that is right for each picture, where that is known.
        classes : Tensor
            int64 (pictures,), the classes whose relevance was computed.
        logits : Tensor
            (pictures, classes).
        """
        tally = self.tally
        if not torch.isfinite(logits).all():
            keys = ", ".join(self.keys[:3])
            raise UserError(f"the network's output is not finite on a batch with {keys}")
        with_relevance = "relevance" in tally.modes
        if with_relevance and (unreached := tally.layers.keys() - self.sums.keys()):
            raise UserError(
                f"no relevance reaches layer {min(unreached)}: it does not lead to the network's "
                "output; leave it out of model.layers"
            )
        initial = logits.float().gather(1, classes[:, None])[:, 0]
        gridded: dict[str, Tensor] = {}
        for layer, parts in self.sums.items():
            relevance, results = torch.cat(parts), tally.layers[layer].relevance
            assert results is not None, "a pass with relevance"
            share = shares(relevance)
            with _in_range(layer, "relevance", self.keys):
                # The sum of sizes bounds that of each class, and the sums of products.
                results.rel_abs_sum.add_all(share.abs())
                results.flow.add_all(relevance.sum(dim=1) * initial.sign())
            results.rel_sum.add_all(share)
            results.class_sum.add_rows(classes, share)
            gridded[layer] = grid = products.gridded(share)
            results.grid_sum += grid.sum(dim=0).long()
            results.squares += grid.square().sum(dim=0).long()
        _add_pairs(tally, gridded)
        tally.images += len(self.keys)
        with _in_range("the network's output", "output", self.keys):
            tally.initial.add_all(initial.abs().cpu())
        tally.class_count += torch.bincount(classes, minlength=tally.outputs).cpu()
        guesses = logits.argmax(dim=1).tolist()
        samples = zip(self.indices.tolist(), self.keys, labels, guesses, strict=True)
        for index, key, label, guess in samples:
            tally.seen[index] = Seen(key, label, guess)
            tally.labelled += label is not None
            tally.correct += label == guess
        _forget(tally)


@contextmanager
def _in_range(layer: str, what: str, keys: Sequence[str]) -> Iterator[None]:
    """Within this context tell where a sum leaves the range in which it is exact."""
    try:
        yield
    except RangeError as error:
        where = f", on a batch with {', '.join(keys[:3])}" if keys else ""
        raise UserError(
            f"the sum of {what} in {layer} leaves the range in which sums are exact{where}: leave "
            "that layer out of model.layers, or take fewer pictures (data.limit); values "
            "beyond 1e9 are those of a network that is not as it was trained"
        ) from error


def skip(tally: Tally, index: int, key: str, reason: str) -> None:
    """Count a sample that cannot be read."""
    tally.skipped += 1
    tally.reasons[kind_of(reason)] = tally.reasons.get(kind_of(reason), 0) + 1
    tally.skips = sorted([*tally.skips, (index, key, reason)])[:LISTED_SKIPS]


def merge(one: Tally, other: Tally) -> Tally:
    """Return the tally of the pictures of both; no picture may be in both.

    Both are used up.
    """
    layers = one.layers or other.layers
    if one.layers and other.layers:
        layers = {}
        for name, layer in one.layers.items():
            with _in_range(name, "activation or relevance", []):
                layers[name] = _merge(layer, other.layers[name])
    return Tally(
        k=one.k,
        outputs=one.outputs,
        modes=one.modes,
        images=one.images + other.images,
        labelled=one.labelled + other.labelled,
        correct=one.correct + other.correct,
        class_count=one.class_count + other.class_count,
        initial=one.initial + other.initial,
        layers=layers,
        seen=one.seen | other.seen,
        skipped=one.skipped + other.skipped,
        skips=sorted(one.skips + other.skips)[:LISTED_SKIPS],
        reasons=dict(Counter(one.reasons) + Counter(other.reasons)),
    )


def references(tally: Tally) -> set[int]:
    """Return the indices of the samples that are references now."""
    tops = [top.indices for layer in tally.layers.values() for top in layer.top.values()]
    return {index for indices in tops for index in indices.flatten().tolist()} - {EMPTY}


def _add_pairs(tally: Tally, gridded: Mapping[str, Tensor]) -> None:
    """Add the products of the relevance shares of each layer and the one before."""
    if not gridded:
        return
    for lower, upper in pairwise(tally.layers):
        results = tally.layers[upper].relevance
        assert results is not None, "a pass with relevance"
        results.below += products.products(gridded[lower], gridded[upper])


def _peaks(flat: Tensor, pictures: Tensor, channels: Tensor) -> Tensor:
    """Return where some of the maps (pictures, channels, positions) are largest."""
    if 4 * len(pictures) > flat.shape[0] * flat.shape[1]:  # many are picked more slowly than read
        return flat.argmax(dim=2)[pictures, channels]
    return flat[pictures, channels].argmax(dim=1)


def empty_layer(maps: Tensor, tally: Tally) -> LayerTally:
    """Return the running results of a layer with such maps, before the first picture.

    The layer before is the one that was added to the tally last: maps arise in the order of the
    forward pass.
    """
    channels, device = maps.shape[1], maps.device
    lower = next((len(layer.act_max) for layer in reversed(tally.layers.values())), 0)
    zeros: Callable[..., ExactSum] = lambda *shape, bits: exactsum.zeros(  # noqa: E731
        *shape, bits=bits, device=device
    )
    whole: Callable[..., Tensor] = lambda *shape: torch.zeros(  # noqa: E731
        shape, dtype=torch.int64, device=device
    )
    return LayerTally(
        height=maps.shape[2],
        width=maps.shape[3],
        top={mode: topk.empty(channels, tally.k, device) for mode in tally.modes},
        act_sum=zeros(channels, bits=VALUE_BITS),
        act_max=torch.full((channels,), -torch.inf, device=device),
        positive=whole(channels),
        histogram=whole(channels, BINS),
        grid_sum=whole(channels),
        together=whole(channels, channels),
        relevance=RelevanceTally(
            rel_sum=zeros(channels, bits=SHARE_BITS),
            rel_abs_sum=zeros(channels, bits=SHARE_BITS),
            class_sum=zeros(tally.outputs, channels, bits=SHARE_BITS),
            flow=zeros(bits=VALUE_BITS),
            grid_sum=whole(channels),
            squares=whole(channels),
            below=whole(lower, channels),
        )
        if "relevance" in tally.modes
        else None,
    )


def _merge(one: LayerTally, other: LayerTally) -> LayerTally:
    exactsum.check((one.grid_sum + other.grid_sum).double() * 2.0**products.BITS)
    return LayerTally(
        height=one.height,
        width=one.width,
        top={mode: topk.merge(top, other.top[mode]) for mode, top in one.top.items()},
        act_sum=one.act_sum + other.act_sum,
        act_max=torch.maximum(one.act_max, other.act_max),
        positive=one.positive + other.positive,
        histogram=one.histogram + other.histogram,
        grid_sum=one.grid_sum + other.grid_sum,
        together=one.together + other.together,
        relevance=None
        if one.relevance is None or other.relevance is None
        else RelevanceTally(
            rel_sum=one.relevance.rel_sum + other.relevance.rel_sum,
            rel_abs_sum=one.relevance.rel_abs_sum + other.relevance.rel_abs_sum,
            class_sum=one.relevance.class_sum + other.relevance.class_sum,
            flow=one.relevance.flow + other.relevance.flow,
            grid_sum=one.relevance.grid_sum + other.relevance.grid_sum,
            squares=one.relevance.squares + other.relevance.squares,
            below=one.relevance.below + other.relevance.below,
        ),
    )


def _forget(tally: Tally) -> None:
    """Drop the pictures that are no longer a reference of any channel."""
    places = sum(
        len(tally.modes) * layer.act_max.numel() * tally.k for layer in tally.layers.values()
    )
    if len(tally.seen) > 2 * places:
        kept = references(tally)
        tally.seen = {index: seen for index, seen in tally.seen.items() if index in kept}
