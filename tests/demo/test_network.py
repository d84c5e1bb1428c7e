"""The network that comes with the package works, and can be read."""

import pytest
import torch
from torch import nn
from torchvision.models import vgg16_bn

from atlas.demo.network import PLANTED, SIZE, DemoNetwork, load, preprocess
from atlas.demo.train import accuracy, lesson
from atlas.demo.votes import KINDS
from atlas.demo.world import ATTRIBUTES, CLASSES

HANDLED = (
    nn.Sequential, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AdaptiveAvgPool2d,
    nn.Flatten, nn.Linear,
)  # fmt: skip


@pytest.fixture(scope="module")
def network() -> DemoNetwork:
    return load()


def test_convolutions_stand_where_vgg16_has_them(network: DemoNetwork) -> None:
    with torch.device("meta"):  # its 138 million weights are not needed
        vgg16 = vgg16_bn(weights=None)
    original = [
        (name, type(layer).__name__, getattr(layer, "kernel_size", None))
        for name, layer in vgg16.features.named_children()
    ]
    ours = [
        (name, type(layer).__name__, getattr(layer, "kernel_size", None))
        for name, layer in network.features.named_children()
    ]
    assert ours == original[:-1]  # without the last max pooling
    channels = sum(m.out_channels for m in network.features if isinstance(m, nn.Conv2d))
    assert 500 <= channels <= 900


def test_only_layers_with_relevance_rules(network: DemoNetwork) -> None:
    for name, module in network.named_modules():
        assert name == "" or isinstance(module, HANDLED)
        assert not getattr(module, "inplace", False)
        assert not module.training


def test_class_logits_are_sums_of_planted_channels(network: DemoNetwork) -> None:
    pictures = preprocess(lesson(77, 4).images)
    with torch.inference_mode():
        logits = network(pictures)
        planted = network.evidence(network.planted(network.features(pictures)))
    assert logits.shape == (4, len(CLASSES))
    assert (planted >= 0).all()
    for label in (0, 101, 239):
        colour, texture, shape = CLASSES[label].split()
        names = (f"colour:{colour}", f"texture:{texture}", f"shape:{shape}")
        expected = sum(planted[:, PLANTED.index(name)] for name in names)
        assert torch.allclose(logits[:, label], torch.as_tensor(expected), atol=1e-4)


def test_fresh_pictures_are_recognised(network: DemoNetwork) -> None:
    found = accuracy(network, lesson(12_345, 300))
    for kind in ("shape", "texture", "colour"):
        assert found[kind] >= 0.97, found


def test_planted_channels_respond_where_their_value_is(network: DemoNetwork) -> None:
    data = lesson(4_321, 100)
    with torch.inference_mode():
        maps = network.planted(network.features(preprocess(data.images)))
    assert maps.shape == (100, len(PLANTED), SIZE // 16, SIZE // 16)
    for column, kind in enumerate(KINDS):
        values = [f"{kind}:{ATTRIBUTES[kind][target]}" for target in data.targets[:, column]]
        own = maps[torch.arange(100), [PLANTED.index(value) for value in values]]
        on, beside = own[data.cover > 0.7].mean(), own[data.cover < 0.05].mean()
        assert (on > beside) == (kind != "background")
