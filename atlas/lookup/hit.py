"""A channel that was found, and why."""

from dataclasses import dataclass
from typing import Any, Literal

from atlas.api.contents import Channel, Reference

Kind = Literal["address", "name", "words", "near", "meaning", "picture"]
"""In the order of ranking: what was asked for is the channel's address; its name or that of
one of its senses; words of it; words spelt nearly so; the same meaning; the same look."""

Field = Literal["name", "senses", "description", "classes"]
FIELDS: tuple[Field, ...] = ("name", "senses", "description", "classes")
"""Where words are looked for."""


@dataclass(frozen=True)
class Hit:
    """A channel that was found."""

    channel: Channel
    """What was found."""
    kind: Kind
    """Why it was found."""
    found: tuple[Field, ...] = ()
    """Where the words stand."""
    similarity: float | None = None
    """Cosine, -1 to 1, of what was asked for and the channel; only by meaning and by picture."""
    references: tuple[Reference, ...] = ()
    """The patches that look like the picture, the most similar first."""

    def as_dict(self) -> dict[str, Any]:
        """Return the hit as a JSON value."""
        return {
            **self.channel.as_dict(),
            "kind": self.kind,
            "found": list(self.found),
            "similarity": self.similarity,
            "references": [reference.as_dict() for reference in self.references],
        }
