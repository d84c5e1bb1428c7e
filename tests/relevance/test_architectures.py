"""Relevance of whole networks is that of the formulas, whoever wrote them.

Each was once wrong without a word: residual sums outside torchvision's blocks, subclasses of
convolutions, activations inside norms, functions for modules, ends that are no logits.
"""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from atlas.relevance.checks import check
from atlas.relevance.engine import PREDICTED, RelevanceEngine
from atlas.relevance.merging import find_norms
from atlas.relevance.plan import plan
from atlas.trace.following import RefusedError
from atlas.trace.layers import choose
from atlas.trace.record import record
from tests.relevance.formulas import relevances
from tests.relevance.looking import instrumented, maps_of
from tests.relevance.zoo import pictures, stir

SIZE = 64


def stirred(module: nn.Module, size: int = SIZE) -> nn.Module:
    stir(module, pictures(4, size))
    return module


def timm_network(name: str) -> nn.Module:
    timm = pytest.importorskip("timm")
    torch.manual_seed(5)
    return stirred(timm.create_model(name, pretrained=False, num_classes=10))


def compare(module, layers=None, *, size=SIZE, tolerance=1e-6, composite="epsilon_plus_flat"):
    """Compare the engine in float64, by channels, with the formulas; return the model."""
    module = module.double()
    images = pictures(2, size, 9).double()
    model = instrumented(module, (3, size, size), layers, composite)
    if layers is None:  # some, spread over the depth
        names = list(model.layers)
        some = sorted({round(i * (len(names) - 1) / 7) for i in range(8)})
        model = instrumented(module, (3, size, size), [names[i] for i in some], composite)
    expected = relevances(module, images, list(model.layers), composite=composite)
    found, logits = maps_of(RelevanceEngine(model), images, torch.full((2,), PREDICTED))
    if model.plan.head.outputs > 1:
        scale = expected.logits.abs().max()
        assert (logits - expected.logits).abs().max() <= 1e-9 * scale
    for layer in model.layers:
        ours, theirs = found[layer, "relevance"].sum(dim=(2, 3)), expected.channels[layer]
        assert theirs.abs().max() > 0, layer
        assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max(), layer
    return model


@pytest.mark.parametrize(
    "name",
    [
        "mobilenetv2_100",  # residual sums of blocks that are not torchvision's
        "repvgg_a0",
        "resnetv2_50",
        "hrnet_w18_small",
        "tf_efficientnet_b0",  # convolutions that pad one side more than the other
        "nf_resnet50",  # convolutions that standardise their weights
        "densenet121",  # norms with their activations in them
    ],
)
def test_networks_of_timm(name):
    compare(timm_network(name))


def test_relevance_at_the_stem_of_timms_networks_is_not_multiplied():
    """What comes to the first layer was 312 times the logit, and more."""
    for name in ("mobilenetv2_100", "hrnet_w18_small"):
        module = timm_network(name)
        model = instrumented(module, (3, SIZE, SIZE))
        first = next(iter(model.layers))
        found, logits = maps_of(
            RelevanceEngine(model), pictures(2, SIZE, 9), torch.full((2,), PREDICTED)
        )
        total = found[first, "relevance"].sum(dim=(1, 2, 3)) / logits.amax(dim=1)
        assert (total.abs() < 1.5).all()


@pytest.mark.parametrize("name", ["mobilenetv2_100", "tf_efficientnet_b0"])
def test_the_checks_of_a_run_pass_for_timms_networks(name):
    model = instrumented(timm_network(name), (3, SIZE, SIZE))
    fields = {one: model.plan.trace.layers[one].field for one in model.layers}
    found = list(check(model, pictures(2, SIZE, 9), fields))
    assert [one.says for one in found if not one.passed] == []


