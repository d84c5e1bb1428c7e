"""Claims about how far an explanation can be trusted: its tests, its names, what it leaves out."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from atlas.explain.claims import wording as w
from atlas.explain.claims.effects import decides
from atlas.explain.claims.wording import Speaker, claim, say
from atlas.store.claims import AUDIENCES, Audience, Claim, Wording
from atlas.store.evidence import Concept, Course, Curve, Evidence, LayerEvidence, Order

COVERED = 0.4
"""A layer whose concepts hold less of its |relevance| says little."""

LEAKED, MUCH_LEAKED = 0.02, 0.5
"""What part of the logit a layer may lose or gain without a word, and without a caveat."""


def tests(evidence: Evidence, last: Sequence[Concept]) -> Iterator[Claim]:
    """Yield what speaks for trusting the explanation and against it."""
    for curve in evidence.curves:
        if curve.kind == "zero":
            yield _test(evidence, curve)
    for layer in evidence.layers:
        yield from _covered(layer, last)
        yield from _conserved(evidence, layer)
    yield from _names(evidence, last)


def _test(evidence: Evidence, curve: Curve) -> Claim:
    courses: dict[Order, Course] = {course.order: course for course in curve.courses}
    target = w.a_class("class", evidence.target.name, "target name")
    area = {
        order: w.logit(order, course.area_logit, f"{curve.id} {order}.area_logit")
        for order, course in courses.items()
    }
    own, chance, strong = (area[order].text for order in ("relevance", "random", "activation"))
    means = {order: courses[order].area_logit for order in courses}
    kept = means["relevance"] < means["random"] and own != chance
    last = curve.layer == evidence.layers[-1].layer
    by_activation = (
        "lower still" if means["activation"] < means["relevance"] and own != strong
        else "no lower" if means["activation"] > means["relevance"] or own != strong
        else "as low"
    )  # fmt: skip
    text = (
        "With {steps} channels of {layer} set to zero one after another, the mean logit is "
        f"{{relevance}} by falling relevance, {'lower' if kept else 'no lower'} than in random "
        f"orders ({{random}}, {{draws}} draws); by activation it is {by_activation} "
        "({activation})."
    )
    slots = [
        w.count("steps", len(courses["relevance"].logit) - 1, f"{curve.id} steps"),
        w.layer("layer", curve.layer),
        w.count("draws", courses["random"].draws, f"{curve.id} random.draws"),
        *(area[order] for order in ("relevance", "random", "activation")),
    ]
    more = "more than" if kept else "no more than"
    everyone = say(
        "As a test, parts were switched off one after another: by falling weight, the network’s "
        f"score for {{class}} fell {more} by chance.", target
    )  # fmt: skip
    return claim(
        "kept" if kept else "failed", curve.layer, ["target", curve.id],
        (0.5 if last else 0.2) if kept else 0.9, everyone if last else None, say(text, *slots),
        ("expert",) if last and kept else () if kept else AUDIENCES, caveat=not kept,
    )  # fmt: skip


def _covered(layer: LayerEvidence, last: Sequence[Concept]) -> Iterator[Claim]:
    if layer.chosen and layer.coverage < COVERED:
        ends = bool(last) and last[0].layer == layer.layer
        yield claim(
            "coverage", layer.layer, [layer.id], 0.7,
            say("The concepts listed carry less than half of all that weighs.") if ends else None,
            say("Most of the relevance of {layer} is in channels that are not listed: its concepts "
                "hold {coverage}.", w.layer("layer", layer.layer),
                w.share("coverage", layer.coverage, f"{layer.id} coverage"),
                joined="so is that of {layer} ({coverage})"),
            AUDIENCES if ends else (), caveat=True,
        )  # fmt: skip


def _conserved(evidence: Evidence, layer: LayerEvidence) -> Iterator[Claim]:
    gap = abs(layer.conserved - 1)
    if gap <= LEAKED or not layer.chosen:
        return
    much = gap > MUCH_LEAKED
    last = layer.id == evidence.layers[-1].id
    yield claim(
        "conservation", layer.layer, ["target", layer.id], 0.75 if much else 0.1,
        say("The weights found here and the network’s score for {class} differ much, so they "
            "explain it in part.", w.a_class("class", evidence.target.name, "target name"))
        if much and last else None,
        say("Of the logit of {logit}, {relevance} arrives at {layer}.",
            w.logit("logit", evidence.target.logit, "target logit"),
            w.logit("relevance", layer.relevance, f"{layer.id} relevance"),
            w.layer("layer", layer.layer), joined="{relevance} at {layer}"),
        AUDIENCES if much else (), caveat=much,
    )  # fmt: skip


def _names(evidence: Evidence, last: Sequence[Concept]) -> Iterator[Claim]:
    """Yield which names are missing or never tested, and which did poorly or fit one side alone."""
    if not evidence.named:
        return
    named = [one for one in evidence.concepts if one.name]
    kinds = {
        "unnamed": [one for one in evidence.concepts if not one.name],
        "untested": [one for one in named if one.state in (None, "untested")],
        "doubtful": [one for one in named if one.state == "not told from chance"],
        "sided": [one for one in named if one.state == "one-sided"],
    }
    spoken = [one for one in evidence.concepts if one in last or decides(evidence, one)]
    for kind, own in kinds.items():
        groups: dict[Audience, list[Concept]] = {
            "everyone": [one for one in own if one in spoken], "expert": own,
        }  # fmt: skip
        wordings = {
            audience: _of_names(evidence, kind, audience, group)
            for audience, group in groups.items()
            if group
        }
        if wordings:
            ids = [one.id for one in own]
            yield claim(
                kind, "", ids, 0.6, wordings.get("everyone"), wordings.get("expert"), AUDIENCES,
                caveat=True,
            )  # fmt: skip


def _of_names(evidence: Evidence, kind: str, audience: Audience, own: Sequence[Concept]) -> Wording:
    slots = [Speaker(evidence, "expert").concept("", one) for one in own]
    if audience == "everyone":  # by the name alone where that says which are meant
        others = {one.name for one in evidence.concepts if one not in own}
        slots = [
            replace(slot, text=w.quoted(one.name)) if one.name and one.name not in others else slot
            for slot, one in zip(slots, own, strict=True)
        ]
    unique = {slot.text: slot for slot in reversed(slots)}
    kept = list(reversed(unique.values()))
    slots = [replace(slot, key=f"concept{n}") for n, slot in enumerate(kept, 1)]
    names = w.listed([f"{{{slot.key}}}" for slot in slots])
    several = len(slots) > 1
    texts = {
        "unnamed": f"Nobody has named {names} yet.",
        "untested": f"The {'names' if several else 'name'} {names} {'were' if several else 'was'} "
        "never tested.",
        "doubtful": f"The {'names' if several else 'name'} {names} did poorly when tested.",
        "sided": f"The {'names' if several else 'name'} {names} "
        f"{'fit' if several else 'fits'} what the network uses, not what sets it off.",
    }
    return say(texts[kind], *slots)
