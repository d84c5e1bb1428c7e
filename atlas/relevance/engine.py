"""Relevance of every channel for one output: layer-wise relevance propagation.

An *engine* takes a batch and hands over the maps of each layer as they arise, so that
no more than one layer's maps need to be in memory. The one here is zennit's; a faster one
slips in behind the same interface.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from zennit.canonizers import Canonizer
from zennit.composites import COMPOSITES
from zennit.core import Composite

from atlas.errors import UserError
from atlas.relevance.rules import RULES
from atlas.store import Mode

PREDICTED = -1
"""As a target: the class with the highest logit."""

CPU_BLOCK = 8
"""Pictures that go through the network at once on a CPU, whatever the batch size: kernels
for one picture and for many differ in the last bits, and larger blocks are not faster."""

Visit = Callable[[str, Mode, Tensor], None]
"""Called with a layer, a mode and the maps (pictures, channels, height, width)."""


class Engine(Protocol):
    """Computes activation and relevance maps."""

    def __call__(self, images: Tensor, targets: Tensor, visit: Visit) -> Tensor:
        """Visit the maps of every layer and return the logits.

        Parameters
        ----------
        images : Tensor
            (pictures, 3, height, width), preprocessed.
        targets : Tensor
            int64 (pictures,), the output to explain, or `PREDICTED`.
        visit : Visit
            Called once for each layer and mode. The maps must not be kept.

        Returns
        -------
        Tensor
            (pictures, classes).
        """


def composite_named(name: str, canonizers: list[Canonizer]) -> Composite:
    """Return the rules that a recipe names as zennit has them.

    Raises
    ------
    UserError
        There are none of this name.
    """
    if name in RULES:
        return RULES[name].composite(canonizers)
    if name in COMPOSITES:
        composite: Composite = COMPOSITES[name](canonizers=canonizers)
        return composite
    known = ", ".join(sorted(RULES.keys() | COMPOSITES.keys()))
    raise UserError(f"no composite {name!r}: relevance.composite is one of {known}")


class ZennitEngine:
    """Layer-wise relevance propagation by zennit, as zennit-crp does it.

    The initial relevance is the target's logit (Achtibat et al. 2023, section 4.1); a
    layer's relevance is what arrives at its output.
    """

    def __init__(
        self, module: nn.Module, layers: Sequence[str], composite: str, canonizers: list[Canonizer]
    ) -> None:
        self._composite = composite_named(composite, canonizers)
        self._module = module
        self._layers = {name: module.get_submodule(name) for name in layers}

    def __call__(self, images: Tensor, targets: Tensor, visit: Visit) -> Tensor:
        """See `Engine`."""
        handles: list[RemovableHandle] = []
        with self._composite.context(self._module) as module:
            # After the composite's hooks: the output must be the one that carries relevance.
            for name, layer in self._layers.items():
                handles.append(layer.register_forward_hook(_visitor(name, visit)))
            try:
                with torch.enable_grad():
                    logits: Tensor = module(images.detach().requires_grad_())
                chosen = torch.where(targets == PREDICTED, logits.argmax(dim=1), targets)
                initial = torch.zeros_like(logits)
                initial.scatter_(1, chosen[:, None], logits.detach().gather(1, chosen[:, None]))
                torch.autograd.backward(logits, initial)
            finally:
                for handle in handles:
                    handle.remove()
        return logits.detach()


class ActivationEngine:
    """The forward pass alone, for a pre-pass without relevance; nothing is kept for a backward."""

    def __init__(self, module: nn.Module, layers: Sequence[str]) -> None:
        self._module = module
        self._layers = {name: module.get_submodule(name) for name in layers}
        self._dtype = next(module.parameters()).dtype

    def __call__(self, images: Tensor, targets: Tensor, visit: Visit) -> Tensor:
        """See `Engine`; `targets` play no part."""
        images = images.to(self._dtype).contiguous(memory_format=torch.channels_last)
        handles = [
            layer.register_forward_hook(_activation_visitor(name, visit))
            for name, layer in self._layers.items()
        ]
        try:
            with torch.no_grad():
                logits: Tensor = self._module(images)
        finally:
            for handle in handles:
                handle.remove()
        return logits


def _activation_visitor(name: str, visit: Visit) -> Callable[[nn.Module, object, Tensor], None]:
    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        visit(name, "activation", as_maps(output))

    return hook


def _visitor(name: str, visit: Visit) -> Callable[[nn.Module, object, Tensor], None]:
    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        visit(name, "activation", as_maps(output.detach()))
        output.register_hook(  # type: ignore[no-untyped-call]
            lambda relevance: visit(name, "relevance", as_maps(relevance))
        )

    return hook


def as_maps(output: Tensor) -> Tensor:
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
        As for `Engine`.
    visit : callable
        As for `Engine`, with the slice of the batch that the maps belong to in front.

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
