"""Conditional relevance: which pixels and which lower channels a channel's relevance comes from.

Concept relevance propagation (Achtibat et al. 2023, section 4.2) masks the relevance at a
layer to one channel and follows it down. All that lies above the layer is the same for all of
its channels, and so are the denominators of every rule below: both are computed once, and N
masked copies go down together. The cost is one forward pass, one of positive parts and N
backward passes from the layer on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from atlas.relevance.engine import chosen_classes, initial_relevance, to_maps
from atlas.relevance.tape import Instrumented, Tape, follow, path_to
from atlas.trace.following import PICTURE
from atlas.trace.head import Head

COPIES = 16
"""Masked copies that go down together, which bounds the memory."""


@dataclass(frozen=True)
class Conditioned:
    """Where the relevance of some channels of a layer comes from."""

    heat: Tensor
    """Relevance of the pixels, summed over the colours, with its sign, (N, height, width)."""
    below: Mapping[str, Tensor]
    """For each lower layer (N, its channels): the relevance that passes through each."""


@dataclass(frozen=True)
class Measured:
    """One picture's way through the network and back."""

    logits: Tensor
    """The network's logits, (classes,)."""
    target: int
    """The output that is explained."""
    activation: Mapping[str, Tensor]
    """Raw output of each layer, (channels, height, width)."""
    relevance: Mapping[str, Tensor]
    """Relevance of each layer, (channels, height, width): the target's logit, redistributed."""
    heat: Tensor
    """Relevance of the pixels, summed over the colours, (height, width)."""
    head: Head
    """What the logits mean."""
    condition: Callable[[str, Sequence[int], Sequence[str]], Conditioned]
    """Takes a layer, N of its channels, and lower layers of interest."""
    send: Callable[[str, Tensor, Sequence[str]], Conditioned]
    """Takes a layer, N parts of its relevance (N, 1, channels, height, width), and lower layers of
    interest: where each part comes from."""
    relevance_for: Callable[[int, str], Tensor]
    """Takes another class and a layer; its logit, redistributed, (channels, height, width)."""


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


def propagate(model: Instrumented, image: Tensor, target: int) -> Measured:
    """Measure a picture and what its relevance is conditioned on.

    Parameters
    ----------
    model : Instrumented
        The network with the layers of interest.
    image : Tensor
        (1, colours, height, width), preprocessed.
    target : int
        The output to explain, or `atlas.relevance.engine.PREDICTED`.
    """
    outputs: dict[str, Tensor] = {}
    wanted = [PICTURE, *model.layers.values()]
    tape = follow(model, image, path_to(model.plan, wanted), outputs.__setitem__, keep=True)
    logits = model.plan.head.class_logits(tape.logits)
    chosen = chosen_classes(logits, torch.tensor([target], device=logits.device))
    relevance: dict[str, Tensor] = {}
    start = initial_relevance(tape, chosen, logits.gather(1, chosen[:, None]))
    below = tape.back(start, relevance.__setitem__)

    def relevance_for(label: int, layer: str) -> Tensor:
        other = torch.tensor([label], device=logits.device)
        found: dict[str, Tensor] = {}
        above = replace(tape, recorded=path_to(model.plan, [model.layers[layer]]))
        above.back(
            initial_relevance(tape, other, logits.gather(1, other[:, None])), found.__setitem__
        )
        maps = found.get(layer, torch.zeros_like(relevance[layer]))
        return to_maps(maps)[0]

    def send(layer: str, parts: Tensor, lower: Sequence[str]) -> Conditioned:
        shape = (len(parts), *relevance[layer].shape)  # linear layers have no positions
        every = torch.split(parts.reshape(shape), COPIES)
        found = [_down(tape, outputs, layer, some, lower) for some in every]
        return Conditioned(
            torch.cat([part.heat for part in found]),
            {name: torch.cat([part.below[name] for part in found]) for name in lower},
        )

    def condition(layer: str, channels: Sequence[int], lower: Sequence[str]) -> Conditioned:
        count, whole = len(channels), relevance[layer]
        masked = whole.new_zeros(count, *whole.shape)
        masked[torch.arange(count), 0, torch.tensor(channels)] = whole[0, channels]
        return send(layer, masked, lower)

    heat = below.get(PICTURE, torch.zeros_like(image))
    return Measured(
        logits[0],
        int(chosen),
        {name: to_maps(output)[0] for name, output in outputs.items()},
        {name: to_maps(maps)[0] for name, maps in relevance.items()},
        heat[0].sum(dim=0),
        model.plan.head,
        condition,
        send,
        relevance_for,
    )


def _down(
    tape: Tape,
    outputs: Mapping[str, Tensor],
    layer: str,
    parts: Tensor,
    below: Sequence[str],
) -> Conditioned:
    """Send parts of a layer's relevance (N, 1, ...) down."""
    count = len(parts)
    # Where nothing passes through a lower layer (another branch), its sums are zero.
    passing = {name: parts.new_zeros(count, outputs[name].shape[1]) for name in below}

    def arrived(name: str, maps: Tensor) -> None:
        if name in passing:
            passing[name] = to_maps(maps[:, 0]).sum(dim=(2, 3))

    start = {tape.model.layers[layer]: parts}
    found = tape.back(start, arrived, copies=True)
    heat = found.get(PICTURE)
    if heat is None:
        return Conditioned(parts.new_zeros(count, *_sides(tape)), passing)
    return Conditioned(heat[:, 0].sum(dim=1), passing)


def _sides(tape: Tape) -> tuple[int, int]:
    """Return height and width of the picture."""
    first = tape.model.plan.trace.operations[0]
    height, width = first.shapes[0][-2:]
    return height, width
