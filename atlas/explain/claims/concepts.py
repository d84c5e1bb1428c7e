"""Claims about single concepts: their weight, whether it is usual, where they are."""

from collections.abc import Iterator, Mapping, Sequence

from atlas.explain.claims import wording as w
from atlas.explain.claims.effects import decides
from atlas.explain.claims.wording import Speaker, claim, say
from atlas.plain import plain
from atlas.store.claims import AUDIENCES, Audience, Claim, Slot, Wording
from atlas.store.evidence import Concept, Context, Evidence, LayerEvidence

LISTED = 4
"""Concepts whose share one sentence gives; the table has all."""

NAMED = 3
"""So many that a model does not see are named; of more it is said how many."""

REST = 0.01
"""A smaller part of the weight is not worth a word."""

COVERED = 0.4
"""A layer whose concepts hold less of its |relevance| says little."""


def concepts(evidence: Evidence, last: Sequence[Concept]) -> Iterator[Claim]:
    """Yield what can be said of concepts, most of it of those of the `last` layer."""
    if silent := [one for one in reversed(evidence.layers) if not one.chosen]:
        yield _silent(evidence, silent)
    for layer in reversed(evidence.layers):
        own = evidence.of_layer(layer.layer)
        ends = own == [*last]
        if speaking := [one for one in own if one.direction == "for"]:
            yield _carries(evidence, layer, speaking, ends=ends)
        if against := [one for one in own if one.direction == "against"]:
            yield _against(evidence, layer, against, ends=ends)
    yield from _typical(evidence, last)
    for one in last:
        yield from _odd(evidence, one)
        yield from _place(evidence, one)
    yield from _flow(evidence, last)
    yield from _context(evidence, last)


def _target(evidence: Evidence) -> Slot:
    return w.a_class("class", evidence.target.name, "target name")


def _silent(evidence: Evidence, layers: Sequence[LayerEvidence]) -> Claim:
    """Return that a class has no relevance in some layers."""
    last = layers[0].id == evidence.layers[-1].id
    slots = [w.layer(f"layer{n}", layer.layer) for n, layer in enumerate(layers, 1)]
    listed = w.listed([f"{{{slot.key}}}" for slot in slots])
    return claim(
        "silent", "", ["target", *(layer.id for layer in layers)], 0.9,
        say("At the last step examined, nothing weighs for {class} or against it.",
            _target(evidence)) if last else None,
        say(f"No relevance for {{class}} comes to {listed}: nothing there speaks for it or "
            "against it.", *slots, _target(evidence)),
        AUDIENCES if last else ("expert",), caveat=True,
    )  # fmt: skip


def _carries(
    evidence: Evidence, layer: LayerEvidence, own: Sequence[Concept], *, ends: bool
) -> Claim:
    wordings: dict[Audience, Wording] = {}
    rest = max(1 - sum(one.share for one in own[:LISTED]), 0.0)
    for audience in AUDIENCES:
        listed = own[:LISTED]
        speaker = Speaker(evidence, audience)
        target, named = speaker.target()
        parts: list[str] = []
        slots: list[Slot] = []
        for n, one in enumerate(listed, 1):
            carries = " carries" if n == 1 and audience == "everyone" else ""
            parts.append(f"{{concept{n}}}{carries} {{share{n}}}")
            slots += [
                speaker.concept(f"concept{n}", one),
                w.share(f"share{n}", one.share, f"{one.id} share"),
            ]
        left = w.share("rest", rest, " − ".join(["1", *(f"{one.id} share" for one in listed)]))
        if audience == "expert":
            verb = "speak" if len(parts) > 1 else "speaks"
            held = "hold" if layer.chosen > 1 else "holds"
            text = (
                f"In {{layer}}, {{chosen}} of {{channels}} {layer.parts} {held} {{coverage}} of Σ "
                f"|relevance|; for {target} {verb} {w.listed(parts)}."
            )
            slots += [
                w.layer("layer", layer.layer),
                w.count("chosen", layer.chosen, f"{layer.id} chosen"),
                w.count("channels", layer.channels, f"{layer.id} channels"),
                w.share("coverage", layer.coverage, f"{layer.id} coverage"),
            ]
            wordings[audience] = say(text, *slots, *named)
        elif ends:
            unheld = layer.residual  # of factors, whose shares are of what all of them hold
            held, others = ("", "elsewhere") if unheld is None else (
                " that mixtures of parts hold", "in other mixtures")  # fmt: skip
            text = f"Of the weight for and against {target}{held}, {w.listed(parts)}"
            if REST < rest < 1 and layer.coverage >= COVERED:  # of less, another claim tells
                text += f"; the remaining {{rest}} lies {others}"
            if (unheld or 0.0) > REST:
                text += "; {residual} of all weight lies in none"
                slots.append(w.share("residual", unheld or 0.0, f"{layer.id} residual"))
            text += "."
            wordings[audience] = say(text, *slots, *named, left)
    # Where concepts decide, what each of them does says more to everyone than its weight.
    weighed = ends and not any(decides(evidence, one) for one in evidence.concepts)
    return claim(
        "carries", layer.layer, ["target", layer.id, *(one.id for one in own)],
        0.9 if ends else 0.1, wordings.get("everyone"), wordings["expert"],
        AUDIENCES if weighed else ("expert",) if ends else (),
    )  # fmt: skip


