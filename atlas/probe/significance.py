"""Whether chance could give what was found: two halves of the pictures, p values, many channels."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Booleans = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_SEED = 0
_EXACT = 8  # pictures on the smaller side up to which p values are exact


def halves(classes: npt.NDArray[np.int64]) -> tuple[Booleans, Booleans]:
    """Deal pictures out to two halves, as evenly from each class as can be.

    What is chosen as the best of many on one half is tested on the other as if it had been the
    only one. Pictures are taken two by two in the order of their classes, so that classes with
    numbers near each other, which are often alike, are in both halves too.

    Parameters
    ----------
    classes : ndarray
        int64 (pictures,), the class of each picture; below 0 for none.

    Returns
    -------
    tuple of ndarray
        bool (pictures,) each. Pictures without a class are in neither half.
    """
    random = np.random.default_rng(_SEED)
    order = np.lexsort((random.random(len(classes)), classes))
    order = order[classes[order] >= 0]
    place = np.arange(len(order))
    swapped = random.integers(0, 2, (len(order) + 1) // 2)[place // 2]
    first = np.zeros(len(classes), np.bool_)
    first[order[(place + swapped) % 2 == 0]] = True
    return first, ~first & (classes >= 0)


def ranks(values: npt.NDArray[np.floating]) -> Floats:
    """Return the ranks, from 1, of the rows in each column; ties share their mean rank."""
    result = np.empty(values.shape)
    for column, each in enumerate(values.T):
        _, place, counts = np.unique(each, return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        result[:, column] = (last - (counts - 1) / 2)[place]
    return result


def auc(ranked: Floats, shown: Booleans) -> float:
    """Return the area under the ROC curve: how often a picture that has a label ranks higher.

    Parameters
    ----------
    ranked : ndarray
        (pictures,), from `ranks`.
    shown : ndarray
        bool (pictures,), some and not all.
    """
    positive = int(shown.sum())
    above = ranked[shown].sum() / positive - (positive + 1) / 2
    return float(above / (len(shown) - positive))


def p_value(values: npt.NDArray[np.floating], shown: Booleans) -> float:
    """Return the p value of Mann and Whitney's test that values are higher where `shown`.

    It is exact where one side has at most 8 pictures; ties then count against the label, so that
    p is never too small. Else it is the normal approximation with corrections for ties and
    continuity, whose p is too large rather than too small far out.

    Parameters
    ----------
    values : ndarray
        (pictures,), or their ranks.
    shown : ndarray
        bool (pictures,), some and not all.
    """
    from scipy.stats import mannwhitneyu  # noqa: PLC0415 (slow to import)

    exact = min(shown.sum(), (~shown).sum()) <= _EXACT
    if exact:
        order = np.lexsort((~shown, values))  # of equal ones those that are shown come first
        values = np.empty(len(order))
        values[order] = np.arange(len(order))
    method = "exact" if exact else "asymptotic"
    found = mannwhitneyu(values[shown], values[~shown], alternative="greater", method=method)
    return float(np.nan_to_num(found.pvalue, nan=1.0))


def false_discovery(p_values: Sequence[float]) -> Floats:
    """Return for each p value the false discovery rate at which it would just pass.

    Of all that are at most q, on average at most the share q are false (Benjamini and Hochberg
    1995), also where the tests depend on each other positively (Benjamini and Yekutieli 2001).
    """
    from scipy.stats import false_discovery_control  # noqa: PLC0415 (slow to import)

    if not len(p_values):
        return np.zeros(0)
    found: Floats = false_discovery_control(p_values, method="bh")
    return found
