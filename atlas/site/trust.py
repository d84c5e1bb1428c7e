"""How far the names of an atlas can be trusted: counts by layer, all scores, the most doubtful."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from atlas.searching.entries import NOT_ASKED
from atlas.site.catalogue import Catalogue
from atlas.site.citing import Citing
from atlas.site.entries import ChannelEntry, LayerEntry
from atlas.site.writer import PageWriter
from atlas.store import standing

MOST_DOUBTFUL = 24
"""Names on the list of those to doubt first."""

MOST_SHOWN = 24
"""Channels on each of the lists of names and pictures that something speaks against."""

ORDER = (
    *("tested", "by a person", "one-sided", "untested"),
    *("not told from chance", "none found", NOT_ASKED),
)
"""The states of names from what can be relied on to what cannot, as bars have them."""

ROW = 20
"""Height of a layer in the drawing of all scores; its width is 1,000."""

ACROSS = 5
"""Dots of neighbouring channels lie in so many lines, so that few hide each other."""


@dataclass(frozen=True)
class NameCounts:
    """What is known of the names of some channels."""

    channels: int
    """With the factors among them."""
    factors: int
    named: int
    tested: int
    """Names that were tested on pictures from the whole range, whatever came out."""
    above: int
    """Tested names that score above names that say nothing of the channel."""
    one_sided: int
    silent: int
    """Channels without a positive output in any picture."""
    states: tuple[tuple[str, int], ...]
    """How many channels have each state, as far as there are any, in the order of `ORDER`."""


@dataclass(frozen=True)
class ScoreRow:
    """The scores of a layer's names as paths of dots, each a line of length 0."""

    layer: LayerEntry
    above: str
    others: str
    chance: float
    """Mean of what names that say nothing score, from 0 to 1,000."""
    y: int
    """Where the row is, from above."""


def write(catalogue: Catalogue, writer: PageWriter, citing: Citing, title: str) -> None:
    """Write the page about the names."""
    tallies = [
        (layer, tally([catalogue.channels[row] for row in layer.rows]))
        for layer in catalogue.layers
    ]
    rows = score_rows(catalogue)
    writer.page(
        "trust.html",
        "trust.html",
        "Trust",
        f"How many names of {title} were tested, and what came out.",
        meta=citing.meta("Trust", "trust.html"),
        tallies=tallies,
        whole=tally(catalogue.channels),
        score_rows=rows,
        height=ROW * len(rows),
        doubted=most_doubtful(catalogue),
        by_weights=asked_by_weights(catalogue),
        otherwise=named_otherwise(catalogue),
        pictured=pictured(catalogue),
        disagreeing=disagreeing(catalogue),
        most=MOST_SHOWN,
    )


def tally(channels: Sequence[ChannelEntry]) -> NameCounts:
    """Count what is known of the names of some channels."""
    known = Counter[str](channel.state or NOT_ASKED for channel in channels)
    return NameCounts(
        channels=len(channels),
        factors=sum(1 for channel in channels if channel.layer.basis),
        named=sum(1 for channel in channels if channel.name),
        tested=sum(1 for channel in channels if channel.chance is not None),
        above=sum(1 for channel in channels if _above(channel)),
        one_sided=known["one-sided"],
        silent=sum(1 for channel in channels if channel.number("act_density") == 0),
        states=tuple((state, known[state]) for state in ORDER if known[state]),
    )


def score_rows(catalogue: Catalogue) -> list[ScoreRow]:
    """Return the drawing of all scores; layers without a tested name have no row."""
    rows: list[ScoreRow] = []
    for layer in catalogue.layers:
        tested = [catalogue.channels[row] for row in layer.rows]
        tested = [channel for channel in tested if channel.chance is not None]
        if not tested:
            continue
        y = ROW * len(rows)
        dots: dict[bool, list[str]] = {True: [], False: []}
        for place, channel in enumerate(tested):
            line = y + 4 + 3 * (place % ACROSS)
            dots[_above(channel)].append(f"M{1000 * (channel.score or 0):.0f} {line}h0")
        chance = sum(channel.chance or 0 for channel in tested) / len(tested)
        rows.append(ScoreRow(layer, "".join(dots[True]), "".join(dots[False]), 1000 * chance, y))
    return rows


def most_doubtful(catalogue: Catalogue) -> list[ChannelEntry]:
    """Return the tested names that score least above those that say nothing, the worst first."""
    tested = [channel for channel in catalogue.channels if channel.chance is not None]
    return sorted(tested, key=_lead)[:MOST_DOUBTFUL]


def asked_by_weights(catalogue: Catalogue) -> int:
    """Return how many channels have a name and a word that the names of their inputs say."""
    return sum(1 for channel in catalogue.channels if channel.weights_agree is not None)


def named_otherwise(catalogue: Catalogue) -> list[ChannelEntry]:
    """Return the channels whose names have none of the words that their inputs' names say.

    Tested names with the least lead first, then those that were not tested.
    """
    found = [channel for channel in catalogue.channels if channel.weights_agree is False]
    return sorted(found, key=lambda channel: (channel.chance is None, _lead(channel)))


def pictured(catalogue: Catalogue) -> int:
    """Return how many channels have made pictures that were compared with their references."""
    rows = (catalogue.pictures_made(channel) for channel in catalogue.channels)
    return sum(1 for made in rows if any(one.compared for one in made))


def disagreeing(catalogue: Catalogue) -> list[ChannelEntry]:
    """Return the channels whose references and made pictures disagree."""
    return [
        channel
        for channel in catalogue.channels
        if any(one.disagrees for one in catalogue.pictures_made(channel))
    ]


def _lead(channel: ChannelEntry) -> float:
    return (channel.score or 0) - (channel.chance or 0)


def _above(channel: ChannelEntry) -> bool:
    """Say whether the tested name scores above those that say nothing of the channel."""
    return standing.above_chance(channel.values) is True
