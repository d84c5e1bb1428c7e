"""Which batch norms become part of the layer before them, and that nothing changes by it."""

import pytest
import torch
import torchvision
from torch import nn

from atlas.relevance.merging import find_norms
from atlas.relevance.tape import follow, path_to
from atlas.trace.following import PICTURE
from atlas.trace.record import record
from tests.relevance.looking import at_picture, instrumented


def stirred(module):
    """Return `module` with batch norms that do something, in eval mode."""
    torch.manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d) and part.running_mean is not None:
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
            if part.affine:
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.normal_(part.bias, 0, 0.2)
    return module.eval().requires_grad_(False)


def unmerged(module, size=64):
    """Check that with norms merged logits stay; return how many norms are not merged."""
    torch.manual_seed(2)
    pictures = torch.randn(2, 3, size, size)
    with torch.no_grad():
        before = module(pictures)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    model = instrumented(module, (3, size, size), [])
    tape = follow(model, pictures, path_to(model.plan, [PICTURE]), lambda *_: None)
    largest = float(before.abs().max())
    torch.testing.assert_close(tape.output, before, rtol=1e-4, atol=1e-5 * largest)
    for key, value in module.state_dict().items():  # nothing is changed for good
        assert torch.equal(value, state[key])
    names = [operation.name for operation in model.plan.trace.operations]
    return names.count("batch_norm") - len(find_norms(model.plan.trace))


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("resnet18", 0),
        ("mobilenet_v2", 0),
        ("mobilenet_v3_small", 0),
        ("googlenet", 0),
        ("densenet121", 62),  # those before an activation and a convolution
        ("efficientnet_b0", 0),
        ("shufflenet_v2_x0_5", 0),
        ("regnet_y_400mf", 0),
        ("mnasnet0_5", 0),
    ],
)
def test_merging_never_changes_torchvisions_networks(name, left):
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    assert unmerged(stirred(torchvision.models.get_model(name, **options))) == left


class Tricky(nn.Module):
    """Registers a batch norm right after a convolution that it does not follow."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.other = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return getattr(self, self.way)(x).mean((2, 3))

    def activation_between(self, x):
        return self.norm(torch.relu(self.convolution(x)))

    def in_place_between(self, x):
        return self.norm(torch.relu_(self.convolution(x)))

    def norm_first(self, x):
        return self.convolution(self.norm(self.other(x))[:, :3])

    def addition_between(self, x):
        return self.norm(self.convolution(x) + self.other(x))

    def read_twice(self, x):
        convolved = self.convolution(x)
        return self.norm(convolved) + convolved

    def read_twice_through_a_view(self, x):
        convolved = self.convolution(x)
        return self.norm(convolved) + convolved[:, :1]

    def barely_read_twice(self, x):
        convolved = self.convolution(x)
        return self.norm(convolved) + 1e-6 * convolved

    def read_later_by_a_shape(self, x):
        convolved = self.convolution(x)
        return self.norm(convolved) * (convolved.shape[1] / 4)

    def convolved_twice(self, x):
        """Each time by the same layer, which the norm follows once."""
        return self.norm(self.convolution(x)) + self.convolution(x * 2)

    def norm_twice(self, x):
        return self.norm(self.convolution(x)) + self.norm(self.other(x))


@pytest.mark.parametrize(
    ("way", "left"),
    [
        ("activation_between", 1),
        ("in_place_between", 1),
        ("norm_first", 0),
        ("addition_between", 1),
        ("read_twice", 0),  # the sum is a scale and a shift of the layer's channels too
        ("read_twice_through_a_view", 1),
        ("barely_read_twice", 0),
        ("read_later_by_a_shape", 0),
        ("convolved_twice", 0),
        ("norm_twice", 0),
    ],
)
def test_only_what_follows_is_merged(way, left):
    assert unmerged(stirred(Tricky(way)), 12) == left


class Activated(nn.BatchNorm2d):
    """A norm with its activation in it, as timm's BatchNormAct2d."""

    def forward(self, x):
        return super().forward(x).relu()


def test_an_activation_inside_a_norm_stays():
    """Also where the picture that the network is looked at with would not show it."""
    activated = Activated(4)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), activated, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    stirred(module)
    activated.bias += 9  # hardly ever negative
    assert unmerged(module, 12) == 0
    picture = torch.full((1, 3, 12, 12), -200.0)
    model = instrumented(module, (3, 12, 12), [])
    with torch.no_grad():
        assert (module(picture) == 0).any()
        tape = follow(model, picture, path_to(model.plan, [PICTURE]), lambda *_: None)
        torch.testing.assert_close(tape.output, module(picture), rtol=1e-5, atol=1e-4)
        module[1] = nn.Identity()
        assert (module(picture) < 0).any()


@pytest.mark.parametrize(
    ("norm", "left"),
    [
        (nn.BatchNorm2d(4, affine=False), 0),
        (nn.BatchNorm2d(4, eps=0.1), 0),
        (nn.BatchNorm2d(4, track_running_stats=False), 1),
        (nn.SyncBatchNorm(4), 0),
    ],
)
def test_unusual_batch_norms(norm, left):
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), norm, nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    assert unmerged(stirred(module), 12) == left


