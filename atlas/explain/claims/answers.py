"""Claims about the network's answer, the class that is explained, and why not another."""

from collections.abc import Iterator

from atlas.explain.claims import wording as w
from atlas.explain.claims.wording import Speaker, claim, say
from atlas.store.claims import AUDIENCES, Claim
from atlas.store.evidence import Contrast, Difference, Evidence, Guess

HALF = 0.5
"""An answer with a lower probability is said to have less than one half, if that can be seen."""


def answers(evidence: Evidence) -> Iterator[Claim]:
    """Yield what can be said of the answer."""
    yield from _answer(evidence)
    yield from _asked(evidence)
    yield _words(evidence)
    yield from _method(evidence)
    if evidence.contrast is not None:
        yield from _contrast(evidence, evidence.contrast)


def _answer(evidence: Evidence) -> Iterator[Claim]:
    first, *others = evidence.prediction
    if evidence.undecided:
        yield from _undecided(evidence, first)
        return
    name = w.a_class("class", first.name, "prediction.1 name")
    chance = w.chance("probability", first.probability, "prediction.1 probability")
    logit = w.logit("logit", first.logit, "prediction.1 logit")
    yield claim(
        "answer", "", ["prediction"], 1.0,
        say("The network takes this picture for {class} (probability {probability}).",
            name, chance),
        say("The network gives {class} a probability of {probability} (logit {logit}).",
            name, chance, logit),
        AUDIENCES,
    )  # fmt: skip
    if (truth := evidence.truth) is not None and truth.label != first.label:
        yield _wrong(truth, "so the answer is wrong")
    if others:
        name = w.a_class("class", others[0].name, "prediction.2 name")
        tied = w.count("tied", others[0].tied, "prediction.2 tied")
        chance = w.chance("probability", others[0].probability, "prediction.2 probability")
        text = say("Second comes {class} with {probability}." if others[0].tied == 1 else
                   "Second come {tied} classes alike, with {probability} each.",
                   name, tied, chance)  # fmt: skip
        yield claim("second", "", ["prediction"], 0.6, text, text)
    if first.probability < HALF and w.probability(first.probability) != w.probability(HALF):
        text = say("Even the network’s best answer has a probability below one half.")
        yield claim(
            "unsure", "", ["prediction"], 0.9,
            text, text,
            AUDIENCES, caveat=True,
        )  # fmt: skip


def _undecided(evidence: Evidence, first: Guess) -> Iterator[Claim]:
    """Yield that several classes tie, so that none is the answer and none is second."""
    tied = w.count("tied", first.tied, "prediction.1 tied")
    chance = w.chance("probability", first.probability, "prediction.1 probability")
    logit = w.logit("logit", first.logit, "prediction.1 logit")
    yield claim(
        "answer", "", ["prediction"], 1.0,
        say("The network cannot decide between {tied} classes for this picture (probability "
            "{probability} each).", tied, chance),
        say("The network gives {tied} classes the same highest probability, {probability} each "
            "(logit {logit}), so none of them is its answer.", tied, chance, logit),
        AUDIENCES, caveat=True,
    )  # fmt: skip
    if (truth := evidence.truth) is not None and truth.rank > 1:
        yield _wrong(truth, "which is none of those that tie")


def _wrong(truth: Guess, so: str) -> Claim:
    """Return that the picture's label is another class, and what follows."""
    right = w.a_class("truth", truth.name, "truth name")
    rank = w.count("rank", truth.rank, "truth rank")
    chance = w.chance("probability", truth.probability, "truth probability")
    return claim(
        "wrong", "", ["truth", "prediction"], 1.0,
        say(f"By its label the picture shows {{truth}}, {so}.", right),
        say(f"By its label the picture shows {{truth}} (rank {{rank}}, {{probability}}), {so}.",
            right, rank, chance),
        AUDIENCES, caveat=True,
    )  # fmt: skip


def _asked(evidence: Evidence) -> Iterator[Claim]:
    target, first = evidence.target, evidence.prediction[0]
    name = w.a_class("class", target.name, "target name")
    best = w.a_class("best", first.name, "prediction.1 name")
    place = w.count("rank", target.rank, "target rank")
    chance = w.chance("probability", target.probability, "target probability")
    logit = w.logit("logit", target.logit, "target logit")
    if evidence.undecided and target.rank == 1:
        text = say("Explained here is one of those that tie, {class}.", name)
        yield claim("asked", "", ["target", "prediction"], 1.0, text, text, AUDIENCES, caveat=True)
    elif target.label != first.label:
        expert = "Explained here is {class}, not the answer {best}: rank {rank}, probability "
        if evidence.undecided:
            expert = "Explained here is {class}, none of those that tie: rank {rank}, probability "
        yield claim(
            "asked", "", ["target", "prediction"], 1.0,
            say("Explained here is another class: {class}, in place {rank} with {probability}.",
                name, place, chance),
            say(f"{expert}{{probability}}, logit {{logit}}.", name, best, place, chance, logit),
            AUDIENCES, caveat=True,
        )  # fmt: skip
    if target.logit <= 0:
        yield claim(
            "sign", "", ["target"], 0.9,
            say("The network’s score for {class} is not positive, so what weighs for it and "
                "against it has no firm meaning.", name),
            say("The logit of {class} is not positive ({logit}): shares for it and against it "
                "have no firm meaning.", name, logit),
            AUDIENCES, caveat=True,
        )  # fmt: skip


