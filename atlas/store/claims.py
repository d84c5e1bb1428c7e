"""claims.json: the closed list of what an explanation may say, as made from its evidence."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from atlas.errors import UserError
from atlas.store import files
from atlas.store.evidence import dumps, parsed

VERSION = 1
FILE = "claims.json"

Audience = Literal["everyone", "expert"]
AUDIENCES: tuple[Audience, ...] = ("everyone", "expert")

SlotKind = Literal[
    "class", "concept", "layer", "share", "probability", "logit", "count", "place", "quote", "model"
]

PLACEHOLDER = re.compile(r"\{([a-z]+[0-9]*)\}")
"""A slot in a wording, by its key."""


@dataclass(frozen=True)
class Slot:
    """A part of a sentence that is a name or a number of the evidence."""

    key: str
    """Its place in the wording: `{key}`."""
    kind: SlotKind
    text: str
    """As it is written."""
    source: str
    """Where in the evidence it stands: an id and a field, `effect:c3 zero.probability`; for what
    is reckoned, the reckoning."""


@dataclass(frozen=True)
class Wording:
    """The canonical sentence of a claim for one audience."""

    text: str
    """With a placeholder for each slot; a whole sentence that can stand anywhere."""
    slots: tuple[Slot, ...]
    joined: str | None = None
    """The same, shorter, right behind a claim of the same kind; with placeholders too."""

    @property
    def sentence(self) -> str:
        """The sentence as it is read."""
        return self.fill(self.text)

    def fill(self, text: str) -> str:
        """Return a text with its placeholders filled."""
        known = {slot.key: slot.text for slot in self.slots}
        return PLACEHOLDER.sub(lambda match: known.get(match[1], match[0]), text)


@dataclass(frozen=True)
class Claim:
    """One thing that may be said, because its condition holds."""

    id: str
    """The kind and what it is about: `falls:c3`."""
    kind: str
    evidence: tuple[str, ...]
    """Ids of what it rests on."""
    weight: float
    """How much a reader misses without it: 0 to 1; 1 for what decides."""
    obligatory: tuple[Audience, ...]
    """Whose text cannot leave it out."""
    caveat: bool
    """Whether it is a reason for care."""
    wordings: Mapping[Audience, Wording]
    """Nothing for an audience to whom it says nothing."""


@dataclass(frozen=True)
class Claims:
    """claims.json."""

    version: int
    claims: tuple[Claim, ...]


_ADAPTER = TypeAdapter(Claims)


def write(claims: tuple[Claim, ...], folder: Path) -> None:
    """Write claims.json."""
    files.write_text(folder / FILE, dumps(asdict(Claims(VERSION, claims))))


def read(folder: Path) -> tuple[Claim, ...]:
    """Read claims.json.

    Raises
    ------
    UserError
        It is missing or is not what `write` writes.
    """
    claims = parsed(_ADAPTER, folder / FILE).claims
    if len({claim.id for claim in claims}) != len(claims):
        raise UserError(f"{folder / FILE} has two claims of one id: explain the picture again")
    return claims
