"""Layers that have no maps of one picture by itself are known as such."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from atlas.errors import UserError
from atlas.relevance import checks
from atlas.relevance.engine import RelevanceEngine
from atlas.trace.batches import BESIDE
from atlas.trace.layers import choose
from atlas.trace.record import record
from tests.relevance.looking import instrumented, maps_of
from tests.relevance.zoo import pictures


class Around(nn.Module):
    """Three layers; `way` says what is done around the second one, of which `ins` channels."""

    def __init__(self, way, ins=4):
        super().__init__()
        torch.manual_seed(0)
        self.way = way
        self.one, self.two, self.three = (
            nn.Conv2d(3, 4, 3),
            nn.Conv2d(ins, ins, 1),
            nn.Conv2d(4, 4, 1),
        )
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.three(self.way(self.two, self.one(x).relu()).relu()).mean((2, 3)))


def _windows(layer, x, side=6):
    n, c, h, w = x.shape
    y = x.view(n, c, h // side, side, w // side, side).permute(0, 2, 4, 1, 3, 5)
    y = layer(y.reshape(-1, c, side, side)).view(n, h // side, w // side, c, side, side)
    return y.permute(0, 3, 1, 4, 2, 5).reshape(n, c, h, w)


SEVERAL = {
    "mirror images behind": lambda layer, x: layer(torch.cat([x, x.flip(3)]))[: len(x)],
    "each picture twice": lambda layer, x: layer(x.repeat_interleave(2, 0))[::2],
    "views side by side": lambda layer, x: layer(torch.stack([x, x * 2], 1).flatten(0, 1))[::2],
    "crops": lambda layer, x: torch.cat(layer(torch.cat(x.chunk(2, 3))).chunk(2), 3),
    "windows": _windows,
}
OTHERS = {
    "turned round": lambda layer, x: layer(x.flip(0)).flip(0),
    "moved on": lambda layer, x: layer(x.roll(1, 0)).roll(-1, 0),
    "less the mean of all": lambda layer, x: layer(x - x.mean(0)),
}


@pytest.mark.parametrize("way", SEVERAL | OTHERS)
def test_only_such_layers_are_left_out(way):
    module = Around((SEVERAL | OTHERS)[way]).eval()
    trace = record(module, torch.randn(1, 3, 14, 14))
    problem = trace.layers["two"].problem
    assert (problem == BESIDE) if way in OTHERS else "for one picture, which are parts" in problem
    chosen = choose(trace)
    assert chosen.names == (("one",) if way == "less the mean of all" else ("one", "three"))
    assert any("two" in remark and problem in remark for remark in chosen.remarks)
    with pytest.raises(UserError, match=r"layer 'two' has .*: choose another in model.layers"):
        choose(trace, ["two"])


@pytest.mark.parametrize("way", ["channels as pictures", "pictures as channels"])
def test_dimensions_that_are_exchanged(way):
    """Of one picture the first dimension may be 1 all the same."""
    ways = {
        "channels as pictures": (lambda layer, x: layer(x.flatten(0, 1)[:, None]).view(x.shape), 1),
        "pictures as channels": (lambda layer, x: layer(x.flatten(0, 1)[None]).view(x.shape), 4),
    }
    module = Around(*ways[way]).eval()
    if way == "pictures as channels":
        module.two = nn.AvgPool2d(1)
    trace = record(module, torch.randn(1, 3, 14, 14))
    says = "gives 4 for one" if way == "channels as pictures" else "not that of the pictures"
    assert says in trace.layers["two"].problem
    assert not trace.layers["three"].problem


@pytest.mark.parametrize("way", [*SEVERAL, "turned round", "moved on"])
def test_other_layers_have_the_relevance_of_the_same_network_without(way):
    """Each way computes what one convolution does: relevance above and below must be the same."""
    images, targets = pictures(3, 20), torch.tensor([0, 2, 1])
    found = []
    for one in ((SEVERAL | OTHERS)[way], lambda layer, x: layer(x)):
        module = Around(one)
        model = instrumented(module, images.shape[1:], ["one", "three"])
        fields = {name: model.plan.trace.layers[name].field for name in model.layers}
        assert all(check.passed for check in checks.check(model, images, fields)), way
        found.append(maps_of(RelevanceEngine(model), images, targets)[0])
    for layer in ("one", "three"):
        for mode in ("activation", "relevance"):
            folded, plain = (maps[layer, mode] for maps in found)
            assert (folded - plain).abs().max() < 1e-5 * plain.abs().max(), (layer, mode)


def test_where_every_layer_is_in_such_a_part_one_is_named():
    class Doubled(Around):
        def forward(self, x):
            y = super().forward(torch.cat([x, x.flip(3)]))
            return y[: len(x)] + y[len(x) :]

    trace = record(Doubled(lambda layer, x: layer(x)).eval(), torch.randn(1, 3, 14, 14))
    with pytest.raises(UserError, match=r"one map for a picture \('one' has no maps: it gives 2"):
        choose(trace)


def test_ordinary_networks_have_no_such_layers():
    plain = Around(
        lambda layer, x: layer(F.layer_norm(x, x.shape[1:])) * x.mean((2, 3), True)
    ).eval()
    for picture in (torch.randn(1, 3, 14, 14), torch.zeros(1, 3, 14, 14)):
        assert choose(record(plain, picture)).names == ("one", "two", "three")
