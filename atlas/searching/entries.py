"""What a search reads of an atlas: of each channel the texts by which it is found."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from atlas.plain import plain
from atlas.searching.analyser import RULES, words
from atlas.store import standing as standing_

_COLUMNS = (
    *("layer", "channel", "name", "senses", "description", "top_classes", "top_class_shares"),
    *("used_for", "fires_for", "score_ap", "rel_mean", "name_state", "name_status", "named_by"),
)


NOT_ASKED = "not asked"
"""What searches call the state of channels without a name that nobody asked for."""


@dataclass(frozen=True)
class ChannelTexts:
    """What is searched of a channel, and what decides between channels that fit equally."""

    layer: str
    number: int
    name: str
    """Empty without one, as are other texts."""
    senses: tuple[str, ...]
    """Names of its several meanings, and of its other side where the name has but one."""
    description: str
    labels: tuple[int, ...]
    """Numbers of the classes for which it is most relevant, at most `classes` of `RULES`."""
    score: int
    """Average precision of the name in per cent; -1 without one."""
    share: float
    """Mean relevance share, to two digits; 0 where it was not measured."""
    state: str = NOT_ASKED
    """The state of its name."""


def channels(table: pa.Table) -> Iterator[ChannelTexts]:
    """Yield what is searched of each row of channels.parquet."""
    rows = table.select([name for name in _COLUMNS if name in table.column_names]).to_pylist()
    for row in rows:
        pairs = zip(row["top_classes"], row["top_class_shares"], strict=True)
        labels = [label for label, share in pairs if share > 0]
        score, share = (_measured(row.get(name)) for name in ("score_ap", "rel_mean"))
        yield ChannelTexts(
            layer=layer(row["layer"]),
            number=row["channel"],
            name=text(row.get("name")),
            senses=_senses(row),
            description=text(row.get("description")),
            labels=tuple(labels[: RULES["classes"]]),
            score=-1 if score is None else round(100 * score),
            share=0.0 if share is None else float(f"{share:.2g}"),
            state=standing_.state_of(row) or NOT_ASKED,
        )


def standing(several: Sequence[ChannelTexts]) -> list[int]:
    """Return the place of each channel among all by score, then share, then the order given."""
    order = sorted(
        range(len(several)), key=lambda row: (-several[row].score, -several[row].share, row)
    )
    places = [0] * len(order)
    for place, row in enumerate(order):
        places[row] = place
    return places


def state(query: str) -> str | None:
    """Return the state of names that a query asks for by its words; None for other queries."""
    found: str | None = RULES["states"].get(" ".join(words(query)))
    return found


def labels(names: Mapping[int, str]) -> dict[int, str]:
    """Return what is searched of each class, by its number."""
    return {label: text(name) or f"class {label}" for label, name in names.items()}


def layer(name: str) -> str:
    """Return what is searched of a layer; the whole network has an empty name."""
    return text(name) or "(network)"


def text(value: str | None) -> str:
    """Return a text on one line, cut where it is longer than a search reads."""
    return plain(value or "")[: RULES["longest_text"]]


def _senses(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return by which names but the first a channel is found: its senses, and its other side."""
    named = [text(one["name"]) for one in row.get("senses") or () if one["name"]]
    both = [text(row.get(side)) for side in ("used_for", "fires_for")]
    other = [name for name in both if name and name not in (text(row.get("name")), *named)]
    return (*named, *other)


def _measured(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
