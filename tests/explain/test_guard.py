"""Other words for claims: most honest ones pass, hardly a false one, and no mutant."""

import re
from collections import Counter
from dataclasses import replace

import pytest

from atlas.explain.claims.making import claims
from atlas.explain.narrative.guard import objection
from atlas.explain.narrative.rephrasing import masked, read
from atlas.store.claims import PLACEHOLDER, Slot, Wording
from benchmarks.narrating import HALVES, rephrasings, shares_passed


@pytest.mark.parametrize("half", HALVES)
def test_the_shares_that_are_let_through(half):
    found = shares_passed(half)
    # Of strangers' sentences fewer pass: what is refused is said as it was.
    least = {"third writer": 0.5, "held out": 0.4}
    assert found["honest"] >= least.get(half, 0.85)
    assert found["false"] <= 0.05
    assert found["aimed"] <= 0.25


def test_there_are_enough_of_each():
    kinds = [one.kind for one in rephrasings()]
    assert kinds.count("honest") >= 100
    assert kinds.count("false") >= 100
    assert kinds.count("aimed") >= 100


TURNED = {
    "direction": [
        ("falls", "rises"), ("rises", "falls"), ("stays", "falls"), ("lowers", "raises"),
        ("against", "for"), ("Without", "With"), ("more", "less"), ("lower", "higher"),
        ("no more", "more"), ("most", "least"), ("not ", ""), ("first", "last"),
        ("wrong", "right"), ("at most", "at least"), ("poorly", "well"),
    ],
    "picture to pictures": [
        ("this picture", "pictures"), ("the picture", "most pictures"), ("picture", "pictures"),
        ("this answer", "every answer"), ("usually", "always"),
    ],
    "what is measured": [
        ("probability", "share"), ("logit", "probability"), ("weight", "probability"),
        ("by chance", "by activation"), ("fifth", "half"), ("speak", "decide"),
        ("counts", "appears"), ("earlier", "later"), ("carry", "cause"),
    ],
}  # fmt: skip
"""By kind: words of canonical sentences, and what turns them into something else."""

PUT_IN = {
    "number": ("83 %", "most", "one", "half"), "name": ("“dog”", "dog", "it"),
    "layer": ("features.1", "the last layer"), "gone": ("",),
}  # fmt: skip
"""By kind: what takes the place of a slot."""


def mutants(wording):
    """Yield false variants of a canonical sentence with the kind of mistake."""
    text = wording.text
    for kind, pairs in TURNED.items():
        for a, b in pairs:
            yield kind, re.sub(rf"\b{a}(?!\w)", b, text, count=1)
    for slot in wording.slots:
        mark = f"{{{slot.key}}}"
        for kind, others in PUT_IN.items():
            for other in others:
                yield kind, text.replace(mark, other, 1)
        yield "per cent to points", text.replace(mark, mark + " points", 1)
        yield "per cent to points", text.replace(mark, mark + " %", 1)
        if slot.kind in ("probability", "share", "logit"):
            yield (
                "per cent to points",
                re.sub(rf"(?:from|to|at) {{{slot.key}}}", f"by {mark}", text),
            )
        for one in wording.slots:
            if one.kind == slot.kind and one.key != slot.key:
                kind = "class" if slot.kind == "class" else f"another {slot.kind}"
                yield kind, _swapped(text, slot.key, one.key)
    if wording.slots:
        yield "number", text[:-1] + f" and {{{wording.slots[0].key}}}."


def test_no_mutant_of_a_canonical_sentence_passes(example):
    """Numbers, names, classes, layers, directions, per cent to points, picture to pictures."""
    tried: Counter[str] = Counter()
    wrong = replace(example, truth=example.prediction[2])
    for claim in claims(wrong):
        for wording in claim.wordings.values():
            assert objection(wording, wording.text) is None, wording.text
            for kind, mutant in mutants(wording):
                if mutant != wording.text:
                    tried[kind] += 1
                    assert objection(wording, mutant), f"{kind}: {mutant}"
    for kind in (*TURNED, *PUT_IN, "class", "another concept", "per cent to points"):
        assert tried[kind] >= 3, kind
    assert tried.total() > 1000


def _swapped(text: str, one: str, other: str) -> str:
    return re.sub(rf"\{{({one}|{other})\}}", lambda m: f"{{{other if m[1] == one else one}}}", text)


@pytest.mark.parametrize(
    ("answer", "text"),
    [("{concept} falls.", "{concept} falls."), ("Sure!\n\n{concept} falls.", "{concept} falls."),
     ("<think>hm</think>“{concept}” falls.", "{concept} falls."), ("", ""),
     ("```\n{concept} falls.\n```", "{concept} falls."), ("1. {concept} is.", "{concept} is.")],
)  # fmt: skip
def test_other_words_are_read_in_any_form(answer, text):
    assert read(answer) == text


def test_the_judge_sees_no_names(example):
    for claim in claims(example):
        for wording in claim.wordings.values():
            text = masked(wording, wording.text)
            assert not any(slot.text in text for slot in wording.slots if len(slot.text) > 3)


@pytest.mark.parametrize(("own", "other"), [
    ("The lead over {other} would shrink.", "The lead of {other} would shrink."),
    ("The score for {class} fell more than by chance.",
     "The score for {class} fell more by chance."),
    ("In other pictures, {concept} speaks too.", "In other networks, {concept} speaks too."),
    ("Half of the map of {concept} lies in {area} of the picture.",
     "Half of the picture of {concept} lies in {area} of the map."),
    ("Without both {concept1} and {concept2}, it falls.",
     "Without both {concept1} and {concept2}, in turn, it falls."),
    ("By weight {first} comes first in score.", "By score {first} comes first in weight."),
])  # fmt: skip
def test_bindings_that_other_words_cannot_change(own, other):
    kinds = {"other": "class", "class": "class", "area": "share"}
    slots = tuple(Slot(key, kinds.get(key, "concept"), "", "") for key in PLACEHOLDER.findall(own))
    assert objection(Wording(own, slots), own) is None
    assert objection(Wording(own, slots), other)
