"""Where in a picture a channel's concept lies: the box of its patch and the mask inside it.

A unit can see at most its receptive field. In deep layers that is the whole picture, and
then the field says nothing; what the channel answers to is where its map (of activation or
of relevance) is strong. So the box is the receptive field where that is small, and else
the smallest square around the peak that holds half of the map.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from atlas.trace.sights import ReceptiveField

SMALLEST = 1 / 8
"""A patch has at least this share of the picture's shorter side, so that it can be seen."""

LARGE = 1 / 2
"""Receptive fields above this share of the picture's longer side are narrowed by the map."""

HELD = 0.5
"""Share of the map's positive mass that a narrowed box holds."""

MASK_SIDE = 16
"""Masks have this many rows and columns over the patch box."""


def boxes(maps: Tensor, peaks: Tensor, field: ReceptiveField, size: tuple[int, int]) -> Tensor:
    """Return the patch box of each map.

    Parameters
    ----------
    maps : Tensor
        (n, height, width), one channel's map in one picture each.
    peaks : Tensor
        int64 (n, 2), row and column of the peak unit.
    field : ReceptiveField
        Of the layer.
    size : (int, int)
        Height and width of the picture, in pixels.

    Returns
    -------
    Tensor
        int64 (n, 4): x0, y0, x1, y1 in pixels, half-open, inside the picture and around the peak
        unit's centre; square, unless that is wider or higher than the picture.
    """
    picture, extent = torch.tensor(size), max(field.size)
    if extent > LARGE * max(size) and maps.shape[1:].numel() > 1:  # one unit alone cannot say where
        radii = _holding_radius(_positive(maps), peaks)
        # A unit stands for the pixels between its neighbours; one more stride each side
        # for what lies under the rim of the map's blob.
        sides = ((2 * radii + 3) * float(max(field.stride))).clamp(max=extent)
    else:
        sides = torch.full((len(maps),), float(extent))
    whole = sides.ceil().long()
    sides = torch.minimum(whole.clamp(min=round(SMALLEST * min(size)))[:, None], picture)
    # Twice the centre of the unit's field, clipped: centres may fall between two pixels.
    start, stride, seen = (
        torch.tensor(pair, dtype=torch.float64) for pair in (field.start, field.stride, field.size)
    )
    twice = (2 * (start + stride * peaks) + seen).round().long().clamp(min=0)
    low = torch.div(torch.minimum(twice, 2 * picture) - sides, 2, rounding_mode="floor")
    low = torch.minimum(low.clamp(min=0), picture - sides)
    return torch.cat([low.flip(1), (low + sides).flip(1)], dim=1)


def masks(maps: Tensor, boxes: Tensor, field: ReceptiveField, size: tuple[int, int]) -> Tensor:
    """Return each map inside its box, as strength from 0 to 255.

    Parameters
    ----------
    maps : Tensor
        (n, height, width).
    boxes : Tensor
        int64 (n, 4), as from `boxes`.
    field : ReceptiveField
        Of the layer: it says where on the picture a unit stands.
    size : (int, int)
        Height and width of the picture, in pixels.

    Returns
    -------
    Tensor
        uint8 (n, 16, 16), bilinear between units; 255 is the strongest place in the box.
    """
    positive = _positive(maps)
    _, height, width = positive.shape
    steps = (torch.arange(MASK_SIDE) + 0.5) / MASK_SIDE
    grid = []
    for axis, (low, high, units) in enumerate(((0, 2, width), (1, 3, height))):
        start, stride, extent = (pair[1 - axis] for pair in (field.start, field.stride, field.size))
        stride = stride or 1  # 0 where every unit sees the same
        edge = boxes[:, low, None] + (boxes[:, high] - boxes[:, low])[:, None] * steps
        unit = (edge - (start + extent / 2)) / stride
        grid.append((2 * unit + 1) / units - 1)  # grid_sample's coordinates
    where = torch.stack(
        [
            grid[0][:, None, :].expand(-1, MASK_SIDE, -1),
            grid[1][:, :, None].expand(-1, -1, MASK_SIDE),
        ],
        dim=-1,
    ).to(positive)
    inside = F.grid_sample(
        positive[:, None], where, mode="bilinear", padding_mode="border", align_corners=False
    )[:, 0]
    strongest = inside.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    return (inside / strongest * 255).round().to(torch.uint8)


def _positive(maps: Tensor) -> Tensor:
    """Return what speaks for the concept: the positive part, or how little it is negative."""
    lowest = maps.amin(dim=(1, 2), keepdim=True)
    silent = maps.amax(dim=(1, 2), keepdim=True) <= 0
    return torch.where(silent, maps - lowest, maps.clamp(min=0))


def _holding_radius(positive: Tensor, peaks: Tensor) -> Tensor:
    """Return the smallest radius (in units) around the peak that holds `HELD` of the map."""
    count, height, width = positive.shape
    rows = (torch.arange(height) - peaks[:, :1]).abs()[:, :, None]
    columns = (torch.arange(width) - peaks[:, 1:]).abs()[:, None, :]
    distance = torch.maximum(rows.expand(-1, -1, width), columns.expand(-1, height, -1))
    mass = torch.zeros(count, max(height, width), dtype=torch.float64)
    mass.scatter_add_(1, distance.flatten(1), positive.flatten(1).double())
    held = mass.cumsum(dim=1)
    return (held < HELD * held[:, -1:]).sum(dim=1)
