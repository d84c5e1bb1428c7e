"""The network as it is asked in an audit, and the pictures that it is asked about."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from atlas.relevance import changed
from atlas.relevance.tape import Instrumented

BATCH = 32
"""Versions of pictures that go through the network at once."""

MapOf = Callable[[Tensor, Tensor], Tensor]
"""From pictures (B, colours, height, width), preprocessed, and an output of the network for each,
int64 (B,), to maps (B, height, width): a number for each pixel, the higher the more the pixel
speaks for that output."""


@dataclass(frozen=True)
class Audited:
    """The network whose answers maps are about."""

    model: Instrumented

    @torch.no_grad()
    def answer(self, image: Tensor) -> Tensor:
        """Return the output that the network answers to a picture (1, ...): its number, (1,)."""
        return changed.logits(self.model, image).argmax(dim=1)

    @torch.no_grad()
    def logits(self, images: Tensor, targets: Tensor) -> Tensor:
        """Return the logit of an output for each picture, (B,)."""
        return self._asked(images, targets, lambda logits: logits)

    @torch.no_grad()
    def probabilities(self, images: Tensor, targets: Tensor) -> Tensor:
        """Return the probability of an output for each picture, (B,)."""
        return self._asked(images, targets, self.model.plan.head.probabilities)

    def _asked(self, images: Tensor, targets: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
        found = [
            of(changed.logits(self.model, some).float()).gather(1, labels[:, None])[:, 0]
            for some, labels in _some(images, targets)
        ]
        return torch.cat(found)

    def gradients(self, images: Tensor, targets: Tensor) -> Tensor:
        """Return the gradients of an output's logit by each picture, as `images`.

        Also where the network itself switches gradients off.
        """
        found = []
        for some, labels in _some(images, targets):
            with torch.enable_grad():
                pictures = some.detach().clone().requires_grad_()
                logits = changed.differentiable(self.model, pictures)
                chosen = logits.gather(1, labels[:, None]).sum()
                found.append(torch.autograd.grad(chosen, pictures)[0])
        return torch.cat(found)


def _some(images: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pictures with their targets, a few at a time."""
    return zip(torch.split(images, BATCH), torch.split(targets, BATCH), strict=True)
