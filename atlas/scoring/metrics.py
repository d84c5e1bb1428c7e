"""Measures of agreement between answers and activations.

Average precision and Pearson's correlation, since of the usual measures these pass the sanity
checks for evaluations of neuron explanations (NeuronEval, ICML 2025); recall, plain AUC and
correlation on samples of best and random pictures do not.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


def average_precision(answers: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """Return the area under the precision-recall curve, as the sum over steps of recall.

    Parameters
    ----------
    answers : ndarray
        (n,), higher means fits better. Ties count as one step.
    positive : ndarray
        bool (n,), at least one of them true.
    """
    return float(_area(*_counts(answers, positive)))


def pearson(answers: Floats, activations: Floats) -> float:
    """Return Pearson's correlation, -1 to 1; 0 where one of them is constant."""
    a, b = answers - answers.mean(), activations - activations.mean()
    scale = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / scale) if scale > 0 else 0.0


def interval(
    answers: Floats, positive: npt.NDArray[np.bool_], resamples: int, seed: int
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the average precision.

    Positive and other patches are drawn apart, so that each sample has as many of both.
    """
    random = np.random.default_rng(seed)
    drawn = [
        # As many with each answer as draws with replacement give.
        random.multinomial(count.sum(), count / count.sum(), resamples)
        for count in _counts(answers, positive)
    ]
    low, high = np.quantile(_area(*drawn), [0.025, 0.975])
    return float(low), float(high)


def _counts(answers: Floats, positive: npt.NDArray[np.bool_]) -> tuple[Counts, Counts]:
    """Return how many positive and other patches have each answer, from the highest down."""
    levels, level = np.unique(-answers, return_inverse=True)
    hits, others = (
        np.bincount(level[group], minlength=len(levels)) for group in (positive, ~positive)
    )
    return hits, others


def _area(hits: Counts, others: Counts) -> Floats:
    """Return the average precision of counts (..., answers)."""
    found = hits.cumsum(-1)
    shown = np.maximum(found + others.cumsum(-1), 1)  # a draw may leave the first answers out
    area: Floats = (hits * found / shown).sum(-1) / found[..., -1]
    return area
