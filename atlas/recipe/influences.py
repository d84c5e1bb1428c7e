"""The table about what channels react to."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from atlas.recipe.kinds import STRICT, Seed


@dataclass(frozen=True, config=STRICT)
class Influences:
    """`[influences]`: what channels react to: hue, saturation, contrast, texture or shape.

    Each is taken out of pictures among the references, and it is measured how far activations drop.
    """

    in_build: bool = False
    """Whether `atlas build` measures it; otherwise `atlas influences` does. It takes six forward
    passes for each picture, and about as many pictures as there are channels."""

    references: Annotated[int, Field(ge=1, le=64)] = 6
    """Pictures for each channel, of its references; those that many channels share are taken
    first."""

    seed: Seed = 0
    """Seed by which pixels and pieces of pictures change places."""
