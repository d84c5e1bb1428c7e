"""Where a network's logits are, and what it makes of them itself."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from atlas.trace.following import RefusedError, Value
from atlas.trace.kinds import IDLE, KINDS
from atlas.trace.record import Trace
from atlas.trace.softmax import log_softmax_of, softmax_of, without_largest

LEAVING = ("softmax", "log_softmax", "sigmoid", "logsigmoid")
"""Functions that turn logits into something else at a network's end."""

_TYPES = ("to", "float", "double", "half", "bfloat16", "type")


@dataclass(frozen=True)
class Head:
    """The end of a network."""

    logits: Value
    """The values from which relevance starts."""
    kind: Literal["logits", "softmax", "sigmoid"]
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
    value = trace.output
    kind: Literal["logits", "softmax", "sigmoid"] = "logits"
    while (before := _before(trace, value)) is not None:
        value, kind = before
    shape = trace.of(value).outputs[value.output] if value.operation >= 0 else ()
    if len(shape) != 2:
        raise RefusedError(f"the network gives {shape} for one picture, not (1, classes)")
    return Head(value, kind, shape[1])


def _before(trace: Trace, value: Value) -> tuple[Value, Literal["softmax", "sigmoid"]] | None:
    """Return what went into the softmax or sigmoid that a value comes out of; None if it is none.

    Also where the network takes the logarithm of it, or its exponential back.
    """
    names = set()
    while value.operation >= 0:
        operation = trace.of(value)
        if operation.name in LEAVING:
            return operation.inputs[0], "sigmoid" if "sigmoid" in operation.name else "softmax"
        z = softmax_of(trace, operation) or log_softmax_of(trace, value)
        if z is not None:
            return without_largest(trace, z), "softmax"
        if len(operation.inputs) != 1 or not (
            operation.name in (*IDLE, *_TYPES, "log", "exp")
            or (operation.name == "add" and "log" in names)  # log(softmax(z) + 1e-9)
        ):
            return None
        names.add(operation.name)
        value = operation.inputs[0]
    return None


def squashed_by(trace: Trace) -> str:
    """Return the function whose outputs, scaled or shifted, a network returns; "" if there is none.

    A sigmoid or the like, behind which values are no logits.
    """
    value = trace.output
    while value.operation >= 0:
        operation = trace.of(value)
        if operation.name in (*LEAVING, "hardsigmoid", "softmin"):
            return operation.name
        kind = KINDS.get(operation.name)
        scales = kind in ("product", "quotient", "sum", "moving")
        if len(operation.inputs) != 1 or not (scales or operation.name in ("neg", *IDLE, *_TYPES)):
            return ""
        value = operation.inputs[0]
    return ""
