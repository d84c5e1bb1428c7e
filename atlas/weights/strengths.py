"""The strongest inputs and outputs of each channel: weight times how high the input rises.

A weight alone says little: a channel that is nearly silent is read by large weights, and one that
rises to hundreds by small ones. The *strength* of an input is its largest weight times its mean
peak, the mean over pictures of its largest output (0 where that is not positive, and no more than a
ReLU6 behind it lets through). It is shown as a share of the sum over all inputs of the atlas that a
channel reads. (Guertler and Luu, TeLLMe, 2023, explain a unit by those of the layer before with the
largest weights.)
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from atlas.weights.connections import CLASSES, Incoming

INPUTS = 8
"""Inputs of a channel that are kept."""

HOLDING_BACK = 3
"""Inputs with negative weights that are kept."""

OUTPUTS = 6
"""Channels that read it that are kept, and classes."""

Numbers = npt.NDArray[np.float64]


def mean_peak(
    edges: Sequence[float], counts: Sequence[int], images: int, ceiling: float = math.inf
) -> float:
    """Return the mean over pictures of a channel's largest output, 0 where it is not positive.

    Parameters
    ----------
    edges, counts : sequence
        Histogram of the largest outputs, of the pictures in which they are positive.
    images : int
        All pictures.
    ceiling : float
        Where the activation function behind it cuts its output off.
    """
    if not images or not len(counts):
        return 0.0
    middles = (np.asarray(edges[1:], float) + np.asarray(edges[:-1], float)) / 2
    return float((middles.clip(max=ceiling) * np.asarray(counts, float)).sum() / images)


class Strengths:
    """Collects the strongest inputs and outputs of the channels of an atlas.

    Parameters
    ----------
    rows : mapping
        Row of channels.parquet by layer and channel.
    peaks : ndarray
        float64 (channels,), the mean peak of each row.
    """

    def __init__(self, rows: Mapping[tuple[str, int], int], peaks: Numbers) -> None:
        self._rows = rows
        self._peaks = peaks
        self._lists: dict[str, list[list[tuple[int, float]]]] = {
            name: [[] for _ in rows]
            for name in ("made_of", "held_back_by", "goes_into", "goes_into_classes")
        }
        self.facts: dict[str, dict[str, Any]] = {}
        """By layer (`CLASSES` for the classes) how many channels of the atlas it reads (`inputs`),
        how many others by where they come from (`left_out`), and why nothing is known
        (`problem`)."""

    def add(self, found: Iterable[Incoming]) -> None:
        """Take in what layers read."""
        for one in found:
            self.facts[one.layer] = {
                "inputs": len(one.inputs),
                "left_out": dict(one.left_out),
                "problem": one.problem,
            }
            if one.inputs:
                self._add(one)

    def _add(self, one: Incoming) -> None:
        inputs = np.array([self._rows[address] for address in one.inputs])
        peaks = self._peaks[inputs]
        for_, against = (_shares(one.largest * peaks), _shares(-one.smallest * peaks))
        if one.layer != CLASSES:
            own = [self._rows[one.layer, channel] for channel in range(len(for_))]
            for name, shares, most in (
                ("made_of", for_, INPUTS),
                ("held_back_by", against, HOLDING_BACK),
            ):
                best = np.argsort(-shares, axis=1, kind="stable")[:, :most]
                for row, places, values in zip(own, best, shares, strict=True):
                    self._lists[name][row] = [
                        (int(inputs[place]), float(values[place]))
                        for place in places
                        if values[place] > 0
                    ]
        else:
            own = list(range(len(for_)))
        name = "goes_into_classes" if one.layer == CLASSES else "goes_into"
        best = np.argsort(-for_, axis=0, kind="stable")[:OUTPUTS]
        for column, row in enumerate(inputs.tolist()):
            more = [
                (own[place], float(for_[place, column]))
                for place in best[:, column]
                if for_[place, column] > 0
            ]
            both = sorted(self._lists[name][row] + more, key=lambda pair: -pair[1])
            self._lists[name][row] = both[:OUTPUTS]

    def columns(self) -> dict[str, list[Any]]:
        """Return columns of channels.parquet."""
        found: dict[str, list[Any]] = {}
        for name, lists in self._lists.items():
            values = f"{name.replace('classes', 'class')}_shares"
            found[name] = [[row for row, _ in pairs] for pairs in lists]
            found[values] = [[share for _, share in pairs] for pairs in lists]
        return found


def _shares(strengths: Numbers) -> Numbers:
    """Return what part each input is of the sum over a channel's inputs."""
    whole = strengths.sum(axis=1, keepdims=True)
    shares: Numbers = np.divide(strengths, whole, out=np.zeros_like(strengths), where=whole > 0)
    return shares
