"""Networks as people write them: relevance is right, or refused by name.

A small network has one place for a body, which is written in many ways; its relevance is compared
with that of the formulas in float64, alone and in company.
"""

import copy
import math
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from atlas.errors import UserError
from atlas.relevance import checks
from atlas.relevance.engine import PREDICTED, RelevanceEngine
from atlas.relevance.plan import plan
from atlas.relevance.tape import instrument
from atlas.trace.layers import choose
from atlas.trace.record import record
from tests.relevance.formulas import relevances
from tests.relevance.zoo import pictures

C, SIZE = 8, 48


class Network(nn.Module):
    def __init__(self, body=None, head=None, enter=None):
        super().__init__()
        self.stem = nn.Conv2d(3, C, 3, stride=2, padding=1, bias=False)
        self.n0, self.n1, self.n2 = (nn.BatchNorm2d(C) for _ in range(3))
        self.c1, self.c2 = (nn.Conv2d(C, C, 3, padding=1, bias=False) for _ in range(2))
        self.s1, self.s2 = nn.Conv2d(C, 2, 1), nn.Conv2d(2, C, 1)
        self.f1, self.f2 = nn.Linear(C, 2), nn.Linear(2, C)
        self.w, self.b = nn.Parameter(torch.randn(C, C, 3, 3) / 5), nn.Parameter(torch.randn(C) / 9)
        self.last, self.fc = nn.Conv2d(C, 16, 3, padding=1), nn.Linear(16, 10)
        self.other, self.single = nn.Linear(16, 10), nn.Linear(16, 1)
        self.body, self.head, self.enter = body, head, enter
        for norm in (self.n0, self.n1, self.n2):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.1, 0.5)
            nn.init.uniform_(norm.weight, 0.5, 1)
            nn.init.uniform_(norm.bias, -0.2, 0.2)

    def forward(self, x):
        x = self.enter(x) if self.enter else x
        x = self.n0(self.stem(x)).relu()
        x = self.body(self, x) if self.body else x
        x = self.last(x).relu()
        return self.head(self, x) if self.head else self.fc(x.mean((2, 3)))

    def seen_with(self, others):
        self.sign = torch.tensor(-1.0 if others else 1.0)
        return self.sign

    def counted(self):
        self.calls = vars(self).get("calls", 0) + 1
        return self.calls

    def counted_in_array(self):
        self.kept = vars(self).get("kept", np.zeros(3)) + 1
        return self.kept[0]


def made(**parts):
    torch.manual_seed(3)
    return Network(**parts).eval().requires_grad_(False)


def measured(network, images):
    trace = record(network, torch.randn(1, 3, SIZE, SIZE))
    rules = plan(trace, "epsilon_plus_flat")
    layers = choose(trace, (), rules.reached).names
    model = instrument(network, rules, layers)
    fields = {name: trace.layers[name].field for name in layers if trace.layers[name].field}
    return model, layers, list(checks.check(model, images, fields))


def channels(model, images):
    found = {}

    def visit(layer, mode, maps):
        if mode == "relevance":
            found[layer] = maps.double().sum(dim=(2, 3))

    logits = RelevanceEngine(model)(images, torch.full((len(images),), PREDICTED), visit)
    return logits, found


def is_right(network):
    images = pictures(3, SIZE)
    model, layers, found = measured(network, images.clone())
    assert [one.says for one in found if not one.passed] == []
    logits, together = channels(model, images)
    expected = relevances(copy.deepcopy(network), images, layers)
    torch.testing.assert_close(logits.double(), expected.logits, rtol=1e-4, atol=1e-5)
    alone = [channels(model, image[None])[1] for image in images]
    for layer in layers:
        right = expected.channels[layer]
        for one in (together[layer], torch.cat([each[layer] for each in alone])):
            assert (one - right).abs().sum() <= 1e-3 * right.abs().sum(), layer


def branch(net, x):
    return net.n2(net.c2(net.n1(net.c1(x)).relu()))


def features(net, x):
    return net.n1(net.c1(x)).relu()


