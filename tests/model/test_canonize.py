"""Batch norms merged, nothing overwritten, relevance conserved."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from zennit.composites import EpsilonPlusFlat

from atlas.model import canonize

# Batch norms and what is in place ---------------------------------------------------------


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
    return module.eval()


@torch.no_grad()
def recorded(module, pictures):
    """Return the logits, and each output that a hook keeps with what it was at that moment."""
    kept = []
    handles = [
        part.register_forward_hook(lambda part, inputs, out: kept.append((out, out.clone())))
        for part in module.modules()
    ]
    logits = module(pictures)
    for handle in handles:
        handle.remove()
    return logits, kept


def prepared(module, size=64):
    """Prepare `module`; check that logits stay and that no hook's tensor is overwritten."""
    pictures = torch.randn(2, 3, size, size)
    with torch.no_grad():
        before = module(pictures)
    canonize.prepare(module, pictures[:1])
    after, kept = recorded(module, pictures)
    largest = float(before.abs().max())
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5 * largest)
    assert all(torch.equal(output, then) for output, then in kept)
    return sum(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


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
    assert prepared(stirred(torchvision.models.get_model(name, **options))) == left


def test_merging_vgg_with_batch_norm():
    module = torchvision.models.vgg11_bn(num_classes=3)
    module.classifier = nn.Sequential(nn.Linear(25088, 3))
    assert prepared(stirred(module)) == 0


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

    def convolved_twice(self, x):
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
        ("read_twice", 1),
        ("read_twice_through_a_view", 1),
        ("barely_read_twice", 1),
        ("convolved_twice", 1),
        ("norm_twice", 1),
    ],
)
def test_only_what_follows_is_merged(way, left):
    assert prepared(stirred(Tricky(way)), 12) == left


@pytest.mark.parametrize(
    ("norm", "left"),
    [
        (nn.BatchNorm2d(4, affine=False), 0),
        (nn.BatchNorm2d(4, eps=0.1), 0),
        (nn.BatchNorm2d(4, track_running_stats=False), 1),
    ],
)
def test_unusual_batch_norms(norm, left):
    module = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), norm, nn.AdaptiveAvgPool2d(1))
    assert prepared(stirred(module), 12) == left


def test_linear_layers_with_batch_norm():
    module = nn.Sequential(
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)
    )
    assert prepared(stirred(module), 12) == 0


def test_batch_norm_over_tokens_is_left_alone():
    module = nn.Sequential(nn.Flatten(2), nn.Linear(144, 5), nn.BatchNorm1d(3), nn.Flatten())
    assert prepared(stirred(module), 12) == 1


def test_weights_computed_on_the_fly_are_left_alone():
    convolution = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    module = nn.Sequential(convolution, nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1))
    assert prepared(stirred(module), 12) == 1


class Hoarding(nn.Module):
    """Overwrites by and by a tensor that it has handed on."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        convolved = self.convolution(x)
        convolved += 1
        half = convolved[:, :2]
        half *= 2
        return convolved.mean((2, 3))


def test_what_operators_overwrite_is_kept_for_hooks():
    module = Hoarding().eval()
    assert prepared(module, 12) == 0
    assert isinstance(module.convolution, nn.Conv2d)
    twin = copy.deepcopy(module)
    pictures = torch.randn(1, 3, 12, 12)
    assert torch.equal(twin(pictures), module(pictures))


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
def test_with_the_canonizers_relevance_is_conserved(name, gain):
    """Without biases the relevance of every layer sums up to the logit that it starts from."""
    module = stirred(torchvision.models.get_model(name))
    pictures = torch.rand(1, 3, 64, 64)
    canonize.prepare(module, pictures)
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            weight = part.weight.abs_()
            weight *= gain / weight.flatten(1).sum(1).view(-1, *[1] * (weight.ndim - 1))
            if part.bias is not None:
                part.bias.zero_()
    totals = {
        with_canonizers: _relevance_at_the_input(module, pictures, with_canonizers)
        for with_canonizers in (True, False)
    }
    assert totals[True] == pytest.approx(1, abs=0.02)
    assert totals[False] != pytest.approx(1, abs=0.2)


def _relevance_at_the_input(module, pictures, with_canonizers):
    pictures = pictures.clone().requires_grad_()
    applied = canonize.canonizers(module) if with_canonizers else []
    with EpsilonPlusFlat(canonizers=applied).context(module) as modified:
        logits = modified(pictures)
        start = torch.zeros_like(logits)
        start[0, 0] = logits[0, 0].detach()
        (relevance,) = torch.autograd.grad(logits, pictures, start)
    return float(relevance.sum() / logits[0, 0].detach())


def test_canonizers_leave_the_logits_and_no_trace():
    module = stirred(torchvision.models.efficientnet_b0())
    pictures = torch.rand(1, 3, 64, 64)
    canonize.prepare(module, pictures)
    with torch.no_grad():
        before = module(pictures)
        names = [name for name, _ in module.named_modules()]
        applied = [
            one for canonizer in canonize.canonizers(module) for one in canonizer.apply(module)
        ]
        assert len(applied) > 20
        torch.testing.assert_close(module(pictures), before, rtol=1e-4, atol=1e-6)
        for one in applied:
            one.remove()
        assert [name for name, _ in module.named_modules()] == names
        assert torch.equal(module(pictures), before)
    assert canonize.canonizers(torchvision.models.squeezenet1_1()) == []
