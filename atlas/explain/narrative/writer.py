"""The deterministic writer: plain sentences that say what the evidence says.

It says little and nothing that it cannot show: directions, orders and shares are those of the
relevance; that something would change is said only where it was tried.
"""

from collections.abc import Iterator

from atlas.explain.narrative.phrases import called, digits, listed, percent, probability, quoted
from atlas.store.evidence import Concept, Course, Curve, Evidence, LayerEvidence
from atlas.store.narrative import Sentence

LISTED = 4
"""Concepts of a layer that a text speaks of."""

TRIED = 3
"""Concepts whose removal a text tells."""

SURE, UNSURE = 0.8, 0.5
"""A network is called sure of an answer from this probability, and not sure below this."""

NEGLIGIBLE = 0.01
"""A smaller change of a probability is no change in a text for everyone."""


def expert(evidence: Evidence) -> tuple[Sentence, ...]:
    """Return the text for people who know networks: layers, shares, interventions, caveats."""
    return tuple(_expert(evidence))


def everyone(evidence: Evidence) -> tuple[Sentence, ...]:
    """Return the text for everybody: short, without jargon, no number without meaning."""
    return tuple(_everyone(evidence))


def _expert(evidence: Evidence) -> Iterator[Sentence]:
    yield from _answer(evidence)
    for layer in reversed(evidence.layers):
        if layer.chosen:
            yield from _layer(evidence, layer)
    for curve in reversed(evidence.curves):
        if curve.kind == "zero":
            yield _curve(curve)
    yield from _caveats(evidence)


def _answer(evidence: Evidence) -> Iterator[Sentence]:
    first, *others = evidence.prediction
    text = (
        f"The network gives {quoted(first.name)} a probability of "
        f"{probability(first.probability)} (logit {digits(first.logit, 3)})"
    )
    if others:
        text += f"; {quoted(others[0].name)} comes second with {probability(others[0].probability)}"
    yield Sentence(f"{text}.", ("prediction",))
    target = evidence.target
    if target.label != first.label:
        yield Sentence(
            f"What is explained here is {quoted(target.name)}, at rank {target.rank} with a "
            f"probability of {probability(target.probability)} (logit {digits(target.logit, 3)}).",
            ("target",),
        )


def _layer(evidence: Evidence, layer: LayerEvidence) -> Iterator[Sentence]:
    own = [one for one in evidence.concepts if one.layer == layer.layer]
    yield Sentence(
        f"In {layer.layer}, {layer.chosen} of {layer.channels} channels hold "
        f"{percent(layer.coverage)} of the relevance (of the sum of its absolute values over the "
        "layer’s channels).",
        (layer.id,),
    )
    speaking = [one for one in own if one.direction == "for"][:LISTED]
    if speaking:
        shares = listed([f"{called(one)} with a share of {percent(one.share)}" for one in speaking])
        verb = "speaks" if len(speaking) == 1 else "speak"
        yield Sentence(
            f"For {quoted(evidence.target.name)} {verb} {shares}.",
            ("target", *(one.id for one in speaking)),
        )
    against = [one for one in own if one.direction == "against"][:LISTED]
    if against:
        shares = listed([f"{called(one)} with a share of {percent(one.share)}" for one in against])
        verb = "speaks" if len(against) == 1 else "speak"
        yield Sentence(f"Against it {verb} {shares}.", tuple(one.id for one in against))
    for one in own:
        if one.typical is False and one.usual is not None:
            yield Sentence(
                f"{called(one)} is not usual for this class: its usual share is "
                f"{'−' if one.usual < 0 else ''}{percent(one.usual)}.",
                (one.id, "target"),
            )
    yield from (_tried(evidence, one) for one in speaking[:TRIED])
    yield from _feeds(evidence, speaking[:TRIED])


def _tried(evidence: Evidence, one: Concept) -> Sentence:
    target, zero, blur = evidence.target, *(
        evidence.effect(one.id, kind) for kind in ("zero", "blur")
    )  # fmt: skip
    before, after = probability(target.probability), probability(zero.probability)
    return Sentence(
        f"With {called(one)} set to zero, the logit goes from {digits(target.logit, 3)} to "
        f"{digits(zero.logit, 3)} and the probability "
        f"{f'stays at {before}' if before == after else f'from {before} to {after}'}; with its "
        f"region blurred, the logit goes to {digits(blur.logit, 3)}.",
        ("target", one.id, f"effect:{one.id}"),
    )


def _feeds(evidence: Evidence, concepts: list[Concept]) -> Iterator[Sentence]:
    flows = {flow.concept: flow for flow in evidence.flow}
    for one in concepts:
        flow = flows.get(one.id)
        if flow and flow.feeds:
            feed = flow.feeds[0]
            name = f"{quoted(feed.name)} ({feed.address})" if feed.name else feed.address
            yield Sentence(
                f"In the flow, {percent(feed.share)} of what feeds {called(one)} passes through "
                f"{name}.",
                (one.id, flow.id),
            )


