"""Addresses of channels and factors, `LAYER:CHANNEL`: what is one, and which ones are near."""

import re
from collections.abc import Sequence

from atlas.errors import UserError

NEAREST = 3
"""How many addresses a message about an unknown one has."""

BASIS = "/"
"""Stands between a layer and the rest of the name of a set of its factors."""

_ADDRESS = re.compile(r"(?P<layer>\S*\S):(?P<number>\d+)")


def looks_like_one(text: str) -> bool:
    """Say whether `text` is written like an address, known or not."""
    return _ADDRESS.fullmatch(text) is not None


def nearest(address: str, known: Sequence[str], count: int = NEAREST) -> list[str]:
    """Return the known addresses that are most like `address`, the most similar first.

    In the same layer these are the nearest numbers, and where there are no such factors those of
    other factors of the layer, or of its channels; otherwise the nearest spellings.
    """
    layer, _, number = address.rpartition(":")
    host = layer.partition(BASIS)[0]
    starts = f"{layer}:", f"{host}{BASIS}", f"{host}:"
    alike = ([other for other in known if other.startswith(start)] for start in starts)
    same = next(filter(None, alike), [])
    if same and number.isdecimal():
        wanted = int(number)
        return sorted(same, key=lambda other: abs(int(other.rpartition(":")[2]) - wanted))[:count]
    from rapidfuzz import process  # noqa: PLC0415 (only mistakes need it)

    return [match for match, _, _ in process.extract(address, known, limit=count)]


def unknown(address: str, known: Sequence[str], atlas_id: str) -> UserError:
    """Return the error about an address that the atlas lacks."""
    near = ", ".join(nearest(address, known))
    unit = "factor" if BASIS in address.rpartition(":")[0] else "channel"
    return UserError(f"no {unit} {address!r} in {atlas_id}: the nearest are {near}")
