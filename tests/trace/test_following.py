"""Every operation on the picture is seen, whoever carries it out; else the network is refused."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils import checkpoint

from atlas.errors import UserError
from atlas.trace.following import PICTURE, Following, RefusedError, Value
from atlas.trace.record import record
from tests.relevance.looking import Network


def followed(function, *, shape=(1, 3, 8, 8), **parts):
    """Record a network of a function of (network, picture)."""
    torch.manual_seed(0)
    network = Network(function, **parts).eval().requires_grad_(False)
    return record(network, torch.randn(shape))


def names(trace):
    return [operation.name for operation in trace.operations]


def conv():
    return nn.Conv2d(3, 4, 3)


# The same, however it is written ----------------------------------------------------------


SUMS = {
    "function": lambda x: torch.add(x, 1),
    "method": lambda x: x.add(1),
    "operator": lambda x: x + 1,
    "operator from the right": lambda x: 1 + x,
    "in place": lambda x: x.add_(1),
    "augmented": lambda x: x.__iadd__(1),
}


@pytest.mark.parametrize("way", SUMS)
def test_one_operation_has_one_name(way):
    trace = followed(lambda _, x: SUMS[way](x * 2).flatten(1))
    assert names(trace) == ["mul", "add", "flatten"]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: x * 3, "mul"),
        (lambda x: 3 * x, "mul"),
        (lambda x: torch.multiply(x, 3), "mul"),
        (lambda x: x / 3, "div"),
        (lambda x: torch.true_divide(x, 3), "div"),
        (lambda x: 3 / x, "rdiv"),
        (lambda x: 3 - x, "rsub"),
        (lambda x: x - 3, "sub"),
        (lambda x: -x, "neg"),
        (lambda x: x**2, "pow"),
        (lambda x: torch.concat([x, x], 1), "cat"),
        (lambda x: x.clip(0, 1), "clamp"),
        (lambda x: x.swapaxes(2, 3), "transpose"),
        (lambda x: x.mT, "mT"),
        (lambda x: x[:, :1], "getitem"),
        (F.relu, "relu"),
        (lambda x: F.relu(x, inplace=True), "relu"),
        (lambda x: F.relu(x, True), "relu"),
        (torch.relu_, "relu"),
        (lambda x: x.relu(), "relu"),
        (lambda x: F.silu(x, inplace=True), "silu"),
        (lambda x: F.leaky_relu(x, 0.1, True), "leaky_relu"),
        (lambda x: F.leaky_relu_(x, 0.1), "leaky_relu"),
        (lambda x: F.hardtanh_(x, 0.0, 6.0), "hardtanh"),
        (F.gelu, "gelu"),
        (lambda x: x.sigmoid_(), "sigmoid"),
        (lambda x: F.dropout(x, training=False, inplace=True), "dropout"),
    ],
)
def test_names_of_operations(function, name):
    trace = followed(lambda _, x: function(x.clone()).flatten(1))
    assert names(trace) == ["clone", name, "flatten"]
    with torch.no_grad():
        picture = torch.randn(1, 3, 8, 8)
        run = _Again(picture)
        with run:
            result = function(run.picture.clone())
        torch.testing.assert_close(result, function(picture.clone()))


class _Again(Following):
    """Follows without doing anything besides."""


def test_constants_are_no_operations():
    def function(net, x):
        weight = torch.softmax(net.weight.weight * 2, dim=0).clone()
        weight.mul_(2)
        return F.conv2d(x, weight).mean((2, 3)) + torch.ones(4).cumsum(0)

    trace = followed(function, weight=conv())
    assert names(trace) == ["conv2d", "mean", "add"]


def test_what_reads_what():
    def function(net, x):
        first = net.conv(x)
        left, right = first.chunk(2, dim=1)
        return torch.cat([right, left * right.sigmoid()], dim=1).mean((2, 3))

    trace = followed(function, conv=conv())
    assert names(trace) == ["conv2d", "chunk", "sigmoid", "mul", "cat", "mean"]
    convolved, left, right = Value(0), Value(1, 0), Value(1, 1)
    assert [operation.inputs for operation in trace.operations] == [
        (PICTURE,), (convolved,), (right,), (left, Value(2)), (right, Value(3)), (Value(4),),
    ]  # fmt: skip
    assert trace.readers[right] == (2, 4)
    assert trace.output == Value(5)
    assert trace.layers["conv"].value == convolved
    assert [operation.place for operation in trace.operations] == ["conv", *[""] * 5]
    assert trace.operations[0].shapes == ((1, 3, 8, 8),)
    assert trace.operations[1].outputs == ((1, 2, 6, 6), (1, 2, 6, 6))


def test_operations_in_place_are_carried_out_beside():
    """Whoever holds the tensor has the new values, and what it was stays known."""
    held = []

    def function(net, x):
        y = net.conv(x)
        held[:] = [y]
        y += 1
        y.relu_()
        return held[0].mean((2, 3)) + y.amax((2, 3))

    trace = followed(function, conv=conv())
    assert names(trace) == ["conv2d", "add", "relu", "mean", "amax", "add"]
    assert trace.layers["conv"].value == Value(0)
    assert trace.operations[3].inputs == trace.operations[4].inputs == (Value(2),)


def test_a_whole_block_in_place():
    """As torchvision's BasicBlock: the shortcut is a layer, to which the block adds in place."""

    def function(net, x):
        identity = net.shortcut(x)
        identity += net.conv(x)
        return F.relu(identity, inplace=True).mean((2, 3))

    trace = followed(function, shortcut=conv(), conv=conv())
    assert names(trace) == ["conv2d", "conv2d", "add", "relu", "mean"]
    assert trace.operations[2].inputs == (Value(0), Value(1))
    assert trace.layers["shortcut"].value == Value(0)


