"""Classes that tie are told as a tie: none of them is the answer."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from atlas.explain import contrasting, gathering, interventions, ties
from atlas.explain.background import Name
from atlas.explain.conditional import propagate
from atlas.explain.counterfactuals import Asked, ConceptLayer, counterfactual
from atlas.relevance.engine import PREDICTED
from atlas.store import evidence as e
from atlas.store import table
from atlas.store.counterfactual import problem
from tests.explain.test_claims import sentences, with_zero, written
from tests.relevance.looking import instrumented

CLASSES = ["red disc", "red square", "blue disc", "blue square"]
BACKGROUND = SimpleNamespace(
    classes=CLASSES, name=lambda layer, channel: Name(f"concept {channel}", None, None, None)
)


@pytest.fixture(scope="module")
def world():
    """A network that adds up a colour and a form, and a picture of a blue square.

    Its channels are red, blue, disc and square, and a fifth that tells a little of both.
    """
    module = nn.Sequential(
        nn.Conv2d(3, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)
    )
    with torch.no_grad():
        module[0].weight.zero_()
        module[0].weight[:, 0, 0, 0] = torch.tensor([0.0, 0.7, 0.0, 0.9, 0.01])
        module[0].bias.zero_()
        module[4].weight.copy_(torch.tensor([
            [1.0, 0, 1, 0, 0], [1, 0, 0, 1, 0], [0, 1, 1, 0, 0], [0, 1, 0, 1, 0],
        ]))  # fmt: skip
        module[4].bias.zero_()
    model = instrumented(module, (3, 8, 8), ["0"])
    image = torch.rand(1, 3, 8, 8) + 1
    return SimpleNamespace(module=module, model=model, image=image)


def test_what_ties_is_found_whatever_the_rounding():
    """Against all pairs in 64 bits, with logits that were a rounding apart before."""
    torch.manual_seed(0)
    exact = torch.randint(-3, 4, (200, 6)).double()
    scale = 10.0 ** torch.randint(-3, 4, (200, 1))
    logits = (exact * scale * (1 + 3e-7 * torch.randn(200, 6))).float()
    for row, true in zip(logits, exact, strict=True):
        own = int(true[:3].argmax())
        best = [n for n in range(6) if true[n] == true.max()]
        assert ties.tops(row[None], own) == [(own if own in best else best[0], len(best))]
        assert ties.places(row) == [
            (1 + int((true > one).sum()), int((true == one).sum())) for one in true
        ]
        others = [n for n in range(6) if n != own]
        ahead = float(true[own] - true[others].max())
        assert (float(ties.lead(row[None], own)) > 0, float(ties.lead(row[None], own)) < 0) == (
            ahead > 0, ahead < 0)  # fmt: skip


def test_effects_say_how_many_classes_tie(world):
    """Without the colour two forms are alike, and without anything all are."""
    measured = propagate(world.model, world.image, PREDICTED)
    assert measured.target == 3
    without = interventions.without_channels(world.model, "0", world.image, torch.zeros(5))
    taken = torch.tensor([
        [1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0], [0, 1, 0, 1, 0],
    ]).bool()  # fmt: skip
    found = interventions.alone({"zero": without}, {"zero": taken}, measured, CLASSES)
    assert [(one.answer, one.tied) for (one,) in found] == [(3, 1), (3, 2), (3, 2), (3, 4)]
    for (one,), mask in zip(found, taken, strict=True):
        output = world.module[:2](world.image) * ~mask[:, None, None]
        logits = world.module[2:](output)[0].double()
        assert one.tied == int((logits > logits.max() - 1e-4).sum())
    guesses = gathering._guesses(measured, BACKGROUND)
    assert [(one.rank, one.tied) for one in guesses] == [(1, 1), (2, 1), (3, 1), (4, 1)]
    end = contrasting.End("0", without, measured)
    other = contrasting.contrast(end, guesses, BACKGROUND)
    assert other is not None
    assert (other.name, other.differences[0].channel) == ("red square", 1)
    assert other.differences[0].margin == 0
    assert contrasting.turning(other) == [1]
    settings = SimpleNamespace(coverage=0.3, concepts=1)
    subject = SimpleNamespace(settings=settings, layers=("0",), host=lambda name: name)
    whole = gathering._chosen("0", measured, subject, [])
    assert list(whole) == [3]
    assert gathering._chosen("0", measured, subject, [1]) == {3: 1, 1: 2}
    assert gathering._chosen("0", measured, subject, [2]) == {3: 1}, "it has no relevance"


def test_an_answer_that_ties_is_left_and_a_class_that_ties_is_not_reached(world):
    measured = propagate(world.model, world.image, PREDICTED)
    basis = ConceptLayer(world.model, "0", None)
    found = counterfactual(Asked(2, basis, ()), world.image, measured, [], BACKGROUND)
    assert found.leave.reached
    assert [(one.answer, one.tied) for one in found.leave.steps] == [(3, 2)]
    read = replace(found.leave, steps=(replace(found.leave.steps[0], tied=1),))
    layers = {"0": found.leave.among}
    assert problem(found, 3, {}, layers) is None
    assert problem(replace(found, leave=read), 3, {}, layers) is not None


def tied_without(example, number, **changes):
    """Return what is said where taking one concept away makes classes tie."""
    best = example.prediction[0]
    alike = {"probability": 0.12, "answer": best.label, "answer_name": best.name, "tied": 8}
    return written(with_zero(example, number, **{**alike, **changes}))


def test_no_class_of_a_tie_is_the_answer(example):
    at = 2  # c3, the first of the last layer
    found = tied_without(example, at)
    assert sentences(found)["ties:c3"] == (
        "Without “pointed ears”, 8 classes tie, this answer among them (12 % each)."
    )
    assert sentences(found, "expert")["ties:c3"] == (
        "Set to zero, “pointed ears” (features.28:79) lowers the probability of this answer from "
        "93 % to 12 %, and 8 classes tie for the answer."
    )
    row = next(one for one in table.rows(found) if one.id == "c3")
    assert (row.answer, row.tied) == (None, 8)
    assert "8 classes tie" in table.text([row])
    others = tied_without(example, at, answer=1, answer_name="tiger", tied=2)
    assert sentences(others)["ties:c3"] == (
        "Without “pointed ears”, the network cannot decide between 2 other classes (this answer "
        "falls from 93 % to 12 %)."
    )
    # Where hardly anything is lost, a tie decides all the same.
    calm = tied_without(example, at, probability=0.93, tied=2)
    assert not any(id_.startswith("spread") for id_ in sentences(calm))
    assert sentences(calm)["keeps:c3"] == (
        "Without “pointed ears”, this answer stays at 93 %, and the network cannot decide between "
        "2 classes."
    )


def test_a_picture_between_classes_says_so_first_and_names_no_second(example):
    first, second, third = example.prediction
    alike = {"probability": first.probability, "logit": first.logit, "tied": 2, "rank": 1}
    guesses = (replace(first, tied=2), replace(second, **alike), third)
    target = replace(example.target, tied=2)
    found = written(replace(example, prediction=guesses, target=target, truth=guesses[1]))
    said = sentences(found)
    assert next(iter(said.values())) == (
        "The network cannot decide between 2 classes for this picture (probability 93 % each)."
    )
    assert said["asked"] == "Explained here is one of those that tie, “tabby cat”."
    assert "second" not in said
    assert "wrong" not in said
    assert not any("this answer" in text or "the answer is" in text for text in said.values())
    beyond = sentences(written(replace(found, truth=third)))
    assert beyond["wrong"] == (
        "By its label the picture shows “sofa”, which is none of those that tie."
    )


def test_several_second_places_are_counted(example):
    first, second, third = example.prediction
    pair = (replace(second, tied=2), replace(third, rank=2, logit=second.logit, tied=2,
                                             probability=second.probability))  # fmt: skip
    said = sentences(written(replace(example, prediction=(first, *pair))))
    assert said["second"] == "Second come 2 classes alike, with 4.1 % each."


def test_a_margin_that_vanishes_puts_neither_ahead(example):
    assert example.contrast is not None
    one, *others = example.contrast.differences
    level = replace(example.contrast, differences=(replace(one, margin=0.0), *others))
    said = sentences(written(replace(example, contrast=level)))["contrast"]
    assert said.endswith("is “pointed ears”; without it, neither would be ahead.")


def test_each_layer_says_what_happens_without_its_own_concepts(example):
    """Of one concept that costs nothing and changes the answer, no fall is told."""
    other = example.prediction[1]
    risen = {"probability": 0.95, "answer": other.label, "answer_name": other.name}
    found = written(with_zero(with_zero(example, 0, **risen), 2, probability=0.2))
    said = sentences(found, "expert")["decide:features.10"]
    assert said == (
        "In features.10, the answer changes without “stripes” (features.10:7) (95 %, answer "
        "“tiger”)."
    )
    both = written(with_zero(found, 1, probability=0.1))
    assert sentences(both)["earlier"] == (
        "Earlier in the network, the answer also changes or this answer falls by more than a "
        "fifth without features.10:40 or “stripes”."
    )


def test_who_is_in_a_list_of_others_has_no_sentence_for_everyone(example):
    """Of four that decide in the last layer, the list says one; it is not said twice."""
    for number in range(2, 6):
        example = with_zero(example, number, probability=0.1 * number)
    said = sentences(written(example))
    assert "also falls by more than a fifth without" in said["more"]
    alone = [id_ for id_ in said if id_.split(":")[0] in ("changes", "falls", "ties")]
    assert len(alone) == 3


def test_older_evidence_is_refused(example, tmp_path):
    e.write(replace(example, version=2), tmp_path)
    with pytest.raises(e.UserError, match="is of version 2, not 3: explain the picture again"):
        e.read(tmp_path)
