"""What is too much is told: memory before the pass, sums that leave their range during it."""

from types import SimpleNamespace

import pytest
import torch

from atlas.errors import UserError
from atlas.pipeline.indexing import _report_memory
from atlas.prepass import tally
from atlas.prepass.batchtally import BatchTally
from atlas.prepass.tally import Tally
from atlas.recipe import Activation, Relevance


def inputs(classes, channels, modes=("activation", "relevance"), results=""):
    layers = {
        "a": SimpleNamespace(shape=(1, channels - 1, 7, 7)),
        "b": SimpleNamespace(shape=(1, 1)),
    }
    return SimpleNamespace(
        recipe=SimpleNamespace(prepass=SimpleNamespace(modes=modes, results=results)),
        network=SimpleNamespace(outputs=classes, trace=SimpleNamespace(layers=layers)),
        layers=("a", "b"),
    )


def test_memory_for_many_classes_is_told(capsys):
    _report_memory(inputs(21_841, 26_560))
    said = capsys.readouterr().err
    assert "26,560 channels for each of 21,841 classes takes 4.6 GB" in said
    assert "model.layers" in said
    assert said.count("\n") == 1
    _report_memory(inputs(1000, 26_560))
    _report_memory(inputs(21_841, 26_560, modes=("activation",)))
    _report_memory(inputs(21_841, 26_560, results="folder"))
    assert capsys.readouterr().err == ""


def batch(state):
    return BatchTally(state, Activation(), Relevance(), torch.arange(2), ["a.jpg", "b.jpg"], [1, 2])


def test_activations_that_leave_the_range_are_told():
    state = Tally(2, 3)
    maps = torch.ones(2, 4, 3, 3)
    batch(state).visit(slice(0, 2), "conv", "activation", maps)
    with pytest.raises(UserError, match=r"sum of activation in conv leaves .*a.jpg.*data.limit"):
        batch(state).visit(slice(0, 2), "conv", "activation", maps * 1e12)
    assert state.layers["conv"].mean_sum.value().tolist() == [2.0] * 4


def test_shares_that_leave_the_range_are_told():
    state = Tally(2, 3)
    maps = torch.ones(2, 1, 3, 3)  # the only channel of a layer has all of its relevance
    for part in ("activation", "relevance"):
        one = batch(state)
        one.visit(slice(0, 2), "conv", "activation", maps)
        one.visit(slice(0, 2), "conv", "relevance", maps)
        results = state.layers["conv"]
        if part == "activation":
            one.finish([None, None], torch.zeros(2, dtype=torch.int64), torch.ones(2, 3))
            results.relevance.share_abs_sum.total.fill_(2**62 - 2**30)
    with pytest.raises(UserError, match="sum of relevance in conv leaves the range"):
        one.finish([None, None], torch.zeros(2, dtype=torch.int64), torch.ones(2, 3))
    results.gridded_sum.fill_(2**42)
    with pytest.raises(UserError, match="sum of activation in conv leaves the range"):
        batch(state).visit(slice(0, 2), "conv", "activation", maps)


def test_tallies_of_processes_whose_sum_leaves_the_range_are_told():
    states = []
    for _ in range(2):
        state = Tally(2, 3)
        batch(state).visit(slice(0, 2), "conv", "activation", torch.ones(2, 4, 3, 3))
        state.layers["conv"].mean_sum.total.fill_(2**61)
        states.append(state)
    with pytest.raises(UserError, match="in conv leaves the range in which sums are exact: leave"):
        tally.merge(*states)
