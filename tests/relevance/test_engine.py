"""The engine computes what zennit computes, whatever the network does besides."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from atlas.errors import UserError
from atlas.model import networks
from atlas.recipe import Model, Preprocessing
from atlas.relevance.engine import PREDICTED, ActivationEngine, RelevanceEngine, measure
from atlas.relevance.plan import plan
from atlas.relevance.rules import RULES
from atlas.trace.following import RefusedError
from atlas.trace.record import record
from tests.relevance.by_zennit import ZennitEngine
from tests.relevance.looking import Network, at_picture, instrumented, maps_of

REAL = Path(__file__).parents[3] / "shared/real/squeezenet1_1-imagenet.safetensors"
DOUBLE = torch.float64

HEADS = {"vgg11_bn": 25_088, "alexnet": 9_216}
"""Inputs of the classifiers of networks that are given a smaller one."""


def prepared(name: str, size: int, dtype: torch.dtype) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    if name == "small resnet":
        block = torchvision.models.resnet.BasicBlock
        module = torchvision.models.ResNet(block, [1, 1, 1, 1], num_classes=10)
    elif name in HEADS:  # a hundred million weights without a convolution
        with torch.device("meta"):
            module = torchvision.models.get_model(name, weights=None)
        module.classifier = nn.Identity()
        module = module.to_empty(device="cpu")
        for part in module.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
        module.classifier = nn.Sequential(
            nn.Linear(HEADS[name], 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 10)
        )
    else:
        module = torchvision.models.get_model(name, weights=None)
    module = module.eval().requires_grad_(False)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.2, 0.2)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    return module.to(dtype), torch.randn(3, 3, size, size).to(dtype)


def compare(module, images, composite, tolerance):
    convolutions = [n for n, part in module.named_modules() if isinstance(part, nn.Conv2d)]
    model = instrumented(module, images.shape[1:], None, composite)
    assert sorted(model.layers) == sorted(convolutions)
    targets = torch.tensor([5, PREDICTED, 9])
    expected, logits = maps_of(ZennitEngine(module, list(model.layers), composite), images, targets)
    engine = RelevanceEngine(model)
    found, ours = maps_of(engine, images, targets)
    assert found.keys() == expected.keys()
    seen = [layer for layer, mode in found if mode == "activation"]
    assert seen == list(model.layers)
    assert [layer for layer, mode in found if mode == "relevance"] == seen[::-1]
    torch.testing.assert_close(ours, logits, rtol=tolerance, atol=tolerance)
    for key, maps in expected.items():
        for one, other in ((found[key], maps), (found[key].sum((2, 3)), maps.sum((2, 3)))):
            difference = (one - other).abs().amax() / other.abs().amax().clamp(min=1e-30)
            assert difference <= tolerance, key
    again, _ = maps_of(engine, images, targets)
    assert all(torch.equal(again[key], found[key]) for key in found)


@pytest.mark.parametrize(
    ("name", "size"),
    [("vgg11_bn", 33), ("alexnet", 70), ("squeezenet1_1", 70), ("resnet18", 40),
     ("resnet50", 33)],
)  # fmt: skip
def test_maps_are_those_of_zennit(name, size):
    """In double precision: random logits near zero would amplify the last bits of floats."""
    module, images = prepared(name, size, DOUBLE)
    compare(module, images, "epsilon_plus_flat", 1e-9)


@pytest.mark.parametrize("composite", sorted(RULES))
def test_every_composite_is_that_of_zennit(composite):
    module, images = prepared("small resnet", 33, DOUBLE)
    compare(module, images, composite, 1e-8)


@pytest.mark.skipif(not REAL.is_file(), reason=f"needs {REAL}")
def test_a_trained_network_in_single_precision():
    model = Model(name="torchvision/squeezenet1_1", weights=str(REAL), device="cpu")
    network = networks.load(model, Preprocessing(resize=128, crop=128), 0)
    torch.manual_seed(0)
    compare(network.module, torch.randn(3, 3, 128, 128), "epsilon_plus_flat", 1e-4)


def test_an_unknown_composite_is_reported():
    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    trace = record(module.eval(), torch.zeros(1, 3, 8, 8))
    with pytest.raises(
        UserError, match=r"no composite 'epsilon_plus_box': .*one of .*epsilon_plus"
    ):
        plan(trace, "epsilon_plus_box")


def test_nothing_is_left_changed_after_an_exception():
    module, images = prepared("resnet18", 40, torch.float32)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    hooks = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules()]
    before = {name: dict(vars(part)) for name, part in module.named_modules()}
    with torch.no_grad():
        logits = module(images)
    engine = RelevanceEngine(instrumented(module, (3, 40, 40), ["layer1.0.conv1"]))

    def fail(*_):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        engine(images, torch.zeros(3, dtype=torch.int64), fail)
    assert before.keys() == {name for name, _ in module.named_modules()}
    assert all(vars(part).keys() == before[name].keys() for name, part in module.named_modules())
    assert hooks == [
        len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules()
    ]
    for key, value in module.state_dict().items():
        assert torch.equal(value, state[key])
    with torch.no_grad():
        assert torch.equal(module(images), logits)


def test_activations_alone_are_the_same():
    module, images = prepared("resnet18", 40, torch.float32)
    model = instrumented(module, (3, 40, 40))
    targets = torch.full((3,), PREDICTED)
    both, logits = maps_of(RelevanceEngine(model), images, targets)
    alone, same = maps_of(ActivationEngine(model), images, targets)
    assert torch.equal(logits, same)
    assert alone.keys() == {key for key in both if key[1] == "activation"}
    assert all(torch.equal(maps, both[key]) for key, maps in alone.items())


def test_a_pictures_maps_do_not_depend_on_its_batch():
    module, images = prepared("resnet18", 40, torch.float32)
    engine = RelevanceEngine(instrumented(module, (3, 40, 40), ["conv1", "layer4.1.conv2"]))
    many = torch.cat([images] * 4)[:11]
    targets = torch.full((11,), PREDICTED)

    def run(count):
        found = {}

        def visit(part, layer, mode, maps):
            found.setdefault((layer, mode), []).append(maps.clone())

        logits = measure(engine, many[:count], targets[:count], visit)
        return {key: torch.cat(maps) for key, maps in found.items()}, logits

    (alone, first), (together, all_) = run(1), run(11)
    assert all_.shape == (11, 1000)
    assert torch.equal(first[0], all_[0])
    for key, maps in together.items():
        assert len(maps) == 11
        assert torch.equal(maps[0], alone[key][0])
        assert torch.equal(maps[0], maps[3])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_less_precision_gives_nearly_the_same(dtype):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 8 * 8, 4),
    ).eval()  # fmt: skip
    images, targets = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3])
    exact, _ = maps_of(RelevanceEngine(instrumented(module, (3, 16, 16))), images, targets)
    less = instrumented(module.to(dtype), (3, 16, 16))
    found, _ = maps_of(RelevanceEngine(less), images, targets)
    for key, maps in exact.items():
        one, other = (each.float().sum(dim=(2, 3)).flatten() for each in (found[key], maps))
        assert torch.corrcoef(torch.stack([one, other]))[0, 1] > 0.98, key


def test_one_logit_tells_two_classes_apart():
    """z stands for the logits -z/2 and z/2: their softmax is the sigmoid of z."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)
    )
    model = instrumented(module, (3, 8, 8), ["0"])
    assert (model.plan.head.outputs, model.plan.head.classes) == (1, 2)
    images = torch.randn(6, 3, 8, 8)
    with torch.no_grad():
        z = module(images)
        module[4].bias -= z.median()  # of either sign
        z = module(images)
    model = instrumented(module, (3, 8, 8), ["0"])
    engine = RelevanceEngine(model)
    found, logits = maps_of(engine, images, torch.full((6,), PREDICTED))
    torch.testing.assert_close(logits, torch.cat([-z / 2, z / 2], dim=1))
    probabilities = model.plan.head.probabilities(logits)
    torch.testing.assert_close(probabilities[:, 1:], z.sigmoid())
    assert set(logits.argmax(dim=1).tolist()) == {0, 1}
    assert (probabilities.sum(dim=1) - 1).abs().max() < 1e-6
    # What speaks for the class that is explained has positive relevance.
    for target in (0, 1):
        one, _ = maps_of(engine, images, torch.full((6,), target))
        own = logits[:, target]
        assert torch.equal(one["0", "relevance"].sum(dim=(1, 2, 3)) > 0, own > 0)
        same = logits.argmax(dim=1) == target
        assert torch.equal(one["0", "relevance"][same], found["0", "relevance"][same])


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (nn.Softmax(dim=1), "softmax"),
        (nn.LogSoftmax(dim=1), "softmax"),
        (nn.Sigmoid(), "sigmoid"),
        (nn.LogSigmoid(), "sigmoid"),
        (Network(lambda _, x: x.softmax(dim=1).log()), "softmax"),
        (Network(lambda _, x: torch.special.expit(x)), "sigmoid"),
        (Network(lambda _, x: torch.special.log_softmax(x, 1)), "softmax"),
    ],
    ids=[
        "softmax",
        "log-softmax",
        "sigmoid",
        "log-sigmoid",
        "log of softmax",
        "expit",
        "special log-softmax",
    ],
)
def test_relevance_starts_before_what_ends_a_network(ending, kind):
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(6, 5),
    )  # fmt: skip
    images, targets = torch.randn(4, 3, 10, 10), torch.tensor([0, 4, PREDICTED, PREDICTED])
    bare = instrumented(body, (3, 10, 10))
    expected, logits = maps_of(RelevanceEngine(bare), images, targets)
    ended = instrumented(nn.Sequential(*body, ending), (3, 10, 10))
    assert (bare.plan.head.kind, ended.plan.head.kind) == ("logits", kind)
    found, same = maps_of(RelevanceEngine(ended), images, targets)
    assert torch.equal(same, logits)
    assert all(torch.equal(maps, found[key]) for key, maps in expected.items())


