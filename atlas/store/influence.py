"""Which influences on a channel are worth a word."""

from collections.abc import Mapping

WORTH_A_WORD: Mapping[str, tuple[float, float]] = {"hue": (0.5, 1.0), "shape": (0.5, 1.0)}
"""From which drop of the activation on, and how many spreads above the layer's median, it is said
that a channel reacts to something. On the demo network, where it is known what channels mean, that
is right for more than 90 % of the channels (`benchmarks/because.py`). No level is for texture,
saturation and contrast: these are numbers alone."""


Influence = Mapping[str, float | None] | None
"""A structure of channels.parquet: a number for each kind of change."""


def worth_a_word(influence: Influence, relative: Influence) -> list[str]:
    """Return to what a channel reacts more than the others of its layer.

    Parameters
    ----------
    influence, relative : mapping, optional
        The columns `influence` and `influence_relative` of a row of channels.parquet.
    """
    return [
        kind
        for kind, (drop, spreads) in WORTH_A_WORD.items()
        if _reaches(influence, kind, drop) and _reaches(relative, kind, spreads)
    ]


def _reaches(values: Influence, kind: str, least: float) -> bool:
    value = (values or {}).get(kind)
    return value is not None and value >= least