def normed(function):
    return lambda net, x: function(net.n1(net.c1(x)))


def gate(net, x):
    return net.s2(net.s1(x.mean((2, 3), keepdim=True)).relu())


def dense_gate(net, x):
    return net.f2(net.f1(x.mean((2, 3))).relu())


def standardised(w):
    return (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)


def added_in_place(net, x):
    y = branch(net, x)
    y += x
    return F.relu_(y)


def kept_and_changed(net, x):
    y = net.n1(net.c1(x))
    kept = y
    F.relu_(y)
    return (net.n2(net.c2(y)) + kept).relu()


def halves(net, x):
    (a, b), (c, d) = branch(net, x).chunk(2, 1), x.chunk(2, 1)
    return torch.cat([a + c, b - d], 1).relu()


def hard_in_place(net, x):
    x = features(net, x)
    g = gate(net, x)
    g += 3
    g.clamp_(0, 6)
    g.div_(6)
    return x * g


def selected(net, x):
    x = features(net, x)
    other = net.c2(x)
    weights = torch.stack([gate(net, x), gate(net, other)], 1).softmax(1)
    return (torch.stack([x, other], 1) * weights).sum(1)


def exponential(net, x):
    weights = torch.exp(net.c2(x))
    return features(net, x) * (weights / weights.sum(1, keepdim=True))


def shifted(net, x):
    padded = F.pad(x, (1, 1, 1, 1))
    parts = [
        F.conv2d(padded[:, :, i : i + 24, j : j + 24], net.w[:, :, i : i + 1, j : j + 1])
        for i in range(3)
        for j in range(3)
    ]
    return sum(parts).relu()


def kept_in_module(net, x):
    net.cache = x
    return F.conv2d(x, net.w, net.b, padding=1).relu() + net.cache


def read_twice(net, x):
    y = net.c1(x)
    return net.n1(y).relu() + net.n2(y).relu()


def scaled_in_place_before_norm(net, x):
    y = net.c1(x)
    y.mul_(2)
    return net.n1(y).relu()


def with_places(net, x):
    places = torch.linspace(-1, 1, x.shape[3]).expand(1, x.shape[2], x.shape[3])
    own = places[None].expand(len(x), 1, *x.shape[2:]).to(x).type_as(x)
    return F.conv2d(torch.cat([x, own], 1), F.pad(net.w, (0, 0, 0, 0, 0, 1), value=0.1)).relu()


PLACES = torch.randn(144, 144, generator=torch.Generator().manual_seed(1)) / 144


def weighed_by_other_places(net, x):
    x = F.avg_pool2d(x, 2)
    return x * F.linear(x.flatten(2), PLACES.to(x), net.b.mean().expand(144)).view_as(x)


