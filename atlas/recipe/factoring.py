"""The table about factors: concepts of a layer that are no single channels."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from atlas.recipe.kinds import STRICT, Positive, Seed


@dataclass(frozen=True, config=STRICT)
class Factors:
    """`[factors]`: concepts that are directions of a layer, found by factorising its output.

    The factors are those of a non-negative matrix factorisation (`nmf`), so that a layer is needed
    whose output goes through a ReLU. They need scikit-learn (extra `factors`).
    """

    layers: tuple[str, ...] = ()
    """Names or globs of measured layers. Empty: `atlas build` finds no factors, and `atlas factors`
    takes the last layer that has a ReLU behind it."""

    ranks: tuple[Annotated[int, Field(ge=2, le=1024)], ...] = ()
    """How many factors a layer may have: the largest of these numbers is taken at which all factors
    are found again on other pictures. Empty: the number is searched for, up to 64."""

    pictures: Annotated[int, Field(ge=8)] = 800
    """Pictures that are factorised, drawn from the data."""

    positions: Positive = 12
    """Positions that are drawn from each of these pictures."""

    seed: Seed = 0
    """Seed of both draws."""
