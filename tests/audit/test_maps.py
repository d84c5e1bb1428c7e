"""Maps of an audit: beside captum, SALib and recorded maps of grad-cam, and closed forms."""

import json

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion
from SALib.analyze import sobol as salib
from torch import nn

from atlas.audit import controls, gradients, masking
from atlas.audit.audited import Audited
from atlas.audit.maps import available, last_with_positions
from atlas.relevance.engine import RelevanceEngine
from atlas.sobol import designs
from tests.audit import grad_cam
from tests.relevance.looking import at_picture, instrumented


@pytest.fixture(scope="module")
def module():
    return grad_cam.network()


@pytest.fixture(scope="module")
def audited(module):
    return Audited(instrumented(module, (3, 14, 14), ["2", grad_cam.LAYER]))


@pytest.fixture(scope="module")
def images():
    return grad_cam.pictures()


TARGETS = torch.tensor([2, 0])


def linear(weight):
    """A network that weighs the pixels of a grey picture."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(weight.size, 2))
    module[1].weight.data[0] = torch.from_numpy(weight.astype(np.float32)).flatten()
    return Audited(instrumented(module, (1, *weight.shape), [], composite=None))


def test_integrated_gradients_are_those_of_captum(module, audited, images):
    found = gradients.integrated(audited, images, TARGETS)
    theirs = IntegratedGradients(module).attribute(
        images, target=TARGETS, n_steps=gradients.STEPS, method="gausslegendre"
    )
    torch.testing.assert_close(found, theirs.sum(dim=1), rtol=1e-4, atol=1e-5)


def test_occlusion_is_that_of_captum(module, audited, images):
    found = masking.occlusion(audited, images, TARGETS)
    theirs = Occlusion(module).attribute(images, (3, 2, 2), strides=(3, 1, 1), target=TARGETS)
    torch.testing.assert_close(found, theirs[:, 0], rtol=1e-4, atol=1e-5)


def test_windows_cover_pictures_that_they_do_not_fit_into():
    """As captum's, the last ones are cut off at the border."""
    covered = np.zeros((23, 30), int)
    for rows, columns in masking.windows((23, 30)):
        covered[rows, columns] += 1
    assert covered.min() == 1
    assert masking.windows((23, 30))[-1] == (slice(20, 23), slice(26, 30))


@pytest.mark.parametrize("layer", ["2", "3"])
def test_grad_cam_is_that_of_captum(module, audited, images, layer):
    output, first = gradients.at_layer(audited, layer, images, TARGETS)
    weights = gradients.plain(output, first, first**2, first**3)
    theirs = LayerGradCam(module, module[int(layer)]).attribute(
        images, target=TARGETS, relu_attributions=True
    )
    torch.testing.assert_close(
        gradients.weighed(output, weights), theirs[:, 0], rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    ("name", "weights"), [("grad-cam", gradients.plain), ("grad-cam++", gradients.plus_plus)]
)
def test_maps_are_those_of_the_package_grad_cam(audited, images, name, weights):
    recorded = torch.tensor(json.loads(grad_cam.RECORDED.read_text())[name])
    targets = torch.full((2,), grad_cam.TARGET)
    output, first = gradients.at_layer(audited, grad_cam.LAYER, images, targets)
    found = gradients.weighed(output, weights(output, first, first**2, first**3))
    assert recorded.max() > 0.1
    torch.testing.assert_close(found, recorded, rtol=1e-4, atol=1e-5)


def test_without_noise_smooth_grad_cam_is_grad_cam(audited, images, monkeypatch):
    plain = gradients.cam(audited, "3", gradients.plus_plus, images, TARGETS)
    noisy = gradients.smooth(audited, "3", 0, images, TARGETS)
    monkeypatch.setattr(gradients, "NOISE", 0.0)
    quiet = gradients.smooth(audited, "3", 0, images, TARGETS)
    torch.testing.assert_close(quiet, plain, rtol=1e-4, atol=1e-6)
    assert (noisy - plain).abs().max() > 0.01 * plain.abs().max()


