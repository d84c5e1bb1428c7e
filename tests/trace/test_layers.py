"""Layers by name and glob, in the order of the forward pass."""

import pytest
import torch
import torchvision
from torch import nn

from atlas.errors import UserError
from atlas.relevance.plan import plan
from atlas.trace.layers import choose
from atlas.trace.record import record


def traced(module, size=24):
    return record(module.eval(), torch.zeros(1, 3, size, size))


@pytest.fixture(scope="module")
def squeezenet():
    return traced(torchvision.models.squeezenet1_1(), 64)


def test_layers_are_in_order_of_the_forward_pass(squeezenet):
    layers = choose(squeezenet).names
    assert len(layers) == 26
    assert layers[:3] == ("features.0", "features.3.squeeze", "features.3.expand1x1")

    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.last(self.first(x)).mean((2, 3))

    backwards = traced(Backwards())
    assert choose(backwards).names == ("first", "last")
    assert choose(backwards, ["last", "first"]).names == ("first", "last")


def test_layers_by_name_and_glob(squeezenet):
    def names(*patterns):
        return choose(squeezenet, patterns).names

    assert names("features.3.*", "features.0") == (
        "features.0",
        "features.3.squeeze",
        "features.3.expand1x1",
        "features.3.expand3x3",
    )
    assert names("features.3.*_activation") == (
        "features.3.squeeze_activation",
        "features.3.expand1x1_activation",
        "features.3.expand3x3_activation",
    )
    assert names("features.1") == ("features.1",)
    assert names("features.[01]") == ("features.0",)


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused, self.twice = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.channels_last = nn.Linear(3, 3)
        self.tokens = nn.Flatten(2)

    def forward(self, x):
        x = self.channels_last(self.twice(self.twice(self.used(x))).permute(0, 2, 3, 1))
        return self.tokens(x.permute(0, 3, 1, 2)).mean(2)


@pytest.mark.parametrize(
    ("pattern", "reported"),
    [
        ("usde", "no layer 'usde'; did you mean used"),
        ("features.*", "no layer matches 'features.*'; known: used"),
        ("unused", "'unused' is not used"),
        (
            "twice",
            "'twice' is used more than once for a picture, so it has no one map: choose another in "
            "model.layers, or give the network a copy of it for each use",
        ),
        ("twic?", "'twice' is used more than once"),
        ("channels_last", "'channels_last' has no maps"),
        ("tokens", "'tokens' has no maps"),
    ],
)
def test_layers_that_cannot_be_catalogued_are_reported(pattern, reported):
    with pytest.raises(UserError) as caught:
        choose(traced(Odd()), [pattern])
    assert reported in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_catalogued_is_left_out_of_globs_and_defaults():
    assert choose(traced(Odd())).names == ("used",)
    assert choose(traced(Odd()), ["*"]).names == ("used",)
    for patterns in ((), ["*"], ["used", "[tu]*"]):
        assert choose(traced(Odd()), patterns).remarks == (
            "1 convolution is left out, since it is used more than once for a picture, so it has "
            "no one map: twice",
        )
    assert choose(traced(Odd()), ["used"]).remarks == ()
    with pytest.raises(UserError, match=r"set model\.layers"):
        choose(traced(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())))


def test_recurrent_convolutions_are_reported_together():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.end = nn.Conv2d(3, 4, 1), nn.Linear(4, 2)
            self.again = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))

        def forward(self, x):
            x = self.stem(x)
            for _ in range(3):
                x = self.again(x)
            return self.end(x.mean((2, 3)))

    chosen = choose(traced(Recurrent()))
    assert chosen.names == ("stem",)
    assert chosen.remarks == (
        "2 convolutions are left out, since each is used more than once for a picture, so it has "
        "no one map: again.0, again.2",
    )


class OwnConvolution(nn.Conv2d):
    """Of another class than torch's, as timm's."""


