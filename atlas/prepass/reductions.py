"""What the pre-pass keeps of every map: its largest value, its sum, how much of it is positive.

On a CPU this is limited by memory, and maps lie there with their channels side by side
(channels_last); the ways taken here read every map as few times as possible.
"""

import functools
from typing import Protocol, cast

import torch
from torch import Tensor

OCTAVES = 20
"""The bins of `bins` reach from 2**-OCTAVES to 2**OCTAVES."""

PER_OCTAVE = 16
"""How many of them an octave has, equally wide: one spans 3 to 6 % of its values."""

BINS = 1 + 2 * OCTAVES * PER_OCTAVE

_EXPONENT_OF_ONE = 127
_DROPPED = 19  # bits of a float32's significand, but for the first four


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

    The bin is read off the number itself, its exponent and four bits of its significand, so that
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
    first = (_EXPONENT_OF_ONE - OCTAVES) * PER_OCTAVE
    return torch.where(values > 0, (whole - first + 1).clamp(1, BINS - 1), 0).long()


def edges(per_octave: int = PER_OCTAVE) -> list[float]:
    """Return where the bins of `bins` begin, from bin 1 on, and at last where they end.

    With fewer of them in an octave, as `coarser` makes them.
    """
    steps = range(per_octave * -OCTAVES, per_octave * OCTAVES + 1)
    return [2.0 ** (step // per_octave) * (1 + step % per_octave / per_octave) for step in steps]


def coarser(histogram: Tensor, per_octave: int) -> Tensor:
    """Join the bins of a histogram, (channels, BINS), to `per_octave` in each octave.

    Parameters
    ----------
    histogram : Tensor
        Counts by the bin of `bins`.
    per_octave : int
        A divisor of `PER_OCTAVE`.

    Returns
    -------
    Tensor
        (channels, 1 + 2 * OCTAVES * per_octave); bin 0 is as it was.
    """
    joined = histogram[:, 1:].reshape(len(histogram), -1, PER_OCTAVE // per_octave).sum(dim=2)
    return torch.cat([histogram[:, :1], joined], dim=1)


@functools.cache
def compiled() -> Reduce:
    """Return `reduce` as one compiled loop over each map."""
    return cast(Reduce, torch.compile(_at_once, dynamic=True))


def _at_once(maps: Tensor, counting: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    flat = maps.flatten(2)
    positive = (flat > 0).sum(dim=2, dtype=torch.int32) if counting else None
    return flat.amax(dim=2).float(), flat.sum(dim=2, dtype=torch.float32), positive
