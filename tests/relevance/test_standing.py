"""Units stand where patches are cut out, or a network is refused; never silently wrong."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from atlas.errors import UserError
from atlas.relevance import checks
from atlas.relevance.standing import RIGHT, reactions, verdict
from tests.relevance import moving
from tests.relevance.looking import COMPOSITE, Network, instrumented
from tests.relevance.zoo import build, pictures

SIZE = moving.SIZE


def looked_at(module, images=None, composite=COMPOSITE):
    """Return the check of an instrumented network, and the fields of its layers."""
    model = instrumented(module, (3, SIZE, SIZE), None, composite)
    fields = {name: model.plan.trace.layers[name].field for name in model.layers}
    images = pictures(4, SIZE, 7) if images is None else images
    return checks.placed(model, images, fields), fields


@pytest.mark.parametrize("name", moving.MOVES)
@pytest.mark.parametrize("seed", [0, 1])
def test_maps_that_are_moved_inside(name, seed):
    """Refused, or each unit's gradient lies in its box, with relevance and without."""
    module = moving.network(name, seed)
    try:
        found, fields = looked_at(module, composite=(None, COMPOSITE)[seed])
    except UserError as refused:
        assert "\n" not in str(refused)
        return
    if found.passed is False:
        assert "do not stand where their patches would be cut out" in found.says
        return
    assert found.passed
    for layer, field in fields.items():
        if layer not in ("squeeze", "excite"):  # gates, which see the whole picture
            assert moving.inside(module, layer, field, pictures(2, SIZE, 9), 6) > 0.99, layer


@pytest.mark.parametrize("place", range(4))
def test_flipped_maps_are_right(place):
    """It is known where each unit stands: the last row is the first."""
    torch.manual_seed(place)
    module = moving.Moving(lambda x: x.flip(2, 3), place, "plain").eval()
    found, fields = looked_at(module)
    assert found.passed
    for layer, field in fields.items():
        assert moving.inside(module, layer, field, pictures(2, SIZE, 9), 6) > 0.99
    assert max(fields["three"].stride) < 0
    assert max(fields["three"].size) < SIZE


@pytest.mark.parametrize("composite", [None, COMPOSITE])
def test_a_known_operation_that_moves_them_far_is_refused(composite):
    """A pad that is known to the trace, but mirrors more than half of the picture."""
    torch.manual_seed(0)
    mirrored = moving.Moving(
        lambda x: F.pad(x, (20, 0, 0, 0), mode="reflect")[..., : x.shape[3]], 2, "plain"
    ).eval()
    found, fields = looked_at(mirrored, composite=composite)
    assert not fields["two"].lost
    assert found.passed is False
    assert "units of two, three do not stand where" in found.says
    assert found.says.endswith("leave such layers out of model.layers")


@pytest.mark.parametrize("composite", [None, COMPOSITE])
def test_without_rules_gates_are_held_as_well(composite):
    torch.manual_seed(1)
    for manner in MANNERS:
        found, fields = looked_at(moving.Moving(lambda x: x, 0, manner).eval(), None, composite)
        assert found.passed, (manner, found.says)
        assert not any(field.lost for field in fields.values())


def test_gates_that_are_not_known_to_be_gates():
    """Attention has no rule, so what is held is not known; that is said, and nothing is refused."""
    torch.manual_seed(0)
    module = Network(
        lambda net, x: net.head(_gated_after_attention(net, net.one(x).relu())),
        one=nn.Conv2d(3, 8, 3, 2, 1), two=nn.Conv2d(8, 8, 3, 1, 1), gate=nn.Conv2d(8, 8, 1),
        head=nn.Linear(8, 5),
    )  # fmt: skip
    found, fields = looked_at(module, composite=None)
    assert fields["two"].whole
    assert found.passed is None
    assert "units of two answer to something of the whole picture, besides" in found.says


def _gated_after_attention(net, x):
    """Rows are scaled by what is seen along them; attention comes last."""
    x = net.two(x * net.gate(x.mean(3, keepdim=True)).sigmoid()).relu()
    tokens = x.flatten(2).mT
    return F.scaled_dot_product_attention(tokens, tokens, tokens).mean(1)


MANNERS = ("plain", "gated", "residual", "normed", "deep")


