"""What the pre-pass keeps of every map: its largest value, its sum, how much of it is positive.

On a CPU this is limited by memory, and maps lie there with their channels side by side
(channels_last); the ways taken here read every map as few times as possible.
"""

import functools
from typing import Protocol, cast

import torch
from torch import Tensor

LANE = 255
"""Bytes that can be added up in a byte."""

_SAME_SIGN = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}
"""Integers of the same size, which are compared faster and have the same signs."""


OCTAVES = 20
"""The bins of `bins` reach from 2**-OCTAVES to 2**OCTAVES, four to the octave."""

BINS = 1 + 8 * OCTAVES

_EXPONENT_OF_ONE = 127
_DROPPED = 21  # bits of a float32's significand, but for the first two


class Reduce(Protocol):
    """`reduce`, or the same compiled."""

    def __call__(self, maps: Tensor, counting: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """See `reduce`."""


def reduce(maps: Tensor, counting: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the largest value of each map, its sum and how many of its values are positive.

    Parameters
    ----------
    maps : Tensor
        (pictures, channels, height, width), of any precision.
    counting : bool
        Whether to count; the third result is None otherwise.

    Returns
    -------
    tuple of Tensor
        (pictures, channels) each: float32, float32, int32.
    """
    # On a CPU picture by picture: a map may still be in the cache when it is read again.
    parts = [maps[i : i + 1] for i in range(len(maps))] if maps.device.type == "cpu" else [maps]
    largest, totals, counts = [], [], []
    for part in parts:
        flat = part.flatten(2)
        largest.append(flat.amax(dim=2).float())
        totals.append(flat.sum(dim=2, dtype=torch.float32))
        if counting:
            counts.append(_positive(part))
    return torch.cat(largest), torch.cat(totals), torch.cat(counts) if counting else None


def bins(values: Tensor) -> Tensor:
    """Return the bin of each value of a histogram with logarithmic bins.

    The bin is read off the number itself, its exponent and two bits of its significand, so that
    it never depends on how a logarithm is rounded.

    Parameters
    ----------
    values : Tensor
        float32, any shape.

    Returns
    -------
    Tensor
        int64: 0 for values that are not positive; bin b > 0 begins at `edges()[b - 1]`. Values
        outside the bins belong to the nearest one.
    """
    whole = values.float().contiguous().view(torch.int32) >> _DROPPED
    first = (_EXPONENT_OF_ONE - OCTAVES) * 4
    return torch.where(values > 0, (whole - first + 1).clamp(1, BINS - 1), 0).long()


def edges() -> list[float]:
    """Return where the bins of `bins` begin, from bin 1 on, and at last where they end."""
    quarters = range(4 * -OCTAVES, 4 * OCTAVES + 1)
    return [2.0 ** (quarter // 4) * (1 + quarter % 4 / 4) for quarter in quarters]


def _positive(maps: Tensor) -> Tensor:
    """Count the positive values of each map.

    Eight channels are added at once as the bytes of a 64-bit integer, row by row, so that no
    byte overflows; that takes a quarter of the time of adding booleans.
    """
    whole = maps.view(_SAME_SIGN[maps.dtype]) if maps.dtype in _SAME_SIGN else maps
    positive = (whole > 0).view(torch.uint8).permute(0, 2, 3, 1)  # channels last
    if maps.device.type != "cpu" or maps.shape[1] % 8 or maps.shape[3] > LANE:
        return positive.sum(dim=(1, 2), dtype=torch.int32)
    pictures, height, width, _ = positive.shape
    lanes = positive.flatten().view(torch.int64).view(pictures, height, width, -1)
    return lanes.sum(dim=2).view(torch.uint8).sum(dim=1, dtype=torch.int32)


@functools.cache
def compiled() -> Reduce:
    """Return `reduce` as one compiled loop over each map."""
    return cast(Reduce, torch.compile(_reduce_in_one_loop, dynamic=True))


def _reduce_in_one_loop(maps: Tensor, counting: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    flat = maps.flatten(2)
    positive = (flat > 0).sum(dim=2, dtype=torch.int32) if counting else None
    return flat.amax(dim=2).float(), flat.sum(dim=2, dtype=torch.float32), positive