BODIES = {
    "flipped": lambda net, x: net.c1(x).flip(2).relu(),
    "with places": with_places,
    "space to depth": lambda net, x: net.c1(
        x.view(-1, C, 12, 2, 12, 2).permute(0, 3, 5, 1, 2, 4).reshape(-1, 4 * C, 12, 12)[:, ::4]
    ).relu(),
    "regions": lambda net, x: (
        x + (x.flatten(2) @ net.s1(x).flatten(2).softmax(2).mT).sum(2)[..., None, None] / 9
    ),
    "add in place": added_in_place,
    "add_ relu_": lambda net, x: branch(net, x).add_(x).relu_(),
    "alpha": lambda net, x: torch.add(x, branch(net, x), alpha=0.1).relu(),
    "sum of a list": lambda net, x: sum([branch(net, x), x]).relu(),
    "mean of a stack": lambda net, x: torch.stack([branch(net, x), x], -1).mean(-1).relu(),
    "view and sum": lambda net, x: (
        torch.cat([branch(net, x), x], 1).view(len(x), 2, C, 24, 24).sum(1).relu()
    ),
    "weighed by other places": weighed_by_other_places,
    "minus": lambda net, x: (x - branch(net, x).neg()).relu(),
    "rsub": lambda net, x: torch.rsub(branch(net, x), x).relu(),
    "root of two": lambda net, x: (x + branch(net, x)) / math.sqrt(2),
    "kept and changed in place": kept_and_changed,
    "halves": halves,
    "maximum": lambda net, x: torch.maximum(branch(net, x), x),
    "where": lambda net, x: torch.where(x > 0.3, branch(net, x), x),
    "shuffle": lambda net, x: (
        branch(net, x).view(len(x), 2, 4, 24, 24).transpose(1, 2).reshape(x.shape).relu()
    ),
    "gate by view": lambda net, x: x * dense_gate(net, x).sigmoid().view(-1, C, 1, 1).expand_as(x),
    "gate by einsum": lambda net, x: torch.einsum(
        "bchw,bc->bchw", features(net, x), dense_gate(net, x).sigmoid()
    ),
    "gate by mul_": lambda net, x: features(net, x).mul_(gate(net, x).sigmoid()),
    "relu6 gate": lambda net, x: features(net, x) * (F.relu6(gate(net, x) + 3) / 6),
    "clamp gate": lambda net, x: features(net, x) * torch.clamp(gate(net, x) / 6 + 0.5, 0, 1),
    "hard gate in place": hard_in_place,
    "tanh gate": lambda net, x: features(net, x) * ((torch.tanh(gate(net, x)) + 1) / 2),
    "exp gate": lambda net, x: features(net, x) / (1 + torch.exp(-gate(net, x))),
    "scaled gate": lambda net, x: features(net, x) * (2 * gate(net, x).sigmoid() + 0.5),
    "gates added": lambda net, x: (
        features(net, x) * (net.c2(x).sigmoid() + gate(net, x).sigmoid()).square()
    ),
    "tanh of features": lambda net, x: torch.tanh(net.c2(x)) * net.c1(x).sigmoid(),
    "softmax by hand": exponential,
    "clipped relu, no gate": lambda net, x: features(net, x) * F.relu6(net.c2(x)) / 6,
    "hard gate for every place": lambda net, x: features(net, x) * F.relu6(net.c2(x) + 3) / 6,
    "selected kernels": selected,
    "mish": normed(lambda y: y * torch.tanh(F.softplus(y))),
    "hard swish": normed(lambda y: y * F.relu6(y + 3) / 6),
    "leaky by max": normed(lambda y: torch.max(y, 0.1 * y)),
    "maxout": lambda net, x: net.c1(x).view(len(x), 2, 4, 24, 24).max(1)[0].repeat(1, 2, 1, 1),
    "own weights": lambda net, x: F.conv2d(x, net.w, net.b, padding=1).relu(),
    "standardised weights": lambda net, x: net.n1(
        F.conv2d(x, standardised(net.w), padding=1)
    ).relu(),
    "unfold": lambda net, x: (
        (net.w.flatten(1) @ F.unfold(x, 3, padding=1) + net.b[:, None]).view_as(x).relu()
    ),
    "shifts": shifted,
    "channels last": lambda net, x: (
        F.linear(x.permute(0, 2, 3, 1), net.w[..., 1, 1], net.b).permute(0, 3, 1, 2).relu()
    ),
    "even kernel": lambda net, x: F.conv2d(x, net.w[..., :2, :2], net.b, padding="same").relu(),
    "reflect": lambda net, x: F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), net.w).relu(),
    "gem": lambda net, x: F.avg_pool2d(x.clamp(min=1e-6).pow(3), 2).pow(1 / 3),
    "transposed": lambda net, x: F.conv_transpose2d(
        x, net.w, net.b, stride=2, padding=1, output_padding=1
    ).relu(),
    "tiles as pictures": lambda net, x: (
        F.conv2d(
            x.view(-1, C, 2, 12, 2, 12).permute(0, 2, 4, 1, 3, 5).reshape(-1, C, 12, 12),
            net.w,
            padding=1,
        )
        .view(-1, 2, 2, C, 12, 12)
        .permute(0, 3, 1, 4, 2, 5)
        .reshape(x.shape)
        .relu()
    ),
    "kept in the module": kept_in_module,
    "detached": lambda net, x: net.c1(x.detach()).relu(),
    "data": lambda net, x: net.c1(x.data).relu(),
    "one layer twice": lambda net, x: net.c1(net.c1(x).relu()).relu(),
    "one norm twice": lambda net, x: net.n1(net.c2(net.n1(net.c1(x)).relu())).relu(),
    "two norms read a layer": read_twice,
    "scaled before a norm": lambda net, x: net.n1(net.c1(x) * -3).relu(),
    "scaled in place before a norm": scaled_in_place_before_norm,
    "transposed before a norm": lambda net, x: net.n1(
        F.conv_transpose2d(x, net.w[:, :2], stride=2, groups=4)
    ).relu(),
    "norm after relu": lambda net, x: net.n1(net.c1(x).relu()),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bodies_as_people_write_them(body):
    is_right(made(body=body))


