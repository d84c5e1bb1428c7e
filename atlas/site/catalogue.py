"""What the pages show, read from the tables of the atlas."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from atlas.errors import UserError
from atlas.site import text
from atlas.store import Mode, Store

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layer:
    """A layer and the rows of its channels."""

    name: str
    position: int  # in the forward pass, from 0
    depth: float  # 0 for the first layer, 1 for the last
    rows: tuple[int, ...]

    @property
    def slug(self) -> str:
        """The layer's name as a part of an address."""
        return text.slug(self.name)

    @property
    def link(self) -> str:
        """The page's address from the site's root."""
        return f"layers/{self.slug}.html"

    @property
    def size(self) -> float:
        """How tall the layer is drawn: by the logarithm of its channels, at most 1."""
        return min(1.0, math.log2(len(self.rows) + 1) / 11)

    @property
    def shown(self) -> str:
        """The layer's name on a page."""
        return text.clip(text.plain(self.name)) or "(network)"


@dataclass(frozen=True)
class Channel:
    """A row of channels."""

    row: int
    layer: Layer
    channel: int
    values: dict[str, Any]

    @property
    def address(self) -> str:
        """`LAYER:CHANNEL`, as it is cited."""
        return f"{self.layer.shown}:{self.channel}"

    @property
    def link(self) -> str:
        """The page's address from the site's root."""
        return f"channels/{self.layer.slug}/{self.channel}.html"


@dataclass(frozen=True)
class Label:
    """A row of classes: an output of the network."""

    label: int
    name: str  # whole, on one line
    count: int

    @property
    def shown(self) -> str:
        """The class's name in a list."""
        return text.clip(self.name) or f"class {self.label}"

    @property
    def link(self) -> str | None:
        """The page's address from the site's root, if it has one."""
        return f"classes/{self.label}.html" if self.count else None


@dataclass(frozen=True)
class Reference:
    """A row of references."""

    row: int
    rank: int  # from 1
    score: float
    image: int
    label: int | None
    predicted: int
    box: tuple[int, int, int, int]


class Catalogue:
    """Everything that the pages are made from; the tables are read once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.manifest = store.manifest()
        self._channel_table = store.table("channels")
        self._reference_table = store.table("references")
        needed = {"neighbours", "neighbour_similarities"} - {*self._channel_table.column_names}
        if needed or "x0" not in self._reference_table.column_names:
            raise UserError(
                f"{store.root} has no patches yet: run `atlas build` to finish it, then make "
                "the site"
            )

    @cached_property
    def layers(self) -> list[Layer]:
        """The measured layers in the order of the forward pass."""
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(self._channel_table["layer"].to_pylist()):
            rows.setdefault(name, []).append(row)
        known = [name for name in self.manifest.get("layers", []) if name in rows]
        names = known + [name for name in rows if name not in known]
        last = max(len(names) - 1, 1)
        return [Layer(name, n, n / last, tuple(rows[name])) for n, name in enumerate(names)]

    @cached_property
    def channels(self) -> list[Channel]:
        """The channels in the order of their rows."""
        layer = {layer.name: layer for layer in self.layers}
        return [
            Channel(row, layer[values["layer"]], values["channel"], values)
            for row, values in enumerate(self._channel_table.to_pylist())
        ]

    @cached_property
    def labels(self) -> dict[int, Label]:
        """The network's classes by their number."""
        table = self.store.table("classes").select(["label", "name", "count"]).to_pydict()
        rows = zip(table["label"], table["name"], table["count"], strict=True)
        return {label: Label(label, text.plain(name), count) for label, name, count in rows}

    @property
    def classes_by(self) -> Literal["label", "mixed", "predicted"]:
        """Which class a picture was counted and explained for: the data's or the network's."""
        images = self.manifest["images"]
        if self.manifest["relevance"]["target"] == "predicted" or not images["labelled"]:
            return "predicted"
        return "label" if images["labelled"] == images["seen"] else "mixed"

    def class_of(self, image: int) -> int:
        """Return the class that a picture was counted and explained for."""
        row = self.images[image]
        label: int | None = None if self.classes_by == "predicted" else row["label"]
        predicted: int = row["predicted"]
        return predicted if label is None else label

    @cached_property
    def shares(self) -> dict[int, npt.NDArray[np.float32]]:
        """Mean relevance share of every channel for each class that was seen."""
        table = self.store.table("classes")
        return {
            label: table["shares"][row].values.to_numpy()
            for row, label in enumerate(table["label"].to_pylist())
            if self.labels[label].count
        }

    @cached_property
    def images(self) -> list[dict[str, Any]]:
        """The rows of images."""
        return list(self.store.table("images").to_pylist())

    @cached_property
    def masks(self) -> npt.NDArray[np.uint8]:
        """The mask of each reference."""
        return self.store.array("masks.npy")

    def load_references(self) -> None:
        """Read what `references` and `masks` give, so that several threads can use them."""
        _ = self._columns, self._spans, self.masks, self.images

    def references(self, channel: Channel, mode: Mode) -> list[Reference]:
        """Return the references of a channel, best first."""
        start, stop = self._spans.get((channel.row, mode == "relevance"), (0, 0))
        columns = self._columns
        return [
            Reference(
                row=row,
                rank=columns["rank"][row] + 1,
                score=columns["score"][row],
                image=columns["image"][row],
                label=columns["label"][row],
                predicted=columns["predicted"][row],
                box=tuple(columns[edge][row] for edge in ("x0", "y0", "x1", "y1")),
            )
            for row in self._order[start:stop].tolist()
        ]

    def name(self, label: int | None) -> Label | None:
        """Return a class, or nothing where none is known."""
        return None if label is None else self.labels.get(label)

    def by_layer(self, values: Sequence[float], count: int) -> list[tuple[Layer, list[Channel]]]:
        """Return for each layer the channels with the `count` highest `values`, highest first."""
        chosen = []
        for layer in self.layers:
            best = sorted(layer.rows, key=lambda row: (-values[row], row))[:count]
            chosen.append((layer, [self.channels[row] for row in best]))
        return chosen

    @cached_property
    def _columns(self) -> dict[str, list[Any]]:
        names = ("rank", "score", "image", "label", "predicted", "x0", "y0", "x1", "y1")
        return {name: self._reference_table[name].to_pylist() for name in names}

    @cached_property
    def _groups(self) -> tuple[Integers, Integers]:
        """The references in the order of channel, mode and rank, and where that order's keys are.

        Keys are twice the channel's row, plus one for relevance.
        """
        rows = {(c.layer.name, c.channel): c.row for c in self.channels}
        table = self._reference_table.select(["layer", "channel", "mode", "rank"]).to_pydict()
        addresses = zip(table["layer"], table["channel"], table["mode"], strict=True)
        keys = np.array(
            [2 * rows[layer, c] + (mode == "relevance") for layer, c, mode in addresses]
        )
        order = np.lexsort((np.array(table["rank"], np.int64), keys))
        return order, keys[order]

    @property
    def _order(self) -> Integers:
        return self._groups[0]

    @cached_property
    def _spans(self) -> dict[tuple[int, bool], tuple[int, int]]:
        keys = self._groups[1]
        starts = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
        return {
            (int(keys[start]) // 2, bool(keys[start] % 2)): (start, stop)
            for start, stop in pairwise(starts)
            if stop > start
        }
