"""What the pages show, read from the tables of the atlas."""

import hashlib
import json
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from atlas.errors import UserError
from atlas.searching import entries
from atlas.searching.concepts import NamedConcept, concepts, terms
from atlas.site import text
from atlas.site.entries import ChannelEntry, ClassEntry, LayerEntry, ReferenceEntry, row_values
from atlas.site.name_tests import NameTests
from atlas.store import MEASURED, NAMED, REASONED, Mode, Store, bases, files, made, names
from atlas.store.bases import Basis
from atlas.store.checks import channel_rows
from atlas.store.made import MadePicture
from atlas.store.names import NameRecord

Integers = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float32]

_OPTIONAL = ("bands.parquet", "samples.parquet")
"""Tables that older atlases lack."""

_MEASURED_BY = (
    *("id", "model", "data", "preprocessing", "images", "labels", "layers", "k", "activation"),
    *("relevance", "index", "receptive_fields", "depths", "conservation", "versions", "weights"),
)
"""What pages show of the manifest."""


class Catalogue:
    """Everything that the pages are made from; the tables are read once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.manifest = store.manifest()
        if not store.finished:
            raise UserError(
                f"{store.root} has no patches yet: run `atlas build` to finish it, then make "
                "the site"
            )
        self._channel_table = store.table("channels")
        self._reference_table = store.table("references")

    @cached_property
    def measured(self) -> str:
        """A digest of all that was measured: of everything on the pages but the names."""
        shown = {key: self.manifest.get(key) for key in _MEASURED_BY}
        digest = hashlib.sha256(json.dumps(shown, sort_keys=True).encode())
        for table, kind in (
            (self._channel_table, "channels"),
            (self._reference_table, "references"),
        ):
            columns = (*MEASURED[kind], *REASONED.get(kind, ()))
            measured = [name for name in columns if name in table.column_names]
            digest.update(_content(table.select(measured)))
        for part in self.store.parts:
            for name in ("classes.parquet", "images.parquet", "masks.npy", *_OPTIONAL):
                if (part.root / name).is_file():
                    digest.update(files.sha256(part.root / name).encode())
        for basis in self.bases.values():
            digest.update(basis.digest.encode())
            digest.update(json.dumps(dict(basis.facts), sort_keys=True).encode())
        return digest.hexdigest()

    @cached_property
    def named(self) -> list[str]:
        """A digest for each channel of its name, how good that is, and the pictures made for it."""
        columns = [name for name in NAMED["channels"] if name in self._channel_table.schema.names]
        rows = self._channel_table.select(columns).to_pylist()
        senses = self._columns["sense"]
        digests = []
        for row, values in enumerate(rows):
            record = self.record(self.channels[row])
            digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode())
            if record:
                digest.update(f"{record.record} {record.time}".encode())
            for one in self.pictures_made(self.channels[row]):
                digest.update(json.dumps(one.as_dict(), sort_keys=True).encode())
            digest.update(self.tests.key(self.channels[row]).encode())
            digest.update(" ".join(self.concepts_of[row]).encode())  # links to their pages
            for mode in (False, True):
                start, stop = self._spans.get((row, mode), (0, 0))
                digest.update(senses[self._order[start:stop]].tobytes())
            digests.append(digest.hexdigest()[:16])
        return digests

    @cached_property
    def layers(self) -> list[LayerEntry]:
        """The measured layers in the order of the forward pass."""
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(self._channel_table["layer"].to_pylist()):
            rows.setdefault(name, []).append(row)
        known = [name for name in self.manifest.get("layers", []) if name in rows]
        order = known + [name for name in rows if name not in known]
        proper = [name for name in order if name not in self.bases]
        last = max(len(proper) - 1, 1)
        known_depths = self.manifest.get("depths", {})  # older atlases have none
        depth = {name: known_depths.get(name, n / last) for n, name in enumerate(proper)}
        depth |= {name: depth.get(basis.layer, 1.0) for name, basis in self.bases.items()}
        slugs = text.slugs(order)
        return [
            LayerEntry(name, n, depth[name], tuple(rows[name]), slugs[name], self.bases.get(name))
            for n, name in enumerate(order)
        ]

    @cached_property
    def bases(self) -> dict[str, Basis]:
        """The factors of layers by the name of their basis."""
        return {basis.name: basis for part in self.store.parts[1:] for basis in bases.read(part)}

    @cached_property
    def factors_of(self) -> dict[int, list[tuple[int, float]]]:
        """For rows of channels the rows of factors that they are most part of, and how much.

        That is the channel's number in the factor's direction, which is of length 1: of each factor
        its strongest channels.
        """
        found: dict[int, list[tuple[int, float]]] = {}
        for factor, pairs in self.channels_of.items():
            for channel, weight in pairs:
                found.setdefault(channel, []).append((factor, weight))
        return {row: sorted(pairs, key=lambda pair: -abs(pair[1])) for row, pairs in found.items()}

    @cached_property
    def channels_of(self) -> dict[int, list[tuple[int, float]]]:
        """For rows of factors the rows of their strongest channels, and the numbers of these."""
        rows = {layer.name: layer.rows for layer in self.layers}
        found = {}
        for name, basis in self.bases.items():
            channels = rows.get(basis.layer, ())
            if len(channels) != basis.directions.shape[1]:
                continue  # the layer itself is not in the atlas
            for row, factor in zip(rows[name], range(len(basis.directions)), strict=True):
                found[row] = [(channels[n], value) for n, value in basis.strongest(factor)]
        return found

    @cached_property
    def channels(self) -> list[ChannelEntry]:
        """The channels in the order of their rows."""
        layer = {layer.name: layer for layer in self.layers}
        return [
            ChannelEntry(row, layer[values["layer"]], values["channel"], values)
            for row, values in enumerate(row_values(self._channel_table))
        ]

    @cached_property
    def labels(self) -> dict[int, ClassEntry]:
        """The network's classes by their number."""
        table = self.store.table("classes", ["label", "name", "count"]).to_pydict()
        rows = zip(table["label"], table["name"], table["count"], strict=True)
        return {
            label: ClassEntry(label, text.plain(name), count or 0) for label, name, count in rows
        }

    @property
    def seen(self) -> list[ClassEntry]:
        """The classes that have pages."""
        return [label for label in self.labels.values() if label.count]

    @property
    def classes_by(self) -> Literal["label", "mixed", "predicted"]:
        """Which class a picture was counted and explained for: the data's or the network's."""
        images = self.manifest["images"]
        if self.manifest["relevance"]["target"] == "predicted" or not images["labelled"]:
            return "predicted"
        return "label" if images["labelled"] == images["seen"] else "mixed"

    @cached_property
    def _class_of(self) -> list[int | None]:
        labels, predicted = (self.images[name] for name in ("label", "predicted"))
        if self.classes_by == "predicted":
            return list(predicted)
        return [p if label is None else label for label, p in zip(labels, predicted, strict=True)]

    def class_of(self, image: int) -> int | None:
        """Return the class that a picture was counted and explained for."""
        return self._class_of[image]

    @cached_property
    def shares(self) -> dict[int, Shares]:
        """Mean relevance share of every channel for each class that was seen, where measured."""
        table = self.store.table("classes", ["label", "shares"])
        return {
            label: table["shares"][row].values.to_numpy(zero_copy_only=False)
            for row, label in enumerate(table["label"].to_pylist())
            if self.labels[label].count and table["shares"][row].is_valid
        }

    @cached_property
    def images(self) -> dict[str, list[Any]]:
        """The columns of images."""
        columns: dict[str, list[Any]] = self.store.table("images").to_pydict()
        return columns

    @cached_property
    def masks(self) -> npt.NDArray[np.uint8]:
        """The mask of each reference."""
        return self.store.array("masks.npy")

    def load_references(self) -> None:
        """Read what `references` and `masks` give, so that several threads can use them."""
        _ = self._ordered, self._spans, self.masks, self.images, self.channels

    def references(self, channel: ChannelEntry, mode: Mode) -> list[ReferenceEntry]:
        """Return the references of a channel, best first."""
        start, stop = self._spans.get((channel.row, mode == "relevance"), (0, 0))
        rows = self._order[start:stop]
        part = {name: column[start:stop].tolist() for name, column in self._ordered.items()}
        boxes = zip(part["x0"], part["y0"], part["x1"], part["y1"], strict=True)
        return [
            ReferenceEntry(
                row=row,
                rank=part["rank"][n] + 1,
                score=part["score"][n],
                image=part["image"][n],
                label=_known(part["label"][n]),
                predicted=_known(part["predicted"][n]),
                box=box,
                sense=_known(part["sense"][n]),
            )
            for n, (row, box) in enumerate(zip(rows.tolist(), boxes, strict=True))
        ]

    def name(self, label: int | None) -> ClassEntry | None:
        """Return a class, or nothing where none is known."""
        return None if label is None else self.labels.get(label)

    def by_layer(self, values: Shares, count: int) -> list[tuple[LayerEntry, list[ChannelEntry]]]:
        """Return for each layer the channels with the `count` highest `values`, highest first.

        Those with values of 0 and below are left out, and so are layers that have no others.
        """
        chosen = []
        for layer in self.layers:
            rows = np.array(layer.rows)
            best = rows[np.argsort(-values[rows], kind="stable")[:count]]
            channels = [self.channels[row] for row in best.tolist() if values[row] > 0]
            if channels:
                chosen.append((layer, channels))
        return chosen

    def pictures_made(self, channel: ChannelEntry) -> list[MadePicture]:
        """Return the pictures that were made for a channel."""
        keys = ((channel.layer.name, channel.channel, kind) for kind in made.KINDS)
        return [self._made[key] for key in keys if key in self._made]

    @cached_property
    def _made(self) -> made.Rows:
        return made.read_all(self.store)

    def record(self, channel: ChannelEntry) -> NameRecord | None:
        """Return the naming that counts for a channel, with question and answer."""
        return self._records.get((channel.layer.name, channel.channel))

    @cached_property
    def _records(self) -> dict[tuple[str, int], NameRecord]:
        """The last record of each channel of the name, and by the method, that the columns have."""
        counting = {
            (one.layer.name, one.channel): (one.values.get("named_by"), one.values.get("name"))
            for one in self.channels
        }
        found: dict[tuple[str, int], NameRecord] = {}
        for record in names.valid(self.store):
            address = record.layer, record.channel
            if counting.get(address) == (record.method, record.name) and (
                record.whole or (record.side is not None and address not in found)
            ):
                found[address] = record
        return found

    @cached_property
    def texts(self) -> list[entries.ChannelTexts]:
        """What is searched of each channel."""
        return list(entries.channels(self._channel_table))

    @cached_property
    def concepts(self) -> dict[str, NamedConcept]:
        """The names, and words of names, that several channels have, by their keys."""
        return concepts(self.texts)

    @cached_property
    def concepts_of(self) -> list[list[str]]:
        """For each row of channels the keys of its concepts: whole names first, then words."""
        found = []
        for texts in self.texts:
            own = (term for name in (texts.name, *texts.senses) for term in terms(name))
            keys = dict.fromkeys(key for key, *_ in sorted(own, key=lambda term: not term[2]))
            found.append([key for key in keys if key in self.concepts])
        return found

    @cached_property
    def tests(self) -> NameTests:
        """The tests of the names."""
        return NameTests(self.store, self._records)

    @cached_property
    def images_of(self) -> Integers:
        """The picture of each reference, in the order of references."""
        return self._columns["image"]

    @cached_property
    def channel_of(self) -> Integers:
        """The row of the channel of each reference, in the order of references."""
        return self._keys // 2

    @cached_property
    def by_relevance(self) -> npt.NDArray[np.bool_]:
        """Whether each reference was chosen by relevance, in the order of references."""
        chosen: npt.NDArray[np.bool_] = self._keys % 2 == 1
        return chosen

    @property
    def ranks(self) -> Integers:
        """The place of each reference among those of its channel and mode, from 0."""
        return self._columns["rank"]

    @property
    def boxes(self) -> Integers:
        """The patch of each reference as (n, 4): left, top, right, bottom."""
        return np.stack([self._columns[name] for name in ("x0", "y0", "x1", "y1")], axis=1)

    @cached_property
    def scores(self) -> Shares:
        """The score of each reference."""
        return self._columns["score"]

    @cached_property
    def _columns(self) -> dict[str, npt.NDArray[Any]]:
        names_ = ("rank", "score", "image", "label", "predicted", "x0", "y0", "x1", "y1")
        table = self._reference_table
        columns = {name: _filled(table[name]) for name in names_}
        missing = np.full(table.num_rows, -1, np.int32)
        columns["sense"] = _filled(table["sense"]) if "sense" in table.schema.names else missing
        return columns

    @cached_property
    def _keys(self) -> Integers:
        """For each reference twice the channel's row, plus one for relevance."""
        table = self._reference_table
        rows = channel_rows(table, self._channel_table)
        modes = table["mode"].combine_chunks().dictionary_encode()
        relevance = np.array([name == "relevance" for name in modes.dictionary.to_pylist()])
        keys: Integers = 2 * rows + relevance[modes.indices.to_numpy()]
        return keys

    @cached_property
    def _order(self) -> Integers:
        """The references in the order of channel, mode and rank."""
        return np.lexsort((self._columns["rank"], self._keys))

    @cached_property
    def _ordered(self) -> dict[str, npt.NDArray[Any]]:
        """The columns in that order, so that those of a channel are one piece."""
        return {name: column[self._order] for name, column in self._columns.items()}

    @cached_property
    def _spans(self) -> dict[tuple[int, bool], tuple[int, int]]:
        keys = self._keys[self._order]
        starts = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
        return {
            (int(keys[start]) // 2, bool(keys[start] % 2)): (start, stop)
            for start, stop in pairwise(starts)
            if stop > start
        }


def _filled(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return a column as an array, with -1 for null."""
    values: npt.NDArray[Any] = column.fill_null(-1).to_numpy()
    return values


def _known(value: int) -> int | None:
    return None if value < 0 else value


def _content(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    table = table.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content
