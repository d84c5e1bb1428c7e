"""Modules as factories return them, made plain or refused in one line."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from atlas import recipe
from atlas.errors import UserError
from atlas.model import networks, unwrap

PICTURE = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def small(**parts):
    torch.manual_seed(0)
    layers = {
        "conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "relu": nn.ReLU(),
        "pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "head": nn.Linear(4, 2),
    }  # fmt: skip
    layers |= parts
    module = nn.Sequential()
    for name, part in layers.items():
        module.add_module(name, part)
    return module


def plain(module):
    return unwrap.settled(unwrap.unwrapped(module, "net"), "net")


def reported(module):
    with pytest.raises(UserError) as caught:
        plain(module)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def expected(module):
    with torch.no_grad():
        return module.eval()(PICTURE)


def eager(*_):
    raise AssertionError("compiled after all")


def refuse_to_compile(graph, inputs):
    return eager


@pytest.mark.parametrize(
    "wrap",
    [
        lambda m: torch.compile(m, backend=refuse_to_compile),
        nn.DataParallel,
        lambda m: torch.compile(nn.DataParallel(m), backend=refuse_to_compile),
        lambda m: nn.DataParallel(torch.compile(m, backend=refuse_to_compile)),
    ],
)
def test_wrappers_are_taken_off(wrap):
    module = small()
    logits = expected(module)
    found = plain(wrap(module))
    assert found is module
    assert torch.equal(expected(found), logits)


def test_wrapped_parts_are_taken_out_of_their_wrappers(capsys):
    module = small()
    logits, names = expected(module), list(module.state_dict())
    module.conv = torch.compile(module.conv, backend=refuse_to_compile)
    module.head = nn.DataParallel(module.head)
    module.relu.compile(backend=refuse_to_compile)
    found = plain(module)
    assert list(found.state_dict()) == names
    assert torch.equal(expected(found), logits)
    assert capsys.readouterr().err.startswith("net is compiled: its layers are run as they are")


def test_a_wrapper_in_two_places_is_taken_off_in_both():
    wrapper = nn.DataParallel(nn.ReLU())
    found = plain(small(relu=wrapper, again=wrapper))
    assert isinstance(found.relu, nn.ReLU)
    assert found.again is found.relu


class Compiled(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = small()

    @torch.compile(backend=refuse_to_compile)
    def forward(self, x):
        return self.inner(x)


def test_a_compiled_forward_is_run_as_it_is():
    module = Compiled()
    logits = expected(module.inner)
    assert torch.equal(expected(plain(module)), logits)
    one = small()
    one.forward = torch.compile(one.forward, backend=refuse_to_compile)
    assert torch.equal(expected(plain(one)), logits)
    one.forward = torch.compile(lambda x: 2 * x, backend=refuse_to_compile)
    assert torch.equal(expected(plain(one)), 2 * PICTURE)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32_and_a_line_says_so(capsys, kind):
    found = plain(small().to(kind))
    assert {value.dtype for value in found.parameters()} == {torch.float32}
    assert expected(found).dtype == torch.float32
    assert f"net has weights in {str(kind).removeprefix('torch.')}" in capsys.readouterr().err


def test_a_plain_module_is_left_alone_and_nothing_is_said(capsys):
    module = small()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found = plain(module)
    assert found is module
    assert all(torch.equal(found.state_dict()[name], value) for name, value in before.items())
    assert capsys.readouterr().err == ""


def test_weights_made_in_inference_mode_can_be_derived():
    with torch.inference_mode():
        module = small()
        module.norm.weight = module.norm.bias  # tied
    found = plain(module)
    assert found.norm.weight is found.norm.bias
    found(PICTURE.requires_grad_()).sum().backward()
    PICTURE.requires_grad_(False)


@pytest.mark.parametrize(
    "compute",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
def test_weights_that_are_computed_from_others_are_computed_once(compute):
    module = small()
    compute(module.conv)
    compute(module.head)
    logits = expected(module)
    found = plain(module)
    assert {"conv.weight", "conv.bias", "head.weight", "head.bias"} <= set(found.state_dict())
    assert not found.conv._forward_pre_hooks
    torch.testing.assert_close(expected(found), logits)


def test_parts_that_stay_in_training_mode_are_refused_where_it_matters():
    def stubborn(kind, *arguments):
        class Stubborn(kind):
            def train(self, mode=True):
                return super().train(True)

        return Stubborn(*arguments)

    for part, says in (
        (stubborn(nn.Dropout), "drops numbers by chance"),
        (stubborn(nn.BatchNorm2d, 2), "normalises by the pictures that it is given"),
    ):
        assert "layer 'more' stays in training mode" in (line := reported(small(more=part)))
        assert says in line
    for part in (stubborn(nn.Dropout, 0), stubborn(nn.ReLU)):
        assert plain(small(more=part)).more is part
    assert not any(part.training for part in plain(small()).modules())


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_what_cannot_be_looked_into_is_refused():
    assert "net: it is a TorchScript program" in reported(torch.jit.script(small()))
    assert "its part 'conv' is a TorchScript" in reported(small(conv=torch.jit.script(nn.ReLU())))
    with torch.device("meta"):
        assert "'conv.weight' is on the meta device and holds no numbers" in reported(small())
    assert "'head.weight' is lazy and has no shape yet" in reported(small(head=nn.LazyLinear(2)))
    exported = torch.export.export(small().eval(), (PICTURE,)).module()
    assert "cannot be put into evaluation mode" in reported(exported)


def test_a_network_of_another_form_is_the_same_network(tmp_path):
    """Its weights have the same hash, whatever was around it."""
    file = tmp_path / "own.py"
    file.write_text(
        "import torch\nfrom torch import nn\n"
        "def plain():\n"
        "    torch.manual_seed(1)\n"
        "    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
        "def parallel():\n    return nn.DataParallel(plain())\n"
        "def double():\n    return plain().double()\n"
    )
    view = recipe.Preprocessing(crop=16, mean=(0, 0, 0), std=(1, 1, 1))
    found = {
        networks.load(recipe.Model(f"{file}:{name}", device="cpu"), view, 0).weights_sha256
        for name in ("plain", "parallel", "double")
    }
    assert len(found) == 1
