"""Conditional heat maps and shares are those of zennit-crp's CondAttribution."""

from pathlib import Path

import pytest
import torch
import torchvision
from crp.attribution import CondAttribution
from torch import nn

from atlas.explain.conditional import propagate, shares
from atlas.model import networks
from atlas.recipe import Model, Preprocessing
from atlas.relevance.engine import PREDICTED
from tests.relevance import by_zennit
from tests.relevance.looking import instrumented

REAL = Path(__file__).parents[3] / "shared/real/squeezenet1_1-imagenet.safetensors"
COMPOSITE = "epsilon_plus_flat"
TOLERANCE = 1e-4


def small():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 5, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(5 * 7 * 7, 12), nn.ReLU(), nn.Linear(12, 4),
    )  # fmt: skip
    return module.eval().requires_grad_(False), torch.randn(1, 3, 32, 32), ("0", "3", "5", "8")


def demo():
    network = networks.load(Model(name="demo/vgg", device="cpu"), Preprocessing(), 0)
    layers = ("features.3", "features.17", "features.40", "planted")
    torch.manual_seed(1)
    coarse = torch.randn(1, 3, 14, 14)
    return network.module, nn.functional.interpolate(coarse, size=112, mode="bilinear"), layers


def squeezenet():
    if not REAL.is_file():
        pytest.skip(f"needs {REAL}")
    model = Model(name="torchvision/squeezenet1_1", weights=str(REAL), device="cpu")
    module = networks.load(model, Preprocessing(), 0).module
    torch.manual_seed(2)
    layers = ("features.0", "features.6.expand3x3", "features.12.expand1x1")
    return module, torch.randn(1, 3, 224, 224), layers


def resnet():
    torch.manual_seed(3)
    module = torchvision.models.resnet18(weights=None).eval().requires_grad_(False)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.2, 0.2)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    image = torch.randn(1, 3, 64, 64)
    return module, image, ("conv1", "layer2.0.conv2", "layer4.1.conv1")


def close(one, other):
    scale = other.abs().max().clamp(min=1e-30)
    assert (one - other).abs().max() <= TOLERANCE * scale


@pytest.mark.parametrize("make", [small, demo, squeezenet, resnet])
def test_maps_and_shares_are_those_of_zennit_crp(make):
    module, image, layers = make()
    model = instrumented(module, image.shape[1:], layers)
    found = propagate(model, image, PREDICTED)
    fit = by_zennit.fit(module)
    composite = by_zennit.composite(COMPOSITE, by_zennit.canonizers(fit))
    oracle = CondAttribution(fit, no_param_grad=True)

    def attribute(condition, record=()):
        picture = image.clone().requires_grad_()
        return oracle(picture, [condition], composite, record_layer=list(record))

    whole = attribute({"y": [found.target]}, layers)
    close(found.heat, whole.heatmap[0])
    for layer in layers:
        for ours, theirs in (
            (found.relevance[layer], whole.relevances[layer]),
            (found.activation[layer], whole.activations[layer]),
        ):
            theirs = theirs if theirs.ndim == 4 else theirs[:, :, None, None]  # noqa: PLW2901
            close(ours, theirs[0])
        expected = whole.relevances[layer][0].reshape(len(found.relevance[layer]), -1).sum(dim=1)
        close(shares(found.relevance[layer]), expected / expected.abs().sum())

    compared = 0
    for depth, layer in enumerate(layers):
        share = shares(found.relevance[layer])
        channels = [*share.topk(2).indices.tolist(), int(share.argmin())]
        below = layers[:depth][-1:]
        conditioned = found.condition(layer, channels, below)
        for row, channel in enumerate(channels):
            theirs = attribute({layer: [channel], "y": [found.target]}, below)
            close(conditioned.heat[row], theirs.heatmap[0])
            compared += bool(theirs.heatmap.any())
            for name in below:
                close(conditioned.below[name][row], theirs.relevances[name][0].sum((1, 2)))
    assert compared >= 2 * len(layers)


def test_a_class_of_ones_choice():
    module, image, layers = small()
    model = instrumented(module, (3, 32, 32), layers)
    predicted, chosen = (propagate(model, image, target) for target in (PREDICTED, 2))
    assert predicted.target == int(predicted.logits.argmax())
    assert chosen.target == 2
    assert torch.equal(predicted.logits, chosen.logits)
    assert float(chosen.heat.sum()) * float(chosen.logits[2]) > 0


def test_many_channels_go_down_in_parts():
    module, image, layers = demo()
    found = propagate(instrumented(module, (3, 112, 112), layers), image, PREDICTED)
    every = found.condition("planted", range(25), [])
    # Conditioning is linear: all channels together are the whole.
    close(every.heat.sum(dim=0), found.heat)


class Gated(nn.Module):
    """A residual block with a gate, which adds in place."""

    def __init__(self):
        super().__init__()
        self.stem, self.shortcut, self.body, self.squeeze = (
            nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 1), nn.Conv2d(6, 8, 3, padding=1),
            nn.Conv2d(8, 8, 1),
        )  # fmt: skip
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x).relu_()
        y = self.norm(self.body(x))
        y *= self.squeeze(y.mean((2, 3), keepdim=True)).sigmoid()
        y += self.shortcut(x)
        return self.last(y.relu_().mean((2, 3)))


def test_below_a_block_with_a_gate_and_a_sum_in_place():
    """All channels of what is summed, on both branches, are the whole."""
    torch.manual_seed(0)
    module, image = Gated().eval().requires_grad_(False), torch.randn(1, 3, 12, 12)
    module.norm.running_mean.normal_()
    layers = ["stem", "shortcut", "body"]
    found = propagate(instrumented(module, (3, 12, 12), layers), image, PREDICTED)
    parts = [found.condition(layer, range(8), ["stem"]) for layer in ("shortcut", "body")]
    close(sum(part.heat.sum(dim=0) for part in parts), found.heat)
    close(sum(part.below["stem"].sum(dim=0) for part in parts), found.relevance["stem"].sum((1, 2)))
    # What the block makes of it in place is not the layer's output.
    with torch.no_grad():
        torch.testing.assert_close(found.activation["stem"], module.stem(image)[0])
        stem = module.stem(image).relu()
        torch.testing.assert_close(found.activation["shortcut"], module.shortcut(stem)[0])
        normed = module.norm(module.body(stem))
        torch.testing.assert_close(found.activation["body"], normed[0], rtol=1e-4, atol=1e-5)
    # Nothing of another branch passes through a layer.
    assert not found.condition("body", [0, 1], ["shortcut"]).below["shortcut"].any()
