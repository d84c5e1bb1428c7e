"""What must hold in the tables of an atlas, so that their readers need not ask again.

A table is checked when it is read: numbers of rows lead to rows, numbers are numbers, text is
text, lists that belong together are equally long, boxes lie in their pictures.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

LARGEST = 1e30
"""Largest size of any number, so that sums and squares of float32 stay numbers in float64."""

LONGEST = 1 << 20
"""Bytes of a text."""

SIDE = 16_383
"""Pixels of a picture's side: WebP has no larger ones."""

POSITIONS = 1 << 20
"""Rows and columns of a layer's map."""


@dataclass(frozen=True)
class Numbers:
    """Whole numbers in a range; `of` names a table whose rows they are instead."""

    low: int = 0
    high: int = 2**62
    of: str = ""
    known: bool = True
    """Whether none may be null."""


@dataclass(frozen=True)
class Texts:
    """Texts of which none is null, all among `among` or of the form `pattern` if given."""

    among: tuple[str, ...] = ()
    pattern: str = ""
    known: bool = True


Rule = Numbers | Texts

METHODS = ("vlm", "labels", "clip", "person")
STATUSES = ("named", "no clear concept", "unnamed")

NameState = Literal[
    "tested", "not told from chance", "one-sided", "untested", "by a person", "none found"
]
"""How far a name can be relied on. `tested`: on the whole range of the channel's activation it
scores above names that say nothing of the channel (`standing.above_chance`). `not told from
chance`: it was tested and does not. `one-sided`: it fits the references by relevance and at most a
quarter of those by activation, or the other way round. `untested`: nobody tested it. `by a
person`: a person gave it. `none found`: the channel was asked about, and nothing was found that
could be its name."""

STATES: tuple[NameState, ...] = get_args(NameState)

DOUBTFUL: tuple[NameState, ...] = ("not told from chance", "one-sided")
"""States of names of which a test found that they do not say what sets the channel off."""

BANDS = ("top", "99.9", "99", "90", "50", "low", "silent", "random")
"""Parts of the range of a channel's activation over all pictures, in the order of bands.parquet.

`top` has about as many pictures as there are references; `99.9`, `99`, `90` and `50` have those
above this share of all pictures and below the band before; `low` has others with a positive
output, `silent` those without one. `random` is a sample of all, the same for every channel."""

PICTURE = r"images/[0-9a-f]{2}/[0-9a-f]{1,64}\.webp"
"""Where pictures are."""

_COUNT = Numbers()
_CHANNELS = Numbers(of="channels")

RULES: Mapping[str, Mapping[str, Rule]] = {
    "channels": {
        "layer": Texts(),
        "channel": _COUNT,
        "images": _COUNT,
        "act_counts": _COUNT,
        "top_classes": Numbers(of="classes"),
        "together": _CHANNELS,
        "lower": _CHANNELS,
        "upper": _CHANNELS,
        "neighbours": _CHANNELS,
        "made_of": _CHANNELS,
        "held_back_by": _CHANNELS,
        "goes_into": _CHANNELS,
        "goes_into_classes": Numbers(of="classes"),
        "name_status": Texts(among=STATUSES, known=False),
        "name_state": Texts(among=STATES, known=False),
        "named_by": Texts(among=METHODS, known=False),
        "other_names.method": Texts(among=METHODS),
        "senses.name": Texts(),
    },
    "references": {
        "layer": Texts(),
        "channel": _COUNT,
        "mode": Texts(among=("activation", "relevance")),
        "rank": Numbers(high=1 << 20),
        "image": Numbers(of="images"),
        "label": Numbers(of="classes", known=False),
        "predicted": Numbers(of="classes"),
        "y": Numbers(high=POSITIONS),
        "x": Numbers(high=POSITIONS),
        "sense": Numbers(high=1 << 20, known=False),
    },
    "bands": {
        "layer": Texts(),
        "channel": _COUNT,
        "band": Texts(among=BANDS),
        "image": Numbers(of="images"),
        "y": Numbers(high=POSITIONS),
        "x": Numbers(high=POSITIONS),
    },
    "images": {
        "image": _COUNT,
        "index": _COUNT,
        "key": Texts(),
        "label": Numbers(of="classes", known=False),
        "predicted": Numbers(of="classes"),
        "width": Numbers(1, SIDE),
        "height": Numbers(1, SIDE),
        "path": Texts(pattern=PICTURE),
        "sha256": Texts(pattern="[0-9a-f]{64}"),
    },
    "classes": {"label": _COUNT, "name": Texts(), "count": _COUNT},
    "samples": {
        "target": Numbers(of="classes"),
        "index": _COUNT,
        "label": Numbers(of="classes", known=False),
        "predicted": Numbers(of="classes"),
    },
}
"""What stands in the columns; of others only the type and the size of numbers is checked."""

