"""From a sample of a layer's output to its factors, and what is known of them."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from atlas.factors import completeness, ranks
from atlas.factors.nmf import Matrix, factorise
from atlas.relevance.tape import Instrumented
from atlas.store.bases import METHOD, Basis

TESTED = 24
"""Pictures in which factors are taken away."""


def find(
    positions: Matrix, layer: str, ceiling: float, wanted: tuple[int, ...], seed: int
) -> Basis:
    """Find the factors of a layer.

    Parameters
    ----------
    positions : array
        float32 (pictures, positions of each, channels), none negative.
    layer : str
        Its name.
    ceiling : float
        Where the ReLU behind it cuts off above.
    wanted : tuple of int
        Ranks to try; none means that the rank is searched for.
    seed : int
        Of everything that is drawn.
    """
    tried = ranks.search(positions, wanted, seed)
    chosen = tried[-1]
    flat = positions.reshape(-1, positions.shape[2])
    # From the factors of one half on, which are known to come again.
    whole = factorise(flat, chosen.rank, seed, chosen.best.directions)
    stability = ranks.matched(whole.directions, chosen.other)
    return Basis(
        layer,
        METHOD,
        whole.directions,
        whole.energy,
        stability.astype(np.float32),
        None if ceiling == float("inf") else ceiling,
        {
            "seed": seed,
            "pictures": len(positions),
            "positions": positions.shape[1],
            "explained": round(whole.explained, 4),
            "stable": chosen.stable,
            "ranks": [
                {"rank": one.rank, "worst": round(one.worst, 4), "again": one.again}
                for one in tried
            ],
        },
    )


def tested(basis: Basis, model: Instrumented, images: Tensor, seed: int) -> Basis:
    """Return a basis with what the network answers from its factors, and without some of them.

    Parameters
    ----------
    basis : Basis
        From `find`.
    model : Instrumented
        The network.
    images : Tensor
        (pictures, colours, height, width), preprocessed, on the network's device.
    seed : int
        Of the factors that are taken by chance.
    """
    with torch.no_grad():
        kept = completeness.keeps(model, images, basis)
        effect = completeness.matters(model, images[:TESTED], basis, seed)
    return replace(basis, facts={**basis.facts, "complete": kept, "deletion": effect})
