"""How much factors matter to an answer, in several ways that check each other.

What an atlas counts by default is their share of the relevance. Here are the ways that ask the
network itself: gradient times coefficient, taking factors away, and total Sobol indices, the part
of the answer's variance that is lost where a factor is known no more (Fel et al. 2023, CRAFT).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from atlas.factors.maps import rebuilt
from atlas.relevance import changed
from atlas.relevance.tape import Instrumented
from atlas.sobol import Numbers, designs, total_indices
from atlas.store.bases import Basis

DESIGNS = 256
"""Points of the sequence for Sobol indices. With 32, as CRAFT takes, indices of 25 factors err by
up to 0.3, with 128 by up to 0.2, with 256 by 0.02 (benchmarks/RESULTS.md)."""

BATCH = 32
"""Versions of one picture that go through the network at once."""


def answer(
    model: Instrumented, image: Tensor, basis: Basis, found: Tensor, target: int
) -> Callable[[Tensor], Tensor]:
    """Return the function from parts of the coefficients to the target's logit.

    Parameters
    ----------
    model : Instrumented
        The network.
    image : Tensor
        (1, colours, height, width), preprocessed.
    basis : Basis
        Factors of a layer: its output is what is rebuilt from them, without the residual.
    found : Tensor
        (1, factors, height, width), the picture's coefficients.
    target : int
        An output of the network.

    Returns
    -------
    callable
        From (N, factors), by what each factor's coefficients are multiplied, to (N,).
    """
    under = changed.under_versions(model, image, basis.layer)

    def of(scales: Tensor) -> Tensor:
        def change(output: Tensor) -> Tensor:
            made = rebuilt(found * scales.to(found.device)[:, :, None, None], basis)
            return made.reshape(-1, *output.shape[1:]).to(output)

        logits = changed.differentiable(model, under(len(scales)), basis.layer, change)
        return logits[:, target].float().to(scales.device)

    return of


@torch.no_grad()
def scaled(of: Callable[[Tensor], Tensor], scales: Tensor) -> Tensor:
    """Return the answers to many scales (N, factors), a few at a time."""
    return torch.cat([of(part) for part in torch.split(scales, BATCH)])


def by_gradient(of: Callable[[Tensor], Tensor], factors: int) -> Tensor:
    """Return the gradient of the answer by each factor's scale: gradient times coefficient.

    Where the head is linear these add up to the answer, less what it gives to nothing.
    """
    scales = torch.ones(1, factors, requires_grad=True)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(of(scales).sum(), scales)
    return gradient[0]


def by_occlusion(of: Callable[[Tensor], Tensor], factors: int) -> Tensor:
    """Return how much the answer falls where one factor alone is taken away."""
    scales = torch.cat([torch.ones(1, factors), 1 - torch.eye(factors)])
    found = scaled(of, scales)
    return found[0] - found[1:]


def deletion(of: Callable[[Tensor], Tensor], order: Sequence[int], factors: int) -> list[float]:
    """Return the answers as factors are taken away one after another, from all of them on."""
    scales = torch.ones(len(order) + 1, factors)
    for step, factor in enumerate(order, 1):
        scales[step:, factor] = 0
    return scaled(of, scales).tolist()


def insertion(of: Callable[[Tensor], Tensor], order: Sequence[int], factors: int) -> list[float]:
    """Return the answers as factors are put in one after another, from none of them on."""
    scales = torch.zeros(len(order) + 1, factors)
    for step, factor in enumerate(order, 1):
        scales[step:, factor] = 1
    return scaled(of, scales).tolist()


def by_variance(
    of: Callable[[Tensor], Tensor], factors: int, seed: int, count: int = DESIGNS
) -> Numbers:
    """Return the total Sobol index of each factor's scale, which is drawn from 0 to 1."""

    def points(scales: Numbers) -> Numbers:
        found: Numbers = scaled(of, torch.from_numpy(scales).float()).double().numpy()
        return found

    return total_indices(points, *designs(factors, count, seed))
