"""A channel that was found, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from atlas.api.contents import Channel
from atlas.api.reference import Reference

Kind = Literal[
    "address",
    "layer",
    "state",
    "name",
    "words",
    "letters",
    "near",
    "some",
    "meaning",
    "picture",
]
"""Why a channel is found. What was asked for is its address; its layer; the state of its name, as
`one-sided`; its name or that of one of its senses; words of it; letters of its words; words nearest
in spelling; only some of the words, since no channel has all; the same meaning; the same look."""

Field = Literal["name", "senses", "description", "classes", "layer"]
"""Where words are looked for."""


def missing(nearest: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return what is said of words that stand nowhere, each with those nearest in spelling."""
    return [
        f"nothing for “{word}”" + (f"; nearest: {', '.join(near)}" if near else "")
        for word, near in nearest.items()
    ]


@dataclass(frozen=True)
class Hit:
    """A channel that was found."""

    channel: Channel
    """What was found."""
    kind: Kind
    """Why it was found."""
    found: tuple[Field, ...] = ()
    """Where the words stand."""
    together: tuple[Field, ...] = ()
    """Where all of them stand in one text; nowhere where one is in the name, another in a class."""
    label: str | None = None
    """Name of the top class that has words of the query, if the channel is found by it."""
    lacking: int = 0
    """Words of the query that it lacks, if no channel has all of those that stand somewhere."""
    nearest: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The words of the query that stand nowhere, and the nearest ones that were taken for them."""
    similarity: float | None = None
    """Cosine, -1 to 1, of what was asked for and the channel; only by meaning and by picture."""
    references: tuple[Reference, ...] = ()
    """The patches that look like the picture, the most similar first."""

    @property
    def remark(self) -> str:
        """What is to be said aloud: which words stand nowhere, and what was taken for them."""
        remarks = missing(self.nearest)
        if self.lacking:
            remarks.append("no channel has all of these words")
        return " · ".join(remarks)

    def as_dict(self) -> dict[str, Any]:
        """Return the hit as a JSON value."""
        return {
            **self.channel.as_dict(),
            "kind": self.kind,
            "found": list(self.found),
            "together": list(self.together),
            "label": self.label,
            "lacking": self.lacking,
            "nearest": {word: list(near) for word, near in self.nearest.items()},
            "similarity": self.similarity,
            "references": [reference.as_dict() for reference in self.references],
        }
