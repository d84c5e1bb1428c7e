"""Tables for spreadsheets."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from atlas.api.contents import SCORE_COLUMNS, SIDE_COLUMNS, STATISTIC_COLUMNS, Contents
from atlas.plain import cell
from atlas.store import files


def write(contents: Contents, out: Path) -> None:
    """Write channels.csv, references.csv, bands.csv, images.csv and classes.csv.

    UTF-8 with the mark that spreadsheets look for; several values in a cell are separated by
    semicolons; texts that a spreadsheet would take for a formula begin with an apostrophe.

    Parameters
    ----------
    contents : Contents
        A finished atlas.
    out : Path
        Directory to write into.
    """
    names = contents.class_names
    _write(out / "channels.csv", _CHANNELS, (_channel(channel) for channel in contents))
    references = contents.references
    _write(
        out / "references.csv",
        [*references.column_names, "label_name", "predicted_name"],
        ([*row.values(), *_named(row, names)] for row in _rows(references)),
    )
    bands = contents.bands
    _write(out / "bands.csv", bands.column_names, (row.values() for row in _rows(bands)))
    images = contents.images
    _write(
        out / "images.csv",
        [*images.column_names, "label_name", "predicted_name"],
        ([*row.values(), *_named(row, names)] for row in _rows(images)),
    )
    classes = contents.store.table("classes", ["label", "name", "count"])
    _write(out / "classes.csv", classes.column_names, (row.values() for row in _rows(classes)))


_CHANNELS = (
    "address", "layer", "channel", "name", "description", "name_status", "name_confidence",
    "named_by", "namer", *SIDE_COLUMNS, "senses", "sense_shares", "other_names",
    *SCORE_COLUMNS, *STATISTIC_COLUMNS, "top_classes", "top_class_shares", "neighbours",
)  # fmt: skip


def _channel(channel: Any) -> list[Any]:
    return [
        channel.address,
        channel.layer,
        channel.number,
        channel.name,
        channel.description,
        channel.status,
        channel.confidence,
        channel.named_by,
        channel.namer,
        channel.state,
        channel.tried,
        channel.used_for,
        channel.fires_for,
        "; ".join(sense.name for sense in channel.senses),
        "; ".join(f"{sense.share or 0:.6g}" for sense in channel.senses),
        "; ".join(f"{method}: {name}" for method, name in channel.other_names if name),
        *(channel.scores.get(name) for name in SCORE_COLUMNS),
        *(channel.statistics[name] for name in STATISTIC_COLUMNS),
        "; ".join(name for name, _ in channel.top_classes),
        "; ".join(f"{share:.6g}" for _, share in channel.top_classes),
        "; ".join(other.address for other, _ in channel.neighbours()),
    ]


def _rows(table: Any) -> Iterable[dict[str, Any]]:
    """Yield the rows of a table, a part at a time: references can be millions of cells."""
    for batch in table.to_batches(max_chunksize=10_000):
        yield from batch.to_pylist()


def _named(row: dict[str, Any], names: Sequence[str]) -> list[str | None]:
    return [
        None if row[column] is None else names[row[column]] for column in ("label", "predicted")
    ]


def _write(path: Path, head: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    with (
        files.atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8-sig", errors="replace", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows([cell(value) for value in row] for row in rows)
