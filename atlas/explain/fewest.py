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

SETS = 2_500
"""So many sets of one size are tried for a goal where these are all: of 25 concepts those of three,
of 71 those of two."""

SOME_SETS = 500
"""So many sets are tried where there are more, of the concepts that bring it nearest alone: they
prove nothing, and may be shorter."""

LONGEST = 12
"""More changes than these are no explanation."""

BATCH = 64
"""Sets that are tried at once: more take memory that is not used again."""

Outcomes = tuple[Tensor, Tensor]
"""Whether a goal is reached, bool (N,), and how near it is, (N,): the higher, the nearer."""


@dataclass(frozen=True)
class ChangeGoal:
    """What is to be reached, and by which changes."""

    of: Callable[[Tensor], Outcomes]
    """From what is changed, bool (N, concepts)."""
    candidates: tuple[int, ...]
    """Concepts whose change can have an effect."""
    concepts: int
    """How many there are in all."""
    every: bool = True
    """Whether the change of no other concept can have an effect."""


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


def fewest(goals: Sequence[ChangeGoal]) -> Fewest | None:
    """Return the fewest changes that reach one of some goals.

    First one change after another, each time the best one, until the goal is reached; where that is
    not so, all changes, and one after another is left out again. Then, if that took more than one,
    all smaller sets of up to `EXHAUSTIVE`. So where one change or two are enough, few are tried.

    Parameters
    ----------
    goals : sequence of ChangeGoal
        Where two do with as many changes, the one that is nearer is taken.

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
    known = len(best.changed) == 1 or (
        len(best.changed) <= EXHAUSTIVE + 1 and complete and all(goal.every for goal in goals)
    )
    own = searches[[search.number for search in searches].index(best.goal)]
    changed = own.ordered(best.changed)
    tried = sum(search.tried for search in searches)
    return Fewest(best.goal, changed, best.reached, best.reached and known, tried)


@dataclass(frozen=True)
class _ChangeSet:
    goal: int
    changed: tuple[int, ...]
    reached: bool
    near: float


def _order(one: _ChangeSet) -> tuple[bool, int, float, int]:
    """Sort by whether the goal is reached, then by how many changes that takes, or how near it is.

    What reaches no goal is compared by how near it comes alone.
    """
    return not one.reached, len(one.changed) if one.reached else 0, -one.near, one.goal


class _Trials:
    """Tries sets of changes for one goal."""

    def __init__(self, goal: ChangeGoal, number: int) -> None:
        self.number = number
        self.tried = 0
        self._goal = goal
        self._alone = self._outcomes([(one,) for one in goal.candidates])

    def one_by_one(self, limit: int) -> _ChangeSet:
        """Change the best concept, then the best one beside it, and so on, at most `limit`."""
        found = self._forward(limit)
        every = self._goal.candidates
        if not found.reached and limit == LONGEST:
            whole = self._best([every], self._outcomes([every]))
            if whole.reached and len(fewer := self._needed(whole).changed) <= LONGEST:
                return self._best([fewer], self._outcomes([fewer]))
        return self._needed(found)

    def all_of(self, size: int) -> _ChangeSet:
        """Try all sets of a size, or those of the concepts that do most alone."""
        best = _ChangeSet(self.number, (), reached=False, near=-torch.inf)
        sets = combinations(self._pool(size), size)
        while some := list(islice(sets, SETS)):
            best = min(best, self._best(some, self._outcomes(some)), key=_order)
        return best

    def whole(self, size: int) -> bool:
        """Say whether `all_of` tries all sets of a size."""
        return len(self._pool(size)) == len(self._goal.candidates)

    def ordered(self, changed: Sequence[int]) -> tuple[int, ...]:
        """Return concepts so that each is the one that brings the goal nearest at its place."""
        left = sorted(changed)
        order: tuple[int, ...] = ()
        while left:
            sets = [(*order, one) for one in left]
            order = self._best(sets, self._outcomes(sets)).changed
            left.remove(order[-1])
        return order

    def _forward(self, limit: int) -> _ChangeSet:
        best = self._best([(one,) for one in self._goal.candidates], self._alone)
        left = sorted(self._goal.candidates)
        while not best.reached and len(best.changed) < limit and len(left) > 1:
            left.remove(best.changed[-1])
            sets = [(*best.changed, one) for one in left]
            best = self._best(sets, self._outcomes(sets))
        return best

    def _needed(self, found: _ChangeSet) -> _ChangeSet:
        """Leave out again what the goal is reached without."""
        while found.reached and len(found.changed) > 1:
            changed = found.changed
            sets = [(*changed[:at], *changed[at + 1 :]) for at in range(len(changed))]
            fewer = self._best(sets, self._outcomes(sets))
            if not fewer.reached:
                break
            found = fewer
        return found

    def _best(self, sets: Sequence[tuple[int, ...]], outcomes: Outcomes) -> _ChangeSet:
        """Return the set that comes nearest, of those that reach the goal if any do."""
        reached, near = outcomes
        if reached.any():
            near = torch.where(reached, near, -torch.inf)
        at = int(near.argmax())
        return _ChangeSet(self.number, sets[at], bool(reached[at]), float(near[at]))

    def _pool(self, size: int) -> list[int]:
        """Return the concepts of which all sets of a size are tried."""
        every = list(self._goal.candidates)
        if comb(len(every), size) <= SETS:
            return every
        count = len(every)
        while count > size and comb(count, size) > SOME_SETS:
            count -= 1
        return self._nearest(count)

    def _nearest(self, count: int) -> list[int]:
        """Return the concepts that bring the goal nearest alone, in their order."""
        best = self._alone[1].argsort(descending=True, stable=True)[:count].tolist()
        return sorted(self._goal.candidates[at] for at in best)

    def _outcomes(self, sets: Sequence[tuple[int, ...]]) -> Outcomes:
        """Return what each set does, (sets,) twice."""
        self.tried += len(sets)
        found = [self._goal.of(mask) for mask in self._masks(sets)]
        return torch.cat([one.cpu() for one, _ in found]), torch.cat(
            [two.cpu() for _, two in found]
        )

    def _masks(self, sets: Sequence[tuple[int, ...]]) -> Iterator[Tensor]:
        for start in range(0, len(sets), BATCH):
            some = torch.tensor(sets[start : start + BATCH])
            mask = torch.zeros(len(some), self._goal.concepts, dtype=torch.bool)
            yield mask.scatter(1, some, value=True)
