"""The pictures of the bands are those that a sort of everything finds, however they are fed."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from atlas.prepass import bands, reductions, topk
from atlas.prepass.bands import BANDS, LEVELS, SHARES
from atlas.prepass.topk import EMPTY, TopK

SPLITMIX_OF_0 = 0xE220A8397B1DCDAF
"""The first output of splitmix64 with the seed 0, as published with its source."""


def test_numbers_are_those_of_splitmix():
    """Which is written out here with whole numbers of any size."""

    def mix(state: int) -> int:
        z = (state + 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    assert mix(0) == SPLITMIX_OF_0
    digests = [0, 1, 2, 2**40, 2**64 - 1]
    for seed in (0, 1, -5):
        expected = [mix(digest ^ mix(seed % 2**64)) >> 1 for digest in digests]
        assert bands.draw(digests, seed) == expected


def test_levels_halve():
    drawn = bands.draw(range(100_000), 7)
    levels = bands.levels(drawn).numpy()
    for level in range(6):
        expected = 100_000 / 2 ** (level + 1)
        assert abs((levels == level).sum() - expected) < 5 * expected**0.5
    assert (levels == [min(LEVELS - 1, f"{number:063b}".index("1")) for number in drawn]).all()


def histogram(values: np.ndarray) -> torch.Tensor:
    found = reductions.bins(torch.from_numpy(values)).T
    counts = torch.zeros(values.shape[1], reductions.BINS, dtype=torch.int64)
    return counts.scatter_add_(1, found, torch.ones_like(found))


def fed(values: np.ndarray, rows: list[int], size: int, per_band: int, seed: int) -> TopK:
    """Offer pictures in batches; the peak of each is its number times ten and the channel."""
    kept = bands.empty(values.shape[1], per_band)
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        indices = torch.tensor(some)
        level = bands.levels(bands.draw(some, seed))
        bands.update(
            kept, torch.from_numpy(values[some]), indices, level,
            lambda pictures, channels, of=indices: of[pictures] * 10 + channels,
        )  # fmt: skip
    return kept


def chosen(kept: TopK, values: np.ndarray, k: int, per_band: int, seed: int) -> list[tuple]:
    """Return channel, band, index, value, weight; peaks are checked."""

    def drawn(indices: np.ndarray) -> np.ndarray:
        numbers = np.array(bands.draw(np.minimum(indices, 2**40).ravel().tolist(), seed), np.int64)
        return np.where(indices == EMPTY, EMPTY, numbers.reshape(indices.shape))

    found = bands.choose(kept, histogram(values), k, per_band, drawn)
    assert (found.peak == found.index * 10 + found.channel).all()
    columns = (found.channel, found.band, found.index, found.value, found.weight)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def by_sorting(column: np.ndarray, k: int, per_band: int, seed: int) -> list[tuple]:
    """The definition, for one channel: everything sorted, bands cut out, the least numbers taken.

    How deep a band is sampled is the only thing that is limited: by the level from which on
    no level has as many pictures above its lower border as lists have places.
    """
    count, edges = len(column), [0.0, *reductions.edges()]
    borders = []
    for wanted in (max(k, 1), *(max(share * count, 1) for share in SHARES)):
        best = None
        for edge in edges[1:-1]:
            above = max((column >= edge).sum(), 0.5)
            ratio = max(above / wanted, wanted / above)
            if best is None or ratio < best[0]:
                best = ratio, edge
        borders.append(min([best[1], *borders]))
    lower = [*borders, edges[1], -np.inf]
    upper = [np.inf, *lower[:-1]]
    lower[-2:-1] = [np.nextafter(np.float32(0), np.float32(1))]  # `low`: whatever is positive
    upper[-1] = lower[-2]
    ends = [*zip(lower, upper, strict=True), (-np.inf, np.inf)]
    drawn = np.array(bands.draw(range(count), seed))
    level = np.array([min(LEVELS - 1, 63 - int(number).bit_length()) for number in drawn])
    rows, waiting = [], 0
    for band, (low, high) in enumerate(ends):
        full = [
            n
            for n in range(LEVELS)
            if (level == n).sum() >= bands.places(per_band)
            and ((level == n) & (column >= low)).sum() >= bands.places(per_band)
        ]
        first = max(full, default=-1) + 1
        inside = (column >= low) & (column < high)
        sample = np.flatnonzero(inside & (level >= first))
        taken = sample[np.argsort(drawn[sample], kind="stable")][:per_band].tolist()
        if BANDS[band] == "random":
            rows += [(band, index, count / len(taken)) for index in taken]
            continue
        waiting += inside.sum()
        if taken:
            rows += [(band, index, waiting / len(taken)) for index in taken]
            waiting = 0
    if waiting and (last := [row for row in rows if BANDS[row[0]] != "random"]):
        band, several = last[-1][0], sum(row[0] == last[-1][0] for row in rows)
        rows = [(b, i, w + waiting / several if b == band else w) for b, i, w in rows]
    return rows


@st.composite
def cases(draw):
    count = draw(st.integers(1, 300))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["spread", "sparse", "few values", "negative", "narrow"]))
    values = {
        "spread": lambda: random.lognormal(0, 2, (count, 3)),
        "sparse": lambda: random.normal(-1, 1, (count, 3)).clip(0),
        "few values": lambda: random.integers(-1, 4, (count, 3)),
        "negative": lambda: random.normal(-3, 1, (count, 3)),
        "narrow": lambda: random.normal(5, 0.01, (count, 3)),
    }[kind]().astype(np.float32)  # fmt: skip
    order = random.permutation(count).tolist()
    size = draw(st.integers(1, count))
    k, per_band = draw(st.integers(1, 20)), draw(st.integers(1, 4))
    return values, order, size, k, per_band, draw(st.integers(0, 5))


@given(cases())
@settings(deadline=None, max_examples=60)
def test_any_batching_and_order_finds_what_a_sort_finds(case):
    values, order, size, k, per_band, seed = case
    found = chosen(fed(values, order, size, per_band, seed), values, k, per_band, seed)
    expected = [
        (channel, band, index, float(values[index, channel]), pytest.approx(weight, rel=1e-12))
        for channel in range(values.shape[1])
        for band, index, weight in by_sorting(values[:, channel], k, per_band, seed)
    ]
    assert found == expected


@given(cases())
@settings(deadline=None, max_examples=60)
def test_merged_parts_are_the_same_bits(case):
    values, order, size, _, per_band, seed = case
    whole = fed(values, sorted(order), len(order), per_band, seed)
    parts = [
        fed(values, rows, size, per_band, seed) for rows in (order[::3], order[1::3], order[2::3])
    ]
    merged = topk.merge(topk.merge(parts[2], parts[0]), parts[1])
    for name in ("scores", "indices", "peaks"):
        assert torch.equal(getattr(merged, name), getattr(whole, name))


@given(cases())
@settings(deadline=None, max_examples=60)
@example((np.zeros((1, 1), np.float32), [0], 1, 1, 1, 0))
def test_weights_add_up_to_all_pictures(case):
    values, order, size, k, per_band, seed = case
    found = chosen(fed(values, order, size, per_band, seed), values, k, per_band, seed)
    for channel in range(values.shape[1]):
        for sampled in (False, True):
            several = [
                weight
                for number, band, *_, weight in found
                if number == channel and (BANDS[band] == "random") == sampled
            ]
            # None is taken where a level has as many pictures as a list has places and those
            # after it have none, which is as rare as it sounds.
            assert sum(several) == pytest.approx(len(values)) or not several


def test_weighted_means_are_right_on_average():
    """Over many seeds; of channels that are broad, sparse, and narrow."""
    random = np.random.default_rng(0)
    columns = [
        random.lognormal(0, 1, 3000), random.normal(-1, 1, 3000).clip(0), random.normal(8, 1, 3000)
    ]  # fmt: skip
    values = np.stack(columns, axis=1).astype(np.float32)
    asked = {
        "mean": values.astype(float),
        "share above the 95th percentile": values > np.quantile(values, 0.95, axis=0),
        "share of silent ones": values <= 0,
    }
    seeds = 150
    sums = {name: np.zeros((seeds, 3)) for name in asked}
    sizes = np.zeros((seeds, 3, len(BANDS)))
    for seed in range(seeds):
        kept = fed(values, list(range(3000)), 3000, 6, seed)
        for channel, band, index, _, weight in chosen(kept, values, 20, 6, seed):
            sizes[seed, channel, band] += 1
            if BANDS[band] != "random":
                for name, truth in asked.items():
                    sums[name][seed, channel] += weight * truth[index, channel] / 3000
    for name, truth in asked.items():
        error = sums[name].std(axis=0, ddof=1) / seeds**0.5
        assert (abs(sums[name].mean(axis=0) - truth.mean(axis=0)) <= 4 * error + 1e-9).all(), name
    filled = (sizes == 6).mean(axis=0)
    assert filled[0][[0, 3, 4, 7]].min() > 0.95  # top, 90, 50 and random have all they should


def test_channels_share_most_of_their_pictures():
    """The least numbers are taken, so that few pictures have to be stored."""
    values = np.random.default_rng(1).lognormal(0, 1, (4000, 64)).astype(np.float32)
    found = chosen(fed(values, list(range(4000)), 4000, 6, 0), values, 40, 6, 0)
    by_band = {name: {row[2] for row in found if BANDS[row[1]] == name} for name in BANDS}
    assert len(by_band["random"]) == 6
    assert len(by_band["low"]) < 40  # of 64 channels with 6 each
    assert len(by_band["90"]) < 200
    everything = set().union(*by_band.values())
    assert len(everything) < 0.4 * len(found)
