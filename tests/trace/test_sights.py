"""Receptive fields against gradients: which pixels move a unit?"""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from atlas.errors import UserError
from atlas.trace.layers import choose
from atlas.trace.record import record
from atlas.trace.sights import ReceptiveField


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
        if isinstance(part, nn.AdaptiveMaxPool2d):
            parent, _, child = name.rpartition(".")
            setattr(module.get_submodule(parent), child, nn.AdaptiveAvgPool2d(part.output_size))
        if isinstance(part, nn.Conv2d | nn.Linear | nn.ConvTranspose2d):
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


def receptive_fields(module, layers, size):
    """Return the receptive fields of layers, as following a picture finds them."""
    dtype = next((part.dtype for part in module.parameters()), torch.float32)
    device = next((part.device for part in module.parameters()), None)
    trace = record(module.eval(), torch.zeros(1, 3, *size, dtype=dtype, device=device))
    assert not any(trace.layers[name].problem for name in layers)
    return {name: trace.layers[name].field for name in layers}


def check(module, layers, size, *, corners=True, exactly=True):
    """Compare the middle unit of each layer, and two in corners.

    Returns
    -------
    exact, placed : int
        How many edges were the same, and how many layers stand at known places and see no more.
    """
    fields = receptive_fields(module, layers, size)
    box, maps = seen_by(transparent(module), layers, size)
    exact = placed = 0
    for name in layers:
        field, (height, width) = fields[name], maps[name]
        if field.whole:
            continue
        placed += 1
        units = [(height // 2, width // 2), (0, 0), (height - 1, width - 1)]
        for y, x in sorted(set(units if corners else units[:1])):
            ours, real = field.box(y, x, size), box(name, y, x)
            if real is None:
                continue
            assert ours[0] <= real[0], (name, y, x, ours, real)
            assert ours[1] <= real[1], (name, y, x, ours, real)
            assert ours[2] >= real[2], (name, y, x, ours, real)
            assert ours[3] >= real[3], (name, y, x, ours, real)
            for axis, at in ((0, y), (1, x)) if exactly else ():
                # Away from the borders no padding and no remainder blurs the answer.
                margin = 2 * field.stride[axis]
                first = field.start[axis] + at * field.stride[axis]
                if margin and margin <= first <= size[axis] - field.size[axis] - margin:
                    exact += 1
                    assert ours[1 - axis] == real[1 - axis], (name, y, x, ours, real)
                    assert ours[3 - axis] == real[3 - axis], (name, y, x, ours, real)
    return exact, placed


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


@settings(max_examples=30, deadline=None)
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


odd = st.integers(1, 3).map(lambda half: 2 * half + 1)
others = st.one_of(
    st.builds(
        lambda kernel, dilation: nn.Conv2d(3, 3, kernel, padding="same", dilation=dilation),
        st.tuples(st.integers(1, 4), st.integers(1, 4)),
        st.integers(1, 2),
    ),
    st.builds(
        lambda kernel, stride, mode: nn.Conv2d(
            3, 3, kernel, stride=stride, padding=kernel // 2, padding_mode=mode
        ),
        odd,
        st.integers(1, 2),
        st.sampled_from(["reflect", "replicate"]),
    ),
    st.builds(
        lambda kernel, stride, padding, more, dilation: nn.ConvTranspose2d(
            3, 3, kernel, stride=stride, padding=min(padding, kernel - 1),
            output_padding=min(more, stride - 1), dilation=dilation,
        ),
        st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(0, 1),
        st.integers(1, 2),
    ),
    st.builds(
        lambda factor, mode, corners: nn.Upsample(
            scale_factor=factor,
            mode=mode,
            align_corners=corners if mode.startswith("bi") else None,
        ),
        st.sampled_from([0.5, 1.5, 2, 3]),
        st.sampled_from(["nearest", "nearest-exact", "bilinear", "bicubic"]),
        st.booleans(),
    ),
    st.builds(
        nn.Upsample,
        size=st.tuples(st.integers(5, 30), st.integers(5, 30)),
        mode=st.sampled_from(["nearest", "nearest-exact", "bilinear", "bicubic"]),
    ),
    st.builds(lambda: nn.Sequential(nn.Conv2d(3, 12, 1), nn.PixelShuffle(2))),
    st.builds(lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 3, 1))),
    st.builds(
        lambda size, largest: nn.AdaptiveMaxPool2d(size) if largest else nn.AdaptiveAvgPool2d(size),
        st.tuples(st.integers(2, 12), st.integers(2, 12)),
        st.booleans(),
    ),
    st.builds(
        lambda left, top: nn.ZeroPad2d((left, 0, top, 1)), st.integers(-2, 3), st.integers(-2, 3)
    ),
    st.builds(nn.ReflectionPad2d, st.just(1)).map(lambda p: nn.Sequential(p, nn.Conv2d(3, 3, 3))),
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@settings(max_examples=40, deadline=None)
@given(
    parts=st.lists(st.one_of(others, convolutions, pools), min_size=1, max_size=4),
    height=st.integers(24, 40),
    width=st.integers(24, 40),
)
@example([nn.AdaptiveAvgPool2d((3, 2)), nn.AdaptiveAvgPool2d((4, 2))], 24, 24)
@example([nn.AdaptiveAvgPool2d((2, 3)), nn.AdaptiveAvgPool2d((2, 4))], 24, 24)
def test_whatever_moves_and_resizes(parts, height, width):
    module, left = nn.Sequential(*parts), torch.zeros(1, 3, height, width)
    try:
        with torch.no_grad():
            for part in module:
                left = part(left)
                if min(left.shape) < 1 or min(left.shape[2:]) < 2:
                    return  # of a single position no place can be found again
    except RuntimeError:  # nothing is left of the picture, or not enough to be reflected
        return
    layers = [  # a reflected edge itself lies outside the picture
        name
        for name in every_layer(module)
        if not isinstance(module.get_submodule(name), nn.ReflectionPad2d)
    ]
    _, placed = check(module, layers, (height, width), exactly=False)
    assert placed == len(layers)  # none of these loses positions


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
    found, placed = check(module, convolved, size, corners=False)
    assert found >= exact
    assert placed == len(convolved)


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
        # Behind a squeeze-and-excitation gate a unit stands where it stood.
        (
            "mobilenet_v3_small",
            "features.1.block.2.0",
            ReceptiveField((7, 7), (4, 4), (-3, -3), whole=True),
        ),
        (
            "mobilenet_v3_small",
            "features.2.block.1.0",
            ReceptiveField((15, 15), (8, 8), (-7, -7), whole=True),
        ),
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


TWISTS = {
    "transposed": lambda x: x.transpose(2, 3),
    "flipped": lambda x: x.flip(-1),
    "rolled": lambda x: x.roll(5, -2),
    "interpolated": lambda x: F.interpolate(x, scale_factor=2),
    "interpolated by a factor": lambda x: F.interpolate(
        x[:, :, ::6, ::6], scale_factor=1.6, mode="bilinear"
    ),
    "reflected": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "wrapped": lambda x: F.pad(x, (4, 4, 4, 4), mode="circular"),
    "cropped": lambda x: x[:, :, 4:, 6:],
    "cropped from behind": lambda x: x[..., -9:-1, :-6],
    "every second": lambda x: x[:, :, ::2, ::2],
    "every second from behind": lambda x: x.flip(2)[:, :, ::2, ::2],
    "rows by number": lambda x: x.index_select(2, torch.arange(3, 20, 3)),
    "split": lambda x: x.split([9, x.shape[2] - 9], 2)[1],
    "tokens": lambda x: F.layer_norm(x.flatten(2).mT, (4,)).mT.reshape(x.shape),
    "weights over channels": lambda x: (
        (x.flatten(2) @ x.flatten(2).mT / 99).softmax(2) @ x.flatten(2)
    ).view(x.shape),
    "windows": lambda x: (
        torch.ones(4, 36, dtype=x.dtype) @ F.unfold(x, 3, dilation=2, padding=1, stride=2)
    ).view(1, 4, x.shape[2] // 2 - 1, x.shape[3] // 2 - 1),
    "windows along rows": lambda x: x.unfold(2, 5, 2).sum(4),
    "space to depth by reshaping": lambda x: (
        x.view(1, 4, x.shape[2] // 2, 2, x.shape[3] // 2, 2)
        .permute(0, 3, 5, 1, 2, 4)
        .reshape(1, 4, 4, x.shape[2] // 2, x.shape[3] // 2)
        .sum(1)
    ),
    "folded and unfolded": lambda x: (
        (
            x.view(1, 4, x.shape[2] // 2, 2, x.shape[3] // 2, 2)
            .permute(0, 1, 3, 5, 2, 4)
            .reshape(1, 4, 4, -1)
            * 2
        )
        .view(1, 4, 2, 2, x.shape[2] // 2, x.shape[3] // 2)
        .permute(0, 1, 4, 2, 5, 3)
        .reshape(x.shape)
    ),
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
    "shuffled": lambda x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2),
    "local response": lambda x: F.local_response_norm(x, 3),
    "channels last and linear": lambda x: F.linear(
        x.permute(0, 2, 3, 1), torch.ones(4, 4, dtype=x.dtype)
    ).permute(0, 3, 1, 2),
    "padded": lambda x: F.pad(x, (2, 1, 3, 0)),
}


LOST = {
    "transposed", "rolled", "wrapped", "side by side",
    "rows exchanged with columns by reshaping", "mixed by a product", "attended",
    "added to its transpose",
}  # fmt: skip
"""Twists after which it is not known where units stand ..."""

BESIDES = {
    "weights over channels", "scaled by a gate", "scaled by a gate for each row", "grouped",
}  # fmt: skip
"""... and those after which units stand where they stood, and see something of all besides."""


def size_for(twist):
    """A picture that is a little wider than high, unless the twist needs a square."""
    return (24, 24) if "transpose" in twist and "convolution" not in twist else (24, 28)


PARTLY = {"normalised over positions"}
"""Of one dimension they are lost."""


@pytest.mark.parametrize("twist", TWISTS)
def test_whatever_happens_to_positions_nothing_is_missed(twist):
    module = Twisted(TWISTS[twist])
    for part in (module.first, module.last):
        nn.init.constant_(part.weight, 0.1)
    _, placed = check(module, ["first", "last"], size_for(twist), exactly=False)
    assert placed == (1 if twist in LOST | BESIDES | PARTLY else 2)


@pytest.mark.parametrize("twist", sorted(LOST))
def test_where_positions_are_lost_boxes_are_whole_pictures(twist):
    size = size_for(twist)
    layer = record(Twisted(TWISTS[twist]).eval(), torch.zeros(1, 3, *size)).layers["last"]
    field, spread = layer.field, 0
    assert field.whole
    assert field.lost
    for axis, extent in enumerate(size):
        if field.size[axis] >= extent:
            spread += 1
            assert (field.stride[axis], field.start[axis]) == (0, 0)
            ends = [field.box(y, x, size) for y, x in ((0, 0), (5, 5))]
            assert {(box[1 - axis], box[3 - axis]) for box in ends} == {(0, extent)}
    assert spread


@pytest.mark.parametrize(
    ("twist", "name"),
    [
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="circular"), "pad in circles"),
        (lambda x: F.linear(x, torch.eye(x.shape[3])), "linear"),
        (lambda x: F.fold(F.unfold(x, 3, padding=1), x.shape[2:], 3, padding=1), "fold"),
    ],
)
def test_where_positions_are_lost_is_said_as_the_network_calls_it(twist, name):
    """Not as the kernels that it is made of."""
    assert receptive_fields(Twisted(twist), ["last"], (24, 24))["last"].lost == name


@pytest.mark.parametrize(
    "twist",
    [
        lambda x: F.channel_shuffle(x, 2),
        lambda x: F.glu(torch.cat([x, x], 1), 1),
        lambda x: x * torch.sgn(x),
        lambda x: x * torch.heaviside(x, torch.zeros(())),
        lambda x: torch.erfc(x).round().nan_to_num(),
        lambda x: x.mean(1, keepdim=True).repeat(1, 4, 1, 1),
        lambda x: x[:, :2].tile(2, 1, 1),
    ],
)
def test_functions_of_single_numbers_and_of_channels_leave_units_where_they_stand(twist):
    field = receptive_fields(Twisted(twist), ["last"], (24, 24))["last"]
    assert not field.lost
    assert field == receptive_fields(Twisted(lambda x: x), ["last"], (24, 24))["last"]


PARTS = {
    "halves": lambda x: torch.cat([x[:, :2, :, :10], x[:, 2:, :, 10:20]], 1),
    "halves added": lambda x: x[:, :, :10] + x[:, :, 12:22],
    "half of the channels flipped": lambda x: torch.cat([x[:, :2], x[:, 2:].flip(3)], 1),
    "maximum with the mirror image": lambda x: torch.maximum(x, x.flip(2)),
}


@pytest.mark.parametrize("twist", PARTS)
def test_what_looks_at_several_places_has_no_middle(twist):
    field = receptive_fields(Twisted(PARTS[twist]), ["last"], (24, 28))["last"]
    assert "it joins parts of the picture that lie apart" in field.lost
    assert field.box(3, 3, (24, 28))[0:4:2] == (0, 28) or field.box(3, 3, (24, 28))[1::2] == (0, 24)


@pytest.mark.parametrize(
    "twist",
    [
        lambda x: torch.cat([x[..., ::2], x[..., 1::2]], 1)[:, ::2],
        lambda x: x + F.interpolate(F.avg_pool2d(x, 2), size=x.shape[2:]),
        lambda x: torch.cat([x[:, :2], F.pad(x[:, 2:, :, 1:], (0, 1))], 1),
    ],
)
def test_parts_that_lie_together_keep_their_places(twist):
    """Space to depth, pyramids, and channels shifted by a pixel."""
    field = receptive_fields(Twisted(twist), ["last"], (24, 24))["last"]
    assert not field.lost
    assert max(field.size) < 24


@pytest.mark.parametrize("twist", sorted(BESIDES))
def test_a_gate_leaves_units_where_they_stand(twist):
    plain, gated = (
        receptive_fields(Twisted(one), ["last"], (24, 24))["last"]
        for one in ((lambda x: x * 2), TWISTS[twist])
    )
    assert gated == ReceptiveField(plain.size, plain.stride, plain.start, whole=True)


@pytest.mark.parametrize(
    ("twist", "most"),
    [
        ("local response", 8),
        ("channels last and linear", 8),
        ("padded", 8),
        ("pooled evenly", 8),
        ("reflected", 8),
        ("cropped", 8),
        ("cropped from behind", 8),
        ("every second", 8),
        ("cut off", 8),
        ("interpolated", 8),
        ("shuffled", 8),
        ("transposed convolution", 8),
        ("pooled unevenly", 12),
    ],
)
def test_what_keeps_positions_does_not_widen(twist, most):
    field = receptive_fields(Twisted(TWISTS[twist]), ["last"], (24, 24))["last"]
    assert max(field.size) <= most
    assert not field.whole


def test_python_decides_on_the_way():
    class Choosing(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.small, self.large = (nn.Conv2d(3, 3, k) for k in (3, 5, 9))

        def forward(self, x):
            x = self.first(x)
            return self.small(x) if x.shape[1] == 3 else self.large(x)

    assert receptive_fields(Choosing(), ["small"], (24, 24))["small"].size == (7, 7)
    with pytest.raises(UserError, match="'large' is not used"):
        choose(record(Choosing().eval(), torch.zeros(1, 3, 24, 24)), ["large"])


def test_boxes_are_clipped_and_half_open():
    field = ReceptiveField(size=(5, 7), stride=(2, 3), start=(-2, -3))
    assert field.box(0, 0, (20, 20)) == (0, 0, 4, 3)
    assert field.box(4, 3, (20, 20)) == (6, 6, 13, 11)
    assert field.box(9, 7, (20, 20)) == (18, 16, 20, 20)
    assert field.box(30, 30, (20, 20)) == (20, 20, 20, 20)
    between = ReceptiveField(size=(2.5, 2), stride=(0.5, 0.5), start=(-0.25, 0.5))
    assert between.box(2, 1, (20, 20)) == (1, 0, 3, 4)
    assert between.middle(2, 1) == (2, 2)
