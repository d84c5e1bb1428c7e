"""narrative.json: claims put into a text for each audience."""

from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from atlas.store import files
from atlas.store.claims import Audience
from atlas.store.evidence import dumps, parsed
from atlas.store.table import Row

VERSION = 2
"""1 had sentences without claims; they can be read still."""

FILE = "narrative.json"
RULES = "rules"


@dataclass(frozen=True)
class Sentence:
    """One sentence, the claims that it makes and the evidence that they rest on."""

    text: str
    evidence: tuple[str, ...]
    claims: tuple[str, ...] = ()
    """Ids in the order in which they are made; none in a narrative of version 1."""
    rephrased: bool = False
    """Whether a model's words stand for the canonical ones."""


@dataclass(frozen=True)
class Narrative:
    """The text for one audience."""

    audience: Audience
    writer: str
    """`rules`, or the model that chose the claims and their order."""
    sentences: tuple[Sentence, ...]
    refused: tuple[str, ...]
    """What of a model's answer was not taken, and why."""


@dataclass(frozen=True)
class Narratives:
    """narrative.json."""

    version: int
    narratives: tuple[Narrative, ...]
    table: tuple[Row, ...] = ()
    """What the text for experts ends with; none in earlier files."""


_ADAPTER = TypeAdapter(Narratives)


def write(narratives: tuple[Narrative, ...], folder: Path, table: tuple[Row, ...]) -> None:
    """Write narrative.json."""
    files.write_text(folder / FILE, dumps(asdict(Narratives(VERSION, narratives, table))))


def read(folder: Path) -> tuple[Narrative, ...]:
    """Read narrative.json, also that of version 1.

    Raises
    ------
    UserError
        It is missing or is not what `write` writes.
    """
    return parsed(_ADAPTER, folder / FILE).narratives
