"""A few pictures of each channel from every part of the range of its activation.

References are the best pictures of a channel. What it does on all the others is known from samples
of its *bands*: the pictures above a share of all others (99.9, 99, 90 and 50 %), those with less,
and those on which it is silent. Where the quantiles lie is known only when all pictures were seen,
and then none of them can be fetched again to be measured. So this is what is kept of the pass:

- Every picture draws a number, 63 bits that its pixels and the seed decide and nothing else (two
  pictures that are the same draw the same). Half of the pictures are of level 0, a quarter of level
  1, and so on, by the zeros that the number begins with. So those of all levels from `j` on are a
  random sample of 2**-j of the pictures.
- For each channel and level the pictures with the largest outputs are kept, more than twice as many
  as are wanted of a band (`places`). Level 0 reaches down to the best few dozen of a data set,
  level 10 to the best few ten thousand, and the last levels hold all of their few pictures.
- In the end the histogram of the largest outputs, which is exact, says between which of its bins
  each band lies and how many pictures it has. From the level on whose lists reach below a band, it
  is sampled evenly, and of that sample those with the smallest numbers are taken: the same few
  pictures for many channels. Each stands for the pictures of its band, divided by how many were
  taken.

Lists of the best are mergeable and have no order (`topk`), and so is the rest: the same pictures
are found for any size of batches, order and number of processes. See adaptive threshold sampling
(Ting 2017) for why such samples are unbiased although their thresholds depend on the data.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from atlas.prepass import reductions, topk
from atlas.prepass.topk import EMPTY, TopK
from atlas.store import BANDS

SHARES = (0.001, 0.01, 0.1, 0.5)
"""Shares of all pictures: those above the lower border of the bands from `99.9` to `50`."""

LEVELS = 24
"""The last one holds what is left; the lists reach all pictures of 2**LEVELS times their length."""

BITS = 63

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Chosen:
    """Pictures of the channels of a layer, by channel, band and drawn number; (pictures,) each."""

    channel: Integers
    """Number of the channel in its layer."""
    band: Integers
    """Place in `BANDS`."""
    index: Integers
    """Index of the sample."""
    value: npt.NDArray[np.float32]
    """Largest output of the channel."""
    peak: Integers
    """Flat position of the peak unit on the channel's map."""
    weight: npt.NDArray[np.float64]
    """How many pictures of the data it stands for; those of a channel add up to all of them, and
    those of the band `random` as well."""


def draw(digests: Sequence[int], seed: int) -> list[int]:
    """Return the number that each picture draws, from 0 to 2**63 - 1.

    The picture's digest goes through splitmix64 (Steele, Lea and Flood 2014) together with what the
    seed comes to there.

    Parameters
    ----------
    digests : sequence of int
        A hash of the pixels of each picture, from 0 to 2**64 - 1.
    seed : int
        Another one gives other numbers.
    """
    start = _mixed(np.array([seed], np.int64).astype(np.uint64))
    mixed = _mixed(np.array(digests, np.uint64) ^ start)
    return [int(number) for number in mixed >> np.uint64(1)]


def levels(drawn: Sequence[int]) -> Tensor:
    """Return the level of each picture by the number that it drew, int64 (pictures,)."""
    return torch.tensor([min(LEVELS - 1, BITS - number.bit_length()) for number in drawn])


def places(per_band: int) -> int:
    """Return how long lists have to be for `per_band` pictures of a band.

    With so many, a band has fewer pictures than it should, although the data has them, in 1 of 50
    channels (`low` in 1 of 10); with a third less in thrice as many.
    """
    return 2 * per_band + 6


def empty(channels: int, per_band: int, device: torch.device | None = None) -> TopK:
    """Return lists of free places, (channels * LEVELS, places)."""
    return topk.empty(channels * LEVELS, places(per_band), device)


