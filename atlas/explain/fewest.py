"""The fewest changes that reach a goal: all sets of up to three are tried, then one more each time.

A goal is a function of which concepts are changed. Where several goals would do (the same answer by
maps of one picture or of another), the one that needs fewest changes is taken.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from math import comb

import torch
from torch import Tensor

EXHAUSTIVE = 3
"""Up to so many changes all sets are tried."""

SETS = 5_000
"""So many sets of one size are tried for a goal at most: of 32 concepts all sets of three. Of more
concepts those are taken that bring it nearest alone."""

LONGEST = 12
"""More changes than these are no explanation."""

BATCH = 128
"""Sets that are tried at once."""

Margin = Callable[[Tensor], Tensor]
"""From what is changed, bool (N, concepts), to (N,): above 0 where the goal is reached."""


@dataclass(frozen=True)
class Goal:
    """What is to be reached, and by which changes."""

    margin: Margin
    candidates: tuple[int, ...]
    """Concepts whose change can have an effect."""
    concepts: int
    """How many there are in all."""


@dataclass(frozen=True)
class Fewest:
    """The changes that were found."""

    goal: int
    """Which of the goals they reach."""
    changed: tuple[int, ...]
    """Concepts, each the one that brings the goal nearest after those before it."""
    reached: bool
    fewest: bool
    """Whether all smaller sets were tried, for every goal, and reach none."""
    tried: int
    """Sets that were tried, for all goals."""


def fewest(goals: Sequence[Goal]) -> Fewest | None:
    """Return the fewest changes that reach one of some goals.

    First one change after another, each time the best one, until the goal is reached; then, if that
    took more than one, all smaller sets of up to `EXHAUSTIVE`. So every set that matters is tried,
    and where one change or two are enough few others are.

    Parameters
    ----------
    goals : sequence of Goal
        Where two do with as many changes, the one with the larger margin is taken.

    Returns
    -------
    Fewest or None
        None where nothing can be changed. Where no goal is reached in `LONGEST` steps, the changes
        are those that bring one nearest.
    """
    searches = [_Trials(goal, number) for number, goal in enumerate(goals) if goal.candidates]
    if not searches:
        return None
    found: list[_ChangeSet] = []
    for search in searches:
        limit = min((len(one.changed) for one in found if one.reached), default=LONGEST)
        found.append(search.one_by_one(limit))
    best = min(found, key=_order)
    complete = True
    for size in range(2, min(EXHAUSTIVE + 1, len(best.changed) if best.reached else LONGEST)):
        smaller = [search.all_of(size) for search in searches]
        complete = complete and all(search.whole(size) for search in searches)
        if any(one.reached for one in smaller):
            best = min(smaller, key=_order)
            break
    known = len(best.changed) <= EXHAUSTIVE + 1 and complete
    own = searches[[search.number for search in searches].index(best.goal)]
    changed = own.ordered(best.changed)
    tried = sum(search.tried for search in searches)
    return Fewest(best.goal, changed, best.reached, best.reached and known, tried)


@dataclass(frozen=True)
class _ChangeSet:
    goal: int
    changed: tuple[int, ...]
    margin: float

    @property
    def reached(self) -> bool:
        return self.margin > 0


def _order(one: _ChangeSet) -> tuple[bool, int, float, int]:
    """Sort by whether the goal is reached, then by the changes; what is not, by its margin."""
    return not one.reached, len(one.changed) if one.reached else 0, -one.margin, one.goal


class _Trials:
    """Tries sets of changes for one goal."""

    def __init__(self, goal: Goal, number: int) -> None:
        self.number = number
        self.tried = 0
        self._goal = goal
        self._alone = self._margins([(one,) for one in goal.candidates])

    def one_by_one(self, limit: int) -> _ChangeSet:
        """Change the best concept, then the best one beside it, and so on, at most `limit`."""
        changed: tuple[int, ...] = ()
        margins = self._alone
        left = list(self._goal.candidates)
        while True:
            best = int(margins.argmax())
            changed, margin = (*changed, left.pop(best)), float(margins[best])
            if margin > 0 or len(changed) >= limit or not left:
                break
            margins = self._margins([(*changed, one) for one in left])
        return self._needed(changed, margin)

    def all_of(self, size: int) -> _ChangeSet:
        """Try all sets of a size, or those of the concepts that do most alone."""
        sets = combinations(self._pool(size), size)
        best = _ChangeSet(self.number, (), -torch.inf)
        while some := list(islice(sets, SETS)):
            margins = self._margins(some)
            at = int(margins.argmax())
            if float(margins[at]) > best.margin:
                best = _ChangeSet(self.number, some[at], float(margins[at]))
        return best

    def whole(self, size: int) -> bool:
        """Say whether `all_of` tries all sets of a size."""
        return len(self._pool(size)) == len(self._goal.candidates)

    def ordered(self, changed: Sequence[int]) -> tuple[int, ...]:
        """Return concepts so that each is the one that brings the goal nearest at its place."""
        left, order = sorted(changed), []
        while left:
            margins = self._margins([(*order, one) for one in left])
            order.append(left.pop(int(margins.argmax())))
        return tuple(order)

    def _needed(self, changed: tuple[int, ...], margin: float) -> _ChangeSet:
        """Leave out again what the goal is reached without."""
        while margin > 0 and len(changed) > 1:
            without = [(*changed[:at], *changed[at + 1 :]) for at in range(len(changed))]
            margins = self._margins(without)
            best = int(margins.argmax())
            if not margins[best] > 0:
                break
            changed, margin = without[best], float(margins[best])
        return _ChangeSet(self.number, changed, margin)

    def _pool(self, size: int) -> list[int]:
        """Return the concepts of whose sets of a size there are at most `SETS`, in their order."""
        every = self._goal.candidates
        count = len(every)
        while count > size and comb(count, size) > SETS:
            count -= 1
        best = self._alone.argsort(descending=True, stable=True)[:count].tolist()
        return sorted(every[at] for at in best)

    def _margins(self, sets: Sequence[tuple[int, ...]]) -> Tensor:
        """Return the margin of each set, (sets,)."""
        self.tried += len(sets)
        return torch.cat([self._goal.margin(mask) for mask in self._masks(sets)]).cpu()

    def _masks(self, sets: Sequence[tuple[int, ...]]) -> Iterator[Tensor]:
        for start in range(0, len(sets), BATCH):
            some = torch.tensor(sets[start : start + BATCH])
            mask = torch.zeros(len(some), self._goal.concepts, dtype=torch.bool)
            yield mask.scatter(1, some, value=True)
