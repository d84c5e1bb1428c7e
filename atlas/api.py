"""The atlas as a Python object: channels, classes, references and pictures.

>>> a = atlas.open("build/out/demo")                    # doctest: +SKIP
>>> a["features.28", 79].references("relevance")[0]     # doctest: +SKIP
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from atlas.errors import UserError
from atlas.store import Mode, Store, open_store


@dataclass(frozen=True)
class Reference:
    """One of the pictures that a channel answers to most."""

    mode: Mode
    """By which score it was chosen."""
    rank: int
    """From 0, best first."""
    score: float
    """By the manifest's aggregation and normalisation of the mode."""
    key: str
    """Name of the picture in the data."""
    label: str | None
    """Name of its class, where the data has labels."""
    predicted: str
    """Name of the class that the network gives it."""
    peak: tuple[int, int]
    """Row and column of the peak unit on the layer's map."""
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 of the patch in pixels of the stored picture, half-open."""
    path: Path
    """The stored picture."""

    def picture(self) -> Image.Image:
        """Return the whole picture as the network saw it."""
        with Image.open(self.path, formats=["WEBP"]) as picture:
            return picture.convert("RGB")

    def patch(self) -> Image.Image:
        """Return the patch."""
        return self.picture().crop(self.box)


@dataclass(frozen=True)
class Channel:
    """One feature map of a layer."""

    layer: str
    number: int
    statistics: Mapping[str, float]
    """`act_mean`, `act_max`, `act_density`, `rel_mean`, `rel_abs_mean`, as in channels.parquet."""
    top_classes: tuple[tuple[str, float], ...]
    """Classes with the largest mean relevance share of this channel, and the share."""
    _atlas: "Atlas" = field(repr=False, compare=False)
    _row: int = field(repr=False)

    @property
    def address(self) -> str:
        """`LAYER:CHANNEL`, by which papers cite it."""
        return f"{self.layer}:{self.number}"

    @property
    def permalink(self) -> str:
        """Address of its page on the atlas's site."""
        return f"channels/{self.layer}/{self.number}.html"

    def references(self, mode: Mode) -> list[Reference]:
        """Return the references of one mode, best first."""
        return self._atlas._references(self, mode)

    def neighbours(self) -> list[tuple["Channel", float]]:
        """Return the channels with the most similar patches, and the cosine similarity."""
        row = self._atlas.channels.slice(self._row, 1).to_pylist()[0]
        pairs = zip(row["neighbours"], row["neighbour_similarities"], strict=True)
        return [(self._atlas._channel(number), similarity) for number, similarity in pairs]


class Atlas:
    """A built atlas, read as it is needed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __repr__(self) -> str:
        return f"<Atlas {self.id}: {len(self)} channels of {len(self.layers)} layers>"

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What was measured, how and with what."""
        return self._store.manifest()

    @property
    def id(self) -> str:
        """`<model>-<data>-<hash of what was measured>`."""
        return str(self.manifest["id"])

    @property
    def layers(self) -> list[str]:
        """The layers in the order of the forward pass."""
        return list(self.manifest["layers"])

    @cached_property
    def channels(self) -> pa.Table:
        """channels.parquet."""
        return self._store.table("channels")

    @cached_property
    def classes(self) -> pa.Table:
        """classes.parquet."""
        return self._store.table("classes")

    @cached_property
    def images(self) -> pa.Table:
        """images.parquet."""
        return self._store.table("images")

    @cached_property
    def references(self) -> pa.Table:
        """references.parquet."""
        return self._store.table("references")

    def __len__(self) -> int:
        return int(self.channels.num_rows)

    def __iter__(self) -> Iterator[Channel]:
        return (self._channel(row) for row in range(len(self)))

    def __getitem__(self, address: str | tuple[str, int]) -> Channel:
        """Return the channel at `"LAYER:CHANNEL"` or `(LAYER, CHANNEL)`.

        Raises
        ------
        UserError
            There is no such channel.
        """
        if isinstance(address, str):
            layer, _, number = address.rpartition(":")
        else:
            layer, number = address[0], str(address[1])
        row = self._rows.get((layer, int(number))) if number.isdecimal() else None
        if row is None:
            raise UserError(
                f"no channel {layer}:{number} in {self.id}: write LAYER:CHANNEL with a layer of "
                + ", ".join(self.layers)
            )
        return self._channel(row)

    @cached_property
    def _rows(self) -> dict[tuple[str, int], int]:
        layers, numbers = (self.channels[name].to_pylist() for name in ("layer", "channel"))
        return {pair: row for row, pair in enumerate(zip(layers, numbers, strict=True))}

    @cached_property
    def _names(self) -> list[str]:
        return list(self.classes["name"].to_pylist())

    @cached_property
    def _ranges(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """First and last row of references.parquet for each channel: they stand in its order."""
        pairs = zip(
            self.references["layer"].to_pylist(),
            self.references["channel"].to_pylist(),
            strict=True,
        )
        rows = np.array([self._rows[pair] for pair in pairs])
        every = np.arange(len(self))
        return np.searchsorted(rows, every), np.searchsorted(rows, every, side="right")

    def _channel(self, row: int) -> Channel:
        values = self.channels.slice(row, 1).to_pylist()[0]
        statistics = ("act_mean", "act_max", "act_density", "rel_mean", "rel_abs_mean")
        classes = zip(values["top_classes"], values["top_class_shares"], strict=True)
        return Channel(
            values["layer"],
            values["channel"],
            {name: values[name] for name in statistics},
            tuple((self._names[label], share) for label, share in classes),
            self,
            row,
        )

    def _references(self, channel: Channel, mode: Mode) -> list[Reference]:
        first, last = (int(rows[channel._row]) for rows in self._ranges)
        part = self.references.slice(first, last - first)
        return [
            self._reference(row) for row in part.filter(pc.equal(part["mode"], mode)).to_pylist()
        ]

    def _reference(self, row: dict[str, Any]) -> Reference:
        image = self.images.slice(row["image"], 1).to_pylist()[0]
        return Reference(
            row["mode"],
            row["rank"],
            row["score"],
            image["key"],
            None if row["label"] is None else self._names[row["label"]],
            self._names[row["predicted"]],
            (row["y"], row["x"]),
            (row["x0"], row["y0"], row["x1"], row["y1"]),
            self._store.root / image["path"],
        )


def open(path: str | Path) -> Atlas:  # noqa: A001 (atlas.open, as one opens a file)
    """Open the atlas in the directory `path`.

    Raises
    ------
    UserError
        There is none, it is damaged, or a newer version of this package made it.
    """
    return Atlas(open_store(path))
