"""Claims about what changes when concepts are taken away."""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from atlas.explain.claims import wording as w
from atlas.explain.claims.wording import Speaker, claim, say
from atlas.store.claims import AUDIENCES, Audience, Claim, Slot, Wording
from atlas.store.evidence import Concept, Effect, Evidence, LayerEvidence, Together

FIFTH = 0.2
"""Who takes more than this part of the target's probability decides."""

SHORT = 2
"""So many others have a claim that names no more than one of them, for texts without room."""

LISTED_WORDS = 20
"""So many words the names of others that decide have in one sentence; those that take least are
counted, and stand in the table."""

ALONE = 3
"""So many concepts of the last layer that decide have a sentence each, those that take most."""


def decides(evidence: Evidence, one: Concept) -> bool:
    """Return whether taking a concept away changes the answer or takes more than a fifth.

    An answer that ties with others is one no more, so that is a change too.
    """
    zero, before = evidence.effect(one.id, "zero"), evidence.target.probability
    return evidence.changed(zero) or zero.probability < (1 - FIFTH) * before


def is_earlier(evidence: Evidence, one: Concept, last: Sequence[Concept]) -> bool:
    """Return whether a concept is of a layer before that of the `last` ones.

    Factors are of the layer whose directions they are.
    """
    hosts = {evidence.layer(each.layer).host for each in last}
    return evidence.layer(one.layer).host not in hosts


def effects(evidence: Evidence, last: Sequence[Concept]) -> Iterator[Claim]:
    """Yield what taking away does: each of the `last` layer's concepts, pairs, and others."""
    deciding = [one for one in evidence.concepts if decides(evidence, one)]
    deciding.sort(key=lambda one: evidence.effect(one.id, "zero").probability)
    at_end = [one for one in deciding if one in last]
    earlier = [one for one in deciding if one not in last]
    for one in last:
        yield _alone(evidence, one, bound=one in at_end[:ALONE], listed=one in at_end[ALONE:])
        yield _blurred(evidence, one)
    yield from _leader(evidence, last)
    for pair in evidence.together:
        yield _pair(evidence, pair)
    if evidence.concepts and not deciding:
        yield _spread(evidence)
    if more := at_end[ALONE:]:
        yield _others(evidence, "more", more, "also ")
    also = "also " if at_end else ""
    if beside := [one for one in earlier if not is_earlier(evidence, one, last)]:
        yield _others(evidence, "beside", beside, also)
    if before := [one for one in earlier if is_earlier(evidence, one, last)]:
        yield _others(evidence, "earlier", before, also)
        if len({one.name or one.address for one in before}) > SHORT:
            yield _others(evidence, "fewer", before, also)
    for layer in evidence.layers:
        if any(one.layer == layer.layer for one in earlier):
            yield _in_layer(evidence, layer, earlier)


def _alone(evidence: Evidence, one: Concept, *, bound: bool, listed: bool) -> Claim:
    """Return what happens without one concept; everyone reads of some in a list of others."""
    target, zero = evidence.target, evidence.effect(one.id, "zero")
    change = abs(zero.probability - target.probability)
    kind, verb = _direction(target.probability, zero.probability)
    if kind == "falls" and evidence.changed(zero):
        kind = "changes" if zero.tied == 1 else "ties"
    return claim(
        kind, one.id, ["target", one.id, f"effect:{one.id}"],
        0.8 + 0.2 * change if decides(evidence, one) else change,
        None if listed else _everyone(evidence, one, zero, kind, verb),
        _expert(evidence, one, zero, kind, verb),
        AUDIENCES if bound else (),
    )  # fmt: skip


def _direction(before: float, after: float) -> tuple[str, str]:
    """Return the kind of a change and its verb, by what is written of it."""
    if w.probability(before) == w.probability(after):
        if after < (1 - FIFTH) * before:  # of two that are written as less than something
            return "falls", "falls by more than a fifth, to {after}"
        return "keeps", "stays at {after}"
    if after < before:
        return "falls", "falls from {before} to {after}"
    return "rises", "rises from {before} to {after}"


