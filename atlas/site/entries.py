"""Rows of the tables as pages show them: layers, channels, senses, classes, references.

`atlas.api.contents` has the types that Python users see; these have what only a site needs, such
as addresses of pages and names that are cut to the width of a list.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from atlas.site import text
from atlas.store import NameState, standing
from atlas.store.bases import Basis


@dataclass(frozen=True)
class LayerEntry:
    """What pages show of a layer, and the rows of its channels."""

    name: str
    position: int  # in the forward pass, from 0
    depth: float  # in the network: 0 for its first layer, 1 for its last
    rows: tuple[int, ...]
    slug: str  # the name as a part of an address
    basis: Basis | None = None  # of factors, which then stand where a layer has its channels

    @cached_property
    def link(self) -> str:
        """The page's address from the site's root."""
        return f"layers/{self.slug}.html"

    @property
    def size(self) -> float:
        """How tall the layer is drawn: by the logarithm of its channels, at most 1."""
        return min(1.0, math.log2(len(self.rows) + 1) / 11)

    @property
    def unit(self) -> str:
        """What one of its rows is: a channel or a factor."""
        return "factor" if self.basis else "channel"

    @property
    def of(self) -> str:
        """The name on a page of the layer itself, or of that whose factors these are."""
        return text.clip(text.plain(self.basis.layer)) if self.basis else self.shown

    @cached_property
    def shown(self) -> str:
        """The layer's name on a page."""
        return text.clip(text.plain(self.name)) or "(network)"


@dataclass(frozen=True)
class SenseEntry:
    """What pages show of one of several meanings of a channel."""

    number: int
    name: str
    description: str
    confidence: float | None
    share: float | None  # of the references by relevance

    @property
    def shown(self) -> str:
        """The sense's name in a list."""
        return text.clip(self.name) or "no name"


class RowValues(Mapping[str, Any]):
    """The values of one row of a table. Lists are made when they are asked for.

    As objects of Python the lists of 20,000 channels take 0.2 GB, and a page shows those of one.
    """

    __slots__ = ("_lists", "_row", "_single")

    def __init__(self, row: int, single: dict[str, Any], lists: Mapping[str, pa.Array]) -> None:
        self._row = row
        self._single = single
        self._lists = lists

    def __getitem__(self, name: str) -> Any:
        column = self._lists.get(name)
        return self._single[name] if column is None else column[self._row].as_py()

    def __iter__(self) -> Iterator[str]:
        yield from self._single
        yield from self._lists

    def __len__(self) -> int:
        return len(self._single) + len(self._lists)


def row_values(table: pa.Table) -> list[RowValues]:
    """Return the values of each row of a table."""
    nested = [name for name in table.column_names if pa.types.is_nested(table[name].type)]
    lists = {name: table[name].combine_chunks() for name in nested}
    single = table.drop_columns(nested).to_pylist()
    return [RowValues(row, values, lists) for row, values in enumerate(single)]


