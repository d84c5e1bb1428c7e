"""Checkpoints as people have them: found, fitted, or refused in one line."""

import argparse

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from atlas.errors import UserError
from atlas.model import weights


def network(seed=0, outputs=3):
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    return nn.ModuleDict({"body": body, "head": nn.Linear(4, outputs)})


STATE = network(1).state_dict()
OTHER = network(2).state_dict()


def prefixed(prefix, state=STATE):
    return {f"{prefix}{name}": value for name, value in state.items()}


def fill(content, path, entry=""):
    """Return what a network holds after having been filled from a checkpoint."""
    save_file(content, path) if path.suffix == ".safetensors" else torch.save(content, path)
    module = network()
    weights.fill(module, path, entry)
    return module.state_dict()


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in other)


def reported(content, path, entry=""):
    with pytest.raises(UserError) as caught:
        fill(content, path, entry)
    assert "\n" not in str(caught.value)
    return str(caught.value)


LIGHTNING = {
    "epoch": 3,
    "pytorch-lightning_version": "2.5.0",
    "state_dict": prefixed("model."),
    "optimizer_states": [
        {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]}
    ],
    "callbacks": {"ModelCheckpoint": {"best": torch.tensor(0.5)}},
}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.safetensors", STATE),
        ("plain.pth", STATE),
        ("training.pth.tar", {"epoch": 3, "state_dict": STATE, "best_acc1": 0.7}),
        ("model.bin", {"model_state_dict": STATE}),
        ("model.pt", {"model": STATE, "optimizer": {"state": {}, "lr": 0.1}}),
        ("net.pth", {"net": STATE, "acc": 93.1, "epoch": 200}),
        ("params.pth", {"params": STATE}),
        ("weights.pth", {"weights": STATE}),
        ("nested.pth", {"checkpoint": {"model": {"state_dict": STATE}}}),
        ("parallel.pth", prefixed("module.")),
        ("compiled.pth", prefixed("_orig_mod.")),
        ("both.pth", {"state_dict": prefixed("module._orig_mod.")}),
        ("both-ways.pth", {"model": prefixed("_orig_mod.module.")}),
        ("own.pth", prefixed("model.")),
        ("net-prefix.pth", {"net": prefixed("net.")}),
        ("backbone.pth", prefixed("backbone.")),
        ("deep.pth", prefixed("model.module.backbone.")),
        ("lightning.ckpt", LIGHTNING),
        ("part.pth", {n.replace("body.", "body.module."): v for n, v in STATE.items()}),
        ("inside.pth", prefixed("model.", {f"_orig_mod.{n}": v for n, v in STATE.items()})),
        ("with-mean.pth", {"state_dict": STATE, "state_dict_ema": OTHER}),
        ("means.pth", {"model": STATE, "model_ema": OTHER, "ema": OTHER}),
        ("twice.pth", {"model": STATE, "state_dict": dict(STATE)}),
    ],
)
def test_checkpoints_in_the_wild_are_the_same_network(tmp_path, capsys, name, content):
    assert same(fill(content, tmp_path / name), STATE)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_numbers_of_every_precision_are_taken_over(tmp_path, kind):
    state = {n: v.to(kind) if v.is_floating_point() else v for n, v in STATE.items()}
    filled = fill(state, tmp_path / "w.safetensors")
    assert filled["head.weight"].dtype == torch.float32
    assert torch.equal(filled["head.weight"], state["head.weight"].float())


def test_a_prefix_that_belongs_to_the_network_stays(tmp_path):
    module = nn.ModuleDict({"model": nn.Linear(2, 2), "module": nn.Linear(2, 2)})
    torch.save(module.state_dict(), tmp_path / "w.pth")
    other = nn.ModuleDict({"model": nn.Linear(2, 2), "module": nn.Linear(2, 2)})
    weights.fill(other, tmp_path / "w.pth")
    assert same(other.state_dict(), module.state_dict())


