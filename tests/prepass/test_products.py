"""Histograms and correlations of channels are those that NumPy finds over all pictures."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atlas import pipeline
from atlas.model.preprocessing import Preprocessor
from atlas.pipeline.inputs import Inputs
from atlas.prepass import products, reductions
from atlas.recipe import load
from atlas.relevance.engine import measure


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_bin_holds_the_values_between_its_edges(value):
    edges = reductions.edges()
    found = int(reductions.bins(torch.tensor([value], dtype=torch.float32)))
    assert len(edges) == reductions.BINS
    if value <= 0:
        assert found == 0
    else:
        nearest = min(max(value, edges[0]), np.nextafter(edges[-1], 0))
        assert edges[found - 1] <= nearest < edges[found]


def test_bins_are_equal_parts_of_an_octave():
    edges = np.array(reductions.edges())
    ratios = edges[1:] / edges[:-1]
    assert ratios.min() >= 32 / 31 and ratios.max() == 17 / 16
    assert edges[-1] == 1 / edges[0] == 2.0**reductions.OCTAVES


@pytest.mark.parametrize("parts", [1, 4, 16])
def test_joined_bins_are_those_of_wider_edges(parts):
    values = np.random.default_rng(parts).lognormal(0, 6, 5000).astype(np.float32)
    fine = torch.bincount(reductions.bins(torch.from_numpy(values)), minlength=reductions.BINS)
    edges = np.array(reductions.edges(parts))
    kept = values.clip(edges[0], np.nextafter(edges[-1], 0))
    expected = np.histogram(kept, edges)[0]
    assert reductions.coarser(fine[None], parts)[0].tolist() == [0, *expected]


def test_correlations_are_those_of_numpy():
    random = np.random.default_rng(3)
    one = random.uniform(-1, 1, (200, 5))
    other = np.concatenate([one[:, :2] ** 3, random.uniform(-1, 1, (200, 2))], axis=1)
    one[:, 4] = 0.25  # never changes
    first, second = (products.gridded(torch.tensor(values)) for values in (one, other))
    found = products.correlation(
        products.products(first, second),
        (first.sum(dim=0).long(), second.sum(dim=0).long()),
        (first.square().sum(dim=0).long(), second.square().sum(dim=0).long()),
        200,
    )
    expected = np.corrcoef(one[:, :4], other, rowvar=False)[:4, 4:]
    np.testing.assert_allclose(found[:4], expected, atol=1e-5)
    assert not found[4].any()


@given(st.integers(1, 40), st.randoms(use_true_random=False))
def test_products_are_the_same_bits_however_pictures_are_grouped(count, random):
    generator = torch.Generator().manual_seed(count)
    values = products.gridded(2 * torch.rand(count, 7, generator=generator) - 1)
    cut = random.randint(0, count)
    shuffled = values[random.sample(range(count), count)]
    parts = products.products(shuffled[:cut], shuffled[:cut])
    parts += products.products(shuffled[cut:], shuffled[cut:])
    assert torch.equal(parts, products.products(values, values))


@pytest.fixture(scope="module")
def whole(project, tmp_path_factory):
    """The tables, and what the network does on all pictures at once."""
    out = tmp_path_factory.mktemp("company")
    recipe = load(str(project / "tiny.toml"))
    channels = pipeline.index(recipe, out).table("channels").to_pylist()
    inputs = Inputs(recipe)
    view: Preprocessor = inputs.network.preprocessing
    records = list(inputs.source.records())
    images = view.tensor([view.view(record.picture()) for record in records])
    parts: dict[tuple[str, str], list[torch.Tensor]] = {}

    def visit(_part, layer, mode, found):
        parts.setdefault((layer, mode), []).append(found.clone())

    labels = torch.tensor([record.label for record in records])
    measure(inputs.engine, images, labels, visit)
    return channels, inputs.layers, {key: torch.cat(found) for key, found in parts.items()}


def test_columns_are_what_all_pictures_say(whole):
    channels, layers, maps = whole
    peaks = {name: maps[name, "activation"].amax(dim=(2, 3)).double().numpy() for name in layers}
    sums = {name: maps[name, "relevance"].sum(dim=(2, 3)).double().numpy() for name in layers}
    parts = {name: v / np.abs(v).sum(axis=1, keepdims=True) for name, v in sums.items()}
    fired = {name: np.maximum(v, 0) for name, v in peaks.items()}
    fired = {name: v / v.sum(axis=1, keepdims=True) for name, v in fired.items()}
    width = {name: values.shape[1] for name, values in peaks.items()}
    first = {name: sum(width[n] for n in layers[:place]) for place, name in enumerate(layers)}

    def agrees(row, column, mine, others, start):
        with np.errstate(invalid="ignore"):
            every = np.array([np.corrcoef(mine, other)[0, 1] for other in others.T])
        every = np.nan_to_num(every)
        for other, value in zip(row[column], row[f"{column}_correlations"], strict=True):
            assert value == pytest.approx(every[other - start], abs=1e-3)
        shown = row[f"{column}_correlations"]
        assert shown == sorted(shown, reverse=True)
        assert len(shown) == min(10, int((every > 1e-3).sum())) or min(shown) < 2e-3

    for row in channels:
        layer, channel = row["layer"], row["channel"]
        place = list(layers).index(layer)
        values = peaks[layer][:, channel]
        counts, _ = np.histogram(values[values > 0], row["act_edges"] or 1)
        assert row["act_counts"] == (counts.tolist() if row["act_edges"] else [])
        others = fired[layer].copy()
        others[:, channel] = 0  # itself is no company
        agrees(row, "together", fired[layer][:, channel], others, first[layer])
        if place:
            below = layers[place - 1]
            agrees(row, "lower", parts[layer][:, channel], parts[below], first[below])
        else:
            assert row["lower"] == []
        if place + 1 < len(layers):
            above = layers[place + 1]
            agrees(row, "upper", parts[layer][:, channel], parts[above], first[above])
        else:
            assert row["upper"] == []