LISTS = {
    "channels": ("act_edges", "act_counts", "top_classes", "top_class_shares", "neighbours"),
    "samples": ("shares",),
}
"""Columns of lists that are never null."""

PAIRS = (
    ("top_classes", "top_class_shares"),
    ("neighbours", "neighbour_similarities"),
    *((name, f"{name}_correlations") for name in ("together", "lower", "upper")),
    *((name, f"{name}_shares") for name in ("made_of", "held_back_by", "goes_into")),
    ("goes_into_classes", "goes_into_class_shares"),
)
"""Lists of channels.parquet that belong together, equally long."""

TOGETHER = {"channels": (*PAIRS, ("act_edges", "act_counts"))}
"""Columns of which a table has both or none."""

KNOWN_NUMBERS = {"references": ("score",), "bands": ("activation", "weight")}
"""Columns of numbers of which none is null."""


def problem(
    name: str, table: pa.Table, rows_of: Callable[[str], int], of: Callable[[str], pa.Table]
) -> str | None:
    """Return what is wrong with a table; None if nothing is.

    Parameters
    ----------
    name : str
        `channels`, `references`, `bands`, `images`, `classes` or `samples`.
    table : pa.Table
        Its columns, or some of them, each of its type.
    rows_of : callable
        From the name of a table to its number of rows.
    of : callable
        From the name of a table to the columns that references are compared with: layer and
        channel of channels, width and height of images.
    """
    for column in table.column_names:
        for leaf, values in _leaves(column, table[column].combine_chunks()):
            if wrong := _wrong(leaf, values, RULES.get(name, {}).get(leaf), rows_of):
                return wrong
        if column in LISTS.get(name, ()) and table[column].null_count:
            return f"{column} has no list somewhere"
        if column in KNOWN_NUMBERS.get(name, ()) and table[column].null_count:
            return f"{column} has no number somewhere"
    whole: dict[str, Callable[[], str | None]] = {
        "channels": lambda: _channels(table),
        "references": lambda: _ordered(table, of) or _boxes(table, of),
        "bands": lambda: _ordered(table, of) or _weights(table),
        "images": lambda: _numbered(table, "image"),
        "classes": lambda: _numbered(table, "label") or _shares(table, rows_of),
        "samples": lambda: _shares(table, rows_of),
    }
    return whole[name]() if name in whole else None


def _leaves(name: str, values: pa.Array) -> list[tuple[str, pa.Array]]:
    """Return the plain arrays in a column, those of structures by NAME.FIELD."""
    if pa.types.is_list(values.type):
        inner = values.flatten()
        # What stands in a list is never null, but for fields of structures.
        if inner.null_count:
            return [(name, pa.nulls(1, inner.type))]
        return _leaves(name, inner)
    if pa.types.is_struct(values.type):
        fields = [values.type.field(place).name for place in range(values.type.num_fields)]
        parts = zip(fields, values.flatten(), strict=True)
        return [leaf for field, part in parts for leaf in _leaves(f"{name}.{field}", part)]
    return [(name, values)]


def _wrong(
    name: str, values: pa.Array, rule: Rule | None, rows_of: Callable[[str], int]
) -> str | None:
    if pa.types.is_string(values.type):
        return _wrong_text(name, values, rule if isinstance(rule, Texts) else None)
    if pa.types.is_floating(values.type):
        numbers = values.drop_null().to_numpy()
        if not (np.abs(numbers) <= LARGEST).all():
            return f"{name} has what is no number, or none of a sensible size"
        return None
    rule = rule if isinstance(rule, Numbers) else Numbers(known=False)
    if rule.known and values.null_count:
        return f"{name} has no value somewhere"
    low, high = rule.low, rows_of(rule.of) - 1 if rule.of else rule.high
    found = pc.min_max(values).as_py()
    if found["min"] is not None and not low <= found["min"] <= found["max"] <= high:
        return f"{name} has values from {found['min']} to {found['max']}, not {low} to {high}"
    return None


