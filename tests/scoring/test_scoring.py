import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from atlas.scoring import metrics, testing
from atlas.scoring.clarity import clarity
from atlas.scoring.trials import KeptRange, part, trial
from atlas.store import open_store
from tests.scoring.drawn import EDGES, channel, kept, precision_and_recall


def answered(random, count=60):
    """Return answers in quarters, what is positive, and weights."""
    positive = random.random(count) < 0.3
    positive[:2] = True, False
    answers = np.clip(random.normal(0.3 + 0.4 * positive, 0.3), 0, 1)
    return metrics.in_steps(answers), positive, random.random(count) + 0.1


@pytest.mark.parametrize("seed", range(10))
def test_weighted_measures_are_those_of_scikit_learn_and_numpy(seed):
    random = np.random.default_rng(seed)
    answers, positive, weights = answered(random)
    assert metrics.average_precision(answers, positive, weights) == pytest.approx(
        average_precision_score(positive, answers, sample_weight=weights)
    )
    every = {t: f1_score(positive, answers >= t, sample_weight=weights) for t in np.unique(answers)}
    best = metrics.best_threshold(answers, positive, weights)
    yes = answers >= best
    assert f1_score(positive, yes, sample_weight=weights) == pytest.approx(max(every.values()))
    activations = random.normal(size=len(answers)) + positive
    covariance = np.cov(answers, activations, aweights=weights)
    assert metrics.correlation(answers, activations, weights) == pytest.approx(
        covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    )
    assert metrics.correlation(np.ones(len(answers)), activations, weights) == 0


def estimate(answers, positive, weights, strata, seed=0):
    return metrics.agreement(answers, positive, weights, strata, positive * 1.0, 400, seed)


def test_an_answer_counts_for_as_many_pictures_as_it_stands_for():
    """A name that fits a third of all pictures, for a channel that responds to one in fifty.

    Half of the patches are positive, as in tests that cannot see it; 0.06 is right.
    """
    random = np.random.default_rng(0)
    positive = np.arange(400) < 200
    answers = np.where(positive, 1.0, random.random(400) < 0.31)
    alike = estimate(answers, positive, np.ones(400), positive * 1)
    whole = estimate(answers, positive, np.where(positive, 2, 98), positive * 1)
    assert alike.ap.value > 0.7
    assert whole.ap.value == pytest.approx(0.02 / (0.02 + 0.98 * 0.31), abs=0.02)
    assert whole.ap.low < whole.ap.value < whole.ap.high


def test_from_few_pictures_without_a_false_alarm_little_follows():
    def width(count):
        positive = np.arange(2 * count) < count
        weights = np.where(positive, 0.02, 0.98) / count
        found = estimate(positive * 1.0, positive, weights, positive * 1).ap
        assert found.high == pytest.approx(1, abs=0.01)
        return 1 - found.low

    assert width(6) > 0.5 > width(1000)


def test_intervals_are_of_every_measure_and_hold_the_estimate():
    random = np.random.default_rng(3)
    answers, positive, weights = answered(random)
    found = metrics.agreement(
        answers, positive, weights, positive + 2 * (np.arange(60) % 2), positive * 1.0, 500, 0
    )
    for one in (found.ap, found.f1, found.correlation):
        assert one.low < one.value < one.high


def test_a_mean_that_few_draws_make_does_not_leave_its_interval():
    # Best answers are false ones: only in rare draws does the imagined picture say otherwise.
    weights = np.array([7.3] * 6 + [50] * 4 + [59.5] * 2 + [290.8] * 6 + [315.3] * 6)
    positive, strata = np.arange(24) < 10, np.repeat([11, 9, 8, 2, 0], [6, 4, 2, 6, 6])
    answers = np.where(np.arange(24) == 20, 1.0, 0.0)
    found = metrics.agreement(answers, positive, weights, strata, positive * 1.0, 400, 2)
    for one in (found.ap, found.f1, found.correlation):
        assert one.low <= one.value <= one.high


# Trials


def test_a_trial_never_shows_what_the_name_was_made_from_and_stands_for_all_pictures():
    random = np.random.default_rng(0)
    activations = channel(random, 4_000, 0.05)
    one = kept(activations, random)
    made_from = one.image[::3]
    found = trial(one, made_from, 40)
    assert not set(found.image.tolist()) & set(made_from.tolist())
    assert found.weight.sum() == pytest.approx(4_000)
    assert (found.activation == activations[found.image]).all()
    assert found.base_rate == pytest.approx((activations >= found.least).mean())


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
def test_a_channel_responds_from_half_of_the_way_to_its_best_pictures_on(rate):
    random = np.random.default_rng(1)
    found = trial(kept(channel(random, 4_000, rate), random), np.array([]), 40)
    assert found.least in EDGES
    assert found.base_rate == pytest.approx(rate, rel=0.3)


