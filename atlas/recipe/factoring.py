"""The table about factors: concepts of a layer that are no single channels."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from atlas.recipe.kinds import STRICT, Positive, Seed


@dataclass(frozen=True, config=STRICT)
class Factors:
    """`[factors]`: concepts that are directions of a layer, found by factorising its output.

    They need scikit-learn (extra `factors`).
    """

    layers: tuple[str, ...] = ()
    """Names or globs of measured layers. Empty: `atlas build` finds no factors, and `atlas factors`
    takes the last layer that has a ReLU behind it."""

    method: Literal["nmf", "sae"] = "nmf"
    """`nmf`: a non-negative matrix factorisation, of layers whose output goes through a ReLU.
    `sae`: a sparse autoencoder (TopK), of any layer."""

    ranks: tuple[Annotated[int, Field(ge=2, le=1024)], ...] = ()
    """How many factors a layer may have. With `nmf` the largest of these numbers is taken at which
    all factors are found again on other pictures; empty: the number is searched for, up to 64. With
    `sae` the largest is taken; empty: 64."""

    active: Positive = 8
    """How many factors of an autoencoder may be active at a position."""

    trained: str = ""
    """A safetensors file with an autoencoder that was trained elsewhere, of one layer. Empty: one
    is trained."""

    pictures: Annotated[int, Field(ge=8)] = 800
    """Pictures that are factorised, drawn from the data."""

    positions: Positive = 12
    """Positions that are drawn from each of these pictures."""

    seed: Seed = 0
    """Seed of both draws."""
