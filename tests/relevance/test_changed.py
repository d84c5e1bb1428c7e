"""What a network answers when a layer's output is another, beside changing it by a hook."""

import pytest
import torch
import torchvision
from torch import nn

from atlas.relevance import changed
from tests.relevance.looking import instrumented
from tests.relevance.zoo import pictures, stir


class Net(nn.Module):
    """With a sum in place, a concatenation, a gate and a norm behind the layer that is changed."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6)
        self.a, self.b = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1)
        self.last = nn.Linear(12, 4)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu_()
        y = self.a(x)
        y += x
        y = y * self.b(x).mean((2, 3), keepdim=True).sigmoid()
        return self.last(torch.cat([x, y.relu_()], 1).mean((2, 3)))


def net():
    torch.manual_seed(0)
    module = Net()
    stir(module, pictures(4, 24))
    return module


def by_hook(module, image, layer, versions):
    """Let a hook put each version in the place of what a layer gives."""
    answers = []
    for version in versions:
        handle = module.get_submodule(layer).register_forward_hook(
            lambda *_, version=version: version[None].clone()
        )
        with torch.no_grad():
            answers.append(module(image)[0])
        handle.remove()
    return torch.stack(answers)


@pytest.mark.parametrize(
    ("layer", "at"), [("stem", "norm"), ("a", "a"), ("b", "b"), ("norm", "norm")]
)
def test_it_is_what_a_hook_would_do(layer, at):
    """A layer with a norm is changed behind the norm, where its maps are those of the atlas."""
    module, image = net(), pictures(1, 24, 3)
    model = instrumented(module, (3, 24, 24), ["stem", "norm", "a", "b"])
    seen = []

    def change(output):
        versions = output.repeat(3, 1, 1, 1)
        versions[0, 2] = 0
        versions[1, :, :, 4:] = 1
        seen.append(versions.clone())
        return versions

    found = changed.logits(model, image, layer, change)
    assert found.shape == (3, 4)
    assert len(seen) == 1
    torch.testing.assert_close(found, by_hook(module, image, at, seen[0]), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(found[2], module(image)[0], rtol=1e-5, atol=1e-6)
    assert (found[0] - found[2]).abs().max() > 1e-3


def test_without_a_change_it_is_the_network():
    module, images = net(), pictures(5, 24, 3)
    model = instrumented(module, (3, 24, 24))
    with torch.no_grad():
        torch.testing.assert_close(changed.logits(model, images), module(images))


def test_one_logit_is_two_classes():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                           nn.Linear(4, 1), nn.Sigmoid())  # fmt: skip
    model = instrumented(module, (3, 8, 8))
    found = changed.logits(model, torch.randn(2, 3, 8, 8), None)
    assert found.shape == (2, 2)
    torch.testing.assert_close(found[:, 0], -found[:, 1])


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v3_small"])
def test_networks_of_torchvision(name):
    torch.manual_seed(0)
    module = torchvision.models.get_model(name, num_classes=5)
    stir(module, pictures(4, 64))
    model = instrumented(module, (3, 64, 64))
    layer = list(model.layers)[len(model.layers) // 2]
    image = pictures(1, 64, 3)
    found = changed.logits(
        model, image, layer, lambda output: torch.cat([output, output * 0, output])
    )
    with torch.no_grad():
        expected = module(image)[0]
    torch.testing.assert_close(found[0], found[2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0], expected, rtol=1e-3, atol=1e-4)


class InPlace(nn.Module):
    """What is overwritten was read before, and is overwritten again."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Linear(4, 3)

    def forward(self, x, inplace=True):
        y = self.a(x)
        z = self.b(y.sigmoid())
        if inplace:
            z += y
            z = nn.functional.silu(z, inplace=True)
            z.mul_(2)
        else:
            z = nn.functional.silu(z + y) * 2
        return self.last(z.mean((2, 3)))


def test_gradients_are_those_of_the_same_network_without_operations_in_place():
    torch.manual_seed(0)
    module, image = InPlace(), torch.randn(2, 3, 8, 8)
    model = instrumented(module, (3, 8, 8), ["a"])
    image.requires_grad_()
    found = torch.autograd.grad(changed.differentiable(model, image)[:, 1].sum(), image)
    expected = torch.autograd.grad(module(image, inplace=False)[:, 1].sum(), image)
    torch.testing.assert_close(found, expected)

    added = torch.zeros(1, 4, 8, 8, requires_grad=True)
    logits = changed.differentiable(model, image.detach(), "a", lambda output: output + added)
    found = torch.autograd.grad(logits[:, 1].sum(), added)
    handle = module.a.register_forward_hook(lambda *given: given[2] + added)
    expected = torch.autograd.grad(module(image, inplace=False)[:, 1].sum(), added)
    handle.remove()
    torch.testing.assert_close(found, expected)
