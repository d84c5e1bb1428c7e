"""What is known of values by how they are made holds for every picture."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from atlas.trace.following import Following, tensors
from atlas.trace.record import record
from tests.relevance.looking import Network

SHAPE = (1, 4, 6, 6)

ONE = {
    name: getattr(F, name)
    for name in (
        "relu", "relu6", "silu", "gelu", "mish", "hardswish", "hardsigmoid", "softplus", "elu",
        "celu", "selu", "leaky_relu", "logsigmoid", "softsign", "tanhshrink", "hardshrink",
        "softshrink",
    )
} | {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": lambda x: x.softmax(dim=1),
    "log_softmax": lambda x: x.log_softmax(dim=1),
    "abs": torch.abs,
    "neg": torch.neg,
    "square": torch.square,
    "cube": lambda x: x**3,
    "fourth power": lambda x: x**4,
    "power of -1": lambda x: x**-1,
    "power of -2": lambda x: x**-2,
    "root as a power": lambda x: x.abs() ** 0.5,
    "root": lambda x: x.abs().sqrt(),
    "exp": lambda x: x.clamp(-5, 5).exp(),
    "reciprocal": lambda x: x.reciprocal(),
    "rsqrt": lambda x: (x.abs() + 1).rsqrt(),
    "clamp": lambda x: x.clamp(-0.5, 2),
    "clamp above": lambda x: x.clamp(max=0.3),
    "clamp below, by name": lambda x: torch.clamp(x, min=-1),
    "clamp_min": lambda x: x.clamp_min(0.5),
    "clamp by tensors": lambda x: x.clamp(torch.tensor(-1.0), torch.tensor(3.0)),
    "hardtanh": lambda x: F.hardtanh(x, -2, 0.5),
    "hardtanh as it is": F.hardtanh,
    "threshold": lambda x: F.threshold(x, 0.5, -3),
    "add a number": lambda x: x + 0.3,
    "take from a number": lambda x: 1 - x,
    "take a number": lambda x: x - 2,
    "times a negative number": lambda x: x * -3,
    "divided": lambda x: x / 7,
    "divided by a negative number": lambda x: x / -2,
    "a number divided": lambda x: 1 / (1 + x.abs()),
    "a number divided by either sign": lambda x: 2 / x,
    "divided downwards": lambda x: torch.div(x, 0.4, rounding_mode="floor"),
    "plus a constant tensor": lambda x: x + torch.linspace(-1, 1, 6),
    "times a constant tensor": lambda x: x * torch.linspace(-1, 1, 6),
    "alpha": lambda x: torch.add(x, torch.ones(6), alpha=-2),
    "subtract, alpha": lambda x: torch.sub(x, torch.ones(6), alpha=3),
    "with itself": lambda x: x * x,
    "in place": lambda x: x.clone().relu_().add_(1).mul_(-2),
    "max_pool": lambda x: F.max_pool2d(x, 3, 1, 1),
    "avg_pool": lambda x: F.avg_pool2d(x, 3, 1, 1),
    "avg_pool without zeros": lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    "lp_pool": lambda x: F.interpolate(F.lp_pool2d(x, 2, 2), 6),
    "mean": lambda x: x.mean((2, 3), keepdim=True).expand_as(x),
    "sum": lambda x: x.sum(1, keepdim=True).expand_as(x),
    "amax": lambda x: x.amax(1, keepdim=True).expand_as(x),
    "largest and where": lambda x: x.max(dim=1, keepdim=True).values.expand_as(x),
    "pad": lambda x: F.pad(x, (1, 0, 0, 1))[:, :, 1:, :6],
    "pad with a value": lambda x: F.pad(x, (1, 0, 0, 1), value=2)[:, :, 1:, :6],
    "reflect": lambda x: F.pad(x, (1, 0, 0, 1), mode="reflect")[:, :, 1:, :6],
    "nearest": lambda x: F.interpolate(F.interpolate(x, 12), 6),
    "bilinear": lambda x: F.interpolate(F.interpolate(x, 9, mode="bilinear"), 6, mode="bilinear"),
    "bicubic": lambda x: F.interpolate(F.interpolate(x, 9, mode="bicubic"), 6),
    "antialiased": lambda x: F.interpolate(x, 6, mode="bicubic", antialias=True) + F.interpolate(
        F.interpolate(x, 3, mode="bicubic", antialias=True), 6
    ),
    "layer norm": lambda x: F.layer_norm(x, (6,)),
    "group norm": lambda x: F.group_norm(x, 2),
    "unit length": F.normalize,
    "dropout": lambda x: F.dropout(x, training=False),
    "masked": lambda x: x.masked_fill(torch.eye(6, dtype=torch.bool), 5.0),
    "where": lambda x: torch.where(torch.eye(6, dtype=torch.bool), x, -4.0),
    "one-hot": lambda x: x.argmax(1, keepdim=True).float() + x * 0,
    "rolled and flipped": lambda x: x.roll(2, 3).flip(2),
    "shuffled": lambda x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2),
    "channels": lambda x: torch.cat([x[:, 2:], x[:, :2]], 1),
    "glu": lambda x: F.glu(torch.cat([x, x.flip(1)], 1), 1),
    "cumsum": lambda x: x.cumsum(1),
    "std": lambda x: x.std(1, keepdim=True).expand_as(x),
    "logsumexp": lambda x: x.logsumexp(1, keepdim=True).expand_as(x),
    "double and back": lambda x: x.double().float(),
    "sin": torch.sin,
    "prelu": lambda x: F.prelu(x, torch.tensor([0.2])),
    "rms norm": lambda x: F.rms_norm(x, (6,)),
}  # fmt: skip
"""Functions of a map that give a map of the same shape."""

TWO = {
    "add": torch.add,
    "sub": torch.sub,
    "alpha": lambda x, y: torch.add(x, y, alpha=-2),
    "sub, alpha": lambda x, y: torch.sub(x, y, alpha=3),
    "rsub": torch.rsub,
    "mul": torch.mul,
    "div": lambda x, y: x / y,
    "div by what is positive": lambda x, y: x / (y.abs() + 0.5),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "where": lambda x, y: torch.where(x > y, x, y),
    "cat": lambda x, y: torch.cat([x[:, :2], y[:, 2:]], 1),
    "stack": lambda x, y: torch.stack([x, y]).sum(0),
    "addcmul": lambda x, y: torch.addcmul(x, x, y),
    "lerp": lambda x, y: torch.lerp(x, y, 0.3),
    "gate": lambda x, y: x * y.mean((2, 3), keepdim=True).sigmoid(),
    "in place": lambda x, y: x.clone().sub_(y),
}


class Watching(Following):
    """Compares every value that an operation reads with what the trace says of it."""

    def __init__(self, picture, trace):
        super().__init__(picture)
        self.trace = trace
        self.tight = 0

    def compute(self, call):
        result = call()
        if next(tensors(result), None) is None:  # it asks for a shape
            return result
        operation = self.trace.operations[call.number]
        assert operation.name == call.name
        for tensor, bounds in zip(call.live, operation.bounds, strict=True):
            values = tensor.detach().double()
            values = values[values.isfinite()]
            if not values.is_floating_point() or not len(values):
                continue
            for edge, most in ((values.min(), bounds.low), (-values.max(), -bounds.high)):
                room = 1e-5 * (1 + abs(most)) if math.isfinite(most) else 0.0
                assert float(edge) >= most - room, (str(operation), float(edge), bounds)
            self.tight += math.isfinite(bounds.low) or math.isfinite(bounds.high)
        return result


def check(function, parts=None):
    """Look at all values of a network of a function, for pictures of every kind."""
    torch.manual_seed(0)
    network = Network(lambda net, x: function(net, x).flatten(1), **(parts or {})).eval()
    trace = record(network, torch.randn(SHAPE))
    tight = 0
    with torch.no_grad():
        for scale in (0.01, 1, 30, 1000):
            for picture in (torch.randn(SHAPE), torch.rand(SHAPE), -torch.rand(SHAPE)):
                with Watching(scale * picture, trace) as watching:
                    network(watching.picture)
                tight = watching.tight
    return tight


@pytest.mark.parametrize("name", ONE)
def test_each_function(name):
    for before in (lambda x: x, torch.relu, torch.sigmoid, lambda x: -x.relu()):
        check(lambda _, x, before=before: ONE[name](before(x)) + 1)


@pytest.mark.parametrize("name", TWO)
def test_each_function_of_two(name):
    befores = (lambda x: x, torch.relu, torch.sigmoid, lambda x: -x.relu())
    for one in befores:
        for other in befores:
            check(lambda _, x, one=one, other=other: TWO[name](one(x), other(x.flip(3))) + 1)


@st.composite
def chains(draw):
    """Steps, each a function of what an earlier step gave, or of two earlier ones."""
    steps = []
    for number in range(draw(st.integers(1, 7))):
        earlier = st.integers(0, number)
        if draw(st.booleans()):
            steps.append((draw(st.sampled_from(sorted(ONE))), draw(earlier)))
        else:
            steps.append((draw(st.sampled_from(sorted(TWO))), draw(earlier), draw(earlier)))
    return steps


@given(steps=chains())
@settings(max_examples=40, deadline=None)
def test_whatever_is_put_together(steps):
    def function(_, x):
        made = [x]
        for name, *read in steps:
            step = (ONE if len(read) == 1 else TWO)[name]
            made.append(step(*(made[at] for at in read)))
        return made[-1] + 0

    check(function)


def test_constants_count():
    parts = {"conv": nn.Conv2d(4, 4, 1), "norm": nn.BatchNorm2d(4)}
    assert check(lambda net, x: net.norm(net.conv(x).relu() * 2 + 1).sigmoid() - 1, parts) >= 3


def bounds_of(function):
    """What is known of a function's values, of a picture that could be anything."""
    network = Network(lambda _, x: (function(x) + 1).flatten(1)).eval()
    return record(network, torch.zeros(SHAPE)).operations[-2].bounds[0]


