"""Detection: which patches a name is tested on; none of them is one that it was made from.

Half of the patches are from pictures to which the channel answers most, the rest from all the
lower quantiles of its activation, among them, as hard negatives, pictures that hold patches much
like its references though the channel hardly answers to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atlas.probe.probe import Responses

HARD = 0.25
"""Share of the lower patches that are hard negatives."""

QUIET = 0.5
"""Hard negatives are pictures below this quantile of the channel's activation."""

LOW = 0.9
"""The lower patches are spread evenly over the quantiles below this one."""


@dataclass(frozen=True)
class Trial:
    """The patches that one channel is tested on: rows of the responses.

    Attributes
    ----------
    rows : ndarray
        int64 (patches,).
    positive : ndarray
        bool (patches,): those that the channel answers to most.
    activations : ndarray
        float64 (patches,).
    """

    rows: npt.NDArray[np.int64]
    positive: npt.NDArray[np.bool_]
    activations: npt.NDArray[np.float64]


def trial(
    responses: Responses,
    column: int,
    excluded: npt.NDArray[np.int64],
    alike: Sequence[int],
    patches: int,
    random: np.random.Generator,
) -> Trial | None:
    """Choose the patches of a channel.

    Parameters
    ----------
    responses : Responses
        Responses of all channels.
    column : int
        The channel.
    excluded : ndarray
        int64, rows of images.parquet that its name was made from: never shown again.
    alike : sequence of int
        Rows of images.parquet with patches like its references, most similar first.
    patches : int
        How many to choose.
    random : Generator
        Draws the lower patches.

    Returns
    -------
    Trial or None
        None where the channel is the same in all pictures, or too few pictures are left.
    """
    values = responses.values[:, column]
    left = np.flatnonzero(~np.isin(responses.images, excluded))
    order = left[np.argsort(-values[left], kind="stable")]
    high = patches // 2
    if len(order) < 2 * patches or values[order[high - 1]] <= values[order[-1]]:
        return None
    best, rest = order[:high], order[high:]
    # None of the rest may answer as strongly as a positive one.
    rest = rest[values[rest] < values[best[-1]]]
    lower = rest[int((1 - LOW) * len(rest)) :]
    if len(lower) < patches - high:
        return None
    quiet = set(rest[values[rest] <= np.quantile(values[left], QUIET)].tolist())
    where = {int(image): row for row, image in enumerate(responses.images)}
    hard = [row for image in alike if (row := where.get(image, -1)) in quiet]
    hard = hard[: int(HARD * (patches - high))]
    strata = np.array_split(lower[~np.isin(lower, hard)], patches - high - len(hard))
    spread = [int(random.choice(stratum)) for stratum in strata]
    rows = np.array([*best.tolist(), *hard, *spread], np.int64)
    return Trial(rows, np.arange(len(rows)) < high, values[rows].astype(np.float64))
