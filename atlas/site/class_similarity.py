"""Which classes are similar to the network, by which channels; the map of the pictures of one."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from atlas.site.catalogue import Catalogue, Integers, Shares
from atlas.site.entries import ChannelEntry, ClassEntry

SHARED_CHANNELS = 4
"""Channels that are shown for a pair of classes."""

MATRIX_CHANNELS = 10
"""Columns of the table of a class and those nearest to it."""

MAP_PICTURES = 48
"""Pictures on a map: more would be too small to be seen."""

MAP_COLUMNS, MAP_ROWS = 12, 6
"""Cells of a map; each holds one picture at most, so that none hides another."""


@dataclass(frozen=True)
class SimilarClass:
    """A class that is similar to another one, as the network sees them."""

    label: ClassEntry
    similarity: float | None  # cosine of the mean relevance shares, less the mean of all classes
    taken: int  # stored pictures of one that the network takes for the other
    shared: list[ChannelEntry]  # with the highest shares for both


@dataclass(frozen=True)
class Recognised:
    """What the network takes the stored pictures of a class for."""

    pictures: int  # stored ones with this label
    right: int
    taken_for: list[tuple[ClassEntry, int]]  # other classes, those of most pictures first

    @property
    def share(self) -> float:
        """Share of the pictures that the network recognises, to three digits; -1 without any."""
        return round(self.right / self.pictures, 3) if self.pictures else -1


@dataclass(frozen=True)
class Matrix:
    """The shares of a few channels for a class and for those nearest to it."""

    channels: list[ChannelEntry]
    rows: list[tuple[ClassEntry, SimilarClass | None, list[float]]]  # the class itself first

    @property
    def most(self) -> float:
        """The largest of the shares; 0 where none is positive."""
        return max((share for *_, shares in self.rows for share in shares), default=0.0)


@dataclass(frozen=True)
class MapPoint:
    """Where a picture is on the map of its class."""

    image: int
    column: int  # from 1
    row: int  # from 1, downwards
    channel: ChannelEntry  # the one with the highest relevance share in the picture


class ClassSimilarity:
    """Compares classes, and pictures of a class, by the relevance shares of channels."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def confusable(self, label: ClassEntry, count: int) -> list[SimilarClass]:
        """Return the classes that the network is most likely to take this one for.

        First those for which it did take a stored picture, then those for which the same channels
        are relevant: by the cosine of the two rows of mean relevance shares, each less the mean
        over all classes.
        """
        taken = self._confused.get(label.label, Counter())
        similarities = self._similarities(label)
        seen = {other.label: other for other in self._catalogue.seen if other != label}
        order = sorted(seen, key=lambda o: (-taken.get(o, 0), -similarities.get(o, -1.0), o))
        close = [o for o in order if taken.get(o, 0) or similarities.get(o, 0.0) > 0]
        return [
            SimilarClass(
                seen[o], similarities.get(o), taken.get(o, 0), self._shared(label.label, o)
            )
            for o in close[:count]
        ]

    def recognised(self, label: ClassEntry) -> Recognised:
        """Return what the network takes the stored pictures of a class for."""
        taken = self._confused.get(label.label, Counter())
        others = sorted(taken, key=lambda other: (-taken[other], other))
        pictures = self._pictures[label.label]
        return Recognised(
            pictures,
            pictures - sum(taken.values()),
            [(self._catalogue.labels[other], taken[other]) for other in others],
        )

    def matrix(self, label: ClassEntry, similar: list[SimilarClass]) -> Matrix | None:
        """Return the shares of the channels that are most relevant for a class and those near it.

        First the channels that are shown for the pairs, then those with the highest shares of the
        class; None where nothing was measured by class.
        """
        shares = self._catalogue.shares
        measured = [other for other in similar if other.label.label in shares]
        if label.label not in shares or not measured:
            return None
        rows = dict.fromkeys(channel.row for other in measured for channel in other.shared)
        own = shares[label.label]
        for row in np.argsort(-own, kind="stable")[: 2 * MATRIX_CHANNELS].tolist():
            if self._catalogue.channels[row].layer.basis is None and own[row] > 0:
                rows.setdefault(row)
        chosen = sorted(
            list(rows)[:MATRIX_CHANNELS], key=lambda row: self._catalogue.channels[row].layer.depth
        )
        every = [(label, None), *((other.label, other) for other in measured)]
        return Matrix(
            [self._catalogue.channels[row] for row in chosen],
            [(one, other, [float(shares[one.label][r]) for r in chosen]) for one, other in every],
        )

    def picture_map(self, images: list[int]) -> list[MapPoint]:
        """Lay pictures of a class out by the relevance of the channels of the upper half.

        Each picture is the row of its relevance shares, as far as it is a reference, scaled to
        length 1; the map shows the two directions in which the rows differ most (PCA), each picture
        in the free cell that is nearest to its place.
        """
        found = [(image, self._upper[image]) for image in images if image in self._upper]
        found = found[:MAP_PICTURES]
        if len(found) < 3:
            return []
        columns = {row: n for n, row in enumerate(sorted({r for _, u in found for r in u}))}
        matrix = np.zeros((len(found), len(columns)))
        for place, (_, shares) in enumerate(found):
            for row, share in shares.items():
                matrix[place, columns[row]] = share
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
        matrix -= matrix.mean(axis=0)
        left, sizes, _ = np.linalg.svd(matrix, full_matrices=False)
        # If one channel alone is relevant there is one direction, and no second.
        along = np.zeros((len(found), 2))
        along[:, : len(sizes[:2])] = left[:, :2] * sizes[:2]
        cells = _cells(np.stack([_spread(along[:, n]) for n in range(2)], axis=1))
        return [
            MapPoint(
                image,
                column + 1,
                row + 1,
                self._catalogue.channels[max(shares, key=lambda row: shares[row])],
            )
            for (image, shares), (column, row) in zip(found, cells, strict=True)
        ]

    @cached_property
    def _profiles(self) -> tuple[list[int], Shares]:
        """The classes with measured shares, and those shares less the mean of all classes."""
        shares = self._catalogue.shares
        matrix = np.stack(list(shares.values())) if shares else np.zeros((0, 0), np.float32)
        if shares:  # factors are made of channels, which would count twice
            proper = [channel.layer.basis is None for channel in self._catalogue.channels]
            matrix = matrix[:, proper]
        return list(shares), np.nan_to_num(matrix - matrix.mean(axis=0)) if shares else matrix

    @cached_property
    def _cosines(self) -> Shares:
        matrix = self._profiles[1]
        unit = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
        cosines: Shares = unit @ unit.T
        return cosines

    @cached_property
    def _places(self) -> dict[int, int]:
        return {label: place for place, label in enumerate(self._profiles[0])}

    def _similarities(self, label: ClassEntry) -> dict[int, float]:
        place = self._places.get(label.label)
        if place is None:
            return {}
        return dict(zip(self._profiles[0], self._cosines[place].tolist(), strict=True))

    def _shared(self, one: int, other: int) -> list[ChannelEntry]:
        if one not in self._places or other not in self._places:
            return []
        matrix = self._profiles[1]
        both = np.minimum(matrix[self._places[one]], matrix[self._places[other]])
        best = np.argsort(-both, kind="stable")[:SHARED_CHANNELS]
        return [self._catalogue.channels[row] for row in best.tolist() if both[row] > 0]

    @cached_property
    def _confused(self) -> dict[int, Counter[int]]:
        """For each class what else its stored pictures were taken for, and how many of them."""
        images = self._catalogue.images
        found: dict[int, Counter[int]] = {}
        for label, predicted in zip(images["label"], images["predicted"], strict=True):
            if label is not None and predicted is not None and label != predicted:
                found.setdefault(label, Counter())[predicted] += 1
        return found

    @cached_property
    def _pictures(self) -> Counter[int]:
        """How many stored pictures of each class there are of which the answer is known."""
        images = self._catalogue.images
        pairs = zip(images["label"], images["predicted"], strict=True)
        return Counter(a for a, b in pairs if a is not None and b is not None)

    @cached_property
    def _upper(self) -> dict[int, dict[int, float]]:
        """For each picture the channels of the upper half of which it is a reference."""
        catalogue = self._catalogue
        proper = [layer for layer in catalogue.layers if layer.basis is None]
        upper = {layer.position for layer in proper[len(proper) // 2 :]}
        deep = np.array([channel.layer.position in upper for channel in catalogue.channels])
        rows: Integers = np.flatnonzero(catalogue.by_relevance & deep[catalogue.channel_of])
        found: dict[int, dict[int, float]] = {}
        images, channels = catalogue.images_of[rows].tolist(), catalogue.channel_of[rows].tolist()
        for image, channel, score in zip(
            images, channels, catalogue.scores[rows].tolist(), strict=True
        ):
            if score > 0:
                found.setdefault(image, {})[channel] = score
        return found


def _spread(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return values from 0 to 100, half by size and half by rank, so that few hide each other."""
    ranks = np.argsort(np.argsort(values, kind="stable")) / (len(values) - 1)
    low, high = values.min(), values.max()
    sizes = (values - low) / (high - low) if high > low else ranks
    result: npt.NDArray[np.float64] = 50 * (sizes + ranks)
    return result


def _cells(places: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return a cell (column, row) of its own for each place, (x, y) from 0 to 100.

    The places in the middle choose first: at the edges there is room on one side alone.
    """
    free = {(column, row) for column in range(MAP_COLUMNS) for row in range(MAP_ROWS)}
    wanted = places / 100 * (MAP_COLUMNS - 1, MAP_ROWS - 1)
    middle = np.abs(places - 50).max(axis=1)
    found: dict[int, tuple[int, int]] = {}
    for place in np.argsort(middle, kind="stable").tolist():
        x, y = wanted[place]
        nearest = min(free, key=lambda cell: ((cell[0] - x) ** 2 + (cell[1] - y) ** 2, cell))
        free.remove(nearest)
        found[place] = nearest
    return [found[place] for place in range(len(places))]
