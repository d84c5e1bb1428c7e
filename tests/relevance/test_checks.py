"""Faults are noticed before they are measured, and healthy networks pass."""

import dataclasses
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from atlas.relevance import answers, checks
from atlas.relevance.checks import check
from atlas.relevance.plan import Plan
from atlas.relevance.rules import Divided, Moved, Passed, Proportional, Summed
from atlas.relevance.tape import Instrumented
from atlas.relevance.weighted import Convolved
from atlas.trace.following import RefusedError
from atlas.trace.record import record
from atlas.trace.sights import ReceptiveField
from tests.relevance.looking import Network, instrumented
from tests.relevance.zoo import build, pictures, stir

SIZE = 64


class Block(nn.Module):
    """A residual block with a squeeze-and-excitation gate."""

    def __init__(self, ins: int, outs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(ins, outs, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(outs)
        self.second = nn.Conv2d(outs, outs, 3, 1, 1)
        self.squeeze, self.excite = nn.Conv2d(outs, 4, 1), nn.Conv2d(4, outs, 1)
        self.shortcut = nn.Conv2d(ins, outs, 1, 2)

    def forward(self, x):
        y = self.second(self.norm(self.first(x)).relu())
        gate = self.excite(self.squeeze(y.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return F.relu(y * gate + self.shortcut(x))


def small(seed: int = 0) -> nn.Module:
    """A network with everything that can go wrong."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), Block(8, 12), Block(12, 16),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
    )  # fmt: skip
    stir(module, pictures(4, SIZE), pictures(4, SIZE, 1))
    return module


def looked_at(model: Instrumented, fields=None, images=None):
    """Return the checks by name; fields are those of the trace unless given."""
    layers = model.plan.trace.layers
    usual = {name: layers[name].field for name in model.layers}
    images = pictures(3, SIZE, 7) if images is None else images
    found = list(check(model, images, usual | (fields or {})))
    assert len({one.name for one in found}) == len(found)
    assert all(one.says and "\n" not in one.says for one in found)
    return {one.name: one for one in found}


def failed(*arguments, **options):
    return {name for name, one in looked_at(*arguments, **options).items() if not one.passed}


def same_logits(model: Instrumented) -> bool | None:
    """Return the outcome of one check."""
    return answers.same_logits(model, pictures(3, SIZE, 7)).passed


def with_step(model: Instrumented, number: int, step) -> Instrumented:
    """Return the same with another rule for one operation."""
    plan = dataclasses.replace(model.plan, steps={**model.plan.steps, number: step})
    return dataclasses.replace(model, plan=plan)


def numbers(plan: Plan, kind: type, name: str = "") -> list[int]:
    """Return the operations with a kind of step."""
    return [
        number
        for number, step in sorted(plan.steps.items())
        if isinstance(step, kind) and name in ("", plan.trace.operations[number].name)
    ]


@pytest.fixture(scope="module")
def model() -> Instrumented:
    return instrumented(small(), (3, SIZE, SIZE))


# Healthy ----------------------------------------------------------------------------------


def test_a_healthy_network_passes(model):
    found = looked_at(model)
    assert [name for name, one in found.items() if not one.passed] == []
    assert list(found) == [
        "finite",
        "repeated",
        "alone",
        "logits",
        "start",
        "conserved",
        "gates",
        "placed",
        "stable",
    ]
    assert found["start"].says == "what the network returns is taken for logits"


@pytest.mark.parametrize(
    "name",
    ["resnet18", "mobilenet_v3_small", "efficientnet_b0", "regnet_y_400mf", "densenet121",
     "convnext_tiny", "shufflenet_v2_x0_5", "googlenet"],
)  # fmt: skip
def test_networks_of_torchvision_pass(name):
    module, _ = build(f"torchvision/{name}")
    model = instrumented(module, (3, SIZE, SIZE))
    found = looked_at(model, images=pictures(2, SIZE, 7))
    assert [one.says for one in found.values() if not one.passed] == []


@pytest.mark.parametrize(
    "composite",
    ["epsilon_plus", "epsilon_epsilon", "epsilon_gamma_flat", "epsilon_alpha2_beta1_flat"],
)
def test_every_composite_passes(composite):
    assert failed(instrumented(small(), (3, SIZE, SIZE), None, composite)) == set()


def test_without_rules_relevance_is_not_looked_at():
    found = looked_at(instrumented(small(), (3, SIZE, SIZE), None, None))
    assert list(found) == ["finite", "repeated", "alone", "logits", "start", "placed"]
    assert all(one.passed for one in found.values())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_less_precision_passes_the_network_checks(dtype):
    module = small().to(dtype)
    found = looked_at(instrumented(module, (3, SIZE, SIZE)))
    assert found["logits"].passed
    assert found["alone"].passed


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (nn.LogSoftmax(1), "ends in a softmax: relevance starts before it"),
        (nn.Sigmoid(), "ends in sigmoids: relevance starts before them"),
        (nn.Linear(5, 1), "returns one number: its sign decides between two classes"),
    ],
)
def test_what_comes_out_is_said(end, says):
    torch.manual_seed(1)
    found = looked_at(instrumented(nn.Sequential(*small(), end), (3, SIZE, SIZE)))
    assert says in found["start"].says
    assert all(one.passed for one in found.values())


# Planted faults ---------------------------------------------------------------------------


def test_a_convolution_with_one_padding_wrong(model):
    """One zero more on the left and one less on the right, for which shapes are the same."""
    count = 0
    for number in numbers(model.plan, Convolved):
        layer = model.plan.steps[number].convolution
        if layer.geometry.padding != (1, 1):
            continue
        wrong = _copy(layer)
        wrong.geometry = dataclasses.replace(layer.geometry, padding=(0, 0), around=(2, 0, 1, 1))
        assert not same_logits(with_step(model, number, Convolved(wrong)))
        count += 1
    assert count == 5
    assert same_logits(model)


class Elsewhere(Convolved):
    """Computes what it should, and gives relevance to the pixels beside."""

    def back(self, kept, relevances, copies):
        found = super().back(kept, relevances, copies)
        return [None if one is None else F.pad(one, (1, -1, 0, 0)) for one in found]


def at(model: Instrumented, place: str, name: str) -> int:
    """Return the number of the operation of a name that a module carries out."""
    (number,) = (
        one.number for one in model.plan.trace.operations if (one.place, one.name) == (place, name)
    )
    return number


def test_a_rule_that_drops_what_falls_over_an_edge(model):
    number = at(model, "4.second", "conv2d")
    found = looked_at(with_step(model, number, Elsewhere(model.plan.steps[number].convolution)))
    assert not found["conserved"].passed
    assert "relevance is gained or lost in conv2d in 4.second" in found["conserved"].says


@pytest.mark.parametrize("which", [0, 1])
def test_a_sum_without_its_rule(model, which):
    """The gradient gives all relevance to each summand."""
    number = numbers(model.plan, Summed)[which]
    broken = with_step(model, number, Moved((0, 1), 2))
    found = looked_at(broken)
    assert not found["conserved"].passed
    assert "relevance is gained or lost in add in " in found["conserved"].says
    # One branch gets all: what is lost is conserved, and still not in proportion.
    assert failed(with_step(model, number, Moved((0,), 2))) <= {"placed", "stable"}


def test_a_linear_layer_without_its_rule():
    model = instrumented(small(1), (3, SIZE, SIZE))
    number = at(model, "7", "linear")
    assert isinstance(model.plan.steps[number], Proportional)
    assert "conserved" in failed(with_step(model, number, Moved((0,), 1)))


def _copy(layer):
    other = object.__new__(type(layer))
    other.__dict__.update(vars(layer))
    return other


def test_a_merged_norm_off_by_one_percent(model):
    count = 0
    for number in model.plan.merged.values():
        layer = _copy(model.plan.steps[number].convolution)
        layer.weight = layer.weight * 1.01
        assert not same_logits(with_step(model, number, Convolved(layer)))
        layer = _copy(model.plan.steps[number].convolution)
        layer.bias = layer.bias * 0.99
        assert not same_logits(with_step(model, number, Convolved(layer)))
        count += 1
    assert count == 3


@pytest.mark.parametrize("step", [Divided(2), Passed(1, 2), Moved((0, 1), 2)])
def test_a_gate_that_takes_relevance(model, step):
    (number, *_) = numbers(model.plan, Passed, "mul")
    gate = model.plan.trace.operations[number].inputs[1]
    assert model.plan.trace.of(gate).name == "sigmoid"
    found = looked_at(with_reach(with_step(model, number, step)))
    assert not found["gates"].passed
    assert "relevance goes into the gate of mul in 3" in found["gates"].says


def with_reach(model: Instrumented) -> Instrumented:
    """Return the same with rules also for what leads to gates, as if they got relevance."""
    steps = dict(model.plan.steps)
    for operation in model.plan.trace.operations:
        if operation.number not in steps and len(operation.inputs) == 1:
            steps[operation.number] = Moved((0,), 1)
    every = {value for one in model.plan.trace.operations for value in one.inputs}
    plan = dataclasses.replace(
        model.plan, steps=steps, reached=model.plan.reached | frozenset(every)
    )
    return dataclasses.replace(model, plan=plan)


CHANCE = {
    "F.dropout": (lambda x: F.dropout(x, 0.3), "dropout is left on"),
    "F.dropout2d": (lambda x: F.dropout2d(x, 0.3), "dropout2d is left on"),
    "noise": (lambda x: x + torch.randn(x.shape), "by chance"),
    "stochastic depth": (
        # Of a single picture it may be the same twice.
        lambda x: x * torch.bernoulli(torch.full((len(x), 1, 1, 1), 0.5)), "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", CHANCE)
def test_chance_that_is_left_on(way):
    """Found by its answers, and refused where it is followed."""
    change, reported = CHANCE[way]
    torch.manual_seed(0)
    network = Network(lambda net, x: net.body[1:](change(net.body[0](x))), body=small()).eval()
    found = answers.same_when_repeated(network, pictures(3, SIZE, 7))
    assert not found.passed
    assert "is something random left on, as dropout?" in found.says
    if reported:
        with pytest.raises(RefusedError, match=reported):
            record(network, pictures(1, SIZE))


class Insisting(nn.Module):
    """Takes what a picture can have, and no more."""

    def __init__(self, lowest: float, highest: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lowest, self.highest = lowest, highest
        self.parts = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(8, 4),
        )  # fmt: skip

    def forward(self, x):
        if x.min() < self.lowest or x.max() > self.highest:
            raise ValueError("no picture")
        return self.parts(x)


def test_networks_that_insist_on_the_range_of_pictures_are_looked_at_with_what_lies_in_it():
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    module = Insisting(-99, 99)
    model = instrumented(module, (3, 32, 32))
    module.lowest, module.highest = 0, 1
    assert "parts.0" in record(module, images[:1]).layers
    (unknown,) = [one for one in looked_at(model, images=images).values() if not one.passed]
    assert (unknown.name, unknown.passed) == ("start", None)
    assert unknown.says.endswith("the network fails (ValueError: no picture)")


def test_rounding_is_not_taken_for_a_dependence_on_other_pictures(monkeypatch):
    class Rounding(nn.Module):
        def forward(self, x):
            x = x.mean((2, 3), keepdim=True) * 1e-3 + 1000
            return (x - 1000) * 1000

    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 512, 3), Rounding(), nn.Flatten(), nn.Linear(512, 3))
    model = instrumented(module, (3, 32, 32))
    exact = answers.in_float64(model)
    images = pictures(4, 32)
    monkeypatch.setattr(answers, "SAME", 0.0)  # all rounding is too much
    assert answers._gap_among_others(model, images, 8) > 0
    found = answers.same_in_batch(model, images, 8)
    assert found.passed
    assert "in float32: rounding" in found.says
    assert answers._gap_among_others(exact, images.double(), 8) < answers.EXACT


def test_rounding_is_looked_for_in_every_picture():
    class Far(nn.Module):
        """What it gives is what it takes, by the difference of numbers far from it."""

        def forward(self, x):
            far = 1e5 * F.relu(x.amax((1, 2, 3), keepdim=True) - 5)
            return x * (far + 1) - x * far

    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3), Far(), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    images = pictures(4, 32) * torch.tensor([1.0, 1.0, 20.0, 1.0])[:, None, None, None]
    model = instrumented(module, (3, 32, 32))
    assert checks.stable(model, images[:2]).passed
    found = checks.stable(model, images)
    assert not found.passed
    assert "in the worst of 4 pictures is rounding" in found.says


def test_chance_that_sets_in_later():
    turns = itertools.cycle([0, 0, 0, 0, 0, 0, 0, 1])  # which nothing but answers shows
    network = Network(lambda net, x: net.body(x) + next(turns), body=small())
    found = answers.same_when_repeated(network, pictures(3, SIZE, 7))
    assert found.passed
    found = answers.same_when_repeated(network, pictures(3, SIZE, 7))
    assert not found.passed
    assert "is something random left on, as dropout?" in found.says


def statistics(_net, x):
    return F.batch_norm(x, None, None, training=True)


BATCHES = {
    "without running statistics": nn.BatchNorm2d(8, track_running_stats=False),
    "by a function": Network(statistics),
    "by hand": Network(lambda _, x: x / x.std(dim=(0, 2, 3), keepdim=True)),
    "less the mean of all": Network(lambda _, x: x - x.mean(dim=0, keepdim=True)),
}


@pytest.mark.parametrize("way", BATCHES)
def test_batch_statistics(way):
    body = small()
    body[1] = BATCHES[way]
    # Relevance is not needed to see it; some have no rule of relevance either.
    found = looked_at(instrumented(body, (3, SIZE, SIZE), None, None))
    assert not found["alone"].passed
    assert "does the network normalise by the batch" in found["alone"].says
    assert found["repeated"].passed


def test_a_network_whose_course_is_by_chance():
    turns = itertools.cycle([True, False])
    network = Network(lambda net, x: net.body(x.flip(-1) if next(turns) else x), body=small())
    with pytest.raises(RefusedError, match="computes otherwise on another picture"):
        instrumented(network, (3, SIZE, SIZE))


def test_another_network_with_the_same_plan(model):
    """As if weights had changed since the plan was made."""
    other = dataclasses.replace(model, module=small())
    with torch.no_grad():
        other.module[4].first.weight.mul_(1.05)
    assert "logits" in failed(other)


def moved(field: ReceptiveField, *, start=(0, 0), stride=(1, 1), size=(1, 1)) -> ReceptiveField:
    """Return a field elsewhere: starts are added, strides and sizes are multiplied."""
    return ReceptiveField(
        tuple(a * b for a, b in zip(field.size, size, strict=True)),
        tuple(a * b for a, b in zip(field.stride, stride, strict=True)),
        tuple(a + b for a, b in zip(field.start, start, strict=True)),
        field.whole,
    )


def misplacings(field: ReceptiveField, shape):
    """Yield fields that are wrong, by name."""
    height, width = shape[2:]
    down, right = (field.stride[0] * (height - 1), field.stride[1] * (width - 1))
    yield "flipped", moved(field, start=(0, right), stride=(1, -1))
    yield "upside down", moved(field, start=(down, 0), stride=(-1, 1))
    yield "shifted", moved(field, start=(0, field.size[1]))
    yield "stride halved", moved(field, stride=(0.5, 0.5))
    yield "stride doubled", moved(field, stride=(2, 2))
    yield "one place for all", moved(field, start=(down / 2, right / 2), stride=(0, 0))
    if not field.whole:  # else something may come from all over the picture
        yield "too small", moved(field, size=(0.5, 0.5))
    yield (
        "rows for columns",
        ReceptiveField(field.size, (field.stride[0], -field.stride[1] / 2), field.start),
    )


@pytest.mark.parametrize("layer", ["0", "3.second", "4.first"])
def test_boxes_misplaced(model, layer):
    known = model.plan.trace.layers[layer]
    for name, wrong in misplacings(known.field, known.shape):
        fields = {one: model.plan.trace.layers[one].field for one in model.layers} | {layer: wrong}
        found = checks.placed(model, pictures(3, SIZE, 7), fields)
        assert not found.passed, name
        assert f"units of {layer} do not stand where" in found.says


def test_what_is_not_a_number_is_no_agreement(model):
    assert answers.gap_between(torch.tensor([float("nan")]), torch.tensor([1.0])) == float("inf")
    broken = dataclasses.replace(model, module=small())
    with torch.no_grad():
        broken.module[4].first.weight[0, 0, 0, 0] = float("nan")
    assert failed(broken) == {"finite"}
