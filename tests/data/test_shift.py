"""Labels that are shifted by one are noticed by the network's answers, and chance is not."""

import random

import pytest

from atlas.data.shift import shifted


def answers(truth, outputs, right, seed=0):
    """What a network that is right so often predicts; else it says anything."""
    draw = random.Random(seed)
    return [a if draw.random() < right else draw.randrange(outputs) for a in truth]


def some(outputs, count, seed=1):
    draw = random.Random(seed)
    return [draw.randrange(outputs) for _ in range(count)]


@pytest.mark.parametrize(
    ("outputs", "count", "right"), [(1000, 50, 0.7), (1000, 400, 0.2), (10, 60, 0.8), (4, 80, 0.9)]
)
@pytest.mark.parametrize("step", [1, -1])
def test_a_shift_is_reported_with_its_numbers(outputs, count, right, step):
    truth = some(outputs, count)
    predicted = answers(truth, outputs, right)
    labels = [(label - step) % outputs for label in truth]
    said = shifted(labels, predicted, outputs)
    assert said is not None
    assert f"of {count} labelled pictures" in said
    assert ("next" if step == 1 else "previous") in said
    hits = sum(b == (a + step) % outputs for a, b in zip(labels, predicted, strict=True))
    assert f"for {hits}, " in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("outputs", "right"), [(1000, 0.7), (10, 0.9), (10, 0.1), (3, 0.4), (2, 1)]
)
def test_right_labels_are_not(outputs, right):
    truth = some(outputs, 300)
    for seed in range(20):
        assert shifted(truth, answers(truth, outputs, right, seed), outputs) is None


def test_networks_that_know_nothing_are_not():
    for seed in range(50):
        for outputs in (3, 10, 1000):
            labels, predicted = some(outputs, 200, seed), some(outputs, 200, 1000 + seed)
            assert shifted(labels, predicted, outputs) is None
    # Always the same answer, next to the only class that has many pictures.
    assert shifted([3] * 190 + [0, 1, 2, 5, 6, 7, 8, 9] * 2, [4] * 206, 10) is None


def test_one_pair_of_classes_that_is_mistaken_is_not():
    """Two breeds that stand beside each other, and a network that knows only one of them."""
    labels, predicted = [7] * 100 + some(10, 20), [8] * 100 + some(10, 20)
    assert shifted(labels, predicted, 10) is None
    # As convinced in a third of the classes, and right in the others.
    labels = [*[0] * 100, *[3] * 100, *[6] * 100, *range(10)]
    predicted = [*[1] * 100, *[4] * 100, *[7] * 100, *range(10)]
    assert shifted(labels, predicted, 10) is None


def test_too_few_pictures_say_nothing():
    assert shifted([], [], 10) is None
    assert shifted([None, None], [1, 2], 10) is None
    assert shifted([0, 1, 2], [1, 2, 3], 10) is None


def test_pictures_without_a_label_do_not_count():
    truth = some(10, 60)
    labels = [(label - 1) % 10 for label in truth]
    said = shifted([*labels, *[None] * 500], [*truth, *some(10, 500)], 10)
    assert said is not None
    assert "of 60 labelled pictures" in said
