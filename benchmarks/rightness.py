"""What a name of the demo world says, and how right names are: for `benchmarks/naming.py`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atlas.demo.world import ATTRIBUTES

KINDS = ("colour", "texture", "shape", "background")

OTHER_WORDS = {
    "disc": "circle", "round": "circle", "circular": "circle", "ball": "circle", "dot": "dotted",
    "triangular": "triangle", "starry": "star", "plus": "cross", "cruciform": "cross",
    "squared": "square", "rectangle": "square", "solid": "plain", "uniform": "plain",
    "stripe": "striped", "stripy": "striped", "check": "checked", "checkered": "checked",
    "checkerboard": "checked", "chequered": "checked", "polka": "dotted", "spotted": "dotted",
    "chevron": "zigzag", "zig": "zigzag", "teal": "turquoise", "cyan": "turquoise",
    "violet": "purple", "magenta": "pink", "brick": "bricks", "wave": "waves", "wavy": "waves",
    "cloud": "clouds", "cloudy": "clouds", "pebble": "pebbles", "stones": "pebbles",
    "rainy": "rain",
}  # fmt: skip
"""Other words for the same values, as general models use them."""

Concept = frozenset[tuple[str, str]]


def understood(name: str | None) -> Concept:
    """Return the attributes that a name speaks of."""
    if not name:
        return frozenset()
    kinds = {value: kind for kind in KINDS for value in ATTRIBUTES[kind]}
    said = "".join(c if c.isalnum() else " " for c in name.casefold()).split()
    found = set()
    for word in said:
        forms = (word, word.removesuffix("s"), word.removesuffix("es"))
        value = next((v for f in forms if (v := OTHER_WORDS.get(f, f)) in kinds), None)
        if value is not None and (kinds[value] != "background" or "background" in said):
            found.add((kinds[value], value))
    return frozenset(found)


@dataclass(frozen=True)
class Named:
    """What was said of a sheet or channel, and what is true."""

    group: str
    truth: Concept
    said: Concept


def exact(named: Sequence[Named]) -> float:
    """Return the share of names that say what is shared and nothing else."""
    return float(np.mean([one.truth == one.said for one in named]))


def majority(named: Sequence[Named]) -> float:
    """Return the share of truths that are the most frequent one."""
    return Counter(one.truth for one in named).most_common(1)[0][1] / len(named)


def dealt_anew(named: Sequence[Named], random: np.random.Generator) -> float:
    """Return the share that is exact when names go to others of the same group."""
    said = [named[row].said for row in random.permutation(len(named))]
    return float(np.mean([one.truth == other for one, other in zip(named, said, strict=True)]))


def per_attribute(named: Sequence[Named]) -> list[tuple[str, float, float]]:
    """Return precision and recall of each attribute, averaged over its values."""
    rows = []
    for kind in KINDS:
        precisions, recalls = [], []
        for value in ATTRIBUTES[kind]:
            item = (kind, value)
            hits = sum(item in one.truth and item in one.said for one in named)
            said = sum(item in one.said for one in named)
            true = sum(item in one.truth for one in named)
            if said:
                precisions.append(hits / said)
            if true:
                recalls.append(hits / true)
        if recalls:
            rows.append((kind, float(np.mean(precisions or [0.0])), float(np.mean(recalls))))
    return rows
