"""What is measured of a map: by the network's answers, by other pictures, and by the truth.

Each of the first three asks the network for answers to pictures with parts of them in grey, the
mean colour of preprocessing (0 in the network's input).
"""

import numpy as np
import torch
from torch import Tensor

from atlas.audit.audited import Audited, MapOf

STEPS = 32
"""Steps in which a picture is deleted or inserted."""

SQUARES = 64
"""Squares that become grey for infidelity."""

SQUARE = (1 / 8, 1 / 2)
"""Least and largest side of such a square, as a part of the picture's shorter side."""

DRAWS = 10
"""Changed pictures for sensitivity, as in captum."""

RADIUS = 0.02
"""By how much a pixel changes at most for sensitivity, of its range from 0 to 1."""


def order(map_: Tensor) -> Tensor:
    """Return the pixels of a map (height, width) by falling value, as places in the flat map."""
    return map_.flatten().argsort(descending=True, stable=True)


def versions(image: Tensor, map_: Tensor, *, inserted: bool) -> Tensor:
    """Return a picture as its pixels become grey, or the other way about.

    Parameters
    ----------
    image : Tensor
        (1, colours, height, width), preprocessed.
    map_ : Tensor
        (height, width): pixels with high values come first.
    inserted : bool
        Whether it begins with grey and ends with the picture.

    Returns
    -------
    Tensor
        (`STEPS` + 1, colours, height, width).
    """
    count = map_.numel()
    place = torch.empty(count, dtype=torch.int64, device=map_.device)
    place[order(map_)] = torch.arange(count, device=map_.device)
    ends = torch.arange(STEPS + 1, device=map_.device) * count // STEPS
    gone = (place[None] < ends[:, None]).reshape(-1, 1, *map_.shape)
    return image * (gone if inserted else ~gone)


def heights(
    audited: Audited, image: Tensor, target: Tensor, map_: Tensor, *, inserted: bool
) -> Tensor:
    """Return the probability of the target as pixels go, or come (Petsiuk et al. 2018).

    float64 (`STEPS` + 1,).
    """
    pictures = versions(image, map_, inserted=inserted)
    return audited.probabilities(pictures, target.expand(len(pictures))).double()


def area(heights_: Tensor) -> float:
    """Return the mean height of a curve over equal steps, by trapezia."""
    return float(torch.trapezoid(heights_, dx=1 / (len(heights_) - 1)))


def squares(size: tuple[int, int], seed: int) -> Tensor:
    """Return random squares of a picture (height, width): (`SQUARES`, height, width), 0 and 1."""
    random = np.random.default_rng(seed)
    masks = torch.zeros(SQUARES, *size)
    least, most = (max(1, round(part * min(size))) for part in SQUARE)
    for mask in masks:
        side = int(random.integers(least, most, endpoint=True))
        top, left = (int(random.integers(0, length - side, endpoint=True)) for length in size)
        mask[top : top + side, left : left + side] = 1
    return masks


def falls(audited: Audited, image: Tensor, target: Tensor, masks: Tensor) -> Tensor:
    """Return how much the target's logit falls as the pixels of each mask become grey."""
    pictures = image * (1 - masks[:, None])
    return audited.logits(image, target) - audited.logits(pictures, target.expand(len(masks)))


def infidelity(map_: Tensor, masks: Tensor, fallen: Tensor) -> float:
    """Return which part of the logit's falls a map does not foresee, from 0 to 1.

    A map foresees a fall as large as the sum of its values under the mask (Yeh et al. 2019, with
    squares removed). The best factor for the whole map is allowed, as captum does it with
    `normalize`, and the mean square of what is left is divided by that of the falls: 1 for a map
    that says nothing, 0 for one that foresees each fall.
    """
    foreseen = (masks * map_).sum(dim=(1, 2)).double()
    fell = fallen.double()
    square = float((foreseen**2).mean())
    factor = float((foreseen * fell).mean()) / square if square else 0.0
    left, all_ = float(((factor * foreseen - fell) ** 2).mean()), float((fell**2).mean())
    return left / all_ if all_ else 1.0


def sensitivity(
    of: MapOf, image: Tensor, target: Tensor, map_: Tensor, spread: Tensor, seed: int
) -> float:
    """Return by how much a map changes at most where the picture hardly does (Yeh et al. 2019).

    The largest of `DRAWS` distances between the map and that of a changed picture, divided by the
    map's length (Euclidean). Not bounded above.

    Parameters
    ----------
    of : callable
        What makes the map.
    image, target : Tensor
        The picture (1, ...), and the output (1,).
    map_ : Tensor
        The map of the picture, (height, width).
    spread : Tensor
        (colours,): by what pixels from 0 to 1 are divided in preprocessing.
    seed : int
        Of the changes: each pixel by a number drawn evenly from -`RADIUS` to `RADIUS`.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(DRAWS, *image.shape[1:], generator=generator).to(image) * 2 - 1
    changed = image + RADIUS * drawn / spread[:, None, None]
    others = of(changed, target.expand(DRAWS))
    distances = (others - map_).flatten(1).norm(dim=1)
    return float(distances.max() / map_.norm().clamp(min=1e-30))


def mass(map_: Tensor, inside: Tensor) -> float:
    """Return which part of what speaks for the answer lies in the object, from 0 to 1.

    The positive part of the map, inside the object (height, width, booleans), of all of it (Arras
    et al. 2022, relevance mass accuracy); 0 where nothing is positive.
    """
    positive = map_.clamp(min=0).double()
    return float((positive * inside).sum() / positive.sum().clamp(min=1e-30))


def rank(map_: Tensor, inside: Tensor) -> float:
    """Return which part of the highest pixels lies in the object, from 0 to 1.

    As many pixels are taken as the object has (Arras et al. 2022, relevance rank accuracy).
    """
    count = int(inside.sum())
    return float(inside.flatten()[order(map_)[:count]].double().mean()) if count else 0.0
