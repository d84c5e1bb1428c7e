"""The independent computation is itself right: beside zennit, and beside matrix algebra."""

import copy

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import EpsilonPlusFlat
from zennit.torchvision import ResNetCanonizer

from tests.relevance.formulas import Refused, relevances
from tests.relevance.looking import Network
from tests.relevance.zoo import build, layers_of, names, pictures, stir

TIGHT = {"rtol": 1e-9, "atol": 1e-12}


# --- beside zennit ----------------------------------------------------------------------------


def by_zennit(network, images, layers, canonizers):
    arrived = {}
    picture = images.clone().requires_grad_()
    with EpsilonPlusFlat(canonizers=canonizers).context(network) as ruled:

        def capture(name):
            def hook(_module, _inputs, output):
                output.register_hook(
                    lambda relevance: arrived.__setitem__(
                        name, relevance.flatten(2).sum(2) if relevance.ndim > 2 else relevance
                    )
                )

            return hook

        handles = [ruled.get_submodule(n).register_forward_hook(capture(n)) for n in layers]
        logits = ruled(picture)
        initial = F.one_hot(logits.argmax(1), logits.shape[1]) * logits.detach()
        torch.autograd.backward(logits, initial)
        for handle in handles:
            handle.remove()
    return arrived, picture.grad.sum((1, 2, 3))


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("vgg11_bn", ["features.0", "features.8", "features.25", "classifier.0"]),
        ("resnet18", ["conv1", "layer1.0.conv2", "layer3.0.downsample.0", "layer4.1.conv2"]),
        ("resnet50", ["conv1", "layer1.0.conv3", "layer2.0.downsample.0", "layer4.2.conv1"]),
        ("alexnet", ["features.0", "features.6", "features.10", "classifier.4"]),
        ("squeezenet1_1", ["features.0", "features.4.squeeze", "classifier.1"]),
    ],
)
def test_torchvisions_networks_are_as_zennit_has_them(name, layers):
    torch.manual_seed(2)
    network = torchvision.models.get_model(name, weights=None)
    stir(network, pictures(4, 64), pictures(4, 64, 1))
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 1e-14  # zennit's merged norm still divides by sqrt(1 + eps)
    network.double()
    images = pictures(2, 64, 3).double()
    canonizers = [ResNetCanonizer() if "resnet" in name else SequentialMergeBatchNorm()]
    ours = relevances(network, images, layers)
    theirs, total = by_zennit(network, images, layers, canonizers)
    for layer in layers:
        scale = theirs[layer].abs().max()
        assert scale > 0
        assert (ours.channels[layer] - theirs[layer]).abs().max() < 1e-9 * scale
    torch.testing.assert_close(ours.picture, total, rtol=1e-9, atol=1e-9)


# --- beside matrix algebra --------------------------------------------------------------------
# A network of two operations: the first has the flat rule, or is left out by `epsilon_plus`.


def away(z):
    return z + np.where(z < 0, -1e-6, 1e-6)


