"""Factors of a layer beside its channels: the same measurements of another basis.

A factor is a direction of a layer's output. Its map is that of its coefficients, its relevance the
part of the layer's relevance that it holds (see `atlas.factors.maps`), and to take it away is to
take what it adds to the channels. Everything else is as for channels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from torch import Tensor

from atlas.explain.conditional import Conditioned, Measured
from atlas.explain.interventions import Answers, with_changes
from atlas.relevance.tape import Instrumented


class FactorSet(Protocol):
    """The factors of one layer; `atlas.factors.concepts` has what it is made of."""

    @property
    def layer(self) -> str:
        """The layer whose output they add up to."""

    @property
    def digest(self) -> str:
        """SHA-256 of what they are."""

    @property
    def same_answer(self) -> float | None:
        """In which part of the pictures the network answers the same from the factors alone."""

    @property
    def tested(self) -> int:
        """In how many pictures that was tested."""

    def coefficients(self, output: Tensor) -> Tensor:
        """Return how strong each is, (factors, h, w), from (channels, h, w)."""

    def relevance(self, relevance: Tensor, output: Tensor, found: Tensor) -> Tensor:
        """Return the relevance of each, (factors, h, w), from that of (channels, h, w)."""

    def parts(
        self, relevance: Tensor, output: Tensor, found: Tensor, factors: Sequence[int]
    ) -> Tensor:
        """Return what some have of each unit's relevance, (N, 1, channels, h, w)."""

    def shared(self, output: Tensor, found: Tensor) -> Tensor:
        """Return each one's share of (channels, h, w), (factors, channels, h, w)."""

    def changed(self, output: Tensor, more: Tensor, taken: Tensor) -> Tensor:
        """Return outputs (N, channels, ...) with `more` of those that `taken` (N, factors) has."""


def seen(measured: Measured, bases: Mapping[str, FactorSet]) -> Measured:
    """Return what was measured of a picture, with each basis beside the layers under its name."""
    activation, relevance = dict(measured.activation), dict(measured.relevance)
    for name, one in bases.items():
        output = measured.activation[one.layer]
        activation[name] = one.coefficients(output)
        relevance[name] = one.relevance(measured.relevance[one.layer], output, activation[name])

    def condition(name: str, concepts: Sequence[int], lower: Sequence[str]) -> Conditioned:
        if name not in bases:
            return measured.condition(name, concepts, lower)
        one = bases[name]
        of = measured.relevance[one.layer], measured.activation[one.layer]
        return measured.send(one.layer, one.parts(*of, activation[name], concepts), lower)

    def relevance_for(label: int, name: str) -> Tensor:
        if name not in bases:
            return measured.relevance_for(label, name)
        one = bases[name]
        other = measured.relevance_for(label, one.layer)
        return one.relevance(other, measured.activation[one.layer], activation[name])

    return replace(
        measured, activation=activation, relevance=relevance, condition=condition,
        relevance_for=relevance_for,
    )  # fmt: skip


def residual(measured: Measured, name: str, factors: FactorSet) -> float:
    """Return the part of a layer's |relevance|, unit by unit, that no factor holds."""
    whole = measured.relevance[factors.layer]
    found = measured.activation[name]
    every = factors.parts(whole, measured.activation[factors.layer], found, range(len(found)))
    left = whole - every.sum(dim=(0, 1))
    size = float(whole.abs().sum())
    return float(left.abs().sum()) / size if size else 0.0


def without_factors(
    model: Instrumented, image: Tensor, factors: FactorSet, output: Tensor, found: Tensor
) -> Answers:
    """Return a function that gives the logits without some factors of a layer.

    Parameters
    ----------
    model : Instrumented
        The network.
    image : Tensor
        (1, colours, height, width), preprocessed.
    factors : FactorSet
        Of the layer whose output is changed.
    output, found : Tensor
        (channels, h, w) and (factors, h, w): the layer's output in this picture, and coefficients.
    """
    return with_factors(model, image, factors, -factors.shared(output, found))


def with_factors(model: Instrumented, image: Tensor, factors: FactorSet, more: Tensor) -> Answers:
    """Return a function that gives the logits with something added for some factors of a layer.

    Parameters
    ----------
    model, image, factors
        As `without_factors` takes them.
    more : Tensor
        (factors, channels, h, w), what is added to the layer's output for each.
    """

    def change(output: Tensor, mask: Tensor) -> Tensor:
        return factors.changed(output[:1], more, mask)

    return with_changes(model, factors.layer, image, change)