def _words(evidence: Evidence) -> Claim:
    """Return what a reader has to know before anything else means something."""
    names = ["target"]
    mixed = any(layer.of for layer in evidence.layers)
    if evidence.named:
        return claim(
            "words", "", names, 1.0,
            say("Concepts are what the network’s parts, or mixtures of parts, respond to; "
                "“without” one, it is off.") if mixed else
            say("Concepts are what the network’s parts respond to; “without” one, that part is "
                "off."),
            None, AUDIENCES,
        )  # fmt: skip
    return claim(
        "words", "", names, 1.0,
        say("The network’s parts have no names here, so addresses stand for them; “without” one, "
            "it is off."),
        say("This atlas has no names: addresses stand for concepts."),
        AUDIENCES, caveat=True,
    )  # fmt: skip


_METHOD = {
    "probability": (
        "A probability tells how sure the network is, not how often it is right.",
        "A probability tells how sure the network is, not how often it is right.",
    ),
    "below": (
        "The page of this explanation shows each concept with other pictures that it responds to, "
        "and says what happens without it.",
        "The table has every concept with its share, with what it does to the logit and to the "
        "answer when it is set to zero, and with how its name did in tests.",
    ),
    "shares": (
        None,
        "A share is relevance as a part of its layer’s Σ |relevance|, with its sign: for or "
        "against {class}.",
    ),
    "zero": (
        None,
        "What is set to zero is the output of a channel at every position, while the rest of the "
        "network stays as it is.",
    ),
    "maps": (
        None,
        "A heat map is the relevance of the picture’s pixels for {class}, as far as it comes "
        "through one channel.",
    ),
    "factors": (
        None,
        "A factor is a direction of a layer’s output, a mixture of its channels; set to zero, what "
        "it adds to them is taken away.",
    ),
    "names": (
        None,
        "A name, where there is one, was given before this picture was explained, and none was "
        "made for it.",
    ),
}
"""What holds of every explanation, or of those with factors; for texts that would be too short."""


def _method(evidence: Evidence) -> Iterator[Claim]:
    """Yield how to read an explanation."""
    target = w.a_class("class", evidence.target.name, "target name")
    mixed = any(layer.of for layer in evidence.layers)
    for place, (about, (everyone, expert)) in enumerate(_METHOD.items()):
        if about != "factors" or mixed:
            yield claim(
                "method", about, ["target"], 0.31 if about == "factors" else 0.02 - place / 1000,
                say(everyone, target) if everyone else None, say(expert, target),
            )  # fmt: skip


def _contrast(evidence: Evidence, contrast: Contrast) -> Iterator[Claim]:
    """Yield which channel speaks for each of two classes rather than for the other."""
    sides = {
        "contrast": [one for one in contrast.differences if one.relevance > one.other_relevance],
        "whynot": [one for one in contrast.differences if one.relevance < one.other_relevance],
    }
    for kind, found in sides.items():
        if found:
            yield _side(kind, evidence, contrast, found[0])


def _side(kind: str, evidence: Evidence, contrast: Contrast, one: Difference) -> Claim:
    source = f"contrast {one.address}"
    target = w.a_class("class", evidence.target.name, "target name")
    other = w.a_class("other", contrast.name, "contrast name")
    everyone, expert = (Speaker(evidence, audience).concept("concept", one)
                        for audience in AUDIENCES)  # fmt: skip
    here = w.logit("here", one.relevance, f"{source}.relevance")
    there = w.logit("there", one.other_relevance, f"{source}.other_relevance")
    before = w.logit("before", contrast.margin, "contrast margin")
    after = w.logit("after", one.margin, f"{source}.margin")
    chosen, beaten = ("class", "other") if kind == "contrast" else ("other", "class")
    text = f"What weighs most for {{{chosen}}} rather than {{{beaten}}} is {{concept}}"
    ahead, behind = contrast.margin > 0, one.margin < 0
    if kind == "contrast" and ahead and behind:
        text += "; without it, {other} would be ahead of {class}"
    elif kind == "whynot" and contrast.margin < 0 < one.margin:
        text += "; without it, {class} would be ahead of {other}"
    elif contrast.margin and not one.margin:
        text += "; without it, neither would be ahead"
    asked = evidence.target.label != evidence.prediction[0].label
    moved = min(abs(one.margin - contrast.margin) / max(abs(contrast.margin), 1.0), 1.0)
    return claim(
        kind, "", ["target", "contrast", *([one.concept] if one.concept else [])],
        (0.75 if asked else 0.45) + 0.4 * moved if (kind == "whynot") == asked else 0.35 * moved,
        say(f"{text}.", target, other, everyone),
        say("{concept} has relevance {here} for {class} and {there} for {other}; set to zero, it "
            "takes the margin between their logits from {before} to {after}.",
            target, other, expert, here, there, before, after),
    )  # fmt: skip
