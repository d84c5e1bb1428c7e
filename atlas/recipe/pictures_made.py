"""The table about pictures that are made for channels."""

from pydantic.dataclasses import dataclass

from atlas.recipe.kinds import STRICT, Positive, Seed


@dataclass(frozen=True, config=STRICT)
class PicturesMade:
    """`[pictures_made]`: pictures that channels and factors would like, made by optimising.

    A picture takes a few seconds for a small network and half a minute for a large one, so `atlas
    build` makes none unless it is asked for some; `atlas picture` makes one at a time.
    """

    layers: tuple[str, ...] = ()
    """Names or globs of measured layers, or of bases of factors: all their channels get one."""

    addresses: tuple[str, ...] = ()
    """Addresses of single channels and factors that get one."""

    steps: Positive = 64
    """Steps of the optimiser."""

    seed: Seed = 0
    """Seed of the phases, the views and the noise. The same seed gives the same bytes."""

    control: bool = False
    """Whether another one is made whose spectrum is free."""

    accentuated: bool = False
    """Whether another one is made that begins as the best reference by activation and stays near
    it: what of that picture it is that counts."""
