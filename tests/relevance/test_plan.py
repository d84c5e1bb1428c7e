"""Which operation has which rule, and which has none."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from atlas.relevance.plan import plan
from atlas.relevance.tape import follow, path_to
from atlas.trace.following import PICTURE, RefusedError
from atlas.trace.record import record
from tests.relevance.looking import Network, instrumented

SHAPE = (6, 4, 4)


def shares(function, picture=None):
    """Return the relevance of two halves of a picture, in parts of a sum of all places.

    The halves go through a convolution that changes nothing, so that rules are not those of the
    first layer, and `function` of them is summed up.
    """

    def forward(net, x):
        one, other = net.same(x).split(3, dim=1)
        return function(one, other).flatten(1).sum(1, keepdim=True)

    same = nn.Conv2d(6, 6, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        same.weight.copy_(torch.eye(6).view(6, 6, 1, 1))
    network = Network(forward, same=same)
    model = instrumented(network, SHAPE, ["same"], "epsilon_epsilon")
    if picture is None:
        generator = torch.Generator().manual_seed(7)
        picture = torch.randn(1, *SHAPE, generator=generator, dtype=torch.float64)
    tape = follow(model, picture, path_to(model.plan, [PICTURE]), lambda *_: None)
    relevance = tape.back({model.plan.head.logits: tape.logits})[PICTURE]
    total = float(tape.logits)
    return [float(half.sum()) / total for half in relevance.split(3, dim=1)]


def by_hand(z):
    top = torch.exp(z - z.amax(1, keepdim=True))
    return top / top.sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda a, b: a * b.sigmoid(), [1, 0]),
        (lambda a, b: F.hardsigmoid(b) * a, [1, 0]),
        (lambda a, b: F.relu6(b + 3) / 6 * a, [1, 0]),
        (lambda a, b: a * F.relu6(b + 3) / 6, [1, 0]),
        (lambda a, b: a * F.relu6(b) / 6, [0.5, 0.5]),
        (lambda a, b: a * (F.relu6(b) / 6), [0.5, 0.5]),
        (lambda a, b: a * (b * 0.2 + 0.5).clamp(0, 1), [1, 0]),
        (lambda a, b: a * b.softmax(dim=1), [1, 0]),
        (lambda a, b: a * (1 - b.sigmoid()), [1, 0]),
        (lambda a, b: a * b.mean((2, 3), keepdim=True).sigmoid().expand_as(a), [1, 0]),
        (lambda a, b: a * b.mean((2, 3), keepdim=True), [1, 0]),
        (lambda a, b: a.mean((2, 3), keepdim=True) * b, [0, 1]),
        (lambda a, b: a * torch.linalg.vector_norm(b, dim=(2, 3), keepdim=True), [1, 0]),
        (lambda a, b: a / (1 + b.neg().exp()), [1, 0]),
        (lambda a, b: a * b, [0.5, 0.5]),
        (lambda a, b: a.sigmoid() * b.sigmoid(), [0.5, 0.5]),
        (lambda a, b: a.tanh() * b, [0, 1]),
        (lambda a, b: (2 * a.sigmoid() - 1) * b, [0, 1]),
        (lambda a, b: a.tanh() * b.sigmoid(), [1, 0]),
        (lambda a, b: a * (2 * b.sigmoid()), [1, 0]),
        (lambda a, b: a * (1 + b.sigmoid()), [1, 0]),
        (lambda a, b: a * -(b.sigmoid() ** 2), [1, 0]),
        (lambda a, b: a * (b.sigmoid() * torch.arange(-2, 1).view(3, 1, 1)), [1, 0]),
        (lambda a, b: a * (b.sigmoid() / b.sigmoid().sum(1, keepdim=True)), [1, 0]),
        (lambda a, b: a * by_hand(b), [1, 0]),
        (lambda a, b: a * torch.exp(F.logsigmoid(b)), [1, 0]),
        (lambda a, b: a * torch.exp(b - torch.logsumexp(b, 1, keepdim=True)), [1, 0]),
        (lambda a, b: a * torch.reciprocal(1 + b.exp()), [1, 0]),
        (lambda a, b: a * (b > 0).float(), [1, 0]),
        (lambda a, b: (b > 0).type_as(a) * a, [1, 0]),
        (lambda a, b: F.glu(torch.cat([a, b], 1), 1), [1, 0]),
        (lambda a, b: torch.addcmul(a, b.sigmoid(), a.clone()), [1, 0]),
        (lambda a, b: torch.lerp(a, 3 * a, b.sigmoid()), [1, 0]),
        (lambda a, b: torch.matmul(a.softmax(dim=-1), b), [0, 1]),
        (lambda a, b: torch.matmul(a.softmax(dim=-1), b.tanh()), [0, 1]),
        (lambda a, b: a.clone().mul_(b.sigmoid()), [1, 0]),
    ],
)
def test_gates_get_nothing_and_equals_share(function, expected):
    assert shares(function) == pytest.approx(expected, abs=1e-4)


def test_a_factor_with_itself_gets_all():
    assert shares(lambda a, b: a * a + b * 0) == pytest.approx([1, 0], abs=1e-4)


@pytest.mark.parametrize(
    ("function", "ratio"),
    [
        (lambda a, b: a + b, 1),
        (lambda a, b: a - b, -1),
        (lambda a, b: torch.rsub(b, a), -1),
        (lambda a, b: torch.add(a, b, alpha=3), 3),
        (lambda a, b: a.clone().sub_(b, alpha=2), -2),
        (lambda a, b: torch.stack([a, b]).sum(dim=0), 1),
        (lambda a, b: sum([a, b]), 1),
    ],
)
def test_sums_share_in_proportion(function, ratio):
    picture = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(2)).double() + 0.1
    one, other = (float(half.sum()) for half in picture.split(3, dim=1))
    total = one + ratio * other
    expected = [one / total, ratio * other / total]
    assert shares(function, picture) == pytest.approx(expected, rel=1e-4)


def test_a_broadcast_summand_gets_the_relevance_of_all_its_places():
    picture = torch.ones(1, *SHAPE).double()
    found = shares(lambda a, b: a + b.mean((2, 3), keepdim=True), picture)
    assert found == pytest.approx([0.5, 0.5], abs=1e-4)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda a, b: torch.fft.fft2(a).real, "real"),
        (lambda a, b: a.cumsum(1), "cumsum"),
        (lambda a, b: a.sort(dim=1).values, "sort"),
        (lambda a, b: torch.einsum("bchw,bchw->bc", a, b), "einsum"),
        (lambda a, b: a @ b, "matmul"),
        (lambda a, b: F.scaled_dot_product_attention(a, b, b), "scaled_dot_product_attention"),
        (lambda a, b: (a @ b.mT).softmax(-1) @ b, "matmul"),
        (lambda a, b: 1 / (a.abs() + 1), "rdiv"),
        (lambda a, b: a.frac(), "frac"),
        (lambda a, b: torch.cummax(a, 1).values, "cummax"),
        (lambda a, b: F.conv2d(a, b[0, :, None].contiguous(), groups=3), "conv2d"),
        (lambda a, b: F.linear(a, b[0, 0]), "linear"),
        (lambda a, b: F.prelu(a, b.mean().reshape(1)), "prelu"),
    ],
)
def test_operations_without_a_rule_are_refused_by_name_and_place(function, name):
    class Odd(nn.Module):
        def forward(self, a, b):
            return function(a, b)

    def forward(net, x):
        one, other = net.stem(x).split(3, dim=1)
        return net.odd(one, other).flatten(1).sum(1, keepdim=True)

    network = Network(forward, stem=nn.Conv2d(6, 6, 1), odd=Odd()).eval()
    trace = record(network, torch.randn(1, *SHAPE))
    with pytest.raises(RefusedError) as caught:
        plan(trace, "epsilon_plus_flat")
    assert f"the operation {name!r} in layer 'odd'" in str(caught.value)
    assert "rule of relevance" in str(caught.value)
    assert 'prepass.modes = ["activation"]' in str(caught.value)
    assert "\n" not in str(caught.value)
    plan(trace, None)  # for activations alone none is needed


def test_what_no_relevance_comes_to_needs_no_rule():
    """A gate may do what it likes, and so may what leads to no output."""

    def forward(net, x):
        y = net.stem(x)
        gate = net.gate(y.mean((2, 3), keepdim=True)).sin().exp().sigmoid()
        net.aside(y).cumsum(1)
        return (y * gate).mean((2, 3))

    parts = {name: nn.Conv2d(6, 6, 1) for name in ("stem", "gate", "aside")}
    network = Network(forward, **parts).eval()
    trace = record(network, torch.randn(1, *SHAPE))
    rules = plan(trace, "epsilon_plus_flat")
    reached = [name for name, layer in trace.layers.items() if layer.value in rules.reached]
    assert reached == ["stem"]


def test_the_first_rule_is_for_all_that_read_the_picture():
    """Also on several branches, and behind what only moves or scales it."""

    def forward(net, x):
        x = x * 2 - 1
        left, right = net.left(x[:, :3]), net.right(F.pad(x, (1, 1, 1, 1))[:, 3:])
        return net.last(F.relu(left + right)).mean((2, 3))

    parts = {"left": nn.Conv2d(3, 4, 1), "right": nn.Conv2d(3, 4, 3), "last": nn.Conv2d(4, 2, 1)}
    trace = record(Network(forward, **parts).eval(), torch.randn(1, *SHAPE))
    rules = plan(trace, "epsilon_plus_flat")
    kinds = {
        trace.operations[number].place: [weight.unique().tolist() for _, weight in
                                         step.convolution._signs[0][1].parts]
        for number, step in rules.steps.items() if trace.operations[number].name == "conv2d"
    }  # fmt: skip
    assert kinds["left"] == kinds["right"] == [[1.0]]  # flat: every weight counts as one
    assert kinds["last"] != [[1.0]]


def test_z_plus_of_inputs_that_are_never_negative_needs_half_the_work():
    def parts(function):
        network = Network(
            lambda net, x: net.last(function(net.first(x))).mean((2, 3)),
            first=nn.Conv2d(6, 4, 1), last=nn.Conv2d(4, 2, 1),
        ).eval()  # fmt: skip
        # The picture is zero: were it by the values, every layer might pass.
        trace = record(network, torch.zeros(1, *SHAPE))
        rules = plan(trace, "epsilon_plus_flat")
        number = max(n for n in rules.steps if trace.operations[n].name == "conv2d")
        return len(rules.steps[number].convolution._signs[0][1].parts)

    assert parts(torch.relu) == parts(lambda x: F.max_pool2d(x.sigmoid(), 2)) == 1
    assert parts(lambda x: x) == parts(F.hardswish) == parts(lambda x: x.relu() - x.sigmoid()) == 2