@dataclass(frozen=True)
class ChannelEntry:
    """What pages show of a channel, a row of channels; what was not measured or named is None."""

    row: int
    layer: LayerEntry
    channel: int
    values: Mapping[str, Any]

    @cached_property
    def address(self) -> str:
        """`LAYER:CHANNEL`, as it is cited."""
        return f"{self.layer.shown}:{self.channel}"

    @cached_property
    def link(self) -> str:
        """The page's address from the site's root."""
        return f"channels/{self.layer.slug}/{self.channel}.html"

    @cached_property
    def name(self) -> str:
        """The whole name on one line; empty without one."""
        return text.plain(self.values.get("name") or "")

    @cached_property
    def called(self) -> str:
        """The name in a list; empty without one."""
        return text.clip(self.name)

    @cached_property
    def used_for(self) -> str:
        """What it is called beside numbers of relevance: what a one-sided one is used for."""
        used = self.values.get("used_for") if self.state == "one-sided" else None
        return text.plain(used or "") or self.name

    @property
    def title(self) -> str:
        """What the channel is called on its own page."""
        return text.clip(self.name, 120) or self.address

    @property
    def description(self) -> str:
        """One sentence about the channel; empty without one."""
        return text.plain(self.values.get("description") or "")

    @property
    def status(self) -> str | None:
        """`named`, `no clear concept`, `unnamed`; None where nobody asked."""
        return self.values.get("name_status")

    @property
    def score(self) -> float | None:
        """Average precision over all pictures of the name, or of what a one-sided one fires for."""
        return self.number("score_ap")

    @property
    def chance(self) -> float | None:
        """What names that say nothing of the channel score on average, at most; None untested."""
        values = [self.number(f"score_{name}") for name in ("ap", "base_rate", "borrowed_ap")]
        known = [value for value in values[1:] if value is not None]
        return max(known) if values[0] is not None and known else None

    @property
    def state(self) -> NameState | None:
        """How far the name can be relied on; None where nobody asked."""
        return standing.state_of(self.values)

    @property
    def sides(self) -> list[tuple[str, str]]:
        """What a one-sided channel is used for and what it fires for; else nothing."""
        if self.state != "one-sided":
            return []
        return [
            (what, text.plain(self.values.get(column) or ""))
            for what, column in (("used for", "used_for"), ("fires for", "fires_for"))
        ]

    @property
    def senses(self) -> list[SenseEntry]:
        """The channel's meanings where it has several."""
        return [
            SenseEntry(
                number,
                text.plain(sense["name"] or ""),
                text.plain(sense["description"] or ""),
                sense["confidence"],
                sense["share"],
            )
            for number, sense in enumerate(self.values.get("senses") or ())
        ]

    @property
    def classes(self) -> list[tuple[int, float]]:
        """The classes with the highest mean relevance share, and the share, if it is positive."""
        return [
            (label, share)
            for label, share in self.pairs("top_classes", "top_class_shares")
            if share > 0
        ]

    @property
    def neighbours(self) -> list[tuple[int, float]]:
        """Rows of the channels with the most similar patches, and the cosine."""
        return self.pairs("neighbours", "neighbour_similarities")

    @property
    def together(self) -> list[tuple[int, float]]:
        """Rows of the channels of its layer that are active together with it; the correlation."""
        return self.pairs("together", "together_correlations")

    @property
    def lower(self) -> list[tuple[int, float]]:
        """Rows of the channels of the layer before that are relevant with it; the correlation."""
        return self.pairs("lower", "lower_correlations")

    @property
    def upper(self) -> list[tuple[int, float]]:
        """Rows of the channels of the layer after that are relevant with it; the correlation."""
        return self.pairs("upper", "upper_correlations")

    @property
    def by_weights(self) -> str:
        """The words that the names of its strongest inputs share; empty without."""
        return text.clip(text.plain(self.values.get("name_by_weights") or ""), 120)

    @property
    def weights_agree(self) -> bool | None:
        """Whether the name has one of these words; None where there is nothing to compare."""
        return self.values.get("weights_agree")

    def pairs(self, rows: str, values: str) -> list[tuple[int, float]]:
        """Return two columns of lists side by side; nothing where they were not measured."""
        return list(zip(self.values.get(rows) or (), self.values.get(values) or (), strict=True))

    def number(self, column: str) -> float | None:
        """Return a number of the row; None where there is none."""
        value: float | None = self.values.get(column)
        return None if value is None or math.isnan(value) else value


def by_relevance(channels: Sequence[ChannelEntry]) -> list[ChannelEntry]:
    """Return channels by falling mean relevance share, or by activation where that is unknown."""

    def order(channel: ChannelEntry) -> tuple[float, float]:
        share, highest = channel.number("rel_mean"), channel.number("act_max")
        return (-math.inf if share is None else share, -math.inf if highest is None else highest)

    return sorted(channels, key=order, reverse=True)


@dataclass(frozen=True)
class ClassEntry:
    """What pages show of a class, a row of classes: an output of the network."""

    label: int
    name: str  # whole, on one line
    count: int

    @cached_property
    def shown(self) -> str:
        """The class's name in a list."""
        return text.clip(self.name) or f"class {self.label}"

    @property
    def link(self) -> str | None:
        """The page's address from the site's root, if it has one."""
        return f"classes/{self.label}.html" if self.count else None


@dataclass(frozen=True)
class ReferenceEntry:
    """What pages show of a reference, a row of references."""

    row: int
    rank: int  # from 1
    score: float
    image: int
    label: int | None
    predicted: int | None
    box: tuple[int, int, int, int]
    sense: int | None
