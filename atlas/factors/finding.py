"""From a sample of a layer's output to its factors, and what is known of them."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from atlas.errors import UserError
from atlas.factors import autoencoder_file, completeness, ranks, sae
from atlas.factors.layers import Range
from atlas.factors.nmf import Factorisation, Matrix, factorise
from atlas.factors.sae import Autoencoder
from atlas.relevance.tape import Instrumented
from atlas.store.bases import Basis

TESTED = 24
"""Pictures in which factors are taken away."""


@dataclass(frozen=True)
class LayerSample:
    """Some positions of a layer's output."""

    layer: str
    positions: Matrix
    """float32 (pictures, positions of each, channels), in the range."""
    range: Range
    """What the network goes on with of the output."""

    @property
    def flat(self) -> Matrix:
        """The same without pictures, (positions, channels)."""
        return self.positions.reshape(-1, self.positions.shape[2])

    @property
    def facts(self) -> dict[str, Any]:
        """How much there is."""
        return {"pictures": len(self.positions), "positions": self.positions.shape[1]}


def by_nmf(sampled: LayerSample, wanted: Sequence[int], seed: int) -> Basis:
    """Factorise a layer.

    Parameters
    ----------
    sampled : LayerSample
        Positions of it, none negative.
    wanted : sequence of int
        Ranks to try; none means that the rank is searched for.
    seed : int
        Of everything that is drawn.
    """
    tried = ranks.search(sampled.positions, wanted, seed)
    chosen = tried[-1]
    # From the factors of one half on, which are known to come again.
    whole = factorise(sampled.flat, chosen.rank, seed, chosen.best.directions)
    stability = ranks.matched(whole.directions, chosen.other)
    more = {
        "stable": chosen.stable,
        "ranks": [
            {"rank": one.rank, "worst": round(one.worst, 4), "again": one.again} for one in tried
        ],
    }
    return _basis(sampled, "nmf", whole, stability, {"seed": seed, **more})


def by_autoencoder(
    sampled: LayerSample, size: int, active: int, seed: int, device: torch.device
) -> Basis:
    """Train a sparse autoencoder on a layer, and another one on half of the pictures beside it.

    Parameters
    ----------
    sampled : LayerSample
        Positions of the layer.
    size : int
        How many factors.
    active : int
        How many may be active at a position.
    seed : int
        Of everything that is drawn.
    device : torch.device
        Where it is trained.
    """
    signed, order = sampled.range.signed, np.random.default_rng(seed)
    half = order.permutation(len(sampled.positions))[: len(sampled.positions) // 2]
    some = sampled.positions[half].reshape(-1, sampled.positions.shape[2])
    whole, part = (
        sae.train(rows, size, active, seed, device, signed=signed) for rows in (sampled.flat, some)
    )
    stability = ranks.matched(whole.directions, part.directions)
    tqdm.write(
        f"autoencoder of {sampled.layer}: {(stability >= ranks.ALIKE).sum()} of {size} factors "
        "come again on half of the pictures",
        sys.stderr,
    )
    more = {"stable": bool(stability.min() >= ranks.ALIKE), "active": active}
    return _basis(sampled, "sae", whole, stability, {"seed": seed, **more})


def trained_elsewhere(sampled: LayerSample, path: Path, active: int) -> Basis:
    """Take an autoencoder from a file.

    Parameters
    ----------
    sampled : LayerSample
        Positions of the layer, on which its factors are ordered and their energy is measured.
    path : Path
        As `files.read` takes it.
    active : int
        How many of its factors may be active at a position.

    Raises
    ------
    UserError
        It is none of this layer.
    """
    channels = sampled.positions.shape[2]
    directions, encoder = autoencoder_file.read(path, sampled.layer, channels, active)
    whole = sae.measured(sampled.flat, directions, encoder)
    if not 0 < whole.explained <= 1:
        raise UserError(
            f"{path} says less than nothing of the output of {sampled.layer} (what its "
            f"{len(directions)} factors leave is {1 - whole.explained:.3g} times as much as there "
            "is): is it of this layer, of this place in it (before or behind a norm), and at the "
            "same scale?"
        )
    return _basis(sampled, "sae", whole, None, {"active": active, "trained": path.name})


def _basis(
    sampled: LayerSample,
    method: str,
    whole: Factorisation,
    stability: npt.NDArray[Any] | None,
    facts: Any,
) -> Basis:
    high = sampled.range.high
    return Basis(
        sampled.layer,
        method,
        whole.directions,
        whole.energy,
        None if stability is None else stability.astype(np.float32),
        None if high == math.inf else high,
        sampled.range.signed,
        whole.encoder if isinstance(whole, Autoencoder) else None,
        {**sampled.facts, "explained": round(whole.explained, 4), **facts},
    )


def tested(basis: Basis, model: Instrumented, images: Tensor, seed: int) -> Basis:
    """Return a basis with what the network answers from its factors, and without some of them.

    Parameters
    ----------
    basis : Basis
        From one of the functions above.
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
