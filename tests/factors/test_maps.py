"""Maps of factors: they add up to the layer's map, on the layer and on the picture."""

import re

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from atlas.errors import UserError
from atlas.explain.conditional import propagate
from atlas.factors import completeness, layers, maps
from atlas.relevance.engine import PREDICTED, RelevanceEngine
from atlas.relevance.plan import plan
from atlas.store.bases import Basis, SparseEncoder
from atlas.trace.record import record
from tests.relevance.looking import instrumented

LAYER = "2"


def network(last=None):
    torch.manual_seed(0)
    head = last or nn.Sequential(
        nn.Conv2d(8, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    )  # fmt: skip
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8),
        nn.ReLU(inplace=True), *head,
    ).eval()  # fmt: skip


def basis(ceiling=None, count=5, channels=8, layer=LAYER):
    directions = np.random.default_rng(0).gamma(0.4, 1, (count, channels)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    ones = np.ones(count, np.float32)
    return Basis(layer, "nmf", directions, ones / count, ones, ceiling)


@pytest.fixture
def followed():
    image = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return propagate(instrumented(network(), (3, 16, 16), [LAYER]), image, PREDICTED), image


def test_parts_and_residual_add_up_to_the_layers_map_and_to_the_pictures(followed):
    measured, _ = followed
    relevance, output = (one[LAYER][None] for one in (measured.relevance, measured.activation))
    found = maps.of_activation(output, basis())
    parts = maps.parts(relevance, output, found, basis(), range(5))
    residual = relevance - parts.sum(dim=0)
    assert parts.shape == (5, *relevance.shape)
    # No factor has more of a unit's relevance than there is.
    assert (parts.sum(dim=0).abs() <= relevance.abs() * (1 + 1e-5)).all()
    sent = measured.send(LAYER, torch.cat([parts, residual[None]]), [])
    assert (sent.heat.sum(dim=0) - measured.heat).abs().max() < 1e-5 * measured.heat.abs().max()
    assert sent.heat[:5].abs().sum() > 0.1 * measured.heat.abs().sum()
    summed = maps.of_relevance(relevance, output, found, basis())
    torch.testing.assert_close(summed[0], parts[:, 0].sum(dim=1), rtol=1e-4, atol=1e-7)


def test_the_part_of_a_factor_is_the_formula_unit_by_unit(followed):
    measured, _ = followed
    relevance, output = (one[LAYER] for one in (measured.relevance, measured.activation))
    mine = basis()
    found = maps.of_activation(output[None], mine)
    parts = maps.parts(relevance[None], output[None], found, mine, [2])[0, 0]
    for channel, y, x in ((0, 0, 0), (3, 4, 5), (7, 7, 2)):
        u = found[0, :, y, x].tolist()
        made = [value * float(mine.directions[k, channel]) for k, value in enumerate(u)]
        whole = max(sum(made), float(output[channel, y, x]), 0)
        expected = float(relevance[channel, y, x]) * made[2] / whole if whole else 0
        assert float(parts[channel, y, x]) == pytest.approx(expected, rel=1e-4, abs=1e-7)


def sparse(signed, count=5, channels=8, layer=LAYER):
    """Return a basis of an autoencoder whose directions have signs."""
    random = np.random.default_rng(1)
    directions, weights = random.standard_normal((2, count, channels)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    encoder = SparseEncoder(
        weights,
        *(random.standard_normal(n).astype(np.float32) for n in (count, channels)),
        random.random(count).astype(np.float32) + 0.5,
        3,
    )
    ones = np.ones(count, np.float32)
    return Basis(layer, "sae", directions, ones / count, None, signed=signed, encoder=encoder)


@pytest.mark.parametrize("signed", [False, True])
def test_parts_of_an_autoencoder_with_signs_add_up_too_and_none_is_more_than_there_is(signed):
    # Layer 0 stands before a ReLU, layer 5 goes on with its sign.
    layer = "5" if signed else LAYER
    last = nn.Sequential(nn.Conv2d(8, 8, 1), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(128, 4))
    image = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    measured = propagate(instrumented(network(last), (3, 16, 16), [layer]), image, PREDICTED)
    relevance, output = (one[layer][None] for one in (measured.relevance, measured.activation))
    assert bool((output < 0).any())
    mine = sparse(signed, layer=layer)
    found = maps.of_activation(output, mine)
    assert (found >= 0).all()
    assert ((found > 0).sum(dim=1) <= 3).all()
    parts = maps.parts(relevance, output, found, mine, range(5))
    assert (parts.abs().sum(dim=0) <= relevance.abs() * (1 + 1e-5)).all()
    assert (parts < 0).any()
    assert parts.abs().sum() > 0.1 * relevance.abs().sum()
    residual = relevance - parts.sum(dim=0)
    sent = measured.send(layer, torch.cat([parts, residual[None]]), [])
    assert (sent.heat.sum(dim=0) - measured.heat).abs().max() < 1e-5 * measured.heat.abs().max()
    summed = maps.of_relevance(relevance, output, found, mine)
    torch.testing.assert_close(summed[0], parts[:, 0].sum(dim=1), rtol=1e-4, atol=1e-7)
    # Unit by unit: a factor that points away from the output has its part with the other sign.
    channel, y, x = 3, 1, 2
    a = float(output[0, channel, y, x]) if signed else max(float(output[0, channel, y, x]), 0)
    made = [float(u) * float(mine.directions[k, channel]) for k, u in enumerate(found[0, :, y, x])]
    whole = max(sum(map(abs, made)), abs(a))
    expected = [
        float(relevance[0, channel, y, x]) * one / whole * (1 if a >= 0 else -1) for one in made
    ]
    np.testing.assert_allclose(parts[:, 0, channel, y, x], expected, rtol=1e-4, atol=1e-7)
    offset = torch.from_numpy(mine.encoder.offset)[:, None, None]
    torch.testing.assert_close(
        maps.rebuilt(found, mine)[0, channel, y, x], offset[channel, 0, 0] + sum(made),
        check_dtype=False, rtol=1e-4, atol=1e-5,
    )  # fmt: skip


def test_the_engine_visits_factors_and_leaves_the_logits(followed):
    measured, image = followed
    model, seen = instrumented(network(), (3, 16, 16), [LAYER]), {}
    engine = maps.FactorEngine(RelevanceEngine(model, pixels=True), [basis()])
    logits = engine(
        image, torch.tensor([PREDICTED]), lambda *given: seen.update({given[:2]: given[2]})
    )
    torch.testing.assert_close(logits[0], measured.logits)
    name = f"{LAYER}/nmf5"
    assert set(seen) == {(name, "activation"), (name, "relevance"), ("", "relevance")}
    output = measured.activation[LAYER][None]
    expected = maps.of_activation(output, basis())
    torch.testing.assert_close(seen[name, "activation"], expected)
    relevance = measured.relevance[LAYER][None]
    torch.testing.assert_close(
        seen[name, "relevance"], maps.of_relevance(relevance, output, expected, basis())
    )


def test_all_channels_as_factors_are_the_layer_itself():
    """With one direction for each channel nothing is left over and nothing changes."""
    model = instrumented(network(), (3, 16, 16), [LAYER])
    eye, ones = np.eye(8, dtype=np.float32), np.ones(8, np.float32)
    whole = Basis(LAYER, "nmf", eye, ones / 8, ones)
    images = torch.randn(4, 3, 16, 16)
    kept = completeness.keeps(model, images, whole)
    assert kept == {"pictures": 4, "same_answer": 1.0, "logit_kept": pytest.approx(1, abs=1e-4)}
    sums, _, targets = completeness.relevances(model, images, whole)
    for number, image in enumerate(images):
        measured = propagate(model, image[None], targets[number])
        expected = measured.relevance[LAYER].sum(dim=(1, 2))
        torch.testing.assert_close(sums[number], expected, rtol=1e-4, atol=1e-6)


def test_which_layers_can_be_factorised():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
            self.b, self.c = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
            self.d, self.six, self.e = nn.Conv2d(4, 4, 1), nn.ReLU6(), nn.Conv2d(4, 4, 1)
            self.last = nn.Linear(4, 3)

        def forward(self, x):
            x = self.norm(self.a(x)).relu()
            y = self.b(x)
            x = (x + y).relu()
            x = torch.nn.functional.gelu(self.c(x))
            x = self.six(self.d(x))
            x = self.e(x).clamp(min=0)
            return self.last(x.mean((2, 3)))

    names = ["a", "b", "c", "d", "six", "e"]
    plan = instrumented(Net().eval(), (3, 8, 8), names).plan
    found = {name: layers.ceiling(plan, name) for name in names}
    inf = float("inf")
    assert found == {"a": inf, "b": None, "c": None, "d": 6.0, "six": inf, "e": inf}
    assert list(layers.choose(plan, names, (), signed=False)) == ["e"]
    assert list(layers.choose(plan, names, ("?",), signed=False)) == ["a", "d", "e"]
    with pytest.raises(UserError, match=r"layer 'b' has a sign.*take layer 'd', or .*sae"):
        layers.choose(plan, names, ("b",), signed=False)
    with pytest.raises(UserError, match=r"no layer 'dd'.*did you mean d"):
        layers.choose(plan, names, ("dd",), signed=False)
    with pytest.raises(UserError, match="no measured layer has a ReLU"):
        layers.choose(plan, ["b", "c"], (), signed=False)
    # An autoencoder takes any; without being told the last that has no sign.
    assert layers.choose(plan, names, ("c", "d"), signed=True) == {
        "c": layers.SIGNED, "d": layers.Range(high=6.0),
    }  # fmt: skip
    assert list(layers.choose(plan, names, (), signed=True)) == ["e"]
    assert layers.choose(plan, ["b", "c"], (), signed=True) == {"c": layers.SIGNED}


@pytest.mark.parametrize(
    ("make", "layer", "instead"),
    [
        (models.resnet18, "layer3.1.conv2", "layer4.0.conv1"),  # before a sum
        (models.mobilenet_v2, "features.16.conv.2", "features.17.conv.0.0"),  # a projection
        (models.efficientnet_b0, "features.8.0", None),  # before a SiLU
        (models.convnext_tiny, "features.7.2.block.0", None),  # before a GELU, in the end
    ],
)
def test_signed_layers_of_known_networks_are_refused_and_taken_by_an_autoencoder(
    make, layer, instead
):
    module = make(weights=None).eval()
    network = plan(record(module, torch.zeros(1, 3, 32, 32)), None)
    measured = [name for name, one in module.named_modules() if isinstance(one, nn.Conv2d)]
    with pytest.raises(UserError, match=re.escape(f"take layer {instead!r}" if instead else "sae")):
        layers.choose(network, measured, (layer,), signed=False)
    assert layers.choose(network, measured, (layer,), signed=True) == {layer: layers.SIGNED}