def pooled(x):
    return x.mean((2, 3))


HEADS = {
    "softmax": lambda net, x: net.fc(pooled(x)).softmax(1),
    "log softmax": lambda net, x: F.log_softmax(net.fc(pooled(x)), 1),
    "sigmoid": lambda net, x: net.fc(pooled(x)).sigmoid(),
    "temperature": lambda net, x: net.fc(pooled(x)) / 2.5,
    "two heads": lambda net, x: torch.stack([net.fc(pooled(x)), net.other(pooled(x))]).mean(0),
    "cosine": lambda net, x: (
        16 * (pooled(x) / pooled(x).norm(dim=1, keepdim=True)) @ F.normalize(net.fc.weight).t()
    ),
    "classes by position": lambda net, x: F.conv2d(x, net.fc.weight[..., None, None]).amax((2, 3)),
    "einsum": lambda net, x: torch.einsum("bchw,oc->bo", x, net.fc.weight) / 576,
    "largest": lambda net, x: net.fc(x.flatten(2).max(2)[0]),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_heads_as_people_write_them(head):
    is_right(made(head=head))


def test_two_classes_from_one_output_and_its_opposite():
    single = made(head=lambda net, x: net.single(pooled(x)))
    pair = made(head=lambda net, x: torch.cat([-net.single(pooled(x)), net.single(pooled(x))], 1))
    images = pictures(3, SIZE)
    (one, found), (two, expected) = (
        channels(measured(net, images)[0], images) for net in (single, pair)
    )
    torch.testing.assert_close(2 * one, two)
    for layer, right in expected.items():
        torch.testing.assert_close(2 * found[layer], right, rtol=1e-4, atol=1e-7)


ENTRIES = {
    "constants": lambda x: (x - torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)) / 0.5,
    "a copy in place": lambda x: x.clone().mul_(2).sub_(1),
    "another order of colours": lambda x: x[:, [2, 1, 0]],
    "another size": lambda x: F.interpolate(x, size=(56, 56), mode="bilinear"),
    "a cut": lambda x: x[..., 4:-4, 4:-4],
    "grey": lambda x: x.mean(1, keepdim=True).expand(-1, 3, -1, -1),
}


@pytest.mark.parametrize("enter", ENTRIES.values(), ids=ENTRIES)
def test_what_is_done_to_the_picture_inside(enter):
    is_right(made(enter=enter))


def by_numpy(net, x):
    return net.c1(x).relu() + torch.as_tensor(x.numpy() ** 2)


def without_modes(net, x):
    with torch._C.DisableTorchFunction():
        y = net.c1(x).relu()
    return x + y


class Own(torch.Tensor):
    """A kind of tensor of its own."""


def in_a_thread(net, x):
    """Computes a branch where nobody sees it."""
    out = []
    thread = threading.Thread(target=lambda: out.append(net.c1(x)))
    thread.start()
    thread.join()
    return x + out[0]


@torch.jit.script
def scripted(x):
    return x * torch.sigmoid(x)


