"""Factors where an explanation of a single picture has the channels of their layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atlas.factors import maps
from atlas.store.bases import Basis


@dataclass(frozen=True, eq=False)
class FactorConcepts:
    """The factors of one layer as the concepts of an explanation."""

    basis: Basis

    @property
    def layer(self) -> str:
        """The layer whose output they add up to."""
        return self.basis.layer

    @property
    def same_answer(self) -> float | None:
        """In which part of the pictures the network answers the same from the factors alone."""
        complete = self.basis.facts.get("complete", {})
        return float(complete["same_answer"]) if "same_answer" in complete else None

    @property
    def tested(self) -> int:
        """In how many pictures that was tested."""
        return int(self.basis.facts.get("complete", {}).get("pictures", 0))

    def coefficients(self, output: Tensor) -> Tensor:
        """Return how strong each factor is, (factors, h, w), from (channels, h, w)."""
        return maps.of_activation(output[None], self.basis)[0]

    def relevance(self, relevance: Tensor, output: Tensor, found: Tensor) -> Tensor:
        """Return the relevance of each factor, (factors, h, w).

        Parameters
        ----------
        relevance, output : Tensor
            (channels, h, w), of the layer.
        found : Tensor
            (factors, h, w), the coefficients.
        """
        return maps.of_relevance(relevance[None], output[None], found[None], self.basis)[0]

    def parts(
        self, relevance: Tensor, output: Tensor, found: Tensor, factors: Sequence[int]
    ) -> Tensor:
        """Return what some factors have of each unit's relevance, (N, 1, channels, h, w)."""
        return maps.parts(relevance[None], output[None], found[None], self.basis, factors)

    def without(self, output: Tensor, found: Tensor, taken: Tensor) -> Tensor:
        """Return the layer's output without what some factors add to it.

        Parameters
        ----------
        output : Tensor
            (1, channels, h, w) or (1, channels), of the layer.
        found : Tensor
            (factors, h, w), the coefficients.
        taken : Tensor
            bool (N, factors), which to take away.

        Returns
        -------
        Tensor
            (N, channels, ...). What no factor holds stays; what would be negative is zero.
        """
        return self.exchanged(output, found, torch.zeros_like(found), taken)

    def exchanged(self, output: Tensor, found: Tensor, others: Tensor, taken: Tensor) -> Tensor:
        """Return the layer's output with other coefficients of some factors.

        Parameters
        ----------
        output, found, taken : Tensor
            As `without` takes them.
        others : Tensor
            (factors, h, w), what takes the place of the coefficients `found`.

        Returns
        -------
        Tensor
            (N, channels, ...). What no factor holds stays; what the layer's activation function
            would cut off is cut off.
        """
        change = (others - found) * taken[:, :, None, None]
        more = torch.einsum("nkhw,kc->nchw", change, maps.directions(self.basis, found.device))
        result = maps.rectified(output, self.basis) + more.reshape(-1, *output.shape[1:])
        return (result if self.basis.signed else result.clamp(0, self.basis.ceiling)).to(output)
