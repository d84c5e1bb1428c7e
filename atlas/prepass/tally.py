"""Running results of the pre-pass: everything that the tables need of the pictures so far.

Sums are exact and reservoirs have a total order, so a tally depends only on which pictures
went into it: not on batches, order, interruptions or how many processes shared the work.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from atlas.data.images import kind_of
from atlas.errors import UserError
from atlas.prepass import bands, exactsum, products, topk
from atlas.prepass.classpictures import ClassPicture, lowest
from atlas.prepass.exactsum import ExactSum, RangeError
from atlas.prepass.reductions import BINS
from atlas.prepass.topk import EMPTY, TopK
from atlas.store import MODES, Mode

SHARE_BITS = 40
"""Shares lie in [-1, 1]: sums of 2**22 of them fit, and of more where none is always near 1."""

VALUE_BITS = 24
"""Activations and relevance in units of logits: steps of 6e-8, sums up to 2e11."""

LISTED_SKIPS = 1000
"""How many skipped pictures are named; all are counted."""


@dataclass(frozen=True)
class Seen:
    """What is remembered of a picture while some channel keeps it."""

    key: str
    label: int | None
    predicted: int
    drawn: int = 0
    """The number that it drew; see `bands`."""


@dataclass
class RelevanceTally:
    """Running results of one layer that need its relevance.

    A *share* is the relevance of a channel in a picture, summed over positions and divided by the
    sum of |relevance| over the layer's channels.
    """

    share_sum: ExactSum
    """Sum of the shares, (channels,)."""
    share_abs_sum: ExactSum
    """Sum of |share|, (channels,)."""
    class_share_sum: ExactSum
    """Sum of the shares over the pictures of each class, (classes, channels)."""
    relevance_sum: ExactSum
    """Sum of the layer's whole relevance times the sign of the target's logit, a scalar."""
    gridded_sum: Tensor
    """Sum of the gridded shares, int64 (channels,); see `products`."""
    gridded_square_sum: Tensor
    """Sum of the squares of the gridded shares, int64 (channels,)."""
    lower_product_sum: Tensor
    """Sum of the products of the gridded shares with those of the layer before, int64 (its
    channels, channels)."""


@dataclass
class LayerTally:
    """Running results of one layer."""

    height: int
    """Rows of a map."""
    width: int
    """Columns of a map."""
    top: dict[Mode, TopK]
    """The best pictures of each channel by each mode of the pass."""
    bands: TopK | None
    """Pictures from which those of the bands are chosen; None where none are wanted."""
    mean_sum: ExactSum
    """Sum of the output's mean over positions, (channels,)."""
    maximum: Tensor
    """Largest output of all, float32 (channels,)."""
    positive_count: Tensor
    """Number of positions with a positive output, int64 (channels,)."""
    histogram: Tensor
    """Number of pictures by the bin of their largest output, int64 (channels, BINS)."""
    gridded_sum: Tensor
    """Sum of the gridded shares of the largest outputs, int64 (channels,); see `products`. A
    *share* here is the largest output in a picture, where it is positive, divided by the sum of
    those of the layer's channels."""
    product_sum: Tensor
    """Sum of the products of the gridded shares of two channels, int64 (channels, channels)."""
    class_fired_sum: ExactSum | None
    """Sum of the same shares over the pictures of each class, (classes, channels); None where that
    is not wanted."""
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
    per_band: int = 0
    """Pictures of each channel that are wanted of a band of its activation."""
    seed: int = 0
    """By which pictures draw their numbers; see `bands`."""
    fired_by_class: bool = False
    """Whether activation is summed by class as well as relevance, and pictures of each class are
    kept with their shares; so it is for factors."""
    images: int = 0
    """Number of pictures measured."""
    labelled: int = 0
    """Number of those with a label that is an output of the network."""
    correct: int = 0
    """Number of those whose label the network predicts."""
    class_count: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    """Number of pictures whose relevance was computed for each class, int64 (classes,)."""
    logit_abs_sum: ExactSum = field(default_factory=lambda: exactsum.zeros(bits=VALUE_BITS))
    """Sum of the targets' |logit|, a scalar."""
    layers: dict[str, LayerTally] = field(default_factory=dict)
    """Running results by name of the layer, in the order of the forward pass."""
    seen: dict[int, Seen] = field(default_factory=dict)
    """Pictures by index of the sample, at least those that some channel keeps."""
    samples: list[ClassPicture] = field(default_factory=list)
    """A few pictures of each class; see `classpictures`."""
    kept: int = 0
    """How many of them some channel kept when that was last looked at."""
    skipped: int = 0
    """Number of pictures that could not be read."""
    skips: list[tuple[int, str, str]] = field(default_factory=list)
    """Index, key and reason of the first `LISTED_SKIPS`."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Number of pictures skipped for a reason of each kind."""

    def __post_init__(self) -> None:
        if not len(self.class_count):
            self.class_count = torch.zeros(self.outputs, dtype=torch.int64)


