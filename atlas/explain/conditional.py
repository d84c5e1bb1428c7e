"""Conditional relevance: which pixels and which lower channels a channel's relevance comes from.

Concept relevance propagation (Achtibat et al. 2023, section 4.2) masks the relevance at a
layer to one channel and follows it down. All that lies above the layer is the same for all of
its channels, and so are the denominators of every rule below: both are computed once, and N
masked copies go down together. The cost is one forward pass, one of positive parts and N
backward passes from the layer on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from crp.attribution import CondAttribution
from torch import Tensor, nn
from torch.autograd import Function
from torch.utils.hooks import RemovableHandle
from zennit.core import Composite

from atlas.relevance.engine import PREDICTED, as_maps
from atlas.relevance.fused import FusedEngine
from atlas.relevance.rules import Layer

COPIES = 16
"""Masked copies that go down together, which bounds the memory."""


@dataclass(frozen=True)
class Conditioned:
    """Where the relevance of some channels of a layer comes from."""

    heat: Tensor
    """(N, height, width): relevance of the pixels, summed over the colours, with its sign."""
    below: Mapping[str, Tensor]
    """For each lower layer (N, its channels): the relevance that passes through each."""


@dataclass(frozen=True)
class Measured:
    """One picture's way through the network and back."""

    logits: Tensor
    """(classes,)."""
    target: int
    """The output that is explained."""
    activation: Mapping[str, Tensor]
    """(channels, height, width) for each layer: its raw output."""
    relevance: Mapping[str, Tensor]
    """(channels, height, width) for each layer; the target's logit, redistributed."""
    heat: Tensor
    """(height, width): relevance of the pixels, summed over the colours."""
    condition: Callable[[str, Sequence[int], Sequence[str]], Conditioned]
    """Takes a layer, N of its channels, and lower layers of interest."""


class Propagator(Protocol):
    """Measures a picture and what its relevance is conditioned on."""

    def __call__(self, image: Tensor, target: int) -> Measured:
        """Measure a picture.

        Parameters
        ----------
        image : Tensor
            (1, 3, height, width), preprocessed.
        target : int
            The output to explain, or `atlas.relevance.engine.PREDICTED`.
        """


def shares(relevance: Tensor) -> Tensor:
    """Return each channel's share of a layer's relevance, with its sign.

    Parameters
    ----------
    relevance : Tensor
        (..., channels, height, width).

    Returns
    -------
    Tensor
        (..., channels): sums over the positions, divided by the sum of |sum| over channels.
    """
    return normalised(relevance.sum(dim=(-2, -1)))


def normalised(sums: Tensor) -> Tensor:
    """Divide relevances (..., channels) by the sum of their absolute values."""
    return sums / sums.abs().sum(dim=-1, keepdim=True).clamp(min=1e-10)


