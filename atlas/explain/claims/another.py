"""Claims about what it would take for the answer to be another class."""

from collections.abc import Iterator
from itertools import accumulate

from atlas.explain.claims import wording as w
from atlas.explain.claims.effects import LISTED_WORDS
from atlas.explain.claims.wording import Speaker, claim, say
from atlas.store.claims import AUDIENCES, Claim, Slot
from atlas.store.counterfactual import ConceptChanges, Counterfactual
from atlas.store.evidence import Evidence


def another(evidence: Evidence) -> Iterator[Claim]:
    """Yield what can be said of a class that is asked for."""
    found = evidence.counterfactual
    if found is None:
        return
    if found.leave.steps:
        yield _leave(evidence, found)
    if found.become is None:
        yield _unstored(found)
    elif found.become.steps:
        yield _become(evidence, found, found.become)


def _leave(evidence: Evidence, found: Counterfactual) -> Claim:
    """Return without which concepts the answer leaves its class; it may be said of one already."""
    leave, first = found.leave, evidence.prediction[0]
    own = w.a_class("class", first.name, "prediction.1 name")
    before = w.chance("before", first.probability, "prediction.1 probability")
    answer = w.a_class("answer", leave.steps[-1].answer_name, f"leave {leave.count}.answer_name")
    names, slots = _named(evidence, leave)
    tied = w.count("tied", leave.steps[-1].tied, f"leave {leave.count}.tied")
    if leave.reached and leave.steps[-1].tied > 1:
        if leave.steps[-1].answer == first.label:
            classes, end = "{tied} classes, {class} among them", "{tied} classes tie, {class} too"
        else:
            classes, end = "{tied} other classes", "{tied} other classes tie"
        everyone = f"Without {names}, the network cannot decide between {classes}."
        result = f"{end}{_fewest(evidence, found, leave)}"
    elif leave.reached:
        everyone = f"Without {names}, the network would no longer say {{class}}, but {{answer}}."
        result = f"the answer is {{answer}}{_fewest(evidence, found, leave)}"
    else:
        everyone = f"Even without {names}, the network would still say {{class}}."
        result = "the answer stays {class}"
    listed, chances, own_slots = _in_full(evidence, leave, "own")
    expert = (
        f"With {listed} set to zero, the probability of {{class}} goes from {{before}} to "
        f"{chances}, and {result}."
    )
    said = leave.reached and leave.count == 1 and _changes(evidence, leave.steps[0].concept)
    return claim(
        "leaves" if leave.reached else "lasts", "", ["counterfactual", "leave", "prediction"],
        0.25 if said else 0.85,
        say(everyone, own, answer, tied, *slots),
        say(expert, own, before, answer, tied, *own_slots, *_numbers(found, leave)),
        () if said else AUDIENCES,
    )  # fmt: skip


def _changes(evidence: Evidence, concept: str | None) -> bool:
    """Return whether another claim says that the answer is another one without a concept."""
    if concept is None:
        return False
    return evidence.changed(evidence.effect(concept, "zero"))


def _become(evidence: Evidence, found: Counterfactual, become: ConceptChanges) -> Claim:
    """Return which concepts would have to be as in another picture."""
    last = become.steps[-1]
    other = w.a_class("other", found.name, "counterfactual name")
    before = w.chance("before", found.probability, "counterfactual probability")
    after = w.chance("after", last.probability, f"become {become.count}.probability")
    end = w.a_class("end", last.answer_name, f"become {become.count}.answer_name")
    tied = w.count("tied", last.tied, f"become {become.count}.tied")
    names, slots = _named(evidence, become)
    everyone = f"f {names} were as in another picture that the network takes for {{other}}, it"
    if become.reached:
        everyone = f"I{everyone} would say so here too (from {{before}} to {{after}})."
        result = f"the answer is {{other}}{_fewest(evidence, found, become)}"
    else:
        everyone = f"Even i{everyone} would not say so here (from {{before}} to {{after}})."
        result = "the answer is {end}" if last.tied == 1 else "{tied} classes tie"
    listed, chances, own_slots = _in_full(evidence, become, "probability")
    maps = "map" if become.count == 1 else "maps"
    expert = (
        f"With the {maps} of {listed} copied from picture {{image}} of the data, the probability "
        f"of {{other}} goes from {{before}} to {chances}, and {result}."
    )
    assert found.source is not None, "evidence is read only with the picture of its maps"
    image = w.count("image", found.source.image, "source image")
    return claim(
        "becomes" if become.reached else "misses", "", ["counterfactual", "become"], 1.0,
        say(everyone, other, before, after, *slots),
        say(expert, other, before, end, tied, image, *own_slots, *_numbers(found, become)),
        AUDIENCES,
    )  # fmt: skip


def _unstored(found: Counterfactual) -> Claim:
    other = w.a_class("other", found.name, "counterfactual name")
    return claim(
        "unstored", "", ["counterfactual"], 0.9,
        say("No picture that the network takes for {other} is kept here, so it is not known what "
            "would make that the answer.", other),
        say("The network takes no picture that the atlas keeps for {other}, so there are no maps "
            "to copy.", other),
        AUDIENCES, caveat=True,
    )  # fmt: skip


def _named(evidence: Evidence, changes: ConceptChanges) -> tuple[str, list[Slot]]:
    """Return placeholders for the names of the first steps, and how many there are besides."""
    speaker = Speaker(evidence, "everyone")
    slots = [speaker.concept(f"concept{n}", one) for n, one in enumerate(changes.steps, 1)]
    often = [slot.text for slot in slots]
    slots = [
        Slot(slot.key, slot.kind, f"{slot.text} ({one.address})", slot.source)
        if one.name and often.count(slot.text) > 1
        else slot
        for slot, one in zip(slots, changes.steps, strict=True)
    ]
    length = accumulate(len(slot.text.split()) for slot in slots)
    kept = slots[: max(1, sum(words <= LISTED_WORDS for words in length))]
    parts = [f"{{{slot.key}}}" for slot in kept]
    if left := changes.count - len(kept):
        kept.append(w.count("others", left, f"{changes.id} count − {len(parts)}"))
        parts.append("{others} others" if left > 1 else "{others} other")
    return w.listed(parts), kept


def _in_full(
    evidence: Evidence, changes: ConceptChanges, which: str
) -> tuple[str, str, list[Slot]]:
    """Return placeholders for all steps and for the probabilities after them, and their slots."""
    names, slots = w.listing(Speaker(evidence, "expert"), changes.steps)
    chances = [
        w.chance(f"after{n}", getattr(one, which), f"{changes.id} {n}.{which}")
        for n, one in enumerate(changes.steps, 1)
    ]
    return names, w.listed([f"{{{one.key}}}" for one in chances]), [*slots, *chances]


def _fewest(evidence: Evidence, found: Counterfactual, changes: ConceptChanges) -> str:
    """Return whether fewer would do."""
    parts = evidence.layer(found.layer).parts
    if not changes.fewest:
        return f"; so at most {{count}} of {{among}} {parts} are needed"
    if changes.count == 1:
        return ""
    several = changes.id == "become" and found.pictures > 1
    where = ", from this one or any other of {pictures}" if several else ""
    return f"; no fewer of {{among}} {parts} do{where}"


def _numbers(found: Counterfactual, changes: ConceptChanges) -> tuple[Slot, ...]:
    return (
        w.count("count", changes.count, f"{changes.id} count"),
        w.count("among", changes.among, f"{changes.id} among"),
        w.count("pictures", found.pictures, "counterfactual pictures"),
    )