def _against(
    evidence: Evidence, layer: LayerEvidence, own: Sequence[Concept], *, ends: bool
) -> Claim:
    verb = "speaks" if len(own) == 1 else "speak"
    names, slots = w.listing(Speaker(evidence, "everyone"), own)
    expert = Speaker(evidence, "expert")
    parts, shares = [], [w.layer("layer", layer.layer), _target(evidence)]
    for n, one in enumerate(own, 1):
        parts.append(f"{{concept{n}}} ({{share{n}}})")
        shares += [
            expert.concept(f"concept{n}", one),
            w.share(f"share{n}", one.share, f"{one.id} share"),
        ]
    return claim(
        "against", layer.layer, ["target", *(one.id for one in own)],
        min(0.4 + sum(abs(one.share) for one in own), 0.7) if ends else 0.15,
        say(f"{names} {verb} against {{class}}.", *slots, _target(evidence)) if ends else None,
        say(f"In {{layer}}, against {{class}} {verb} {w.listed(parts)}.", *shares),
    )  # fmt: skip


def _typical(evidence: Evidence, last: Sequence[Concept]) -> Iterator[Claim]:
    own = [one for one in last if one.typical and one.direction == "for"]
    if not own:
        return
    verb = "speaks" if len(own) == 1 else "speak"
    own = own[:LISTED]
    everyone, slots = w.listing(Speaker(evidence, "everyone"), own)
    expert = Speaker(evidence, "expert")
    parts, usual = [], [_target(evidence)]
    for n, one in enumerate(own, 1):
        parts.append(f"{{concept{n}}} ({{usual{n}}})")
        usual += [
            expert.concept(f"concept{n}", one),
            w.share(f"usual{n}", one.usual or 0.0, f"{one.id} usual"),
        ]
    yield claim(
        "typical", "", ["target", *(one.id for one in own)], 0.2,
        say(f"In other pictures, {everyone} usually {verb} for {{class}} too.", *slots,
            _target(evidence)),
        say(f"Usual for {{class}}, by mean share: {w.listed(parts)}.", *usual),
    )  # fmt: skip


def _odd(evidence: Evidence, one: Concept) -> Iterator[Claim]:
    if one.typical is not False or one.usual is None:
        return
    usual = w.share("usual", one.usual, f"{one.id} usual")
    here = w.share("share", one.share, f"{one.id} share")
    wordings = []
    for audience in AUDIENCES:
        slots = (Speaker(evidence, audience).concept("concept", one), usual, here)
        if one.usual * one.share < 0:
            side, other = ("for", "against") if one.share > 0 else ("against", "for")
            text = (
                f"{{concept}} speaks {side} {{class}} here ({{share}}), though it usually speaks "
                f"{other} it ({{usual}})."
            )
        else:
            text = (
                "{concept} carries more than usual here: {share} of what weighs on {class}, where "
                "its mean over pictures of that class is {usual}."
            )
        wordings.append(say(text, *slots, _target(evidence)))
    everyone, expert = wordings
    yield claim("odd", one.id, ["target", one.id], 0.65, everyone, expert, caveat=True)


