"""Other words for claims: a model's, where the guard and a second model let them through."""

import math
import re
from collections.abc import Sequence

from atlas.explain.models import AnsweringModel, Judge
from atlas.explain.narrative import prompts
from atlas.explain.narrative.guard import objection
from atlas.explain.narrative.joining import Group
from atlas.explain.narrative.plans import cleaned
from atlas.store.claims import PLACEHOLDER, Audience, Wording
from atlas.vlm import Failed, Request, Unanswered

DOUBT = 0.5
"""Probability of yes from which the judge is taken to say that a wording adds something."""


WAITING = "the judge has not answered yet"


def rephrase(
    groups: Sequence[Group], audience: Audience, model: AnsweringModel, judge: Judge | None
) -> tuple[dict[str, str], list[str]]:
    """Return other words by the ids of claims, and why those of other claims were refused.

    Parameters
    ----------
    groups : sequence of tuples of Claim
        What the text says.
    audience : {"everyone", "expert"}
        Who reads it.
    model : AnsweringModel
        Who is asked for other words.
    judge : Judge, optional
        Who compares; nothing is asked for without one.
    """
    claims = [claim for group in groups for claim in group]
    if judge is None or not claims:
        return {}, []
    requests = [
        Request((), prompts.rephrase(claim.wordings[audience].text, audience)) for claim in claims
    ]
    found: dict[str, str] = {}
    refused: list[str] = []
    for claim, answer in zip(claims, model.ask(requests), strict=True):
        wording, text = claim.wordings[audience], read(answer)
        if isinstance(answer, Unanswered) or text == wording.text:
            continue
        if isinstance(answer, Failed):
            reason: str | None = f"the model failed: {answer}"
        else:
            reason = objection(wording, text) or differs(wording, text, judge)
        if reason is None:
            found[claim.id] = text
        elif reason != WAITING:
            refused.append(f"other words for {claim.id}: {reason}")
    return found, refused


def read(answer: str) -> str:
    """Return the sentence of an answer: its last line, without quotation marks around it."""
    lines = [line.strip() for line in cleaned(answer).splitlines() if line.strip()]
    text = lines[-1] if lines else ""
    text = re.sub(r"[“\"'‘](\{\w+\})[”\"'’]", r"\1", text)
    return re.sub(r"^[-*\d.)\s“\"]+(?=\S)|[”\"]+$", "", text).replace("'", "’")


def differs(wording: Wording, text: str, judge: Judge) -> str | None:
    """Ask whether one of two sentences says more than the other, names and numbers masked."""
    one, other = masked(wording, wording.text), masked(wording, text)
    questions = [prompts.says_more(one, other), prompts.says_more(other, one)]
    more, less = judge.yes([Request((), question) for question in questions])
    if math.isnan(more) or math.isnan(less):
        return WAITING
    if max(more, less) >= DOUBT:
        return f"the judge says that it says {'more' if more >= less else 'less'}"
    return None


def masked(wording: Wording, text: str) -> str:
    """Return a text with letters in square brackets for its slots."""
    letters = {slot.key: f"[{slot.kind} {chr(65 + n)}]" for n, slot in enumerate(wording.slots)}
    return PLACEHOLDER.sub(lambda match: letters.get(match[1], match[0]), text)
