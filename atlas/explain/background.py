"""What the atlas knows of its channels: names, and how they did in the pre-pass."""

import fnmatch
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from atlas import classes
from atlas.errors import UserError
from atlas.recipe import ConceptBasis
from atlas.store import MODES, Mode, NameState, Store, standing
from atlas.store.evidence import Standing
from atlas.trace.sights import ReceptiveField

TYPICAL = 1 / 3
"""A channel is typical of a class whose mean share is at least this part of the share here."""


@dataclass(frozen=True)
class Name:
    """What a channel is called."""

    name: str | None
    description: str | None
    score: float | None
    state: NameState | None


class Background:
    """The tables of an atlas, as explanations need them."""

    def __init__(self, store: Store, hosts: Mapping[str, str] | None = None) -> None:
        """Read the tables; `hosts` has the layers of sets of factors, where `store` has some."""
        self._hosts = hosts or {}
        self.manifest = store.manifest()
        if not store.finished:
            raise UserError(f"{store.root} is not finished: run `atlas build` to go on")
        self._channels = store.table("channels").to_pydict()
        self._references = store.table("references")
        self._classes = store.table("classes")
        pairs = zip(self._channels["layer"], self._channels["channel"], strict=True)
        self._rows = {pair: row for row, pair in enumerate(pairs)}

    @property
    def layers(self) -> list[str]:
        """The measured layers in the order of the forward pass."""
        return [name for name in self.manifest["layers"] if name not in self._hosts]

    @property
    def named(self) -> bool:
        """Whether any channel has a name."""
        return any(self._channels.get("name") or ())

    @cached_property
    def classes(self) -> list[str]:
        """Names of the outputs."""
        return list(self._classes["name"].to_pylist())

    def choose(self, patterns: Sequence[str], basis: ConceptBasis = "both") -> tuple[str, ...]:
        """Return the layers, and sets of factors, that are explained, from the first to the last.

        Factors stand before the channels of their layer.

        Parameters
        ----------
        patterns : sequence of str
            Names or globs of both. None means three layers with their factors, or with those of
            the last layer that has some.
        basis : {"channels", "factors", "both"}
            Whether channels, factors in their place where a layer has some, or both.

        Raises
        ------
        UserError
            A pattern fits nothing that was measured, or only factors where channels are asked for,
            or factors are asked for and there are none.
        """
        if basis == "factors" and not self._hosts:
            raise UserError("explain.basis: the atlas has no factors: run `atlas factors` first")
        of = {layer: [b for b, host in self._hosts.items() if host == layer] for layer in
              self.layers}  # fmt: skip
        every = [name for layer in self.layers for name in (*of[layer], layer)]
        last = len(self.layers) - 1
        if patterns:
            for pattern in patterns:
                fitting = fnmatch.filter(every, pattern)
                if not fitting:
                    raise UserError(
                        f"explain.layers: no measured layer fits {pattern!r}; there are "
                        + ", ".join(every)
                    )
                if basis == "channels" and self._hosts.keys() >= {*fitting}:
                    raise UserError(
                        f"explain.layers: {pattern!r} fits factors only, which explain.basis = "
                        '"channels" leaves out: name the layer itself, '
                        f"{self._hosts[fitting[0]]}, or change explain.basis"
                    )
            chosen = {name for pattern in patterns for name in fnmatch.filter(every, pattern)}
            chosen |= {b for name in chosen & of.keys() for b in of[name] if basis == "factors"}
        else:
            chosen = {self.layers[at] for at in (last // 2, 3 * last // 4, last)}
            factors = [b for layer in self.layers if layer in chosen for b in of[layer]]
            chosen |= {*factors} or {*[name for name in every if name in self._hosts][-1:]}
        left_out = {
            "both": set(),
            "channels": {*self._hosts},
            "factors": {self._hosts[name] for name in chosen & self._hosts.keys()},
        }
        return tuple(name for name in every if name in chosen - left_out[basis])

    def label(self, asked: str) -> int:
        """Return the output that a user means, by name or by number.

        Raises
        ------
        UserError
            There is none, or several have this name.
        """
        return classes.find(asked, self.classes)

    def name(self, layer: str, channel: int) -> Name:
        """Return what a channel is called; without a name all is None."""
        row = self._rows[layer, channel]
        values: list[Any] = [
            self._channels[column][row] if column in self._channels else None
            for column in ("name", "description", "score_ap")
        ]
        every = {column: self._channels[column][row] for column in self._channels}
        values.append(standing.state_of(every))
        if values[-1] == "one-sided":  # relevance is what is explained
            values[0] = every["used_for"] or values[0]
        return Name(*values) if values[0] else Name(None, None, None, None)

    def means(self, layer: str, count: int) -> list[float]:
        """Return the mean output of each of a layer's `count` channels over the pre-pass."""
        values = self._channels["act_mean"]
        return [values[self._rows[layer, channel]] or 0.0 for channel in range(count)]

    def usual(self, label: int, layer: str, channel: int) -> tuple[float | None, int]:
        """Return a channel's mean share over a class's pictures, and how many those were."""
        row = self._shares(label)
        count = int(self._classes["count"][label].as_py() or 0)
        return (row[self._rows[layer, channel]], count) if row and count else (None, 0)

    def field(self, layer: str) -> ReceptiveField:
        """Return the receptive field of a layer's units."""
        known = self.manifest["receptive_fields"][layer]
        (h, w), (dy, dx), (y, x) = (known[key] for key in ("size", "stride", "start"))
        return ReceptiveField((h, w), (dy, dx), (y, x), bool(known.get("whole")))

    def scores(self, mode: Mode, maps: Tensor) -> Tensor:
        """Return the score of each channel as the pre-pass has it, from (channels, h, w)."""
        how = self.manifest[mode]
        score = maps.amax(dim=(1, 2)) if how["aggregate"] == "max" else maps.sum(dim=(1, 2))
        return score / (score.abs().sum() + 1e-10) if how["normalize"] else score

    def standing(self, mode: Mode, layer: str, channel: int, value: float) -> Standing | None:
        """Return how a score stands among the pictures of the pre-pass, where they were scored."""
        row = self._rows[layer, channel]
        scores = self._reference_scores.get((row, mode), ())
        pictures = self._channels["images"][row] or 0
        if not pictures or mode not in self.manifest.get("modes", MODES):
            return None
        higher = bisect_left([-score for score in scores], -value)
        every = len(scores) < self.manifest["k"]  # all that are not zero are references
        zeros = pictures - len(scores) if every else 0
        if value < 0:
            higher += zeros
        # References tell how many zeros there are only where they are all others.
        exact = every or (higher < len(scores) and value > 0)
        level = zeros / 2 if value == 0 else 0  # half of those that are equal
        percentile = 100 * (1 - (higher + level) / pictures) if exact else None
        return Standing(value, higher, pictures, percentile, exact)

    def _shares(self, label: int) -> Sequence[float] | None:
        shares: Sequence[float] | None = self._classes["shares"][label].as_py()
        return shares

    @cached_property
    def _reference_scores(self) -> dict[tuple[int, str], list[float]]:
        """Scores of the references by the channel's row and mode, best first."""
        columns = ("layer", "channel", "mode", "rank", "score")
        table = self._references.select(columns).to_pydict()
        found: dict[tuple[int, str], list[tuple[int, float]]] = {}
        for layer, channel, mode, rank, score in zip(*table.values(), strict=True):
            found.setdefault((self._rows[layer, channel], mode), []).append((rank, score))
        return {key: [score for _, score in sorted(pairs)] for key, pairs in found.items()}


def typical(share: float, usual: float | None) -> bool | None:
    """Tell whether a share is what the class usually has; None where that is unknown."""
    if usual is None:
        return None
    return share * usual > 0 and abs(usual) >= TYPICAL * abs(share)
