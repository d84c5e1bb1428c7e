"""Claims put behind each other as sentences; nothing is said but what they say.

Claims of several kinds never share a sentence: what stands behind "Without X" would be read as true
without X alone, also where it says what the network answers as it is.
"""

from collections.abc import Mapping, Sequence

from atlas.store.claims import Audience, Claim
from atlas.store.narrative import Sentence

MOST = 8
"""Claims that one sentence has at most."""

Group = tuple[Claim, ...]
"""Claims of one sentence: one, or several of a kind."""


def sentence(group: Group, audience: Audience, rephrased: Mapping[str, str]) -> Sentence:
    """Return one sentence that makes some claims.

    Parameters
    ----------
    group : tuple of Claim
        One, or several that share a sentence, as `together` makes them.
    audience : {"everyone", "expert"}
        Who reads it.
    rephrased : mapping
        By a claim's id the wording that stands for the canonical one, with its placeholders; of
        claims that stand alone.
    """
    first, *others = group
    text = first.wordings[audience].fill(rephrased.get(first.id, first.wordings[audience].text))
    if others:
        tails = [one.wordings[audience].fill(one.wordings[audience].joined or "") for one in others]
        text = f"{text[:-1]}; {'; '.join(tails)}."
    return Sentence(
        text,
        tuple(dict.fromkeys(id_ for claim in group for id_ in claim.evidence)),
        tuple(claim.id for claim in group),
        rephrased=first.id in rephrased,
    )


def joins(group: Group, audience: Audience) -> bool:
    """Return whether claims share a sentence: of one kind, with a shorter form behind the first."""
    one_kind = len({claim.kind for claim in group}) == 1
    chain = one_kind and all(claim.wordings[audience].joined for claim in group)
    return len(group) == 1 or (chain and len(group) <= MOST)


def words(text: str) -> int:
    """Return how many words a text has, as `wc -w` counts them."""
    return len(text.split())


def together(claims: Sequence[Claim], audience: Audience) -> list[Group]:
    """Return claims as groups in their order: neighbours that chain share a sentence."""
    groups: list[Group] = []
    for claim in claims:
        longer = (*groups[-1], claim) if groups else (claim,)
        if len(longer) > 1 and joins(longer, audience):
            groups[-1] = longer
        else:
            groups.append((claim,))
    return groups
