"""What the pre-pass keeps of every map: its largest value, its sum, how much of it is positive.

On a CPU this is limited by memory, and maps lie there with their channels side by side
(channels_last); the ways taken here read every map as few times as possible.
"""

import functools
from typing import Protocol, cast

import torch
from torch import Tensor

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
    if maps.device.type != "cpu":
        return _at_once(maps, counting)
    # One by one, in memory that stays: a map is in the cache when it is read again.
    floats = torch.empty_like(maps[:1], dtype=torch.float32)
    ones = torch.empty_like(maps[:1], dtype=torch.int32)
    largest, totals, counts = [], [], []
    for i in range(len(maps)):
        one = maps[i : i + 1] if maps.dtype == torch.float32 else floats.copy_(maps[i : i + 1])
        flat = one.flatten(2)
        largest.append(flat.amax(dim=2))
        totals.append(flat.sum(dim=2))
        if counting:
            # As an integer a positive number is at least 1, and others are at most 0. To compare,
            # which makes booleans, takes thrice the time.
            torch.clamp(one.view(torch.int32), 0, 1, out=ones)
            counts.append(ones.sum(dim=(2, 3), dtype=torch.int32))
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


@functools.cache
def compiled() -> Reduce:
    """Return `reduce` as one compiled loop over each map."""
    return cast(Reduce, torch.compile(_at_once, dynamic=True))


def _at_once(maps: Tensor, counting: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    flat = maps.flatten(2)
    positive = (flat > 0).sum(dim=2, dtype=torch.int32) if counting else None
    return flat.amax(dim=2).float(), flat.sum(dim=2, dtype=torch.float32), positive