@contextmanager
def in_range(layer: str, what: str, keys: Sequence[str]) -> Iterator[None]:
    """Within this context say where a sum leaves the range in which it is exact."""
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
            with in_range(name, "activation or relevance", []):
                layers[name] = _merge(layer, other.layers[name])
    return Tally(
        k=one.k,
        outputs=one.outputs,
        modes=one.modes,
        per_band=one.per_band,
        seed=one.seed,
        fired_by_class=one.fired_by_class,
        images=one.images + other.images,
        labelled=one.labelled + other.labelled,
        correct=one.correct + other.correct,
        class_count=one.class_count + other.class_count,
        logit_abs_sum=one.logit_abs_sum + other.logit_abs_sum,
        layers=layers,
        seen=one.seen | other.seen,
        samples=lowest([*one.samples, *other.samples]),
        skipped=one.skipped + other.skipped,
        skips=sorted(one.skips + other.skips)[:LISTED_SKIPS],
        reasons=dict(Counter(one.reasons) + Counter(other.reasons)),
    )


def references(tally: Tally) -> set[int]:
    """Return the indices of the samples that are references now."""
    return _indices(top for layer in tally.layers.values() for top in layer.top.values())


def kept(tally: Tally) -> set[int]:
    """Return the indices of the samples that any channel keeps now."""
    banded = (layer.bands for layer in tally.layers.values() if layer.bands is not None)
    return references(tally) | _indices(banded)


def _indices(several: Iterable[TopK]) -> set[int]:
    found: set[int] = set()
    for places in several:
        found.update(torch.unique(places.indices).tolist())
    return found - {EMPTY}


def empty_layer(maps: Tensor, tally: Tally) -> LayerTally:
    """Return the running results of a layer with such maps, before the first picture.

    The layer before is the one that was added to the tally last: maps arise in the order of the
    forward pass.
    """
    channels, device = maps.shape[1], maps.device
    lower = next((len(layer.maximum) for layer in reversed(tally.layers.values())), 0)
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
        bands=bands.empty(channels, tally.per_band, device) if tally.per_band else None,
        mean_sum=zeros(channels, bits=VALUE_BITS),
        maximum=torch.full((channels,), -torch.inf, device=device),
        positive_count=whole(channels),
        histogram=whole(channels, BINS),
        gridded_sum=whole(channels),
        product_sum=whole(channels, channels),
        class_fired_sum=zeros(tally.outputs, channels, bits=SHARE_BITS)
        if tally.fired_by_class
        else None,
        relevance=RelevanceTally(
            share_sum=zeros(channels, bits=SHARE_BITS),
            share_abs_sum=zeros(channels, bits=SHARE_BITS),
            class_share_sum=zeros(tally.outputs, channels, bits=SHARE_BITS),
            relevance_sum=zeros(bits=VALUE_BITS),
            gridded_sum=whole(channels),
            gridded_square_sum=whole(channels),
            lower_product_sum=whole(lower, channels),
        )
        if "relevance" in tally.modes
        else None,
    )


def _merge(one: LayerTally, other: LayerTally) -> LayerTally:
    exactsum.check((one.gridded_sum + other.gridded_sum).double() * 2.0**products.BITS)
    return LayerTally(
        height=one.height,
        width=one.width,
        top={mode: topk.merge(top, other.top[mode]) for mode, top in one.top.items()},
        bands=None
        if one.bands is None or other.bands is None
        else topk.merge(one.bands, other.bands),
        mean_sum=one.mean_sum + other.mean_sum,
        maximum=torch.maximum(one.maximum, other.maximum),
        positive_count=one.positive_count + other.positive_count,
        histogram=one.histogram + other.histogram,
        gridded_sum=one.gridded_sum + other.gridded_sum,
        product_sum=one.product_sum + other.product_sum,
        class_fired_sum=None
        if one.class_fired_sum is None or other.class_fired_sum is None
        else one.class_fired_sum + other.class_fired_sum,
        relevance=None
        if one.relevance is None or other.relevance is None
        else RelevanceTally(
            **{
                name: getattr(one.relevance, name) + getattr(other.relevance, name)
                for name in RelevanceTally.__dataclass_fields__
            }
        ),
    )