class FusedPropagator:
    """Conditional relevance by the fused engine; see `Propagator`."""

    def __init__(self, engine: FusedEngine, module: nn.Module, layers: Sequence[str]) -> None:
        self._engine = engine
        self._layers = {name: module.get_submodule(name) for name in layers}
        self._dtype = next(module.parameters()).dtype

    def __call__(self, image: Tensor, target: int) -> Measured:
        """See `Propagator`."""
        outputs: dict[str, Tensor] = {}
        handles: list[RemovableHandle] = []
        pixels = image.detach().to(self._dtype).requires_grad_()
        with self._engine.ruled(_Kept) as module:
            try:
                for name, layer in self._layers.items():
                    handles.append(layer.register_forward_hook(_keeper(name, outputs)))
                logits: Tensor = module(pixels)
            finally:
                for handle in handles:
                    handle.remove()
        chosen = int(logits.argmax()) if target == PREDICTED else target
        initial = torch.zeros_like(logits)
        initial[0, chosen] = logits[0, chosen].detach()
        names = list(outputs)
        *arrived, heat = torch.autograd.grad(
            logits, [*outputs.values(), pixels], initial, retain_graph=True
        )
        relevance = dict(zip(names, arrived, strict=True))

        def condition(layer: str, channels: Sequence[int], below: Sequence[str]) -> Conditioned:
            parts = [
                self._down(
                    pixels, outputs, layer, relevance[layer], channels[i : i + COPIES], below
                )
                for i in range(0, len(channels), COPIES)
            ]
            return Conditioned(
                torch.cat([part.heat for part in parts]),
                {name: torch.cat([part.below[name] for part in parts]) for name in below},
            )

        return Measured(
            logits.detach()[0],
            chosen,
            {name: as_maps(output.detach())[0] for name, output in outputs.items()},
            {name: as_maps(maps)[0] for name, maps in relevance.items()},
            heat[0].sum(dim=0),
            condition,
        )

    @staticmethod
    def _down(
        pixels: Tensor,
        outputs: Mapping[str, Tensor],
        layer: str,
        relevance: Tensor,
        channels: Sequence[int],
        below: Sequence[str],
    ) -> Conditioned:
        """Send one masked copy of a layer's relevance down for each of `channels`."""
        count = len(channels)
        masked = relevance.new_zeros(count, *relevance.shape)
        at = torch.arange(count), 0, torch.tensor(channels)
        masked[at] = relevance[0, channels]
        heat, *lower = torch.autograd.grad(
            outputs[layer], [pixels, *(outputs[name] for name in below)], masked,
            retain_graph=True, is_grads_batched=True, allow_unused=True,
        )  # fmt: skip
        passing = {
            name: (
                outputs[name].new_zeros(count, outputs[name].shape[1])
                if maps is None  # another branch: nothing passes through it
                else as_maps(maps[:, 0]).sum(dim=(2, 3))
            )
            for name, maps in zip(below, lower, strict=True)
        }
        return Conditioned(heat[:, 0].sum(dim=1), passing)


class ZennitPropagator:
    """Conditional relevance by zennit-crp, for networks that the fused engine cannot do."""

    def __init__(self, module: nn.Module, layers: Sequence[str], composite: Composite) -> None:
        self._attribute = CondAttribution(module, no_param_grad=True)
        self._layers = list(layers)
        self._composite = composite

    def __call__(self, image: Tensor, target: int) -> Measured:
        """See `Propagator`."""
        with torch.no_grad():
            logits = self._attribute.model(image)[0]
        chosen = int(logits.argmax()) if target == PREDICTED else target

        def attribute(condition: dict[str, list[int]], record: Sequence[str]) -> Any:
            picture = image.detach().clone().requires_grad_()
            return self._attribute(
                picture, [{**condition, "y": [chosen]}], self._composite, record_layer=list(record)
            )

        def condition(layer: str, channels: Sequence[int], below: Sequence[str]) -> Conditioned:
            found = [attribute({layer: [channel]}, below) for channel in channels]
            return Conditioned(
                torch.cat([one.heatmap for one in found]).detach(),
                {
                    name: torch.cat([as_maps(one.relevances[name]).sum((2, 3)) for one in found])
                    for name in below
                },
            )

        whole = attribute({}, self._layers)
        return Measured(
            logits,
            chosen,
            {name: as_maps(maps.detach())[0] for name, maps in whole.activations.items()},
            {name: as_maps(maps.detach())[0] for name, maps in whole.relevances.items()},
            whole.heatmap[0].detach(),
            condition,
        )


class _Kept(Function):
    """A convolution with its rule that remembers the rule's denominators.

    Going back, the relevance may be a batch of many for the one picture (as torch.vmap
    makes it); the denominators belong to the picture.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Layer) -> Tensor:
        ctx.save_for_backward(x)
        ctx.layer, ctx.z = layer, None
        return layer.forward(x)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        if ctx.z is None:
            ctx.z = ctx.layer.denominator(x)
        return ctx.layer.spread(x, relevance / ctx.z), None


def _keeper(name: str, outputs: dict[str, Tensor]) -> Callable[[nn.Module, object, Tensor], None]:
    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        outputs[name] = output

    return hook