@pytest.mark.parametrize("view", ["slice", "view", "transpose", "chunk"])
def test_views_of_what_is_overwritten_are_refused(view):
    views = {
        "slice": lambda y: y[:, :2], "view": lambda y: y.view(1, -1),
        "transpose": lambda y: y.transpose(2, 3), "chunk": lambda y: y.chunk(2, 1)[0],
    }  # fmt: skip

    def base(net, x):
        y = net.conv(x)
        held = views[view](y)
        y.relu_()
        return held.flatten(1)

    def itself(net, x):
        y = net.conv(x)
        views[view](y).relu_()
        return y.mean((2, 3))

    with pytest.raises(RefusedError, match=r"flatten reads a view of .* that relu_ has"):
        followed(base, conv=conv())
    with pytest.raises(RefusedError, match=r"mean reads a view of .* that relu_ has"):
        followed(itself, conv=conv())


def test_a_view_that_is_read_before_is_none_of_them():
    def function(net, x):
        y = net.conv(x)
        peeped = y[:, :2].mean((2, 3))
        y.relu_()
        return torch.cat([peeped, y.mean((2, 3))], 1)

    assert names(followed(function, conv=conv()))[-3:] == ["relu", "mean", "cat"]


@pytest.mark.parametrize(
    "around",
    [
        torch.no_grad(),
        torch.inference_mode(),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
    ],
    ids=["no_grad", "inference_mode", "enable_grad", "autocast off"],
)
def test_modes_of_gradients_make_no_difference(around):
    def function(net, x):
        with around:
            y = net.conv(x).relu()
        return y.mean((2, 3))

    assert names(followed(function, conv=conv())) == ["conv2d", "relu", "mean"]


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("reentrant", [False, True])
def test_what_a_checkpoint_holds_is_followed_once(reentrant):
    def function(net, x):
        y = checkpoint.checkpoint(lambda z: net.conv(z).relu(), x, use_reentrant=reentrant)
        return y.mean((2, 3))

    trace = followed(function, conv=conv())
    assert [name for name in names(trace) if name != "view_as"] == ["conv2d", "relu", "mean"]
    assert not trace.layers["conv"].problem


