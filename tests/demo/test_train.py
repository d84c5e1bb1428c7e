"""Training from a seed gives one result, interrupted or not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from atlas.demo.train import Settings, train

TINY = Settings(seed=9, pictures=48, batch=16, epochs=2, probe_epochs=1)


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = train(TINY, tmp_path / "whole")
    for epochs in (1, 2):
        assert not train(TINY, tmp_path / "parts", stop_after=epochs).exists()
    parts = train(TINY, tmp_path / "parts")
    expected, found = load_file(whole), load_file(parts)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name
    lines = (tmp_path / "parts" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
    assert not list(tmp_path.rglob("*.partial"))


def test_the_probe_leaves_the_features_alone(tmp_path: Path) -> None:
    train(TINY, tmp_path, stop_after=2)
    before = load_file(tmp_path / "state.safetensors")
    train(TINY, tmp_path)
    after = load_file(tmp_path / "weights.safetensors")
    for name, tensor in after.items():
        same = torch.equal(tensor, before[f"parts.network.{name}"])
        assert same == (not name.startswith("planted")), name


def test_other_settings_are_refused(tmp_path: Path) -> None:
    train(TINY, tmp_path, stop_after=1)
    with pytest.raises(ValueError, match="other settings"):
        train(replace(TINY, rate=1e-3), tmp_path)