def test_a_running_mean_is_taken_if_asked_for(tmp_path):
    path = tmp_path / "w.pth"
    both = {"state_dict": STATE, "state_dict_ema": prefixed("module.", OTHER)}
    assert same(fill(both, path, "state_dict_ema"), OTHER)
    assert same(fill(both, path, "state_dict"), STATE)
    assert "only the running mean 'ema' fits the network" in reported({"ema": STATE, "a": 1}, path)
    inside = prefixed("model.") | prefixed("ema_model.", OTHER)
    assert same(fill(inside, path, "ema_model"), OTHER)


def test_of_several_networks_in_a_file_one_is_chosen(tmp_path, capsys):
    path = tmp_path / "w.pth"
    pair = prefixed("student.") | prefixed("teacher.", OTHER)
    message = reported(pair, path)
    assert "several parts fit the network and differ ('student', 'teacher')" in message
    assert "--set model.entry=NAME" in message
    assert same(fill(pair, path, "teacher"), OTHER)
    line = capsys.readouterr().err
    assert "9 other names are no part of the network (student.body.0.weight" in line
    message = reported(pair, path, "teechr")
    assert "has no entry 'teechr'; did you mean 'teacher'?" in message
    assert "it has none" in reported(STATE, path, "ema")
    assert "several parts" in reported({"generator": STATE, "critic": OTHER}, path)


def test_what_stands_beside_the_network_is_named(tmp_path, capsys):
    content = {"state_dict": prefixed("model.") | {"loss.weight": torch.ones(3)}}
    assert same(fill(content, tmp_path / "w.ckpt"), STATE)
    assert "of 'state_dict.model'; 1 other names" in capsys.readouterr().err


def test_what_does_not_fit_is_reported_of_the_nearest_reading(tmp_path):
    path = tmp_path / "w.pth"
    ten = network(1, outputs=10).state_dict()
    message = reported({"epoch": 1, "state_dict": prefixed("module.", ten), "ema": ten}, path)
    assert "'state_dict.module', does not fit the network" in message
    assert "'head.weight' has shape (10, 4), the network's (3, 4) (and 1 more)" in message
    assert "--set model.num_classes=10" in message
    less = {name: value for name, value in prefixed("model.").items() if "head.bias" not in name}
    assert "'head.bias' is missing; is model.name right?" in reported(less, path)
    assert "'more' is not a part of the network" in reported(STATE | {"more": torch.ones(1)}, path)
    message = reported({"fc.weight": torch.ones(2)}, path)
    assert "no name in common (its first is 'fc.weight', the network's 'body.0.weight')" in message
    whole = STATE | {"head.weight": torch.ones(3, 4, dtype=torch.int8)}
    assert "'head.weight' has whole numbers (int8)" in reported(whole, path)


def test_what_holds_no_weights_is_reported(tmp_path):
    path = tmp_path / "w.pth"
    assert "holds no state dict" in reported({"epoch": 3, "loss": torch.tensor(1.0)}, path)
    assert "holds no state dict" in reported({}, path)
    message = reported({"state_dict": STATE, "args": argparse.Namespace(lr=1)}, path)
    assert "holds more than tensors (argparse.Namespace)" in message
    assert "torch.save(network.state_dict(), FILE)" in message
    with pytest.warns(FutureWarning):
        script = torch.jit.script(nn.Sequential(nn.Linear(2, 2)))
        torch.jit.save(script, path)
    with pytest.raises(UserError, match="is a TorchScript program: save its weights as"):
        weights.fill(network(), path)


def test_a_lazy_network_takes_the_shapes_of_its_weights(tmp_path):
    torch.save(STATE, tmp_path / "w.pth")
    lazy = nn.ModuleDict({"body": network()["body"], "head": nn.LazyLinear(3)})
    weights.fill(lazy, tmp_path / "w.pth")
    assert same(lazy.state_dict(), STATE)
