"""What a name of the demo world says, and how right names are: for `benchmarks/naming.py`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas.demo.world import ATTRIBUTES
from atlas.store import DOUBTFUL, standing

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
"""Of each channel, its row of channels.parquet, or the record of its test."""

Seen = Mapping[tuple[str, int], Sequence[Mapping[str, str]]]
"""Of each channel, what its references of one mode show."""


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


def score_rows(truth: Truths, active: Truths, table: Scores) -> list[list[object]]:
    """Return what names of clear channels score beside names that say nothing of them.

    Names are tested on activations. Channels are parted by how much of what the references share
    that their name is made from their activation references share as well. Where they share nothing
    of it, the channel may have a name for what it fires for, and then that is what is tested.

    Parameters
    ----------
    truth, active : mapping
        What the references share that names are made from, and those by activation.
    table : mapping
        Rows of channels.parquet.
    """
    groups: dict[str, list[list[float]]] = {
        name: [] for name in (EVERYTHING, SOMETHING, NOTHING, ALL)
    }
    for address, (shared, clear, _) in truth.items():
        score = table[address]
        if not clear or not shared or score["score_ap"] is None:
            continue
        columns = ("base_rate", "borrowed_ap", "frequent_ap")
        others = [float(score[f"score_{name}"]) for name in columns]
        above = float(bool(standing.above_chance(score)))
        row = [float(score["score_ap"]), *others, above]
        both = active[address][0] & shared if address in active else frozenset()
        groups[EVERYTHING if both == shared else SOMETHING if both else NOTHING].append(row)
        groups[ALL].append(row)
    return [
        [name, len(rows), *np.mean(rows, axis=0).tolist()] for name, rows in groups.items() if rows
    ]


FITS, CONTRADICTS = 0.8, 0.25
"""A name fits a side of which it is right on at least the first share, and is contradicted by one
of which it is right on at most the second."""


def side_rows(used: Seen, fires: Seen, table: Scores) -> list[list[object]]:
    """Return how often names are contradicted by activation references, and both sides are right.

    Parameters
    ----------
    used, fires : mapping
        What the references of each channel show, by relevance and by activation.
    table : mapping
        Rows of channels.parquet.
    """
    named = {a: row for a, row in table.items() if row["name"] and used.get(a) and fires.get(a)}
    contradicted, unsaid, one_sided, found = 0, 0, 0, 0
    exactly: list[tuple[bool, bool]] = []
    fitting: list[tuple[bool, bool]] = []
    for address, row in named.items():
        concept = understood(row["name"])
        if _right(concept, used[address]) >= FITS and (
            _right(concept, fires[address]) <= CONTRADICTS
        ):
            contradicted += 1
            unsaid += row["name_state"] not in DOUBTFUL
        shared = [_shared(side[address]) for side in (used, fires)]
        if not shared[0] or _right(shared[0], fires[address]) > CONTRADICTS:
            continue
        one_sided += 1
        if row["name_state"] != "one-sided":
            continue
        found += 1
        said = [understood(row[column]) for column in ("used_for", "fires_for")]
        exactly.append((said[0] == shared[0], said[1] == shared[1]))
        fitting.append((
            bool(said[0]) and _right(said[0], used[address]) >= FITS,
            _right(said[1], fires[address]) >= FITS if said[1] else not shared[1],
        ))  # fmt: skip

    def share(pairs: Sequence[tuple[bool, bool]], side: int | None = None) -> float:
        return float(np.mean([all(pair) if side is None else pair[side] for pair in pairs]))

    return [
        ["named channels with references of both modes", len(named), ""],
        ["... whose name fits its own side and not what activates them", contradicted,
         contradicted / len(named)],
        ["... and no state says so", unsaid, unsaid / len(named)],
        ["channels whose references by relevance share what those by activation do not",
         one_sided, one_sided / len(named)],
        ["... found to be one-sided", found, found / one_sided],
        ["... what they are used for is named exactly", "", share(exactly, 0)],
        ["... what they fire for is named exactly", "", share(exactly, 1)],
        ["... both exactly", "", share(exactly)],
        ["... both names fit at least 80 % of their side", "", share(fitting)],
    ]  # fmt: skip


def _right(concept: Concept, references: Sequence[Mapping[str, str]]) -> float:
    """Return the share of references that show all of a concept; none shows an empty one."""
    if not concept:
        return 0.0
    return float(np.mean([all(one.get(k) == v for k, v in concept) for one in references]))


def _shared(references: Sequence[Mapping[str, str]]) -> Concept:
    """Return what at least 80 % of the references show, where all of it is in so many."""
    counts = Counter(item for one in references for item in one.items() if item[0] in KINDS)
    return frozenset(item for item, count in counts.items() if count >= FITS * len(references))
