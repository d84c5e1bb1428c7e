"""The reservoir keeps what a sort of everything would keep, however it is fed."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from atlas.prepass import topk
from atlas.prepass.topk import EMPTY, TopK


def by_sorting(scores: np.ndarray, k: int) -> list[list[tuple[float, int]]]:
    """The definition: highest score first, then lowest index; silent pictures left out."""
    result = []
    for channel in scores.T:
        pairs = sorted((-s, i) for i, s in enumerate(channel.tolist()) if s != 0)
        result.append([(-s, i) for s, i in pairs[:k]])
    return result


def kept(reservoir: TopK) -> list[list[tuple[float, int]]]:
    return [
        [(s, i) for s, i in zip(scores, indices, strict=True) if i != EMPTY]
        for scores, indices in zip(
            reservoir.scores.tolist(), reservoir.indices.tolist(), strict=True
        )
    ]


@st.composite
def cases(draw):
    pictures = draw(st.integers(1, 25))
    channels = draw(st.integers(1, 4))
    # Few distinct values: ties are the rule.
    values = st.sampled_from([-1.5, -1.0, 0.0, 0.5, 1.0, 2.0])
    flat = draw(st.lists(values, min_size=pictures * channels, max_size=pictures * channels))
    scores = np.array(flat, dtype=np.float32).reshape(pictures, channels)
    order = draw(st.permutations(range(pictures)))
    size = draw(st.integers(1, pictures))
    return scores, order, size, draw(st.integers(1, 8))


def offer(reservoir: TopK, scores: np.ndarray, rows: list[int]) -> TopK:
    indices = torch.tensor(rows)

    def peaks(samples, channels):
        return indices[samples] * 10 + channels

    topk.update(reservoir, torch.from_numpy(scores[rows]), indices, peaks)
    return reservoir


@given(cases())
def test_any_batching_keeps_what_a_sort_keeps(case):
    scores, order, size, k = case
    reservoir = topk.empty(scores.shape[1], k)
    for start in range(0, len(order), size):
        offer(reservoir, scores, list(order[start : start + size]))
    assert kept(reservoir) == by_sorting(scores, k)
    full = reservoir.indices != EMPTY
    channels = torch.arange(scores.shape[1])[:, None]
    assert torch.equal(reservoir.peaks[full], (reservoir.indices * 10 + channels)[full])


@given(cases())
def test_merging_the_reservoirs_of_two_halves_is_the_same(case):
    scores, order, _, k = case
    half = len(order) // 2
    parts = [
        offer(topk.empty(scores.shape[1], k), scores, list(rows))
        for rows in (order[:half], order[half:])
        if rows
    ]
    merged = topk.empty(scores.shape[1], k)
    for part in reversed(parts):
        merged = topk.merge(merged, part)
    assert kept(merged) == by_sorting(scores, k)
