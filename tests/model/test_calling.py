"""What users' networks return and raise, looked at once with noise."""

import copy
from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from atlas import recipe
from atlas.errors import UserError
from atlas.model import calling, networks
from atlas.model.preprocessing import Preprocessor

CPU = torch.device("cpu")
COLOURED = Preprocessor(resize=16, crop=16, mean=(0, 0, 0), std=(1, 1, 1))
GREY = Preprocessor(resize=16, crop=16, mean=(0.5,), std=(0.5,))


class Several(nn.Module):
    """Returns whatever `make` makes of logits and maps."""

    def __init__(self, make, channels=3):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU())
        self.head = nn.Linear(4, 5)
        self.make = make

    def forward(self, x):
        maps = self.body(x)
        return self.make(self.head(maps.mean((2, 3))), maps)


Pair = namedtuple("Pair", "scores maps")


@dataclass
class Answer:
    logits: torch.Tensor
    maps: torch.Tensor


def outputs(make, output="", view=COLOURED):
    module = Several(make).eval()
    return module, calling.outputs(module, view, CPU, output, "net")


def reported(make, output="", view=COLOURED):
    with pytest.raises(UserError) as caught:
        outputs(make, output, view)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("make", "output"),
    [
        (lambda logits, maps: logits, ""),
        (lambda logits, maps: (logits, maps), 0),
        (lambda logits, maps: [maps, logits], 1),
        (lambda logits, maps: (logits,), ""),
        (lambda logits, maps: {"maps": maps, "logits": logits}, ""),
        (lambda logits, maps: {"maps": maps, "scores": logits}, "scores"),
        (lambda logits, maps: {"scores": logits}, ""),
        (Pair, "scores"),
        (Answer, ""),
    ],
)
def test_whoever_calls_the_network_gets_the_logits(make, output):
    module, count = outputs(make, output)
    assert count == 5
    names = list(Several(None).state_dict())
    assert list(module.state_dict()) == names
    picture = torch.randn(2, 3, 16, 16)
    expected = module.head(module.body(picture).mean((2, 3)))
    assert torch.equal(module(picture), expected)
    assert torch.equal(copy.deepcopy(module)(picture), expected)


@pytest.mark.parametrize(
    ("make", "output", "message"),
    [
        (
            lambda logits, maps: (logits, maps),
            "",
            "net returns several things: choose the logits with model.output "
            "from 0: (1, 5), 1: (1, 4, 14, 14)",
        ),
        (lambda logits, maps: (logits, maps), 2, "has no output 2: choose"),
        (lambda logits, maps: {"a": logits, "b": maps}, "c", "from a: (1, 5), b: (1, 4, 14, 14)"),
        (lambda logits, maps: {"a": logits, "b": maps}, "b", "returns (1, 4, 14, 14), not (1, N)"),
        (lambda logits, maps: {"a": "text"}, "", "returns str, not (1, N)"),
        (lambda logits, maps: logits, "logits", "returns one tensor: leave model.output out"),
        (lambda logits, maps: maps, "", "is no classifier: for one picture it returns (1, 4, 14"),
        (lambda logits, maps: "text", "", "is no classifier: for one picture it returns str"),
        (lambda logits, maps: None, "", "returns NoneType"),
        (lambda logits, maps: (), "", "returns tuple"),
    ],
)
def test_where_the_logits_are_not_clear_one_line_lists_what_there_is(make, output, message):
    assert message in reported(make, output)


def test_a_recipe_says_which_output_and_the_atlas_has_it(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = nn.Conv2d(3, 4, 3)\n"
        "    def forward(self, x):\n"
        "        maps = self.conv(x)\n"
        "        return maps, maps.mean((2, 3))\n"
    )
    view = recipe.Preprocessing(crop=16, mean=(0, 0, 0), std=(1, 1, 1))
    network = networks.load(recipe.Model(f"{file}:Net", output=1, device="cpu"), view, 0)
    assert network.outputs == 4
    assert network.module(torch.zeros(3, 3, 16, 16)).shape == (3, 4)


# Failures ---------------------------------------------------------------------------------


class Inner(nn.Module):
    def forward(self, x):
        raise ValueError("no more\nmemory for " + "words " * 100)


class Careful(nn.Module):
    """Goes on where a part of it failed."""

    def __init__(self):
        super().__init__()
        self.inner, self.later = Inner(), nn.Linear(7, 5)

    def forward(self, x):
        try:
            self.inner(x)
        except ValueError:
            return self.later(x.mean((2, 3)))


def failure(module):
    with pytest.raises(UserError) as caught:
        calling.outputs(module.eval(), COLOURED, CPU, "", "net")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 450
    return str(caught.value)


def test_a_failure_names_the_innermost_layer_and_the_line():
    line = Inner.forward.__code__.co_firstlineno + 1
    message = failure(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ModuleDict({"a": Inner()})["a"]))
    assert f"layer '1' (test_calling.py:{line}): ValueError: no more memory for words" in message
    assert "preprocessing.crop" not in message


def test_a_failure_that_was_caught_is_not_blamed():
    message = failure(Careful())
    assert "layer 'later' (test_calling.py:" in message
    assert "inner" not in message


def test_a_failure_in_the_forward_itself():
    message = reported(lambda logits, maps: 1 / 0)
    assert "its forward (test_calling.py:" in message


def test_a_size_that_does_not_fit_leads_to_the_crop():
    message = failure(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(9, 2)))
    assert "net does not take a picture of 16 x 16 pixels: layer '2'" in message
    assert message.endswith("see preprocessing.crop")


def test_code_of_another_precision_is_reported_as_such():
    class Precise(nn.Sequential):
        def forward(self, x):
            return super().forward(x.double())

    message = failure(Precise(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(2)))
    assert message.startswith("net computes in several precisions, at layer '0'")
    assert "take .double(), .half(), .bfloat16(), torch.autocast and the like out" in message


def test_no_hooks_stay():
    module = nn.Sequential(Inner())
    failure(module)
    for part in module.modules():
        assert not part._forward_hooks
        assert not part._forward_pre_hooks


# Channels ---------------------------------------------------------------------------------


def test_grey_pictures_for_a_network_of_one_channel():
    module = Several(lambda logits, maps: logits, channels=1).eval()
    assert calling.outputs(module, GREY, CPU, "", "net") == 5
    with pytest.raises(
        UserError, match=r"'body\.0' takes 1 channel\(s\).* std to 1 each, for grey"
    ):
        calling.outputs(module, COLOURED, CPU, "", "net")


def test_coloured_pictures_for_a_network_of_three():
    message = reported(lambda logits, maps: logits, view=GREY)
    assert "preprocessing.mean has 1 number(s): set preprocessing.mean and std to 3" in message


def test_four_channels_are_refused_as_what_they_are():
    message = failure(Several(lambda logits, maps: logits, channels=4))
    assert "its first layer 'body.0' takes 4 channel(s) of a picture: pictures have 3" in message
    assert "crop" not in message


def test_noise_has_the_form_of_the_pictures():
    assert calling.noise(GREY, CPU).shape == (1, 1, 16, 16)
    oblong = Preprocessor(resize=16, crop=(12, 16), mean=(0, 0, 0), std=(1, 1, 1))
    assert calling.noise(oblong, CPU).shape == (1, 3, 12, 16)
    assert torch.equal(calling.noise(GREY, CPU), calling.noise(GREY, CPU))
