"""Rank-biased overlap of two rankings (Webber, Moffat and Zobel, ACM TOIS 28(4), 2010)."""

from collections.abc import Hashable, Sequence

PERSISTENCE = 0.9
"""The paper's p: the first ten ranks have 86 % of the weight."""


def rank_biased_overlap(
    first: Sequence[Hashable], second: Sequence[Hashable], p: float = PERSISTENCE
) -> float:
    """Return the extrapolated rank-biased overlap of two rankings (RBO_EXT, equation 32).

    Parameters
    ----------
    first, second : sequence
        Best first, each without repetitions; of any lengths.
    p : float
        Persistence, above 0 and below 1.

    Returns
    -------
    float
        From 0 (nothing in common) to 1 (the same); 1 for two empty rankings, and 0 if only one
        is empty.
    """
    short, long = sorted((first, second), key=len)
    if not short:
        return 0.0 if long else 1.0
    seen_short: set[Hashable] = set()
    seen_long: set[Hashable] = set()
    common, agreement, total = 0.0, 0.0, 0.0
    for depth, item in enumerate(long, 1):
        seen_long.add(item)
        if depth <= len(short):
            seen_short.add(short[depth - 1])
            common = len(seen_short & seen_long)
            at_end = common / depth  # agreement where the shorter ranking ends
            agreement = at_end
        else:
            # What the shorter ranking does not list agrees as often as what it lists.
            found = len(seen_short & seen_long)
            agreement = (found + at_end * (depth - len(short))) / depth
        total += p ** (depth - 1) * agreement
    return (1 - p) * total + p ** len(long) * agreement
