"""Claims are true, one by one, by formulas of their own; what decides is never left out."""

import copy
import json
import re
from collections import Counter
from dataclasses import asdict, replace
from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from atlas.errors import UserError
from atlas.explain.claims.making import ORDER, claims
from atlas.explain.narrative.compose import compose
from atlas.explain.narrative.joining import together
from atlas.store import claims as stored
from atlas.store import evidence as e
from tests.explain.drawn import evidences
from tests.explain.truth import problems, quoted

SEEN: Counter[str] = Counter()
SEARCH = settings(
    max_examples=5_000, deadline=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # any that has the kind will do, and need not be small
)  # fmt: skip


def as_json(value):
    return json.loads(e.dumps(value))


def written(evidence: e.Evidence) -> e.Evidence:
    """What evidence is once it was written and read: numbers with six digits."""
    return e._ADAPTER.validate_python(as_json(asdict(evidence)))


def with_claims(evidence: e.Evidence, made) -> dict:
    """Evidence and all claims as JSON: some count others."""
    return as_json({**asdict(evidence), "claims": [asdict(one) for one in made]})


def deciding(found: dict) -> list[dict]:
    """Concepts whose removal changes the answer or takes more than a fifth of the probability."""
    zero = {one["concept"]: one["effects"][0] for one in found["effects"]}
    limit, first = 0.8 * found["target"]["probability"], found["prediction"][0]
    best = (first["label"], first["tied"])
    return [
        one for one in found["concepts"]
        if (zero[one["id"]]["answer"], zero[one["id"]]["tied"]) != best
        or zero[one["id"]]["probability"] < limit
    ]  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(evidences())
def test_every_claim_is_true_of_whatever_is_measured(evidence):
    evidence = written(evidence)
    made = claims(evidence)
    found = with_claims(evidence, made)
    assert len({claim.id for claim in made}) == len(made)
    for claim in made:
        SEEN[claim.kind] += 1
        assert not problems(as_json(asdict(claim)), found), claim.id
        assert set(claim.evidence) <= evidence.ids


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(evidences())
def test_texts_have_their_lengths_and_leave_nothing_out_in_silence(evidence):
    """What decides and what is doubtful is in both texts, or these say how much there is of it."""
    evidence = written(evidence)
    found, made = as_json(asdict(evidence)), claims(evidence)
    everyone, expert = compose(made)
    for narrative, least, most in ((everyone, 60, 110), (expert, 120, 250)):
        text = " ".join(one.text for one in narrative.sentences)
        assert least <= len(text.split()) <= most
        said = {id_ for one in narrative.sentences for id_ in one.claims}
        bound = {claim.id for claim in made if narrative.audience in claim.obligatory}
        assert bound <= said or "below" in said
        if "below" in said and bound - said:  # there was no room for any of these
            shortest = min(
                len(claim.wordings[narrative.audience].sentence.split())
                for claim in made if claim.id in bound - said
            )  # fmt: skip
            assert len(text.split()) + shortest > most - 12
        if narrative is everyone and not {"below"} & said and "others" not in text:
            for one in deciding(found):
                assert (quoted(one["name"]) if one["name"] else one["address"]) in text
    if found["target"]["label"] != found["prediction"][0]["label"]:
        assert "asked" in {id_ for one in everyone.sentences for id_ in one.claims}


def test_every_kind_was_drawn():
    """Runs behind the first test, which counts; kinds that chance left out are looked for."""
    for kind in set(ORDER) - set(SEEN):
        evidence = written(find(evidences(), partial(_says, kind), settings=SEARCH))
        for claim in claims(evidence):
            SEEN[claim.kind] += 1
            found = with_claims(evidence, claims(evidence))
            assert not problems(as_json(asdict(claim)), found), claim.id
    assert set(SEEN) == set(ORDER)


def _says(kind, evidence):
    return any(claim.kind == kind for claim in claims(written(evidence)))


def test_the_oracle_finds_what_is_false(example):
    """Each number, name and direction of each claim turned: nothing passes."""
    found = with_claims(written(example), claims(written(example)))
    tried = 0
    for claim in claims(written(example)):
        plain = as_json(asdict(claim))
        assert not problems(plain, found)
        for audience, wording in plain["wordings"].items():
            for n, slot in enumerate(wording["slots"]):
                if slot["kind"] in ("share", "probability", "logit", "count"):
                    other = copy.deepcopy(plain)
                    text = slot["text"]
                    digit = next(c for c in reversed(text) if c.isdigit())
                    at = text.rindex(digit)
                    moved = text[:at] + str((int(digit) + 1) % 10) + text[at + 1 :]
                    other["wordings"][audience]["slots"][n]["text"] = moved
                    assert problems(other, found), moved
                    tried += 1
            for one, two in (("falls", "rises"), ("for", "against"), ("more", "less"),
                             ("lower than", "no lower than")):  # fmt: skip
                if f" {one} " in wording["text"] and plain["kind"] in (
                    "falls", "kept", "odd") and audience == "everyone":  # fmt: skip
                    other = copy.deepcopy(plain)
                    other["wordings"][audience]["text"] = wording["text"].replace(one, two, 1)
                    if plain["kind"] != "odd" and one in ("falls", "more"):
                        assert problems(other, found), other["wordings"][audience]["text"]
                        tried += 1
    assert tried > 40


