"""A bounded, mergeable top-k for every channel at once.

The order is total (score, then index of the sample), so that what is kept depends only on
what was offered: not on the size of batches, their order, or how work was split.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

EMPTY = torch.iinfo(torch.int64).max
"""Index of a place that no sample has taken yet; after every sample in the order."""


@dataclass(frozen=True)
class TopK:
    """The best `k` samples of each channel, best first.

    Attributes
    ----------
    scores : Tensor
        float32 (channels, k); -inf where nothing was offered yet.
    indices : Tensor
        int64 (channels, k); samples, `EMPTY` where nothing was offered yet.
    peaks : Tensor
        int64 (channels, k); flat position of the peak unit on the channel's map.
    """

    scores: Tensor
    indices: Tensor
    peaks: Tensor


def empty(channels: int, k: int) -> TopK:
    """Return a reservoir of `k` free places for each of `channels` channels."""
    return TopK(
        torch.full((channels, k), -torch.inf),
        torch.full((channels, k), EMPTY),
        torch.zeros((channels, k), dtype=torch.int64),
    )


def merge(kept: TopK, offered: TopK) -> TopK:
    """Return the best of two reservoirs, as many places as `kept` has.

    A sample must not be in both. Offered scores of exactly zero are no candidates: a
    picture in which the channel is silent says nothing about it.
    """
    k = kept.scores.shape[1]
    silent = offered.scores == 0
    scores = torch.cat([kept.scores, offered.scores.masked_fill(silent, -torch.inf)], dim=1)
    indices = torch.cat([kept.indices, offered.indices.masked_fill(silent, EMPTY)], dim=1)
    peaks = torch.cat([kept.peaks, offered.peaks.masked_fill(silent, 0)], dim=1)
    # Two stable sorts make the lexicographic order (score falling, then index rising).
    by_index = indices.argsort(dim=1, stable=True)
    by_score = scores.gather(1, by_index).argsort(dim=1, descending=True, stable=True)
    order = by_index.gather(1, by_score)[:, :k]
    return TopK(scores.gather(1, order), indices.gather(1, order), peaks.gather(1, order))


def offer(scores: Tensor, indices: Tensor, peaks: Tensor) -> TopK:
    """Return the samples of one batch in the form that `merge` takes.

    Parameters
    ----------
    scores, peaks : Tensor
        (samples, channels).
    indices : Tensor
        int64 (samples,).
    """
    return TopK(scores.T.contiguous(), indices.expand(scores.shape[1], -1), peaks.T.contiguous())
