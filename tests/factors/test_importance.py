"""Importance of factors: a closed form, another implementation, and a theorem."""

import numpy as np
import pytest
import torch
from torch import nn

from atlas.factors import completeness, importance, maps
from atlas.relevance.tape import follow
from tests.factors.test_maps import LAYER, basis, network
from tests.relevance.looking import instrumented


@pytest.fixture
def linear():
    """A network whose head is linear after average pooling, and an answer of it."""
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    model = instrumented(network(head), (3, 16, 16), [LAYER])
    image = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    output = []
    follow(model, image, frozenset(), lambda _, value: output.append(value.clone()))
    found = maps.of_activation(output[0], basis())
    return importance.answer(model, image, basis(), found, 1), found


def test_with_a_linear_head_gradient_occlusion_and_integrated_gradients_agree(linear):
    of, found = linear
    assert (found.sum(dim=(0, 2, 3)) > 0).sum() >= 3
    gradient, occlusion = importance.by_gradient(of, 5), importance.by_occlusion(of, 5)
    torch.testing.assert_close(gradient, occlusion, rtol=1e-4, atol=1e-6)
    scales = (torch.arange(16) + 0.5)[:, None].repeat(1, 5) / 16
    scales.requires_grad_()
    (steps,) = torch.autograd.grad(of(scales).sum(), scales)
    torch.testing.assert_close(gradient, steps.mean(dim=0), rtol=1e-4, atol=1e-6)
    # And then the total indices are those of a sum: squares of the terms.
    expected = (gradient.square() / gradient.square().sum()).numpy()
    np.testing.assert_allclose(importance.by_variance(of, 5, 0, 512), expected, atol=0.03)


def test_what_chance_takes_away_is_the_mean_of_many_draws():
    """With a linear head every factor is missing in 3 of 5 draws, and so is its part."""
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    model = instrumented(network(head), (3, 16, 16), [LAYER])
    images = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    found = completeness.matters(model, images, basis(), seed=0)
    _, coefficients, targets = completeness.relevances(model, images, basis())
    whole, none = 0.0, 0.0
    for number, image in enumerate(images):
        of = importance.answer(
            model, image[None], basis(), coefficients[number][None], targets[number]
        )
        both = importance.scaled(of, torch.tensor([[1.0] * 5, [0.0] * 5]))
        whole, none = whole + float(both[0]), none + float(both[1])
    expected = 1 - 3 / 5 * (1 - none / whole)
    assert found["without_random"] == pytest.approx(expected, abs=0.1)
    assert found["without_relevant"] < found["without_random"]


def test_taking_away_and_putting_in_meet_at_both_ends(linear):
    of, _ = linear
    order = [3, 0, 4, 1, 2]
    away, put = importance.deletion(of, order, 5), importance.insertion(of, order, 5)
    assert len(away) == len(put) == 6
    assert away[0] == pytest.approx(put[-1], abs=1e-5)
    assert away[-1] == pytest.approx(put[0], abs=1e-5)
    effect = importance.by_occlusion(of, 5)
    assert away[0] - away[1] == pytest.approx(float(effect[3]), abs=1e-5)
    assert put[1] - put[0] == pytest.approx(float(effect[3]), abs=1e-5)
