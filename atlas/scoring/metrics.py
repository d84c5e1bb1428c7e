"""How well answers agree with what a channel responds to: estimates for all pictures of the data.

Average precision, F1 and Pearson's correlation, on the whole range of activations: of the usual
measures these pass the sanity checks for evaluations of neuron explanations (NeuronEval, ICML
2025). Recall, plain AUC, and all measures on samples of best and random pictures alone do not: they
cannot see that a name is too broad.

Each answer counts for as many pictures as its patch stands for. What is uncertain is drawn by the
Bayesian bootstrap (Rubin 1981) within strata. From a dozen pictures without a false alarm it does
not follow that there is none among thousands; so on either side, of the pictures that the channel
responds to and of the others, one more picture is imagined that nobody has seen, whose answer is
that of any patch of the trial. An estimate is the mean of the draws, its interval holds 95 % of
them. `benchmarks/naming.py` has how right both are.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

STEPS = 4
"""Answers count in quarters, from no to yes: of so few patches finer ones say nothing but which
patch happened to come first."""

UNSEEN = 1.0
"""Pictures that are imagined on either side."""

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A measure for all pictures, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """How well answers agree with a channel."""

    ap: Estimate
    """Average precision, 0 to 1: that of answers without meaning is the base rate."""
    f1: Estimate
    """Harmonic mean of precision and recall at the best threshold, 0 to 1."""
    correlation: Estimate
    """Pearson's correlation of answers and largest outputs, -1 to 1."""


def agreement(
    answers: Floats,
    positive: Booleans,
    weights: Floats,
    strata: Integers,
    activations: Floats,
    resamples: int,
    seed: int,
) -> Agreement:
    """Estimate how well answers agree with a channel, from the patches of a trial.

    Parameters
    ----------
    answers : ndarray
        (n,), probability of yes, 0 to 1.
    positive : ndarray
        bool (n,), what the channel responds to; some and not all.
    weights : ndarray
        (n,), how many pictures each patch stands for.
    strata : ndarray
        int64 (n,): patches of one are a random sample of the same pictures, of one side.
    activations : ndarray
        (n,), the channel's largest output in the picture.
    resamples : int
        How many draws.
    seed : int
        Seed of the draws.
    """
    random = np.random.default_rng(seed)
    answers = in_steps(answers)
    names, first, place = np.unique(strata, return_index=True, return_inverse=True)
    mass, sizes = np.bincount(place, weights), np.bincount(place)
    side = positive[first]
    unseen = UNSEEN * mass / np.where(side, mass[side].sum(), mass[~side].sum())
    shape = np.concatenate([np.ones(len(answers)), unseen])
    of = np.concatenate([place, np.arange(len(names))])
    drawn = random.standard_gamma(shape, (resamples, len(shape)))
    sums = np.stack([drawn[:, of == stratum].sum(1) for stratum in range(len(names))], axis=1)
    drawn *= (mass / sums)[:, of]
    imagined = random.choice(answers, (resamples, len(names)))
    said = np.concatenate([np.broadcast_to(answers, (resamples, len(answers))), imagined], axis=1)
    sides = np.concatenate([positive, side])
    outputs = np.concatenate([activations, np.bincount(place, activations) / sizes])
    measures = (
        average_precision(said, sides, drawn),
        _f1(said, sides, drawn, best_threshold(answers, positive, weights)),
        correlation(said, outputs, drawn),
    )
    return Agreement(*map(_estimate, measures))


def _estimate(draws: Floats) -> Estimate:
    """Return the mean of draws and their interval, which few large ones must not leave below it."""
    mean = float(draws.mean())
    low, high = map(float, np.quantile(draws, [0.025, 0.975]))
    return Estimate(mean, min(low, mean), max(high, mean))


def in_steps(answers: Floats) -> Floats:
    """Return answers as they count, in quarters."""
    rounded: Floats = np.rint(np.asarray(answers, np.float64) * STEPS) / STEPS
    return rounded


def average_precision(answers: Floats, positive: Booleans, weights: Floats) -> Floats:
    """Return the area under the precision-recall curve, as the sum over steps of recall.

    Parameters
    ----------
    answers : ndarray
        (..., n), in quarters. Ties count as one step.
    positive : ndarray
        bool (n,), at least one of them true.
    weights : ndarray
        (..., n).
    """
    hits, others = _levels(answers, positive, weights)
    found, shown = hits.cumsum(-1), (hits + others).cumsum(-1)
    area: Floats = (hits * found / np.maximum(shown, 1e-12)).sum(-1) / found[..., -1]
    return area


def best_threshold(answers: Floats, positive: Booleans, weights: Floats) -> float:
    """Return from which answer on yes gives the highest F1; of equal ones the highest answer."""
    hits, others = (each.cumsum() for each in _levels(answers, positive, weights))
    f1 = 2 * hits / (hits + others + hits[-1])
    return float(1 - f1.argmax() / STEPS)


def correlation(answers: Floats, activations: Floats, weights: Floats) -> Floats:
    """Return Pearson's correlation, -1 to 1, of (..., n) each; 0 where one of them is constant."""
    share = weights / weights.sum(-1, keepdims=True)
    a = answers - (share * answers).sum(-1, keepdims=True)
    b = activations - (share * activations).sum(-1, keepdims=True)
    scale = np.sqrt((share * a * a).sum(-1) * (share * b * b).sum(-1))
    both = (share * a * b).sum(-1)
    result: Floats = np.divide(both, scale, out=np.zeros_like(both), where=scale > 1e-12)
    return result


def _f1(answers: Floats, positive: Booleans, weights: Floats, threshold: float) -> Floats:
    yes = answers >= threshold
    hits = (weights * (yes & positive)).sum(-1)
    result: Floats = 2 * hits / ((weights * yes).sum(-1) + (weights * positive).sum(-1))
    return result


def _levels(answers: Floats, positive: Booleans, weights: Floats) -> tuple[Floats, Floats]:
    """Return the weight of positive and other patches with each answer, from yes down to no."""
    level = [(answers == 1 - step / STEPS) * weights for step in range(STEPS + 1)]
    hits = np.stack([(each * positive).sum(-1) for each in level], axis=-1)
    others = np.stack([(each * ~positive).sum(-1) for each in level], axis=-1)
    return hits, others
