"""Claims put behind each other as sentences; nothing is said but what they say."""

from collections.abc import Mapping, Sequence

from atlas.store.claims import PLACEHOLDER, Audience, Claim
from atlas.store.narrative import Sentence

MOST = 8
"""Claims of one kind that one sentence has at most."""

OTHERS = 2
"""Claims of several kinds that one sentence has at most."""

Group = tuple[Claim, ...]
"""Claims of one sentence."""


def sentence(group: Group, audience: Audience, rephrased: Mapping[str, str]) -> Sentence:
    """Return one sentence that makes some claims.

    Parameters
    ----------
    group : tuple of Claim
        One or several; all have a wording for the audience.
    audience : {"everyone", "expert"}
        Who reads it.
    rephrased : mapping
        By a claim's id the wording that stands for the canonical one, with its placeholders.
    """
    texts = [_fill(claim, audience, _text(claim, audience, rephrased)) for claim in group]
    if len(group) > 1:
        others = group[1:]
        if _chains(group, audience) and not rephrased.keys() & {claim.id for claim in group}:
            tails = [_fill(one, audience, one.wordings[audience].joined or "") for one in others]
            texts = [f"{texts[0][:-1]}; {'; '.join(tails)}."]
        else:
            whole = [text[:-1] for text in texts]
            for n, claim in enumerate(others, 1):
                whole[n] = _lowered(whole[n], _text(claim, audience, rephrased))
            texts = [f"{', and '.join(whole)}."]
    return Sentence(
        texts[0],
        tuple(dict.fromkeys(id_ for claim in group for id_ in claim.evidence)),
        tuple(claim.id for claim in group),
        rephrased=bool(rephrased.keys() & {claim.id for claim in group}),
    )


def joins(group: Group, audience: Audience) -> bool:
    """Return whether some claims fit into one sentence."""
    if len(group) <= 1:
        return True
    if _chains(group, audience):
        return len(group) <= MOST
    simple = all(";" not in claim.wordings[audience].text for claim in group)
    return simple and len(group) <= OTHERS


def _chains(group: Group, audience: Audience) -> bool:
    """Return whether what follows is shorter, because it is of the same kind as the first."""
    one_kind = len({claim.kind for claim in group}) == 1
    return one_kind and all(claim.wordings[audience].joined for claim in group)


def _text(claim: Claim, audience: Audience, rephrased: Mapping[str, str]) -> str:
    return rephrased.get(claim.id, claim.wordings[audience].text)


def _fill(claim: Claim, audience: Audience, text: str) -> str:
    return claim.wordings[audience].fill(text)


def _lowered(sentence_: str, wording: str) -> str:
    """Return a sentence as it goes on behind another: a word, not a name, gets a small letter."""
    begins_with_name = PLACEHOLDER.match(wording) is not None
    return sentence_ if begins_with_name else sentence_[:1].lower() + sentence_[1:]


def words(text: str) -> int:
    """Return how many words a text has, as `wc -w` counts them."""
    return len(text.split())


def together(claims: Sequence[Claim], audience: Audience) -> list[Group]:
    """Return claims as groups in their order: neighbours that chain share a sentence."""
    groups: list[Group] = []
    for claim in claims:
        longer = (*groups[-1], claim) if groups else (claim,)
        if len(longer) > 1 and _chains(longer, audience) and joins(longer, audience):
            groups[-1] = longer
        else:
            groups.append((claim,))
    return groups