def test_the_activations_of_timms_norms_stay():
    """timm's BatchNormAct2d is a batch norm by its class, and has a ReLU in it."""
    module = timm_network("densenet121")
    names = [one.name for one in record(module, pictures(1, SIZE)).operations]
    assert names.count("relu") == 121  # one behind each norm
    timm = pytest.importorskip("timm")
    norm = timm.layers.BatchNormAct2d(4)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), norm, nn.Conv2d(4, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    model = compare(stirred(network), ["0", "2"])
    assert len(find_norms(model.plan.trace)) == 1
    last = next(one for one in reversed(model.plan.trace.operations) if one.name == "conv2d")
    assert last.bounds[0].never_negative


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_attention_over_positions_is_refused_by_its_name(name):
    timm = pytest.importorskip("timm")
    torch.manual_seed(5)
    module = timm.create_model(name, pretrained=False, num_classes=10).eval()
    trace = record(module, pictures(1, 224))
    with pytest.raises(RefusedError) as caught:
        plan(trace, "epsilon_plus_flat")
    assert "has no rule of relevance where two tensors that are made" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert 'prepass.modes = ["activation"]' in str(caught.value)
    plan(trace, None)  # activations alone can be had


@pytest.mark.parametrize(
    "name", ["efficientnet_b0", "mobilenet_v3_small", "regnet_y_400mf", "convnext_tiny"]
)
def test_networks_of_torchvision_that_were_refused(name):
    torch.manual_seed(5)
    compare(stirred(torchvision.models.get_model(name, num_classes=10)))


@pytest.mark.parametrize(
    "composite",
    ["epsilon_plus", "epsilon_gamma", "epsilon_gamma_flat", "epsilon_epsilon",
     "epsilon_epsilon_flat"],
)  # fmt: skip
def test_composites(composite):
    torch.manual_seed(5)
    module = stirred(torchvision.models.mobilenet_v3_small(num_classes=10))
    compare(module, composite=composite, tolerance=1e-5)


# Small networks, written by hand ----------------------------------------------------------


class Net(nn.Module):
    """A stem, a body and a head."""

    def __init__(self, body, *, outputs=6, end=None, **parts):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.body, self.end = body, end
        self.last = nn.Conv2d(8, 10, 3, padding=1)
        self.head = nn.Linear(10, outputs)
        self.w = nn.Parameter(torch.randn(8, 8) / 3)
        self.scale = nn.Parameter(torch.rand(8, 1, 1) + 0.5)
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x):
        x = self.body(self, self.norm(self.stem(x)).relu())
        z = self.head(self.last(x).relu().mean((2, 3)))
        return z if self.end is None else self.end(z)


def net(body, **options):
    torch.manual_seed(3)
    return stirred(Net(body, **options), 24)


def conv(ins=8, outs=8):
    return nn.Conv2d(ins, outs, 3, padding=1)


def frozen():
    """torchvision's norm that has no parameters, with numbers."""
    norm = torchvision.ops.FrozenBatchNorm2d(8)
    norm.weight.uniform_(0.5, 2)
    norm.bias.normal_()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm


def in_place(net, x):
    identity = x
    x = net.b(net.a(x).relu_())
    x += identity
    return x.relu_()


def doubled(net, x):
    return net.b(net.a(x).relu()).add_(x, alpha=0.5)


