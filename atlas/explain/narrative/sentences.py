"""What a narrative is made of, how numbers and names are written in it, and narrative.json."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from atlas import files
from atlas.errors import UserError
from atlas.explain.evidence import Concept, dumps

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
    path = folder / FILE
    try:
        return _ADAPTER.validate_json(path.read_bytes()).narratives
    except (OSError, ValidationError) as error:
        raise UserError(f"{path} cannot be read: explain the picture again") from error


def quoted(name: str) -> str:
    """Return a name in quotation marks, on one line and without any inside."""
    plain = " ".join(name.split()).translate({ord(mark): "’" for mark in '“”"„‟'})
    return f"“{plain}”"


def called(concept: Concept) -> str:
    """Return how an expert's text calls a concept: its name with its address."""
    return f"{quoted(concept.name)} ({concept.address})" if concept.name else concept.address


def percent(share: float) -> str:
    """Return a share without its sign, with two significant digits: `12 %`, `0.034 %`."""
    return f"{digits(abs(share) * 100, 2)} %"


def digits(value: float, count: int) -> str:
    """Return a number with `count` significant digits, at least all before the point."""
    if value == 0:
        return "0"
    exponent = int(f"{abs(value):e}".split("e")[1])
    places = max(0, count - 1 - exponent)
    text = f"{value:.{min(places, 9)}f}"
    return text.replace("-", "−")


def probability(value: float) -> str:
    """Return a probability in per cent that is not rounded to certainty."""
    if value >= 0.9995:
        return "more than 99.9 %"
    if value < 0.0005:
        return "less than 0.1 %"
    if value >= 0.99:
        return f"{value * 100:.1f} %"
    return percent(value)


def listed(items: list[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
