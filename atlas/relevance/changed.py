"""What a network answers when something inside it, or in the picture, is changed."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from atlas.relevance.tape import Instrumented
from atlas.trace.following import Call, Following, Value, mapped, tensors

Change = Callable[[Tensor], Tensor]
"""From a layer's output for one picture (1, ...) to many versions of it (N, ...)."""


def logits(
    model: Instrumented, images: Tensor, layer: str | None = None, change: Change | None = None
) -> Tensor:
    """Return the logits (N, classes) of pictures, or of one whose layer is changed.

    Parameters
    ----------
    model : Instrumented
        The network; it is run as it is, without rules.
    images : Tensor
        (N, colours, height, width), preprocessed; or one picture of whose layer `change` makes N
        versions, if the network `joins` them.
    layer : str, optional
        Whose output is changed: where its norm, if it has one, has been applied.
    change : callable, optional
        What makes N versions of it.
    """
    with torch.no_grad():
        return differentiable(model, images, layer, change)


def differentiable(
    model: Instrumented, images: Tensor, layer: str | None = None, change: Change | None = None
) -> Tensor:
    """Return the same as `logits`, with the gradients that PyTorch records meanwhile.

    They lead to whatever `change` brings in, and to pictures that require them.
    """
    at = None if layer is None else model.plan.shown(model.layers[layer])
    with _Changing(model, images, at, change or (lambda output: output)) as changing:
        model.module(changing.picture)
    assert changing.logits is not None, "the network's course is checked when it is measured"
    return model.plan.head.class_logits(changing.logits)


def under_versions(model: Instrumented, image: Tensor, layer: str) -> Callable[[int], Tensor]:
    """Return what is to go through a network for so many versions of a layer of one picture.

    The picture itself if the network `joins` them, else as many of it.
    """
    joined = joins(model, image, layer)
    return lambda count: image if joined else image.expand(count, *image.shape[1:])


def joins(model: Instrumented, image: Tensor, layer: str) -> bool:
    """Return whether many versions of a layer's output can go on from one picture.

    They cannot where the network remembers how many pictures there were, as in
    `x.view(pictures, -1)`.
    """
    whole = logits(model, image)
    try:
        twice = logits(model, image, layer, lambda output: output.repeat_interleave(2, dim=0))
    except RuntimeError:  # shapes that do not fit
        return False
    return twice.shape == (2, whole.shape[1]) and torch.allclose(twice, whole, atol=1e-4)


class _Changing(Following):
    """Puts N versions in the place of one value.

    Below it there is one picture, above it there are N. Sums broadcast by themselves;
    concatenations do not.
    """

    def __init__(
        self, model: Instrumented, images: Tensor, at: Value | None, change: Change
    ) -> None:
        super().__init__(model.input(images))
        self._at = at
        self._change = change
        self._wanted = model.plan.head.logits
        self.logits: Tensor | None = None

    def compute(self, call: Call) -> Any:
        """Carry out an operation, and look whether it is the one."""
        if call.name in ("cat", "stack"):
            count = max(len(one) for one in call.live)
            spread = lambda one: one.expand(count, *one.shape[1:]) if len(one) == 1 else one  # noqa: E731
            args, options = mapped(spread, call.arguments)
            result = call.function(*args, **options)
        else:
            result = call()
        made = list(tensors(result))
        if made and self._at is not None and call.number == self._at.operation:
            target = made[self._at.output]
            result = mapped(lambda one: self._change(one) if one is target else one, result)
            made = list(tensors(result))
        if made and call.number == self._wanted.operation:
            self.logits = made[self._wanted.output]
        return result
