"""The vector of a patch: the mean of its picture's map over where its concept lies.

Each place of the map weighs as much as the patch's mask is strong on it, by exact areas: box and
mask are taken as what they are, a square that is cut evenly into cells of one strength each.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

Vectors = npt.NDArray[np.float32]


def pooled(maps: Tensor, boxes: Tensor, masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the vectors of the patches of one picture.

    Parameters
    ----------
    maps : Tensor
        float32 (1, dimension, rows, columns): of the picture, its places evenly over it.
    boxes : Tensor
        (n, 4): x0, y0, x1, y1 in pixels of the picture, half-open.
    masks : Tensor
        (n, cells, cells): strengths over the box, of any scale; of one without any, all count.
    size : (int, int)
        Height and width of the picture in pixels.

    Returns
    -------
    Tensor
        float32 (n, dimension), rows of length one.
    """
    strengths = masks.double()
    empty = strengths.sum(dim=(1, 2), keepdim=True) == 0
    strengths = torch.where(empty, 1.0, strengths)
    rows, columns = strengths.shape[1:]
    down = _overlap(boxes[:, 1], boxes[:, 3], rows, size[0], maps.shape[2])
    across = _overlap(boxes[:, 0], boxes[:, 2], columns, size[1], maps.shape[3])
    weights = (down.transpose(1, 2) @ strengths @ across).flatten(1)
    weights /= weights.sum(dim=1, keepdim=True)
    return F.normalize(weights.float() @ maps[0].flatten(1).T, dim=1)


def _overlap(low: Tensor, high: Tensor, cells: int, extent: int, places: int) -> Tensor:
    """Return how long each cell of [low, high) lies on each place of [0, extent).

    Parameters
    ----------
    low, high : Tensor
        (n,).
    cells, places : int
        Into how many equal parts they are cut.
    extent : int
        Length of what the places share.

    Returns
    -------
    Tensor
        float64 (n, cells, places).
    """
    steps = torch.arange(cells + 1, dtype=torch.float64) / cells
    edges = low.double()[:, None] + (high - low).double()[:, None] * steps
    bounds = torch.arange(places + 1, dtype=torch.float64) * extent / places
    starts = torch.maximum(edges[:, :-1, None], bounds[:-1])
    return (torch.minimum(edges[:, 1:, None], bounds[1:]) - starts).clamp(min=0)