def test_layers_called_with_keywords():
    trace = followed(
        lambda net, x: net.last(input=net.conv(input=x).mean((2, 3))),
        conv=conv(), last=nn.Linear(4, 2),
    )  # fmt: skip
    assert names(trace) == ["conv2d", "mean", "linear"]
    assert trace.layers["last"].value == Value(2)


class Doubled(torch.autograd.Function):
    """An operation of one's own, with a gradient of one's own."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def test_functions_with_their_own_gradients():
    trace = followed(lambda net, x: Doubled.apply(net.conv(x)).mean((2, 3)), conv=conv())
    assert names(trace) == ["conv2d", "mul", "mean"]


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_scripted_functions_are_refused():
    """What they do is not shown in every run, so that they cannot be followed."""

    @torch.jit.script
    def mish(x):
        return x * torch.tanh(F.softplus(x))

    with pytest.raises(RefusedError, match="TorchScript"):
        followed(lambda net, x: mish(net.conv(x)).mean((2, 3)), conv=conv())


def test_the_same_run_of_operations_for_any_batch():
    torch.manual_seed(0)
    network = Network(lambda net, x: net.conv(x).relu().mean((2, 3)), conv=conv()).eval()
    one, two = (record(network, torch.randn(count, 3, 8, 8)) for count in (1, 1))
    assert names(one) == names(two)
    seen = []

    class Counting(Following):
        def compute(self, call):
            seen.append((call.number, call.name, tuple(call.inputs)))
            return call()

    with Counting(torch.randn(5, 3, 8, 8)) as counting:
        network(counting.picture)
    assert seen == [(o.number, o.name, o.inputs) for o in one.operations]


def test_a_tensor_that_comes_out_as_it_went_in_is_a_value_of_its_own():
    """`contiguous`, `to` and dropout in eval mode hand on the tensor itself."""

    def function(net, x):
        y = net.conv(x)
        z = net.drop(y.contiguous().to(torch.float32))
        return (y + z).mean((2, 3))

    trace = followed(function, conv=conv(), drop=nn.Dropout())
    assert names(trace) == ["conv2d", "contiguous", "to", "dropout", "add", "mean"]
    assert trace.operations[4].inputs == (Value(0), Value(3))
    assert trace.layers["drop"].value == Value(3)


# What cannot be followed ------------------------------------------------------------------


def by_numpy(x):
    return torch.from_numpy(x.numpy() * 2)


def by_float(x):
    return x * float(x.mean())


def written_into(x):
    made = torch.zeros(1, 4, 6, 6)
    made[:, :2] = x[:, :2]
    return made


def copied_into(x):
    made = torch.zeros(1, 4, 6, 6)
    made.copy_(x)
    return made


def part_overwritten(x):
    x[:, :2] = 0
    return x


def with_out(x):
    made = torch.zeros(1, 4, 6, 6)
    torch.relu(x)
    torch.add(x, 1, out=made)
    return made


def with_data(x):
    x.data = x * 2
    return x


@torch.autocast("cpu", torch.bfloat16)
def in_half(x):
    return (x * 2).float()


@pytest.mark.parametrize(
    ("function", "reported"),
    [
        (by_numpy, "numpy takes values out"),
        (lambda x: torch.tensor(np.asarray(x)), "array takes values out"),
        (by_float, "float takes values out"),
        (lambda x: x * x.mean().item(), "item takes values out"),
        (lambda x: torch.tensor(x.tolist()), "tolist takes values out"),
        (written_into, "into a tensor that is not: make a new tensor there|is overwritten"),
        (copied_into, "copy_ writes what is made from the picture into a tensor that is"),
        (part_overwritten, "a part of a tensor is overwritten"),
        (with_out, r"add\(out=...\) writes where it cannot be followed"),
        (with_data, "is overwritten"),
        (torch.vmap(lambda y: y.relu()), "inside a transform of torch.func"),
        (in_half, "mul is called under torch.autocast"),
    ],
)
def test_what_cannot_be_followed_is_reported_with_its_place(function, reported):
    class Layer(nn.Module):
        def forward(self, x):
            return function(x)

    with pytest.raises(RefusedError, match=reported) as caught:
        followed(lambda net, x: net.odd(net.conv(x)).mean((2, 3)), conv=conv(), odd=Layer())
    assert str(caught.value).startswith("layer 'odd' of the network")
    assert "\n" not in str(caught.value)


def hidden(x):
    """Read the picture behind the back of torch's functions."""
    with torch._C.DisableTorchFunction():
        return x * 2