def _numbers(evidence: Evidence, zero: Effect | Together, source: str) -> list[Slot]:
    return [
        w.chance("before", evidence.target.probability, "target probability"),
        w.chance("after", zero.probability, f"{source}probability"),
        w.a_class("answer", zero.answer_name, f"{source}answer_name"),
        w.count("tied", zero.tied, f"{source}tied"),
    ]


def _included(evidence: Evidence, zero: Effect | Together) -> bool:
    """Return whether what was the answer is one of the classes that tie."""
    return not evidence.undecided and zero.answer == evidence.prediction[0].label


def _tie(evidence: Evidence, zero: Effect | Together) -> str:
    """Return what ties: classes, of which what was the answer is one, or others."""
    if evidence.undecided or _included(evidence, zero):
        return "{tied} classes"
    return "{tied} other classes"


def _then(evidence: Evidence, zero: Effect | Together) -> str:
    """Return what a changed answer becomes."""
    if zero.tied > 1:
        return f"the network cannot decide between {_tie(evidence, zero)}"
    return "the answer becomes {answer}"


def _everyone(evidence: Evidence, one: Concept, zero: Effect, kind: str, verb: str) -> Wording:
    speaker = Speaker(evidence, "everyone")
    target, slots = speaker.target()
    if kind == "changes":
        text = f"Without {{concept}}, the network would say {{answer}} ({target} {verb})"
        joined: str | None = "without {concept}, {answer} (to {after})"
    elif kind == "ties":
        joined = None
        if _included(evidence, zero) and not slots:
            text = "Without {concept}, {tied} classes tie, this answer among them ({after} each)"
            joined = "without {concept}, {tied} ({after} each)"
        else:
            text = f"Without {{concept}}, the network cannot decide between {_tie(evidence, zero)}"
            text += f" ({target} {verb})"
    else:
        text = f"Without {{concept}}, {target} {verb}"
        joined = "without {concept}, to {after}" if kind != "keeps" else None
        if evidence.changed(zero):
            text += f", and {_then(evidence, zero)}"
            joined = None
    slots += (speaker.concept("concept", one), *_numbers(evidence, zero, f"effect:{one.id} zero."))
    return say(f"{text}.", *slots, joined=joined)


def _expert(evidence: Evidence, one: Concept, zero: Effect, kind: str, verb: str) -> Wording:
    speaker = Speaker(evidence, "expert")
    target, slots = speaker.target()
    if kind == "keeps":
        text = f"leaves the probability of {target} at {{after}}"
        joined: str | None = "{concept}, at {after}"
    else:
        does = "raises" if kind == "rises" else "lowers"
        course = verb.partition(" ")[2]
        text = f"{does} the probability of {target} {course}"
        joined = "{concept}, to {after}"
    if kind == "ties":
        text += f", and {_tie(evidence, zero)} tie for the answer"
        joined = f"{joined} ({_tie(evidence, zero)})"
    elif evidence.changed(zero):
        text += " and changes the answer to {answer}" if zero.tied == 1 else (
            f", and {_tie(evidence, zero)} tie for the answer"
        )  # fmt: skip
        joined = f"{joined} and to {{answer}}" if kind == "changes" else None
    text = f"Set to zero, {{concept}} {text}"
    slots += (speaker.concept("concept", one), *_numbers(evidence, zero, f"effect:{one.id} zero."))
    return say(f"{text}.", *slots, joined=joined)


def _blurred(evidence: Evidence, one: Concept) -> Claim:
    """Return what blurring a concept's region in the picture does."""
    speaker, blur = Speaker(evidence, "expert"), evidence.effect(one.id, "blur")
    target, slots = speaker.target()
    text = (
        f"Blurring the region of {{concept}} takes the probability of {target} from {{before}} "
        "to {after}."
    )
    slots += (
        speaker.concept("concept", one),
        w.chance("before", evidence.target.probability, "target probability"),
        w.chance("after", blur.probability, f"effect:{one.id} blur.probability"),
    )
    change = abs(evidence.target.probability - blur.probability)
    worth = 0.2 if decides(evidence, one) else 0.42  # where the channel alone does not decide
    ids = ["target", one.id, f"effect:{one.id}"]
    wording = say(text, *slots, joined="that of {concept}, to {after}")
    return claim("blurred", one.id, ids, worth * change, None, wording)


