"""Other words for claims: most honest ones pass, hardly a false one, and no mutant."""

import re

import pytest

from atlas.explain.claims.making import claims
from atlas.explain.narrative.guard import objection
from atlas.explain.narrative.rephrasing import masked, read
from atlas.store.claims import PLACEHOLDER
from benchmarks.narrating import HALVES, rephrasings, shares_passed


@pytest.mark.parametrize("half", HALVES)
def test_the_shares_that_are_let_through(half):
    found = shares_passed(half)
    assert found["honest"] >= 0.85
    assert found["false"] <= 0.05
    assert found["aimed"] <= 0.25


def test_there_are_enough_of_each():
    kinds = [one.kind for one in rephrasings()]
    assert kinds.count("honest") >= 100
    assert kinds.count("false") >= 100
    assert kinds.count("aimed") >= 100


WORDS = [
    ("falls", "rises"), ("rises", "falls"), ("stays", "falls"), ("against", "for"),
    ("Without", "With"), ("more", "less"), ("lower", "higher"), ("no more", "more"),
    ("most", "least"), ("not ", ""), ("first", "last"), ("usually", "always"),
    ("this answer", "every answer"), ("picture", "pictures"), ("probability", "share"),
    ("logit", "probability"), ("by chance", "by activation"), ("poorly", "well"),
    ("fifth", "half"), ("speak", "decide"), ("counts", "appears"),
]  # fmt: skip


def test_no_mutant_of_a_canonical_sentence_passes(example):
    """Numbers, names, classes, layers, directions, per cent to points, picture to pictures."""
    tried = 0
    for claim in claims(example):
        for wording in claim.wordings.values():
            assert objection(wording, wording.text) is None, wording.text
            mutants = [re.sub(rf"\b{a}(?!\w)", b, wording.text, count=1) for a, b in WORDS]
            mutants = [mutant for mutant in mutants if mutant != wording.text]
            keys = PLACEHOLDER.findall(wording.text)
            for slot in wording.slots:
                mark = f"{{{slot.key}}}"
                for other in ("83 %", "“dog”", "dog", "features.1", "9 points", "most", "one", ""):
                    mutants.append(wording.text.replace(mark, other, 1))
                mutants.append(wording.text.replace(mark, mark + " points", 1))
                mutants.append(wording.text.replace(mark, mark + " %", 1))
                same = [one.key for one in wording.slots
                        if one.kind == slot.kind and one.key != slot.key]  # fmt: skip
                mutants += [_swapped(wording.text, slot.key, key) for key in same]
            if keys:
                mutants.append(wording.text[:-1] + f" and {{{keys[0]}}}.")
            for mutant in mutants:
                tried += 1
                assert objection(wording, mutant), mutant
    assert tried > 300


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
