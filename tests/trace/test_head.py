"""Where a network's logits are, and what it makes of them."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from atlas.trace.following import RefusedError
from atlas.trace.head import find_head
from atlas.trace.record import record
from tests.relevance.looking import Network


def head(function, outputs=5):
    torch.manual_seed(0)
    network = Network(
        lambda net, x: function(net.last(x.mean((2, 3)))), last=nn.Linear(3, outputs)
    ).eval()
    trace = record(network, torch.randn(1, 3, 4, 4))
    return find_head(trace), trace


ENDS = {
    "nothing": (lambda z: z, "logits"),
    "softmax": (lambda z: z.softmax(1), "softmax"),
    "F.softmax": (lambda z: F.softmax(z, dim=-1), "softmax"),
    "log_softmax": (lambda z: F.log_softmax(z, dim=1), "softmax"),
    "log of a softmax": (lambda z: torch.log(z.softmax(1)), "softmax"),
    "log_softmax of a softmax": (lambda z: z.softmax(1).log_softmax(1), "softmax"),
    "sigmoid": (torch.sigmoid, "sigmoid"),
    "in place": (lambda z: z.sigmoid_(), "sigmoid"),
    "F.logsigmoid": (F.logsigmoid, "sigmoid"),
    "expit": (torch.special.expit, "sigmoid"),
    "log of a sigmoid": (lambda z: z.sigmoid().log(), "sigmoid"),
    "per cent": (lambda z: 100 * z.softmax(1), "softmax"),
    "bits": (lambda z: F.log_softmax(z, 1) / math.log(2), "softmax"),
    "normalised powers": (lambda z: F.normalize(z.exp(), p=1, dim=1), "softmax"),
    "less the largest": (lambda z: (z - z.amax(1, keepdim=True)).softmax(1), "softmax"),
    "minus the logarithm of a sum": (lambda z: z - z.exp().sum(1, keepdim=True).log(), "softmax"),
    "-softplus(-z)": (lambda z: -F.softplus(-z), "sigmoid"),
    "-log(1 + exp(-z))": (lambda z: -torch.log1p(torch.exp(-z)), "sigmoid"),
    "one over": (lambda z: 1 / (1 + torch.exp2(-z / math.log(2))), "sigmoid"),
    "one minus": (lambda z: 1 - torch.sigmoid(-z), "sigmoid"),
    "tanh(z / 2)": (lambda z: torch.tanh(z / 2), "sigmoid"),
    "taken back": (lambda z: z.sigmoid().logit(), "logits"),
}


@pytest.mark.parametrize("end", ENDS)
def test_logits_are_before_what_leaves_them(end):
    function, kind = ENDS[end]
    found, trace = head(function)
    assert trace.of(found.logits).name == "linear"
    assert (found.kind, found.outputs, found.classes) == (kind, 5, 5)


@pytest.mark.parametrize(
    "function",
    [
        torch.relu,
        lambda z: z * 2,
        lambda z: z.log(),
        lambda z: -z.softmax(1),
        lambda z: z.softmax(1)[:, [1, 0, 2, 3, 4]],
        F.hardsigmoid,
        torch.tanh,
    ],
)
def test_what_is_no_such_end_is_part_of_the_logits(function):
    found, trace = head(function)
    assert found.kind == "logits"
    assert found.logits == trace.output


def test_a_softmax_inside_is_none_at_the_end():
    found, trace = head(lambda z: torch.cat([z.softmax(1), z], 1))
    assert (found.kind, found.outputs) == ("logits", 10)
    assert found.logits == trace.output


def test_one_logit_is_two_classes():
    for function, kind in ((lambda z: z, "logits"), (torch.sigmoid, "sigmoid")):
        found, _ = head(function, outputs=1)
        assert (found.kind, found.outputs, found.classes) == (kind, 1, 2)
        z = torch.tensor([[-3.0], [0.5]])
        logits = found.class_logits(z)
        torch.testing.assert_close(logits[:, 1] - logits[:, 0], z[:, 0])
        torch.testing.assert_close(found.probabilities(logits)[:, 1], z[:, 0].sigmoid())
        torch.testing.assert_close(found.probabilities(logits).sum(1), torch.ones(2))


def test_one_logit_may_come_as_two_probabilities():
    def two(z):
        p = z.sigmoid()
        return torch.cat([1 - p, p], 1)

    found, trace = head(two, outputs=1)
    assert trace.of(found.logits).name == "linear"
    assert (found.kind, found.outputs, found.classes) == ("sigmoid", 1, 2)
    assert head(lambda z: two(z).flip(1), outputs=1)[0].kind == "logits"


def test_probabilities_are_what_the_network_says():
    z = torch.randn(4, 5)
    for end, expected in (("nothing", z.softmax(1)), ("log_softmax", z.softmax(1)),
                          ("sigmoid", z.sigmoid())):  # fmt: skip
        found, _ = head(ENDS[end][0])
        torch.testing.assert_close(found.class_logits(z), z)
        torch.testing.assert_close(found.probabilities(z), expected)
        torch.testing.assert_close(found.probabilities(z[None]), expected[None])


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(3, 2, 3),
        nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(2)),
        nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(0)),
        nn.Identity(),
        nn.Softmax(dim=1),
    ],
)
def test_what_gives_no_row_of_numbers_is_reported(module):
    """Also a network that hands the picture back."""
    with pytest.raises(RefusedError, match=r"the network gives|is not made from the picture"):
        find_head(record(module.eval(), torch.randn(1, 3, 6, 6)))