def numbers(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def as_matrix(operation, shape):
    """A linear function of maps as a matrix (outputs, inputs), column by column."""
    with torch.no_grad():
        unit = torch.eye(int(np.prod(shape)), dtype=torch.float64).view(-1, *shape)
        return operation(unit).flatten(1).T.numpy()


def total_at_picture(network, x, composite="epsilon_plus"):
    """Relevance of every pixel and the logit, by a layer that is the picture itself."""

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.picture = nn.Flatten()
            self.network = network

        def forward(self, image):
            return self.network(self.picture(image).view(image.shape))

    found = relevances(Named(), x, ["picture"], composite=composite)
    return found.channels["picture"].numpy(), found


CONVOLUTIONS = [
    nn.Conv2d(2, 3, 3, padding=1),
    nn.Conv2d(2, 4, 3, stride=2, groups=2, padding=(0, 2), dilation=(1, 2)),
    nn.Conv2d(2, 3, 2, padding="same"),
    nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect", bias=False),
    nn.ConvTranspose2d(2, 3, 3, stride=2, output_padding=1),
    nn.ConvTranspose2d(2, 4, 2, stride=2, groups=2),
]


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("part", CONVOLUTIONS, ids=str)
def test_z_plus_of_inputs_of_both_signs(part, norm):
    torch.manual_seed(1)
    part = part.double()
    x = numbers(1, 2, 5, 5)
    out = part(x).shape
    merged = nn.BatchNorm2d(out[1]).double().eval()
    for values in (merged.weight, merged.bias, merged.running_mean):
        nn.init.normal_(values)
    nn.init.uniform_(merged.running_var, 0.5, 2)

    def forward(net, x):
        y = net.part(x)
        return (net.norm(y) if norm else y).flatten(1).sum(1, keepdim=True)

    network = Network(forward, part=part, norm=merged)
    relevance, found = total_at_picture(network, x)

    rising, falling = (weights_only(part, torch.clamp, **end) for end in ({"min": 0}, {"max": 0}))
    b = np.zeros(out[1:]) if part.bias is None else np.ones(out[1:])
    b = b.reshape(out[1], -1) * (0 if part.bias is None else part.bias.detach().numpy()[:, None])
    b = b.flatten()
    if norm:
        places = out[2] * out[3]
        scale = (merged.weight / (merged.running_var + merged.eps).sqrt()).detach()
        shift = (merged.bias - merged.running_mean * scale).detach()
        s, shift = np.repeat(scale.numpy(), places), np.repeat(shift.numpy(), places)
        b = b * s + shift
        scaled = [rising * s[:, None], falling * s[:, None]]
        # A negative scale turns the signs of the weights.
        rising, falling = (np.where(s[:, None] > 0, *pair) for pair in (scaled, scaled[::-1]))
    flat = x.flatten().numpy()
    y = (rising + falling) @ flat + b
    assert np.isclose(y.sum(), found.logits.item())
    # The sum of all places shares the logit in proportion.
    incoming = y * y.sum() / away(y.sum())
    parts = rising * flat.clip(min=0) + falling * flat.clip(max=0)
    z = parts.sum(axis=1) + b.clip(min=0)
    np.testing.assert_allclose(relevance[0], parts.T @ (incoming / away(z)), **TIGHT)


def weights_only(part, change, **how):
    """The matrix of a convolution of (2, 5, 5) with changed weights and no bias."""
    other = copy.deepcopy(part)
    with torch.no_grad():
        other.weight.copy_(change(part.weight, **how))
    other.bias = None
    return as_matrix(other, (2, 5, 5))


def test_flat_counts_the_places_that_a_convolution_sees():
    part = nn.Conv2d(2, 3, 3, padding=1, stride=2).double()
    x = numbers(1, 2, 5, 5)
    network = Network(lambda net, x: net.part(x).flatten(1).sum(1, keepdim=True), part=part)
    relevance, _ = total_at_picture(network, x, "epsilon_plus_flat")
    ones = nn.Conv2d(2, 3, 3, padding=1, stride=2, bias=False).double()
    nn.init.ones_(ones.weight)
    matrix = as_matrix(ones, (2, 5, 5))
    y = part(x).flatten().detach().numpy()
    incoming = y * y.sum() / away(y.sum())
    expected = matrix.T @ (incoming / away(matrix.sum(axis=1)))
    np.testing.assert_allclose(relevance[0], expected, **TIGHT)


@pytest.mark.parametrize(
    "function",
    [
        F.linear,
        lambda x, w, b: x @ w.T + b,
        lambda x, w, b: torch.einsum("bi,oi->bo", x, w) + b,
    ],
)
def test_epsilon_of_products_with_a_constant_matrix(function):
    x, w, b = numbers(1, 6), numbers(4, 6, seed=1), numbers(4, seed=2)
    network = Network(lambda net, x: function(x, w, b))
    relevance, found = total_at_picture(network, x)
    y = (w @ x[0] + b).numpy()
    top = y.argmax()
    # A constant that is added afterwards is a bias, wherever it is added.
    expected = (x[0] * w[top]).numpy() * (y[top] / away(y[top]))
    np.testing.assert_allclose(relevance[0], expected, **TIGHT)
    assert np.isclose(found.logits.max(), y[top])


def test_a_norm_that_reads_beside_another_is_passed_over():
    torch.manual_seed(4)
    part, norm = nn.Linear(5, 4).double(), nn.BatchNorm1d(4).double().eval()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = numbers(1, 5)

    def alone(net, x):
        return net.norm(net.part(x))

    def beside(net, x):
        y = net.part(x)
        return torch.cat([net.norm(y), y.neg() - 100], dim=1)

    w, b = part.weight.detach().numpy(), part.bias.detach().numpy()
    y = w @ x[0].numpy() + b
    out = norm(torch.from_numpy(y)[None])[0].detach().numpy()
    top = out.argmax()
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().numpy()
    merged, _ = total_at_picture(Network(alone, part=part, norm=norm), x)
    passed, _ = total_at_picture(Network(beside, part=part, norm=norm), x)
    contribution = w[top] * x[0].numpy()
    np.testing.assert_allclose(
        merged[0], contribution * scale[top] * out[top] / away(out[top]), **TIGHT
    )
    np.testing.assert_allclose(passed[0], contribution * out[top] / away(y[top]), **TIGHT)


def test_a_frozen_norm_is_one_that_multiplies_and_adds():
    torch.manual_seed(5)
    part = nn.Conv2d(2, 3, 3).double()
    norm = nn.BatchNorm2d(3).double().eval()
    for values in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(values)
    frozen = torchvision.ops.FrozenBatchNorm2d(3).double()
    frozen.load_state_dict({k: v for k, v in norm.state_dict().items() if "num" not in k})
    x = numbers(1, 2, 5, 5)

    def forward(net, x):
        return net.norm(net.part(x)).flatten(1).sum(1, keepdim=True)

    one, _ = total_at_picture(Network(forward, part=part, norm=norm), x)
    other, _ = total_at_picture(Network(forward, part=part, norm=frozen), x)
    np.testing.assert_allclose(one, other, **TIGHT)


# --- sums, products, gates --------------------------------------------------------------------


def shares(function, *parts):
    """Relevance of the pieces of a picture, in parts of the logit, at `function` of them.

    The logit is the sum over all places, which comes back in proportion.
    """
    x = torch.cat([part.flatten(1) for part in parts], dim=1)
    sizes = [part[0].numel() for part in parts]

    def forward(_net, x):
        pieces = [
            piece.view(1, *part.shape[1:])
            for piece, part in zip(x.split(sizes, dim=1), parts, strict=True)
        ]
        return function(*pieces).flatten(1).sum(1, keepdim=True)

    relevance, found = total_at_picture(Network(forward), x)
    logit = found.logits.item()
    return [piece / logit for piece in np.split(relevance[0], np.cumsum(sizes)[:-1])], logit


def whole(function, *parts):
    """The share of each piece as a whole."""
    return [float(piece.sum()) for piece in shares(function, *parts)[0]]


A, B = numbers(1, 3, 4, 4, seed=7), numbers(1, 3, 4, 4, seed=8)


@pytest.mark.parametrize(
    ("function", "sign"),
    [
        (lambda a, b: a + b, 1),
        (lambda a, b: a - b, -1),
        (lambda a, b: torch.add(a, b, alpha=3), 3),
        (lambda a, b: torch.stack([a, b]).sum(dim=0), 1),
        (lambda a, b: sum([a, b]), 1),
        (lambda a, b: a.clone().add_(b), 1),
    ],
)
def test_sums_share_in_proportion(function, sign):
    (of_a, of_b), logit = shares(function, A, B)
    a, b = A.flatten().numpy(), B.flatten().numpy() * sign
    incoming = (a + b) * logit / away(logit) / logit
    np.testing.assert_allclose(of_a, a * incoming / away(a + b), **TIGHT)
    np.testing.assert_allclose(of_b, b * incoming / away(a + b), **TIGHT)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda a, b: a * b.sigmoid(), [1, 0]),
        (lambda a, b: F.hardsigmoid(b) * a, [1, 0]),
        (lambda a, b: F.relu6(b + 3) / 6 * a, [1, 0]),
        (lambda a, b: a * F.relu6(b + 3) / 6, [1, 0]),
        (lambda a, b: a * (b * 0.2 + 0.5).clamp(0, 1), [1, 0]),
        (lambda a, b: a * b.softmax(dim=1), [1, 0]),
        (lambda a, b: a * (1 - b.sigmoid()), [1, 0]),
        (lambda a, b: a * b.mean((2, 3), keepdim=True).sigmoid().expand_as(a), [1, 0]),
        (lambda a, b: F.glu(torch.cat([a, b], 1), 1), [1, 0]),
        (lambda a, b: a * (b.square().mean(1, keepdim=True) + 1e-6).rsqrt(), [1, 0]),
        (lambda a, b: a * torch.linalg.vector_norm(b, dim=(2, 3), keepdim=True), [1, 0]),
        (lambda a, b: a / (1 + b.neg().exp()), [1, 0]),
        (lambda a, b: a * b, [0.5, 0.5]),
        (lambda a, b: a.sigmoid() * b.sigmoid(), [0.5, 0.5]),
        (lambda a, b: a.tanh() * b, [0, 1]),
        (lambda a, b: torch.addcmul(torch.zeros(1).double(), a, b), [0.5, 0.5]),
        (lambda a, b: torch.matmul(a.softmax(dim=-1), b), [0, 1]),
    ],
)
def test_gates_get_nothing_and_equals_share(function, expected):
    # A sum over all places in proportion, then the product.
    np.testing.assert_allclose(whole(function, A, B), expected, atol=1e-4)


