"""Narratives for every audience."""

from collections.abc import Sequence

from atlas.explain.narrative.choosing import choose
from atlas.explain.narrative.joining import sentence
from atlas.store.claims import AUDIENCES, Audience, Claim
from atlas.store.narrative import RULES, Narrative


def compose(claims: Sequence[Claim]) -> tuple[Narrative, ...]:
    """Return a narrative for each audience."""
    return tuple(_by_rules(claims, audience) for audience in AUDIENCES)


def _by_rules(claims: Sequence[Claim], audience: Audience) -> Narrative:
    groups = choose(claims, audience)
    return Narrative(audience, RULES, tuple(sentence(g, audience, {}) for g in groups), ())