def test_the_example_in_full(example):
    """Both texts, to be read."""
    everyone, expert = compose(claims(written(example)))
    assert [one.text for one in everyone.sentences][:5] == [
        "The network takes this picture for “tabby cat” (probability 93 %).",
        "Second comes “tiger” with 4.1 %.",
        "Concepts are what the network’s parts respond to; “without” one, that part is off.",
        "Of the weight for and against this answer, “pointed ears” carries 31 %, “fur” 15 % and "
        "“whiskers” 7.4 %; the remaining 46 % lies elsewhere.",
        "Without “pointed ears”, the network would say “tiger” (this answer falls from 93 % to "
        "41 %).",
    ]
    for narrative, least, most in ((everyone, 60, 110), (expert, 120, 250)):
        text = " ".join(one.text for one in narrative.sentences)
        assert least <= len(text.split()) <= most, text


def test_everyone_reads_no_jargon(example):
    text = " ".join(one.text for one in compose(claims(example))[0].sentences).lower()
    for word in ("logit", "layer", "channel", "relevance", "share", "percentile"):
        assert word not in text


def test_no_branch_or_bias_is_blamed(example):
    texts = [w.sentence for claim in claims(example) for w in claim.wordings.values()]
    assert not [text for text in texts if "branch" in text or "bias" in text]


@pytest.mark.parametrize("probability", [0.82, 0.79, 0.51])
def test_there_is_no_cliff_between_sure_and_doubting(example, probability):
    first = replace(example.prediction[0], probability=probability)
    target = replace(example.target, probability=probability)
    made = claims(replace(example, prediction=(first, *example.prediction[1:]), target=target))
    text = made[0].wordings["everyone"].text
    assert text == claims(example)[0].wordings["everyone"].text
    assert not any(claim.kind == "unsure" for claim in made)


def test_names_that_try_to_break_out_stay_names(example):
    names = ["a “quoted” name", "two\nlines", "<b>bold</b>", "31 %", "{before}", "the", "[c3] x"]
    concepts = [replace(one, name=name) for one, name in zip(example.concepts, names, strict=False)]
    odd = written(replace(example, concepts=tuple(concepts), context=(), flow=(), contrast=None))
    found = with_claims(odd, claims(odd))
    for claim in claims(odd):
        assert not problems(as_json(asdict(claim)), found)
        assert all("\n" not in one.sentence for one in claim.wordings.values())
    text = " ".join(sentences(odd).values())
    assert "“{before}”" in text


def test_claims_read_back_as_they_were_written(example, tmp_path):
    made = claims(written(example))
    stored.write(made, tmp_path)
    assert stored.read(tmp_path) == made


def sentences(evidence, audience="everyone") -> dict[str, str]:
    """Return what claims say, by their ids."""
    found = {one.id: one.wordings.get(audience) for one in claims(evidence)}
    return {id_: one.sentence for id_, one in found.items() if one is not None}


def with_zero(example, number: int, **changes) -> e.Evidence:
    """Return evidence in which taking one concept away does something else."""
    own = example.effects[number]
    effects = tuple(replace(one, **changes) if one.kind == "zero" else one for one in own.effects)
    others = [replace(own, effects=effects) if one is own else one for one in example.effects]
    return replace(example, effects=tuple(others))


def test_classes_of_one_name_have_their_numbers(example):
    first, second, *others = example.prediction
    twin = replace(second, name=f" {first.name}")
    odd = written(replace(example, prediction=(first, twin, *others), contrast=None))
    said = sentences(odd)
    assert f"“{first.name} (class {first.label})”" in said["answer"]
    assert f"“{first.name} (class {twin.label})”" in said["second"]
    assert "(class" not in sentences(example)["answer"]


def test_a_fall_among_tiny_probabilities_is_no_standstill(example):
    tiny = replace(example, target=replace(example.target, probability=4e-4))
    last = example.concepts[-1]
    at = [one.concept for one in example.effects].index(last.id)
    best = example.prediction[0]
    tiny = with_zero(tiny, at, probability=1e-5, answer=best.label, answer_name=best.name)
    said = sentences(written(tiny))[f"falls:{last.id}"]
    assert said.endswith("falls by more than a fifth, to less than 0.05 %.")


