"""A hash of a computation: other numbers for other computations, the same for other weights."""

import subprocess
import sys

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from atlas.trace.computation import computation_hash
from atlas.trace.record import record
from tests.relevance.looking import Network


def of(function, *, seed=0, size=8, count=1, **parts):
    torch.manual_seed(seed)
    made = {name: make() for name, make in parts.items()}
    network = Network(lambda net, x: function(net, x).mean((2, 3)), **made).eval()
    return computation_hash(record(network, torch.randn(count, 3, size, size)))


def conv():
    return nn.Conv2d(3, 4, 3, padding=1)


def plain(net, x):
    return F.leaky_relu(net.conv(x), 0.1)


def test_weights_and_pictures_play_no_part():
    assert of(plain, conv=conv) == of(plain, conv=conv, seed=1)
    assert len(of(plain, conv=conv)) == 64


CHANGED = {
    "another slope": lambda net, x: F.leaky_relu(net.conv(x), 0.2),
    "another activation": lambda net, x: F.silu(net.conv(x)),
    "none": lambda net, x: net.conv(x),
    "one operation more": lambda net, x: F.leaky_relu(net.conv(x), 0.1) * 1,
    "another stride": lambda net, x: F.leaky_relu(
        F.conv2d(x, net.conv.weight, net.conv.bias, stride=2, padding=1), 0.1
    ),
    "another padding": lambda net, x: F.leaky_relu(
        F.conv2d(x, net.conv.weight, net.conv.bias), 0.1
    ),
    "another order": lambda net, x: net.conv(F.leaky_relu(x, 0.1)),
    "read elsewhere": lambda net, x: F.leaky_relu(net.conv(x), 0.1) * 0 + net.conv(x),
    "cropped": lambda net, x: F.leaky_relu(net.conv(x), 0.1)[:, :, 1:],
    "cropped elsewhere": lambda net, x: F.leaky_relu(net.conv(x), 0.1)[:, :, :-1],
}


@pytest.mark.parametrize("change", CHANGED)
def test_a_changed_forward_has_another_hash(change):
    others = {of(one, conv=conv) for name, one in CHANGED.items() if name != change}
    assert of(CHANGED[change], conv=conv) not in {of(plain, conv=conv), *others}


def test_constants_that_are_no_parameters_count():
    def scaled(factor):
        return lambda net, x: net.conv(x) * torch.full((4, 1, 1), factor)

    assert of(scaled(0.5), conv=conv) == of(scaled(0.5), conv=conv)
    assert of(scaled(0.5), conv=conv) != of(scaled(0.25), conv=conv)

    def indexed(order):
        return lambda net, x: net.conv(x)[:, torch.tensor(order)]

    assert of(indexed([0, 1, 3, 2]), conv=conv) != of(indexed([0, 1, 2, 3]), conv=conv)


def test_names_of_modules_and_ways_of_writing_play_no_part():
    as_module = of(lambda net, x: net.act(net.conv(x)), conv=conv, act=nn.ReLU)
    assert as_module == of(lambda net, x: F.relu(net.conv(x)), conv=conv)


SCRIPT = """
import torch, torchvision
from atlas.trace.computation import computation_hash
from atlas.trace.record import record
torch.manual_seed({seed})
module = torchvision.models.{name}().eval()
print(computation_hash(record(module, torch.randn(1, 3, 64, 64))))
"""


@pytest.mark.parametrize("name", ["mobilenet_v3_small"])
def test_it_is_the_same_in_another_process(name):
    module = torchvision.models.get_model(name).eval()
    here = computation_hash(record(module, torch.zeros(1, 3, 64, 64)))
    there = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(name=name, seed=7)],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert there == here


def test_another_size_of_pictures_is_another_hash():
    assert of(plain, conv=conv) != of(plain, conv=conv, size=10)