class Computed(nn.Module):
    """A convolution by a function, with weights of its own."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(4, 3, 3, 3))

    def forward(self, x):
        return torch.nn.functional.conv2d(x, self.kernel)


def test_convolutions_are_reported_by_what_they_do():
    module = nn.Sequential(
        Computed(), nn.ReLU(), nn.Sequential(OwnConvolution(4, 4, 3)), nn.Conv2d(4, 3, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    assert choose(traced(module)).names == ("0", "2.0", "3")


class More(nn.Conv2d):
    """A convolution with more in it: a second path and an activation."""

    def __init__(self):
        super().__init__(3, 4, 1)
        self.beside, self.act = nn.Conv2d(3, 4, 1), nn.ReLU()

    def forward(self, x):
        return self.act(super().forward(x) + self.beside(x))


class Functions(Computed):
    """A module whose convolution is a function in it, behind which it does more."""

    def forward(self, x):
        return super().forward(x).relu()


def test_convolutions_that_do_more_are_among_them_and_what_is_not_is_said():
    hooked = nn.Conv2d(4, 4, 1)
    hooked.register_forward_hook(lambda part, inputs, output: output * 2)
    end = (nn.Conv2d(4, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    trace = traced(nn.Sequential(More(), hooked, *end))
    assert choose(trace).names == choose(trace, ["*"]).names == ("0.beside", "0", "1", "2")
    assert choose(trace).remarks == ()

    trace = traced(nn.Sequential(Functions(), *end))
    for patterns in ((), ["*"], ["[0-9]"]):
        chosen = choose(trace, patterns)
        assert chosen.names == ("1",)
        assert chosen.remarks[0].startswith("convolutions that 0 carries out as functions are left")
    assert choose(trace, ["0", "*"]).names == ("0", "1")
    assert choose(trace, ["0", "*"]).remarks == choose(trace, ["1"]).remarks == ()
    with pytest.raises(UserError, match=r"one map for a picture \(convolutions that 0 carries out"):
        choose(traced(nn.Sequential(Functions(), *end[1:])))

    class Itself(Computed):
        def __init__(self):
            super().__init__()
            self.last = nn.Conv2d(4, 2, 1)

        def forward(self, x):
            return self.last(super().forward(x)).mean((2, 3))

    (said,) = choose(traced(Itself())).remarks
    assert "in none of its modules" in said


class Gated(nn.Module):
    """With a squeeze-and-excitation gate, and a head that nothing reads."""

    def __init__(self):
        super().__init__()
        self.body, self.squeeze, self.excite, self.last, self.aside = (
            nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1), nn.Conv2d(4, 3, 1),
            nn.Conv2d(4, 2, 1),
        )  # fmt: skip

    def forward(self, x):
        x = self.body(x).relu()
        gate = self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        self.aside(x)
        return self.last(x * gate).mean((2, 3))


def test_what_gets_no_relevance_is_left_out_and_reported():
    trace = traced(Gated())
    reached = plan(trace, "epsilon_plus_flat").reached
    chosen = choose(trace, (), reached)
    assert chosen.names == ("body", "last")
    assert set(chosen.left_out) == {"squeeze", "excite", "aside"}
    # Without relevance there is nothing to leave out.
    assert len(choose(trace).names) == 5
    assert choose(trace, ["body"], reached).left_out == ()
    for silent in ("excite", "aside"):
        with pytest.raises(UserError, match=f"layer '{silent}' gets no relevance"):
            choose(trace, [silent], reached)
    with pytest.raises(UserError, match=r"no relevance comes to any of excite, squeeze.*modes"):
        choose(trace, ["squeez*", "excit*"], reached)


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v3_small", "regnet_y_400mf"])
def test_networks_with_gates_have_default_layers(name):
    trace = traced(torchvision.models.get_model(name), 64)
    chosen = choose(trace, (), plan(trace, "epsilon_plus_flat").reached)
    every = [n for n, part in torchvision.models.get_model(name).named_modules()
             if isinstance(part, nn.Conv2d)]  # fmt: skip
    assert set(chosen.names) | set(chosen.left_out) == set(every)
    assert chosen.left_out
    assert all(".fc" in one for one in chosen.left_out)
