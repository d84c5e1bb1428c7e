"""What only the last layer is asked: why this class and not that one, and pairs of concepts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from atlas.explain import interventions, regions, ties
from atlas.explain.background import Background
from atlas.explain.conditional import Measured
from atlas.store.evidence import Concept, Contrast, Difference, Guess, Together

DIFFERENCES = 3
"""Channels that a contrast with another class lists."""

SAME_PLACE = 0.5
"""Two concepts whose heat maps overlap more are also taken away together."""

PAIRS = 3
"""So many pairs at most, those that overlap most, are taken away together."""


@dataclass(frozen=True)
class End:
    """The last layer of what is explained."""

    layer: str
    without: interventions.Answers
    """What gives the logits with channels of the layer set to zero."""
    measured: Measured


def contrast(
    end: End, guesses: Sequence[Guess], background: Background, asked: int | None = None
) -> Contrast | None:
    """Compare the target with a class that is asked for, or the network's best other answer.

    Propagation is linear in what it starts with, so the relevance of the difference of two logits
    is the difference of their relevances.

    Parameters
    ----------
    end : End
        The last layer.
    guesses : sequence of Guess
        All answers of the network, the best first.
    background : Background
        Knows the names.
    asked : int, optional
        Another class to compare with.
    """
    measured, layer = end.measured, end.layer
    rivals = [guess for guess in guesses if guess.label != measured.target]
    other = next((guess for guess in rivals if guess.label == asked), next(iter(rivals), None))
    here = measured.relevance[layer].sum(dim=(1, 2))
    if other is None or not here.any():
        return None
    there = measured.relevance_for(other.label, layer).sum(dim=(1, 2))
    channels = (here - there).abs().argsort(descending=True, stable=True)[:DIFFERENCES]
    single = torch.eye(len(here), dtype=torch.bool, device=here.device)
    logits = interventions.answered(end.without, single[channels])
    margins = ties.lead(logits, measured.target, [other.label]).tolist()
    differences = tuple(
        Difference(
            f"{layer}:{channel}", layer, channel, background.name(layer, channel).name, None,
            float(here[channel]), float(there[channel]), margin,
        )
        for channel, margin in zip(channels.tolist(), margins, strict=True)
        if here[channel] != there[channel]
    )  # fmt: skip
    margin = float(ties.lead(measured.logits[None].float(), measured.target, [other.label]))
    return Contrast(
        "contrast", other.label, other.name, other.probability, other.logit, margin, differences
    )


def turning(found: Contrast | None) -> list[int]:
    """Return the channels that decide between the two classes: without one, neither or the other.

    Where the two tie as the picture is, there is nothing to turn.
    """
    if found is None or not found.margin:
        return []
    return [one.channel for one in found.differences if one.margin * found.margin <= 0]


def linked(found: Contrast | None, concepts: Sequence[Concept]) -> Contrast | None:
    """Return a contrast that knows which of its channels are concepts."""
    known = {one.address: one.id for one in concepts}
    return found and replace(found, differences=tuple(
        replace(one, concept=known.get(one.address)) for one in found.differences
    ))  # fmt: skip


def together(
    end: End, concepts: Sequence[Concept], heat: Tensor, names: Sequence[str]
) -> tuple[Together, ...]:
    """Take away two concepts of the layer at once where their heat maps overlap.

    Parameters
    ----------
    end : End
        The last layer.
    concepts : sequence of Concept
        The concepts of all layers.
    heat : Tensor
        (concepts, height, width), of all concepts.
    names : sequence of str
        Of all outputs.
    """
    rows = [row for row, one in enumerate(concepts) if one.layer == end.layer]
    common = regions.overlaps(regions.mass(heat[rows])).tolist() if rows else []
    pairs = sorted(
        (-common[i][j], rows[i], rows[j])
        for i in range(len(rows))
        for j in range(i + 1, len(rows))
        if common[i][j] > SAME_PLACE
    )[:PAIRS]
    if not pairs:
        return ()
    both = [(concepts[i], concepts[j]) for _, i, j in pairs]
    count = len(end.measured.relevance[end.layer])
    taken = torch.zeros(len(both), count, dtype=torch.bool, device=heat.device)
    for row, (one, two) in enumerate(both):
        taken[row, [one.channel, two.channel]] = True
    found = interventions.alone({"zero": end.without}, {"zero": taken}, end.measured, names)
    return tuple(
        Together(
            f"together:{one.id}:{two.id}", one.id, two.id,
            effect.probability, effect.logit, effect.answer, effect.answer_name,
            effect.tied,
        )
        for (one, two), (effect,) in zip(both, found, strict=True)
    )  # fmt: skip