def test_a_frozen_norm_is_merged_as_the_other_is():
    """torchvision's FrozenBatchNorm2d multiplies and adds, and is no norm by its class."""
    torch.manual_seed(0)
    convolution, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    frozen = torchvision.ops.FrozenBatchNorm2d(4)
    rest = nn.ReLU(), nn.Conv2d(4, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    usual = stirred(nn.Sequential(convolution, norm, *rest))
    state = {key: value for key, value in norm.state_dict().items() if "num" not in key}
    frozen.load_state_dict(state)
    other = nn.Sequential(convolution, frozen, *rest).eval()
    pictures = torch.randn(2, 3, 12, 12)
    models = [instrumented(module, (3, 12, 12), []) for module in (usual, other)]
    assert [len(find_norms(model.plan.trace)) for model in models] == [1, 1]
    (one, logits), (two, same) = (at_picture(model, pictures) for model in models)
    torch.testing.assert_close(logits, same)
    torch.testing.assert_close(one, two)


def test_linear_layers_with_batch_norm():
    module = nn.Sequential(
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)
    )
    assert unmerged(stirred(module), 12) == 0


def test_batch_norm_over_tokens_is_left_alone():
    module = nn.Sequential(nn.Flatten(2), nn.Linear(144, 5), nn.BatchNorm1d(3), nn.Flatten())
    assert unmerged(stirred(module), 12) == 1


@pytest.mark.parametrize(
    "computed",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        pytest.param(
            nn.utils.weight_norm, marks=pytest.mark.filterwarnings("ignore::FutureWarning")
        ),
        nn.utils.spectral_norm,
    ],
    ids=["weight norm", "spectral norm", "weight norm by hooks", "spectral norm by hooks"],
)
def test_weights_that_are_computed_on_the_way_are_constants(computed):
    convolution = computed(nn.Conv2d(3, 4, 3))
    module = nn.Sequential(
        convolution, nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )  # fmt: skip
    assert unmerged(stirred(module), 12) == 0
    fixed = nn.Conv2d(3, 4, 3)
    with torch.no_grad():
        fixed.weight.copy_(convolution.weight)
        fixed.bias.copy_(convolution.bias)
    pictures = torch.randn(2, 3, 12, 12)
    (one, logits), (two, same) = (
        at_picture(instrumented(network, (3, 12, 12), []), pictures)
        for network in (module, nn.Sequential(fixed, *module[1:]))
    )
    torch.testing.assert_close(logits, same)
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_merged_norm_is_the_norm(transposed, groups):
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    module = nn.Sequential(
        kind(4, 6, 3, groups=groups), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    stirred(module)
    pictures = torch.randn(2, 4, 7, 7)
    model = instrumented(module, (4, 7, 7), ["0"])
    seen = []
    tape = follow(model, pictures, path_to(model.plan, [PICTURE]), lambda *key: seen.append(key))
    with torch.no_grad():
        torch.testing.assert_close(seen[0][1], module[:2](pictures), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(tape.output, module(pictures), rtol=1e-5, atol=1e-5)
    assert len(find_norms(model.plan.trace)) == 1


class Hoarding(nn.Module):
    """Overwrites by and by a tensor that it has handed on."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        convolved = self.convolution(x)
        convolved.abs_()
        convolved.mul_(2).clamp_(max=1)
        return convolved.mean((2, 3))


def test_what_is_overwritten_is_kept_for_those_who_look_at_it():
    torch.manual_seed(0)
    module = Hoarding().eval()
    pictures = torch.randn(2, 3, 12, 12)
    model = instrumented(module, (3, 12, 12))
    seen = {}
    tape = follow(model, pictures, frozenset(), seen.__setitem__)
    with torch.no_grad():
        torch.testing.assert_close(seen["convolution"], module.convolution(pictures))
        torch.testing.assert_close(tape.output, module(pictures))


# What relevance needs ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("resnet18", 1),
        ("mobilenet_v2", 1),
        ("regnet_y_400mf", 1),
        ("mnasnet0_5", 1),
        ("efficientnet_b0", 3),  # against the gates, which halve what passes
    ],
)
def test_relevance_is_conserved(name, gain):
    """Without biases the relevance of the picture sums up to the logit that it starts from."""
    module = stirred(torchvision.models.get_model(name))
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.zero_()
            part.bias.zero_()
            part.running_var.fill_(1)
            part.weight.fill_(1)
        if isinstance(part, nn.Conv2d | nn.Linear):
            weight = part.weight.abs_()
            weight *= gain / weight.flatten(1).sum(1).view(-1, *[1] * (weight.ndim - 1))
            if part.bias is not None:
                part.bias.zero_()
    pictures = torch.rand(1, 3, 64, 64)
    model = instrumented(module, (3, 64, 64), [])
    with torch.no_grad():
        logits = module(pictures)
    start = torch.zeros_like(logits)
    start[0, 0] = logits[0, 0]
    relevance, _ = at_picture(model, pictures, start)
    assert float(relevance.sum() / logits[0, 0]) == pytest.approx(1, abs=0.02)


def test_a_trace_holds_the_norms_of_a_network_without_running_it_again():
    module = stirred(torchvision.models.resnet18())
    found = find_norms(record(module, torch.zeros(1, 3, 64, 64)))
    sizes = [len(norm.scale) for norm in found]
    assert len(found) == 20
    assert sizes[0] == 64 and max(sizes) == 512
    for norm, part in zip(found[:1], [module.bn1], strict=True):
        scale = part.weight.double() / (part.running_var.double() + part.eps).sqrt()
        torch.testing.assert_close(norm.scale, scale)
        torch.testing.assert_close(norm.shift, part.bias.double() - part.running_mean * scale)
