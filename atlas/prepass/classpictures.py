"""A few pictures of each class, with the relevance shares of every factor in each.

From means alone it cannot be seen whether a class is recognised in one way or in several. Which
pictures are kept depends on the numbers that they draw (`bands`), so that the same are found for
any batches, order and number of processes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

PER_CLASS = 48
"""Pictures that are kept of each class, at most."""


@dataclass(frozen=True)
class ClassPicture:
    """One picture of a class."""

    target: int
    """The class whose relevance was computed."""
    drawn: int
    """The number that the picture drew."""
    index: int
    """Index of the sample."""
    label: int | None
    predicted: int
    shares: Tensor
    """float32 (factors of all layers,)."""

    @property
    def order(self) -> tuple[int, int, int]:
        """By class, then at random but always the same."""
        return self.target, self.drawn, self.index


def lowest(pictures: Iterable[ClassPicture]) -> list[ClassPicture]:
    """Return of each class the `PER_CLASS` pictures with the lowest numbers, in order."""
    ordered = sorted(pictures, key=lambda one: one.order)
    found: list[ClassPicture] = []
    for _, some in groupby(ordered, key=lambda one: one.target):
        found += list(some)[:PER_CLASS]
    return found


def packed(pictures: list[ClassPicture]) -> tuple[Tensor, list[Any]]:
    """Return pictures as a tensor (pictures, factors) and JSON values."""
    if not pictures:
        return torch.zeros(0, 0), []
    facts = [[one.target, one.drawn, one.index, one.label, one.predicted] for one in pictures]
    return torch.stack([one.shares for one in pictures]), facts


def unpacked(shares: Tensor, facts: list[Any]) -> list[ClassPicture]:
    """Return what `packed` was given."""
    return [
        ClassPicture(target, drawn, index, label, predicted, row)
        for (target, drawn, index, label, predicted), row in zip(facts, shares.cpu(), strict=True)
    ]


def renumbered(pictures: list[ClassPicture], indices: list[int]) -> list[ClassPicture]:
    """Return pictures with other indices."""
    pairs = zip(pictures, indices, strict=True)
    return [replace(one, index=index) for one, index in pairs]


def columns(pictures: list[ClassPicture]) -> dict[str, list[Any]]:
    """Return the columns of samples.parquet, by class and then in the order of the data."""
    ordered = sorted(pictures, key=lambda one: (one.target, one.index))
    return {
        "target": [one.target for one in ordered],
        "index": [one.index for one in ordered],
        "label": [one.label for one in ordered],
        "predicted": [one.predicted for one in ordered],
        "shares": [one.shares.numpy() for one in ordered],
    }
