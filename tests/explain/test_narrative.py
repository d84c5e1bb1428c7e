"""Whatever a model answers, a text is made of true claims, and what has to be said is said."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from atlas import vlm
from atlas.errors import UserError
from atlas.explain import context
from atlas.explain.claims import wording as w
from atlas.explain.claims.making import claims
from atlas.explain.narrative import plans
from atlas.explain.narrative.compose import Writer, compose
from atlas.explain.narrative.joining import sentence
from atlas.pipeline.explaining import _check_models
from atlas.recipe import Explain
from atlas.store import narrative as sentences
from atlas.store.narrative import RULES
from atlas.store.table import rows
from atlas.vlm import Loading, language
from tests.explain.conftest import effects
from tests.explain.drawn import evidences
from tests.naming.conftest import TEXT, words

HERE = Path(__file__).parent
ANSWERS = [json.loads(line) for line in (HERE / "plans.jsonl").read_text("utf-8").splitlines()]
HOSTILE = [one["answer"] for one in ANSWERS] + [
    "[c5] “cushion” speaks for it.", '{"plan": [1], "text": "It is a dog."}', "1 It is a dog. 2",
    "{concept} decides.", "[1](javascript:alert(1))", "<script>1</script>", "\ud83d 1, 2",
]  # fmt: skip


class Scripted:
    """A model that gives prepared answers, the last one for ever, and remembers the questions."""

    id = "scripted"

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list = []

    def ask(self, requests):
        self.asked += requests
        take = lambda: self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]  # noqa: E731
        return [take() for _ in requests]


class Judge:
    """A judge with one opinion."""

    def __init__(self, says_more: float) -> None:
        self.opinion = says_more
        self.asked: list = []

    def yes(self, requests):
        self.asked += requests
        return [self.opinion] * len(requests)


def filled(claim: dict, audience: str, text: str) -> str:
    """Fill a wording, by hand."""
    for slot in claim["wordings"][audience]["slots"]:
        text = text.replace("{" + slot["key"] + "}", f"\0{slot['key']}\0")
    for slot in claim["wordings"][audience]["slots"]:
        text = text.replace(f"\0{slot['key']}\0", slot["text"])
    return text


def allowed(made, audience: str, ids) -> set[str]:
    """All texts that a sentence with these claims can have: several are of one kind."""
    known = {claim.id: claim for claim in made}
    own = [known[id_] for id_ in ids]
    whole = [one.wordings[audience].fill(one.wordings[audience].text) for one in own]
    if len(own) == 1:
        return {whole[0]}
    chained = [one.wordings[audience].fill(one.wordings[audience].joined or "\0") for one in own]
    assert len({one.kind for one in own}) == 1, ids
    return {"; ".join([whole[0][:-1], *chained[1:]]) + "."}


def check(made, narratives) -> None:
    """Sentences are what their claims say, nothing obligatory is missing, no text is too long."""
    for narrative in narratives:
        said = []
        for one in narrative.sentences:
            assert one.text in allowed(made, narrative.audience, one.claims)
            said += one.claims
        assert len(said) == len(set(said))
        bound = {one.id for one in made if narrative.audience in one.obligatory}
        assert bound <= set(said) or "below" in said
        text = " ".join(one.text for one in narrative.sentences)
        assert len(text.split()) <= {"everyone": 110, "expert": 250}[narrative.audience]


@pytest.mark.parametrize("held", [False, True], ids=["seen", "held back"])
def test_plans_are_read_in_any_form(held):
    wrong = [
        (one["answer"], plans.read(one["answer"], 12)[0])
        for one in ANSWERS
        if one["held"] == held
        and [list(group) for group in plans.read(one["answer"], 12)[0]] != one["plan"]
    ]
    assert not wrong
    assert len(ANSWERS) >= 80


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(evidences(), st.lists(st.one_of(st.text(), st.sampled_from(HOSTILE)), min_size=1), st.data())
def test_no_answer_of_a_model_can_make_a_text_false(evidence, answers, data):
    """50 evidences with 100 answers each: texts, hostile ones, and plans of any numbers."""
    made = claims(evidence)
    numbers = st.lists(st.integers(-3, 40), max_size=30)
    for _ in range(100 // len(answers)):
        plan = data.draw(numbers)
        mixed = [*answers, ", ".join(map(str, plan)), "+".join(map(str, plan))]
        for answer in mixed[: 1 + len(plan) % 3]:
            check(made, compose(made, Writer(Scripted(answer))))


def test_10000_answers(example):
    """Of one evidence: pieces of everything that models write, put together at random."""
    made = claims(example)
    generator = torch.Generator().manual_seed(0)
    pieces = [*HOSTILE, *(f"{n}" for n in range(40)), ", ", "+", "[", "]", "\n", "{", "}", " %"]
    for _ in range(5000):
        picked = torch.randint(len(pieces), (4,), generator=generator).tolist()
        answer = "".join(pieces[n][:300] for n in picked)
        check(made, compose(made, Writer(Scripted(answer))))


def test_a_model_chooses_and_orders(example):
    made = claims(example)
    menu = {one.id: n for n, one in enumerate([c for c in made if "everyone" in c.wordings], 1)}
    numbers = [menu[one] for one in ("second", "against:features.28", "answer", "kept:features.28")]
    answer = "{}, {}, {}+{}".format(*numbers)
    everyone, _ = compose(made, Writer(Scripted(answer)))
    assert everyone.writer == "scripted"
    texts = [one.text for one in everyone.sentences]
    assert "“cushion” speaks against “tabby cat”." in texts
    # Nothing is joined to the answer, and what is second in it stands behind it alone.
    assert texts[-3:] == [
        "The network takes this picture for “tabby cat” (probability 93 %).",
        "Second comes “tiger” with 4.1 %.",
        "As a test, parts were switched off one by one: in order of weight, the score for "
        "“tabby cat” fell more than in random order.",
    ]
    check(made, [everyone])


def test_no_two_kinds_share_a_sentence_whatever_is_joined(example):
    """Of two, the second would be read as true without what the first takes away."""
    made = claims(example)
    count = len(made)
    shared = 0
    for one in range(1, count + 1):
        for other in range(1, count + 1):
            for narrative in compose(made, Writer(Scripted(f"[[{one}, {other}]]"))):
                kinds = [[id_.partition(":")[0] for id_ in s.claims] for s in narrative.sentences]
                assert all(len(set(own)) == 1 for own in kinds)
                shared += any(len(own) > 1 for own in kinds)
                flat = [own[0] for own in kinds]
                behind = {"wrong", "unsure", "second", "asked"} & set(flat)
                at = flat.index("answer") + 1
                assert set(flat[at : at + len(behind)]) == behind
    assert shared


def test_a_claim_in_other_words_stands_alone(example):
    """Behind it, the shorter form of another would have lost what it leans on."""
    also = effects("c6", (0.3, 8.0, 1), (0.3, 8.0, 1), (0.3, 8.0, 1))
    without = (*(one for one in example.effects if one.concept != "c6"), also)
    made = claims(replace(example, effects=without))
    own = [one.id for one in made if "everyone" in one.wordings]
    plan = f"{own.index('changes:c6') + 1}+{own.index('changes:c3') + 1}"
    chained, _ = compose(made, Writer(Scripted(plan)))
    assert ("changes:c6", "changes:c3") in [one.claims for one in chained.sentences]
    everyone, _ = compose(made, Writer(Scripted(plan, HONEST), Judge(0.1)))
    alone = [one for one in everyone.sentences if one.claims[0].startswith("changes")]
    assert [one.claims for one in alone] == [("changes:c6",), ("changes:c3",)]
    assert any(one.rephrased for one in alone)


def test_what_cannot_be_read_is_written_by_rules_and_reported(example):
    made = claims(example)
    everyone, expert = compose(made, Writer(Scripted("I will not.")))
    for narrative, rules in zip((everyone, expert), compose(made), strict=True):
        assert narrative.writer == RULES
        assert narrative.sentences == rules.sentences
        assert narrative.refused
    strange, _ = compose(made, Writer(Scripted("1, 99, 300")))
    assert strange.refused == ("2 numbers that are not in the menu",)


def test_the_menu_has_every_claim_and_nothing_else(example):
    model = Scripted("1")
    made = claims(example)
    compose(made, Writer(model))
    for request, audience in zip(model.asked, ("everyone", "expert"), strict=True):
        own = [claim for claim in made if audience in claim.wordings]
        assert not request.images
        for n, claim in enumerate(own, 1):
            assert f"[{n}] {claim.wordings[audience].sentence}\n" in request.text
    assert "evidence.json" not in model.asked[0].text


HONEST = "If {concept} is switched off, this answer drops from {before} to {after}, and the answer "
HONEST += "becomes {answer}."


def test_other_words_need_a_judge_and_the_guard(example):
    made = claims(example)
    number = [c.id for c in made if "everyone" in c.wordings].index("changes:c3") + 1
    plan = f"{number}"
    without, _ = compose(made, Writer(Scripted(plan, HONEST)))
    assert not any(one.rephrased for one in without.sentences)
    for opinion, taken in ((0.1, True), (0.9, False)):
        judge = Judge(opinion)
        everyone, _ = compose(made, Writer(Scripted(plan, HONEST), judge))
        found = [one for one in everyone.sentences if one.rephrased]
        assert bool(found) == taken
        if taken:
            assert found[0].text == (
                "If “pointed ears” is switched off, this answer drops from 93 % to 41 %, and the "
                "answer becomes “tiger”."
            )
        assert len(judge.asked) % 2 == 0
        assert "pointed ears" not in judge.asked[0].text
    false = HONEST.replace("drops", "rises")
    everyone, _ = compose(made, Writer(Scripted(plan, false), Judge(0.0)))
    assert not any(one.rephrased for one in everyone.sentences)
    check(made, [everyone])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_tiny_random_language_models(example, tmp_path, seed):
    """Models without vision, as their makers publish them, that answer nonsense."""
    tokenizer = words("<image>")
    if seed:
        tokenizer.chat_template = (
            "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{% endfor %}"
        )
    torch.manual_seed(seed)
    config = tf.LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=8192, **TEXT)
    tf.LlamaForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = language.load(Loading(str(tmp_path), max_tokens=16))
    made = claims(example)
    narratives = compose(made, Writer(model))
    check(made, narratives)
    # Decoding lets only numbers of the menu through: even these models answer with a plan.
    assert all(one.writer == model.id and not one.refused for one in narratives)
    assert all(0 <= one <= 1 for one in model.yes([context.Request((), "Is it?")]))


@pytest.mark.parametrize(
    ("setting", "sort"),
    [("explain.writer", "language model"), ("explain.judge", "language model"),
     ("explain.vlm", "image-text-to-text model"), ("naming.vlm", "image-text-to-text model")],
)  # fmt: skip
def test_models_that_are_not_there(tmp_path, setting, sort):
    """The line names the setting at fault, and has no half of an address."""
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    load = language.load if sort == "language model" else vlm.load
    with pytest.raises(UserError) as caught:
        load(Loading(str(tmp_path), setting=setting))
    assert str(caught.value).startswith(f"the {sort} '{tmp_path}' cannot be loaded (")
    assert str(caught.value).endswith(f"with --set {setting}=NAME")
    long = f"It is not there. {'Look at it again ' * 9}and at 'https://a.b/{'c' * 99}'. So it is."
    told = str(Loading("x/y", setting=setting).missing(OSError(long)))
    assert f"the {sort} 'x/y' cannot be loaded (It is not there.): give" in told


def test_a_judge_needs_a_writer():
    with pytest.raises(UserError, match="name a writer too"):
        _check_models(Explain(judge="x"), None)


def test_narratives_read_back_as_they_were_written(example, tmp_path):
    narratives = compose(claims(example))
    sentences.write(narratives, tmp_path, rows(example))
    assert sentences.read(tmp_path) == narratives


def test_claims_of_one_kind_share_a_sentence(example):
    also = effects("c6", (0.3, 8.0, 1), (0.3, 8.0, 1), (0.3, 8.0, 1))
    without = (*(one for one in example.effects if one.concept != "c6"), also)
    made = {claim.id: claim for claim in claims(replace(example, effects=without))}
    group = (made["changes:c6"], made["changes:c3"])
    assert sentence(group, "everyone", {}).text == (
        "Without “whiskers”, the network would say “tiger” (this answer falls from 93 % to 30 %); "
        "without “pointed ears”, “tiger” (to 41 %)."
    )


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
    made = claims(replace(example, context=found))
    assert re.search("does not see", next(c for c in made if c.kind == "unseen").wordings[
        "everyone"].text)  # fmt: skip


def test_texts_of_models_are_clipped():
    shows, text = context.parse("yes " + "very " * 500)
    assert shows
    assert len(text) <= context.LONGEST


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.931, "93 %"), (0.0412, "4.1 %"), (0.99991, "more than 99.9 %"), (0.994, "99.4 %"),
     (0.0001, "less than 0.05 %"), (0.0006, "0.060 %"), (0.5, "50 %"), (0.00123, "0.12 %")],
)  # fmt: skip
def test_probabilities_are_never_rounded_to_certainty(value, text):
    assert w.probability(value) == text
