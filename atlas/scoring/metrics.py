"""Measures of agreement between answers and activations.

Average precision and Pearson's correlation, since of the usual measures these pass the sanity
checks for evaluations of neuron explanations (NeuronEval, ICML 2025); recall, plain AUC and
correlation on samples of best and random pictures do not.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def average_precision(answers: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """Return the area under the precision-recall curve, as the sum over steps of recall.

    Parameters
    ----------
    answers : ndarray
        (n,), higher means fits better. Ties count as one step.
    positive : ndarray
        bool (n,), at least one of them true.
    """
    order = np.argsort(-answers, kind="stable")
    hits = np.cumsum(positive[order])
    last = np.append(np.diff(answers[order]) != 0, True)  # of each run of equal answers
    hits, shown = hits[last], np.flatnonzero(last) + 1
    steps = np.diff(hits, prepend=0) / positive.sum()
    return float((steps * hits / shown).sum())


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
    groups = np.flatnonzero(positive), np.flatnonzero(~positive)
    values = []
    for _ in range(resamples):
        rows = np.concatenate([random.choice(group, len(group)) for group in groups])
        values.append(average_precision(answers[rows], positive[rows]))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