def update(
    kept: TopK,
    values: Tensor,
    indices: Tensor,
    level: Tensor,
    peaks: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """Offer one batch, in place.

    Parameters
    ----------
    kept : TopK
        The lists, of each channel those of all levels.
    values : Tensor
        float32 (samples, channels), the largest outputs.
    indices, level : Tensor
        int64 (samples,) each.
    peaks : callable
        As of `topk.update`.
    """
    last = kept.scores[:, -1].view(-1, LEVELS)
    rows, channels = (values >= last[:, level].T).nonzero(as_tuple=True)
    if len(rows):
        lists = channels * LEVELS + level[rows]
        topk.insert(kept, lists, values[rows, channels], indices[rows], peaks(rows, channels))


def choose(
    kept: TopK, histogram: Tensor, k: int, per_band: int, drawn: Callable[[Integers], Integers]
) -> Chosen:
    """Return the pictures of a layer's channels when all were seen.

    Parameters
    ----------
    kept : TopK
        Of a finished pass.
    histogram : Tensor
        int64 (channels, BINS), all pictures by the bin of their largest output.
    k : int
        References of a channel, which is about how many pictures `top` has.
    per_band : int
        Pictures of a band, at most.
    drawn : callable
        From indices of samples, `EMPTY` among them, to the numbers that they drew.
    """
    channels = len(histogram)
    above = histogram.flip(1).cumsum(1).flip(1).cpu().numpy()  # pictures in a bin and those after
    above = np.pad(above, ((0, 0), (0, 1)))
    lower, upper = _borders(above, k)
    shape = (channels, LEVELS, places(per_band))
    indices = kept.indices.cpu().numpy().reshape(shape)
    bins = reductions.bins(kept.scores.cpu()).numpy().reshape(shape)
    filled = indices != EMPTY
    # In the order of the numbers, for each channel all of its pictures.
    flat = (channels, -1)
    order = np.argsort(drawn(indices).reshape(flat), axis=1, kind="stable")
    every, bins_of = np.arange(channels)[:, None], bins.reshape(flat)
    level_of = np.broadcast_to(np.arange(LEVELS)[:, None], shape[1:]).reshape(-1)[order]
    found, where, counts = [], [], np.zeros((channels, len(BANDS)), np.int64)
    for band in range(len(BANDS)):
        low, high = lower[:, band, None], upper[:, band, None]
        # Lists that are full and end within the band, or above it, do not have all of it.
        short = filled[:, :, -1] & (bins[:, :, -1] >= low)
        first = np.where(short.any(1), LEVELS - short[:, ::-1].argmax(1), 0)
        inside = filled.reshape(flat) & (bins_of >= low) & (bins_of < high)
        sample = inside[every, order] & (level_of >= first[:, None])
        taken = sample & (sample.cumsum(1) <= per_band)
        counts[:, band] = taken.sum(1)
        channel, column = taken.nonzero()
        found.append(np.stack([channel, np.full_like(channel, band)]))
        where.append(order[channel, column])
    number, place = np.concatenate(found, axis=1), np.concatenate(where)
    by_channel = np.argsort(number[0], kind="stable")
    (channel, band), place = number[:, by_channel], place[by_channel]
    of = np.arange(channels)[:, None]
    weights = _weights(above[of, lower] - above[of, upper], counts)
    return Chosen(
        channel,
        band,
        indices.reshape(flat)[channel, place],
        kept.scores.cpu().numpy().reshape(flat)[channel, place],
        kept.peaks.cpu().numpy().reshape(flat)[channel, place],
        weights[channel, band],
    )


def _borders(above: Integers, k: int) -> tuple[Integers, Integers]:
    """Return between which bins each band lies, (channels, bands) each, the upper one excluded.

    A border is where the number of pictures above it is nearest, as a ratio, to what it should
    be; a band that would lie above the one before has no pictures.
    """
    total, bins = above[:, 0], above.shape[1] - 1
    several = np.maximum(above[:, 1:bins], 0.5)  # a band without pictures is no border's choice
    borders = []
    for wanted in (np.full(len(above), k), *(share * total for share in SHARES)):
        most = np.maximum(wanted, 1)[:, None]
        borders.append(1 + np.maximum(several / most, most / several).argmin(axis=1))
    lower = np.minimum.accumulate(np.stack(borders, axis=1), axis=1)
    one, none = np.ones_like(lower[:, :1]), np.zeros_like(lower[:, :1])
    lower = np.concatenate([lower, one, none, none], axis=1)
    whole = np.full_like(one, bins)
    return lower, np.concatenate([whole, lower[:, :-2], whole], axis=1)


def _weights(pictures: Integers, counts: Integers) -> npt.NDArray[np.float64]:
    """Return for how many pictures each taken one of a band stands, (channels, bands).

    Pictures of a band from which none was taken count to the next lower band that has some; where
    there is none, to the last that has.
    """
    weights = np.zeros(counts.shape)
    waiting = np.zeros(len(counts), np.int64)
    last = np.zeros(len(counts), np.int64)
    parts = len(BANDS) - 1  # but for the sample of all
    for band in range(parts):
        waiting = waiting + pictures[:, band]
        some = counts[:, band] > 0
        weights[some, band] = waiting[some] / counts[some, band]
        last[some] = band
        waiting = np.where(some, 0, waiting)
    rows = np.flatnonzero((waiting > 0) & (counts[:, :parts].sum(1) > 0))
    weights[rows, last[rows]] += waiting[rows] / counts[rows, last[rows]]
    weights[:, -1] = pictures[:, -1] / np.maximum(counts[:, -1], 1)
    return weights


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the outputs of splitmix64 for its states; different ones for different states."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
