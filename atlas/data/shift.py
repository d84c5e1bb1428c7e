"""Whether labels seem to be shifted: they begin at another number than the outputs.

No rule of names can notice that a file, a data set or a person counts from 1 where the network
counts from 0. The network's own answers can: it then agrees with the output beside the label far
more often than with the label's.
"""

import math
from collections import Counter
from collections.abc import Sequence

CHANCE = 1e-6
"""Agreement that a network without any knowledge would reach with this probability or more is
taken for chance. (A bound for sums by Chernoff and Hoeffding.)"""

TIMES = 3
"""Agreement must be this many times that with the labels as they are."""

CLASSES = 3
"""In so many classes at least, and in most in which there is either agreement, it must be higher
than with their own label: one breed that the network takes for the next is no shift."""


def shifted(labels: Sequence[int | None], predicted: Sequence[int], outputs: int) -> str | None:
    """Say whether labels seem to be shifted by one against the outputs.

    Parameters
    ----------
    labels : sequence of (int or None)
        The output that each picture's label is taken for; None for a picture without.
    predicted : sequence of int
        The output that the network predicts for each.
    outputs : int
        How many the network has; the one beside the last is the first.

    Returns
    -------
    str or None
        A sentence with the numbers; None where nothing speaks for it, or too little.
    """
    pairs = [(a, b) for a, b in zip(labels, predicted, strict=True) if a is not None]
    if not pairs or outputs < CLASSES:
        return None
    agreeing = Counter(a for a, b in pairs if a == b)
    for step, word in ((1, "next"), (-1, "previous")):
        beside = Counter(a for a, b in pairs if b == (a + step) % outputs)
        hits, own = beside.total(), agreeing.total()
        better = [label for label in beside if beside[label] > agreeing[label]]
        classes = len(beside.keys() | agreeing.keys())
        if (
            hits >= TIMES * own
            and len(better) >= CLASSES
            and 2 * len(better) > classes
            and _chance(pairs, hits, step, outputs) < CHANCE
        ):
            return (
                f"the labels seem to be shifted by one: of {len(pairs)} labelled pictures the "
                f"network predicts the output of the label for {own} and the {word} one for "
                f"{hits}, in {len(better)} classes; see data.labels and model.classes"
            )
    return None


def _chance(pairs: Sequence[tuple[int, int]], hits: int, step: int, outputs: int) -> float:
    """Bound the probability of so many hits if predictions had nothing to do with labels."""
    count = len(pairs)
    labelled, predicted = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    expected = sum(
        number * predicted[(label + step) % outputs] / count for label, number in labelled.items()
    )
    share, usual = hits / count, expected / count
    if share <= usual:
        return 1.0
    distance = share * math.log(share / usual)
    if share < 1:
        distance += (1 - share) * math.log((1 - share) / (1 - usual))
    return math.exp(-count * distance)