class Course(nn.Module):
    """Does something else with bright pictures."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

    def forward(self, x):
        x = self.one(x).relu() if x.mean() < 5 else self.other(x).sigmoid()
        return x.mean(dim=(2, 3))


def test_a_course_that_depends_on_the_picture_is_refused():
    engine = RelevanceEngine(instrumented(Course(), (3, 8, 8)))
    targets = torch.zeros(2, dtype=torch.int64)
    engine(torch.zeros(2, 3, 8, 8), targets, lambda *_: None)
    with pytest.raises(RefusedError, match="decides by the values of a picture"):
        engine(torch.full((2, 3, 8, 8), 9.0), targets, lambda *_: None)


WAYS = {
    "modules": lambda net, x: net.last(F.relu(net.norm(net.first(x)))),
    "in place": lambda net, x: net.last(F.relu_(net.norm(net.first(x)))),
    "without gradients": torch.no_grad()(lambda net, x: net.last(F.relu(net.norm(net.first(x))))),
    "inference mode": torch.inference_mode()(
        lambda net, x: net.last(F.relu(net.norm(net.first(x))))
    ),
    "keywords": lambda net, x: net.last(input=F.relu(input=net.norm(input=net.first(input=x)))),
    "functions": lambda net, x: F.conv2d(
        torch.clamp_min(
            F.batch_norm(
                F.conv2d(x, net.first.weight, net.first.bias),
                net.norm.running_mean, net.norm.running_var, net.norm.weight, net.norm.bias,
            ),
            0,
        ),
        net.last.weight, net.last.bias,
    ),
    "other functions": lambda net, x: torch.conv2d(
        torch.batch_norm(
            torch.conv2d(x, net.first.weight, bias=net.first.bias),
            net.norm.weight, net.norm.bias, net.norm.running_mean, net.norm.running_var,
            False, 0.1, 1e-5, False,
        ).relu(),
        net.last.weight, bias=net.last.bias,
    ),
    "twice": lambda net, x: net.last(net.norm(net.first(x)).relu().relu()),
    "detached": lambda net, x: net.last(net.norm(net.first(x.detach())).relu()).detach(),
    "data": lambda net, x: net.last(net.norm(net.first(x.data)).relu()),
    "checkpointed": lambda net, x: torch.utils.checkpoint.checkpoint(
        lambda y: net.last(net.norm(net.first(y)).relu()), x, use_reentrant=False
    ),
    "checkpointed, reentrant": lambda net, x: torch.utils.checkpoint.checkpoint(
        lambda y: net.last(net.norm(net.first(y)).relu()), x, use_reentrant=True
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("way", WAYS)
def test_it_does_not_matter_how_a_network_is_written(way):
    torch.manual_seed(0)
    parts = {"first": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "last": nn.Conv2d(4, 5, 3)}
    nn.init.uniform_(parts["norm"].weight, 0.5, 2)
    nn.init.normal_(parts["norm"].bias)
    nn.init.normal_(parts["norm"].running_mean)

    def network(body):
        return Network(lambda net, x: body(net, x).mean(dim=(2, 3)), **parts)

    images = torch.randn(3, 3, 9, 9)
    expected, logits = at_picture(instrumented(network(WAYS["modules"]), (3, 9, 9), []), images)
    model = instrumented(network(WAYS[way]), (3, 9, 9), [])
    found, same = at_picture(model, images)
    torch.testing.assert_close(same, logits)
    torch.testing.assert_close(found, expected)
    # Each operation is carried out once for a picture.
    assert sum(one.name == "conv2d" for one in model.plan.trace.operations) == 2
