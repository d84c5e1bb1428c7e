"""Measures of maps: beside captum, on a linear network, and at their ends."""

import numpy as np
import pytest
import torch
from captum.metrics import infidelity, sensitivity_max
from torch import nn

from atlas.audit import measures, report
from atlas.audit.audited import Audited
from atlas.audit.maps import Mapper
from tests.audit.test_maps import linear
from tests.relevance.looking import instrumented

ONE = torch.tensor([1])


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(4 * 49, 3),
    )  # fmt: skip


@pytest.fixture(scope="module")
def audited(module):
    return Audited(instrumented(module, (1, 16, 16), ["2"]))


@pytest.fixture(scope="module")
def image():
    return torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(5))


def gradient_times_input(audited):
    return lambda images, targets: (images * audited.gradients(images, targets)).sum(dim=1)


def test_infidelity_is_that_of_captum_by_the_mean_square_of_the_falls(module, audited, image):
    map_ = gradient_times_input(audited)(image, ONE)[0]
    masks = measures.squares((16, 16), 4)
    fallen = measures.falls(audited, image, ONE, masks)
    theirs = infidelity(
        module, lambda inputs: (masks[:, None], inputs * (1 - masks[:, None])), image,
        map_[None, None], target=1, n_perturb_samples=len(masks), normalize=True,
    )  # fmt: skip
    expected = float(theirs) / float((fallen**2).mean())
    assert measures.infidelity(map_, masks, fallen) == pytest.approx(expected, abs=1e-4)
    assert 0.01 < expected < 0.99


def test_sensitivity_is_that_of_captum(audited, image):
    of = gradient_times_input(audited)
    seen = []
    map_ = of(image, ONE)[0]
    spread = torch.tensor([0.25])
    found = measures.sensitivity(
        lambda images, targets: (seen.append(images), of(images, targets))[1],
        image, ONE, map_, spread, seed=9,
    )  # fmt: skip

    def explained(inputs):
        (images,) = inputs if isinstance(inputs, tuple) else (inputs,)
        return (of(images, ONE.expand(len(images)))[:, None],)  # captum errs on a bare tensor

    theirs = sensitivity_max(
        explained, image, perturb_func=lambda inputs, radius: seen[0],
        n_perturb_samples=measures.DRAWS,
    )  # fmt: skip
    assert found == pytest.approx(float(theirs), rel=1e-4)
    reach = (seen[0] - image).abs().max()
    assert 0.9 * measures.RADIUS / 0.25 < reach <= measures.RADIUS / 0.25 + 1e-6


def test_a_map_of_contributions_foresees_all_of_a_linear_network():
    weight = np.random.default_rng(0).standard_normal((16, 16))
    audited, image = linear(weight), torch.rand(1, 1, 16, 16)
    masks = measures.squares((16, 16), 0)
    fallen = measures.falls(audited, image, torch.tensor([0]), masks)
    map_ = torch.from_numpy(weight).float() * image[0, 0]
    assert measures.infidelity(5 * map_, masks, fallen) < 1e-6
    assert measures.infidelity(torch.zeros(16, 16), masks, fallen) == 1
    assert measures.infidelity(map_, masks, 0 * fallen) == 1
    assert masks.sum(dim=(1, 2)).min() >= 4 and masks.sum(dim=(1, 2)).max() <= 64


def test_curves_are_areas_under_the_probability():
    """All that counts is one pixel: it goes in the first step, or the last."""
    weight = np.zeros((8, 8))
    weight[3, 4] = 20
    audited, image, target = linear(weight), torch.ones(1, 1, 8, 8), torch.tensor([0])
    bias = audited.model.module[1].bias
    bias.data[:] = torch.tensor([-10.0, 0])  # the probability is 1 with the pixel, 0 without it
    map_ = torch.from_numpy(weight)
    step = 1 / measures.STEPS
    curves = {
        (name, inserted): measures.area(
            measures.heights(audited, image, target, one, inserted=inserted)
        )
        for name, one in (("right", map_), ("wrong", -map_))
        for inserted in (False, True)
    }
    expected = {("right", False): step / 2, ("right", True): 1 - step / 2,
                ("wrong", False): 1 - step / 2, ("wrong", True): step / 2}  # fmt: skip
    assert curves == pytest.approx(expected, abs=1e-3)
    versions = measures.versions(image, map_, inserted=False)
    assert versions.sum(dim=(1, 2, 3)).tolist() == [64 - 2 * n for n in range(33)]


def test_mass_and_rank():
    inside = torch.zeros(4, 4, dtype=torch.bool)
    inside[:2, :2] = True
    map_ = torch.zeros(4, 4)
    map_[0, 0], map_[3, 3], map_[2, 2], map_[0, 1] = 3, 1, -5, 0.5
    assert measures.mass(map_, inside) == pytest.approx(3.5 / 4.5)
    map_[3, 2], map_[3, 1] = 0.9, 0.8
    assert measures.rank(map_, inside) == 0.25  # of the four highest, 3 lies inside
    assert measures.mass(-map_.abs(), inside) == 0


def test_figures_are_means_with_their_bootstrap(audited, image, monkeypatch):
    monkeypatch.setattr(report, "PASSES", 600)
    truth = torch.zeros(16, 16, dtype=torch.bool)
    truth[:4] = True
    pictures = [report.Pictured(image + 0.1 * n, truth) for n in range(8)]
    maps = {
        "lrp": Mapper(gradient_times_input(audited), 2),
        "sobol": Mapper(gradient_times_input(audited), 20),
        "centre": Mapper(lambda images, targets: torch.ones(len(images), 16, 16), 0),
    }
    found = report.figures(audited, maps, pictures, torch.tensor([1.0]), 0)
    by = {(one.map, one.measure): one for one in found}
    assert list(dict.fromkeys(one.map for one in found)) == list(maps)
    each = []
    for one in pictures:
        target = audited.answer(one.image)
        each.append(measures.mass(gradient_times_input(audited)(one.image, target)[0], truth))
    figure = by["lrp", "mass"]
    assert figure.mean == pytest.approx(np.mean(each))
    assert figure.low < figure.mean < figure.high
    width = figure.high - figure.low
    assert width == pytest.approx(2 * 1.96 * np.std(each) / np.sqrt(8), rel=0.2)
    assert by["centre", "mass"].low == by["centre", "mass"].high == 0.25
    assert by["centre", "sensitivity"].mean == 0
    assert by["lrp", "sensitivity"].pictures == 8
    costly = by["sobol", "sensitivity"]  # too few pictures for an interval
    assert (costly.pictures, costly.low) == (3, None)
    assert report.object_share(pictures) == 0.25
