"""Which factors belong to which classes: in the data, in the network's answers, or in both.

A factor is *present* in a class's pictures if it is stronger there than in those of other classes.
It is *relevant* for the class if a good part of the class's relevance is in it. The two need not go
together: what is always there and not used is a bias of the data that the network does not share;
what is used and not especially there separates the class from few others. (The comparison is that
of BAGEL, 2025, which trains probes of concepts and classes for it.)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["both", "only in the data", "only in the model", "against"]

KINDS: tuple[Kind, ...] = ("both", "only in the data", "only in the model", "against")

RELEVANT = 0.05
"""Mean relevance share, of the factors' sum of |relevance|, from which on a factor is relevant."""

DEVIATION = 6.0
"""A factor is present in a class if its mean activation share is so many spreads above the median
of all classes. Chance stays below 5 where classes have 17 pictures, as the demo's."""

LEAST_SPREAD = 0.01
"""The least spread, in shares: a factor that no other class has at all has none."""

FEWEST_CLASSES = 8
"""Without so many classes nothing can be said of what is usual."""

FEWEST_PICTURES = 5
"""Classes with fewer pictures are left out."""

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FactorEdge:
    """What a factor and a class have to do with each other."""

    label: int
    """Number of the class."""
    factor: int
    """Column of the factor."""
    kind: Kind
    share: float
    """Mean relevance share of the factor in the class's pictures, with its sign."""
    fired: float
    """Mean activation share of the factor in the class's pictures."""
    usual: float
    """Median of that over all classes."""


def edges(
    labels: Sequence[int], counts: Sequence[int], shares: Shares, fired: Shares
) -> Iterator[FactorEdge]:
    """Yield the edges between the factors of one layer and the classes.

    Parameters
    ----------
    labels : sequence of int
        Numbers of the classes.
    counts : sequence of int
        How many pictures each has.
    shares, fired : array
        (classes, factors) each: mean relevance and activation shares.
    """
    enough = np.array(counts) >= FEWEST_PICTURES
    if enough.sum() < FEWEST_CLASSES:
        return
    usual = np.median(fired[enough], axis=0)
    # 1.4826 makes the median deviation that of a normal distribution's standard deviation.
    spread = 1.4826 * np.median(np.abs(fired[enough] - usual), axis=0)
    present = fired > usual + DEVIATION * np.maximum(spread, LEAST_SPREAD)
    for row in np.flatnonzero(enough).tolist():
        for factor in range(shares.shape[1]):
            share = float(shares[row, factor])
            kind = _kind(share, there=bool(present[row, factor]))
            if kind is not None:
                yield FactorEdge(
                    labels[row], factor, kind, share, float(fired[row, factor]),
                    float(usual[factor]),
                )  # fmt: skip


def _kind(share: float, *, there: bool) -> Kind | None:
    if share <= -RELEVANT:
        return "against"
    if share >= RELEVANT:
        return "both" if there else "only in the model"
    return "only in the data" if there else None
