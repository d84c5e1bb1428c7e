"""The table about explanations of single pictures."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from atlas.recipe.kinds import STRICT, Fraction, Positive, Seed

ConceptBasis = Literal["channels", "factors", "both"]


@dataclass(frozen=True, config=STRICT)
class Explain:
    """`[explain]`: what an explanation contains."""

    pictures: tuple[str, ...] = ()
    """Image files and folders that `atlas build` explains; `demo:world` stands for six drawings
    that were not measured."""

    layers: tuple[str, ...] = ()
    """Names or globs of measured layers, and of sets of factors (`features.40/nmf25`); empty means
    three layers: the last, and those at a half and three quarters of the depth, with the factors of
    these, or else those of the last layer that has some."""

    basis: ConceptBasis = "both"
    """Concepts of an explanation: `channels`, `factors` in the place of channels where a layer has
    some, or `both` beside each other."""

    coverage: Fraction = 0.6
    """Channels are taken by falling |relevance share| until they hold this part of a layer's
    |relevance|, at least 0.9 in the last layer, which is nearest to the answer ..."""

    concepts: Annotated[int, Field(gt=0, le=32)] = 8
    """Explain at most so many channels of a layer: people cannot use more than about 32 in all."""

    feeders: Positive = 3
    """Lower channels that the flow graph shows for each concept."""

    draws: Positive = 5
    """Random orders that an intervention is compared with."""

    seed: Seed = 0
    """Seed of the random orders."""

    maps: tuple[str, ...] = ()
    """Other maps of the picture beside the heat map of relevance, by their names in `atlas audit`
    (`["grad-cam", "sobol"]`); each is drawn on the page, with what happens as its pixels go."""

    vlm: str = ""
    """A vision-language model, named as in `naming.vlm`, that says where and how each concept shows
    in the picture; empty means none."""

    writer: str = ""
    """A language model, with or without vision, named as in `naming.vlm`, that chooses what is said
    of all that the evidence allows to be said, and in which order; empty means by rules."""

    judge: str = ""
    """A language model that compares other words, which the writer finds for a sentence, with the
    sentence; empty means that the writer is not asked for other words."""
