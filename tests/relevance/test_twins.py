"""One function written in two ways has one relevance."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from atlas.errors import UserError
from atlas.relevance import answers
from atlas.relevance.plan import plan
from atlas.trace.following import RefusedError
from atlas.trace.record import record
from tests.relevance.looking import Network, instrumented
from tests.relevance.test_attacks import (
    SIZE,
    C,
    channels,
    features,
    gate,
    made,
    measured,
    normed,
    pooled,
)
from tests.relevance.zoo import pictures


def relevance_of(network):
    return channels(instrumented(network, (3, SIZE, SIZE)), pictures(2, SIZE, 3))[1]


def are_the_same(one, two):
    found, expected = relevance_of(one), relevance_of(two)
    shared = found.keys() & expected.keys()
    assert {"stem", "last"} <= shared
    for layer in shared:
        largest = float(expected[layer].abs().max())
        torch.testing.assert_close(found[layer], expected[layer], rtol=0, atol=1e-3 * largest)


def wide(net, x):
    return net.c2(x)


def exponential(z):
    top = torch.exp(z - z.amax(1, keepdim=True))
    return top / (top.sum(1, keepdim=True) + 1e-12)


def layer_norm(y):
    return F.layer_norm(y.permute(0, 2, 3, 1), (C,)).permute(0, 3, 1, 2)


def by_moments(y):
    mean = y.mean(1, keepdim=True)
    return (y - mean) / torch.sqrt((y * y).mean(1, keepdim=True) - mean * mean + 1e-5)


def folded(y):
    scale = torch.rsqrt(y.var((2, 3), keepdim=True, correction=0) + 1e-5)
    return y * scale + (0.1 - y.mean((2, 3), keepdim=True) * scale)


def groups(y):
    of = y.view(len(y), 2, C // 2, *y.shape[2:])
    var, mean = torch.var_mean(of, (2, 3, 4), keepdim=True, correction=0)
    return ((of - mean) * (var + 1e-5) ** -0.5).view_as(y)


def root_mean_square(y):
    return y * torch.rsqrt(y.square().mean(1, keepdim=True) + 1e-6)


f, g = features, wide
sigma = lambda net, x: g(net, x).sigmoid()  # noqa: E731
GATES = {
    "twice": (lambda n, x: f(n, x) * (2 * sigma(n, x)), lambda n, x: (2 * f(n, x)) * sigma(n, x)),
    "one more": (
        lambda n, x: f(n, x) * (1 + sigma(n, x)),
        lambda n, x: f(n, x) + f(n, x) * sigma(n, x),
    ),
    "learned": (
        lambda n, x: f(n, x) * (sigma(n, x) * n.b.view(C, 1, 1)),
        lambda n, x: f(n, x) * sigma(n, x) * n.b.view(C, 1, 1),
    ),
    "square": (
        lambda n, x: f(n, x) * sigma(n, x) ** 2,
        lambda n, x: f(n, x) * sigma(n, x) * sigma(n, x),
    ),
    "minus": (lambda n, x: -(f(n, x) * -sigma(n, x)), lambda n, x: f(n, x) * sigma(n, x)),
    "two gates": (
        lambda n, x: f(n, x) * (sigma(n, x) + gate(n, x).sigmoid()),
        lambda n, x: f(n, x) * sigma(n, x) + f(n, x) * gate(n, x).sigmoid(),
    ),
    "tanh": (
        lambda n, x: f(n, x) * torch.tanh(g(n, x)),
        lambda n, x: f(n, x) * (2 * torch.sigmoid(2 * g(n, x)) - 1),
    ),
    "softmax": (
        lambda n, x: f(n, x) * exponential(g(n, x)),
        lambda n, x: f(n, x) * g(n, x).softmax(1),
    ),
    "log sigmoid": (
        lambda n, x: f(n, x) * torch.exp(F.logsigmoid(g(n, x))),
        lambda n, x: f(n, x) * sigma(n, x),
    ),
    "one over": (
        lambda n, x: f(n, x) * (1 / (1 + torch.exp(-g(n, x)))),
        lambda n, x: f(n, x) / (1 + torch.exp(-g(n, x))),
    ),
    "hard sigmoid": (
        lambda n, x: f(n, x) * F.relu6(g(n, x) + 3) / 6,
        lambda n, x: f(n, x) * F.hardsigmoid(g(n, x)),
    ),
    "clipped relu": (
        lambda n, x: f(n, x) * (F.relu6(g(n, x)) / 6),
        lambda n, x: (f(n, x) * F.relu6(g(n, x))) / 6,
    ),
    "glu": (
        lambda n, x: F.glu(torch.cat([f(n, x), g(n, x)], 1), 1),
        lambda n, x: f(n, x) * sigma(n, x),
    ),
    "addcmul": (
        lambda n, x: torch.addcmul(x, sigma(n, x), f(n, x), value=2),
        lambda n, x: x + 2 * (f(n, x) * sigma(n, x)),
    ),
    "lerp": (
        lambda n, x: torch.lerp(x, f(n, x), sigma(n, x)),
        lambda n, x: x + sigma(n, x) * (f(n, x) - x),
    ),
    "index_add": (
        lambda n, x: x.index_add(1, torch.arange(C), f(n, x), alpha=0.5),
        lambda n, x: x + 0.5 * f(n, x),
    ),
    "lerp from nothing": (
        lambda n, x: torch.lerp(torch.zeros(()), f(n, x), sigma(n, x)),
        lambda n, x: f(n, x) * sigma(n, x),
    ),
    "lerp to nothing": (
        lambda n, x: torch.lerp(f(n, x), torch.zeros_like(x), sigma(n, x)),
        lambda n, x: f(n, x) * (-g(n, x)).sigmoid(),
    ),
    "sign": (
        lambda n, x: g(n, x) * (torch.sgn(g(n, x)) + 1) / 2,
        lambda n, x: g(n, x).relu(),
    ),
    "largest at their places": (
        lambda n, x: F.max_unpool2d(*F.max_pool2d(f(n, x), 2, return_indices=True), 2),
        lambda n, x: f(n, x) * (f(n, x) == F.interpolate(F.max_pool2d(f(n, x), 2), scale_factor=2)),
    ),
    "condition": (
        lambda n, x: g(n, x) * (g(n, x) > 0).float(),
        lambda n, x: g(n, x).relu(),
    ),
    "condition of its type": (
        lambda n, x: (g(n, x) > 0).to(x) * g(n, x),
        lambda n, x: g(n, x).relu(),
    ),
}


def batch_of_groups(y):
    return F.batch_norm(y.reshape(1, 2 * len(y), -1), None, None, None, None, True).view_as(y)


NORMS = {
    "groups as a batch": (batch_of_groups, lambda y: F.group_norm(y, 2)),
    "moments": (by_moments, layer_norm),
    "folded": (folded, lambda y: F.instance_norm(y, bias=torch.full((C,), 0.1))),
    "groups": (groups, lambda y: F.group_norm(y, 2)),
    "root mean square": (
        root_mean_square,
        lambda y: F.rms_norm(y.permute(0, 2, 3, 1), (C,), None, 1e-6).permute(0, 3, 1, 2),
    ),
}  # fmt: skip
# By number: functions that no list of names has.
SPELLED = {
    "product before quotient": (
        lambda n, x: f(n, x) * g(n, x).exp() / (1 + g(n, x).exp()),
        lambda n, x: f(n, x) * sigma(n, x),
    ),
    "exponential of an exponential": (
        lambda n, x: f(n, x) * torch.exp(-torch.log1p(torch.exp(-g(n, x)))),
        lambda n, x: f(n, x) * sigma(n, x),
    ),
    "two clipped": (
        lambda n, x: f(n, x) * (F.relu(g(n, x) + 3) - F.relu(g(n, x) - 3)) / 6,
        lambda n, x: f(n, x) * F.hardsigmoid(g(n, x)),
    ),
    "divided later": (
        lambda n, x: f(n, x) * g(n, x) / (1 + g(n, x).abs()),
        lambda n, x: f(n, x) * F.softsign(g(n, x)),
    ),
    "softmax of a convolution": (
        lambda n, x: f(n, x) * (g(n, x).exp() / F.conv2d(g(n, x).exp(), torch.ones(C, C, 1, 1))),
        lambda n, x: f(n, x) * g(n, x).softmax(1),
    ),
    "normalised": (
        lambda n, x: f(n, x) * F.normalize(g(n, x).exp(), p=1, dim=1),
        lambda n, x: f(n, x) * g(n, x).softmax(1),
    ),
    "selected kernels": (
        lambda n, x: (g(n, x).exp() * f(n, x) + x) / (g(n, x).exp() + 1),
        lambda n, x: sigma(n, x) * f(n, x) + (1 - sigma(n, x)) * x,
    ),
    "tanh and sigmoid": (
        lambda n, x: (f(n, x) - 1).tanh() * (g(n, x).exp() / (1 + g(n, x).exp())),
        lambda n, x: (f(n, x) - 1).tanh() * sigma(n, x),
    ),
    "lerp": (
        lambda n, x: torch.lerp(x, f(n, x), g(n, x).exp() / (1 + g(n, x).exp())),
        lambda n, x: torch.lerp(x, f(n, x), sigma(n, x)),
    ),
    "softplus is none": (
        lambda n, x: f(n, x) * torch.log1p(g(n, x).exp()),
        lambda n, x: f(n, x) * F.softplus(g(n, x)),
    ),
    "a clipped relu is none": (
        lambda n, x: f(n, x) * (F.relu(g(n, x)) - F.relu(g(n, x) - 6)),
        lambda n, x: f(n, x) * F.relu6(g(n, x)),
    ),
    "nor is elu": (
        lambda n, x: f(n, x) * torch.where(g(n, x) > 0, g(n, x), g(n, x).exp() - 1),
        lambda n, x: f(n, x) * F.elu(g(n, x)),
    ),
}
AVERAGE = torch.full((1, C, 1, 1), 1 / C)
CENTRED = torch.eye(C) - 1 / C


def by_convolution(y):
    centred = y - F.conv2d(y, AVERAGE)
    return centred / torch.sqrt(F.conv2d(centred**2, AVERAGE) + 1e-5)


def by_matrix(y):
    flat = y.flatten(2)
    all_places = torch.full((flat.shape[2], flat.shape[2]), 1 / flat.shape[2])
    centred = flat - flat @ all_places
    return (centred / (centred**2 @ all_places + 1e-5).sqrt()).view_as(y)


def by_centring(y):
    centred = torch.einsum("oi,bihw->bohw", CENTRED, y)
    return centred * torch.rsqrt(centred.square().mean(1, keepdim=True) + 1e-5)


def scaled(y):
    mean, var = y.mean(1, keepdim=True), y.var(1, keepdim=True, correction=0)
    return (3 * y - 3 * mean) / (9 * var + 9e-5).sqrt()


NORMS |= {
    "convolution": (by_convolution, layer_norm),
    "matrix of ones": (by_matrix, F.instance_norm),
    "centring matrix": (by_centring, layer_norm),
    "scaled": (scaled, layer_norm),
    "twice": (lambda y: layer_norm(y - y.mean(1, keepdim=True)), layer_norm),
}


def scale_and_shift(net):
    scale = net.n1.weight / (net.n1.running_var + net.n1.eps).sqrt()
    return scale.view(C, 1, 1), (net.n1.bias - net.n1.running_mean * scale).view(C, 1, 1)


def by_scale(function):
    """Return a norm by its scale and shift, some of whose scales are below 0."""
    return lambda net, y: function(y, *scale_and_shift(net))


def last(function):
    return lambda y, w, b: function(
        y.permute(0, 2, 3, 1), w.flatten(), b.flatten()
    ).permute(0, 3, 1, 2)  # fmt: skip


MERGED = {
    "mean and scale": lambda net, y: (
        (y - net.n1.running_mean.view(C, 1, 1))
        / (net.n1.running_var.view(C, 1, 1) + net.n1.eps).sqrt()
        * net.n1.weight.view(C, 1, 1) + net.n1.bias.view(C, 1, 1)
    ),
    "addcmul": by_scale(lambda y, w, b: torch.addcmul(b, y, w)),
    "shift first": by_scale(lambda y, w, b: (y + b / w) * w),
    "channels last": by_scale(last(lambda y, w, b: y * w + b)),
    "diagonal": by_scale(last(lambda y, w, b: F.linear(y, w.diag(), b))),
    "one by one": by_scale(lambda y, w, b: torch.stack(
        [y[:, i] * w[i].item() + b[i].item() for i in range(C)], 1)),
    "where": by_scale(lambda y, w, b: torch.where(w < 0, -y, y) * w.abs() + b),
    "each channel by itself": by_scale(
        lambda y, w, b: F.conv2d(y, w[..., None], groups=C) + b),
    "two summands": by_scale(lambda y, w, b: y + y * (w - 1) + b),
    "flattened": lambda net, y: net.n1(y.flatten(2)[..., None]).view_as(y),
    "as floats": by_scale(lambda y, w, b: (y.double() * w + b).float()),
    "in place": by_scale(lambda y, w, b: y.mul_(w).add_(b)),
}  # fmt: skip
SHIFTED = {
    "flat": (
        lambda net, x: (net.c1(x).flatten(2) * net.w1 + net.b[:, None]).relu().view_as(x),
        lambda net, x: (net.c1(x) * net.w1[..., None] + net.b.view(C, 1, 1)).relu(),
    ),
    "cut": (
        lambda net, x: net.n1(net.c1(x)[..., 2:-2, 2:-2]).relu(),
        lambda net, x: net.n1(net.c1(x))[..., 2:-2, 2:-2].relu(),
    ),
    "flipped": (
        lambda net, x: (net.c1(x).flip(1) + net.b.view(C, 1, 1)).relu(),
        lambda net, x: (net.c1(x) + net.b.flip(0).view(C, 1, 1)).flip(1).relu(),
    ),
    "bias of a convolution": (
        lambda net, x: (F.conv2d(x, net.w, padding=1) + net.b.view(C, 1, 1)).relu(),
        lambda net, x: F.conv2d(x, net.w, net.b, padding=1).relu(),
    ),
    "bias of a matrix": (
        lambda net, x: (
            (net.w1.mT * net.w1 @ x.flatten(2)).view_as(x) + net.b.view(C, 1, 1)
        ).relu(),
        lambda net, x: F.linear(x.movedim(1, -1), net.w1.mT * net.w1, net.b).movedim(-1, 1).relu(),
    ),
    "other sign": (
        lambda net, x: F.conv2d(x, -net.w, padding=1).neg().relu(),
        lambda net, x: F.conv2d(x, net.w, padding=1).relu(),
    ),
    "sum by weights of one": (
        lambda net, x: F.conv3d(
            torch.stack([net.c1(x), g(net, x)], 1), torch.ones(1, 2, 1, 1, 1)).squeeze(1),
        lambda net, x: net.c1(x) + g(net, x),
    ),
}  # fmt: skip
HANDED_ON = {
    "dropout": lambda y: F.dropout(y, training=False),
    "contiguous": lambda y: y.contiguous(memory_format=torch.channels_last).clone(),
}


@pytest.mark.parametrize("bodies", GATES.values(), ids=GATES)
def test_gates_and_sums(bodies):
    one, two = bodies
    are_the_same(made(body=one), made(body=two))


@pytest.mark.parametrize("bodies", SPELLED.values(), ids=SPELLED)
def test_gates_by_their_values(bodies):
    one, two = bodies
    are_the_same(made(body=one), made(body=two))


@pytest.mark.parametrize("norm", MERGED.values(), ids=MERGED)
def test_batch_norms_by_hand(norm):
    def made_with(function):
        network = made(body=lambda net, x: function(net, net.c1(x)).relu())
        network.n1.weight[::2] *= -1
        return network

    are_the_same(made_with(norm), made_with(lambda net, y: net.n1(y)))


@pytest.mark.parametrize("bodies", SHIFTED.values(), ids=SHIFTED)
def test_scales_and_shifts_of_a_layer(bodies):
    def made_with(body):
        network = made(body=body)
        network.w1 = torch.linspace(-1, 2, C)[:, None]
        return network

    one, two = bodies
    are_the_same(made_with(one), made_with(two))


@pytest.mark.parametrize("functions", NORMS.values(), ids=NORMS)
def test_norms_by_hand(functions):
    one, two = (
        made(body=lambda net, x, norm=function: norm(net.c1(x)).relu()) for function in functions
    )
    are_the_same(one, two)


@pytest.mark.parametrize("handed_on", HANDED_ON.values(), ids=HANDED_ON)
def test_a_norm_is_merged_through_what_changes_nothing(handed_on):
    one = made(body=lambda net, x: net.n1(handed_on(net.c1(x))).relu())
    are_the_same(one, made(body=normed(F.relu)))


def test_a_mean_taken_away_without_division_is_a_sum():
    def body(net, x):
        y = net.c1(x)
        return (y - y.mean((2, 3), keepdim=True)).relu()

    network = made(body=body)
    model = instrumented(network, (3, SIZE, SIZE))
    kinds = {type(step).__name__ for step in model.plan.steps.values()}
    assert "Summed" in kinds


# What a network returns -------------------------------------------------------------------


def normalised(y):
    return y / y.sum(1, keepdim=True)


def evidence(z):
    return normalised(F.softplus(z) + 1)


OTHERS = {
    "hard sigmoid": (F.hardsigmoid, "computes hardsigmoid: these are probabilities"),
    "normalised relu": (lambda z: normalised(z.relu() + 0.1), "function of what it returns itself"),
    "evidence": (evidence, "function of what it returns itself"),
    "squared": (lambda z: 100 * z.sigmoid().square(), "computes square"),
    "negative": (lambda z: 1 - z.sigmoid(), "computes sigmoid: these are probabilities"),
    "odds": (lambda z: z.sigmoid() / (1 - z.sigmoid()), "function of what it returns itself"),
    "scaled": (lambda z: 10 * (z - z.amin(1, True)) / (z.amax(1, True) - z.amin(1, True)), "divid"),
    "capped": (lambda z: 30 * torch.tanh(z / 30), "computes tanh"),
    "error function": (lambda z: 50 + 50 * torch.erf(z), "computes erf"),
    "unit length": (lambda z: 20 * F.normalize(z), "computes normalize"),
    "z scores": (lambda z: F.layer_norm(z, (10,)), "computes layer_norm"),
    "swish": (lambda z: z / (1 + torch.exp(-z)), "function of what it returns itself"),
    "clipped": (lambda z: z.clamp(min=-1).clamp(max=1), "cuts numbers off on both sides"),
    "less the largest": (lambda z: 5 + z - z.amax(1, keepdim=True), "is at most 5 for every pict"),
    "sorted": (lambda z: z.gather(1, z.argsort(1)), "at places that depend on the picture"),
    "their logarithm": (lambda z: z.relu().log1p(), "computes log1p"),
}  # fmt: skip


@pytest.mark.parametrize("way", OTHERS)
def test_what_is_no_logit_is_not_taken_for_one(way):
    function, says = OTHERS[way]
    model = instrumented(made(head=lambda net, x: function(net.fc(pooled(x)))), (3, SIZE, SIZE))
    found = answers.kind_of_output(model, pictures(2, SIZE))
    assert not found.passed
    assert says in found.says


def test_a_layer_that_is_called_again_is_the_same_layer():
    head = lambda net, x: net.fc(pooled(x)) * net.fc(pooled(x)).softmax(1)  # noqa: E731
    found = answers.kind_of_output(
        instrumented(made(head=head), (3, SIZE, SIZE)), pictures(2, SIZE)
    )
    assert "multiplies with a function of what it returns itself" in found.says


def test_probabilities_of_maps_or_of_several_heads_are_no_logits():
    def several(net, x):
        return (net.fc(pooled(x)).softmax(1) + net.other(pooled(x)).softmax(1)) / 2

    with pytest.raises(RefusedError, match="behind its last weights it computes softmax"):
        instrumented(made(head=several), (3, SIZE, SIZE))
    for head in (
        lambda net, x: net.s1(x[:, :C]).sigmoid().mean((2, 3)),
        lambda net, x: net.fc(pooled(x)).sigmoid() * net.single(pooled(x)).sigmoid(),
    ):
        found = answers.kind_of_output(
            instrumented(made(head=head), (3, SIZE, SIZE)), pictures(2, SIZE)
        )
        assert not found.passed
        assert "computes sigmoid" in found.says


def cosine(net, x):
    v = pooled(x)
    return 16 * F.linear(v, F.normalize(net.fc.weight)) / v.norm(dim=1, keepdim=True)


def mixed(net, x):
    weights = net.f1(pooled(x)[:, :C]).softmax(1)
    return weights[:, :1] * net.fc(pooled(x)) + weights[:, 1:] * net.other(pooled(x))


def attended(net, x):
    weights = net.s1(x[:, :C])[:, :1].flatten(2).softmax(2)
    return (F.conv2d(x, net.fc.weight[:, :, None, None]).flatten(2) * weights).sum(2)


LOGITS = {
    "cosines": cosine,
    "temperature": lambda net, x: net.fc(pooled(x)) / net.b[0].exp(),
    "of maps": lambda net, x: F.conv2d(x, net.fc.weight[:, :, None, None]).relu().mean((2, 3)),
    "of curved maps": lambda net, x: F.silu(net.s2(net.s1(x[:, :C]))).mean((2, 3)),
    "of crops": lambda net, x: torch.stack(
        [net.fc(pooled(x[..., :12])), net.fc(pooled(x[..., 12:]))]
    ).mean(0),
    "two heads": lambda net, x: (net.fc(pooled(x)) + net.other(pooled(x))) / 2,
    "largest of centres": lambda net, x: net.fc(pooled(x)).view(len(x), 5, 2).amax(2),
    "less their mean": lambda net, x: net.fc(pooled(x)) - net.fc(pooled(x)).mean(1, True),
    "kept finite": lambda net, x: net.fc(pooled(x)).clamp(-50, 50),
    "experts": mixed,
    "attention": attended,
    "one": lambda net, x: net.single(pooled(x)),
}  # fmt: skip


@pytest.mark.parametrize("head", LOGITS.values(), ids=LOGITS)
def test_logits_of_all_kinds_are_logits(head):
    model = instrumented(made(head=head), (3, SIZE, SIZE))
    assert model.plan.head.kind == "logits"
    assert answers.kind_of_output(model, pictures(2, SIZE)).passed


def minus_logsumexp(net, x):
    z = net.fc(pooled(x))
    return z - torch.logsumexp(z, 1, keepdim=True)


SOFTMAX = {
    "by hand": lambda net, x: exponential(net.fc(pooled(x))),
    "from its logarithm": lambda net, x: F.log_softmax(net.fc(pooled(x)), 1).exp(),
    "minus logsumexp": minus_logsumexp,
    "logarithm": lambda net, x: torch.log(net.fc(pooled(x)).softmax(1) + 1e-9).contiguous(),
}  # fmt: skip


@pytest.mark.parametrize("head", SOFTMAX.values(), ids=SOFTMAX)
def test_relevance_starts_before_a_softmax_however_it_is_written(head):
    network = made(head=head)
    assert instrumented(network, (3, SIZE, SIZE)).plan.head.kind == "softmax"
    are_the_same(network, made())


@pytest.mark.parametrize("strength", [0.01, 0])
def test_small_logits_are_logits(strength):
    head = lambda net, x: strength * net.fc(pooled(x)).abs() + 0.1 * (strength > 0)  # noqa: E731
    model = instrumented(made(head=head), (3, SIZE, SIZE))
    images = pictures(2, SIZE)
    with torch.no_grad():
        outputs = model.module(images)
    assert 0 <= outputs.min() <= outputs.max() <= 1
    assert answers.kind_of_output(model, images).passed


# What is said -----------------------------------------------------------------------------


def test_the_check_of_gates_says_what_was_multiplied():
    def says(body):
        _, _, found = measured(made(body=body), pictures(2, SIZE))
        return next(one.says for one in found if one.name == "gates")

    assert says(lambda net, x: f(net, x) * (2 * sigma(net, x))).endswith(
        "(products with a gate: 1)"
    )
    assert "both factors take half" in says(lambda net, x: f(net, x) * g(net, x).relu())


def added_in_part(net, x):
    y = f(net, x)
    one, other = y.chunk(2, 1)
    one += other
    return y


REFUSED = {
    "between channels": (
        lambda net, x: (x.flatten(2) @ x.flatten(2).mT @ x.flatten(2)).view_as(x) / 999,
        "multiplied as matrices",
    ),
    "one over": (lambda net, x: 1 / (1 + net.c1(x).relu()), "only the divisor"),
    "lerp": (lambda net, x: torch.lerp(x, f(net, x), g(net, x)), "no factor is a gate"),
    "whole numbers": (lambda net, x: x.to(torch.uint8).float(), "no numbers but whole ones"),
    "overwritten view": (added_in_part, r"x = x \+ y, not x \+= y"),
}


@pytest.mark.parametrize(("body", "says"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_says_what_is_true(body, says):
    with pytest.raises(UserError, match=says):
        plan(record(made(body=body), torch.randn(1, 3, SIZE, SIZE)), "epsilon_plus_flat")


def test_sparse_weights_are_refused_by_name():
    mixing = torch.eye(C).to_sparse()
    network = Network(
        lambda net, x: torch.sparse.mm(mixing, net.c(x).mean((2, 3)).t()).t(), c=nn.Conv2d(3, C, 3)
    ).requires_grad_(False)
    with pytest.raises(UserError, match="'sparse_mm'"):
        plan(record(network, torch.randn(1, 3, SIZE, SIZE)), "epsilon_plus_flat")


def test_weights_that_are_repeated_for_each_picture_are_refused_by_name():
    def body(net, x):
        n = len(x)
        y = F.conv2d(x.reshape(1, n * C, *x.shape[2:]), net.w.repeat(n, 1, 1, 1), groups=n)
        return y.view(n, C, *y.shape[2:]).relu()

    model = instrumented(made(body=body), (3, SIZE, SIZE))
    with pytest.raises(RefusedError, match="other weights for several pictures than for one"):
        channels(model, pictures(2, SIZE))
