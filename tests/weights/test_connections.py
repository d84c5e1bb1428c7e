"""By which weights layers read each other: against single outputs set in the running network."""

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.models.vgg import make_layers

from atlas.trace.layers import choose
from atlas.trace.record import record
from atlas.weights.connections import CLASSES, incoming
from tests.relevance.test_merging import stirred

SIZE = 128
SOURCES = 3


def vgg():
    """The layers of torchvision's VGG, fewer and narrower, whose head reads places of a map."""
    layers = make_layers([16, "M", 32, "M", 64, 64, "M"], batch_norm=True)
    return nn.Sequential(layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, 10))


NETWORKS = {
    "vgg": vgg,
    "resnet18": torchvision.models.resnet18,  # sums
    "mobilenet_v2": torchvision.models.mobilenet_v2,  # depthwise
    "shufflenet": torchvision.models.shufflenet_v2_x0_5,  # concatenated, split and shuffled
    "timm": lambda: timm.create_model("mobilenetv1_100"),
}


def shown(module, names):
    """Return where each convolution's output is with its norm: the norm behind it, or itself."""
    modules = dict(module.named_modules())
    order = [name for name, one in modules.items() if not list(one.children())]
    found = {}
    for name in names:
        after = order[order.index(name) + 1 :]
        norm = next((one for one in after[:3] if isinstance(modules[one], nn.BatchNorm2d)), name)
        parts = name.rpartition(".")
        if "conv" in parts[2]:  # of a residual block, whose norms are registered in pairs
            norm = ".".join(filter(None, (parts[0], parts[2].replace("conv", "bn"))))
        found[name] = modules.get(norm) or modules[after[0]]
    return found


def impulses(module, names, source, channel):
    """Return what each layer would give if one channel of one layer gave 1 more at one place.

    All layers are held at 1, so that nothing but what reads the channel at once changes. Four
    pictures have the place at four neighbours, since layers with a stride miss some.
    """
    given = {}

    def hold(name, output):
        given[name] = output
        held = torch.ones_like(output)
        if name == source:
            y, x = output.shape[2] // 2, output.shape[3] // 2
            for number, (down, right) in enumerate(((0, 0), (0, -1), (-1, 0), (-1, -1))):
                held[number, channel, y + down, x + right] += 1
        return held

    places = shown(module, names)
    handles = [
        place.register_forward_hook(lambda _m, _i, output, name=name: hold(name, output))
        for name, place in places.items()
    ]
    pictures = torch.zeros(4, 3, SIZE, SIZE, dtype=torch.float64)
    logits = module(pictures)
    for handle in handles:
        handle.remove()
    return given | {CLASSES: logits}


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_what_a_change_of_one_channel_does(name):
    torch.manual_seed(0)
    module = stirred(NETWORKS[name]())
    trace = record(module, torch.zeros(1, 3, SIZE, SIZE))
    names = choose(trace).names
    found = {one.layer: one for one in incoming(trace, names)}
    assert not [one.problem for one in found.values() if one.problem]
    module.double()
    for part in module.modules():
        if isinstance(part, nn.ReLU6 | nn.ReLU):
            part.inplace = False
    module.apply(lambda one: setattr(one, "p", 0) if isinstance(one, nn.Dropout) else None)
    random = np.random.default_rng(0)
    with torch.no_grad():
        before = impulses(module, names, None, 0)
        for source in random.choice([*names[:-1]], SOURCES, replace=False).tolist():
            channel = int(random.integers(trace.layers[source].shape[1]))
            after = impulses(module, names, source, channel)
            compared = 0
            for reader, one in found.items():
                if reader in (source, CLASSES):
                    continue
                change = (after[reader] - before[reader]).flatten(2)
                high = change.amax(dim=(0, 2)).clamp(min=0).numpy()
                low = change.amin(dim=(0, 2)).clamp(max=0).numpy()
                if (source, channel) in one.inputs:
                    column = one.inputs.index((source, channel))
                    np.testing.assert_allclose(one.largest[:, column], high, atol=1e-6)
                    np.testing.assert_allclose(one.smallest[:, column], low, atol=1e-6)
                    compared += bool((high > 0).any())
                else:
                    assert max(high.max(), -low.min()) < 1e-12
            assert compared or source == names[-1]


def test_what_cannot_be_followed_is_said():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3, padding=1)
            self.between = nn.Conv2d(4, 4, 3, padding=1)
            self.second = nn.Conv2d(4, 5, 1)
            self.third = nn.Conv2d(5, 6, 1)
            self.head = nn.Linear(6, 2)

        def forward(self, x):
            x = self.second(self.between(self.first(x).relu()).relu())
            return self.head(self.third(x.softmax(dim=1)).mean(dim=(2, 3)))

    trace = record(Odd().eval(), torch.zeros(1, 3, 16, 16))
    found = {one.layer: one for one in incoming(trace, ["first", "second", "third"])}
    assert found["first"].left_out == {"the picture": 3}
    assert not found["second"].inputs
    assert found["second"].left_out == {"between": 4}
    assert "softmax" in found["third"].problem
    assert found[CLASSES].inputs == tuple(("third", channel) for channel in range(6))


def test_a_layer_without_weights_reads_the_channels_that_it_is_the_sum_of():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 2, 1)
            self.sum = nn.Identity()
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            one, two = self.one(x), self.two(x)
            both = torch.cat([two, 3 * one[:, :2]], dim=1)
            return self.head(self.sum(one - both.flip(1) / 2).mean(dim=(2, 3)))

    trace = record(Block().eval(), torch.zeros(1, 3, 8, 8))
    found = {one.layer: one for one in incoming(trace, ["one", "two", "sum"])}["sum"]
    # one[0..3] - [3 one[1], 3 one[0], two[1], two[0]] / 2
    matrix = {
        address: found.largest[:, column] + found.smallest[:, column]
        for column, address in enumerate(found.inputs)
    }
    assert matrix["one", 0].tolist() == [1, -1.5, 0, 0]
    assert matrix["one", 1].tolist() == [-1.5, 1, 0, 0]
    assert matrix["one", 2].tolist() == [0, 0, 1, 0]
    assert matrix["two", 0].tolist() == [0, 0, 0, -0.5]
    assert matrix["two", 1].tolist() == [0, 0, -0.5, 0]
