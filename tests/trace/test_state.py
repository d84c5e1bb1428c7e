"""What a network keeps between its calls."""

import collections
import functools
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from atlas.errors import UserError
from atlas.model import first
from atlas.trace.following import RefusedError
from atlas.trace.record import record
from atlas.trace.state import changed, snapshot, state_of

PICTURE = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))
SEEN = 0


class Memo:
    value = None


class Keeping(nn.Module):
    """A network that may change its maps by what it keeps."""

    calls = 0

    def __init__(self, change, **kept):
        super().__init__()
        torch.manual_seed(1)
        self.stem, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        self.change = change
        for name, value in kept.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.fc(self.change(self, self.stem(x)).relu().mean((2, 3)))


def counted_in_list(net, y):
    net.n[0] += 1
    return y * (1 if net.n[0] < 99 else 2)


def counted_by_iterator(net, y):
    return y * (1 if next(net.n) < 99 else 2)


def counted_by_class(net, y):
    type(net).calls += 1
    return y * (1 if type(net).calls < 99 else 2)


def counted_in_file(net, y):
    global SEEN  # noqa: PLW0603 (what a user's file may do)
    SEEN += 1
    return y * (1 if SEEN < 99 else 2)


def counted_in_array(net, y):
    net.n += 1
    return y * (1 if net.n[0] < 99 else 2)


def numbers():
    number = 0
    while True:
        number += 1
        yield number


def counted_by_generator(net, y):
    return y * (1 if next(net.n) < 99 else 2)


def counted_at_function(net, y):
    counted_at_function.n = vars(counted_at_function).get("n", 0) + 1
    return y * (1 if counted_at_function.n < 99 else 2)


def toggled(net, y):
    net.n = not net.n
    return y


def running_mean(net, y):
    net.mu = 0.9 * net.mu + 0.1 * y.mean((0, 2, 3), keepdim=True)
    return y - net.mu


def last_picture(net, y):
    old = net.q[0] if net.q else 0
    net.q.append(y.mean())
    return y + old


class Counter:
    """What a hook may belong to."""

    def __init__(self):
        self.n = 0

    def hook(self, module, inputs, output):
        self.n += 1
        return output * (1 if self.n < 99 else 2)


def test_what_hooks_keep_is_looked_at():
    network = Keeping(noted).eval()
    network.stem.register_forward_hook(Counter().hook)
    with pytest.raises(RefusedError, match=r"changes 'stem.hook \d+.n' of its own each time"):
        record(network, PICTURE)


KEPT = {
    "list": (counted_in_list, {"n": [0]}, r"changes 'n\[0\]' of its own each time"),
    "iterator": (counted_by_iterator, {"n": itertools.count()}, "changes 'n' of its own"),
    "class": (counted_by_class, {}, "changes 'Keeping.calls' of its own"),
    "file": (counted_in_file, {}, r"changes '[\w.]*test_state.SEEN' of its own"),
    "array": (counted_in_array, {"n": np.zeros(2)}, "changes 'n' of its own"),
    "generator": (counted_by_generator, {"n": numbers()}, "changes 'n.number' of its own"),
    "function": (counted_at_function, {}, "changes 'change.n' of its own"),
    "toggle": (toggled, {"n": False}, "changes 'n' of its own"),
    "running mean": (running_mean, {"mu": torch.zeros(1, 4, 1, 1)}, "keeps 'mu' from one picture"),
    "last picture": (last_picture, {"q": collections.deque(maxlen=1)}, r"keeps 'q\[0\]' from one"),
}  # fmt: skip


@pytest.mark.parametrize("way", KEPT)
def test_what_is_kept_from_call_to_call_is_refused_by_its_name(way):
    change, kept, says = KEPT[way]
    with pytest.raises(RefusedError, match=says) as caught:
        record(Keeping(change, **kept).eval(), PICTURE)
    assert "\n" not in str(caught.value)


def noted(net, y):
    """Keep maps for a later look."""
    net.last, net.shape, net.means = y, tuple(y.shape), [y.mean((2, 3))]
    return y


def made_anew(net, y):
    net.scale.copy_(net.fc.weight.abs().sum(dim=0).view(1, -1, 1, 1))
    return y * net.scale


def test_what_is_written_and_never_read_does_no_harm():
    record(Keeping(noted).eval(), PICTURE)
    network = Keeping(made_anew).eval()
    network.register_buffer("scale", torch.zeros(1, 4, 1, 1))
    record(network, PICTURE)


# The first call ---------------------------------------------------------------------------


def in_list(net, y):
    if not net.kept:
        net.kept.append(y.mean())
    return y - net.kept[0]


def in_object(net, y):
    if net.memo.value is None:
        net.memo.value = y.abs().amax()
    return y / net.memo.value


def as_number(net, y):
    net.scale = net.scale or float(y.std())
    return y / net.scale


def in_parameter(net, y):
    if not net.done:
        net.scale.data.copy_(1 / y.std((0, 2, 3), keepdim=True))
        net.done = True
    return y * net.scale


def in_default(net, y, kept={}):  # noqa: B006 (what a user may do)
    return y - kept.setdefault("mean", y.mean((0, 2, 3), keepdim=True))


def answers(net, y):
    return net.known.setdefault(y.shape, y)


FIRST = {
    "list": (in_list, {"kept": []}, "kept"),
    "object": (in_object, {"memo": Memo()}, "memo.value"),
    "number": (as_number, {"scale": None}, "scale"),
    "parameter": (
        in_parameter, {"done": False, "scale": nn.Parameter(torch.ones(1, 4, 1, 1))}, "scale",
    ),
    "default": (in_default, {}, "default 0"),
    "answers": (answers, {"known": {}}, "known"),
}  # fmt: skip


def called_first(network):
    twin = first.Twin(network)
    with torch.no_grad():
        network(PICTURE)
    first.refuse_first_call(network, twin, PICTURE, "net")


@pytest.mark.parametrize("way", FIRST)
def test_what_is_kept_of_the_first_picture_is_refused_by_its_name(way):
    change, kept, name = FIRST[way]
    with pytest.raises(
        UserError, match=rf"net fills '[\w.]*{name}[^']*' when it is first"
    ) as caught:
        called_first(Keeping(change, **kept).eval())
    assert "\n" not in str(caught.value)


def positions(net, y):
    if y.shape[2:] not in net.known:
        net.known[y.shape[2:]] = torch.linspace(0, 1, y.shape[3])
    return y + net.known[y.shape[2:]]


def test_tables_that_the_first_call_fills_do_no_harm():
    called_first(Keeping(positions, known={}).eval())
    called_first(Keeping(noted).eval())
    network = Keeping(in_list, kept=[]).eval()
    network(PICTURE)  # by whom it belongs to
    called_first(network)


def test_a_snapshot_brings_back_what_classes_files_and_containers_held():
    network = Keeping(functools.partial(counted_in_list), n=[0], more={"a": 1})
    restore, before = snapshot(network), state_of(network)
    Keeping.calls += 1
    network.n.append(3)
    network.more["b"] = torch.ones(2)
    assert changed(before, state_of(network))
    restore()
    assert state_of(network) == before
