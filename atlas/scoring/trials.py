"""Trials: on which pictures a name is tested, and for how many of the data each of them stands.

The pictures come from the bands of a channel's activation over all pictures, from the highest down
to those on which it is silent, so that what is found on a few of them is an estimate for all. A
channel *responds* to a picture if its largest output there reaches half of the way from the median
picture (zero, if that is negative) to the median of its best ones: half of the maximum for a
channel that is silent on most. How many pictures that are is exact, since the histogram of a
channel counts every picture; within a band the pictures that are kept are a random sample on either
side of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atlas.store import BANDS

FEWEST = 3
"""Pictures that a trial has at least on either side: those responded to, and the others."""

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class KeptRange:
    """What is kept of one channel's range; all arrays are of one length, in the table's order.

    Attributes
    ----------
    band : ndarray
        int64, place in `BANDS`; the sample of all pictures is left out.
    image : ndarray
        int64, rows of images.parquet.
    activation, weight : ndarray
        float64, as in bands.parquet.
    peak : ndarray
        int64 (n, 2), row and column of the peak unit.
    edges, counts : sequence
        The histogram of largest outputs, as in channels.parquet.
    pictures : int
        How many were measured.
    """

    band: Integers
    image: Integers
    activation: Floats
    weight: Floats
    peak: Integers
    edges: Sequence[float]
    counts: Sequence[int]
    pictures: int


@dataclass(frozen=True)
class Trial:
    """The pictures that one channel is tested on; arrays are of one length.

    Attributes
    ----------
    image : ndarray
        int64, rows of images.parquet.
    peak : ndarray
        int64 (n, 2), row and column of the peak unit, around which the patch lies.
    activation : ndarray
        float64, the channel's largest output.
    positive : ndarray
        bool, whether the channel responds.
    weight : ndarray
        float64, how many pictures of the data it stands for.
    stratum : ndarray
        int64: those of one stratum are a random sample of the same pictures.
    least : float
        The output from which the channel counts as responding.
    """

    image: Integers
    peak: Integers
    activation: Floats
    positive: npt.NDArray[np.bool_]
    weight: Floats
    stratum: Integers
    least: float

    @property
    def base_rate(self) -> float:
        """Share of all pictures that the channel responds to, 0 to 1."""
        return float(self.weight[self.positive].sum() / self.weight.sum())


def trial(kept: KeptRange, excluded: Integers, patches: int) -> Trial | None:
    """Choose the pictures of a channel.

    Parameters
    ----------
    kept : KeptRange
        What is kept of its range.
    excluded : ndarray
        int64, rows of images.parquet that its name was made from: never shown again. The others
        of their stratum stand for them too.
    patches : int
        How many pictures at most.

    Returns
    -------
    Trial or None
        None for channels without a positive output, that respond to all pictures alike, or of
        which fewer than `FEWEST` pictures are left on one side.
    """
    found = _least(kept)
    if found is None:
        return None
    least, responding = found
    free = ~np.isin(kept.image, excluded)
    positive = kept.activation >= least
    masses = np.zeros((2, len(BANDS)))
    passed = 0.0
    for band in np.unique(kept.band).tolist():
        mass = float(kept.weight[kept.band == band].sum())
        above = min(max(responding - passed, 0.0), mass)
        masses[:, band] = mass - above, above
        passed += mass
    chosen: list[int] = []
    stratum: list[int] = []
    weight: list[float] = []
    for side in (True, False):
        rows = [
            np.flatnonzero(free & (positive == side) & (kept.band == band))
            for band in range(len(BANDS))
        ]
        stands = _handed_on(masses[int(side)], [len(own) for own in rows])
        for band, own in enumerate(rows):
            if stands[band] > 0 and len(own):
                chosen += own.tolist()
                stratum += [2 * band + side] * len(own)
                weight += [stands[band] / len(own)] * len(own)
    if not chosen:
        return None
    every = Trial(
        kept.image[chosen],
        kept.peak[chosen],
        kept.activation[chosen],
        positive[chosen],
        np.array(weight),
        np.array(stratum, np.int64),
        least,
    )
    sides = np.bincount(every.positive, minlength=2)
    return None if sides.min() < FEWEST else part(every, patches)[1]


def part(whole: Trial, patches: int) -> tuple[Integers, Trial]:
    """Return some pictures of a trial, and the trial that has these alone.

    Half of them are pictures that the channel responds to, where there are as many. Each stratum
    has at least one, and the more pictures of the data it stands for, the more, as is best for
    the estimate of a sum (Neyman 1934; Wright 2012).
    """
    names, place = np.unique(whole.stratum, return_inverse=True)
    have = np.bincount(place)
    mass = np.bincount(place, whole.weight)
    side = names % 2 == 1
    wanted = np.array([patches // 2, patches - patches // 2])
    total = np.array([have[~side].sum(), have[side].sum()])
    spare = np.maximum(wanted - total, 0)
    wanted = np.minimum(wanted + spare[::-1], total)
    takes = np.zeros(len(names), np.int64)
    for this in (False, True):
        for _ in range(int(wanted[int(this)])):
            worth = mass / np.sqrt(np.maximum(takes * (takes + 1), 1e-9))
            worth[(side != this) | (takes >= have)] = -1
            takes[worth.argmax()] += 1
    rows = np.sort(
        np.concatenate([np.flatnonzero(place == n)[:take] for n, take in enumerate(takes)])
    )
    stands = mass[place[rows]] / takes[place[rows]]
    return rows, Trial(
        whole.image[rows],
        whole.peak[rows],
        whole.activation[rows],
        whole.positive[rows],
        stands,
        whole.stratum[rows],
        whole.least,
    )


def _least(kept: KeptRange) -> tuple[float, int] | None:
    """Return from which output on a channel responds, and to how many pictures; None if to none.

    It is the edge of the histogram that is nearest to half of the way.
    """
    edges, counts = np.array(kept.edges, np.float64), np.array(kept.counts, np.int64)
    if not len(counts) or not len(kept.band):
        return None
    best = float(np.median(kept.activation[kept.band == kept.band.min()]))
    above = counts[::-1].cumsum()[::-1]  # pictures from each edge on
    half = np.flatnonzero(2 * above > kept.pictures)
    median = float(edges[half[-1]]) if len(half) else 0.0
    middle = median + (best - median) / 2
    if middle <= 0:
        return None
    edge = int(np.abs(np.log2(edges[:-1]) - np.log2(middle)).argmin())
    return float(edges[edge]), int(above[edge])


def _handed_on(masses: Floats, samples: Sequence[int]) -> Floats:
    """Give the pictures of bands without a sample to the next lower band of that side, or the last.

    Bands are in the order of falling activation.
    """
    result = np.zeros(len(masses))
    waiting, last = 0.0, -1
    for band, (mass, count) in enumerate(zip(masses, samples, strict=True)):
        waiting += mass
        if count and waiting > 0:
            result[band], waiting, last = waiting, 0.0, band
    if last >= 0:
        result[last] += waiting
    return result
