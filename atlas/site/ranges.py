"""Pictures from the whole range of a channel's activation, as its page shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas.site.entries import ChannelEntry
from atlas.store import BANDS, Store
from atlas.store.checks import channel_rows

SHOWN = 3
"""Pictures of each band on a channel's page."""

RANDOM = "random"

CALLED = {
    "top": "strongest",
    "99.9": "top 0.1 %",
    "99": "top 1 %",
    "90": "top 10 %",
    "50": "upper half",
    "low": "weak",
    "silent": "silent",
    RANDOM: "at random",
}
"""What a page calls the bands: above what share of all pictures they lie, below the one before."""


@dataclass(frozen=True)
class BandPicture:
    """A picture of a band."""

    image: int
    activation: float
    """The channel's largest output in it."""


@dataclass(frozen=True)
class Band:
    """A part of the range of a channel's activation."""

    name: str
    called: str
    count: int
    """How many pictures of the data are in it."""
    pictures: tuple[BandPicture, ...]


class Ranges:
    """The bands of the channels of an atlas.

    Parameters
    ----------
    store : Store
        Atlases that were made without bands have none of any channel.
    """

    def __init__(self, store: Store) -> None:
        self._known = store.has_table("bands")
        if not self._known:
            return
        table = store.table("bands", ["layer", "channel", "band", "image", "activation", "weight"])
        rows = channel_rows(table, store.table("channels", ["layer", "channel"]))
        every = np.arange(store.rows("channels"))
        self._first, self._last = (np.searchsorted(rows, every, side) for side in ("left", "right"))
        self._columns: dict[str, Any] = {
            name: table[name].to_numpy() for name in ("image", "activation", "weight")
        }
        band = table["band"].combine_chunks().dictionary_encode()
        places = np.array([BANDS.index(name) for name in band.dictionary.to_pylist()], np.int8)
        self._band = places[band.indices.to_numpy()]

    def of(self, channel: ChannelEntry) -> list[Band]:
        """Return the bands of a channel that have pictures, in the order of `BANDS`."""
        if not self._known:
            return []
        start, stop = self._first[channel.row], self._last[channel.row]
        band = self._band[start:stop]
        found = []
        for place, name in enumerate(BANDS):
            rows = start + np.flatnonzero(band == place)
            if len(rows):
                shown = rows[: 2 * SHOWN if name == RANDOM else SHOWN]
                found.append(self._band_of(name, rows.tolist(), shown.tolist()))
        return found

    def _band_of(self, name: str, rows: Sequence[int], shown: Sequence[int]) -> Band:
        column = self._columns
        pictures = tuple(
            BandPicture(int(column["image"][row]), float(column["activation"][row]))
            for row in shown
        )
        return Band(name, CALLED[name], round(float(column["weight"][rows].sum())), pictures)