def _leader(evidence: Evidence, last: Sequence[Concept]) -> Iterator[Claim]:
    """Yield that rank and effect disagree, if they do."""
    speaking = [one for one in last if one.direction == "for"]
    if len(speaking) < 2:
        return
    after = {one.id: evidence.effect(one.id, "zero").probability for one in speaking}
    first = max(speaking, key=lambda one: one.share)
    strongest = min(speaking, key=lambda one: after[one.id])
    texts = [w.probability(after[one.id]) for one in (first, strongest)]
    shares = [w.percent(one.share) for one in (first, strongest)]
    if first is strongest or texts[0] == texts[1] or shares[0] == shares[1]:
        return
    wordings = []
    for audience in AUDIENCES:
        speaker = Speaker(evidence, audience)
        slots = [
            speaker.concept("first", first),
            speaker.concept("strongest", strongest),
            w.chance("less", after[strongest.id], f"effect:{strongest.id} zero.probability"),
            w.chance("more", after[first.id], f"effect:{first.id} zero.probability"),
        ]
        by = "weight" if audience == "everyone" else "relevance"
        wordings.append(
            say(f"By {by} {{first}} comes first, but the probability is lower without "
                "{strongest} ({less}) than without {first} ({more}).", *slots)
        )  # fmt: skip
    ids = [first.id, strongest.id, f"effect:{first.id}", f"effect:{strongest.id}"]
    everyone, expert = wordings
    gap = after[first.id] - after[strongest.id]
    yield claim("disagree", "", ids, min(0.1 + 2 * gap, 0.79), everyone, expert)


def _pair(evidence: Evidence, pair: Together) -> Claim:
    _, verb = _direction(evidence.target.probability, pair.probability)
    both = [evidence.concept(id_) for id_ in (pair.first, pair.second)]
    overlap = next(one for one in evidence.overlaps if {one.first, one.second} == {
        pair.first, pair.second})  # fmt: skip
    numbers = _numbers(evidence, pair, f"{pair.id} ")
    texts = []
    for audience in AUDIENCES:
        speaker = Speaker(evidence, audience)
        _, slots = w.listing(speaker, both)
        target, named = speaker.target()
        slots += named
        text = f"Without both {{concept1}} and {{concept2}}, the probability of {target} {verb}"
        if evidence.changed(pair):
            text += f", and {_then(evidence, pair)}"
        if audience == "expert":
            text += "; {overlap} of their heat maps lie at the same places"
            slots.append(w.share("overlap", overlap.overlap, f"{overlap.id} overlap"))
        texts.append(say(f"{text}.", *slots, *numbers))
    change = abs(evidence.target.probability - pair.probability)
    ids = ["target", pair.id, overlap.id, pair.first, pair.second]
    everyone, expert = texts
    return claim("together", f"{pair.first}:{pair.second}", ids, 0.4 * change, everyone, expert)


def _spread(evidence: Evidence) -> Claim:
    """Return that no concept decides alone."""
    target, slots = Speaker(evidence, "everyone").target()
    text = "No concept listed decides alone: without any one, the answer stays and "
    if evidence.undecided:
        text = "No concept listed decides alone: without any one, as many classes tie and "
    text += f"{target} loses at most a fifth." if slots else "loses at most a fifth."
    ids = ["target", *(f"effect:{one.id}" for one in evidence.concepts)]
    return claim("spread", "", ids, 0.85, say(text, *slots), say(text, *slots), AUDIENCES)


_WHERE = {
    "earlier": "Earlier in the network",
    "fewer": "Earlier in the network",
    "beside": "Among mixtures of parts there",
}
"""Where others are that decide: before the last layer, or beside its channels as its factors."""


