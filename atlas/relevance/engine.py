"""Relevance of every channel for one output: layer-wise relevance propagation by operations.

An *engine* takes a batch and hands over the maps of each layer as they arise, so that no more
than one layer's maps need to be in memory.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from atlas.relevance.tape import Instrumented, Tape, follow, path_to
from atlas.store import Mode
from atlas.trace.following import PICTURE, Value

PREDICTED = -1
"""As a target: the class with the highest logit."""

CPU_BLOCK = 8
"""Pictures that go through the network at once on a CPU, whatever the batch size: kernels
for one picture and for many differ in the last bits, and larger blocks are not faster."""

PIXELS = ""
"""Instead of a layer's name: the picture itself."""

Visit = Callable[[str, Mode, Tensor], None]
"""Called with a layer, a mode and the maps (pictures, channels, height, width)."""


class Engine(Protocol):
    """Computes activation and relevance maps."""

    def __call__(self, images: Tensor, targets: Tensor, visit: Visit) -> Tensor:
        """Visit the maps of every layer and return the logits.

        Parameters
        ----------
        images : Tensor
            (pictures, colours, height, width), preprocessed.
        targets : Tensor
            int64 (pictures,), the output to explain, or `PREDICTED`.
        visit : Visit
            Called once for each layer and mode. The maps must not be kept.

        Returns
        -------
        Tensor
            (pictures, classes).
        """


class RelevanceEngine:
    """Layer-wise relevance propagation; see `Engine`.

    The initial relevance is the target's logit (Achtibat et al. 2023, section 4.1); a
    layer's relevance is what arrives at its output.

    Parameters
    ----------
    model : Instrumented
        What to go over.
    pixels : bool
        Whether the relevance of the pixels, (pictures, colours, height, width), is visited at the
        end, as that of the layer `PIXELS`.
    """

    def __init__(self, model: Instrumented, *, pixels: bool = False) -> None:
        self._model = model
        self._pixels = pixels
        wanted = [*model.layers.values(), *([PICTURE] if pixels else [])]
        self._recorded = path_to(model.plan, wanted)

    def __call__(self, images: Tensor, targets: Tensor, visit: Visit) -> Tensor:
        """Visit activation and relevance maps of every layer and return the logits, as `Engine`."""
        model = self._model
        tape = follow(model, images, self._recorded, _activation(visit))
        logits = model.plan.head.class_logits(tape.logits)
        chosen = chosen_classes(logits, targets)
        scale = _Scale() if model.dtype == torch.float16 else None
        explained = logits.gather(1, chosen[:, None])
        start = initial_relevance(tape, chosen, explained if scale is None else scale.up(explained))

        def arrived(layer: str, relevance: Tensor) -> None:
            maps = to_maps(relevance)
            visit(layer, "relevance", maps if scale is None else scale.down(maps))

        below = tape.back(start, arrived)
        if self._pixels and PICTURE in below:
            arrived(PIXELS, below[PICTURE])
        return logits


class ActivationEngine:
    """The forward pass alone, for a pre-pass without relevance; see `Engine`."""

    def __init__(self, model: Instrumented) -> None:
        self._model = model

    def __call__(self, images: Tensor, targets: Tensor, visit: Visit) -> Tensor:
        """Visit activation maps of every layer and return the logits; `targets` play no part."""
        tape = follow(self._model, images, frozenset(), _activation(visit))
        return self._model.plan.head.class_logits(tape.logits)


def _activation(visit: Visit) -> Callable[[str, Tensor], None]:
    return lambda layer, output: visit(layer, "activation", to_maps(output))


def chosen_classes(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the class to explain of each picture, from logits and `targets` of `Engine`."""
    return torch.where(targets == PREDICTED, logits.argmax(dim=1), targets)


def initial_relevance(tape: Tape, chosen: Tensor, explained: Tensor) -> dict[Value, Tensor]:
    """Return the initial relevance: `explained` (pictures, 1) at the logit of a class."""
    initial = torch.zeros_like(tape.logits)
    single = initial.shape[1] == 1
    initial.scatter_(1, torch.zeros_like(chosen)[:, None] if single else chosen[:, None], explained)
    return {tape.model.plan.head.logits: initial}


class _Scale:
    """Keeps small relevances within float16, which ends at 6e-8.

    Propagation is linear in the initial relevance, so any picture's may be multiplied by
    a number and divided by it where it arrives.
    """

    TOTAL = 1024.0
    """Initial relevance of a picture."""

    STEEPEST = 8192.0
    """Most times its logit that it may be: by the logit it is divided in the last layer."""

    def __init__(self) -> None:
        self._factors = torch.empty(0)

    def up(self, initial: Tensor) -> Tensor:
        """Return other initial relevances for the logits `initial` (pictures, 1)."""
        sizes = initial.abs().float()
        totals = (self.STEEPEST * sizes).clamp(max=self.TOTAL)
        self._factors = sizes / totals.clamp(min=torch.finfo(torch.float32).tiny)
        return (totals * initial.sign()).to(initial.dtype)

    def down(self, maps: Tensor) -> Tensor:
        """Return the relevance that maps (pictures, channels, height, width) stand for."""
        return maps.float() * self._factors[:, :, None, None]


def to_maps(output: Tensor) -> Tensor:
    """Give the output of a linear layer (pictures, channels) two positions of extent one."""
    return output if output.ndim == 4 else output[:, :, None, None]


def measure(
    engine: Engine,
    images: Tensor,
    targets: Tensor,
    visit: Callable[[slice, str, Mode, Tensor], None],
) -> Tensor:
    """Run `engine` so that the result for a picture does not depend on the rest of the batch.

    On a CPU, pictures go through in blocks of `CPU_BLOCK`, the last one filled up with
    copies; elsewhere the batch is one block.

    Parameters
    ----------
    engine : Engine
        What to run.
    images, targets : Tensor
        Pictures and outputs to explain, as `Engine` takes them.
    visit : callable
        Called as `Engine` calls it, with the slice of the batch that the maps belong to in front.

    Returns
    -------
    Tensor
        Logits (pictures, classes).
    """
    count = len(images)
    size = CPU_BLOCK if images.device.type == "cpu" else count
    logits = []
    for start in range(0, count, size):
        part = slice(start, min(start + size, count))
        filled = torch.arange(start, start + size).clamp(max=count - 1)

        def inner(layer: str, mode: Mode, maps: Tensor, part: slice = part) -> None:
            visit(part, layer, mode, maps[: part.stop - part.start])

        logits.append(engine(images[filled], targets[filled], inner)[: part.stop - part.start])
    return torch.cat(logits)