BODIES = {
    "a residual block by hand": lambda net, x: (net.b(net.a(x).relu()) + x).relu(),
    "a sum in place": in_place,
    "a sum with alpha": doubled,
    "a difference": lambda net, x: net.a(x).relu() - net.b(x).relu(),
    "sums of three": lambda net, x: sum([net.a(x), net.b(x), x]).relu(),
    "F.silu": lambda net, x: net.b(F.silu(net.a(x))),
    "F.gelu": lambda net, x: net.b(F.gelu(net.a(x))),
    "F.leaky_relu": lambda net, x: net.b(F.leaky_relu(net.a(x), 0.1)),
    "F.elu in place": lambda net, x: net.b(F.elu(net.a(x), inplace=True)),
    "mish by hand": lambda net, x: net.b(net.a(x) * F.softplus(net.a(x)).tanh()),
    "swish by hand": lambda net, x: net.b(net.a(x) * net.a(x).sigmoid()),
    "a gate": lambda net, x: net.b(x * net.a(x).mean((2, 3), keepdim=True).sigmoid()),
    "a hard gate": lambda net, x: net.b(x * F.hardsigmoid(net.a(x).mean((2, 3), keepdim=True))),
    "a gate for each place": lambda net, x: net.b(x * net.a(x).mean(1, keepdim=True).sigmoid()),
    "a gate by ReLU6": lambda net, x: net.b(net.a(x) * F.relu6(net.b(x) + 3) / 6),
    "a softmax of branches": lambda net, x: (
        torch.stack([net.a(x), net.b(x)], 1)
        * torch.stack([net.a(x), net.b(x)], 1).mean((3, 4), keepdim=True).softmax(1)
    ).sum(1),
    "two of equal standing": lambda net, x: net.a(x) * net.b(x),
    "concatenation": lambda net, x: torch.cat([net.a(x)[:, :4], net.b(x)[:, 4:]], 1).relu(),
    "shuffled channels": lambda net, x: net.b(
        net.a(x).view(len(x), 2, 4, *x.shape[2:]).transpose(1, 2).flatten(1, 2)
    ),
    "pools": lambda net, x: net.b(F.max_pool2d(net.a(x), 3, 2, 1) + F.avg_pool2d(x, 3, 2, 1)),
    "interpolated": lambda net, x: x + F.interpolate(F.max_pool2d(net.a(x), 2), scale_factor=2),
    "bilinear": lambda net, x: x + F.interpolate(
        F.max_pool2d(net.a(x), 2), size=x.shape[2:], mode="bilinear"
    ),
    "padded on one side": lambda net, x: F.conv2d(
        F.pad(x, (0, 1, 0, 1)), net.a.weight, net.a.bias, stride=2
    ),
    "reflected": lambda net, x: F.conv2d(
        F.pad(x, (1, 1, 1, 1), mode="reflect"), net.a.weight, net.a.bias
    ),
    "layer norm": lambda net, x: net.b(
        F.layer_norm(net.a(x).permute(0, 2, 3, 1), (8,)).permute(0, 3, 1, 2)
    ),
    "group norm": lambda net, x: net.b(F.group_norm(net.a(x), 2)).relu(),
    "a linear layer over places": lambda net, x: F.linear(
        net.a(x).permute(0, 2, 3, 1), net.w
    ).permute(0, 3, 1, 2),
    "a scale of channels": lambda net, x: x + net.a(x) * net.scale,
    "checkpoint": lambda net, x: checkpoint(
        lambda y: net.b(net.a(y).relu()) + y, x, use_reentrant=False
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_bodies_of_every_kind(name):
    module = net(BODIES[name], a=conv(), b=conv())
    compare(module, ["stem", "last"], size=24)


NORMS = {
    "batch norm": (conv, lambda: nn.BatchNorm2d(8)),
    "frozen batch norm": (conv, nn.Identity),
    "weight norm": (
        lambda: nn.utils.parametrizations.weight_norm(conv()), lambda: nn.BatchNorm2d(8)
    ),
    "spectral norm": (
        lambda: nn.utils.parametrizations.spectral_norm(conv()), lambda: nn.BatchNorm2d(8)
    ),
    "before the convolution": (lambda: nn.BatchNorm2d(8), conv),
    "two of them": (conv, lambda: nn.Sequential(nn.BatchNorm2d(8), nn.BatchNorm2d(8))),
    "transposed": (lambda: nn.ConvTranspose2d(8, 8, 2, 2, groups=2), lambda: nn.BatchNorm2d(8)),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMS)
def test_norms_of_every_kind(name):
    first, second = NORMS[name]
    module = net(lambda net, x: net.b(net.a(x)).relu(), a=first(), b=second())
    if name == "frozen batch norm":
        module.b = frozen()
    compare(module, ["stem", "last"], size=24)


def test_a_layer_on_a_shortcut_to_which_its_block_adds_in_place():
    """resnet18's last stage by default: its shortcuts are convolutions too."""
    torch.manual_seed(5)
    module = stirred(torchvision.models.resnet18(num_classes=10))
    trace = record(module, pictures(1, SIZE))
    names = choose(trace, ["layer4.*"], plan(trace, "epsilon_plus_flat").reached).names
    assert "layer4.0.downsample.0" in names and len(names) == 5
    compare(module, names)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_a_checkpointed_network_is_measured_once(reentrant):
    torch.manual_seed(5)
    body = stirred(nn.Sequential(conv(3), nn.BatchNorm2d(8), nn.ReLU(), conv()), 24)

    class Network(nn.Module):
        def __init__(self, how):
            super().__init__()
            self.body, self.how = body, how

        def forward(self, x):
            return self.how(self.body, x).mean((2, 3))

    plain, checkpointed = (
        instrumented(Network(how), (3, 24, 24))
        for how in (
            lambda body, x: body(x), lambda body, x: checkpoint(body, x, use_reentrant=reentrant)
        )
    )  # fmt: skip
    images, seen = pictures(3, 24), []
    expected, _ = maps_of(RelevanceEngine(plain), images, torch.full((3,), PREDICTED))

    def visit(layer, mode, maps):
        seen.append((layer, mode))
        assert len(maps) == 3
        torch.testing.assert_close(maps, expected[layer, mode])

    RelevanceEngine(checkpointed)(images, torch.full((3,), PREDICTED), visit)
    assert len(seen) == len(set(seen)) == 4


@pytest.mark.parametrize("end", [lambda z: z.log_softmax(1), torch.sigmoid, lambda z: z.softmax(1)])
def test_ends_that_are_no_logits(end):
    compare(net(BODIES["a sum in place"], a=conv(), b=conv(), end=end), ["stem", "last"], size=24)


def test_one_logit():
    """Of a dog and a cat: half of what speaks for the one and against the other."""
    module = net(BODIES["a gate"], a=conv(), b=conv(), outputs=1)
    images = pictures(4, 24, 9)
    with torch.no_grad():
        module.head.bias -= module(images).mean()
    model = instrumented(module.double(), (3, 24, 24), ["stem", "last"])
    expected = relevances(module, images.double(), ["stem", "last"])
    found, logits = maps_of(RelevanceEngine(model), images.double(), torch.full((4,), PREDICTED))
    torch.testing.assert_close(logits[:, 1:] - logits[:, :1], expected.logits)
    assert len(set(logits.argmax(dim=1).tolist())) == 2
    # The predicted class's logit is half the size of the network's, and positive.
    sign = expected.logits.sign()
    for layer, theirs in expected.channels.items():
        ours = found[layer, "relevance"].sum(dim=(2, 3))
        assert (ours - sign * theirs / 2).abs().max() <= 1e-6 * theirs.abs().max()