@pytest.mark.parametrize(("start", "moved"), [(9.0, "fell more than"), (-9.0, "rose less than")])
def test_a_score_that_rose_did_not_fall(example, start, moved):
    area = {"relevance": 2.0, "random": 5.0, "activation": 3.0, "reverse": 8.0}
    curves = [
        replace(one, courses=tuple(
            replace(c, area_logit=area[c.order], logit=(start, *c.logit[1:])) for c in one.courses
        ))
        for one in example.curves
    ]  # fmt: skip
    said = sentences(written(replace(example, curves=tuple(curves))))
    assert [text for id_, text in said.items() if id_.startswith("kept") and moved in text]


def test_everyone_reads_where_the_test_failed_too(example):
    def curve(one, relevance):
        area = {"relevance": relevance, "random": 5.0, "activation": 3.0, "reverse": 8.0}
        courses = [replace(c, area_logit=area[c.order]) for c in one.courses]
        return replace(one, courses=tuple(courses))

    last = example.layers[-1].layer
    own = [next(one for one in example.curves if one.kind == "zero" and one.layer == last)]
    own += [replace(own[0], id="curve:a:zero", layer=example.layers[0].layer)]
    for earlier, end in (
        (2.0, "in random order."),
        (6.0, "in random order, but not everywhere."),
    ):
        curves = tuple(curve(one, 2.0 if one.layer == last else earlier) for one in own)
        odd = written(replace(example, curves=curves))
        assert sentences(odd)[f"kept:{last}"].endswith(end)


def test_a_doubt_about_a_name_that_decides_is_said_of_it(example):
    """Others are counted: which these are, their cards say."""
    last = [one.id for one in example.concepts if one.layer == example.layers[-1].layer]
    states = {last[0]: "not told from chance"}
    concepts = tuple(
        replace(one, name=f"name {n}", state=states.get(one.id, "one-sided"))
        for n, one in enumerate(example.concepts)
    )
    best = example.prediction[1]
    place = [one.concept for one in example.effects].index(last[0])
    odd = with_zero(replace(example, concepts=concepts), place, answer=best.label,
                    answer_name=best.name, probability=0.1)  # fmt: skip
    name = next(one.name for one in concepts if one.id == last[0])
    assert f"1 (“{name}”) did poorly when tested" in sentences(written(odd))["names"]


def test_what_was_not_listed_may_decide_too(example):
    for layers, said in ((example.layers, True), (
        tuple(replace(one, channels=one.chosen) for one in example.layers), False
    )):  # fmt: skip
        odd = written(replace(example, layers=layers))
        for audience in ("everyone", "expert"):
            assert ("listed" in sentences(odd, audience)) == said


def test_one_channel_is_not_switched_off_one_after_another(example):
    curves = [
        replace(one, courses=tuple(
            replace(c, logit=c.logit[:2], probability=c.probability[:2]) for c in one.courses
        ))
        for one in example.curves
    ]  # fmt: skip
    said = sentences(written(replace(example, curves=tuple(curves))), "expert")
    tests = [text for id_, text in said.items() if id_.startswith(("kept", "failed"))]
    assert tests
    assert all("With 1 channel of" in text and "one after" not in text for text in tests)


def test_no_name_turns_the_direction_of_a_sentence(example):
    concepts = [replace(one, name="\u202efur\u2067") for one in example.concepts]
    odd = written(replace(example, concepts=tuple(concepts), flow=(), contrast=None))
    text = " ".join(sentences(odd).values())
    assert "“fur”" in text
    assert not re.search("[\u200e\u200f\u202a-\u202e\u2066-\u2069]", text)


def test_what_changes_the_answer_is_not_shortened_by_what_does_not(example):
    risen = example
    last = [one.id for one in example.concepts if one.layer == example.concepts[-1].layer]
    places = [n for n, one in enumerate(example.effects) if one.concept in last][:2]
    best, other = example.prediction[:2]
    answers = ((0.999, other), (0.99, best))
    for n, (chance, answer) in zip(places, answers, strict=True):
        risen = with_zero(
            risen, n, probability=chance, answer=answer.label, answer_name=answer.name
        )
    own = {f"rises:{risen.effects[n].concept}" for n in places}
    made = tuple(one for one in claims(written(risen)) if one.id in own)
    assert len(made) == 2
    assert all(len(group) == 1 for group in together(made, "everyone"))


@pytest.mark.parametrize("half", ["\\ud800", "\\uDFFF", "\\udc00\\ud800"])
def test_half_of_a_character_is_refused_where_it_is_read(example, tmp_path, half):
    """With it no page could be written; a whole pair is a character."""
    stored.write(claims(example), tmp_path)
    file = tmp_path / stored.FILE
    text = file.read_text("utf-8")
    file.write_text(text.replace("tabby cat", "\\ud83d\\ude00"), "utf-8")
    assert "\N{GRINNING FACE}" in stored.read(tmp_path)[0].wordings["everyone"].sentence
    file.write_text(text.replace("tabby cat", half), "utf-8")
    with pytest.raises(UserError, match=r"cannot be read \(.*half of a character"):
        stored.read(tmp_path)