def test_half_of_a_part_are_pictures_that_the_channel_responds_to_and_each_stratum_is_in_it():
    random = np.random.default_rng(2)
    whole = trial(kept(channel(random, 4_000, 0.05), random), np.array([]), 40)
    rows, few = part(whole, 14)
    assert (few.image == whole.image[rows]).all()
    assert few.positive.sum() == 7
    assert set(few.stratum) == set(whole.stratum)
    assert few.weight.sum() == pytest.approx(whole.weight.sum())
    # Those that stand for most are shown most.
    stratum = whole.stratum[whole.weight.argmax()]
    shown = np.bincount(few.stratum, minlength=20)
    assert shown[stratum] == max(shown[::2])


@pytest.mark.parametrize("values", [np.zeros(400), np.ones(400), -np.ones(400)])
def test_no_trial_where_a_channel_responds_to_all_pictures_alike(values):
    assert trial(kept(values, np.random.default_rng(0)), np.array([]), 40) is None


def test_no_trial_where_all_that_it_responds_to_was_shown_to_the_namer():
    random = np.random.default_rng(0)
    activations = channel(random, 1_000, 0.02)
    one = kept(activations, random)
    responding = one.image[one.activation >= activations.max() / 3]
    assert trial(one, responding, 40) is None


def test_a_channel_without_pictures_has_no_trial():
    none = np.array([], np.int64)
    empty = KeptRange(none, none, none * 1.0, none * 1.0, none.reshape(0, 2), [1.0, 2.0], [3], 10)
    assert trial(empty, none, 40) is None


def test_an_atlas_that_keeps_no_bands_says_what_to_do(built, project, tmp_path, run):
    root = shutil.copytree(built, tmp_path / "atlas")
    (root / "bands.parquet").unlink()
    manifest = json.loads((root / "manifest.json").read_text())
    del manifest["bands"], manifest["files"]["bands.parquet"]
    (root / "manifest.json").write_text(json.dumps(manifest))
    layer = open_store(root).manifest()["layers"][0]
    assert run("rename", root, f"{layer}:0", "edges", "--by", "A. Person").returncode == 0
    done = run("score", root, "--trust-code")
    assert done.returncode == 2
    [line] = [one for one in done.stderr.splitlines() if one.startswith("atlas:")]
    assert "with prepass.bands = 6" in line
    settings = ["naming.method=labels", "scoring.in_build=true", "prepass.bands=0"]
    more = [part for one in settings for part in ("--set", one)]
    done = run("build", project / "tiny.toml", "--out", tmp_path / "new", *more)
    assert done.returncode == 2 and "scoring.in_build" in done.stderr


# What scores are for


def score(fits, activations, random):
    """Return the estimate of a name that is right where `fits`, and the truth about it."""
    found = trial(kept(activations, random), np.array([]), 40)
    ap = metrics.agreement(
        fits[found.image] * 1.0, found.positive, found.weight, found.stratum, found.activation,
        300, 0,
    ).ap  # fmt: skip
    return ap, average_precision_score(activations >= found.least, fits)


def test_names_that_are_too_broad_or_too_narrow_lose_clearly():
    """The sanity checks of NeuronEval: a superclass, and half of the pictures."""
    random = np.random.default_rng(0)
    scores = []
    for _ in range(60):
        activations = channel(random, 4_000, rate := random.uniform(0.02, 0.15))
        right = precision_and_recall(activations, random, 0.95, 0.95)
        broad = right | (random.random(4_000) < 4 * rate)
        narrow = right & (random.random(4_000) < 0.5)
        scores.append([score(one, activations, random)[0].value for one in (right, broad, narrow)])
    right, broad, narrow = np.array(scores).T
    assert right.mean() > broad.mean() + 0.3
    assert right.mean() > narrow.mean() + 0.2
    assert (right > broad).mean() > 0.95
    assert (right > narrow).mean() > 0.85


def test_estimates_are_right_on_average_and_intervals_hold_the_truth():
    random = np.random.default_rng(0)
    errors, holds = [], []
    for _ in range(150):
        activations = channel(random, 4_000, rate := 10 ** random.uniform(-2, -0.5))
        precision = random.uniform(max(0.1, rate), 1)
        fits = precision_and_recall(activations, random, precision, random.uniform(0.2, 1))
        ap, truth = score(fits, activations, random)
        errors.append(ap.value - truth)
        holds.append(ap.low <= truth <= ap.high)
    assert abs(np.mean(errors)) < 0.05
    assert 0.9 <= np.mean(holds) <= 0.99


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


def test_another_name_changes_the_borrowed_names_of_few_channels():
    names = [f"name {number}" for number in range(200)]
    before = [testing._drawn(names, f"0 {row}") for row in range(300)]
    after = [testing._drawn([*names, "one more"], f"0 {row}") for row in range(300)]
    changed = sum(one != other for one, other in zip(before, after, strict=True))
    assert 0 < changed < 300 * 3 * testing.BORROWED / 200
    assert len({name for drawn in before for name in drawn}) > 150  # all have their turn
