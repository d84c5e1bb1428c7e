"""Claims about how far an explanation can be trusted: its tests, its names, what it leaves out."""

from collections.abc import Iterator, Mapping, Sequence

from atlas.explain.claims import wording as w
from atlas.explain.claims.concepts import COVERED
from atlas.explain.claims.effects import decides, is_earlier
from atlas.explain.claims.wording import Speaker, claim, say
from atlas.plain import plain
from atlas.store.claims import AUDIENCES, Claim, Slot, Wording
from atlas.store.evidence import Concept, Course, Curve, Evidence, LayerEvidence, Order

FEW = 3
"""So many names are listed to experts; of more the table tells which they are."""

NAMED_WORDS = 4
"""So many words the names of those that decide may have, where names are counted."""

SEVERAL = 2
"""Names are not listed where there are more reasons than this to doubt some."""

LEAKED, MUCH_LEAKED = 0.02, 0.5
"""What part of the logit a layer may lose or gain without a word, and without a caveat."""


def tests(evidence: Evidence, last: Sequence[Concept]) -> Iterator[Claim]:
    """Yield what speaks for trusting the explanation and against it."""
    curves = [curve for curve in evidence.curves if curve.kind == "zero"]
    for curve in curves:
        yield _test(evidence, curve, [one for one in curves if one is not curve and not _kept(one)])
    yield from _listed(evidence)
    for layer in evidence.layers:
        yield from _covered(layer, last)
        ends = bool(last) and last[0].layer == layer.layer
        yield from _held(layer, ends=ends) if layer.of else _conserved(evidence, layer)
    yield from _names(evidence, last)


def _kept(curve: Curve) -> bool:
    """Return whether falling relevance did better than chance, as far as can be written."""
    area = {course.order: course.area_logit for course in curve.courses}
    lower = area["relevance"] < area["random"]
    return lower and w.digits(area["relevance"], 3) != w.digits(area["random"], 3)


def _test(evidence: Evidence, curve: Curve, failed: Sequence[Curve]) -> Claim:
    """Return how falling relevance did against other orders; for everyone, also where it failed."""
    courses: dict[Order, Course] = {course.order: course for course in curve.courses}
    target = w.a_class("class", evidence.target.name, "target name")
    area = {
        order: w.logit(order, course.area_logit, f"{curve.id} {order}.area_logit")
        for order, course in courses.items()
    }
    own, strong = area["relevance"].text, area["activation"].text
    means = {order: courses[order].area_logit for order in courses}
    kept = _kept(curve)
    layer = evidence.layer(curve.layer)
    last = layer is evidence.layers[-1]
    by_activation = (
        "lower still" if means["activation"] < means["relevance"] and own != strong
        else "as low" if means["activation"] <= means["relevance"]
        else "no lower than by relevance"
    )  # fmt: skip
    steps = len(courses["relevance"].logit) - 1
    parts, turn = (layer.parts[:-1], "") if steps == 1 else (layer.parts, " one after another")
    text = (
        f"With {{steps}} {parts} of {{layer}} set to zero{turn}, the mean logit is "
        f"{{relevance}} by falling relevance, {'lower' if kept else 'no lower'} than in random "
        f"orders ({{random}}, {{draws}} draws); by activation it is {by_activation} "
        "({activation})."
    )
    slots = [
        w.count("steps", steps, f"{curve.id} steps"),
        w.layer("layer", curve.layer),
        w.count("draws", courses["random"].draws, f"{curve.id} random.draws"),
        *(area[order] for order in ("relevance", "random", "activation")),
    ]
    fell = means["relevance"] < courses["relevance"].logit[0]
    others = [one.id for one in failed] if kept and last else []
    moved = ("fell more than" if fell else "rose less than") if kept else "fell no more than"
    everyone = say(
        "As a test, parts were switched off one by one: in order of weight, the score for {class} "
        f"{moved} in random order{', but not everywhere' if others else ''}.",
        target,
    )  # fmt: skip
    return claim(
        "kept" if kept else "failed", curve.layer, ["target", curve.id, *others],
        (0.5 if last else 0.2) if kept else 0.9, everyone if last else None, say(text, *slots),
        ("expert",) if last and kept else () if kept else AUDIENCES, caveat=not kept,
    )  # fmt: skip


