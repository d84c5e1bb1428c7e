"""maps.json: other maps of an explained picture, each with its test."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from atlas.errors import UserError
from atlas.store import files
from atlas.store.audit import TITLES
from atlas.store.evidence import dumps, parsed

VERSION = 1
FILE = "maps.json"

_Heights = Annotated[
    tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=2, max_length=1000)
]


@dataclass(frozen=True)
class TestedMap:
    """A map of a picture, and what happens as its pixels go or come."""

    map: str
    """Its name, one of `atlas.store.audit.TITLES`."""
    deletion: _Heights
    """Probability of the target as the highest pixels become grey, in equal steps."""
    insertion: _Heights
    """The same from a grey picture on."""

    @property
    def title(self) -> str:
        """What people call the map."""
        return TITLES[self.map]

    @property
    def file(self) -> str:
        """The drawing, in the directory of the explanation."""
        return f"map-{self.map.replace('+', 'p')}.webp"


@dataclass(frozen=True)
class OtherMaps:
    """maps.json."""

    version: int
    maps: tuple[TestedMap, ...]


_ADAPTER = TypeAdapter(OtherMaps)


def write(maps: Sequence[TestedMap], folder: Path) -> None:
    """Write maps.json."""
    files.write_text(folder / FILE, dumps(asdict(OtherMaps(VERSION, tuple(maps)))))


def read(folder: Path) -> tuple[TestedMap, ...]:
    """Read maps.json; nothing where there is none.

    Raises
    ------
    UserError
        It is not what `write` writes.
    """
    if not (folder / FILE).is_file():
        return ()
    found = parsed(_ADAPTER, folder / FILE).maps
    names = [one.map for one in found]
    if len(set(names)) != len(names) or not {*names} <= TITLES.keys():
        raise UserError(
            f"{folder / FILE} has a map twice, or an unknown one: explain the picture again"
        )
    return found
