"""The text by rules: a choice of claims by weight, in the order in which readers best meet them."""

from collections.abc import Iterable, Sequence

from atlas.explain.narrative.joining import Group, sentence, together, words
from atlas.store.claims import Audience, Claim

LEAST: dict[Audience, int] = {"everyone": 60, "expert": 120}
MOST: dict[Audience, int] = {"everyone": 110, "expert": 250}
"""Words of a text."""

WORTH_SAYING = 0.3
"""Claims of less weight fill up a text that is too short; else they are for readers who look for
them, in claims.json."""

SUMMARY = "below"
"""The kind of claim that says how much is left out, where what is obligatory is too long."""

SHORTER = {"fewer": "earlier"}
"""Kinds that say less of the same, where there is no room for the other."""


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
    chosen = {claim.id for claim in obligatory(own, audience)}
    rest = [one for one in own if one.id not in chosen and one.kind not in (SUMMARY, *SHORTER)]
    return _groups(own, _filled(own, chosen, rest, audience), audience)


def obligatory(own: Sequence[Claim], audience: Audience) -> list[Claim]:
    """Return what a text cannot leave out, in order.

    Where that is too long for a text, it is what weighs most, and a sentence that says how much
    there is of it.
    """
    bound = [claim for claim in own if audience in claim.obligatory]
    if length(together(bound, audience), audience) <= MOST[audience]:
        return bound
    bound += [claim for claim in own if claim.kind in SHORTER]
    chosen = _filled(own, {one.id for one in own if one.kind == SUMMARY}, bound, audience)
    return [claim for claim in own if claim.id in chosen]


def _filled(
    own: Sequence[Claim], chosen: Iterable[str], rest: Sequence[Claim], audience: Audience
) -> set[str]:
    """Return what is chosen with all of the rest that there is room for, the weightiest first."""
    chosen = set(chosen)
    now = length(_groups(own, chosen, audience), audience)
    for claim in sorted(rest, key=lambda one: -one.weight):
        if SHORTER.get(claim.kind) in chosen:
            continue
        if claim.weight < WORTH_SAYING and now >= LEAST[audience]:
            break
        longer = length(_groups(own, chosen | {claim.id}, audience), audience)
        if longer <= MOST[audience]:
            chosen.add(claim.id)
            now = longer
    return chosen


def length(groups: Sequence[Group], audience: Audience) -> int:
    """Return how many words some sentences have."""
    return sum(words(sentence(group, audience, {}).text) for group in groups)


def _groups(own: Sequence[Claim], chosen: set[str], audience: Audience) -> list[Group]:
    return together([claim for claim in own if claim.id in chosen], audience)
