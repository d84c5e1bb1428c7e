"""Patches of the demo world, cut and dimmed as the atlas shows its references, with the truth.

The places and masks are drawn at random; no network takes part. So the model that learns from
them has not seen what any channel answers to.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from atlas.demo.world import ATTRIBUTES, draw

SEED = 5
"""Seed of the world that the model learns from; the next one is held out. Nothing else has them."""

SIDE = 112
"""Side of the pictures, in pixels."""

TILE = 48
"""Side of the patches as the model sees them, in pixels."""

SIZES = (14, 16, 20, 24, 32, 40, 48, 56, 68, 80, 88, 96, 112)
"""Sides of the patch boxes, in pixels of the picture."""

KINDS = ("colour", "texture", "shape", "background")
"""What can be seen in a patch, in the order in which names say it."""

DIM = 0.35
"""How bright a patch is where the channel's map is zero."""

_UNITS = (2, 3, 4, 5, 7, 10, 16)  # of a layer along each side of a patch


@dataclass(frozen=True)
class DrawnPictures:
    """Drawn pictures.

    Attributes
    ----------
    images : Tensor
        uint8, (N, 3, SIDE, SIDE).
    masks : Tensor
        bool, (N, SIDE, SIDE): where the object is.
    values : Tensor
        int64, (N, 4): the number of each of `KINDS`' values.
    """

    images: Tensor
    masks: Tensor
    values: Tensor


@dataclass(frozen=True)
class Crops:
    """Patches with what they show.

    Attributes
    ----------
    tiles : Tensor
        float32 in [0, 1], (n, 3, TILE, TILE).
    cover : Tensor
        float32 in [0, 1], (n, TILE, TILE): where the object is.
    values : Tensor
        int64, (n, 4): the number of each of `KINDS`' values in the picture.
    size : Tensor
        int64, (n,): side of the box in the picture.
    whole : Tensor
        float32, (n,): share of the object's area that lies in the box.
    """

    tiles: Tensor
    cover: Tensor
    values: Tensor
    size: Tensor
    whole: Tensor


def world(seed: int, count: int, first: int = 0) -> DrawnPictures:
    """Draw pictures `first` to `first + count - 1` of a world."""
    images = np.empty((count, 3, SIDE, SIDE), dtype=np.uint8)
    masks = np.empty((count, SIDE, SIDE), dtype=np.bool_)
    values = np.empty((count, len(KINDS)), dtype=np.int64)
    for row in range(count):
        picture = draw(seed, first + row, SIDE)
        images[row] = picture.image.transpose(2, 0, 1)
        masks[row] = picture.mask
        values[row] = [ATTRIBUTES[kind].index(picture.attributes[kind]) for kind in KINDS]
    return DrawnPictures(*(torch.from_numpy(array) for array in (images, masks, values)))


def generator(seed: int) -> torch.Generator:
    """Return a source of chance of its own for each seed."""
    return torch.Generator().manual_seed(SEED * 1_000_003 + seed)


