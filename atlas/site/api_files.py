"""The static JSON API of a site: api/v1 with a file for each channel and class, and the tables.

The schemas of these files stand beside them. Fields are only ever added within v1.
"""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv

from atlas.plain import cell
from atlas.resources import shipped
from atlas.site.catalogue import Catalogue
from atlas.site.citing import Citing
from atlas.site.class_similarity import SimilarClass
from atlas.site.entries import ChannelEntry, ClassEntry, LayerEntry
from atlas.site.output import Tree
from atlas.store import FACTORS, MODES, TESTED, evidence
from atlas.store.influence import worth_a_word

ROOT = "api/v1"

SCHEMAS = ("index", "channel", "class")

STATISTIC_FIELDS = ("images", "act_mean", "act_max", "act_density", "rel_mean", "rel_abs_mean")

SCORE_FIELDS = (
    *(column.removeprefix("score_") for column in TESTED if column != "score_name"),
    "clarity",
)


class ApiFiles:
    """Writes the files of one atlas below `api/v1`, which programs read."""

    def __init__(self, catalogue: Catalogue, tree: Tree, citing: Citing) -> None:
        self._catalogue = catalogue
        self._tree = tree
        self._citing = citing

    def write_channel(self, channel: ChannelEntry) -> str:
        """Write the JSON of a channel and return its address."""
        record = self._catalogue.record(channel)
        values = channel.values
        return self._write(
            f"channels/{channel.layer.slug}/{channel.channel}.json",
            {
                "atlas": self._catalogue.manifest["id"],
                "address": f"{channel.layer.name}:{channel.channel}",
                "layer": channel.layer.name,
                "channel": channel.channel,
                "basis_sha256": _digest(channel.layer),
                "page": channel.link,
                "permalink": self._citing.permalink(channel.link),
                "name": channel.name or None,
                "description": channel.description or None,
                "status": channel.status,
                "state": channel.state,
                "used_for": values.get("used_for"),
                "fires_for": values.get("fires_for"),
                "tried": values.get("name_tried"),
                "fits": {mode: channel.number(f"fits_{mode}") for mode in MODES},
                "confidence": channel.number("name_confidence"),
                "named_by": values.get("named_by"),
                "namer": values.get("namer"),
                "other_names": values.get("other_names") or [],
                "agreement": channel.number("name_agreement"),
                "senses": values.get("senses") or [],
                "scores": {name: channel.number(f"score_{name}") for name in SCORE_FIELDS},
                "statistics": {name: channel.number(name) for name in STATISTIC_FIELDS},
                "classes": [{"class": label, "share": share} for label, share in channel.classes],
                "histogram": {
                    "edges": values.get("act_edges") or [],
                    "counts": values.get("act_counts") or [],
                },
                "similar": self._pairs(channel.neighbours, "cosine"),
                "together": self._pairs(channel.together, "correlation"),
                "lower": self._pairs(channel.lower, "correlation"),
                "upper": self._pairs(channel.upper, "correlation"),
                "made_of": self._pairs(channel.pairs("made_of", "made_of_shares"), "share"),
                "held_back_by": self._pairs(
                    channel.pairs("held_back_by", "held_back_by_shares"), "share"
                ),
                "goes_into": self._pairs(channel.pairs("goes_into", "goes_into_shares"), "share"),
                "goes_into_classes": [
                    {"class": label, "share": share}
                    for label, share in channel.pairs("goes_into_classes", "goes_into_class_shares")
                ],
                "name_by_weights": values.get("name_by_weights"),
                "weights_agree": channel.weights_agree,
                "influence": values.get("influence"),
                "influence_relative": values.get("influence_relative"),
                "reacts_to": worth_a_word(
                    values.get("influence"), values.get("influence_relative")
                ),
                "made": [one.as_dict() for one in self._catalogue.pictures_made(channel)],
                "references": {mode: self._references(channel, mode) for mode in MODES},
                "naming": record
                and {
                    "time": record.time,
                    "by": record.by,
                    "revision": record.revision,
                    "prompt": record.prompt,
                    "decoding": record.decoding,
                    "references": record.references,
                    "raw": record.raw,
                },
            },
        )

    def write_class(
        self,
        label: ClassEntry,
        top_channels: Sequence[tuple[LayerEntry, Sequence[ChannelEntry]]],
        similar: Sequence[SimilarClass],
    ) -> str:
        """Write the JSON of a class and return its address."""
        shares = self._catalogue.shares.get(label.label)
        return self._write(
            f"classes/{label.label}.json",
            {
                "atlas": self._catalogue.manifest["id"],
                "class": label.label,
                "name": label.name,
                "count": label.count,
                "page": f"classes/{label.label}.html",
                "channels": [
                    {"address": _address(c), "share": float(shares[c.row])}
                    for _, channels in top_channels
                    for c in channels
                    if shares is not None
                ],
                "confusable": [
                    {
                        "class": other.label.label,
                        "cosine": other.similarity,
                        "taken": other.taken,
                        "shared": [_address(channel) for channel in other.shared],
                    }
                    for other in similar
                ],
            },
        )

    def write_index(self, title: str, description: str) -> None:
        """Write index, schemas and tables."""
        catalogue = self._catalogue
        self._write(
            "index.json",
            {
                "atlas": catalogue.manifest["id"],
                "title": title,
                "description": description,
                "model": catalogue.manifest["model"]["name"],
                "data": catalogue.manifest["data"]["source"],
                "layers": [
                    {
                        "layer": layer.name,
                        "basis_sha256": _digest(layer),
                        "page": layer.link,
                        "channels": [catalogue.channels[row].channel for row in layer.rows],
                        "files": f"{ROOT}/channels/{layer.slug}/CHANNEL.json",
                    }
                    for layer in catalogue.layers
                ],
                "classes": [
                    {
                        "class": label.label,
                        "name": label.name,
                        "file": f"{ROOT}/classes/{label.label}.json",
                    }
                    for label in catalogue.seen
                ],
                "explanations": [
                    {"page": f"{name.removesuffix('/' + evidence.FILE)}.html", "file": name}
                    for name in self._tree.within(evidence.EXPLANATIONS)
                    if name.endswith(f"/{evidence.FILE}")
                ],
                "tables": [f"{ROOT}/tables/{name}" for name in self._tables()],
                "schemas": [f"{ROOT}/schema/{name}.json" for name in SCHEMAS],
            },
        )
        for name in SCHEMAS:
            schema = (shipped("site_templates") / "schema" / f"{name}.json").read_bytes()
            self._tree.write(f"{ROOT}/schema/{name}.json", schema)

    def _tables(self) -> list[str]:
        """Put the tables as they are, and as CSV; return their names."""
        written = []
        for part in self._catalogue.store.parts:
            folder = f"{FACTORS}/" if part.home else ""
            for name in ("channels", "references", "images", "classes"):
                parquet, csv = (f"{folder}{name}.{kind}" for kind in ("parquet", "csv"))
                written += [parquet, csv]
                source, target = part.table_path(name), f"{ROOT}/tables/{parquet}"
                if not (
                    self._tree.linked(target, source) and self._tree.has(f"{ROOT}/tables/{csv}")
                ):
                    table = part.table(name)
                    if name == "classes":  # a number for each channel is for programs
                        lists = {"shares", "fired"} & {*table.column_names}
                        table = table.drop_columns(sorted(lists))
                    self._tree.write(f"{ROOT}/tables/{csv}", _csv(table))
                self._tree.link(target, source)
        return written

    def _pairs(self, pairs: Sequence[tuple[int, float]], what: str) -> list[dict[str, Any]]:
        channels = self._catalogue.channels
        return [{"address": _address(channels[row]), what: value} for row, value in pairs]

    def _references(self, channel: ChannelEntry, mode: Any) -> list[dict[str, Any]]:
        keys = self._catalogue.images["key"]
        return [
            {
                "rank": reference.rank,
                "score": reference.score,
                "key": keys[reference.image],
                "image": reference.image,
                "label": reference.label,
                "predicted": reference.predicted,
                "box": reference.box,
                "sense": reference.sense,
            }
            for reference in self._catalogue.references(channel, mode)
        ]

    def _write(self, name: str, value: dict[str, Any]) -> str:
        address = f"{ROOT}/{name}"
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        self._tree.write(address, text + "\n")
        return address


def _address(channel: ChannelEntry) -> str:
    return f"{channel.layer.name}:{channel.channel}"


def _digest(layer: LayerEntry) -> str | None:
    """Return which factors these are; None of channels."""
    return layer.basis.digest if layer.basis else None


def _csv(table: pa.Table) -> bytes:
    """Return a table as CSV; lists and structures become JSON, and no text is a formula."""
    columns = {}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_nested(column.type):
            texts = [None if value is None else json.dumps(value) for value in column.to_pylist()]
            column = pa.array(texts, pa.string())
        elif pa.types.is_string(column.type):
            once = column.combine_chunks().dictionary_encode()  # most stand in many rows
            texts = pa.array([cell(value) for value in once.dictionary.to_pylist()], pa.string())
            column = texts.take(once.indices)
        columns[name] = column
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(pa.table(columns), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content
