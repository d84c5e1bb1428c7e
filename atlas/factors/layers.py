"""Which layers can be factorised, and what of their output the network goes on with.

A non-negative factorisation is of outputs that go through a ReLU, or are never negative. An
autoencoder is of any.
"""

import difflib
import fnmatch
import math
from collections.abc import Sequence
from typing import NamedTuple

from atlas.errors import UserError
from atlas.relevance.plan import Plan
from atlas.trace.record import Operation

RECTIFIERS = ("relu", "relu6", "hardtanh", "clamp", "clamp_min")
"""Operations that may cut off what is negative."""


class Range(NamedTuple):
    """Between which values the network goes on with a layer's output."""

    low: float = 0.0
    high: float = math.inf

    @property
    def signed(self) -> bool:
        """Whether what is negative has a meaning."""
        return self.low < 0


SIGNED = Range(low=-math.inf)


def ceiling(plan: Plan, layer: str) -> float | None:
    """Return where the ReLU behind a layer cuts its output off, infinite where it does not.

    None for a layer whose output has a meaning below 0: no ReLU stands behind it, or something else
    reads it too.
    """
    value = plan.trace.layers[layer].value
    if value is None:
        return None
    shown = plan.shown(value)
    readers = [plan.trace.operations[number] for number in plan.trace.readers.get(shown, ())]
    if not readers or shown == plan.trace.output:
        return None
    lows = [
        reader.bounds[place].never_negative
        for reader in readers
        for place, read in enumerate(reader.inputs)
        if read == shown
    ]
    if all(lows):
        return math.inf
    cuts = [_cut(reader) for reader in readers]
    if any(cut is None for cut in cuts):
        return None
    return max(cut for cut in cuts if cut is not None)


def _cut(operation: Operation) -> float | None:
    """Return where a ReLU cuts off above, infinite where it does not; None for what is none."""
    if operation.name == "relu":
        return math.inf
    if operation.name == "relu6":
        return 6.0
    if operation.name not in RECTIFIERS:
        return None
    low, high = operation.argument(1, "min_val"), operation.argument(2, "max_val")
    if operation.name != "hardtanh":
        low, high = operation.argument(1, "min"), operation.argument(2, "max")
    if operation.name == "clamp_min":
        high = None
    known = isinstance(low, int | float) and low == 0
    if not known or not (high is None or isinstance(high, int | float)):
        return None
    return math.inf if high is None else float(high)


def choose(
    plan: Plan, measured: Sequence[str], patterns: Sequence[str], *, signed: bool
) -> dict[str, Range]:
    """Return the layers to factorise, each with what the network goes on with of its output.

    Parameters
    ----------
    plan : Plan
        Of the network.
    measured : sequence of str
        The layers of the atlas, in the order of the forward pass.
    patterns : sequence of str
        Names or globs of them; none means the last layer that has a ReLU behind it. A glob means
        those of its layers that can be factorised.
    signed : bool
        Whether layers with signed outputs can be.

    Raises
    ------
    UserError
        A layer is unknown or has signed outputs that cannot be factorised, or none is left.
    """
    rectified = {
        name: Range(high=found) for name in measured if (found := ceiling(plan, name)) is not None
    }
    every = {name: rectified.get(name, SIGNED) for name in measured if signed or name in rectified}
    if not every:
        raise UserError(
            "no measured layer has a ReLU behind it, and factors by NMF are of outputs that are "
            "not negative: add such a layer to model.layers (that of a ReLU itself, for instance), "
            'or take factors.method = "sae", which can be of any'
        )
    if not patterns:
        return dict([next(reversed((rectified or every).items()))])
    wanted: set[str] = set()
    for pattern in patterns:
        if pattern in every:
            wanted.add(pattern)
        elif pattern in measured:
            later = [name for name in every if measured.index(name) > measured.index(pattern)]
            raise UserError(
                f"the output of layer {pattern!r} has a sign (no ReLU stands behind it), and "
                f"factors by NMF are of outputs that are not negative: take layer "
                f'{(later or list(every)[-1:])[0]!r}, or factors.method = "sae"'
            )
        elif not any(sign in pattern for sign in "*?["):
            close = difflib.get_close_matches(pattern, measured, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known: {measured[0]}, ..."
            raise UserError(f"the atlas has no layer {pattern!r} to factorise; {hint}")
        elif matches := fnmatch.filter(every, pattern):
            wanted.update(matches)
        else:
            which = "measured layer" if signed else "measured layer with a ReLU behind it"
            raise UserError(
                f"no {which} matches {pattern!r}; there are {', '.join(list(every)[:8])}"
            )
    return {name: found for name, found in every.items() if name in wanted}
