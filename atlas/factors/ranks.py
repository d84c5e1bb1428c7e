"""How many factors a layer has: as many as are found again on other pictures.

The pictures are dealt into two halves and both are factorised. Factors of the halves are matched
one to one (the assignment with the largest sum of cosines); a factor *comes again* if its match
has nearly its direction. With too few factors some must stand for several things, with too many
some are split at random: either shows in the worst pair, not in the median, which is high at
every rank. So the rank is the largest at which all factors come again.

A factorisation may end in a place of its own by chance, so that a rank is dealt several times
before it is given up. Ranks are tried from above. Where some factors do not come again, those that
do are about as many as there are, so that the next rank tried is a little above their number.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from atlas.factors.nmf import Factorisation, Matrix, factorise

ALIKE = 0.9
"""Cosine from which on two directions are one factor."""

HIGHEST = 64
"""The rank that is tried first where none are given."""

DEALS = 3
"""How often the pictures are dealt into halves before a rank counts as unstable."""

HOPEFUL = 0.9
"""Pictures are not dealt anew where fewer than this part of a rank's factors came again."""

ABOVE = 2
"""The next rank tried is so many above the number of factors that came again."""

LONGEST_STEP = 0.85
"""The next rank is at least this part of the one before: the number that came again is of few
deals."""

LOWEST = 2
"""The lowest rank that is tried."""


@dataclass(frozen=True)
class Tried:
    """What one rank gave at its best deal."""

    rank: int
    cosines: npt.NDArray[np.float64]
    """float64 (rank,): of the matched pairs, lowest first."""
    best: Factorisation
    """The factorisation of one of the halves."""
    other: Matrix
    """Directions of the other half."""

    @property
    def worst(self) -> float:
        """Cosine of the worst pair."""
        return float(self.cosines[0])

    @property
    def again(self) -> int:
        """How many factors come again."""
        return int((self.cosines >= ALIKE).sum())

    @property
    def stable(self) -> bool:
        """Whether all come again."""
        return self.worst >= ALIKE


def matched(one: Matrix, other: Matrix) -> npt.NDArray[np.float64]:
    """Return for each direction of `one` the cosine of its match among `other`.

    Parameters
    ----------
    one, other : array
        (factors, channels) each, of length 1; as many of `other`.
    """
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 (slow to import)

    cosines = one.astype(np.float64) @ other.astype(np.float64).T
    rows, columns = linear_sum_assignment(-cosines)
    found: npt.NDArray[np.float64] = cosines[rows, columns]
    return found


def attempt(positions: Matrix, rank: int, seed: int) -> Tried:
    """Factorise halves of the pictures at a rank, dealt anew as long as there is hope.

    Parameters
    ----------
    positions : array
        float32 (pictures, positions of each, channels).
    rank : int
        At most as many as there are channels and positions of half of the pictures.
    seed : int
        Decides how pictures are dealt.
    """
    best: Tried | None = None
    for deal in range(DEALS):
        order = np.random.default_rng([seed, deal]).permutation(len(positions))
        halves = (order[: len(order) // 2], order[len(order) // 2 :])
        flat = (positions[half].reshape(-1, positions.shape[2]) for half in halves)
        one, other = (factorise(half, rank, seed) for half in flat)
        cosines = np.sort(matched(one.directions, other.directions))
        found = Tried(rank, cosines, one, other.directions)
        best = found if best is None or found.worst > best.worst else best
        if best.stable or found.again < HOPEFUL * rank:
            break
    assert best is not None, "there is at least one deal"
    return best


def search(positions: Matrix, wanted: Sequence[int], seed: int) -> list[Tried]:
    """Try ranks and return what each gave, the chosen one last.

    That is the largest at which all factors come again; where there is none, the one at which most
    of them do: how well each does is said beside it.

    Parameters
    ----------
    positions : array
        As `attempt` takes it.
    wanted : sequence of int
        The ranks to try; none means that they are found.
    seed : int
        As `attempt` takes it.
    """
    most = min(positions.shape[2], len(positions) // 2 * positions.shape[1])
    tried: list[Tried] = []
    given = sorted({min(rank, most) for rank in wanted}, reverse=True)
    if max(wanted, default=0) > most:
        tqdm.write(
            f"rank {max(wanted)}: {most} is tried instead, as half of the pictures that were drawn "
            f"has {len(positions) // 2 * positions.shape[1]} positions and the layer "
            f"{positions.shape[2]} channels",
            sys.stderr,
        )
    rank = given[0] if given else min(HIGHEST, most)
    while True:
        tried.append(attempt(positions, rank, seed))
        tqdm.write(
            f"rank {rank}: {tried[-1].again} of {rank} factors come again on other pictures",
            sys.stderr,
        )
        if tried[-1].stable:
            return tried
        if given:
            lower = [one for one in given if one < rank]
            if not lower:
                break
            rank = lower[0]
        else:
            least = max(tried[-1].again + ABOVE, math.ceil(LONGEST_STEP * rank))
            rank = min(rank - 1, least)
            if rank < LOWEST:
                break
    best = max(tried, key=lambda one: (one.again, one.rank))
    return [*(one for one in tried if one is not best), best]
