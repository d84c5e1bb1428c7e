"""The fused engine computes what zennit computes, and its rules what matrix algebra says."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from atlas.model import canonize, networks
from atlas.recipe import Model, Preprocessing
from atlas.relevance.engine import PREDICTED, ZennitEngine
from atlas.relevance.fused import Epsilon, FusedEngine, unsupported
from atlas.relevance.rules import RULES, Layer
from atlas.relevance.signs import never_negative

REAL = Path(__file__).parents[3] / "shared/real/squeezenet1_1-imagenet.safetensors"
DOUBLE = torch.float64


def as_matrix(conv: nn.Conv2d, weight: np.ndarray, height: int, width: int) -> np.ndarray:
    """The convolution as a matrix (outputs, inputs), written out place by place."""
    outs, per_group, rows, columns = weight.shape
    (sy, sx), (py, px), (dy, dx) = conv.stride, conv.padding, conv.dilation
    high = (height + 2 * py - dy * (rows - 1) - 1) // sy + 1
    wide = (width + 2 * px - dx * (columns - 1) - 1) // sx + 1
    matrix = np.zeros((outs, high, wide, conv.in_channels, height, width))
    for o in range(outs):
        group = o // (outs // conv.groups)
        for y in range(high):
            for x in range(wide):
                for c in range(per_group):
                    for i in range(rows):
                        for j in range(columns):
                            a, b = y * sy - py + i * dy, x * sx - px + j * dx
                            if 0 <= a < height and 0 <= b < width:
                                at = group * per_group + c
                                matrix[o, y, x, at, a, b] = weight[o, c, i, j]
    return matrix.reshape(outs * high * wide, -1)


def away(z: np.ndarray) -> np.ndarray:
    return z + np.where(z < 0, -1e-6, 1e-6)


def by_algebra(rule, conv, x, relevance):
    """R_i for one picture: each rule as its formula stands in the papers."""
    weight = conv.weight.detach().numpy()
    _, height, width = x.shape
    matrix = as_matrix(conv, weight, height, width)
    places = len(matrix) // conv.out_channels
    bias = np.repeat(conv.bias.detach().numpy(), places) if conv.bias is not None else 0.0
    x, relevance = x.reshape(-1), relevance.reshape(-1)
    if rule == "plus":
        parts = matrix * x  # z_ij
        positive = parts.clip(min=0)
        z = positive.sum(axis=1) + np.maximum(bias, 0)
        return positive.T @ (relevance / away(z))
    if rule == "flat":
        ones = (as_matrix(conv, np.ones_like(weight), height, width) != 0).astype(float)
        return ones.T @ (relevance / away(ones.sum(axis=1)))
    extra = 0.25 if rule == "gamma" else 0.0
    matrix = matrix + extra * matrix.clip(min=0)
    z = matrix @ x + bias + extra * np.maximum(bias, 0)
    return x * (matrix.T @ (relevance / away(z)))


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from([1, 2]))
    conv = nn.Conv2d(
        2 * groups, 2 * groups,
        kernel_size=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        stride=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        padding=draw(st.tuples(st.integers(0, 1), st.integers(0, 1))),
        dilation=draw(st.sampled_from([(1, 1), (2, 1)])),
        groups=groups,
        bias=draw(st.booleans()),
        dtype=DOUBLE,
    )  # fmt: skip
    torch.manual_seed(draw(st.integers(0, 99)))
    for parameter in conv.parameters():
        nn.init.normal_(parameter)
    return conv.requires_grad_(False), torch.randn(2, 2 * groups, 6, 5, dtype=DOUBLE)


@pytest.mark.parametrize("nonnegative", [True, False])
@pytest.mark.parametrize("rule", ["plus", "gamma", "epsilon", "flat"])
@given(case=convolutions())
@settings(deadline=None, max_examples=25)
def test_each_rule_against_matrix_algebra(rule, nonnegative, case):
    conv, x = case
    x = x.clamp(min=0) if nonnegative else x
    layer = Layer(conv, rule, nonnegative)
    output = layer.forward(x)
    assert torch.allclose(output, conv(x))
    relevance = torch.randn_like(output)
    found = layer.back(x, relevance).flatten(1).numpy()
    for row, (picture, one) in enumerate(zip(x.numpy(), relevance.numpy(), strict=True)):
        expected = by_algebra(rule, conv, picture, one)
        np.testing.assert_allclose(found[row], expected, rtol=1e-6, atol=1e-8)


def test_the_epsilon_rule_of_linear_layers_against_matrix_algebra():
    torch.manual_seed(0)
    linear = nn.Linear(5, 3, dtype=DOUBLE).requires_grad_(False)
    x, relevance = torch.randn(4, 5, dtype=DOUBLE), torch.randn(4, 3, dtype=DOUBLE)
    weight, bias = linear.weight.numpy(), linear.bias.numpy()
    z = x.numpy() @ weight.T + bias
    expected = x.numpy() * ((relevance.numpy() / away(z)) @ weight)
    found = Epsilon(linear).relevance(x, relevance).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def prepared(name: str, size: int, dtype: torch.dtype) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    module = torchvision.models.get_model(name, weights=None).eval().requires_grad_(False)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.2, 0.2)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    images = torch.randn(3, 3, size, size)
    canonize.prepare(module, images[:1])
    return module.to(dtype), images.to(dtype)


def maps_of(engine, images, targets):
    found = {}
    logits = engine(images, targets, lambda *key: found.__setitem__(key[:2], key[2].clone()))
    return found, logits


def compare(module, images, composite, tolerance):
    layers = [name for name, part in module.named_modules() if isinstance(part, nn.Conv2d)]
    canonizers = canonize.canonizers(module)
    targets = torch.tensor([5, PREDICTED, 9])
    expected, logits = maps_of(ZennitEngine(module, layers, composite, canonizers), images, targets)
    engine = FusedEngine(module, layers, composite, canonizers, images.shape[-1])
    found, ours = maps_of(engine, images, targets)
    assert list(found) == list(expected)
    torch.testing.assert_close(ours, logits, rtol=tolerance, atol=tolerance)
    for key, maps in expected.items():
        for one, other in ((found[key], maps), (found[key].sum((2, 3)), maps.sum((2, 3)))):
            difference = (one - other).abs().amax() / other.abs().amax().clamp(min=1e-30)
            assert difference <= tolerance, key
    again, _ = maps_of(engine, images, targets)
    assert all(torch.equal(again[key], found[key]) for key in found)
    assert not any(
        "forward" in vars(part) for part in module.modules() if not list(part.children())
    )


@pytest.mark.parametrize("composite", ["epsilon_plus_flat"])
@pytest.mark.parametrize(
    ("name", "size"),
    [("vgg16", 40), ("vgg16_bn", 40), ("alexnet", 70), ("squeezenet1_1", 70), ("resnet18", 40)],
)
def test_maps_are_those_of_zennit(name, size, composite):
    """In double precision: random logits near zero would amplify the last bits of floats."""
    module, images = prepared(name, size, DOUBLE)
    compare(module, images, composite, 1e-9)


@pytest.mark.parametrize("composite", sorted(RULES))
def test_every_composite_is_that_of_zennit(composite):
    module, images = prepared("resnet18", 40, DOUBLE)
    compare(module, images, composite, 1e-9)


@pytest.mark.skipif(not REAL.is_file(), reason=f"needs {REAL}")
def test_a_trained_network_in_single_precision():
    model = Model(name="torchvision/squeezenet1_1", weights=str(REAL), device="cpu")
    network = networks.load(model, Preprocessing(), 0)
    torch.manual_seed(0)
    compare(network.module, torch.randn(3, 3, 224, 224), "epsilon_plus_flat", 1e-4)


def test_nothing_is_left_changed_after_an_exception():
    module, images = prepared("resnet18", 40, torch.float32)
    before = {name: vars(part).get("forward") for name, part in module.named_modules()}
    engine = FusedEngine(module, ["layer1.0.conv1"], "epsilon_plus_flat", [], 40)

    def fail(*_):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        engine(images, torch.zeros(3, dtype=torch.int64), fail)
    assert before == {name: vars(part).get("forward") for name, part in module.named_modules()}


def test_signs_follow_from_the_network_and_not_from_the_picture():
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1),
        nn.Sigmoid(), nn.Dropout(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 1), nn.Hardswish(),
        nn.Conv2d(4, 2, 1),
    ).eval()  # fmt: skip
    # The picture is zero: were it by the values, every layer might pass.
    assert never_negative(module, torch.zeros(1, 3, 24, 24)) == {"3", "8"}


def test_what_the_engine_lacks_is_told():
    one = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ConvTranspose2d(2, 2, 2))
    assert unsupported(one, "epsilon_plus_flat") == "ConvTranspose2d 1"
    assert unsupported(one[:1], "epsilon_alpha2_beta1") == "the composite epsilon_alpha2_beta1"
    assert unsupported(nn.Conv2d(3, 2, 3, padding_mode="reflect"), "epsilon_plus") is not None
    assert unsupported(one[:1], "epsilon_plus_flat") is None


class Difference(nn.Module):
    """What one ReLU has more than another, before a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = (nn.Conv2d(3, 4, 3, padding=1) for _ in range(2))
        self.last = nn.Conv2d(4, 2, 3)

    def forward(self, x):
        less = torch.add(self.one(x).relu(), self.other(x).relu(), alpha=-1)
        return self.last(less).mean(dim=(2, 3))


def test_a_difference_of_what_is_never_negative_may_be_negative():
    assert never_negative(Difference(), torch.zeros(1, 3, 24, 24)) == set()
