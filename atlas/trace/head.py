"""Where a network's logits are, and what it makes of them itself.

What a network does with its logits at its end is found out by doing it: the operations from a value
to the output are carried out again on random numbers, and what comes out is compared with softmax,
sigmoid and their logarithms. So it does not matter how they are written, or whether they are
scaled and shifted (per cent).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from atlas.trace.following import RefusedError, Value
from atlas.trace.kinds import KINDS, WEIGHTED
from atlas.trace.record import Trace
from atlas.trace.replaying import LONGEST, replayed

LEAVING = ("softmax", "log_softmax", "sigmoid", "logsigmoid")
"""Functions that turn logits into something else at a network's end."""

TRIED = 8
"""On so many rows of random numbers the end of a network is carried out."""

CLOSE = 1e-3
"""Two functions are the same if they differ by at most this part of what they range over: nothing
is seen of a number that is added so that a logarithm stays finite."""

Kind = Literal["logits", "softmax", "sigmoid"]


@dataclass(frozen=True)
class Head:
    """The end of a network."""

    logits: Value
    """The values from which relevance starts."""
    kind: Kind
    """What the network makes of its logits itself: nothing, classes that exclude each other
    (also by log-softmax), or classes of which each is there or not."""
    outputs: int
    """How many numbers there are for a picture."""

    @property
    def classes(self) -> int:
        """How many classes there are; a single logit decides between two."""
        return max(2, self.outputs)

    def class_logits(self, logits: Tensor) -> Tensor:
        """Return a logit for each class (B, classes) from the network's own logits.

        One logit z stands for two classes, whose logits are -z/2 and z/2: their softmax is the
        sigmoid of z.
        """
        return torch.cat([-logits / 2, logits / 2], dim=1) if self.outputs == 1 else logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probability of each class from `class_logits` (..., classes)."""
        independent = self.kind == "sigmoid" and self.outputs > 1
        return logits.sigmoid() if independent else logits.softmax(dim=-1)


def find_head(trace: Trace) -> Head:
    """Find the logits of a network.

    Raises
    ------
    RefusedError
        The network does not give one row of numbers for a picture.
    """
    value, kind = trace.output, "logits"
    while (before := _before(trace, value)) is not None:
        value, kind = before
    shape = _shape(trace, value)
    if len(shape) != 2:
        raise RefusedError(f"the network gives {shape} for one picture, not (1, classes)")
    return Head(value, kind, shape[1])  # type: ignore[arg-type]


def _shape(trace: Trace, value: Value) -> tuple[int, ...]:
    return trace.of(value).outputs[value.output] if value.operation >= 0 else ()


def _before(trace: Trace, value: Value) -> tuple[Value, Kind] | None:
    """Return what went into the softmax or sigmoid that a value comes out of; None if it is none.

    Of several values of which that is true, as z - max(z) and z, it is the first.
    """
    found = None
    if not _leaves(trace, value):
        return None
    for start, _ in _cuts(trace, value):
        kind = _kind(trace, start, value)
        if kind is not None:
            found = start, kind
    return found


CURVED = (
    "softmax", "log_softmax", "softmin", "sigmoid", "logsigmoid", "exp", "exp2", "expm1", "log",
    "log2", "log10", "log1p", "tanh", "softplus", "logaddexp", "logaddexp2", "logsumexp",
    "logcumsumexp", "reciprocal", "rdiv", "pow", "xlogy", "erf", "erfc", "normalize", "logit",
    "cross_entropy", "gumbel_softmax", "special_xlog1py", "special_ndtr", "special_log_ndtr",
    "special_entr", "special_log1p", "special_expm1", "special_exp2", "special_logit",
    "special_erf",
)  # fmt: skip
"""Functions without one of which no softmax or sigmoid can be written."""


def _leaves(trace: Trace, value: Value) -> bool:
    """Return whether there is a function behind the last weights that softmax or sigmoid needs."""
    return any(trace.operations[n].name in CURVED for _, end in _cuts(trace, value) for n in end)


def _cuts(trace: Trace, value: Value) -> Iterator[tuple[Value, frozenset[int]]]:
    """Yield the values through which alone the picture comes to `value`, the last first.

    With them come the numbers of the operations between. Weights end it: what is before them is
    no end of a network.
    """
    open_, passed = {value}, set[int]()
    while len(passed) < LONGEST:
        last = max(open_).operation
        if last < 0:
            return
        operation = trace.operations[last]
        if KINDS.get(operation.name) in WEIGHTED:
            return
        passed.add(last)
        open_ = {one for one in open_ if one.operation != last} | set(operation.inputs)
        if len(open_) == 1:
            yield next(iter(open_)), frozenset(passed)


def _kind(trace: Trace, start: Value, stop: Value) -> Kind | None:
    """Return which end of a network the operations from one value to another are, if any."""
    given, made = _shape(trace, start), _shape(trace, stop)
    if len(given) != 2 or len(made) != 2 or given[0] != 1:
        return None
    chance = torch.Generator().manual_seed(0)
    rows = torch.randn(TRIED, given[1], generator=chance) * torch.linspace(0.5, 2, TRIED)[:, None]
    rows = rows.double()
    made_of = [replayed(trace, stop, {start: row[None]}) for row in rows]
    results = [one for one in made_of if one is not None]
    if len(results) < TRIED:
        return None
    found = torch.cat(results)
    if found.shape == rows.shape and torch.allclose(found, rows, rtol=0, atol=CLOSE):
        return "logits"  # taken back, as the logit of a sigmoid
    for kind, functions in _FUNCTIONS.items():
        for function in functions:
            if _is_scaled(found, function(rows)):
                return kind
    return None


def _two(z: Tensor) -> Tensor:
    """Return the probabilities of two classes from one logit."""
    return torch.cat([torch.sigmoid(-z), torch.sigmoid(z)], dim=1)


_FUNCTIONS: Mapping[Kind, tuple[Callable[[Tensor], Tensor], ...]] = {
    "softmax": (lambda z: z.softmax(dim=1), lambda z: z.log_softmax(dim=1)),
    "sigmoid": (torch.sigmoid, F.logsigmoid, _two, lambda z: _two(z).log()),
}


def _is_scaled(found: Tensor, function: Tensor) -> bool:
    """Return whether numbers are those of a function, but for a positive factor and a shift."""
    if found.shape != function.shape or not bool(found.isfinite().all()):
        return False
    x, y = function - function.mean(), found - found.mean()
    spread = float(x.square().sum())
    factor = float((x * y).sum()) / spread if spread > 0 else 0.0
    allowed = CLOSE * factor * float(x.max() - x.min())
    return factor > 0 and bool(((factor * x - y).abs() <= allowed).all())
