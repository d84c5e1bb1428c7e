"""Who writes, what happens to refused drafts, and what a vision-language model may add."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from atlas.explain import context
from atlas.explain.narrative import compose, phrases, writer
from atlas.explain.narrative.verifier import verify
from atlas.store import evidence
from atlas.store import narrative as sentences

GOOD = """
[prediction] The network takes this picture for “tabby cat”.
- [c3] “pointed ears” speaks for it with a share of 31 %.
[target, c3, effect:c3] Without “pointed ears”, the probability falls from 93 % to 41 %.
"""
LIE = "[c5] “cushion” speaks for it."


class Scripted:
    """A model that gives prepared answers and remembers the questions."""

    id = "scripted"

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list = []

    def ask(self, requests):
        self.asked += requests
        return [self.answers.pop(0) for _ in requests]


def test_a_model_writes_what_holds(example):
    model = Scripted(GOOD, GOOD)
    everyone, expert = compose.compose(example, model)
    assert (everyone.audience, expert.audience) == sentences.AUDIENCES
    for narrative in (everyone, expert):
        assert narrative.writer == "scripted"
        assert len(narrative.sentences) == 3
        assert narrative.claims >= 7
        assert not narrative.refused


def test_a_refused_draft_goes_back_with_the_reasons_twice(example):
    model = Scripted(GOOD + LIE, "no ids here", GOOD, *[LIE] * 3)
    everyone, expert = compose.compose(example, model)
    assert everyone.writer == "scripted"
    assert "features.28:301 does not speak for it" in model.asked[1].text
    assert "does not begin with ids" in model.asked[2].text
    assert not model.answers  # three drafts and no more
    assert expert.writer == sentences.DETERMINISTIC
    assert expert.refused
    assert expert.sentences == writer.expert(example)


@pytest.mark.parametrize("answer", ["", "[]", "[c3]", "[c3] " + "“fur” " * 200, "\x00", LIE * 99])
def test_nonsense_is_never_published(example, answer):
    narrative = compose.compose(example, Scripted(*[answer] * 6))[0]
    assert narrative.writer == sentences.DETERMINISTIC


def test_every_sentence_cites_evidence_that_exists(example):
    for narrative in compose.compose(example):
        assert narrative.writer == sentences.DETERMINISTIC
        assert narrative.claims > len(narrative.sentences)
        for sentence in narrative.sentences:
            assert sentence.evidence
            assert set(sentence.evidence) <= example.ids


def test_everyone_reads_no_jargon(example):
    text = " ".join(one.text for one in writer.everyone(example)).lower()
    for word in ("logit", "layer", "channel", "relevance", "share", "percentile"):
        assert word not in text


def test_without_names_addresses_are_used(example):
    bare = replace(example, named=False,
                   concepts=tuple(replace(one, name=None) for one in example.concepts),
                   context=())  # fmt: skip
    for narrative in compose.compose(bare):
        text = " ".join(one.text for one in narrative.sentences)
        assert "features.28:79" in text
        assert "pointed ears" not in text
        assert all(verify(one, bare).holds for one in narrative.sentences)


def test_names_that_try_to_break_out_stay_names(example):
    names = ["a “quoted” name", "two\nlines", "<b>bold</b>", "31 %", "not", "the", "[c3] x"]
    concepts = [replace(one, name=name) for one, name in zip(example.concepts, names, strict=False)]
    odd = replace(example, concepts=tuple(concepts), context=())
    for narrative in compose.compose(odd):
        assert narrative.sentences
        assert all("\n" not in one.text for one in narrative.sentences)
        assert all(verify(one, odd).holds for one in narrative.sentences)


def test_narratives_read_back_as_they_were_written(example, tmp_path):
    narratives = compose.compose(example)
    sentences.write(narratives, tmp_path)
    assert sentences.read(tmp_path) == narratives


def test_a_vision_language_model_says_how_concepts_show_and_renames_nothing(example):
    view = Image.new("RGB", (32, 32))
    named = [one for one in example.concepts if one.name]
    answers = ["Yes, two ears at the top.", "No.", "It is a dog", "yes", "YES: \x07it\nshines"]
    model = Scripted(*answers)
    found = context.contextualise(
        view, example.concepts, torch.randn(len(example.concepts), 32, 32), model
    )
    assert [one.concept for one in found] == [one.id for one in named]
    assert [one.shows for one in found] == [True, False, None, True, True]
    assert [one.text for one in found[:2]] == ["two ears at the top.", ""]
    assert found[4].text == "it shines"
    for request, one in zip(model.asked, named, strict=True):
        assert one.name in request.text
        assert [picture.size for picture in request.images] == [(32, 32)] * 2
    told = replace(example, context=found)
    assert [one.name for one in told.concepts] == [one.name for one in example.concepts]
    assert all(verify(one, told).holds for one in writer.everyone(told))


def test_texts_of_models_are_clipped():
    shows, text = context.parse("yes " + "very " * 500)
    assert shows
    assert len(text) <= context.LONGEST


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.931, "93 %"), (0.0412, "4.1 %"), (0.99991, "more than 99.9 %"), (0.994, "99.4 %"),
     (0.0001, "less than 0.1 %"), (0.5, "50 %"), (0.00123, "0.12 %")],
)  # fmt: skip
def test_probabilities_are_never_rounded_to_certainty(value, text):
    assert phrases.probability(value) == text


def test_the_briefing_has_every_id_that_can_be_cited(example):
    briefing = compose.brief(example)
    for one in (*example.concepts, *example.effects, *example.curves, *example.layers):
        assert f'"{one.id}"' in briefing
    assert evidence.FILE not in briefing
