"""The strongest inputs and outputs of channels, and what their names say."""

import runpy

import numpy as np
import pytest
import torch

import atlas
from atlas.demo import network
from atlas.demo.world import draw
from atlas.store import byweights, open_store
from atlas.trace.record import record
from atlas.weights.connections import CLASSES, Incoming, incoming
from atlas.weights.strengths import Strengths, mean_peak


def test_the_mean_peak_is_the_mean_of_the_largest_outputs():
    assert mean_peak([1.0, 3.0, 5.0], [2, 1], 10) == (2 * 2 + 4) / 10
    assert mean_peak([1.0, 3.0, 5.0], [2, 1], 10, ceiling=3.0) == (2 * 2 + 3) / 10
    assert mean_peak([], [], 10) == mean_peak([1.0, 2.0], [0], 0) == 0.0


def test_strengths_are_weights_times_peaks_as_shares():
    inputs = (("a", 0), ("a", 1), ("a", 2))
    rows = {("a", 0): 0, ("a", 1): 1, ("a", 2): 2, ("b", 0): 3, ("b", 1): 4}
    strengths = Strengths(rows, np.array([1.0, 10.0, 0.0, 2.0, 3.0]))
    largest, smallest = [[6.0, 0.2, 9], [0, 1, 0]], [[0, -1.0, 0], [-2, 0, -3]]
    strengths.add([
        Incoming("b", inputs, np.array(largest), np.array(smallest), {"c": 2}),
        Incoming(CLASSES, (("b", 0), ("b", 1)), np.array([[1.0, 1.0]]), np.zeros((1, 2)), {}),
    ])  # fmt: skip
    found = strengths.columns()
    assert found["made_of"] == [[], [], [], [0, 1], [1]]
    assert found["made_of_shares"][3:] == [[0.75, 0.25], [1.0]]
    assert found["held_back_by"][3:] == [[1], [0]]
    assert found["goes_into"] == [[3], [4, 3], [], [], []]
    assert found["goes_into_shares"][:2] == [[0.75], [1.0, 0.25]]
    assert found["goes_into_classes"][3:] == [[0], [0]]
    assert found["goes_into_class_shares"][3:] == [[0.4], [0.6]]
    assert strengths.facts["b"] == {"inputs": 3, "left_out": {"c": 2}, "problem": ""}


def test_inputs_vote_by_what_they_have_more_than_those_of_others():
    table = {
        "layer": ["a"] * 4 + ["b"] * 2,
        "name": ["red stripes", "red dot", "blue stripe", None, "Stripes", "a heart"],
        "made_of": [[], [], [], None, [0, 2, 3], [1, 3]],
        "made_of_shares": [[], [], [], None, [0.5, 0.3, 0.2], [0.6, 0.4]],
    }
    said = byweights.votes(table)
    # In b, stripes have 0.8 and 0, red 0.5 and 0.6, blue 0.3 and 0, dots 0 and 0.6.
    assert said == [(), (), (), (), ("stripes",), ("dot",)]
    assert byweights.agree("Stripes", said[4]) is True
    assert byweights.agree("a heart", said[5]) is False
    assert byweights.agree(None, said[5]) is byweights.agree("x", ()) is None


def test_an_atlas_has_what_its_network_reads(built, project):
    module = runpy.run_path(str(project / "network.py"))["make"]()
    store = open_store(built)
    table = store.table("channels").to_pylist()
    rows = {(row["layer"], row["channel"]): row for row in table}
    peaks = []
    for channel in range(6):
        row = rows["0", channel]
        middles = np.array(row["act_edges"])[1:] + np.array(row["act_edges"])[:-1]
        peaks.append((middles / 2 * row["act_counts"]).sum() / row["images"])
    strength = module[3].weight.detach().numpy().max(axis=(2, 3)).clip(0) * peaks
    for channel in range(8):
        row = rows["3", channel]
        found = dict(zip(row["made_of"], row["made_of_shares"], strict=True))
        expected = strength[channel] / strength[channel].sum()
        assert found == pytest.approx({n: expected[n] for n in range(6) if expected[n] > 0})
        assert row["made_of_shares"] == sorted(row["made_of_shares"], reverse=True)
    # The head reads four places of each map.
    head = module[10].weight.detach().numpy().reshape(3, 7, 4).max(axis=2).clip(0)
    assert all(rows["6", n]["goes_into_classes"] for n in range(7) if head[:, n].max() > 0)
    assert store.manifest()["weights"]["0"] == {
        "inputs": 0, "left_out": {"the picture": 3}, "problem": "",
    }  # fmt: skip
    shown = [one.address for one, _ in atlas.open(built)["3:1"].made_of()]
    assert shown == [f"0:{number}" for number in rows["3", 1]["made_of"]]
    pages = [(built / f"site/channels/{at}/1.html").read_text("utf-8") for at in (0, 3)]
    assert "Its layer reads the picture itself." in pages[0]
    assert "Made of, and goes into" in pages[1]


def test_knocking_out_the_named_inputs_lowers_a_channel_more_than_others():
    module = network.load()
    layers = {"features.40": 96, "planted": 25}
    pictures = network.preprocess(
        torch.from_numpy(np.stack([draw(3, index).image for index in range(64)]))
    )
    addresses = [(layer, channel) for layer, count in layers.items() for channel in range(count)]
    random = np.random.default_rng(0)
    lower = 0
    with torch.no_grad():
        maps = module.features(pictures)
        peaks = maps.amax(dim=(2, 3)).mean(dim=0).double().numpy()
        strengths = Strengths(
            {address: row for row, address in enumerate(addresses)},
            np.concatenate([peaks, np.zeros(25)]),
        )
        strengths.add(incoming(record(module, pictures[:1]), list(layers)))
        made_of = strengths.columns()["made_of"]

        def peak(channel, without):
            kept = maps.clone()
            kept[:, without] = 0
            return module.planted(kept)[:, channel].amax(dim=(1, 2))

        for channel in range(25):
            named = made_of[96 + channel]
            best = peak(channel, []).topk(6).indices
            others = random.choice([*({*range(96)} - {*named})], len(named), replace=False)
            lower += peak(channel, named)[best].mean() < peak(channel, others.tolist())[best].mean()
    assert lower >= 0.9 * 25
