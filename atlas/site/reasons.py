"""What a channel's page says of why: inputs and outputs by the weights, and what it reacts to."""

from collections.abc import Iterator
from dataclasses import dataclass

from atlas.site import text
from atlas.site.catalogue import Catalogue
from atlas.site.entries import ChannelEntry, ClassEntry
from atlas.store import KINDS_OF_CHANGE
from atlas.store.influence import worth_a_word

SHOWN_INPUTS = 6
"""Inputs on a page; the others are in the JSON."""

SHOWN_OUTPUTS = 4
"""Channels that read a channel, and classes, on its page."""

CLASSES = ""
"""In the manifest, in place of a layer: what the classes read."""

Shares = list[tuple[ChannelEntry, float]]


@dataclass(frozen=True)
class ByWeights:
    """What the weights say of a channel."""

    inputs: Shares
    """The strongest, with their shares."""
    holding_back: Shares
    """Those with the most negative weights."""
    outputs: Shares
    """The channels of which it is the largest share."""
    classes: list[tuple[ClassEntry, float]]
    """And the classes."""
    count: int
    """How many channels of the atlas its layer reads."""
    remark: str
    """What of its inputs is left out, and why; empty if nothing is."""
    classes_read: str
    """What the classes read that is not in the atlas; empty if nothing is."""
    known: bool
    """Whether the weights were read."""

    def __bool__(self) -> bool:
        return self.known

    def rows(self) -> Iterator[int]:
        """Yield the rows of the channels that are shown."""
        for pairs in (self.inputs, self.holding_back, self.outputs):
            yield from (channel.row for channel, _ in pairs)


def by_weights(catalogue: Catalogue, channel: ChannelEntry) -> ByWeights:
    """Return what the weights say of a channel; nothing of factors and in older atlases."""
    known = catalogue.manifest.get("weights", {})
    facts = known.get(channel.layer.name, {})

    def shares(column: str, most: int) -> Shares:
        pairs = channel.pairs(column, f"{column}_shares")[:most]
        return [(catalogue.channels[row], share) for row, share in pairs]

    into = channel.pairs("goes_into_classes", "goes_into_class_shares")[:SHOWN_OUTPUTS]
    return ByWeights(
        shares("made_of", SHOWN_INPUTS),
        shares("held_back_by", SHOWN_INPUTS),
        shares("goes_into", SHOWN_OUTPUTS),
        [(catalogue.labels[label], share) for label, share in into],
        facts.get("inputs", 0),
        _remark(facts.get("problem", ""), facts.get("left_out", {})),
        _places(known.get(CLASSES, {}).get("left_out", {})),
        bool(facts),
    )


def _remark(problem: str, left_out: dict[str, int]) -> str:
    """Say what of the inputs of a layer is left out."""
    if problem:
        said = text.clip(text.plain(problem), 200)
        return f"What its layer reads could not be followed through the network: {said}."
    if not left_out:
        return ""
    if list(left_out) == ["the picture"]:
        return "Its layer reads the picture itself."
    return (
        f"Left out, since they are not in this atlas: {sum(left_out.values())} channels that its "
        f"layer reads as well, of {_places(left_out)}."
    )


def _places(left_out: dict[str, int]) -> str:
    """Return where channels are that are not in the atlas, and how many."""
    places = [f"{text.clip(text.plain(place))} ({count})" for place, count in left_out.items()]
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return ", ".join(places[:3]) + more


@dataclass(frozen=True)
class Bar:
    """The influence of one thing."""

    kind: str
    drop: float
    """1: the activation drops to nothing without it; below 0: it rises."""
    relative: float
    """Spreads above the median of the layer."""
    word: bool
    """Whether it is worth a word."""

    @property
    def width(self) -> float:
        """How long it is drawn."""
        return round(min(max(self.drop, 0.0), 1.0), 3)


def influences(channel: ChannelEntry) -> list[Bar]:
    """Return the influences on a channel; none where they were not measured."""
    influence = channel.values.get("influence") or {}
    relative = channel.values.get("influence_relative") or {}
    words = worth_a_word(influence, relative)
    return [
        Bar(kind, influence[kind], relative[kind], kind in words)
        for kind in KINDS_OF_CHANGE
        if influence.get(kind) is not None and relative.get(kind) is not None
    ]
