"""A bounded, mergeable top-k for every channel at once.

The order is total (score, then index of the sample), so that what is kept depends only on
what was offered: not on the size of batches, their order, or how work was split.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

EMPTY = torch.iinfo(torch.int64).max
"""Index of a place that no sample has taken yet; after every sample in the order."""


@dataclass
class TopK:
    """The best `k` samples of each channel, best first; `update` changes its tensors in place.

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


def empty(channels: int, k: int, device: torch.device | None = None) -> TopK:
    """Return a reservoir of `k` free places for each of `channels` channels."""
    return TopK(
        torch.full((channels, k), -torch.inf, device=device),
        torch.full((channels, k), EMPTY, device=device),
        torch.zeros((channels, k), dtype=torch.int64, device=device),
    )


def update(
    kept: TopK, scores: Tensor, indices: Tensor, peaks: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """Offer one batch to a reservoir, in place.

    Channels in which no sample reaches the last kept score cost one comparison: after many
    samples that is nearly all of them. Scores of exactly zero are no candidates: a picture
    in which the channel is silent says nothing about it.

    Parameters
    ----------
    kept : TopK
        Changed in place.
    scores : Tensor
        (samples, channels).
    indices : Tensor
        int64 (samples,); none of them offered before.
    peaks : callable
        From rows of `scores` and channels, int64 (some,) each, to the peak units of these
        samples on these channels, int64 (some,).
    """
    candidates = (scores >= kept.scores[:, -1]) & (scores != 0)
    rows, channels = candidates.nonzero(as_tuple=True)
    if len(rows):
        insert(kept, channels, scores[rows, channels], indices[rows], peaks(rows, channels))


def insert(kept: TopK, lists: Tensor, scores: Tensor, indices: Tensor, peaks: Tensor) -> None:
    """Offer single values to a reservoir, in place.

    Parameters
    ----------
    kept : TopK
        Changed in place.
    lists : Tensor
        int64 (values,), at least one: to which row of `kept` each value is offered.
    scores, indices, peaks : Tensor
        (values,) each; what `kept` holds of a sample.
    """
    order = lists.argsort(stable=True)
    some, counts = torch.unique_consecutive(lists[order], return_counts=True)
    row = torch.arange(len(some), device=lists.device).repeat_interleave(counts)
    place = torch.arange(len(order), device=lists.device) - (counts.cumsum(0) - counts)[row]
    offered = empty(len(some), int(counts.max()), lists.device)
    offered.scores[row, place] = scores[order]
    offered.indices[row, place] = indices[order]
    offered.peaks[row, place] = peaks[order]
    merged = merge(TopK(kept.scores[some], kept.indices[some], kept.peaks[some]), offered)
    kept.scores[some] = merged.scores
    kept.indices[some] = merged.indices
    kept.peaks[some] = merged.peaks


def without_zeros(kept: TopK) -> TopK:
    """Return a reservoir whose samples with a score of exactly zero have left free places."""
    zero = kept.scores == 0
    return TopK(
        kept.scores.masked_fill(zero, -torch.inf),
        kept.indices.masked_fill(zero, EMPTY),
        kept.peaks.masked_fill(zero, 0),
    )


def merge(kept: TopK, offered: TopK) -> TopK:
    """Return the best of two reservoirs of the same channels, as many places as `kept` has.

    A sample must not be in both.
    """
    k = kept.scores.shape[1]
    scores = torch.cat([kept.scores, offered.scores], dim=1)
    indices = torch.cat([kept.indices, offered.indices], dim=1)
    peaks = torch.cat([kept.peaks, offered.peaks], dim=1)
    # Two stable sorts make the lexicographic order (score falling, then index rising).
    by_index = indices.argsort(dim=1, stable=True)
    by_score = scores.gather(1, by_index).argsort(dim=1, descending=True, stable=True)
    order = by_index.gather(1, by_score)[:, :k]
    return TopK(scores.gather(1, order), indices.gather(1, order), peaks.gather(1, order))