@pytest.mark.parametrize(
    "function",
    [
        F.relu6, F.silu, F.gelu, F.mish, F.hardswish, F.elu, torch.tanh, F.softplus, torch.sigmoid,
        lambda x: x * x.sigmoid(), lambda x: F.leaky_relu(x.clone(), inplace=True),
        lambda x: x.clone().mul_(2).add_(1), lambda x: 3 - x, lambda x: x / 7 - 1,
        lambda x: F.layer_norm(x, (4,)), lambda x: F.group_norm(x, 3),
        lambda x: F.batch_norm(x, torch.ones(3).double(), torch.ones(3).double()),
        lambda x: x.square(), lambda x: x * x, lambda x: x.detach(),
    ],
)  # fmt: skip
def test_what_relevance_passes_through_unchanged(function):
    (relevance,), logit = shares(function, A)
    y = function(A).flatten().numpy()
    np.testing.assert_allclose(relevance, y / away(logit), **TIGHT)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.avg_pool2d(x, 3, 2, 1),
        lambda x: F.adaptive_avg_pool2d(x, 2),
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        lambda x: F.interpolate(x, size=7, mode="bicubic"),
        lambda x: x.mean(dim=(2, 3)),
        lambda x: x.sum(dim=1),
    ],
)
def test_averages_share_in_proportion(function):
    (relevance,), logit = shares(function, A)
    matrix = as_matrix(function, (3, 4, 4))
    x = A.flatten().numpy()
    y = matrix @ x
    np.testing.assert_allclose(relevance, x * (matrix.T @ (y / away(logit) / away(y))), **TIGHT)