def _wrong_text(name: str, values: pa.Array, rule: Texts | None) -> str | None:
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        return f"{name} is no text in UTF-8"
    if (pc.max(pc.binary_length(values)).as_py() or 0) > LONGEST:
        return f"{name} has a text of more than {LONGEST} bytes"
    if rule is None:
        return None
    if rule.known and values.null_count:
        return f"{name} has no value somewhere"
    several = values.dictionary_encode().dictionary.to_pylist()
    for text in several:
        if (rule.among and text not in rule.among) or (
            rule.pattern and not re.fullmatch(rule.pattern, text)
        ):
            return f"{name} = {text[:80]!r}"
    return None


def _numbered(table: pa.Table, column: str) -> str | None:
    if column in table.column_names:
        numbers = table[column].to_numpy()
        if not np.array_equal(numbers, np.arange(len(numbers))):
            return f"{column} does not count the rows"
    return None


def _channels(table: pa.Table) -> str | None:
    lengths = {
        name: pc.fill_null(pc.list_value_length(table[name]), 0).to_numpy()
        for name in table.column_names
        if pa.types.is_list(table.schema.field(name).type)
    }
    for first, second in PAIRS:
        both = first in lengths and second in lengths
        if both and not np.array_equal(lengths[first], lengths[second]):
            return f"{first} and {second} are not equally long"
    if "act_counts" in lengths and "act_edges" in lengths:
        counts, edges = lengths["act_counts"], lengths["act_edges"]
        if not np.array_equal(edges, counts + (counts > 0)):
            return "act_edges has not one more than act_counts"
    if {"layer", "channel"} <= set(table.column_names):
        return _in_order(table)
    return None


def _in_order(table: pa.Table) -> str | None:
    """Look whether layers stand one after another, their channels counted from 0."""
    layers = table["layer"].combine_chunks().dictionary_encode()
    codes, numbers = layers.indices.to_numpy(), table["channel"].to_numpy()
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    first = np.repeat(starts, np.diff(starts, append=len(codes)))
    if len(starts) != len(layers.dictionary) or not np.array_equal(
        numbers, np.arange(len(codes)) - first
    ):
        return "the channels of a layer are not counted from 0"
    return None


def _shares(table: pa.Table, rows_of: Callable[[str], int]) -> str | None:
    for column in {"shares", "fired"} & set(table.column_names):
        lengths = pc.list_value_length(table[column]).drop_null().to_numpy()
        if not (lengths == rows_of("channels")).all():
            return f"{column} has not one number for each channel"
    return None


def _ordered(table: pa.Table, of: Callable[[str], pa.Table]) -> str | None:
    if {"layer", "channel"} <= set(table.column_names):
        rows = channel_rows(table, of("channels"))
        if (rows < 0).any():
            return "it speaks of a channel that channels.parquet does not have"
        if (np.diff(rows) < 0).any():
            return "it is not in the order of the channels"
    return None


def _weights(table: pa.Table) -> str | None:
    if "weight" in table.column_names and (table["weight"].to_numpy() < 0).any():
        return "a weight is below 0"
    return None


def _boxes(table: pa.Table, of: Callable[[str], pa.Table]) -> str | None:
    there = set(table.column_names)
    edges = ("x0", "y0", "x1", "y1")
    if {*edges, "image"} <= there:
        if any(table[edge].null_count for edge in edges):
            return "a patch has no box"
        x0, y0, x1, y1 = (table[edge].to_numpy().astype(np.int64) for edge in edges)
        images = of("images")
        if {"width", "height"} <= set(images.column_names):
            image = table["image"].to_numpy()
            width, height = (images[name].to_numpy()[image] for name in ("width", "height"))
            inside = (x0 >= 0) & (x0 < x1) & (x1 <= width) & (y0 >= 0) & (y0 < y1) & (y1 <= height)
            if not inside.all():
                return "the box of a patch is not in its picture"
    return None


def channel_rows(references: pa.Table, channels: pa.Table) -> npt.NDArray[np.int64]:
    """Return the row of channels.parquet of each reference or row of bands, -1 without one."""
    if not references.num_rows:
        return np.zeros(0, np.int64)
    layers = channels["layer"].to_pylist()
    first = {layer: len(layers) - 1 - row for row, layer in enumerate(reversed(layers))}
    count = dict.fromkeys(first, 0)
    for layer in layers:
        count[layer] += 1
    encoded = references["layer"].combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    codes, numbers = encoded.indices.to_numpy(), references["channel"].to_numpy().astype(np.int64)
    starts = np.array([first.get(name, 0) for name in names])[codes]
    counts = np.array([count.get(name, 0) for name in names])[codes]
    rows: npt.NDArray[np.int64] = np.where(numbers < counts, starts + numbers, -1)
    return rows
