"""Clarity: how easily a stranger is distinguished from a channel's references, without any name."""

import numpy as np
import numpy.typing as npt

GROUP = 5
"""References that the stranger is put among."""

TRIALS = 100

Vectors = npt.NDArray[np.float32]


def clarity(own: Vectors, others: Vectors, random: np.random.Generator) -> float | None:
    """Return how often the patch that is least like the rest is the stranger.

    Chance gives 1 / (GROUP + 1). The intrusion test is that of Chang et al. 2009 for topic
    models, with cosine similarities in the place of people.

    Parameters
    ----------
    own : ndarray
        float32 (references, dimension), rows of length one.
    others : ndarray
        float32 (n, dimension), patches of other channels.
    random : Generator
        Draws references and strangers.

    Returns
    -------
    float or None
        0 to 1; None with fewer references than `GROUP`.
    """
    if len(own) < GROUP or not len(others):
        return None
    found = 0
    for _ in range(TRIALS):
        mine = own[random.permutation(len(own))[:GROUP]]
        group = np.vstack([mine, others[random.integers(len(others))]])
        similarity = group @ group.T
        np.fill_diagonal(similarity, 0)
        found += int(similarity.sum(1).argmin() == GROUP)
    return found / TRIALS
