"""narrative.json: evidence in words, for two audiences; every sentence says what it rests on."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from atlas.store import files
from atlas.store.evidence import dumps, parsed

VERSION = 1
FILE = "narrative.json"
DETERMINISTIC = "deterministic"

Audience = Literal["everyone", "expert"]
AUDIENCES: tuple[Audience, ...] = ("everyone", "expert")


@dataclass(frozen=True)
class Sentence:
    """One sentence, and the ids of the evidence that it uses."""

    text: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Narrative:
    """The text for one audience."""

    audience: Audience
    writer: str
    """`deterministic`, or the model that wrote it."""
    sentences: tuple[Sentence, ...]
    claims: int
    """How many were checked: numbers, mentions, orders, directions, causes, places."""
    refused: tuple[str, ...]
    """Why earlier drafts were refused."""


@dataclass(frozen=True)
class Narratives:
    """narrative.json."""

    version: int
    narratives: tuple[Narrative, ...]


_ADAPTER = TypeAdapter(Narratives)


def write(narratives: tuple[Narrative, ...], folder: Path) -> None:
    """Write narrative.json."""
    files.write_text(folder / FILE, dumps(asdict(Narratives(VERSION, narratives))))


def read(folder: Path) -> tuple[Narrative, ...]:
    """Read narrative.json.

    Raises
    ------
    UserError
        It is missing or is not what `write` writes.
    """
    return parsed(_ADAPTER, folder / FILE).narratives
