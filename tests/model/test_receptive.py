"""Receptive fields against gradients: which pixels move a unit?"""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from atlas.errors import UserError
from atlas.model.receptive import ReceptiveField, receptive_fields


class Summed(nn.Module):
    """Sums over the windows of a max pooling, so that every pixel in a window counts."""

    def __init__(self, pool):
        super().__init__()
        self.pool = pool

    def forward(self, x):
        kernel = torch.ones(x.shape[1], 1, *[self.pool.kernel_size] * 2, dtype=x.dtype)
        numbers = {"padding": self.pool.padding, "dilation": self.pool.dilation}
        if self.pool.ceil_mode:  # a convolution has no such switch
            numbers = self.pool.kernel_size, self.pool.stride, self.pool.padding
            return F.avg_pool2d(x, *numbers, ceil_mode=True)
        return F.conv2d(x, kernel, None, self.pool.stride, groups=x.shape[1], **numbers)


def transparent(module):
    """Return `module` with positive weights and summing pools: nothing hides a pixel."""
    module = module.double().eval()
    for name, part in list(module.named_modules()):
        if isinstance(part, nn.MaxPool2d):
            parent, _, child = name.rpartition(".")
            setattr(module.get_submodule(parent), child, Summed(part))
        if getattr(part, "inplace", False):
            part.inplace = False
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.constant_(part.weight, 1 / part.weight[0].numel())
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    return module


def seen_by(module, layers, size):
    """Return for each layer a function (y, x) -> box of the pixels with a gradient, and its map."""
    outputs = {}
    for name in layers:
        module.get_submodule(name).register_forward_hook(
            lambda part, inputs, output, name=name: outputs.__setitem__(name, output)
        )
    picture = torch.ones(1, 3, *size, dtype=torch.double, requires_grad=True)
    module(picture)

    def box(name, y, x):
        unit = outputs[name][0, ..., y, x] if outputs[name].ndim == 4 else outputs[name]
        (gradient,) = torch.autograd.grad(unit.sum(), picture, retain_graph=True)
        rows, columns = (gradient[0].abs().sum(0).sum(dim).nonzero() for dim in (1, 0))
        if not len(rows):
            return None
        return tuple(int(edge) for edge in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))

    return box, {
        name: tuple(o.shape[-2:]) if o.ndim == 4 else (1, 1) for name, o in outputs.items()
    }


