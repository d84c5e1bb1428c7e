"""Narratives for every audience: by rules, or as a language model chooses and orders claims.

A model can choose and order, and say which claims of a kind share a sentence; of what it writes
besides, nothing reaches the text but other words for a claim that `guard` and a second model let
through.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atlas.explain.models import AnsweringModel, Judge
from atlas.explain.narrative import plans, prompts
from atlas.explain.narrative.choosing import MOST, choose, length, obligatory
from atlas.explain.narrative.joining import Group, sentence, together
from atlas.explain.narrative.rephrasing import rephrase
from atlas.store.claims import AUDIENCES, Audience, Claim
from atlas.store.narrative import RULES, Narrative
from atlas.vlm import Failed, Request, Unanswered

OF_THE_ANSWER = ("wrong", "unsure", "second", "asked")
"""Kinds that speak of the answer without naming it: right behind another sentence they would be
read as said of what the network answers without a concept."""


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
    sentences = tuple(
        sentence(part, audience, words_) for group in groups for part in _parts(group, words_)
    )
    return Narrative(audience, writer.model.id, sentences, (*refused, *more))


def _parts(group: Group, rephrased: Mapping[str, str]) -> list[Group]:
    """Return what stands in a sentence of its own: each claim, where one has other words."""
    return [group] if rephrased.keys().isdisjoint(c.id for c in group) else [(c,) for c in group]


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
        Numbers of the menu, each once; those of one sentence, as far as they are of a kind.
    audience : {"everyone", "expert"}
        Who reads it.
    """
    bound = obligatory(own, audience)
    ids = {claim.id for claim in bound}
    chosen = ([own[number - 1] for number in numbers] for numbers in plan)
    ordered = [group for claims in chosen for group in together(claims, audience)]
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
        groups += [tuple(kept)] if kept else []
    return _behind_answer(groups)


def _behind_answer(groups: Sequence[Group]) -> list[Group]:
    """Return sentences in their order, but those about the answer behind it."""
    behind = [group for group in groups if group[0].kind in OF_THE_ANSWER]
    ordered: list[Group] = []
    for group in groups:
        ordered += [] if group in behind else [group]
        ordered += behind if group[0].kind == "answer" else []
    return ordered


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
