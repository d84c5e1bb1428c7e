"""Coefficients of given directions: non-negative least squares at many positions at once."""

import torch
from torch import Tensor

TOLERANCE = 1e-7
"""A position is done when a round changes its coefficients by less than this part of the largest
coefficient that a single direction could have there."""

ROUNDS = 2000
"""At most; directions of a factorisation need about 20."""


def coefficients(outputs: Tensor, directions: Tensor) -> Tensor:
    """Return the u >= 0 that make the length of `u @ directions - outputs` least, row by row.

    One coefficient after another is set to its best value (cyclic coordinate descent, which for
    this convex problem leads to the solution; Franc, Hlavac and Navara 2005). A position that is
    done does not change any more, so that none depends on those beside it.

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
    wide, rows = directions.double(), outputs.double()
    # The problem turned over, so that a factor's values lie side by side.
    gram, fits = wide @ wide.T, wide @ rows.T
    enough = TOLERANCE * fits.amax(dim=0).clamp(min=1e-30)
    found = torch.zeros_like(fits)
    going = torch.arange(fits.shape[1], device=fits.device)
    for _ in range(ROUNDS):
        part, fit = found[:, going], fits[:, going]
        before = part.clone()
        for k in range(len(wide)):
            part[k] = (part[k] + (fit[k] - gram[k] @ part) / gram[k, k]).clamp(min=0)
        found[:, going] = part
        going = going[(part - before).abs().amax(dim=0) > enough[going]]
        if not len(going):
            break
    return found.T.to(outputs.dtype)
