"""Where a heat map is: what holds half of it, how it is called, how two of them overlap."""

import torch
from torch import Tensor
from torch.nn import functional as F

from atlas.store.evidence import Region

HELD = 0.5
"""Share of a heat map's mass that its region holds."""

ALL_OVER = 0.3
"""Regions above this share of the picture have no place in it."""

FINEST = 16
"""Heat maps are smoothed over a square of the picture's shorter side divided by this."""

_ROWS = ("upper", "", "lower")
_COLUMNS = ("left", "", "right")


def mass(heat: Tensor) -> Tensor:
    """Return where the relevance of the prevailing sign is, smoothed; each map sums to one.

    Parameters
    ----------
    heat : Tensor
        (N, height, width), with signs.

    Returns
    -------
    Tensor
        (N, height, width), not negative; zero everywhere where `heat` is.
    """
    sign = torch.where(heat.sum(dim=(1, 2), keepdim=True) < 0, -1.0, 1.0)
    positive = (heat * sign).clamp(min=0)
    size = 2 * (min(heat.shape[-2:]) // (2 * FINEST)) + 1
    smooth = F.avg_pool2d(positive[:, None], size, 1, size // 2, count_include_pad=False)[:, 0]
    return smooth / smooth.sum(dim=(1, 2), keepdim=True).clamp(min=1e-30)


def holding(masses: Tensor) -> Tensor:
    """Return the smallest set of pixels that holds `HELD` of each mass, as booleans."""
    flat = masses.flatten(1)
    values, order = flat.sort(dim=1, descending=True)
    before = values.cumsum(dim=1) - values
    inside = torch.zeros_like(flat, dtype=torch.bool)
    inside.scatter_(1, order, (before < HELD) & (values > 0))
    return inside.view_as(masses)


def overlaps(masses: Tensor) -> Tensor:
    """Return (N, N): the mass that two maps have in common, 0 to 1 (histogram intersection)."""
    flat = masses.flatten(1)
    if not len(flat):
        return masses.new_zeros(0, 0)
    return torch.stack([torch.minimum(one, flat).sum(dim=1) for one in flat])


def describe(inside: Tensor) -> Region:
    """Return size, box and place of one region (height, width)."""
    height, width = inside.shape
    rows, columns = inside.any(dim=1).nonzero(), inside.any(dim=0).nonzero()
    if not len(rows):
        return Region("all over", 0.0, (0, 0, width, height))
    box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    area = float(inside.float().mean())
    if area > ALL_OVER:
        return Region("all over", area, box)
    y, x = (float(axis.float().mean()) for axis in inside.nonzero(as_tuple=True))
    return Region(place(y / height, x / width), area, box)


def place(y: float, x: float) -> str:
    """Return the name of a place, given as shares of height and width."""
    row, column = _ROWS[min(int(3 * y), 2)], _COLUMNS[min(int(3 * x), 2)]
    if row and not column:
        return "top" if row == "upper" else "bottom"
    return f"{row} {column}".strip() or "centre"
