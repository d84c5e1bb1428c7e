"""What to be careful about in an explanation, as far as the numbers tell."""

from collections.abc import Iterator

from atlas.store.evidence import Doubt, Evidence

UNSURE = 0.5
"""A prediction below this probability is doubted."""

COVERED = 0.4
"""A layer whose concepts hold less of its |relevance| is doubted."""

TOLD = 0.7
"""A name with a lower score (AUPRC) is doubted."""

LEAKED = 0.5
"""A layer that lost or gained more than this part of the logit is doubted."""


def doubts(evidence: Evidence) -> tuple[Doubt, ...]:
    """Return what speaks against trusting this explanation.

    Parameters
    ----------
    evidence : Evidence
        Without doubts.
    """
    return (*_of_answer(evidence), *_of_layers(evidence), *_of_names(evidence))


def _of_answer(evidence: Evidence) -> Iterator[Doubt]:
    best, target = evidence.prediction[0], evidence.target
    if target.label != best.label:
        yield Doubt(
            "doubt:target",
            f"The network predicts {_quoted(best.name)}, not the class that is explained here.",
        )
    if best.probability < UNSURE:
        yield Doubt("doubt:probability", "The network itself is not sure of its answer.")
    if target.logit <= 0:
        yield Doubt(
            "doubt:logit",
            "The logit of the explained class is not positive: shares for it and against it "
            "have no firm meaning.",
        )


def _of_layers(evidence: Evidence) -> Iterator[Doubt]:
    for layer in evidence.layers:
        if layer.chosen and layer.coverage < COVERED:
            yield Doubt(
                f"doubt:coverage:{layer.layer}",
                f"The concepts of {layer.layer} are few among many: most of its relevance is in "
                "channels that are not listed here.",
            )
        if abs(layer.conserved - 1) > LEAKED:
            yield Doubt(
                f"doubt:conservation:{layer.layer}",
                f"Much of the relevance does not pass through {layer.layer}: biases take it up, or "
                "parallel branches carry it.",
            )
    for curve in evidence.curves:
        area = {course.order: course.area_logit for course in curve.courses}
        if curve.kind == "zero" and area["relevance"] >= area["random"]:
            yield Doubt(
                f"doubt:order:{curve.layer}",
                f"In {curve.layer}, taking away channels by relevance hurts no more than taking "
                "away random ones.",
            )


def _of_names(evidence: Evidence) -> Iterator[Doubt]:
    unnamed = [one.address for one in evidence.concepts if one.name is None]
    if not evidence.named:
        yield Doubt("doubt:names", "This atlas has no names: addresses stand for concepts.")
    elif unnamed:
        yield Doubt("doubt:unnamed", f"No name is known for {_list(unnamed)}.")
    weak = [one for one in evidence.concepts if one.score is not None and one.score < TOLD]
    if weak:
        names = _list([f"{_quoted(one.name or '')} ({one.address})" for one in weak])
        yield Doubt("doubt:scores", f"Names that did poorly when tested: {names}.")
    odd = [one.address for one in evidence.concepts if one.typical is False]
    if odd:
        yield Doubt("doubt:odd", f"Not usual for this class: {_list(odd)}.")


def _quoted(name: str) -> str:
    return f"“{name}”"


def _list(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
