"""Maps by masks: occlusion and Sobol attribution, which need nothing but the network's answers.

What is taken away becomes grey: the mean colour of preprocessing, which is 0 in the network's
input.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from atlas.audit.audited import BATCH, Audited
from atlas.sobol import Numbers, designs, total_indices

WINDOW = 7
"""A window of the occlusion is this part of the picture wide and high, and moves by half of it."""

GRID = 8
"""Rows and columns of regions for Sobol attribution."""

DESIGNS = 32
"""Points of the sequence for Sobol attribution."""


def windows(size: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Return the windows of the occlusion of a picture (height, width), row by row."""
    sides = [max(1, round(side / WINDOW)) for side in size]
    every = []
    for side, length in zip(sides, size, strict=True):
        step = max(1, side // 2)
        count = 1 + math.ceil((length - side) / step)
        every.append([slice(n * step, min(n * step + side, length)) for n in range(count)])
    return [(rows, columns) for rows in every[0] for columns in every[1]]


def occlusion(audited: Audited, images: Tensor, targets: Tensor) -> Tensor:
    """Return how much the logit falls where a window of the picture is grey (Zeiler, Fergus 2014).

    Each pixel has the mean over the windows that it lies in.
    """
    return torch.stack([_occluded(audited, *one) for one in _single(images, targets)])


def _occluded(audited: Audited, image: Tensor, target: Tensor) -> Tensor:
    places = windows((image.shape[-2], image.shape[-1]))
    total, often = image.new_zeros(image.shape[-2:]), image.new_zeros(image.shape[-2:])
    whole = audited.logits(image, target)
    for start in range(0, len(places), BATCH):
        some = places[start : start + BATCH]
        versions = image.repeat(len(some), 1, 1, 1)
        for version, (rows, columns) in zip(versions, some, strict=True):
            version[:, rows, columns] = 0
        falls = whole - audited.logits(versions, target.expand(len(some)))
        for fall, (rows, columns) in zip(falls, some, strict=True):
            total[rows, columns] += fall
            often[rows, columns] += 1
    return total / often


def sobol(audited: Audited, seed: int, images: Tensor, targets: Tensor) -> Tensor:
    """Return Sobol attribution (Fel et al. 2021): total indices of the regions of a grid.

    They are interpolated to the size of the picture (bicubic, as in xplique).
    """
    found = [
        torch.from_numpy(region_indices(audited, seed, *one)).to(images)
        for one in _single(images, targets)
    ]
    size = images.shape[-2:]
    grids = torch.stack(found)[:, None]
    return F.interpolate(grids, size, mode="bicubic", align_corners=False)[:, 0]


def region_indices(audited: Audited, seed: int, image: Tensor, target: Tensor) -> Numbers:
    """Return the total Sobol index of each region of a grid on a picture, (`GRID`, `GRID`).

    The regions are multiplied by independent shares from 0 (grey) to 1; the index of a region is
    the part of the logit's variance that is lost where its share is not known. `DESIGNS` points of
    a scrambled Sobol sequence, Jansen's estimator, `DESIGNS` x (`GRID`^2 + 2) answers.
    """

    def of(shares: Numbers) -> Numbers:
        return np.concatenate([_masked(audited, image, target, some) for some in _parts(shares)])

    found = total_indices(of, *designs(GRID * GRID, DESIGNS, seed))
    return found.reshape(GRID, GRID)


def _masked(audited: Audited, image: Tensor, target: Tensor, shares: Numbers) -> Numbers:
    grid = torch.from_numpy(shares).to(image).reshape(-1, 1, GRID, GRID)
    masks = F.interpolate(grid, image.shape[-2:], mode="nearest")
    found: Numbers = audited.logits(image * masks, target.expand(len(masks))).double().cpu().numpy()
    return found


def _parts(shares: Numbers) -> Iterator[Numbers]:
    for start in range(0, len(shares), BATCH):
        yield shares[start : start + BATCH]


def _single(images: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each picture (1, ...) with its target (1,)."""
    return zip(torch.split(images, 1), torch.split(targets, 1), strict=True)
