"""Narratives for every audience: by rules, or as a language model chooses and orders claims.

A model can choose, order and join; of what it writes besides, nothing reaches the text but other
words for a claim that `guard` and a second model let through.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from atlas.explain.models import AnsweringModel, Judge
from atlas.explain.narrative import plans, prompts
from atlas.explain.narrative.choosing import MOST, choose, length, obligatory
from atlas.explain.narrative.joining import Group, joins, sentence, together
from atlas.explain.narrative.rephrasing import rephrase
from atlas.store.claims import AUDIENCES, Audience, Claim
from atlas.store.narrative import RULES, Narrative
from atlas.vlm import Failed, Request, Unanswered


@dataclass(frozen=True)
class Writer:
    """Who chooses claims, and perhaps puts them in other words."""

    model: AnsweringModel
    judge: Judge | None = None
    """Who compares a claim with other words for it; without a judge none are asked for."""


def compose(claims: Sequence[Claim], writer: Writer | None = None) -> tuple[Narrative, ...]:
    """Return a narrative for each audience.

    Parameters
    ----------
    claims : sequence of Claim
        All that may be said, in the order in which readers best meet it.
    writer : Writer, optional
        Who chooses; rules unless given, where an answer cannot be read, and until it has come.
    """
    return tuple(_narrative(claims, audience, writer) for audience in AUDIENCES)


def _narrative(claims: Sequence[Claim], audience: Audience, writer: Writer | None) -> Narrative:
    own = [claim for claim in claims if audience in claim.wordings]
    if writer is None:
        return _put(choose(own, audience), audience, RULES)
    question = prompts.menu(own, audience)
    answer = writer.model.ask([Request((), question, menu=len(own))])[0]
    if isinstance(answer, Unanswered):
        return _put(choose(own, audience), audience, RULES)
    if isinstance(answer, Failed):
        return _put(choose(own, audience), audience, RULES, [f"the model failed: {answer}"])
    plan, strange = plans.read(answer, len(own))
    refused = [f"{strange} numbers that are not in the menu"] if strange else []
    if not plan:
        refused.append("no number of the menu could be found in the answer")
        return _put(choose(own, audience), audience, RULES, refused)
    groups = completed(own, plan, audience)
    words_, more = rephrase(groups, audience, writer.model, writer.judge)
    sentences = tuple(sentence(group, audience, words_) for group in groups)
    return Narrative(audience, writer.model.id, sentences, (*refused, *more))


def _put(
    groups: Sequence[Group], audience: Audience, by: str, refused: Sequence[str] = ()
) -> Narrative:
    return Narrative(
        audience, by, tuple(sentence(group, audience, {}) for group in groups), tuple(refused)
    )


def completed(own: Sequence[Claim], plan: plans.Plan, audience: Audience) -> list[Group]:
    """Return what a plan says, cut to the length of a text, with what it lacks of the obligatory.

    Parameters
    ----------
    own : sequence of Claim
        The menu: claims with a wording for the audience.
    plan : tuple of tuples of int
        Numbers of the menu, each once, by sentence.
    audience : {"everyone", "expert"}
        Who reads it.
    """
    bound = obligatory(own, audience)
    ids = {claim.id for claim in bound}
    ordered = [tuple(own[number - 1] for number in numbers) for numbers in plan]
    planned = {claim.id for group in ordered for claim in group}
    place = {claim.id: number for number, claim in enumerate(own)}
    for claim in bound:
        if claim.id not in planned:
            after = (n for n, group in enumerate(ordered) if place[group[0].id] > place[claim.id])
            ordered.insert(next(after, len(ordered)), (claim,))
    room = MOST[audience] - length(_only(ordered, ids), audience)
    if room < 0:
        ordered = _gathered(ordered, audience)
        room = MOST[audience] - length(_only(ordered, ids), audience)
    groups: list[Group] = []
    for group in ordered:
        kept = []
        for claim in group:
            room -= 0 if claim.id in ids else 1 + length([(claim,)], audience)
            if claim.id in ids or room >= 0:
                kept.append(claim)
        groups += [tuple(kept)] if joins(tuple(kept), audience) else [(one,) for one in kept]
    return [group for group in groups if group]


def _only(ordered: Sequence[Group], ids: set[str]) -> list[Group]:
    """Return groups with some claims alone."""
    groups = (tuple(claim for claim in group if claim.id in ids) for group in ordered)
    return [group for group in groups if group]


def _gathered(ordered: Sequence[Group], audience: Audience) -> list[Group]:
    """Return claims of a kind behind the first of it, where they are said in fewest words."""
    all_ = [claim for group in ordered for claim in group]
    first: dict[str, int] = {}
    for place, claim in enumerate(all_):
        first.setdefault(claim.kind, place)
    return together(sorted(all_, key=lambda one: first[one.kind]), audience)
