"""In which ways a class is recognised: its pictures by the factors that are relevant in each.

Each picture of a class is the row of its relevance shares of the factors of a layer. Pictures in
which the same factor is the most relevant one make a *strategy* (LENS, Fel et al. 2023; its
prevalence and reliability are those of their Holistic approach): how many of the class's pictures
it has, and how often the network is right in them.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from atlas.site.catalogue import Catalogue
from atlas.site.entries import ChannelEntry, ClassEntry, LayerEntry

FEWEST_PICTURES = 5
"""Classes with fewer pictures have no strategies."""

LEADS = 3
"""Pictures that a factor must lead in to be a strategy."""

MOST = 8
"""Strategies that are shown."""

WIDTH, HEIGHT, MARGIN = 400, 240, 14
"""Size of the drawing of a class's pictures, and the room at its edge."""

LETTERS = "ABCDEFGH"

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Strategy:
    """Pictures of a class in which the same factor is the most relevant one."""

    letter: str
    factor: ChannelEntry
    pictures: int
    prevalence: float
    """Share of the class's pictures that were looked at."""
    reliability: float | None
    """Share of those with a label that the network gets right; None where none has one."""


@dataclass(frozen=True)
class StrategyPoint:
    """Where a picture stands."""

    x: float
    y: float
    strategy: Strategy | None
    """None where another factor leads than those of the strategies."""
    factor: ChannelEntry
    """The most relevant one."""
    share: float
    """Its relevance share there."""
    wrong: bool
    """Whether the network takes the picture for something else than its label."""


@dataclass(frozen=True)
class ClassStrategies:
    """The strategies of a class, most frequent first, and its pictures."""

    layer: LayerEntry
    strategies: list[Strategy]
    points: list[StrategyPoint]
    shown: float
    """Part of the variance of the shares that lies in the two directions of the drawing."""


class Strategies:
    """Finds the strategies of classes, by the factors of the last layer that has some."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def of(self, label: ClassEntry) -> ClassStrategies | None:
        """Return the strategies of a class; None where too little is known of it."""
        rows = self._rows.get(label.label, np.zeros(0, np.int64))
        layer = self._layer
        if layer is None or len(rows) < FEWEST_PICTURES:
            return None
        shares = self._shares[rows]
        best = shares.argmax(axis=1)
        counts = Counter(best.tolist())
        leading = [factor for factor, count in counts.most_common(MOST) if count >= LEADS]
        known = self._labels[rows] >= 0
        right = self._labels[rows] == self._predicted[rows]
        factors = [self._catalogue.channels[row] for row in layer.rows]
        strategies = {}
        for letter, factor in zip(LETTERS, leading, strict=False):
            mine = best == factor
            tested = int((mine & known).sum())
            strategies[factor] = Strategy(
                letter,
                factors[factor],
                counts[factor],
                counts[factor] / len(rows),
                float((mine & right & known).sum()) / tested if tested else None,
            )
        places, shown = _flat(shares)
        points = [
            StrategyPoint(
                x, y, strategies.get(factor), factors[factor], float(share[factor]),
                bool(labelled and not good),
            )
            for (x, y), factor, share, labelled, good in zip(
                places, best.tolist(), shares, known, right, strict=True
            )
        ]  # fmt: skip
        return ClassStrategies(layer, list(strategies.values()), points, shown)

    @cached_property
    def _layer(self) -> LayerEntry | None:
        layers = [layer for layer in self._catalogue.layers if layer.basis]
        there = self._catalogue.store.has_table("samples")
        return max(layers, key=lambda one: (one.depth, one.position)) if layers and there else None

    @cached_property
    def _shares(self) -> Numbers:
        """Relevance shares of the layer's factors, (pictures, factors)."""
        assert self._layer is not None, "asked for its classes first"
        first = min(row for one in self._catalogue.layers if one.basis for row in one.rows)
        columns = np.array(self._layer.rows) - first
        lists = self._table["shares"].combine_chunks()
        whole = lists.flatten().to_numpy().reshape(len(lists), -1)
        shares: Numbers = whole[:, columns].astype(np.float64)
        return shares

    @cached_property
    def _table(self) -> pa.Table:
        return self._catalogue.store.table("samples")

    @cached_property
    def _rows(self) -> dict[int, npt.NDArray[np.int64]]:
        """The rows of each class's pictures."""
        if self._layer is None:
            return {}
        targets = self._table["target"].to_numpy()
        return {int(label): np.flatnonzero(targets == label) for label in np.unique(targets)}

    @cached_property
    def _labels(self) -> npt.NDArray[np.int64]:
        labels: npt.NDArray[np.int64] = self._table["label"].fill_null(-1).to_numpy()
        return labels

    @cached_property
    def _predicted(self) -> npt.NDArray[np.int64]:
        predicted: npt.NDArray[np.int64] = self._table["predicted"].to_numpy()
        return predicted


def _flat(shares: Numbers) -> tuple[list[tuple[float, float]], float]:
    """Return where pictures stand in the two directions in which they differ most (PCA).

    Both have one scale, that distances can be compared. Also the part of the variance that is seen.
    """
    centred = shares - shares.mean(axis=0)
    left, sizes, turned = np.linalg.svd(centred, full_matrices=False)
    along = np.zeros((len(shares), 2))
    for axis in range(min(2, len(sizes))):
        # The same side up every time: the largest number of the direction is above 0.
        sign = np.sign(turned[axis][np.abs(turned[axis]).argmax()]) or 1.0
        along[:, axis] = sign * left[:, axis] * sizes[axis]
    low, high = along.min(axis=0), along.max(axis=0)
    room = np.array([WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN])
    scale = float((room / np.maximum(high - low, 1e-9)).min())
    middle = np.array([WIDTH, HEIGHT]) / 2
    places = middle + (along - (low + high) / 2) * scale * (1, -1)
    total = float((sizes**2).sum())
    shown = float((sizes[:2] ** 2).sum()) / total if total > 1e-18 else 1.0
    return [(round(x, 1), round(y, 1)) for x, y in places.tolist()], shown
