"""Importance of factors: a closed form, another implementation, and a theorem."""

import math

import numpy as np
import pytest
import torch
from SALib.analyze import sobol
from torch import nn

from atlas.factors import completeness, importance, maps
from atlas.relevance.tape import follow
from tests.factors.test_maps import LAYER, basis, network
from tests.relevance.looking import instrumented


def ishigami(points):
    x, y, z = (2 * math.pi * points - math.pi).T
    return np.sin(x) + 7 * np.sin(y) ** 2 + 0.1 * z**4 * np.sin(x)


def test_total_indices_of_the_ishigami_function():
    """Closed form: Ishigami and Homma 1990, with a = 7 and b = 0.1."""
    found = importance.total_indices(ishigami, *importance.designs(3, 8192, seed=0))
    np.testing.assert_allclose(found, [0.5576, 0.4424, 0.2437], atol=0.005)


def test_total_indices_are_those_of_salib_on_the_same_points():
    one, other = importance.designs(3, 256, seed=5)
    rows = []
    for number in range(len(one)):  # in Saltelli's order: A, A with columns of B, B
        rows.append(one[number])
        for column in range(3):
            mixed = one[number].copy()
            mixed[column] = other[number, column]
            rows.append(mixed)
        rows.append(other[number])
    problem = {"num_vars": 3, "names": ["x", "y", "z"], "bounds": [[0, 1]] * 3}
    theirs = sobol.analyze(
        problem, ishigami(np.array(rows)), calc_second_order=False, num_resamples=2, seed=1
    )
    np.testing.assert_allclose(
        importance.total_indices(ishigami, one, other), theirs["ST"], rtol=0, atol=1e-12
    )


def test_a_function_that_is_constant_rests_on_nothing():
    points = importance.designs(2, 8, 0)
    assert not importance.total_indices(lambda some: np.ones(len(some)), *points).any()


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