def _place(evidence: Evidence, one: Concept) -> Iterator[Claim]:
    where = one.region.where
    if where == "all over":
        return
    place = Slot("place", "place", "in the centre" if where == "centre" else f"at the {where}",
                   f"{one.id} region.where")  # fmt: skip
    area = w.share("area", one.region.area, f"{one.id} region.area")
    yield claim(
        "place", one.id, [one.id], 0.1,
        say("{concept} counts most {place} of the picture.",
            Speaker(evidence, "everyone").concept("concept", one), place),
        say("Half of the heat map of {concept} lies {place}, in {area} of the picture.",
            Speaker(evidence, "expert").concept("concept", one), place, area),
    )  # fmt: skip


def _flow(evidence: Evidence, last: Sequence[Concept]) -> Iterator[Claim]:
    known = {one.id: one for one in last}
    for flow in evidence.flow:
        feeds = [feed for feed in flow.feeds if feed.share > 0]
        if flow.concept not in known or not feeds:
            continue
        speaker = Speaker(evidence, "expert")
        one = known[flow.concept]
        parts, slots = [], [speaker.concept("concept", one)]
        for n, feed in enumerate(feeds, 1):
            parts.append(f"{{feed{n}}} ({{share{n}}})")
            source = f"{flow.id} {feed.address}"
            slots += [
                speaker.concept(f"feed{n}", feed),
                w.share(f"share{n}", feed.share, f"{source}.share"),
            ]
        yield claim(
            "flow", one.id, [one.id, flow.id], 0.25 * abs(one.share), None,
            say(f"The relevance of {{concept}} comes down mostly through {w.listed(parts)}."
                if sum(feed.share for feed in feeds) > 0.5
                else f"The relevance of {{concept}} comes down through {w.listed(parts)}, among "
                "others.", *slots),
        )  # fmt: skip


def _context(evidence: Evidence, last: Sequence[Concept]) -> Iterator[Claim]:
    known = {one.id: one for one in last}
    own = [said for said in evidence.context if said.concept in known]
    for said in own:
        if said.shows:
            yield _seen(evidence, said, known[said.concept])
    unseen = [said for said in own if said.shows is False]
    for by in dict.fromkeys(said.by for said in unseen):
        yield _unseen(evidence, [said for said in unseen if said.by == by], known)


def _seen(evidence: Evidence, said: Context, one: Concept) -> Claim:
    model = Slot("model", "model", plain(said.by), f"{said.id} by")
    quote = Slot("quote", "quote", w.quotation(said.text), f"{said.id} text")
    text = (
        "The model {model} describes {concept} here as {quote}." if said.text
        else "The model {model} sees {concept} where it counts."
    )  # fmt: skip
    everyone, expert = (
        say(text, Speaker(evidence, audience).concept("concept", one), model, quote)
        for audience in AUDIENCES
    )
    return claim("seen", one.id, [one.id, said.id], 0.3, everyone, expert)


def _unseen(evidence: Evidence, own: Sequence[Context], known: Mapping[str, Concept]) -> Claim:
    """Return what a model does not see: which concepts, or of many how many."""
    model = Slot("model", "model", plain(own[0].by), f"{own[0].id} by")
    concepts_ = [known[said.concept] for said in own]
    wordings = []
    for audience in AUDIENCES:
        names, slots = w.listing(Speaker(evidence, audience), concepts_)
        count = w.count("count", len(own), f"context {own[0].by}")
        of = w.count("all", len(known), f"layer:{concepts_[0].layer} chosen")
        names = names.replace(" and ", " or ") if len(own) <= NAMED else "{count} of {all} concepts"
        where = "it counts" if len(own) == 1 else "they count"
        text = f"The model {{model}} does not see {names} where {where}."
        wordings.append(say(text, model, count, of, *slots))
    everyone, expert = wordings
    ids = [id_ for said in own for id_ in (said.concept, said.id)]
    return claim("unseen", own[0].concept, ids, 0.8, everyone, expert, AUDIENCES, caveat=True)
