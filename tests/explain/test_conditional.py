"""Conditional heat maps and shares are those of zennit-crp's CondAttribution."""

from pathlib import Path

import pytest
import torch
import torchvision
from crp.attribution import CondAttribution
from torch import nn

from atlas.explain.conditional import FusedPropagator, ZennitPropagator, shares
from atlas.model import canonize, networks
from atlas.recipe import Model, Preprocessing
from atlas.relevance.engine import PREDICTED
from atlas.relevance.fused import FusedEngine
from atlas.relevance.rules import RULES

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
    canonize.prepare(module, image)
    return module, image, ("conv1", "layer2.0.conv2", "layer4.1.conv1")


def close(one, other):
    scale = other.abs().max().clamp(min=1e-30)
    assert (one - other).abs().max() <= TOLERANCE * scale


@pytest.mark.parametrize("make", [small, demo, squeezenet, resnet])
def test_maps_and_shares_are_those_of_zennit_crp(make):
    module, image, layers = make()
    canonizers = canonize.canonizers(module)
    propagate = FusedPropagator(
        FusedEngine(module, layers, COMPOSITE, canonizers, image.shape[-1]), module, layers
    )
    found = propagate(image, PREDICTED)
    oracle = CondAttribution(module, no_param_grad=True)
    composite = RULES[COMPOSITE].composite(canonizers)

    def attribute(condition, record=()):
        picture = image.clone().requires_grad_()
        return oracle(picture, [condition], composite, record_layer=list(record))

    whole = attribute({"y": [found.target]}, layers)
    close(found.heat, whole.heatmap[0])
    for layer in layers:
        expected = whole.relevances[layer]
        expected = expected if expected.ndim == 4 else expected[:, :, None, None]
        close(found.relevance[layer], expected[0])
        close(shares(found.relevance[layer]), shares(expected[0]))

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


def test_zennit_takes_over_with_the_same_result():
    module, image, layers = small()
    engine = FusedEngine(module, layers, COMPOSITE, [], 32)
    ours = FusedPropagator(engine, module, layers)(image, 2)
    theirs = ZennitPropagator(module, layers, RULES[COMPOSITE].composite([]))(image, 2)
    assert ours.target == theirs.target == 2
    close(ours.heat, theirs.heat)
    one, other = (p.condition("5", [1, 3], ["0", "3"]) for p in (ours, theirs))
    close(one.heat, other.heat)
    for name in ("0", "3"):
        close(one.below[name], other.below[name])


def test_many_channels_go_down_in_parts():
    module, image, layers = demo()
    engine = FusedEngine(module, layers, COMPOSITE, [], 112)
    found = FusedPropagator(engine, module, layers)(image, PREDICTED)
    every = found.condition("planted", range(25), [])
    # Conditioning is linear: all channels together are the whole.
    close(every.heat.sum(dim=0), found.heat)
