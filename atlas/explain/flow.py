"""Which lower channels feed a concept: relevance conditioned on it, layer by layer."""

from collections.abc import Sequence

from torch import Tensor

from atlas.explain.background import Background
from atlas.explain.conditional import normalised
from atlas.store.evidence import Concept, Feed, Flow


def feeds(
    concept: Concept,
    lower: str,
    passing: Tensor,
    concepts: Sequence[Concept],
    background: Background,
    count: int,
) -> Flow:
    """Return the `count` lower channels through which most of a concept's relevance comes.

    Parameters
    ----------
    concept : Concept
        Of the upper layer.
    lower : str
        The lower layer.
    passing : Tensor
        (its channels,): relevance conditioned on the concept.
    concepts : sequence of Concept
        All that the explanation has; the channel may be one of them.
    background : Background
        Knows the names.
    count : int
        How many at most.
    """
    share = normalised(passing)
    known = {(one.layer, one.channel): one.id for one in concepts}
    found = []
    for channel in share.abs().argsort(descending=True, stable=True)[:count].tolist():
        value = float(share[channel])
        if value:
            found.append(
                Feed(
                    address=f"{lower}:{channel}",
                    layer=lower,
                    channel=channel,
                    name=background.name(lower, channel).name,
                    concept=known.get((lower, channel)),
                    share=value,
                )
            )
    return Flow(f"flow:{concept.id}", concept.id, lower, tuple(found))
