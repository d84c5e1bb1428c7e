"""Narratives for every audience: a language model's where it holds, else the deterministic ones.

A draft is refused as a whole if one of its sentences does not hold, and goes back with the
reasons, twice at most. What a model returns is text from outside: it is parsed, clipped and
verified, and nothing else is done with it.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Protocol

from atlas.explain.narrative import writer
from atlas.explain.narrative.prompts import prompt
from atlas.explain.narrative.verifier import verify
from atlas.store.evidence import Evidence, json_ready
from atlas.store.narrative import AUDIENCES, DETERMINISTIC, Audience, Narrative, Sentence
from atlas.vlm import Request

DRAFTS = 3
"""The first and two more."""

LONGEST = 400
"""Characters of a sentence of a draft; longer ones are refused."""

MOST = 40
"""Sentences of a draft."""

_WRITERS: Mapping[Audience, Callable[[Evidence], tuple[Sentence, ...]]] = {
    "everyone": writer.everyone,
    "expert": writer.expert,
}


class Model(Protocol):
    """A language model; `atlas.vlm.Vlm` is one."""

    @property
    def id(self) -> str:
        """Name of the model."""

    def ask(self, requests: Sequence[Request]) -> list[str]:
        """Return the answer to each request."""


def compose(evidence: Evidence, model: Model | None = None) -> tuple[Narrative, ...]:
    """Return a narrative for each audience.

    Parameters
    ----------
    evidence : Evidence
        All that may be said.
    model : Model, optional
        What writes; the deterministic writer unless given, and where its drafts are refused.
    """
    return tuple(_narrative(evidence, audience, model) for audience in AUDIENCES)


def _narrative(evidence: Evidence, audience: Audience, model: Model | None) -> Narrative:
    refused: list[str] = []
    for _ in range(DRAFTS if model else 0):
        assert model is not None
        question = prompt(audience, brief(evidence), refused)
        draft, problems = parse(model.ask([Request((), question)])[0])
        claims, wrong = _verified(draft, evidence)
        refused = [*problems, *wrong]
        if not refused:
            return Narrative(audience, model.id, draft, claims, ())
    sentences = []
    claims = 0
    for sentence in _WRITERS[audience](evidence):
        verdict = verify(sentence, evidence)
        if verdict.holds:  # names may be worded so that a sentence cannot be checked: it goes
            sentences.append(sentence)
            claims += verdict.claims
    return Narrative(audience, DETERMINISTIC, tuple(sentences), claims, tuple(refused))


def _verified(draft: Sequence[Sentence], evidence: Evidence) -> tuple[int, list[str]]:
    verdicts = [(sentence, verify(sentence, evidence)) for sentence in draft]
    wrong = [
        f"{sentence.text} — {'; '.join(verdict.problems)}"
        for sentence, verdict in verdicts
        if not verdict.holds
    ]
    return sum(verdict.claims for _, verdict in verdicts), wrong


def parse(answer: str) -> tuple[tuple[Sentence, ...], list[str]]:
    """Read a model's draft, one `[c1, target] A sentence.` a line.

    Returns
    -------
    tuple of Sentence
        Those that can be read.
    list of str
        What is wrong with the form of the others.
    """
    sentences, problems = [], []
    lines = [line.strip() for line in answer.splitlines() if line.strip()]
    for line in lines[:MOST]:
        match = re.fullmatch(r"[-*]?\s*\[([^\]]*)\]\s*(.+)", line)
        if match is None:
            problems.append(f"{line[:80]!r} does not begin with ids in square brackets")
        elif len(match[2]) > LONGEST:
            problems.append(f"{match[2][:80]!r}... is too long")
        else:
            ids = tuple(one.strip() for one in match[1].split(",") if one.strip())
            sentences.append(Sentence(match[2], ids))
    if not sentences and not problems:
        problems.append("the draft is empty")
    return tuple(sentences), problems


def brief(evidence: Evidence) -> str:
    """Return the evidence as a model reads it: JSON without files, boxes and long lists."""
    whole = asdict(evidence)
    concepts = [
        {
            key: value
            for key, value in concept.items()
            if key not in ("map", "field", "peak", "channel", "relevance")
        }
        for concept in whole["concepts"]
    ]
    kept = {
        key: whole[key]
        for key in ("prediction", "target", "layers", "flow", "effects", "context", "doubts")
    }
    curves = [
        {
            "id": curve["id"],
            "areas": {course["order"]: course["area_logit"] for course in curve["courses"]},
        }
        for curve in whole["curves"]
    ]
    return json.dumps(
        json_ready({**kept, "concepts": concepts, "curves": curves}), ensure_ascii=False
    )