def _listed(evidence: Evidence) -> Iterator[Claim]:
    """Yield that what is not listed may decide too; nobody looked."""
    layers = [one for one in evidence.layers if one.chosen < one.channels]
    if not layers or not any(decides(evidence, one) for one in evidence.concepts):
        return
    yield claim(
        "listed", "", [*(one.id for one in layers), *(one.id for one in evidence.concepts)], 0.7,
        say("Parts not listed may decide too."),
        say("Set to zero one by one were the {all} concepts listed; others may decide too.",
            w.count("all", len(evidence.concepts), "concepts all"))
        if len(evidence.concepts) > 1
        else say("Set to zero was the one concept listed; others may decide too."),
        ("expert",),
    )  # fmt: skip


def _covered(layer: LayerEvidence, last: Sequence[Concept]) -> Iterator[Claim]:
    if layer.chosen and layer.coverage < COVERED:
        ends = bool(last) and last[0].layer == layer.layer
        yield claim(
            "coverage", layer.layer, [layer.id], 0.7 if ends else 0.2,
            say("Parts that are not listed carry most of the weight.") if ends else None,
            say(f"Most of the relevance of {{layer}} is in {layer.parts} that are not listed: its "
                "concepts hold {coverage}.", w.layer("layer", layer.layer),
                w.share("coverage", layer.coverage, f"{layer.id} coverage"),
                joined=None if layer.of
                else "so is most of that of {layer}, whose concepts hold {coverage}")
            if not ends else None,
            ("everyone",) if ends else (), caveat=True,
        )  # fmt: skip


