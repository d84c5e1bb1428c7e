"""Where a network's logits are, and what it makes of them itself."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from atlas.trace.following import RefusedError, Value
from atlas.trace.record import Trace

LEAVING = ("softmax", "log_softmax", "sigmoid", "logsigmoid")
"""Functions that turn logits into something else at a network's end."""


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
    while value.operation >= 0:
        operation = trace.of(value)
        behind = trace.of(operation.inputs[0]).name if operation.inputs[0].operation >= 0 else ""
        if operation.name in LEAVING:
            kind = "sigmoid" if "sigmoid" in operation.name else "softmax"
        elif not (operation.name == "log" and behind in LEAVING):
            break
        value = operation.inputs[0]
    shape = trace.of(value).outputs[value.output] if value.operation >= 0 else ()
    if len(shape) != 2:
        raise RefusedError(f"the network gives {shape} for one picture, not (1, classes)")
    return Head(value, kind, shape[1])