def test_in_place_every_holder_sees_the_new_values():
    def function(a, b):
        y = a.clone()
        held = y
        y.add_(b)
        y[:, :1] = 0
        return held

    (of_a, of_b), logit = shares(function, A, B)
    a, b = A.numpy().copy(), B.numpy().copy()
    assert np.isclose(logit, (a + b)[:, 1:].sum())
    a[:, 0] = b[:, 0] = 0
    np.testing.assert_allclose(of_a, a.flatten() / logit, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(of_b, b.flatten() / logit, rtol=1e-4, atol=1e-6)


# --- where it starts, what is refused ---------------------------------------------------------


@pytest.mark.parametrize(
    "end", [torch.sigmoid, lambda y: y.softmax(1), lambda y: F.log_softmax(y, 1)]
)
def test_relevance_starts_before_a_softmax_or_sigmoid(end):
    part = nn.Linear(6, 4).double()
    x = numbers(2, 6)
    bare = relevances(Network(lambda net, x: net.part(x), part=part), x, ["part"])
    ended = relevances(Network(lambda net, x: end(net.part(x)), part=part), x, ["part"])
    torch.testing.assert_close(bare.logits, ended.logits)
    torch.testing.assert_close(bare.channels["part"], ended.channels["part"])
    torch.testing.assert_close(bare.picture, ended.picture)


def test_a_target_is_explained_where_one_is_given():
    part = nn.Linear(6, 4).double()
    x = numbers(2, 6)
    network = Network(lambda net, x: net.part(x), part=part)
    found = relevances(network, x, ["part"], torch.tensor([3, 0])).channels["part"]
    expected = torch.zeros(2, 4, dtype=torch.float64)
    y = part(x).detach()
    expected[0, 3], expected[1, 0] = y[0, 3], y[1, 0]
    torch.testing.assert_close(found, expected)


class Hidden(torch.autograd.Function):
    @staticmethod
    def forward(_ctx, x):
        return x * 2

    @staticmethod
    def backward(_ctx, gradient):
        return gradient * 2


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: F.scaled_dot_product_attention(x, x, x), "scaled_dot_product_attention"),
        (lambda x: x @ x.mT, "matmul"),
        (lambda x: x.cumsum(dim=1), "cumsum"),
        (lambda x: x.softmax(dim=1), "softmax"),
        (lambda x: 1 / x, "div of a constant"),
        (lambda x: F.conv2d(x, x[:, :, :1, :1]), "conv2d with weights from the picture"),
        (Hidden.apply, "HiddenBackward, which torch does not show"),
        (F.dropout, "dropout that is left on"),
    ],
)
def test_an_operation_without_a_rule_is_refused_by_name(function, name):
    with pytest.raises(Refused, match=name):
        whole(function, A)


