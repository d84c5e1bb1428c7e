"""What a name of the demo world says, and how right names are: for `benchmarks/naming.py`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from atlas.demo.world import ATTRIBUTES, DrawnPicture

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

Truths = Mapping[tuple[str, int], tuple[Concept, bool, tuple[str, str]]]
"""Of each channel, what its references share, whether it is clear, and its meaning."""

Scores = Mapping[tuple[str, int], Mapping[str, Any]]
"""Of each channel, the record of its test."""


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


ALL, EVERYTHING, SOMETHING, NOTHING = (
    "all clear channels",
    "what activates them shares all of it",
    "... some of it",
    "... nothing of it",
)


def score_rows(
    truth: Truths, active: Truths, scores: Scores, pictures: Mapping[int, DrawnPicture]
) -> list[list[object]]:
    """Return how names of clear channels do beside borrowed ones, and how the truth would do.

    Names are tested on activations. A channel is clear for this test when its activation
    references share all that is shared by those which its name is made from. Where they share
    nothing of it, the truth about the latter is no better than another name.
    """
    groups: dict[str, list[list[float]]] = {
        name: [] for name in (EVERYTHING, SOMETHING, NOTHING, ALL)
    }
    for address, (shared, clear, _) in truth.items():
        if not clear or not shared or address not in scores:
            continue
        score = scores[address]
        positive = np.array(score["positive"])
        attributes = [pictures[image].attributes.items() for image in score["images"]]

        def predicted(concept: Concept, attributes: list[Any] = attributes) -> list[float]:
            return [len(concept & set(items)) / max(len(concept), 1) for items in attributes]

        true, borrowed = (
            average_precision_score(positive, predicted(concept))
            for concept in (shared, understood(score["borrowed_name"]))
        )
        row = [
            score["detection"],
            score["borrowed"],
            float(score["detection"] > score["borrowed"]),
            float(true > borrowed),
        ]
        both = active[address][0] & shared
        groups[EVERYTHING if both == shared else SOMETHING if both else NOTHING].append(row)
        groups[ALL].append(row)
    return [
        [name, len(rows), *np.mean(rows, axis=0).tolist()] for name, rows in groups.items() if rows
    ]