@pytest.mark.parametrize(
    ("function", "low", "high"),
    [
        (lambda x: x, -math.inf, math.inf),
        (torch.relu, 0, math.inf),
        (F.relu6, 0, 6),
        (lambda x: F.hardtanh(x, 0, 20), 0, 20),
        (torch.sigmoid, 0, 1),
        (F.hardsigmoid, 0, 1),
        (lambda x: F.relu6(x + 3) / 6, 0, 1),
        (lambda x: (x * 0.2 + 0.5).clamp(0, 1), 0, 1),
        (lambda x: 1 - x.sigmoid(), 0, 1),
        (lambda x: x.softmax(1), 0, 1),
        (lambda x: (x.tanh() + 1) / 2, 0, 1),
        (lambda x: x.sigmoid().mean((2, 3), keepdim=True).expand_as(x), 0, 1),
        (lambda x: x.relu().square().sum(1), 0, math.inf),
        (lambda x: F.avg_pool2d(F.max_pool2d(x.relu(), 2), 2), 0, math.inf),
        (lambda x: x.relu() - x.flip(3).relu(), -math.inf, math.inf),
        (lambda x: torch.cat([x.relu(), x.sigmoid()], 1), 0, math.inf),
        (lambda x: F.dropout(x.relu(), training=False), 0, math.inf),
    ],
)
def test_what_gates_and_rectified_values_are_known_by(function, low, high):
    """Not only right but close: by these gates and z+ for what is never negative are found."""
    assert bounds_of(function) == pytest.approx((low, high))
