import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from atlas.probe.probe import Responses
from atlas.scoring import metrics
from atlas.scoring.clarity import clarity
from atlas.scoring.detection import trial


@pytest.mark.parametrize("seed", range(20))
def test_average_precision_is_that_of_scikit_learn(seed):
    random = np.random.default_rng(seed)
    positive = random.random(40) < 0.3
    positive[0] = True
    answers = np.round(random.random(40), 1 if seed % 2 else 6)  # with ties and without
    expected = average_precision_score(positive, answers)
    assert metrics.average_precision(answers, positive) == pytest.approx(expected)


def test_pearson_is_that_of_numpy_and_zero_for_constants():
    random = np.random.default_rng(0)
    a, b = random.random((2, 30))
    assert metrics.pearson(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert metrics.pearson(np.ones(30), b) == 0


def test_the_interval_holds_the_value_and_narrows_with_more_patches():
    random = np.random.default_rng(0)

    def width(count: int) -> float:
        positive = np.arange(count) < count // 2
        answers = random.normal(size=count) + positive
        low, high = metrics.interval(answers, positive, 300, 0)
        assert low <= metrics.average_precision(answers, positive) <= high
        return high - low

    assert width(400) < width(20)


def test_the_interval_is_that_of_drawing_patches_one_by_one():
    random = np.random.default_rng(1)
    positive = np.arange(40) < 20
    answers = np.round(random.normal(size=40) + positive, 1)  # with ties
    groups = np.flatnonzero(positive), np.flatnonzero(~positive)
    drawn = [np.concatenate([random.choice(g, 20) for g in groups]) for _ in range(2_000)]
    values = [average_precision_score(positive[rows], answers[rows]) for rows in drawn]
    expected = np.quantile(values, [0.025, 0.975])
    assert metrics.interval(answers, positive, 2_000, 0) == pytest.approx(expected, abs=0.015)


def test_clarity_is_one_for_a_tight_channel_and_chance_for_a_loose_one():
    random = np.random.default_rng(0)

    def unit(x):
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)

    others = unit(random.normal(size=(500, 16)))
    tight = unit(np.ones((20, 16)) + 0.1 * random.normal(size=(20, 16)))
    loose = unit(random.normal(size=(300, 16)))
    assert clarity(tight, others, random) == 1.0
    assert clarity(loose, others, random) == pytest.approx(1 / 6, abs=0.12)
    assert clarity(tight[:3], others, random) is None


def responses(values) -> Responses:
    values = np.asarray(values, np.float32)[:, None]
    count = len(values)
    return Responses(np.arange(count) * 3, values, np.zeros((count, 1, 2), np.int32))


def test_a_trial_never_shows_what_the_name_was_made_from():
    made_from = np.array([99 * 3, 98 * 3, 10 * 3])
    found = trial(responses(range(100)), 0, made_from, [], 20, np.random.default_rng(0))
    assert not set(found.rows * 3) & set(made_from.tolist())
    assert found.positive.sum() == 10
    assert sorted(found.rows[found.positive]) == list(range(88, 98))
    assert (found.activations == found.rows).all()


def test_a_trial_covers_all_lower_quantiles_and_has_hard_negatives():
    alike = [97 * 3, 90 * 3, 20 * 3, 7 * 3, 5 * 3]  # the first two are no negatives
    found = trial(responses(range(100)), 0, np.array([]), alike, 20, np.random.default_rng(0))
    lower = found.rows[~found.positive]
    assert {20, 7} <= set(lower.tolist())
    assert len(set(found.rows.tolist())) == 20
    quarters = np.histogram(lower, bins=4, range=(0, 81))[0]
    assert quarters.min() >= 1
    assert lower.max() <= 81


@pytest.mark.parametrize("values", [[1.0] * 100, [0.0] * 95 + [1.0] * 5, list(range(20))])
def test_no_trial_where_positive_and_lower_patches_cannot_be_separated(values):
    assert trial(responses(values), 0, np.array([]), [], 20, np.random.default_rng(0)) is None
