"""Narratives for every audience: by rules, or as a language model chooses and orders claims.

A model can choose, order and join; of what it writes besides, nothing reaches the text but other
words for a claim that `guard` and a second model let through.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from atlas.explain.models import AnsweringModel, Judge
from atlas.explain.narrative import plans, prompts
from atlas.explain.narrative.choosing import MOST, choose
from atlas.explain.narrative.joining import Group, joins, sentence, words
from atlas.explain.narrative.rephrasing import rephrase
from atlas.store.claims import AUDIENCES, Audience, Claim
from atlas.store.narrative import RULES, Narrative
from atlas.vlm import Request


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
        Who chooses; rules unless given, and where an answer cannot be read.
    """
    return tuple(_narrative(claims, audience, writer) for audience in AUDIENCES)


def _narrative(claims: Sequence[Claim], audience: Audience, writer: Writer | None) -> Narrative:
    own = [claim for claim in claims if audience in claim.wordings]
    if writer is None:
        return _put(choose(own, audience), audience, RULES)
    question = prompts.menu(own, audience)
    answer = writer.model.ask([Request((), question, menu=len(own))])[0]
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
    bound = [n for n, claim in enumerate(own, 1) if audience in claim.obligatory]
    planned = {number for group in plan for number in group}
    ordered = [*plan]
    for number in bound:
        if number not in planned:
            place = next((at for at, group in enumerate(ordered) if group[0] > number), None)
            ordered.insert(len(ordered) if place is None else place, (number,))
    groups: list[Group] = []
    room = MOST[audience] - sum(_length(own[n - 1], audience) for n in bound)
    for numbers in ordered:
        kept = []
        for number in numbers:
            room -= 0 if number in bound else _length(own[number - 1], audience)
            if number in bound or room >= 0:
                kept.append(own[number - 1])
        groups += [tuple(kept)] if joins(tuple(kept), audience) else [(one,) for one in kept]
    return [group for group in groups if group]


def _length(claim: Claim, audience: Audience) -> int:
    return words(claim.wordings[audience].sentence)
