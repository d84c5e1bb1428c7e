"""The pre-pass finds what zennit-crp's FeatureVisualization finds."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from crp.attribution import CondAttribution
from crp.concepts import ChannelConcept
from crp.visualization import FeatureVisualization
from PIL import Image
from torch import nn

from atlas.data import Record
from atlas.model import networks
from atlas.model.preprocessing import Preprocessor
from atlas.prepass.measuring import measure_channels
from atlas.prepass.topk import EMPTY
from atlas.recipe import Activation, Prepass, Relevance
from atlas.recipe import Model as ModelTable
from atlas.recipe import Preprocessing as PreprocessingTable
from atlas.relevance.engine import RelevanceEngine
from atlas.store import MODES
from tests.relevance import by_zennit
from tests.relevance.looking import instrumented

K = 40  # what zennit-crp keeps
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Given:
    """A source of pictures that are in memory."""

    images: list[Image.Image]
    targets: list[int]
    name = "given"
    classes = None
    random_access = True

    @property
    def count(self):
        return len(self.images)

    def describe(self):
        return {}

    def records(self, start=0):
        return self.fetch(range(start, self.count))

    def fetch(self, indices):
        for index in indices:
            copy = partial(Image.Image.copy, self.images[index])
            yield Record(index, f"{index}.png", self.targets[index], copy)


def small_network() -> tuple[nn.Module, Preprocessor]:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 5, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(5 * 7 * 7, 12),
        nn.ReLU(),
        nn.Linear(12, 4),
    )
    size = (0.5, 0.5, 0.5)
    return module.eval().requires_grad_(False), Preprocessor(32, 32, size, size)


def demo_network() -> tuple[nn.Module, Preprocessor]:
    network = networks.load(ModelTable(name="demo/vgg", device="cpu"), PreprocessingTable(), 0)
    return network.module, network.preprocessing


NETWORKS = {
    "small": (small_network, ("0", "3", "5")),
    "demo": (demo_network, ("features.0", "features.17", "features.40", "planted")),
}


def pictures(count: int, side: int) -> list[Image.Image]:
    random = np.random.default_rng(1)
    coarse = random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return [Image.fromarray(small).resize((side, side)) for small in coarse]


def oracle(module, layers, inputs, targets, aggregate, normalize, folder):
    """Scores, samples and peaks by mode and layer, each (40, channels)."""
    fit = by_zennit.fit(module)
    composite = by_zennit.composite("epsilon_plus_flat", by_zennit.canonizers(fit))
    dataset = [(picture, int(target)) for picture, target in zip(inputs, targets, strict=True)]
    visualization = FeatureVisualization(
        CondAttribution(fit),
        dataset,
        {layer: ChannelConcept() for layer in layers},
        max_target=aggregate,
        abs_norm=normalize,
        path=str(folder),
        device="cpu",
    )
    visualization.run(composite, 0, len(dataset), batch_size=10)
    norm = "normed" if normalize else "unnormed"
    found = {}
    for mode, name in (("activation", "ActMax"), ("relevance", "RelMax")):
        for layer in layers:
            stem = f"{folder}/{name}_{aggregate}_{norm}/{layer}_"
            found[mode, layer] = tuple(
                np.load(f"{stem}{part}.npy") for part in ("rel", "data", "rf")
            )
    return found


@pytest.mark.parametrize(
    ("name", "aggregate", "normalize"),
    [("small", "sum", False), ("small", "max", True), ("demo", "sum", True)],
)
def test_references_scores_and_peaks_are_those_of_zennit_crp(name, aggregate, normalize, tmp_path):
    make, layers = NETWORKS[name]
    module, preprocessing = make()
    images = pictures(57, preprocessing.crop)
    inputs = preprocessing.tensor(images)
    with torch.no_grad():
        classes = module(inputs).shape[1]
    targets = [number % classes for number in range(len(images))]
    expected = oracle(module, layers, inputs, targets, aggregate, normalize, tmp_path)

    tally = measure_channels(
        Given(images, targets),
        range(classes),
        classes,
        RelevanceEngine(instrumented(module, inputs.shape[1:], layers)),
        preprocessing,
        Activation(aggregate=aggregate, normalize=normalize),
        Relevance(aggregate=aggregate, normalize=normalize),
        Prepass(k=K, batch_size=13),
        torch.device("cpu"),
    )

    compared = 0
    for layer in layers:
        for mode in MODES:
            scores, samples, peaks = expected[mode, layer]
            top = tally.layers[layer].top[mode]
            for channel in range(scores.shape[1]):
                compared += compare(
                    *(tensor[channel].numpy() for tensor in (top.scores, top.indices, top.peaks)),
                    *(array[:, channel] for array in (scores, samples, peaks)),
                )
    assert compared > 0.8 * len(layers) * K  # the comparison is not empty


def compare(scores, samples, peaks, their_scores, their_samples, their_peaks) -> int:
    """Compare one channel's references; return how many were compared sample by sample.

    Where two scores agree to the last digits, either order is right: places are compared
    only if the scores differ from both neighbours'. Silent pictures (a score of exactly
    zero) are no references here.
    """
    spoke = their_scores != 0
    their_scores, their_samples, their_peaks = (
        array[spoke] for array in (their_scores, their_samples, their_peaks)
    )
    count = len(their_scores)
    if count == 0:
        assert (samples == EMPTY).all()
        return 0
    assert (samples[:count] != EMPTY).all()
    scale = np.abs(their_scores).max()
    np.testing.assert_allclose(scores[:count], their_scores, rtol=TOLERANCE, atol=1e-6 * scale)
    gaps = np.abs(np.diff(their_scores, prepend=np.inf)) > 1e-5 * scale
    clear = gaps & np.append(gaps[1:], False)
    np.testing.assert_array_equal(samples[:count][clear], their_samples[clear])
    np.testing.assert_array_equal(peaks[:count][clear], their_peaks[clear])
    return int(clear.sum())
