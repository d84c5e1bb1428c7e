"""The text by rules: a choice of claims by weight, in the order in which readers best meet them."""

from collections.abc import Sequence

from atlas.explain.narrative.joining import Group, sentence, together, words
from atlas.store.claims import Audience, Claim

LEAST: dict[Audience, int] = {"everyone": 60, "expert": 120}
MOST: dict[Audience, int] = {"everyone": 110, "expert": 250}
"""Words of a text; what is obligatory is said in any case."""

WORTH_SAYING = 0.3
"""Claims of less weight fill up a text that is too short; else they are for readers who look for
them, in claims.json."""


def choose(claims: Sequence[Claim], audience: Audience) -> list[Group]:
    """Return what a text by rules says, sentence by sentence.

    Parameters
    ----------
    claims : sequence of Claim
        All there are, in the order in which readers best meet them.
    audience : {"everyone", "expert"}
        Who reads it.
    """
    own = [claim for claim in claims if audience in claim.wordings]
    chosen = {claim.id for claim in own if audience in claim.obligatory}
    rest = sorted((one for one in own if one.id not in chosen), key=lambda one: -one.weight)
    now = length(_groups(own, chosen, audience), audience)
    for claim in rest:
        if claim.weight < WORTH_SAYING and now >= LEAST[audience]:
            break
        longer = length(_groups(own, chosen | {claim.id}, audience), audience)
        if longer <= MOST[audience]:
            chosen.add(claim.id)
            now = longer
    return _groups(own, chosen, audience)


def length(groups: Sequence[Group], audience: Audience) -> int:
    """Return how many words some sentences have."""
    return sum(words(sentence(group, audience, {}).text) for group in groups)


def _groups(own: Sequence[Claim], chosen: set[str], audience: Audience) -> list[Group]:
    return together([claim for claim in own if claim.id in chosen], audience)
