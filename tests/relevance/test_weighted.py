"""The rules of operations with weights are what matrix algebra says."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tests.relevance.looking import Network, at_picture, instrumented

DOUBLE = torch.float64
RULES = ("plus", "gamma", "epsilon", "alpha2_beta1", "flat")


def as_matrix(  # noqa: PLR0912
    conv: nn.Module, weight: np.ndarray, height: int, width: int
) -> np.ndarray:
    """The convolution, transposed or not, as a matrix (outputs, inputs), place by place."""
    transposed = isinstance(conv, nn.ConvTranspose2d)
    (sy, sx), (dy, dx) = conv.stride, conv.dilation
    rows, columns = weight.shape[2:]
    reach_y, reach_x = dy * (rows - 1), dx * (columns - 1)
    if conv.padding == "same":  # the odd zero comes last
        (top, left), (high, wide) = (reach_y // 2, reach_x // 2), (height, width)
    else:
        top, left = conv.padding
        high = (height + 2 * top - reach_y - 1) // sy + 1
        wide = (width + 2 * left - reach_x - 1) // sx + 1
    if transposed:
        more = conv.output_padding
        high = (height - 1) * sy - 2 * top + reach_y + more[0] + 1
        wide = (width - 1) * sx - 2 * left + reach_x + more[1] + 1
    outs, ins = conv.out_channels, conv.in_channels
    each_out, each_in = outs // conv.groups, ins // conv.groups
    matrix = np.zeros((outs, high, wide, ins, height, width))
    for o in range(outs):
        group = o // each_out
        for c in range(each_in):
            at = group * each_in + c
            kernel = weight[at, o % each_out] if transposed else weight[o, c]
            for i in range(rows):
                for j in range(columns):
                    if transposed:  # an input at (a, b) reaches the outputs at (y, x)
                        for a in range(height):
                            for b in range(width):
                                y, x = a * sy - top + i * dy, b * sx - left + j * dx
                                if 0 <= y < high and 0 <= x < wide:
                                    matrix[o, y, x, at, a, b] += kernel[i, j]
                        continue
                    for y in range(high):
                        for x in range(wide):
                            a, b = y * sy - top + i * dy, x * sx - left + j * dx
                            if 0 <= a < height and 0 <= b < width:
                                matrix[o, y, x, at, a, b] += kernel[i, j]
    return matrix.reshape(outs * high * wide, -1)


def away(z: np.ndarray) -> np.ndarray:
    return z + np.where(z < 0, -1e-6, 1e-6)


def by_algebra(rule, matrix, ones, bias, x, relevance):
    """R_i for one picture: each rule as its formula stands in the papers.

    Parameters
    ----------
    matrix, ones : array
        (outputs, inputs): the weights, and 1 where there is one.
    bias : array
        (outputs,).
    """
    x, relevance = x.reshape(-1), relevance.reshape(-1)
    if rule in ("plus", "alpha2_beta1"):
        parts = matrix * x  # z_ij
        rising, falling = parts.clip(min=0), parts.clip(max=0)
        found = rising.T @ (relevance / away(rising.sum(axis=1) + bias.clip(min=0)))
        if rule == "plus":
            return found
        less = falling.sum(axis=1) + bias.clip(max=0) - 1e-6
        return 2 * found - falling.T @ (relevance / less)
    if rule == "flat":
        return ones.T @ (relevance / away(ones.sum(axis=1)))
    extra = 0.25 if rule == "gamma" else 0.0
    matrix = matrix + extra * matrix.clip(min=0)
    z = matrix @ x + bias + extra * np.maximum(bias, 0)
    return x * (matrix.T @ (relevance / away(z)))


@st.composite
def convolutions(draw):
    """A convolution, what it is to be merged with, and two pictures."""
    groups = draw(st.sampled_from([1, 2]))
    pairs = st.tuples(st.integers(1, 2), st.integers(1, 2))
    options = {
        "kernel_size": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "stride": draw(pairs),
        "padding": draw(st.tuples(st.integers(0, 1), st.integers(0, 1))),
        "dilation": draw(pairs),
        "groups": groups,
        "bias": draw(st.booleans()),
        "dtype": DOUBLE,
    }
    kind = draw(st.sampled_from(["plain", "same", "transposed"]))
    make = nn.ConvTranspose2d if kind == "transposed" else nn.Conv2d
    if kind == "same":
        options |= {"padding": "same", "stride": (1, 1)}
    if kind == "transposed":
        steps = [max(s, d) for s, d in zip(options["stride"], options["dilation"], strict=True)]
        options["output_padding"] = tuple(draw(st.integers(0, step - 1)) for step in steps)
    conv = make(2 * groups, 4, **options)
    torch.manual_seed(draw(st.integers(0, 99)))
    norm = nn.BatchNorm2d(4, dtype=DOUBLE) if draw(st.booleans()) else None
    for parameter in conv.parameters():
        nn.init.normal_(parameter)
    if norm is not None:
        for values in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(values)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return conv, norm, torch.randn(2, 2 * groups, 5, 4, dtype=DOUBLE)


@pytest.mark.parametrize("nonnegative", [True, False])
@pytest.mark.parametrize("rule", RULES)
@given(case=convolutions())
@settings(deadline=None, max_examples=15)
def test_each_rule_against_matrix_algebra(rule, nonnegative, case):
    conv, norm, x = case

    def forward(network, x):
        y = network.conv(x.relu() if nonnegative else x)
        return (y if norm is None else network.norm(y)).flatten(1)

    parts = {"conv": conv} if norm is None else {"conv": conv, "norm": norm}
    network = Network(forward, **parts).eval().requires_grad_(False)
    composite = "epsilon_plus_flat" if rule == "flat" else f"epsilon_{rule}"
    try:
        expected = network(x)
    except RuntimeError:  # nothing is left of the picture
        return
    model = instrumented(network, x.shape[1:], ["conv"], composite)
    relevance = torch.randn_like(expected)
    found, logits = at_picture(model, x, relevance)
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)

    weight = conv.weight.numpy()
    matrix, ones = (as_matrix(conv, one, *x.shape[2:]) for one in (weight, np.ones_like(weight)))
    places = len(matrix) // conv.out_channels
    bias = np.zeros(conv.out_channels) if conv.bias is None else conv.bias.numpy()
    if norm is not None:
        scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).numpy()
        matrix = matrix * np.repeat(scale, places)[:, None]
        bias = bias * scale + norm.bias.numpy() - norm.running_mean.numpy() * scale
    bias = np.repeat(bias, places)
    inputs = x.relu() if nonnegative else x
    for row, picture in enumerate(inputs.numpy()):
        reference = by_algebra(rule, matrix, ones, bias, picture, relevance[row].numpy())
        np.testing.assert_allclose(found[row].flatten(), reference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("norm", [False, True])
def test_the_epsilon_rule_of_linear_layers_against_matrix_algebra(norm):
    torch.manual_seed(0)
    linear = nn.Linear(5, 3, dtype=DOUBLE)
    batch_norm = nn.BatchNorm1d(3, dtype=DOUBLE).eval()
    for values in (batch_norm.weight, batch_norm.bias, batch_norm.running_mean):
        nn.init.normal_(values)
    x, relevance = torch.randn(4, 5, 1, 1, dtype=DOUBLE), torch.randn(4, 3, dtype=DOUBLE)

    def forward(network, x):
        y = network.linear(x.flatten(1))
        return network.norm(y) if norm else y

    network = Network(forward, linear=linear, norm=batch_norm)
    found, logits = at_picture(instrumented(network, (5, 1, 1), ["linear"], "epsilon_plus"), x,
                               relevance)  # fmt: skip
    torch.testing.assert_close(logits, network(x))
    weight, bias, inputs = linear.weight.numpy(), linear.bias.numpy(), x.flatten(1).numpy()
    if norm:
        scale = (batch_norm.weight / (batch_norm.running_var + batch_norm.eps).sqrt()).numpy()
        weight = weight * scale[:, None]
        bias = (bias - batch_norm.running_mean.numpy()) * scale + batch_norm.bias.numpy()
    expected = inputs * ((relevance.numpy() / away(inputs @ weight.T + bias)) @ weight)
    np.testing.assert_allclose(found.flatten(1), expected, rtol=1e-9)


def test_a_first_linear_layer_gives_every_pixel_the_same():
    torch.manual_seed(0)
    network = Network(lambda net, x: net.linear(x.flatten(1)), linear=nn.Linear(12, 3))
    x, relevance = torch.randn(2, 3, 2, 2), torch.randn(2, 3)
    found, _ = at_picture(instrumented(network, (3, 2, 2), ["linear"]), x, relevance)
    expected = (relevance.sum(dim=1) / 12)[:, None].expand(2, 12)
    torch.testing.assert_close(found.flatten(1), expected)


def test_convolutions_of_one_and_three_dimensions():
    """A row of pixels, and a stack of pictures, as a convolution with weights elsewhere zero."""
    torch.manual_seed(0)
    row, stack = nn.Conv1d(3, 4, 3, padding=1), nn.Conv3d(1, 4, (3, 3, 3), padding=(0, 1, 1))
    flat = nn.Conv2d(3, 4, (1, 3), padding=(0, 1))
    deep = nn.Conv2d(3, 4, 3, padding=1)
    with torch.no_grad():
        flat.weight.copy_(row.weight[:, :, None])
        flat.bias.copy_(row.bias)
        deep.weight.copy_(stack.weight[:, 0])
        deep.bias.copy_(stack.bias)
    pairs = [
        (Network(lambda net, x: net.part(x.flatten(2)).flatten(1), part=row), flat, (3, 1, 6)),
        (Network(lambda net, x: net.part(x[:, None]).flatten(1), part=stack), deep, (3, 4, 5)),
    ]
    for network, same, shape in pairs:
        other = Network(lambda net, x: net.part(x).flatten(1), part=same)
        x = torch.randn(2, *shape)
        one, _ = at_picture(instrumented(network, shape, [], "epsilon_plus"), x)
        two, _ = at_picture(instrumented(other, shape, [], "epsilon_plus"), x)
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_with_other_than_zeros_gives_relevance_to_the_pixels_it_repeats(mode):
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 3, padding=1, padding_mode=mode, dtype=DOUBLE)
    bare = nn.Conv2d(2, 3, 3, dtype=DOUBLE)
    bare.load_state_dict(conv.state_dict())
    x = torch.randn(1, 2, 5, 4, dtype=DOUBLE)
    network = Network(lambda net, x: net.conv(x).flatten(1), conv=conv)
    found, logits = at_picture(instrumented(network, x.shape[1:], [], "epsilon_plus"), x)
    wide = F.pad(x, (1, 1, 1, 1), mode=mode)
    outer = Network(lambda net, x: net.conv(x).flatten(1), conv=bare)
    padded, same = at_picture(instrumented(outer, wide.shape[1:], [], "epsilon_plus"), wide)
    torch.testing.assert_close(logits, same)
    inside = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(F.pad(inside, (1, 1, 1, 1), mode=mode), inside, padded)
    torch.testing.assert_close(found, expected)
