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
    def digest(self) -> str:
        """SHA-256 of what they are."""
        return self.basis.digest

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

    def shared(self, output: Tensor, found: Tensor) -> Tensor:
        """Return each factor's share of a layer's output; where any is active, all of it is shared.

        At each unit they share in proportion to what they make of it, |u_k W_kc|, as sources of a
        sound share its spectrum (Wiener filter; Fevotte et al. 2009). So nothing of what a factor
        does stays behind in what the factorisation leaves over.

        Parameters
        ----------
        output : Tensor
            (channels, h, w), of the layer.
        found : Tensor
            (factors, h, w), its coefficients.

        Returns
        -------
        Tensor
            (factors, channels, h, w), of what the network goes on with.
        """
        sizes = maps.directions(self.basis, found.device).abs()
        made = found.abs()[:, None] * sizes[:, :, None, None]
        whole = made.sum(dim=0)
        active = maps.rectified(output, self.basis)
        return made * torch.where(whole > 0, active / whole.clamp(min=1e-30), 0.0)

    def changed(self, output: Tensor, more: Tensor, taken: Tensor) -> Tensor:
        """Return the layer's output with something added for some factors.

        Parameters
        ----------
        output : Tensor
            (1, channels, h, w) or (1, channels), of the layer.
        more : Tensor
            (factors, channels, h, w), what is added for each.
        taken : Tensor
            bool (N, factors), for which it is.

        Returns
        -------
        Tensor
            (N, channels, ...). What the layer's activation function would cut off is cut off.
        """
        added = (taken.to(more) @ more.flatten(1)).reshape(-1, *output.shape[1:])
        result = maps.rectified(output, self.basis) + added
        return (result if self.basis.signed else result.clamp(0, self.basis.ceiling)).to(output)
