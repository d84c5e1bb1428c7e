"""The small drawings of a channel's page as coordinates."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

HEIGHT = 30
"""Height of a drawing; its width is 100."""


@dataclass(frozen=True)
class Histogram:
    """How many pictures have which largest output, over bins of equal width."""

    path: str
    """The outline of the columns, for an SVG path."""
    low: float
    high: float
    """Where the first bin begins and the last one ends."""
    most: tuple[float, float]
    """The bin with most pictures."""
    inactive: float
    """Share of the pictures without a positive output: they are in no bin."""
    mark: float | None
    """Where the last reference stands, from 0 to 100; None if that is in no bin."""


def histogram(
    edges: Sequence[float], counts: Sequence[int], pictures: int, last: float | None
) -> Histogram | None:
    """Return the drawing of a histogram; None for one without a picture in it.

    Parameters
    ----------
    edges, counts : sequence
        As channels.parquet has them: bins of four to the octave.
    pictures : int
        All that were measured.
    last : float, optional
        The largest output in the picture of the last reference by activation.
    """
    if not counts:
        return None
    highest, width = max(counts), 100 / len(counts)
    tops = [f"V{HEIGHT * (1 - count / highest):.1f}h{width:.2f}" for count in counts]
    best = counts.index(highest)
    mark = None
    if last is not None and edges[0] <= last <= edges[-1]:
        at = min(bisect_right(edges, last), len(counts)) - 1
        mark = width * (at + (last - edges[at]) / (edges[at + 1] - edges[at]))
    return Histogram(
        path=f"M0 {HEIGHT}{''.join(tops)}V{HEIGHT}z",
        low=edges[0],
        high=edges[-1],
        most=(edges[best], edges[best + 1]),
        inactive=1 - sum(counts) / pictures,
        mark=None if mark is None else round(mark, 1),
    )


def curve(scores: Sequence[float]) -> str:
    """Return scores by rank as points of a line: from the highest score down to zero."""
    highest, lowest = max(scores), min(0.0, scores[-1])
    last, span = max(len(scores) - 1, 1), (highest - lowest) or 1.0
    shown = sorted({round(n * last / 12) for n in range(13)} & {*range(len(scores))})
    return " ".join(
        f"{100 * n / last:.0f},{HEIGHT * (highest - scores[n]) / span:.0f}" for n in shown
    )