def cut(
    pictures: DrawnPictures,
    rows: Tensor,
    size: Tensor,
    random: torch.Generator,
    sparse: float = 0.0,
) -> Crops:
    """Cut one patch from each of the pictures `rows`, somewhere at the object or near it.

    Parameters
    ----------
    pictures : DrawnPictures
        To cut from.
    rows, size : Tensor
        int64, (n,): which picture, and the side of the box in it.
    random : torch.Generator
        Draws the places and the masks.
    sparse : float
        Share of the patches that are bright in a few spots only.
    """
    count = len(rows)
    masks = pictures.masks[rows].float()
    images = pictures.images[rows].float() / 255
    # The peak: a pixel of the object, or, for one patch in six, any pixel.
    weights = masks.flatten(1) + 1e-9
    anywhere = torch.rand(count, generator=random) < 1 / 6
    weights[anywhere] = 1.0
    peak = torch.multinomial(weights, 1, generator=random)[:, 0]
    centre = torch.stack([peak % SIDE, peak // SIDE], dim=1).float() + 0.5
    half = size.float()[:, None] / 2
    # Deep patches centre on the object rather than on one pixel of it.
    ys, xs = torch.meshgrid(*(torch.arange(SIDE) + 0.5 for _ in range(2)), indexing="ij")
    area = masks.sum((1, 2))
    middle = torch.stack([(masks * xs).sum((1, 2)), (masks * ys).sum((1, 2))], 1) / area[:, None]
    pull = torch.rand(count, 1, generator=random) * (half > 14).float()
    pull[anywhere] = 0.0
    centre = centre + (middle - centre) * pull
    centre = torch.maximum(torch.minimum(centre, SIDE - half), half)

    # Twice as fine, then averaged in pairs: no aliasing where a patch is made smaller.
    line = (torch.arange(2 * TILE) + 0.5) / TILE - 1
    gx = (centre[:, :1] + half * line) / SIDE * 2 - 1
    gy = (centre[:, 1:] + half * line) / SIDE * 2 - 1
    grid = torch.stack(
        [gx[:, None].expand(-1, 2 * TILE, -1), gy[:, :, None].expand(-1, -1, 2 * TILE)], 3
    )
    both = torch.cat([images, masks[:, None]], 1)
    fine = F.grid_sample(both, grid, padding_mode="border", align_corners=False)
    seen = F.avg_pool2d(fine, 2)
    tiles, cover = seen[:, :3], seen[:, 3]
    whole = cover.mean((1, 2)) * size**2 / area
    maps = _maps(cover, random)
    if sparse:
        is_sparse = torch.rand(count, generator=random) < sparse
        maps = torch.where(is_sparse[:, None, None], _sparse_maps(cover, random), maps)
    dimmed = tiles * (DIM + (1 - DIM) * maps[:, None])
    return Crops(dimmed, cover, pictures.values[rows], size, whole)


def _maps(cover: Tensor, random: torch.Generator) -> Tensor:
    """Draw what a channel's map could look like: on the object, beside it, a blob, everywhere."""
    count = len(cover)
    kind = torch.rand(count, generator=random)[:, None, None]
    coarse = torch.rand(count, 1, 5, 5, generator=random)
    noise = F.interpolate(coarse, TILE, mode="bicubic", align_corners=False)[:, 0].clamp(0, 1)
    soft = F.avg_pool2d(F.avg_pool2d(cover[:, None], 7, 1, 3), 7, 1, 3)[:, 0]
    edge = 4 * soft * (1 - soft)
    line = torch.linspace(-1, 1, TILE)
    x, y = torch.rand(2, count, 1, 1, generator=random) * 0.8 - 0.4
    width = torch.rand(count, 1, 1, generator=random) * 0.7 + 0.3
    blob = torch.exp(-((line - x) ** 2 + (line[:, None] - y) ** 2) / width**2)
    maps = torch.where(kind < 0.4, soft, torch.where(kind < 0.55, blob, noise * soft * 1.5))
    maps = torch.where(kind > 0.7, edge * (0.5 + noise), maps)
    maps = torch.where(kind > 0.8, (1 - soft) * noise * 1.5, maps)
    maps = torch.where(kind > 0.9, torch.ones_like(maps), maps)
    return (2 * maps).clamp(0, 1)


def _sparse_maps(cover: Tensor, random: torch.Generator) -> Tensor:
    """Draw maps as they mostly are: strong at few of the layer's units, near the middle."""
    count = len(cover)
    sharp = torch.rand(count, 1, 1, 1, generator=random) * 3 + 0.5
    fine = [
        F.interpolate(
            torch.rand(count, 1, units, units, generator=random) ** sharp, TILE, mode="bilinear"
        )[:, 0]
        for units in _UNITS
    ]
    which = torch.randint(len(_UNITS), (count,), generator=random)
    peaks = torch.stack(fine)[which, torch.arange(count)]
    soft = F.avg_pool2d(cover[:, None], 11, 1, 5, count_include_pad=False)[:, 0]
    kind = torch.rand(count, generator=random)[:, None, None]
    where = torch.where(kind < 0.4, soft, 4 * soft * (1 - soft))
    where = torch.where(kind > 0.65, 1 - soft, where)
    where = torch.where(kind > 0.8, torch.ones_like(soft), where)
    line = torch.linspace(-1, 1, TILE)
    width = torch.rand(count, 1, 1, generator=random) * 1.5 + 0.5
    middle = torch.exp(-(line**2 + line[:, None] ** 2) / width**2)
    maps = peaks * where.clamp(min=0.05) * middle
    return (2 * maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-6)).clamp(0, 1)