REFUSED = {
    "out": (lambda net, x: torch.add(branch(net, x), x, out=torch.empty_like(x)), r"add\(out="),
    "a slice": (lambda net, x: x.clone().index_fill_(1, torch.tensor([0]), 0.0) + x, "index_fill"),
    "numpy": (by_numpy, "numpy"),
    "item": (lambda net, x: x * x.mean().item(), "item"),
    "an index": (lambda net, x: x.roll(int(x.mean((2, 3)).argmax()), 1), "int takes"),
    "modes switched off": (without_modes, "cannot be followed"),
    "vmap": (lambda net, x: x + torch.vmap(lambda one: one.relu())(x), "cannot be followed"),
    "weights by the picture": (
        lambda net, x: F.conv2d(x, net.w * x.mean(), padding=1),
        "weights that depend on the picture",
    ),
    "attention": (
        lambda net, x: F.scaled_dot_product_attention(*[x.flatten(2)] * 3).view_as(x),
        "attention",
    ),
    "cumsum": (lambda net, x: x.cumsum(2), "cumsum"),
    "noise": (lambda net, x: x + torch.randn_like(x), "by chance"),
    "dropout": (lambda net, x: F.dropout(x, 0.5), "left on"),
    "hardly any dropout": (lambda net, x: F.dropout(x, 1e-5), "left on"),
    "a counter": (
        lambda net, x: (setattr(net, "seen", getattr(net, "seen", 0) + 1), x * net.seen)[1],
        "changes 'seen' of its own each time",
    ),
    "a count of calls": (
        lambda net, x: x * (1 if net.counted() < 999 else 2),
        "changes 'calls' of its own each time",
    ),
    "a count in an array": (
        lambda net, x: x * float(1 + net.counted_in_array() * 0),
        "changes 'kept' of its own each time",
    ),
    "a thread": (in_a_thread, "another thread"),
    "a kind of tensor of its own": (
        lambda net, x: x + net.c1(x.as_subclass(Own)).as_subclass(torch.Tensor),
        "kind of tensor of its own",
    ),
    "a scripted function": (lambda net, x: scripted(net.c1(x)), "TorchScript"),
    "a buffer that is added to": (
        lambda net, x: x * (net.n0.num_batches_tracked.add_(1) > -1),
        "changes 'n0.num_batches_tracked'",
    ),
    "a weight that is set": (
        lambda net, x: (net.b.data.mul_(0.5), x + net.b[:, None, None])[1],
        "changes 'b'",
    ),
    "fourier": (lambda net, x: torch.fft.irfft2(torch.fft.rfft2(x)), "fft"),
}


@pytest.mark.parametrize(("body", "says"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_rule_is_refused_by_name(body, says):
    with pytest.raises(UserError, match=says) as reported:
        measured(made(body=body), pictures(3, SIZE))
    assert "\n" not in str(reported.value)


FAILING = {
    "the picture before": (lambda net, x: x + torch.cat([x[:1], x[:-1]]) / 2, "alone"),
    "the place in the batch": (
        lambda net, x: x * torch.linspace(1, 2, 9)[: len(x), None, None, None],
        "alone",
    ),
    "the batch's mean": (lambda net, x: net.c1(x - x.mean(0, keepdim=True)), "alone"),
    "the batch's size": (lambda net, x: net.c1(x) / len(x), "alone"),
    "a norm by the batch": (lambda net, x: F.batch_norm(x, None, None, training=True), "alone"),
    "more than five beside it": (lambda net, x: x * net.seen_with(len(x) > 5), "alone"),
}


@pytest.mark.parametrize(("body", "name"), FAILING.values(), ids=FAILING)
def test_checks_see_what_is_no_function_of_the_picture(body, name):
    *_, found = measured(made(body=body), pictures(3, SIZE))
    assert name in [one.name for one in found if not one.passed]


def test_logits_without_the_largest_are_refused():
    head = lambda net, x: (z := net.fc(x.mean((2, 3)))) - z.amax(1, keepdim=True)  # noqa: E731
    *_, found = measured(made(head=head), pictures(3, SIZE))
    [start] = [one for one in found if one.name == "start"]
    assert not start.passed
    assert "nothing to start from" in start.says
