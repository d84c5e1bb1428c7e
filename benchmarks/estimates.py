"""Are scores of names right? On channels and names that are drawn, for `benchmarks/naming.py`.

Nothing is asked of a model: which pictures a name fits is drawn with a precision and a recall, and
answers are those of a model that knows it, exactly or with some noise. What is kept of each channel
is what the pre-pass keeps.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from atlas.demo.world import ATTRIBUTES, DrawnPicture
from atlas.scoring import metrics
from atlas.scoring.trials import trial
from tests.scoring import drawn

PICTURES = 4_000
RESAMPLES = 400
PATCHES = 40

Booleans = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Rows = list[list[object]]

BROAD, RARE = 0.31, 0.02
"""Of all pictures a broad name fits so many, and the channel responds to so many."""


@dataclass(frozen=True)
class Estimated:
    """An estimate, its interval, and the value on all pictures."""

    value: float
    low: float
    high: float
    truth: float

    @property
    def holds(self) -> bool:
        """Whether the interval has the value."""
        return self.low <= self.truth <= self.high


def estimated(
    activations: Floats, fits: Booleans, noise: float, random: np.random.Generator
) -> Estimated:
    """Score a name as `atlas score` does, and on all pictures."""
    answers = fits.astype(np.float64)
    if noise:
        logits = np.where(fits, 2.0, -2.0) + noise * random.normal(size=len(fits))
        answers = 1 / (1 + np.exp(-logits))
    kept = trial(drawn.kept(activations, random), np.array([], np.int64), PATCHES)
    assert kept is not None
    ap = metrics.agreement(
        answers[kept.image], kept.positive, kept.weight, kept.stratum, kept.activation,
        RESAMPLES, int(random.integers(1 << 30)),
    ).ap  # fmt: skip
    truth = average_precision_score(activations >= kept.least, metrics.in_steps(answers))
    return Estimated(ap.value, ap.low, ap.high, float(truth))


def calibration(count: int, random: np.random.Generator) -> Rows:
    """Return how right estimates of average precision are, by how sure the answers are."""
    rows: Rows = []
    for name, noise in (("exactly", 0.0), ("with some noise", 0.7), ("with much noise", 1.0)):
        found = []
        while len(found) < count:
            rate = 10 ** random.uniform(-2, -0.4)
            precision, recall = random.uniform(max(0.1, rate), 1), random.uniform(0.2, 1)
            activations = drawn.channel(random, PICTURES, rate)
            fits = drawn.precision_and_recall(activations, random, precision, recall)
            found.append(estimated(activations, fits, noise, random))
        error = np.array([one.value - one.truth for one in found])
        rows.append([
            name, count, float(np.mean([one.truth for one in found])), float(error.mean()),
            float(np.abs(error).mean()), float(np.mean([one.high - one.low for one in found])),
            float(np.mean([one.holds for one in found])),
        ])  # fmt: skip
    return rows


def controls(count: int, random: np.random.Generator) -> Rows:
    """Return what names score that are right, too broad, too narrow, or of another channel."""
    names: Mapping[str, Callable[[Booleans], Booleans]] = {
        "right": lambda right: right,
        "broad": lambda right: right | (random.random(PICTURES) < (BROAD - RARE) / (1 - RARE)),
        "narrow": lambda right: right & (random.random(PICTURES) < 0.5),
        "borrowed": random.permutation,
    }
    scores: dict[str, list[Estimated]] = {name: [] for name in names}
    for _ in range(count):
        activations = drawn.channel(random, PICTURES, RARE)
        right = drawn.precision_and_recall(activations, random, 0.95, 0.95)
        for name, made in names.items():
            scores[name].append(estimated(activations, made(right), 0.0, random))
    best = np.array([one.value for one in scores["right"]])
    return [
        [
            name, count, float(np.mean([one.truth for one in found])),
            float(np.mean([one.value for one in found])),
            "" if name == "right" else float(np.mean(best > [one.value for one in found])),
        ]
        for name, found in scores.items()
    ]  # fmt: skip


# The demo's channels


def demo_controls(
    concepts: Mapping[tuple[str, int], frozenset[tuple[str, str]]],
    records: Mapping[tuple[str, int], Mapping[str, Any]],
    pictures: Mapping[int, DrawnPicture],
    random: np.random.Generator,
) -> Rows:
    """Return what the truth scores on the trials of channels, as it is, widened and narrowed.

    Parameters
    ----------
    concepts : mapping
        What the activation references of each clear channel share.
    records : mapping
        Tests on the whole range, whose pictures are taken.
    pictures : mapping
        The truth about each stored picture.
    random : Generator
        Chooses how names are widened and narrowed.
    """
    rows: list[list[float]] = []
    for address, concept in concepts.items():
        if address not in records:
            continue
        record = records[address]
        seen = [set(pictures[image].attributes.items()) for image in record["images"]]
        right = np.array([concept <= one for one in seen])
        wide = _widened(concept, random)
        broad = np.array([any(each <= one for each in wide) for one in seen])
        narrow = right & (random.random(len(right)) < 0.5)
        positive, weights = np.array(record["positive"]), np.array(record["weights"])
        recall = float(weights[positive & right].sum() / weights[positive].sum())
        scores = [
            metrics.agreement(
                one * 1.0, positive, weights, np.array(record["strata"]),
                np.array(record["activations"]), RESAMPLES, 0,
            ).ap.value
            for one in (right, broad, narrow)
        ]  # fmt: skip
        rows.append([recall, *scores])
    table = np.array(rows)
    result: Rows = []
    for name, mine in (
        ("what most that it responds to shows", table[table[:, 0] >= 0.5]),
        ("all", table),
    ):
        _, right, broad, narrow = mine.T
        result.append([
            name, len(mine), float(right.mean()), float(broad.mean()), float(narrow.mean()),
            float((right > broad).mean()), float((right > narrow).mean()),
        ])  # fmt: skip
    return result


def _widened(
    concept: frozenset[tuple[str, str]], random: np.random.Generator
) -> Sequence[frozenset[tuple[str, str]]]:
    """Return concepts of which a broader one is made: one attribute less, or half of all values."""
    kind, value = one = sorted(concept)[0]
    if len(concept) > 1:
        return [concept - {one}]
    others = [other for other in ATTRIBUTES[kind] if other != value]
    more = random.permutation(others)[: len(ATTRIBUTES[kind]) // 2].tolist()
    return [frozenset({(kind, each)}) for each in (value, *more)]


def drawn_alone(count: int, table: Callable[[str, Sequence[str], Rows], None]) -> None:
    """Print what needs no model."""
    random = np.random.default_rng(0)
    table(
        "Calibration: average precision of drawn names on 4,000 pictures, from at most 40",
        ["answers", "channels", "AP on all pictures", "mean error", "mean |error|", "width of "
         "95 % intervals", "they hold it"],
        calibration(count, random),
    )  # fmt: skip
    table(
        f"Controls: a channel that responds to {RARE:.0%} of the pictures; a broad name fits "
        f"{BROAD:.0%}",
        ["name", "channels", "AP on all pictures", "estimate", "right name above it"],
        controls(count, random),
    )