def test_indices_of_regions_are_those_of_salib(audited, images):
    image, target = images[:1], TARGETS[:1]
    found = masking.region_indices(audited, 3, image, target)
    one, other = designs(64, masking.DESIGNS, 3)
    rows = []
    for number in range(len(one)):
        mixed = np.tile(one[number], (64, 1))
        np.fill_diagonal(mixed, other[number])
        rows += [one[number], *mixed, other[number]]
    place = torch.arange(14) * 8 // 14  # which of eight rows or columns a pixel is in
    masks = torch.from_numpy(np.array(rows)).float().view(-1, 1, 8, 8)[..., place, :][..., place]
    answers = audited.logits(image * masks, target.expand(len(masks))).double().numpy()
    problem = {"num_vars": 64, "names": list(map(str, range(64))), "bounds": [[0, 1]] * 64}
    theirs = salib.analyze(problem, answers, calc_second_order=False, num_resamples=2, seed=1)
    np.testing.assert_allclose(found.ravel(), theirs["ST"], rtol=0, atol=1e-4)


def test_of_a_linear_network_all_is_known():
    """Contributions are weight times pixel; an index is a region's square among all."""
    weight = np.zeros((16, 16))
    weight[2:4, 4:6], weight[8:10, 8:10], weight[15, 15] = 1, -2, 3
    audited, image = linear(weight), torch.ones(1, 1, 16, 16)
    target = torch.tensor([0])
    found = gradients.integrated(audited, image, target)[0].numpy()
    np.testing.assert_allclose(found, weight, atol=1e-5)
    indices = masking.region_indices(audited, 0, image, target)
    squares = weight.reshape(8, 2, 8, 2).sum(axis=(1, 3)) ** 2
    np.testing.assert_allclose(indices, squares / squares.sum(), atol=0.1)
    assert indices.argmax() == squares.argmax()


def test_relevance_is_that_of_the_pixels_summed_over_colours(module, audited, images):
    engine = RelevanceEngine(audited.model, pixels=True)
    lrp = available(audited, (14, 14), None, engine, {})["lrp"]
    logits = audited.model.plan.head.class_logits(module(images))
    start = torch.zeros_like(logits).scatter(
        1, TARGETS[:, None], logits.gather(1, TARGETS[:, None])
    )
    expected, _ = at_picture(audited.model, images, start)
    torch.testing.assert_close(lrp.of(images, TARGETS), expected.sum(dim=1), rtol=1e-4, atol=1e-6)


def test_controls_know_nothing_of_the_network(images):
    noise = controls.chance(images, TARGETS)
    assert torch.equal(noise, controls.chance(images, TARGETS.flip(0)))
    assert not torch.equal(noise[0], controls.chance(images + 1e-6, TARGETS)[0])
    centre = controls.centre(images, TARGETS)
    assert centre[0].max() == centre[0, 6:8, 6:8].max() and centre[0, 0, 0].abs() < 1e-6
    step = torch.zeros(1, 3, 9, 9)
    step[..., 5:] = 1
    edges = controls.edges(step, TARGETS[:1])[0]
    assert (edges[:, 4:6] == 4).all() and not edges[:, :4].any() and not edges[:, 6:].any()


def test_the_layer_of_grad_cam_is_the_last_with_positions():
    shapes = {"a": (1, 4, 8, 8), "b": (1, 6, 4, 1), "c": (1, 6, 1, 1), "d": (1, 3)}
    assert last_with_positions(shapes) == "b"
    assert last_with_positions({"c": (1, 6, 1, 1), "d": (1, 3)}) is None


def test_networks_that_switch_gradients_off_have_them_all_the_same(audited, images):
    module = grad_cam.network()
    module.forward = torch.no_grad()(module.forward)
    other = Audited(instrumented(module, (3, 14, 14), ["3"]))
    expected = audited.gradients(images, TARGETS)
    torch.testing.assert_close(other.gradients(images, TARGETS), expected)
    assert expected.abs().max() > 0.01
