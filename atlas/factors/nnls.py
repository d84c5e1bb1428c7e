"""Coefficients of given directions: non-negative least squares at many positions at once."""

import torch
from torch import Tensor

ROWS = 512
"""Positions that are solved at once, which bounds the memory."""

ROUNDS = 8
"""Rounds of coordinate descent by which it is guessed which coefficients are above 0."""

TRIES = 3
"""How often all signs that are wrong may be changed at once without fewer being wrong."""

NEGATIVE = 1e-9
"""Values above minus this part of the largest that a direction alone would have count as 0."""

RIDGE = 1e-12
"""Added to the squares of directions, so that equal ones have a solution."""


def coefficients(outputs: Tensor, directions: Tensor) -> Tensor:
    """Return the u >= 0 that make the length of `u @ directions - outputs` least, row by row.

    By block principal pivoting (Kim and Park 2011): which coefficients are above 0 is guessed,
    their equations are solved, and those with a wrong sign are changed over, until none is; then
    the solution is exact. Each row is solved for itself and depends on no other.

    Parameters
    ----------
    outputs : Tensor
        (positions, channels), none negative.
    directions : Tensor
        (factors, channels), of length 1.

    Returns
    -------
    Tensor
        (positions, factors), of the type of `outputs`.
    """
    wide = directions.double()
    gram = wide @ wide.T
    gram.diagonal().add_(RIDGE)
    solved = [_solved(gram, part.double() @ wide.T) for part in torch.split(outputs, ROWS)]
    return torch.cat(solved).to(outputs.dtype)


def _solved(gram: Tensor, fits: Tensor) -> Tensor:
    """Return the solutions for some rows of products with the directions, (rows, factors)."""
    rows, count = fits.shape
    above = _guessed(gram, fits)
    found = torch.zeros_like(fits)
    fewest = torch.full((rows,), count + 1, device=fits.device)
    left = torch.full((rows,), TRIES, device=fits.device)
    least = -NEGATIVE * fits.amax(dim=1).clamp(min=1e-30)
    numbers = torch.arange(count, device=fits.device)
    going = torch.arange(rows, device=fits.device)
    while len(going):
        chosen = above[going]
        found[going] = solution = _of_chosen(gram, fits[going], chosen)
        slopes = solution @ gram - fits[going]
        wrong = torch.where(chosen, solution, slopes) < least[going, None]
        some = wrong.any(dim=1)
        going, wrong = going[some], wrong[some]
        many = wrong.sum(dim=1)
        better = many < fewest[going]
        at_once = better | (left[going] > 0)
        fewest[going] = torch.where(better, many, fewest[going])
        left[going] = torch.where(better, TRIES, (left[going] - 1).clamp(min=0))
        # At the worst one at a time, the last first: that cannot go round in a circle.
        last = torch.where(wrong, numbers, -1).amax(dim=1, keepdim=True)
        above[going] ^= torch.where(at_once[:, None], wrong, numbers == last)
    return found.clamp(min=0)


def _guessed(gram: Tensor, fits: Tensor) -> Tensor:
    """Return which coefficients are above 0 after a few rounds of setting one after another."""
    found, turned = torch.zeros_like(fits.T), fits.T
    for _ in range(ROUNDS):
        for k in range(len(gram)):
            step = (turned[k] - gram[k] @ found) / gram[k, k]
            found[k] = (found[k] + step).clamp(min=0)
    return found.T > 0


def _of_chosen(gram: Tensor, fits: Tensor, chosen: Tensor) -> Tensor:
    """Solve the equations of the chosen coefficients; the others are 0."""
    size = max(int(chosen.sum(dim=1).max()), 1)
    places = chosen.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :size]
    taken = chosen.gather(1, places).double()
    system = gram[places[:, :, None], places[:, None, :]] * taken[:, :, None] * taken[:, None, :]
    system += torch.diag_embed(1 - taken)
    solution = torch.linalg.solve(system, fits.gather(1, places) * taken) * taken
    return torch.zeros_like(fits).scatter_(1, places, solution)
