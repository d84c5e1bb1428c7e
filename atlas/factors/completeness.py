"""How well factors stand for a layer: what the network answers from them alone."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from atlas.factors import importance
from atlas.factors.maps import FactorEngine, of_activation, rebuilt
from atlas.relevance import changed
from atlas.relevance.engine import CPU_BLOCK, PREDICTED, ActivationEngine, RelevanceEngine
from atlas.relevance.tape import Instrumented
from atlas.store import Mode
from atlas.store.bases import Basis

TAKEN = 3
"""Factors that are taken away in the test of what matters."""

DRAWS = 16
"""How often as many are taken by chance: one draw of a dozen pictures is off by 0.08 of the logit,
as often as it hits a factor that matters."""


def from_factors(model: Instrumented, images: Tensor, basis: Basis) -> Tensor:
    """Return the logits (pictures, classes) where a layer's output is rebuilt from its factors."""

    def change(output: Tensor) -> Tensor:
        maps = output if output.ndim == 4 else output[:, :, None, None]
        return rebuilt(of_activation(maps, basis), basis).reshape(output.shape).to(output)

    return changed.logits(model, images, basis.layer, change)


def keeps(model: Instrumented, images: Tensor, basis: Basis) -> dict[str, Any]:
    """Return what is left of the network's answers without what no factor holds.

    Parameters
    ----------
    model : Instrumented
        The network, with the layer of the basis.
    images : Tensor
        (pictures, colours, height, width), preprocessed, on the network's device.
    basis : Basis
        Factors of a layer.

    Returns
    -------
    dict
        `pictures`; `same_answer`, the part of them with the same predicted class;
        `logit_kept`, the sum of the logits of these classes as a part of what it was.
    """
    whole, rest = [], []
    for some in torch.split(images, CPU_BLOCK):
        whole.append(changed.logits(model, some).float())
        rest.append(from_factors(model, some, basis).float())
    before, after = torch.cat(whole), torch.cat(rest)
    predicted = before.argmax(dim=1)
    logit = [one.gather(1, predicted[:, None]).sum().item() for one in (before, after)]
    return {
        "pictures": len(images),
        "same_answer": round(float((after.argmax(dim=1) == predicted).float().mean()), 4),
        "logit_kept": round(logit[1] / logit[0], 4) if logit[0] else None,
    }


def matters(model: Instrumented, images: Tensor, basis: Basis, seed: int) -> dict[str, Any]:
    """Return what is left of the logit that factors give without some of them.

    Parameters
    ----------
    model, images, basis : Instrumented, Tensor, Basis
        As `keeps` takes them; with a plan for relevance.
    seed : int
        Of the factors that are taken by chance.

    Returns
    -------
    dict
        `tested` pictures, `taken` factors in each; `without_relevant` and `without_random`, the
        sum of the logits without the most relevant factors, and without as many by chance (the mean
        of `DRAWS` draws for each picture), as parts of the sum with all factors.
    """
    generator = torch.Generator().manual_seed(seed)
    count = len(basis.directions)
    taken = min(TAKEN, count - 1)
    sums = torch.zeros(3, dtype=torch.float64)
    shares, found, targets = relevances(model, images, basis)
    for number, image in enumerate(images):
        of = importance.answer(model, image[None], basis, found[number][None], targets[number])
        best = shares[number].argsort(descending=True, stable=True)[:taken].tolist()
        scales = torch.ones(2 + DRAWS, count)
        scales[1, best] = 0
        for draw in scales[2:]:
            draw[torch.randperm(count, generator=generator)[:taken]] = 0
        logits = importance.scaled(of, scales.to(images.device)).double().cpu()
        sums += torch.stack([logits[0], logits[1], logits[2:].mean()])
    whole, relevant, random = sums.tolist()
    return {
        "tested": len(images),
        "taken": taken,
        "without_relevant": round(relevant / whole, 4) if whole else None,
        "without_random": round(random / whole, 4) if whole else None,
    }


def relevances(
    model: Instrumented, images: Tensor, basis: Basis, targets: Sequence[int] | None = None
) -> tuple[Tensor, Tensor, list[int]]:
    """Return the relevance of factors in pictures.

    Parameters
    ----------
    model, images, basis : Instrumented, Tensor, Basis
        As `matters` takes them.
    targets : sequence of int, optional
        The outputs to explain; those with the highest logits unless given.

    Returns
    -------
    tuple
        Relevance summed over positions, (pictures, factors); coefficients (pictures, factors,
        height, width); the outputs that are explained.
    """
    with_relevance = model.plan.composite is not None
    engine = FactorEngine(RelevanceEngine(model) if with_relevance else ActivationEngine(model),
                          [basis])  # fmt: skip
    sums, coefficients, explained = [], [], []
    wanted = torch.tensor(targets or [PREDICTED] * len(images), device=images.device)

    def visit(layer: str, mode: Mode, maps: Tensor) -> None:
        if mode == "activation":
            coefficients.append(maps)
        if mode == "relevance" or not with_relevance:
            sums.append(maps.sum(dim=(2, 3)))

    for some, of in zip(
        torch.split(images, CPU_BLOCK), torch.split(wanted, CPU_BLOCK), strict=True
    ):
        logits = engine(some, of, visit)
        explained += torch.where(of == PREDICTED, logits.argmax(dim=1), of).tolist()
    return torch.cat(sums), torch.cat(coefficients), explained