def test_what_torch_does_not_show_is_reported():
    with pytest.raises(RefusedError, match=r"mul reads a tensor that is made from the picture by"):
        followed(lambda net, x: (x * hidden(x)).mean((2, 3)))
    with pytest.raises(RefusedError, match=r"add reads a tensor that is made from the picture by"):
        followed(lambda net, x: (net.conv(x) + net.conv(hidden(x))).mean((2, 3)), conv=conv())
    with pytest.raises(RefusedError, match=r"is not made from the picture by functions of torch"):
        followed(lambda net, x: net.conv(hidden(x)).mean((2, 3)), conv=conv())


def test_what_a_network_raises_is_one_line_with_the_layers_name():
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("no\nsuch thing")

    with pytest.raises(UserError) as caught:
        followed(lambda net, x: net.broken(net.conv(x)), conv=conv(), broken=Broken())
    assert str(caught.value) == (
        "layer 'broken' of the network fails on a picture of (3, 8, 8): ValueError: no such thing"
    )


def test_a_network_that_ignores_the_picture_is_reported():
    for function in (lambda _, x: torch.zeros(1, 3), lambda _, x: (x, x)):
        with pytest.raises(RefusedError, match="what the network returns is not made from"):
            followed(function)


def test_nothing_is_left_behind():
    torch.manual_seed(0)
    network = Network(lambda net, x: net.conv(x).relu_().mean((2, 3)), conv=conv()).eval()
    picture = torch.randn(1, 3, 8, 8)
    before = picture.clone()
    with torch.no_grad():
        expected = network(picture)
    record(network, picture)
    assert torch.equal(picture, before)
    assert not network.conv._forward_hooks
    assert not network.conv._forward_pre_hooks
    with torch.no_grad():
        assert torch.equal(network(picture), expected)
    assert math.isfinite(float(expected.sum()))


def test_layers_are_reported_of_as_they_are_done():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused, self.twice = (nn.Conv2d(3, 3, 1) for _ in range(3))
            self.same, self.constant = nn.Identity(), nn.Identity()
            self.tokens, self.pair = nn.Flatten(2), Network(lambda _, x: (x, x))
            self.turned = Network(lambda _, x: x.permute(0, 2, 3, 1))

        def forward(self, x):
            x = self.twice(self.twice(self.used(self.same(x))))
            self.turned(x), self.pair(x)
            return self.tokens(x).mean(2) + self.constant(torch.ones(1, 3))

    trace = record(Odd().eval(), torch.randn(1, 3, 4, 6))
    assert list(trace.layers) == [
        "same", "used", "twice", "turned", "pair", "tokens", "constant",
    ]  # fmt: skip
    problems = {name: layer.problem for name, layer in trace.layers.items()}
    assert problems["used"] == ""
    assert "is the picture itself" in problems["same"]
    assert "used more than once" in problems["twice"]
    assert "rows and columns are not the last" in problems["turned"]
    assert "has no maps" in problems["pair"] and "has no maps" in problems["tokens"]
    assert "does not depend on the picture" in problems["constant"]
    assert "unused" in trace.modules


def test_what_gives_back_what_it_was_given_in_place_ends():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Dropout(inplace=True), nn.Flatten(),
        nn.Linear(4 * 36, 2),
    )  # fmt: skip
    operations = record(network.eval(), torch.randn(1, 3, 8, 8)).operations  # with gradients
    assert [one.name for one in operations] == ["conv2d", "relu", "dropout", "flatten", "linear"]
