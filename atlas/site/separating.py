"""What separates two classes: the concepts whose relevance shares differ most between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from atlas.site.catalogue import Catalogue
from atlas.site.entries import ChannelEntry, ClassEntry, LayerEntry

MOST = 3
"""Concepts that are listed for each of two classes."""

APART = 0.5
"""Concepts are listed whose shares differ by at least this part of the largest difference."""

LEAST = 0.01
"""Smaller differences of shares say nothing."""


@dataclass(frozen=True)
class SeparatingConcept:
    """A channel or factor that speaks for one of two classes more than for the other."""

    channel: ChannelEntry
    here: float
    """Mean relevance share over the pictures of the class."""
    there: float
    """Mean relevance share over the pictures of the other class."""


@dataclass(frozen=True)
class Separation:
    """What separates a class from another one."""

    other: ClassEntry
    own: list[SeparatingConcept]
    """What speaks for the class rather than for the other; the largest difference first."""
    others: list[SeparatingConcept]
    """What speaks for the other rather than for the class."""


class Separations:
    """Compares classes by the factors nearest to the answer, or the channels of the last layer."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    @cached_property
    def layer(self) -> LayerEntry | None:
        """The layer, or set of factors, by which classes are compared; None without any."""
        layers = self._catalogue.layers
        factors = [one for one in layers if one.basis]
        proper = [one for one in layers if not one.basis]
        return max(factors or proper, key=lambda one: (one.depth, one.position), default=None)

    def of(self, label: ClassEntry, others: Sequence[ClassEntry]) -> list[Separation]:
        """Return what separates a class from each of some others, where that is known."""
        found = [self._between(label, other) for other in others]
        return [one for one in found if one is not None]

    def _between(self, label: ClassEntry, other: ClassEntry) -> Separation | None:
        shares = self._catalogue.shares
        if self.layer is None or not {label.label, other.label} <= shares.keys():
            return None
        rows = np.array(self.layer.rows)
        here = shares[label.label][rows].astype(np.float64)
        there = shares[other.label][rows].astype(np.float64)
        difference = np.nan_to_num(here - there)
        least = max(LEAST, APART * float(np.abs(difference).max(initial=0.0)))
        sides: list[list[SeparatingConcept]] = []
        for signed in (difference, -difference):
            best = np.argsort(-signed, kind="stable")[:MOST].tolist()
            sides.append([
                SeparatingConcept(
                    self._catalogue.channels[rows[at]], float(here[at]), float(there[at])
                )
                for at in best if signed[at] >= least
            ])  # fmt: skip
        return Separation(other, *sides) if any(sides) else None
