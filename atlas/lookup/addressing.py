"""Queries that are addresses: of a channel in any form, of a channel's number, of a layer."""

import re
from collections.abc import Iterable, Mapping

from atlas.searching.analyser import RULES

LONGEST = 200
"""Characters; what is longer is no address."""

_CHANNEL = "|".join(RULES["channel"])
_NUMBER = re.compile(rf"(?:{_CHANNEL})\s*#?\s*([0-9]{{1,9}})")
_LAYER = re.compile(r"layer\s+(\S.*)")
_ADDRESS = re.compile(
    rf"(layer\s+)?(\S.*?)\s*(?:[:/#\[]|[\s,]+(?:(?:{_CHANNEL})\b)?\s*#?)\s*([0-9]{{1,9}})\s*\]?"
)


class Addresses:
    """The addresses of an atlas.

    Parameters
    ----------
    layers : mapping
        For each layer, in the order of the forward pass, the row of each channel by its number.
    """

    def __init__(self, layers: Mapping[str, Mapping[int, int]]) -> None:
        self._layers = layers

    def channels(self, query: str) -> list[int]:
        """Return the rows of the channels that a query addresses.

        `features.40:49`, `features.40/49`, `features.40 channel 49` and the like are one channel;
        `40:49` is number 49 of every layer whose name ends so, `channel 49` that of every layer.
        """
        text = _small(query)
        if found := _NUMBER.fullmatch(text):
            return self._at(self._layers, int(found[1]))
        if found := _ADDRESS.fullmatch(text):
            return self._at(self._called(found[2], said=bool(found[1])), int(found[3]))
        return []

    def layers(self, query: str) -> list[str]:
        """Return the layers that `layer NAME` or `layer NUMBER` means."""
        found = _LAYER.fullmatch(_small(query))
        return self._called(found[1], said=True) if found else []

    def _at(self, layers: Iterable[str], number: int) -> list[int]:
        rows = (self._layers[layer].get(number) for layer in layers)
        return [row for row in rows if row is not None]

    def _called(self, name: str, *, said: bool) -> list[str]:
        """Return the layers that have a name, otherwise those whose name ends so after a dot.

        If "layer" was `said`, `layer4` is called 4, and 4 is also the fourth of all, as on pages.
        """
        names = {name, f"layer{name}"} if said else {name}
        layers = list(self._layers)
        found = [layer for layer in layers if layer.lower() in names]
        found = found or [layer for layer in layers if layer.lower().endswith(f".{name}")]
        if said and re.fullmatch("[0-9]{1,9}", name):
            found += layers[max(0, int(name) - 1) : int(name)]
        return list(dict.fromkeys(found))


def _small(query: str) -> str:
    text = query.strip().lower()
    return text if len(text) <= LONGEST else ""
