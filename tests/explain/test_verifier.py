"""The verifier catches every planted lie and lets true sentences pass, however worded."""

import re
from dataclasses import astuple, replace
from pathlib import Path

import pytest

from atlas.explain.narrative import writer
from atlas.explain.narrative.verifier import verify
from atlas.store.evidence import Target
from atlas.store.narrative import Sentence

HERE = Path(__file__).parent


def sentences(name: str) -> list[Sentence]:
    """Read the sentences of a file about the evidence `example`."""
    rows = (HERE / name).read_text("utf-8").splitlines()[1:]
    pairs = (row.split(" | ", 1) for row in rows)
    return [Sentence(text, tuple(ids.replace("-", " ", ids == "-").split())) for ids, text in pairs]


TRUE, LIES = sentences("true.txt"), sentences("lies.txt")


def test_there_are_enough_of_both():
    assert len({one.text for one in TRUE}) >= 60
    assert len({one.text for one in LIES}) >= 120


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.text[:50])
def test_every_lie_is_caught(lie, example):
    assert not verify(lie, example).holds


def test_at_most_one_true_sentence_in_twenty_is_refused(example):
    verdicts = {one.text: verify(one, example) for one in TRUE}
    refused = {text: verdict.problems for text, verdict in verdicts.items() if not verdict.holds}
    assert len(refused) <= 0.05 * len(TRUE), refused
    assert all(verdict.claims for verdict in verdicts.values())


@pytest.mark.parametrize("write", [writer.expert, writer.everyone])
def test_the_deterministic_writer_says_nothing_that_does_not_hold(write, example):
    text = write(example)
    assert len(text) >= 5
    for sentence in text:
        assert not verify(sentence, example).problems, sentence.text


@pytest.mark.parametrize("probability", [0.999999, 0.985, 0.7, 0.41, 0.07, 0.00002])
@pytest.mark.parametrize("target", [0, 1])
def test_nor_does_it_about_other_answers(probability, target, example):
    first = replace(example.prediction[0], probability=probability)
    asked = example.prediction[target] if target else first
    chosen = Target(*astuple(asked), chosen="asked" if target else "predicted")
    other = replace(example, prediction=(first, *example.prediction[1:]), target=chosen)
    for write in (writer.expert, writer.everyone):
        for sentence in write(other):
            assert not verify(sentence, other).problems, sentence.text


@pytest.mark.parametrize("write", [writer.expert, writer.everyone])
def test_no_number_of_a_true_sentence_can_be_another(write, example):
    """Each number in turn is moved by a digit of its last place, and by more."""
    fixed = {one.address for one in example.concepts} | {one.layer for one in example.layers}
    fixed |= {feed.address for flow in example.flow for feed in flow.feeds}
    names = "|".join(re.escape(name) for name in sorted(fixed, key=len, reverse=True))
    tried = 0
    for sentence in write(example):
        if sentence.evidence[0].startswith("doubt"):
            continue
        for match in re.finditer(rf"(?:{names})|(\d+(?:\.\d+)?)", sentence.text):
            if match[1] is None:
                continue
            places = len(match[1].partition(".")[2])
            for step in (-1, 1, 7):
                other = f"{float(match[1]) + step * 10.0**-places:.{places}f}"
                text = sentence.text[: match.start()] + other + sentence.text[match.end() :]
                assert not verify(Sentence(text, sentence.evidence), example).holds, text
                tried += 1
    assert tried > 5
