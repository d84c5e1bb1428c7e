"""Queries that are addresses: of a channel in any form, of a channel's number, of a layer."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping

from atlas.plain import unslug
from atlas.searching.analyser import RULES

LONGEST = 200
"""Characters; what is longer is no address."""

_CHANNEL = "|".join(RULES["channel"])
_NUMBER = re.compile(
    rf"(?:(?:{_CHANNEL})\s*#?|#)\s*([0-9]{{1,9}})(?:,?\s+(?:of|in)\s+(layer\s*)?(\S.*))?"
)
_LAYER = re.compile(r"layer\s*(\S.*)")
_ADDRESS = re.compile(
    rf"(layer\s*)?(\S.*?)\s*(?:[:/#\[]|[\s,]+)\s*(?:(?:{_CHANNEL})\b)?\s*#?\s*([0-9]{{1,9}})\s*\]?"
)
_DOTTED = re.compile(r"(\S+)\.([0-9]{1,9})")
_ORDINAL = re.compile(r"\b([0-9]{1,9})(?:st|nd|rd|th)\s+layer\b", re.IGNORECASE)
_PAGE = re.compile(r"(?:\S*/)?channels/(\S+)/([0-9]{1,9})(?:\.html|\.json)?(?:[?#]\S*)?")
_COUNTED = re.compile(r"\blayer\s*#?\s*([0-9]{1,9})\b")
_BETWEEN = re.compile("[^a-z0-9]+")
_AROUND = "".join(RULES["around"])


def bare(query: str) -> str:
    """Return a query without the marks and spaces around it, wide characters as plain ones.

    People copy an address with the quotes, brackets or the full stop that stood beside it, or the
    whole address of its page.
    """
    text = (
        unicodedata.normalize("NFKC", query).strip().lstrip(_AROUND + "[").rstrip(_AROUND).strip()
    )
    page = _PAGE.fullmatch(text)
    if page:
        return f"{unslug(page[1])}:{page[2]}"
    return _ORDINAL.sub(r"layer \1", text)  # 13th layer


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

        `features.40:49`, `features.40/49`, `channel 49 of features.40` and the like are one
        channel; `40:49` is number 49 of every layer whose name ends so, `channel 49` that of every
        layer.
        """
        text = _small(query)
        if found := _NUMBER.fullmatch(text):
            number, said, name = found.groups()
            layers = self._called(name, said=bool(said)) if name else self._layers
        elif found := _ADDRESS.fullmatch(text):
            said, name, number = found.groups()
            layers = self._called(name, said=bool(said))
        elif found := _DOTTED.fullmatch(text):
            name, number = found.groups()
            layers = self._dotted(name, text)
        else:
            return []
        rows = (self._layers[layer].get(int(number)) for layer in layers)
        return [row for row in rows if row is not None]

    def spelled(self, query: str, known: Callable[[str], bool]) -> str:
        """Return a query with the names of the layers that it counts: `star in layer 13`.

        Where layers are called so (`known("layer4")`), the words are left to stand for them.
        """

        def name(found: re.Match[str]) -> str:
            number = int(found[1])
            if known(f"layer{number}") or not 1 <= number <= len(self._layers):
                return found[0]
            return list(self._layers)[number - 1]

        return _COUNTED.sub(name, query.lower())

    def layers(self, query: str) -> list[str]:
        """Return the layers that `layer NAME` or `layer NUMBER` means."""
        found = _LAYER.fullmatch(_small(query))
        return list(self._called(found[1], said=True)) if found else []

    def _dotted(self, name: str, text: str) -> list[str]:
        """Return the layer of `features.40.49`, unless the name of another one begins like that."""
        if any(layer.lower().startswith(text) for layer in self._layers):
            return []
        return [layer for layer in self._layers if layer.lower() == name]

    def _called(self, name: str, *, said: bool) -> Iterable[str]:
        """Return the layers of a name: called just so, or so but for dots and the like.

        Otherwise those whose name ends so after a dot, and where "layer" was `said` the one of this
        number in the forward pass, from 1 as on the pages. `layer4` is also called "layer 4".
        """
        names = {name, f"layer{name}"} if said else {name}
        bare = {_BETWEEN.sub("", each) for each in names} - {""}
        for called in (
            [layer for layer in self._layers if layer.lower() in names],
            [layer for layer in self._layers if _BETWEEN.sub("", layer.lower()) in bare],
        ):
            if called:
                return called
        found = [layer for layer in self._layers if layer.lower().endswith(f".{name}")]
        if said and re.fullmatch("[0-9]{1,9}", name):
            found += list(self._layers)[max(0, int(name) - 1) : int(name)]
        return dict.fromkeys(found)


def _small(query: str) -> str:
    text = query.lower()
    return text if len(text) <= LONGEST else ""
