"""The fewest changes against all sets that there are."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch

from atlas.explain import fewest as search
from atlas.explain.fewest import ChangeGoal, fewest

CONCEPTS = 7


def goal(seed: int, level: float) -> ChangeGoal:
    """Margins that know no rule: one drawn for each set of concepts."""
    table = torch.randn(2**CONCEPTS, generator=torch.Generator().manual_seed(seed)) - level
    weights = 2 ** torch.arange(CONCEPTS)
    candidates = tuple(n for n in range(CONCEPTS) if n != seed % CONCEPTS)
    return ChangeGoal(
        by(lambda changed: table[(changed * weights).sum(dim=1)]), candidates, CONCEPTS
    )


def by(margins):
    """A goal is reached where a margin is above 0."""
    return lambda changed: (margins(changed) > 0, margins(changed))


def margin(one: ChangeGoal, changed) -> float:
    mask = torch.zeros(1, CONCEPTS, dtype=torch.bool)
    mask[0, list(changed)] = True
    return float(one.of(mask)[1])


def smallest(goals: list[ChangeGoal]) -> int | None:
    """How many changes are needed, by trying everything."""
    for size in range(1, CONCEPTS):
        for one in goals:
            if any(margin(one, some) > 0 for some in combinations(one.candidates, size)):
                return size
    return None


@pytest.mark.parametrize("level", [1.0, 2.0, 2.6, 3.2])
def test_no_smaller_set_does(level):
    sizes = set()
    for seed in range(25):
        goals = [goal(100 * seed + n, level) for n in range(1 + seed % 3)]
        found, size = fewest(goals), smallest(goals)
        sizes.add(size)
        assert found is not None
        assert found.reached == (margin(goals[found.goal], found.changed) > 0)
        assert {*found.changed} <= {*goals[found.goal].candidates}
        assert len({*found.changed}) == len(found.changed)
        if size is not None and size <= search.EXHAUSTIVE:
            assert len(found.changed) == size
            assert found.fewest
        else:
            assert not found.fewest or len(found.changed) == size
    assert len(sizes) > 1


def test_each_change_is_the_best_at_its_place():
    one = goal(3, 2.0)
    found = fewest([one])
    assert found is not None
    for n in range(1, len(found.changed)):
        before = found.changed[: n - 1]
        margins = {other: margin(one, (*before, other)) for other in found.changed[n - 1 :]}
        assert max(margins, key=lambda other: margins[other]) == found.changed[n - 1]


def adding(strengths: list[float], needed: float) -> ChangeGoal:
    """Changes that add up."""
    values = torch.tensor(strengths)
    every = tuple(range(len(strengths)))
    return ChangeGoal(
        by(lambda changed: (changed * values).sum(dim=1) - needed), every, len(strengths)
    )


def test_many_changes_are_at_most_as_many():
    found = fewest([adding([1.0] * 20, 6.5)])
    assert found is not None
    assert (len(found.changed), found.reached, found.fewest) == (7, True, False)


def test_what_cannot_be_reached_is_not():
    found = fewest([adding([1.0] * 20, 100)])
    assert found is not None
    assert (len(found.changed), found.reached, found.fewest) == (search.LONGEST, False, False)
    assert fewest([ChangeGoal(by(lambda changed: changed.sum(dim=1)), (), 3)]) is None
    assert fewest([]) is None


@pytest.mark.parametrize(("needed", "count", "fewest_known"), [(0.5, 1, True), (1.5, 2, False)])
def test_without_all_concepts_only_one_change_is_the_fewest(needed, count, fewest_known):
    found = fewest([replace(adding([1.0] * 9, needed), every=False)])
    assert found is not None
    assert (len(found.changed), found.reached, found.fewest) == (count, True, fewest_known)


def test_of_two_goals_the_one_that_takes_less_is_reached():
    found = fewest([adding([1.0] * 9, 3.5), adding([0.5, 0.9, 1.2], 1.5), adding([1.0] * 9, 2.5)])
    assert found is not None
    assert (found.goal, found.changed, found.fewest) == (1, (2, 1), True)


def test_of_many_concepts_not_all_sets_are_tried():
    """Three of 60 are 34,220 sets: too many, so that four changes are not known to be fewest."""
    found = fewest([adding([1.0] * 60, 3.5)])
    assert found is not None
    assert (len(found.changed), found.reached, found.fewest) == (4, True, False)
    assert found.tried < 3 * search.SETS
    few = fewest([adding([1.0] * 25, 3.5)])
    assert few is not None
    assert (len(few.changed), few.fewest) == (4, True)


def test_steps_that_are_not_needed_are_left_out():
    """The best first step is one that the goal is reached without in the end."""
    table = {(0,): -1.0, (1,): -2.0, (2,): -2.0, (3,): -2.0}

    def of(changed):
        rows = [tuple(torch.nonzero(row)[:, 0].tolist()) for row in changed]
        others = [table.get(row, -0.9 + 0.1 * (1 in row)) for row in rows]
        does = [{1, 2} <= {*row} for row in rows]
        return torch.where(torch.tensor(does), 1.0, torch.tensor(others))

    found = fewest([ChangeGoal(by(of), (0, 1, 2, 3), 4)])
    assert found is not None
    assert {*found.changed} == {1, 2}
    assert found.fewest


def test_where_one_by_one_leads_astray_changes_are_left_out_of_all():
    """Each change is a loss until there are five of them, and one that never helps is none."""

    def of(changed):
        count = changed[:, :5].sum(dim=1)
        return torch.where(count == 5, 1.0, -count.float()) - 0.5 * ~changed[:, 5]

    found = fewest([ChangeGoal(by(lambda changed: of(changed) - 0.05 * changed[:, 6:].sum(dim=1)),
                         tuple(range(20)), 20)])  # fmt: skip
    assert found is not None
    assert found.reached
    assert {*found.changed} <= {0, 1, 2, 3, 4, 5}
    assert not found.fewest