def check(module, layers, size, *, corners=True):
    """Compare the middle unit of each layer, and two in corners; return how many exactly."""
    fields = receptive_fields(module, layers, size)
    assert list(fields) == list(layers)
    box, maps = seen_by(transparent(module), layers, size)
    exact = 0
    for name in layers:
        field, (height, width) = fields[name], maps[name]
        units = [(height // 2, width // 2), (0, 0), (height - 1, width - 1)]
        for y, x in sorted(set(units if corners else units[:1])):
            ours, real = field.box(y, x, size), box(name, y, x)
            if real is None:
                continue
            assert ours[0] <= real[0], (name, y, x, ours, real)
            assert ours[1] <= real[1], (name, y, x, ours, real)
            assert ours[2] >= real[2], (name, y, x, ours, real)
            assert ours[3] >= real[3], (name, y, x, ours, real)
            for axis, at in ((0, y), (1, x)):
                # Away from the borders no padding and no remainder blurs the answer.
                margin = 2 * field.stride[axis]
                first = field.start[axis] + at * field.stride[axis]
                if margin and margin <= first <= size[axis] - field.size[axis] - margin:
                    exact += 1
                    assert ours[1 - axis] == real[1 - axis], (name, y, x, ours, real)
                    assert ours[3 - axis] == real[3 - axis], (name, y, x, ours, real)
    return exact


def every_layer(module):
    return [name for name, part in module.named_modules() if name and not list(part.children())]


convolutions = st.builds(
    lambda kernel, stride, padding, dilation: nn.Conv2d(
        3, 3, kernel, stride=stride, padding=padding, dilation=dilation
    ),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 2)),
    st.tuples(st.integers(0, 3), st.integers(0, 2)),
    st.tuples(st.integers(1, 2), st.integers(1, 3)),
)
pools = st.builds(
    lambda kernel, stride, half, dilation, average: (
        nn.AvgPool2d(kernel, stride, half * (kernel // 2))
        if average
        else nn.MaxPool2d(kernel, stride, half * (kernel // 2), dilation)
    ),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 1),
    st.integers(1, 2),
    st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(
    parts=st.lists(st.one_of(convolutions, pools), min_size=1, max_size=4),
    height=st.integers(40, 60),
    width=st.integers(40, 60),
)
def test_any_stack_of_convolutions_and_pools(parts, height, width):
    module = nn.Sequential(*parts)
    try:
        module(torch.zeros(1, 3, height, width))
    except RuntimeError:  # nothing is left of the picture
        return
    check(module, every_layer(module), (height, width))


@pytest.mark.parametrize(
    ("name", "options", "size", "exact"),
    [
        ("vgg11", {}, (32, 224), 8),
        ("alexnet", {}, (64, 240), 5),
        ("squeezenet1_1", {}, (32, 256), 20),
        ("resnet18", {}, (32, 320), 12),
        ("googlenet", {"init_weights": False, "aux_logits": False}, (32, 160), 16),
        ("shufflenet_v2_x0_5", {}, (32, 128), 8),
    ],
)
def test_every_layer_of_real_networks(name, options, size, exact):
    if name in ("vgg11", "alexnet"):  # a hundred million weights without a convolution
        with torch.device("meta"):
            module = torchvision.models.get_model(name)
        module.classifier = nn.Identity()
        module.to_empty(device="cpu").eval()
    else:
        module = torchvision.models.get_model(name, **options).eval()
    convolved = [n for n, part in module.named_modules() if isinstance(part, nn.Conv2d)]
    assert check(module, convolved, size, corners=False) >= exact


@pytest.mark.parametrize(
    ("name", "layer", "field"),
    [  # published: Araujo, Norris and Sim, Distill 2019; and by hand
        ("vgg16", "features.28", ReceptiveField((196, 196), (16, 16), (-90, -90))),
        ("alexnet", "features.10", ReceptiveField((163, 163), (16, 16), (-66, -66))),
        ("resnet18", "layer4.1.conv2", ReceptiveField((435, 435), (32, 32), (-217, -217))),
        ("resnet18", "layer4.1", ReceptiveField((435, 435), (32, 32), (-217, -217))),
        ("convnext_tiny", "features.1.1.block.0", ReceptiveField((52, 52), (4, 4), (-24, -24))),
        ("vgg16", "classifier.6", ReceptiveField((224, 224), (0, 0), (0, 0))),
        ("mobilenet_v3_small", "features.1.block.0.0", ReceptiveField((7, 7), (4, 4), (-3, -3))),
        ("mobilenet_v3_small", "features.1.block.2.0", ReceptiveField((224, 224), (0, 0), (0, 0))),
    ],
)
def test_known_fields(name, layer, field):
    with torch.device("meta"):  # shapes are all that is asked of it
        module = torchvision.models.get_model(name).eval()
    assert receptive_fields(module, [layer], (224, 224)) == {layer: field}


class Twisted(nn.Module):
    """Does to positions whatever the parameter says, between two convolutions."""

    def __init__(self, twist):
        super().__init__()
        self.first, self.twist, self.last = nn.Conv2d(3, 4, 3), twist, nn.Conv2d(4, 4, 3)

    def forward(self, x):
        return self.last(self.twist(self.first(x)))


def by_parts(x):
    """Write into parts of a tensor that did not depend on the picture when it was made."""
    result = torch.zeros(x.shape, dtype=x.dtype)
    result[:, :2] = x[:, :2]
    result[:, 2:] += x[:, 2:].flip(-1)
    return x + result


TWISTS = {
    "transposed": lambda x: x.transpose(2, 3),
    "flipped": lambda x: x.flip(-1),
    "rolled": lambda x: x.roll(5, -2),
    "interpolated": lambda x: F.interpolate(x, scale_factor=2),
    "reflected": lambda x: F.pad(x, (9, 9, 9, 9), mode="reflect"),
    "wrapped": lambda x: F.pad(x, (4, 4, 4, 4), mode="circular"),
    "cropped": lambda x: x[:, :, 4:, 6:],
    "every second": lambda x: x[:, :, ::2, ::2],
    "cut off": lambda x: F.pad(x, (-3, 0, -3, 0)),
    "side by side": lambda x: torch.cat([x, x], dim=3),
    "rows exchanged with columns by reshaping": lambda x: x.reshape(1, 4, x.shape[3], x.shape[2]),
    "mixed by a product": lambda x: x @ torch.ones(x.shape[3], 12, dtype=x.dtype),
    "attended": lambda x: F.scaled_dot_product_attention(x, x, x),
    "scaled by a gate": lambda x: x * x.mean((2, 3), keepdim=True),
    "scaled by a gate for each row": lambda x: x * x.mean(3, keepdim=True),
    "added to its transpose": lambda x: x + x.transpose(2, 3),
    "normalised over positions": lambda x: F.instance_norm(x + x.cumsum(2)),
    "grouped": lambda x: F.group_norm(x * torch.linspace(1, 2, x.shape[3], dtype=x.dtype), 2),
    "pooled unevenly": lambda x: F.adaptive_avg_pool2d(x, (9, 11)),
    "pooled evenly": lambda x: F.adaptive_avg_pool2d(x, (x.shape[2] // 2, x.shape[3] // 2)),
    "transposed convolution": lambda x: F.conv_transpose2d(
        x, torch.ones(4, 4, 3, 3, dtype=x.dtype), stride=2
    ),
    "written by parts": by_parts,
    "shuffled": lambda x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2),
    "local response": lambda x: F.local_response_norm(x, 3),
    "channels last and linear": lambda x: F.linear(
        x.permute(0, 2, 3, 1), torch.ones(4, 4, dtype=x.dtype)
    ).permute(0, 3, 1, 2),
    "padded": lambda x: F.pad(x, (2, 1, 3, 0)),
}


@pytest.mark.parametrize("twist", TWISTS)
def test_whatever_happens_to_positions_nothing_is_missed(twist):
    module = Twisted(TWISTS[twist])
    for part in (module.first, module.last):
        nn.init.constant_(part.weight, 0.1)
    check(module, ["first", "last"], (24, 24))


@pytest.mark.parametrize(
    "twist", ["local response", "channels last and linear", "padded", "pooled evenly"]
)
def test_what_keeps_positions_does_not_widen(twist):
    module = Twisted(TWISTS[twist])
    field = receptive_fields(module.eval(), ["last"], (24, 24))["last"]
    assert max(field.size) <= 8


def test_python_decides_on_the_way():
    class Choosing(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.small, self.large = (nn.Conv2d(3, 3, k) for k in (3, 5, 9))

        def forward(self, x):
            x = self.first(x)
            return self.small(x) if x.abs().sum() >= 0 else self.large(x)

    assert receptive_fields(Choosing(), ["small"], (24, 24))["small"].size == (7, 7)
    with pytest.raises(UserError, match="'large' is not used"):
        receptive_fields(Choosing(), ["large"], (24, 24))


def test_boxes_are_clipped_and_half_open():
    field = ReceptiveField(size=(5, 7), stride=(2, 3), start=(-2, -3))
    assert field.box(0, 0, (20, 20)) == (0, 0, 4, 3)
    assert field.box(4, 3, (20, 20)) == (6, 6, 13, 11)
    assert field.box(9, 7, (20, 20)) == (18, 16, 20, 20)
    assert field.box(30, 30, (20, 20)) == (20, 20, 20, 20)
