"""The list of claims of one explanation."""

from atlas.explain.claims.answers import answers
from atlas.explain.claims.concepts import concepts
from atlas.explain.claims.effects import effects
from atlas.explain.claims.tests import tests
from atlas.store.claims import Claim
from atlas.store.evidence import Evidence

ORDER = (
    "answer", "wrong", "unsure", "second", "asked", "words", "silent", "carries", "coverage",
    "changes", "falls", "rises", "keeps", "more", "earlier", "decide", "spread", "disagree",
    "blurred", "together", "contrast", "whynot", "against", "odd", "typical", "seen", "place",
    "kept", "flow", "failed", "sign", "conservation", "unseen", "unnamed", "untested", "doubtful",
    "sided",
)  # fmt: skip
"""Kinds of claims as a reader best meets them: the finding first, caveats last."""


def claims(evidence: Evidence) -> tuple[Claim, ...]:
    """Return everything that may be said, in the order in which a reader best meets it.

    Parameters
    ----------
    evidence : Evidence
        As it was read back from its file, so that conditions hold for the numbers that it has.
    """
    last = next((own for layer in reversed(evidence.layers)
                 if (own := evidence.of_layer(layer.layer))), [])  # fmt: skip
    found = [
        *answers(evidence), *concepts(evidence, last), *effects(evidence, last),
        *tests(evidence, last),
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda one: (ORDER.index(one.kind), -one.weight)))