def test_what_no_relevance_reaches_is_not_refused():
    assert whole(lambda a, b: a * b.cumsum(1).sigmoid(), A, B) == pytest.approx([1, 0], abs=1e-5)


def test_no_grad_inside_a_network_changes_nothing():
    def forward(net, x):
        with torch.no_grad():
            return net.part(x)

    part, x = nn.Linear(6, 4).double(), numbers(2, 6)
    found = relevances(Network(forward, part=part), x, ["part"])
    assert (found.picture != 0).all()


# --- the networks that it is tried on ---------------------------------------------------------


def test_stirring_leaves_no_branch_bias_or_scale_at_zero():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4))
    network.register_parameter("gamma", nn.Parameter(torch.full((4, 1, 1), 1e-6)))
    network.register_parameter("alpha", nn.Parameter(torch.zeros(())))
    nn.init.zeros_(network[1].weight)
    nn.init.zeros_(network[0].bias)
    images = pictures(8, 16)
    stir(network, images[:4], images[4:])
    for part in network[1:]:
        assert (part.weight >= 0.5).all()
        assert (part.bias != 0).all()
    assert (network.gamma >= 0.5).all()
    assert network.alpha >= 0.5
    assert (network[0].bias != 0).all()
    measured = network[0](images).mean((0, 2, 3))
    torch.testing.assert_close(network[1].running_mean, measured)
    assert network[1].momentum == 0.1
    assert not network.training


def test_every_name_is_one_that_the_libraries_know():
    known = {f"torchvision/{name}" for name in torchvision.models.list_models()}
    known |= {f"timm/{name}" for name in pytest.importorskip("timm").list_models()}
    assert set(names()) <= known
    assert len(names()) == len(set(names()))


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "convnextv2_atto", "tf_mixnet_s"])
def test_logits_of_timms_networks_are_their_own(name):
    pytest.importorskip("timm")
    module, size = build(f"timm/{name}")
    images = pictures(2, size, 3).double()
    layers = layers_of(module, images[:1].float())
    found = relevances(module, images, layers)
    expected = module.double()(images)
    torch.testing.assert_close(found.logits, expected, rtol=1e-9, atol=1e-9)
    assert len(layers) == 6
    assert all(found.channels[layer].any() for layer in layers)