def _held(layer: LayerEvidence, *, ends: bool) -> Iterator[Claim]:
    """Yield what the factors of a layer leave out: of its relevance, and of the answers."""
    name = w.layer("layer", layer.layer)
    if layer.residual:
        much = layer.residual > MUCH_LEAKED
        yield claim(
            "residual", layer.layer, [layer.id], 0.75 if much else 0.4,
            say("All such mixtures together hold less than half of the weight.")
            if much and ends else None,
            say("Of the |relevance| of {host}, {residual} is not held by any factor of {layer}.",
                name, Slot("host", "layer", plain(layer.host), f"{layer.id} of"),
                w.share("residual", layer.residual, f"{layer.id} residual")),
            AUDIENCES if much else (), caveat=much,
        )  # fmt: skip
    if layer.same_answer is not None and layer.tested:
        yield claim(
            "complete", layer.layer, [layer.id], 0.32, None,
            say("From the factors of {layer} alone, the network gives the same answer in {same} of "
                "{tested} pictures of the data.", name,
                w.share("same", layer.same_answer, f"{layer.id} same_answer"),
                w.count("tested", layer.tested, f"{layer.id} tested")),
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
    found = {kind: own for kind, own in kinds.items() if own}
    spoken = {
        kind: [one for one in own if one in last or decides(evidence, one)]
        for kind, own in found.items()
    }
    several = sum(map(bool, spoken.values())) > 1
    for kind, own in found.items():
        yield claim(
            kind, "", [one.id for one in own], 0.6,
            _to_everyone(evidence, kind, own, spoken[kind], last)
            if spoken[kind] and not several else None,
            _to_experts(evidence, kind, own),
            AUDIENCES, caveat=True,
        )  # fmt: skip
    if several:
        yield _together(evidence, found, last)


def _together(
    evidence: Evidence, found: Mapping[str, Sequence[Concept]], last: Sequence[Concept]
) -> Claim:
    """Return how many names there are to doubt, by the reason; the card of each says which."""
    slots = [w.count("all", *_of(evidence, "named"))]
    said = {}
    for kind, own in found.items():
        which, names = _which(evidence, kind, own, last) if len(found) <= SEVERAL else ("", [])
        said[kind] = f"{{{kind}}}{which} {_PLAIN_VERBS[kind][len(own) > 1]}"
        slots += [w.count(kind, len(own), f"concepts {kind}"), *names]
    missing = said.pop("unnamed", None)
    text = f"Of the {{all}} names here, {w.listed([*said.values()])}"
    if missing:
        parts = "concepts" if len(found["unnamed"]) > 1 else "concept"
        text += missing.replace("{unnamed}", f"; {{unnamed}} {parts}")
    ids = [one.id for own in found.values() for one in own]
    return claim("names", "", ids, 0.6, say(f"{text}.", *slots), None, ("everyone",), caveat=True)


def _which(
    evidence: Evidence, kind: str, own: Sequence[Concept], last: Sequence[Concept]
) -> tuple[str, list[Slot]]:
    """Return in brackets the names of those that the text says to decide, if they are short."""
    speaker = Speaker(evidence, "everyone")
    spoken = [one for one in own if one in last and one.name and decides(evidence, one)]
    slots = [speaker.concept(f"{kind}name{n}", one) for n, one in enumerate(spoken, 1)]
    if not slots or sum(len(slot.text.split()) for slot in slots) > NAMED_WORDS:
        return "", []
    names = w.listed([f"{{{slot.key}}}" for slot in slots])
    return f" ({names}{'' if len(spoken) == len(own) else ' among them'})", slots


_VERBS = {
    "unnamed": ("has no name yet", "have no names yet"),
    "untested": ("was never tested", "were never tested"),
    "doubtful": ("did poorly when tested", "did poorly when tested"),
    "sided": (
        "fits what the network uses, not what sets it off",
        "fit what the network uses, not what sets them off",
    ),
}
"""What is said of one name, and of several."""

_PLAIN_VERBS = {**_VERBS, "sided": ("fits only in part", "fit only in part")}
"""The same for everyone: what is used and what sets off is for those who look at the card."""


def _to_everyone(
    evidence: Evidence,
    kind: str,
    own: Sequence[Concept],
    spoken: Sequence[Concept],
    last: Sequence[Concept],
) -> Wording:
    """Return which names of what a reader meets are meant; `(at some places)` if others share one.

    Where they are many, how many: the card of each concept says the rest.
    """
    verb = _PLAIN_VERBS[kind]
    if len({one.name or one.address for one in spoken}) > FEW:
        what = "concepts" if kind == "unnamed" else "names"
        which, named = _which(evidence, kind, own, last)
        return say(
            f"Of the {{all}} {what} here, {{count}}{which} {verb[len(own) > 1]}.",
            w.count("count", len(own), f"concepts {kind}"),
            w.count("all", *_of(evidence, kind)),
            *named,
        )
    slots: list[Slot] = []
    parts: list[list[str]] = [[], []]
    for one in sorted(spoken, key=lambda one: is_earlier(evidence, one, last)):
        here = not is_earlier(evidence, one, last)
        name = w.quoted(one.name) if one.name else one.address
        if any(slot.text == name for slot in slots[0 if here else len(parts[0]) :]):
            continue
        slots.append(Slot(f"concept{len(slots) + 1}", "concept", name, f"{one.id} name"))
        better = (
            c for c in evidence.concepts
            if is_earlier(evidence, c, last) != here and c not in own
        )  # fmt: skip
        partly = " (at some places)" if one.name and any(c.name == one.name for c in better) else ""
        parts[not here].append(f"{{{slots[-1].key}}}{partly}")
    at_end, earlier = (w.listed(part) if part else "" for part in parts)
    several = len(slots) > 1
    if kind == "unnamed":
        subject = w.listed([*parts[0], *parts[1]])
    elif at_end:
        subject = f"The {'names' if several else 'name'} {at_end}"
        subject += f" and, earlier, {earlier}" if earlier else ""
    else:
        subject = f"The earlier {'names' if several else 'name'} {earlier}"
    return say(f"{subject} {verb[several]}.", *slots)


def _to_experts(evidence: Evidence, kind: str, own: Sequence[Concept]) -> Wording:
    """Return which concepts are meant, or how many where there are many."""
    verb = _VERBS[kind][len(own) > 1]
    if len(own) > FEW:
        subject = "Of {all} concepts, {count}" if kind == "unnamed" else (
            "Of the names of {all} concepts, {count}"
        )  # fmt: skip
        return say(
            f"{subject} {verb} (see the table).",
            w.count("count", len(own), f"concepts {kind}"),
            w.count("all", *_of(evidence, kind)),
        )
    speaker = Speaker(evidence, "expert")
    names, slots = w.listing(speaker, own)
    the = "" if kind == "unnamed" else "The names " if len(own) > 1 else "The name "
    return say(f"{the}{names} {verb}.", *slots)


def _of(evidence: Evidence, kind: str) -> tuple[int, str]:
    """Return how many could be of a kind, and where that stands: of names only what has one."""
    if kind == "unnamed":
        return len(evidence.concepts), "concepts all"
    return sum(bool(one.name) for one in evidence.concepts), "concepts named"
