"""The concepts of an explanation in numbers: for experts' texts, pages and the command line."""

from collections.abc import Sequence
from dataclasses import dataclass

from atlas.plain import plain
from atlas.store.evidence import Concept, Evidence

HEADINGS = ("layer", "concept", "share", "without it", "logit", "answer then", "name")
"""The columns, as they are read."""


@dataclass(frozen=True)
class Row:
    """One concept; one that decides changes the answer or costs much of the probability."""

    id: str
    address: str
    layer: str
    name: str | None
    share: float
    """Part of the layer's sum of |relevance|, with its sign."""
    before: float
    after: float
    """Probability of the target before and after the channel is set to zero."""
    logit: float
    """Logit of the target with the channel set to zero."""
    answer: str | None
    """What the network says then; None where it says the same, or cannot decide."""
    tied: int
    """Between how many classes it then cannot decide; 1 where it can."""
    state: str
    """How far the name can be trusted."""


def rows(evidence: Evidence) -> tuple[Row, ...]:
    """Return the concepts of all layers, the last layer first, each by falling |share|."""
    order = {layer.layer: -place for place, layer in enumerate(evidence.layers)}
    found = []
    for one in sorted(evidence.concepts, key=lambda one: (order[one.layer], one.rank)):
        zero = evidence.effect(one.id, "zero")
        new = zero.answer_name if evidence.changed(zero) and zero.tied == 1 else None
        found.append(Row(
            one.id, one.address, one.layer, one.name, one.share, evidence.target.probability,
            zero.probability, zero.logit, new, zero.tied,
            state(one),
        ))  # fmt: skip
    return tuple(found)


def state(one: Concept) -> str:
    """Return how far a concept's name can be trusted, in a few words."""
    if not one.name:
        return "none"
    known = one.state or "untested"
    return known if one.score is None else f"{known} ({one.score:.2f})"


def text(found: Sequence[Row]) -> str:
    """Return the table for a terminal: columns of even width, one line a concept."""
    lines = [HEADINGS, *(_cells(row) for row in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cells(row: Row) -> tuple[str, ...]:
    name = f"{plain(row.name)} ({row.address})" if row.name else row.address
    return (
        row.layer, name, f"{100 * row.share:.3g} %",
        f"{100 * row.before:.3g} → {100 * row.after:.3g} %", f"{row.logit:.3g}",
        f"{row.tied} classes tie" if row.tied > 1 else plain(row.answer or ""), row.state,
    )  # fmt: skip