@pytest.mark.parametrize("manner", MANNERS)
def test_nothing_outside_its_box_changes_a_unit(manner):
    """Also where gates and norms see the whole picture: they are held."""
    torch.manual_seed(1)
    model = instrumented(moving.Moving(lambda x: x, 0, manner).eval(), (3, SIZE, SIZE))
    one, other = pictures(2, SIZE, 3)
    found = reactions(model, one, other, model.plan.reached)
    assert set(found) == set(model.layers)
    for name, reaction in found.items():
        field, shape = model.plan.trace.layers[name].field, reaction.answers.shape
        assert bool(reaction.answers.all())
        for y in range(shape[0]):
            for x in range(shape[1]):
                x0, y0, x1, y1 = field.box(y, x, (SIZE, SIZE))
                for axis, (low, high) in enumerate(((y0, y1), (x0, x1))):
                    before, behind = reaction.lines[axis] >= high, reaction.lines[axis] <= low
                    assert float(reaction.first[axis, before, y, x].sum()) < 1e-3
                    assert float(reaction.second[axis, behind, y, x].sum()) < 1e-3
        assert verdict([reaction], field, (SIZE, SIZE), True) == RIGHT


def test_the_middles_of_what_units_react_to():
    """Of one convolution they are those of its windows, up to the distance of the lines."""
    torch.manual_seed(0)
    model = instrumented(
        nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                      nn.Linear(16, 4)),
        (3, SIZE, SIZE),
    )  # fmt: skip
    reaction = reactions(model, *pictures(2, SIZE, 3), model.plan.reached)["0"]
    right = torch.arange(SIZE // 2) * 2 + 0.5
    for axis, centres in enumerate(reaction.centres()):
        found = centres.mean(dim=1 - axis)
        gap = float(reaction.lines[axis].diff().max())
        assert float((found - right).abs().max()) < gap, axis
        assert found[0] < found[-1] - SIZE / 2


def test_pictures_that_say_nothing():
    """Of uniform photographs noise says where units stand."""
    torch.manual_seed(0)
    mirrored = moving.Moving(
        lambda x: F.pad(x, (20, 0, 0, 0), mode="reflect")[..., : x.shape[3]], 1, "plain"
    ).eval()
    for grey in (torch.zeros(3, 3, SIZE, SIZE), torch.ones(1, 3, SIZE, SIZE)):
        assert looked_at(mirrored, grey)[0].passed is False
        assert looked_at(moving.Moving(lambda x: x, 1, "plain").eval(), grey)[0].passed


def test_what_cannot_be_measured_is_not_passed():
    torch.manual_seed(0)
    module = moving.Moving(lambda x: x, 2, "residual").eval()
    with torch.no_grad():
        module.one.weight.zero_()
    found, _ = looked_at(module)
    assert found.passed is None
    assert "units of one answer neither to the first pictures nor to noise" in found.says


def test_where_positions_are_lost_nothing_is_taken_for_known():
    found, fields = looked_at(moving.Moving(lambda x: x.roll(3, 2), 1, "plain").eval())
    assert found.passed
    for layer in ("one", "two", "three"):
        assert "roll" in fields[layer].lost
        assert fields[layer].box(1, 2, (SIZE, SIZE)) == (0, 0, SIZE, SIZE)


def test_networks_whose_units_see_everything_pass():
    """Channel attention, global response norms, folded patches: all were refused once."""
    for name in ("convnextv2_atto", "gcresnet33ts", "mobilevitv2_050"):
        pytest.importorskip("timm")
        module, size = build(f"timm/{name}")
        model = instrumented(module, (3, size, size))
        fields = {one: model.plan.trace.layers[one].field for one in model.layers}
        found = checks.placed(model, pictures(2, size, 7), fields)
        assert found.passed, (name, found.says)


NORMS = {
    "layer": lambda x: F.layer_norm(x, x.shape[1:]),
    "group": lambda x: F.group_norm(x, 2, torch.linspace(1, 2, 8), torch.zeros(8)),
    "instance": F.instance_norm,
    "rms": lambda x: F.rms_norm(x, x.shape[1:]),
    "normalize": lambda x: F.normalize(x, dim=3) * 8,
    "by hand": lambda x: (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True),
}


@pytest.mark.parametrize("name", NORMS)
def test_statistics_are_held(name):
    torch.manual_seed(0)
    module = Network(
        lambda net, x: net.head(
            net.two(NORMS[name](net.one(x)).relu()).relu().mean((2, 3))
        ),
        one=nn.Conv2d(3, 8, 3, 2, 1), two=nn.Conv2d(8, 8, 3, 1, 1), head=nn.Linear(8, 5),
    )  # fmt: skip
    found, fields = looked_at(module)
    assert found.passed, found.says
    assert fields["two"].whole
    assert max(fields["two"].size) == 7
