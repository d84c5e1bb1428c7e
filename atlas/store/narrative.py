"""narrative.json: claims put into a text for each audience."""

from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from atlas.store import files
from atlas.store.claims import Audience
from atlas.store.evidence import dumps, parsed
from atlas.store.table import Row

VERSION = 2
"""1 had sentences without claims."""

FILE = "narrative.json"
RULES = "rules"


@dataclass(frozen=True)
class Sentence:
    """One sentence, the claims that it makes and the evidence that they rest on."""

    text: str
    evidence: tuple[str, ...]
    claims: tuple[str, ...]
    """Ids in the order in which they are made."""
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
    table: tuple[Row, ...]
    """What the text for experts ends with."""


_ADAPTER = TypeAdapter(Narratives)


def write(narratives: tuple[Narrative, ...], folder: Path, table: tuple[Row, ...]) -> None:
    """Write narrative.json."""
    files.write_text(folder / FILE, dumps(asdict(Narratives(VERSION, narratives, table))))


def read(folder: Path) -> tuple[Narrative, ...]:
    """Return the texts of narrative.json; see `whole` for errors."""
    return whole(folder).narratives


def whole(folder: Path) -> Narratives:
    """Read narrative.json.

    Raises
    ------
    UserError
        It is missing or is not what `write` writes.
    """
    return parsed(_ADAPTER, folder / FILE)