def _curve(curve: Curve) -> Sentence:
    courses: dict[str, Course] = {course.order: course for course in curve.courses}
    steps = len(courses["relevance"].logit) - 1
    areas = {order: digits(course.area_logit, 3) for order, course in courses.items()}
    return Sentence(
        f"Setting {steps} channels of {curve.layer} to zero one after another, the mean logit "
        f"is {areas['relevance']} by order of relevance, {areas['random']} in random orders "
        f"({courses['random'].draws} draws), {areas['activation']} by order of activation and "
        f"{areas['reverse']} in reverse order.",
        (curve.id,),
    )


def _caveats(evidence: Evidence) -> Iterator[Sentence]:
    for layer in evidence.layers:
        yield Sentence(
            f"Of the logit of {digits(evidence.target.logit, 3)}, {digits(layer.relevance, 3)} "
            f"arrives at {layer.layer}; the rest goes to biases and parallel branches.",
            ("target", layer.id),
        )
    for doubt in evidence.doubts:
        yield Sentence(doubt.text, (doubt.id,))


def _everyone(evidence: Evidence) -> Iterator[Sentence]:
    first, target = evidence.prediction[0], evidence.target
    name = quoted(first.name)
    if first.probability >= SURE:
        yield Sentence(
            f"The network takes this picture for {name}, and it is sure of that "
            f"({probability(first.probability)}).",
            ("prediction",),
        )
    else:
        sure = "it is not sure" if first.probability < UNSURE else "it has doubts"
        yield Sentence(
            f"The network takes this picture for {name}, but {sure} "
            f"({probability(first.probability)}).",
            ("prediction",),
        )
    if target.label != first.label:
        yield Sentence(f"Here we ask what speaks for {quoted(target.name)}.", ("target",))
    yield from _plainly(evidence)
    for doubt in evidence.doubts:
        if doubt.id in ("doubt:names", "doubt:target", "doubt:logit"):
            yield Sentence(doubt.text, (doubt.id,))


def _plainly(evidence: Evidence) -> Iterator[Sentence]:
    """Tell what the last layer says, which is nearest to the answer."""
    last = next((layer.layer for layer in reversed(evidence.layers) if layer.chosen), None)
    own = [one for one in evidence.concepts if one.layer == last]
    speaking = [one for one in own if one.direction == "for"][:LISTED]
    against = [one for one in own if one.direction == "against"][:LISTED]
    target = quoted(evidence.target.name)
    if speaking:
        best, *others = speaking
        where = "all over the picture" if best.region.where == "all over" else _at(best)
        yield Sentence(
            f"What speaks most for {target} is {_plain(best, own)}, {where}.", ("target", best.id)
        )
        if others:
            yield Sentence(
                f"{listed([_plain(one, own) for one in others])} "
                f"{'speaks' if len(others) == 1 else 'speak'} for {target} as well.",
                ("target", *(one.id for one in others)),
            )
    if against:
        yield Sentence(
            f"{listed([_plain(one, own) for one in against])} "
            f"{'speaks' if len(against) == 1 else 'speak'} against {target}.",
            ("target", *(one.id for one in against)),
        )
    for one in speaking[:1]:
        yield _without(evidence, one, own)
    for one in own:
        if one.typical is False:
            yield Sentence(f"{_plain(one, own)} is not usual for {target}.", (one.id, "target"))
    for context in evidence.context:
        if context.shows and context.text and any(one.id == context.concept for one in speaking):
            one = evidence.concept(context.concept)
            yield Sentence(
                f"A vision-language model describes {_plain(one, own)} here as "
                f"{quoted(context.text)}.",
                (one.id, context.id),
            )


def _without(evidence: Evidence, one: Concept, own: list[Concept]) -> Sentence:
    target, zero = evidence.target, evidence.effect(one.id, "zero")
    ids = ("target", one.id, f"effect:{one.id}")
    subject = f"Without {_plain(one, own)}, the network"
    before, after = probability(target.probability), probability(zero.probability)
    change = zero.probability - target.probability
    if abs(change) < NEGLIGIBLE or before == after:
        return Sentence(f"{subject} would hardly change its mind.", ids)
    verb = "fall" if change < 0 else "rise"
    text = (
        f"{subject}’s probability for {quoted(target.name)} would {verb} from {before} to {after}"
    )
    if zero.answer not in (target.label, evidence.prediction[0].label):
        text += f", and its answer would be {quoted(zero.answer_name)}"
    return Sentence(f"{text}.", ids)


def _plain(one: Concept, own: list[Concept]) -> str:
    """Return how everyone's text calls a concept: by its name, unless that is another's too."""
    if one.name is None:
        return one.address
    same = sum(other.name == one.name for other in own)
    return called(one) if same > 1 else quoted(one.name)


def _at(one: Concept) -> str:
    where = one.region.where
    return "in the centre" if where == "centre" else f"at the {where}"
