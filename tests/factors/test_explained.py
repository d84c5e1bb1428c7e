"""Explanations by factors: as by channels, with what no factor holds."""

import json

import pytest
import torch
from torch import nn

from atlas.errors import UserError
from atlas.explain import bases
from atlas.explain.background import Background
from atlas.explain.claims.making import claims
from atlas.explain.conditional import propagate
from atlas.explain.interventions import without_channels
from atlas.factors.concepts import FactorConcepts
from atlas.relevance.engine import PREDICTED
from atlas.store import evidence
from tests.factors.conftest import LAYER
from tests.factors.test_maps import LAYER as SMALL
from tests.factors.test_maps import basis, network
from tests.relevance.looking import instrumented

NAME = f"{SMALL}/nmf5"


@pytest.fixture(scope="module")
def measured():
    """A small network, a picture, its five factors and what was measured with them."""
    torch.manual_seed(4)
    module = network().eval()
    image = torch.randn(1, 3, 16, 16)
    model = instrumented(module, image.shape[1:], (SMALL,))
    factors = FactorConcepts(basis())
    found = bases.seen(propagate(model, image, PREDICTED), {NAME: factors})
    return module, image, model, factors, found


def test_factors_and_residual_add_up_to_the_map_of_the_layer(measured):
    *_, factors, found = measured
    whole = found.relevance[SMALL]
    every = factors.parts(whole, found.activation[SMALL], found.activation[NAME], range(5))
    left = whole - every.sum(dim=(0, 1))
    torch.testing.assert_close(every.sum(dim=(1, 2)), found.relevance[NAME])
    heat = found.condition(NAME, range(5), []).heat.sum(dim=0)
    rest = found.send(SMALL, left[None, None], []).heat[0]
    torch.testing.assert_close(heat + rest, found.heat, atol=1e-5, rtol=1e-4)
    part = float(left.abs().sum() / whole.abs().sum())
    assert bases.residual(found, NAME, factors) == pytest.approx(part)
    assert 0 < part < 1


def test_without_a_factor_its_share_of_the_output_is_gone(measured):
    """Against the network run by hand."""
    module, image, model, factors, found = measured
    taken = torch.eye(6, 5, dtype=torch.bool)  # the last row takes nothing away
    maps, output = found.activation[NAME], found.activation[SMALL]
    logits = bases.without_factors(model, image, factors, output, maps)(taken)
    layers = list(module)
    begun = nn.Sequential(*layers[:4])(image)[0].relu()  # with the norm of the layer
    on = nn.Sequential(*layers[5:])
    directions = torch.from_numpy(factors.basis.directions)
    for row, mask in enumerate(taken):
        left = begun.clone()
        for channel in range(8):
            made = maps * directions[:, channel, None, None]
            whole = made.sum(dim=0)
            part = torch.where(whole > 0, made[mask].sum(dim=0) / whole, 0)
            left[channel] = begun[channel] * (1 - part)
        torch.testing.assert_close(logits[row], on(left[None])[0])
    torch.testing.assert_close(logits[5], module(image)[0])


def test_all_channels_as_factors_are_the_channels(measured):
    _, image, model, _, found = measured
    module = FactorConcepts(basis(count=8))
    directions = torch.eye(8).numpy()
    whole = FactorConcepts(type(module.basis)(SMALL, "nmf", directions, module.basis.energy,
                                              module.basis.stability))  # fmt: skip
    seen = bases.seen(propagate(model, image, PREDICTED), {"it": whole})
    torch.testing.assert_close(seen.relevance["it"], found.relevance[SMALL])
    taken = torch.eye(8, dtype=torch.bool)
    channels = without_channels(model, SMALL, image, torch.zeros(8))(taken)
    factors = bases.without_factors(
        model, image, whole, seen.activation[SMALL], seen.activation["it"]
    )(taken)
    torch.testing.assert_close(factors, channels)
    assert bases.residual(seen, "it", whole) == pytest.approx(0, abs=1e-6)


def test_an_explanation_has_factors_beside_channels(explained):
    (folder,) = (explained / "explanations").iterdir()
    found = evidence.read(folder)
    name = f"{LAYER}/nmf3"
    places = [one.layer for one in found.layers]
    assert places.index(name) + 1 == places.index(LAYER)
    layer = found.layer(name)
    assert (layer.of, layer.host, layer.channels) == (LAYER, LAYER, 3)
    assert 0 <= layer.residual < 1
    assert layer.tested > 0
    own = found.of_layer(name)
    assert own
    for one in own:
        assert (folder / one.map).is_file()
        effects = next(each.effects for each in found.effects if each.concept == one.id)
        assert [effect.kind for effect in effects] == ["zero", "blur"]
    total = sum(abs(one.relevance) for one in own)
    assert total <= layer.absolute * (1 + 1e-5)
    said = [w.sentence for c in claims(found) for w in c.wordings.values()]
    assert any("of 3 factors hold" in text for text in said)
    assert not any(f"channels of {name}" in text for text in said)


def test_the_page_shows_factors_with_their_maps(explained):
    (folder,) = (explained / "explanations").iterdir()
    found = evidence.read(folder)
    html = (explained / "site" / f"explanations/{found.id}.html").read_text("utf-8")
    for one in found.of_layer(f"{LAYER}/nmf3"):
        assert one.address in html
        assert one.map in html
    assert "is not held by any factor" in html
    assert json.loads((explained / "site/explanations" / found.id / "evidence.json").read_text())


class TestChoice:
    """Which layers and factors are explained."""

    class Known(Background):
        def __init__(self, hosts):
            self._hosts = hosts
            self.manifest = {"layers": ["a", "b", "c", "d", "e", *hosts]}

    @pytest.mark.parametrize(("hosts", "patterns", "basis_", "chosen"), [
        ({}, (), "both", "c d e"),
        ({"e/nmf2": "e"}, (), "both", "c d e/nmf2 e"),
        ({"e/nmf2": "e"}, (), "channels", "c d e"),
        ({"e/nmf2": "e"}, (), "factors", "c d e/nmf2"),
        ({"a/nmf2": "a", "b/nmf3": "b"}, (), "both", "b/nmf3 c d e"),
        ({"b/nmf3": "b"}, ("b", "e"), "both", "b e"),
        ({"b/nmf3": "b"}, ("b", "e"), "factors", "b/nmf3 e"),
        ({"b/nmf3": "b"}, ("b*",), "both", "b/nmf3 b"),
        ({"b/nmf3": "b"}, ("b/*",), "both", "b/nmf3"),
    ])  # fmt: skip
    def test_it_is_by_names_and_basis(self, hosts, patterns, basis_, chosen):
        assert self.Known(hosts).choose(patterns, basis_) == tuple(chosen.split())

    def test_factors_that_are_not_there_are_missed(self):
        with pytest.raises(UserError, match="run `atlas factors` first"):
            self.Known({}).choose((), "factors")
