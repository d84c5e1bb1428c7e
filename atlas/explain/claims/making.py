"""The list of claims of one explanation."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from atlas.explain.claims.another import another
from atlas.explain.claims.answers import answers
from atlas.explain.claims.concepts import concepts
from atlas.explain.claims.effects import decides, effects
from atlas.explain.claims.tests import tests
from atlas.explain.claims.wording import claim, count, quoted, say
from atlas.plain import shortened
from atlas.store.claims import Claim
from atlas.store.evidence import Evidence

ORDER = (
    "answer", "wrong", "unsure", "second", "asked", "words", "silent", "carries", "coverage",
    "changes", "ties", "falls", "rises", "keeps", "more", "beside", "earlier", "fewer", "decide",
    "listed", "spread", "disagree", "blurred", "together", "contrast", "whynot", "against", "odd",
    "typical", "seen", "place", "leaves", "lasts", "becomes", "misses", "kept", "flow", "method",
    "failed", "sign", "conservation", "residual", "complete", "unseen", "unnamed", "untested",
    "doubtful", "sided", "names", "unstored", "below",
)  # fmt: skip
"""Kinds of claims as a reader best meets them: the finding first, caveats last."""

SUMMED = "names"
"""The kind that says for everyone how many claims of the kinds about names say."""


def claims(evidence: Evidence) -> tuple[Claim, ...]:
    """Return everything that may be said, in the order in which a reader best meets it.

    Parameters
    ----------
    evidence : Evidence
        As it was read back from its file, so that conditions hold for the numbers that it has.
    """
    evidence = _with_distinct_classes(evidence)
    last = next((own for layer in reversed(evidence.layers)
                 if (own := evidence.of_layer(layer.layer))), [])  # fmt: skip
    found = [
        *answers(evidence), *concepts(evidence, last), *effects(evidence, last),
        *another(evidence), *tests(evidence, last),
    ]  # fmt: skip
    found += _below(evidence, found)
    return tuple(sorted(found, key=lambda one: (ORDER.index(one.kind), -one.weight)))


def _below(evidence: Evidence, found: Sequence[Claim]) -> Iterator[Claim]:
    """Yield how much there is of what has to be known, for texts that have no room for all."""
    deciding = sum(decides(evidence, one) for one in evidence.concepts)
    # What counts some of these again is no reason of its own.
    cares = sum(one.caveat and one.kind != SUMMED for one in found)
    said = []
    if deciding:
        effect = "concepts have such an effect" if deciding > 1 else "concept has such an effect"
        said.append(f"{{deciding}} {effect}")
    if cares:
        said.append(f"{{cares}} {'reasons call' if cares > 1 else 'reason calls'} for care")
    if said:
        text = say(
            f"In all, {' and '.join(said)}; the page of this explanation has the list.",
            count("deciding", deciding, "concepts deciding"),
            count("cares", cares, "claims caveat"),
        )  # fmt: skip
        yield claim("below", "", ["target"], 0.0, text, text)


def _with_distinct_classes(evidence: Evidence) -> Evidence:
    """Return evidence in which classes of one name have their numbers behind it.

    Two of ImageNet's are cranes, and `the answer is “crane”, not “crane”` says nothing.
    """
    known = {(label, quoted(name)) for label, name in evidence.classes}
    contrast, asked = evidence.contrast, evidence.counterfactual
    often = Counter(name for _, name in known)

    def called(label: int, name: str) -> str:
        return f"{shortened(name, 4)} (class {label})" if often[quoted(name)] > 1 else name

    if max(often.values()) == 1:
        return evidence
    return replace(
        evidence,
        prediction=tuple(replace(one, name=called(one.label, one.name))
                         for one in evidence.prediction),
        target=replace(evidence.target, name=called(evidence.target.label, evidence.target.name)),
        truth=(truth := evidence.truth) and replace(truth, name=called(truth.label, truth.name)),
        contrast=contrast and replace(contrast, name=called(contrast.label, contrast.name)),
        effects=tuple(
            replace(one, effects=tuple(replace(e, answer_name=called(e.answer, e.answer_name))
                                       for e in one.effects))
            for one in evidence.effects
        ),
        together=tuple(replace(one, answer_name=called(one.answer, one.answer_name))
                       for one in evidence.together),
        counterfactual=asked and asked.called(called),
    )  # fmt: skip