def _others(evidence: Evidence, kind: str, own: Sequence[Concept], also: str) -> Claim:
    """Return which other concepts decide too; several channels may have one name.

    Where some would only change the answer, all are said to do one or the other. Beside those of
    the last layer that have sentences of their own, an address tells which of one name is meant.
    """
    names: dict[str, Concept] = {}
    speaker = Speaker(evidence, "everyone")
    for one in own:
        name = w.quoted(one.name) if one.name else one.address
        names.setdefault(speaker.concept("", one).text if kind == "more" else name, one)
    slots = [
        Slot(f"concept{n}", "concept", name, f"{one.id} name")
        for n, (name, one) in enumerate(names.items(), 1)
    ]
    length = list(accumulate(len(slot.text.split()) for slot in slots))
    kept = slots[: sum(words <= LISTED_WORDS for words in length)]
    if kind == "fewer" or len(kept) == len(slots) - 1:
        kept = slots[:1] if kind == "fewer" else slots
    parts = [f"{{{slot.key}}}" for slot in kept]
    if left := len(slots) - len(kept):
        kept.append(w.count("others", left, f"{kind} others"))
        parts.append("one of {others} others" if left > 1 else "{others} other")
    target, named = speaker.target()
    listed = w.listed(parts, "or")
    text = f"{_outcome(evidence, own, target, also)} without {listed}."
    text = f"{_WHERE[kind]}, {text}" if kind in _WHERE else text[:1].upper() + text[1:]
    ids = ["target", *(id_ for one in own for id_ in (one.id, f"effect:{one.id}"))]
    bound: tuple[Audience, ...] = () if kind == "fewer" else ("everyone",)
    weight = 0.79 if kind == "fewer" else 0.8
    return claim(kind, "", ids, weight, say(text, *kept, *named), None, bound)


def _in_layer(evidence: Evidence, layer: LayerEvidence, earlier: Sequence[Concept]) -> Claim:
    """Return how many concepts of an earlier layer decide, and which most; the table has all."""
    own = [one for one in earlier if one.layer == layer.layer]
    speaker, most = Speaker(evidence, "expert"), own[0]
    target, slots = speaker.target()
    zero = evidence.effect(most.id, "zero")
    says = ""
    if evidence.changed(zero):
        says = f", {_tie(evidence, zero)} tie" if zero.tied > 1 else ", answer {answer}"
    left = " left" if zero.probability < evidence.target.probability else ""
    joined = f"in {{layer}}, {_outcome(evidence, own, target, '')} without "
    if len(own) > 1:
        joined += "any one of {deciding} concepts, "
        joined += "most without " if left else "as without "
    joined += f"{{concept}} ({{after}}{left}{says})"
    text = f"I{joined[1:]}."
    slots += (
        w.layer("layer", layer.layer),
        w.count("deciding", len(own), f"{layer.id} deciding"),
        speaker.concept("concept", most),
        w.chance("after", zero.probability, f"effect:{most.id} zero.probability"),
        w.a_class("answer", zero.answer_name, f"effect:{most.id} zero.answer_name"),
        w.count("tied", zero.tied, f"effect:{most.id} zero.tied"),
    )
    ids = ["target", layer.id, *(id_ for one in own for id_ in (one.id, f"effect:{one.id}"))]
    wording = say(text, *slots, joined=joined)
    return claim("decide", layer.layer, ids, 0.75, None, wording, ("expert",))


def _outcome(evidence: Evidence, own: Sequence[Concept], target: str, also: str) -> str:
    """Return what happens without concepts that decide: of several, what each does or another."""
    limit = (1 - FIFTH) * evidence.target.probability
    costs = [evidence.effect(one.id, "zero").probability < limit for one in own]
    if all(costs):
        return f"{target} {also}falls by more than a fifth"
    changes = f"which classes tie {also}changes" if evidence.undecided else (
        f"the answer {also}changes"
    )  # fmt: skip
    return f"{changes} or {target} falls by more than a fifth" if any(costs) else changes
