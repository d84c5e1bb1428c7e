"""Exercises for the demo's VLM: what do these patches share; does this patch show that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atlas.demo.vlm.crops import KINDS, SIZES
from atlas.demo.world import ATTRIBUTES

REFERENCES = 16
"""References of a channel, of which some are shown."""

SHARED = 13
"""So many of them must show a value for it to be part of the name: four in five."""

_COUNTS = tuple(len(ATTRIBUTES[kind]) for kind in KINDS)
_ASKED = (0.2, 0.25, 0.35, 0.2)  # how often questions are about each of KINDS
_HIDDEN = -1  # a value that the patch does not show


@dataclass(frozen=True)
class Bank:
    """Patches to choose from.

    Attributes
    ----------
    values : ndarray
        int64, (n, 4): the number of each of `KINDS`' values; -1 where it is not shown.
    size : ndarray
        int64, (n,): index of the box's side in `SIZES`.
    """

    values: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sheet:
    """The references of an imagined channel."""

    rows: npt.NDArray[np.int64]
    """int64, (n,), of the bank."""
    concept: Mapping[str, str]
    """Kinds and values that they share; empty means no clear concept."""
    purity: float
    """Share of the references that show all of it."""


def concept_name(concept: Mapping[str, str]) -> str | None:
    """Return a concept in words: "red striped star", "dotted, bricks background"."""
    thing = " ".join(concept[kind] for kind in KINDS[:3] if kind in concept)
    ground = f"{concept['background']} background" if "background" in concept else ""
    return ", ".join(part for part in (thing, ground) if part) or None


def answer(concept: Mapping[str, str], purity: float) -> str:
    """Return the answer that the model is to give."""
    name = concept_name(concept)
    if name is None:
        return '{"name": null, "description": null, "confidence": null}'
    sentence = f"Most patches show this: {name}."
    return f'{{"name": "{name}", "description": "{sentence}", "confidence": {purity:.1f}}}'


def shared(values: npt.NDArray[np.int64]) -> dict[str, str]:
    """Return what the references with these `values`, (n, 4), have in common."""
    concept = {}
    for column, kind in enumerate(KINDS):
        counts = np.bincount(values[:, column] + 1, minlength=_COUNTS[column] + 1)[1:]
        if counts.max() >= SHARED * len(values) / REFERENCES:
            concept[kind] = ATTRIBUTES[kind][int(counts.argmax())]
    return concept


def make_sheet(bank: Bank, rows: npt.NDArray[np.int64]) -> Sheet:
    """Return the sheet of the patches in `rows`."""
    values = bank.values[rows]
    concept = shared(values)
    columns = [KINDS.index(kind) for kind in concept]
    goal = [ATTRIBUTES[kind].index(value) for kind, value in concept.items()]
    purity = float((values[:, columns] == goal).all(axis=1).mean())
    return Sheet(rows, concept, purity)


class SheetSampler:
    """Draws sheets from a bank."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        codes = self._codes(bank.values)
        self._rows: dict[tuple[int, int], npt.NDArray[np.int64]] = {}
        for size in range(len(SIZES)):
            near = np.flatnonzero(np.abs(bank.size - size) <= 1)
            order = near[np.argsort(codes[near], kind="stable")]
            starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
            for part in np.split(order, starts[1:]):
                if len(part):
                    self._rows[size, int(codes[part[0]])] = part

    @staticmethod
    def _codes(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        code = np.zeros(len(values), dtype=np.int64)
        for column, count in enumerate(_COUNTS):
            code = code * (count + 1) + values[:, column] + 1
        return code

    def draw(self, random: np.random.Generator) -> Sheet:
        """Draw the references of a channel that means something, or nothing in particular."""
        while True:
            size = int(random.integers(len(SIZES)))
            chances = self._chances(random)
            wanted = np.stack(
                [random.choice(len(chance), REFERENCES, p=chance) for chance in chances], axis=1
            )
            if random.random() < 0.15:  # patches beside the object, as of a channel for the ground
                wanted[random.random(REFERENCES) < random.random(), :3] = _HIDDEN
            rows = [self._find(size, values, random) for values in wanted]
            if all(row is not None for row in rows):
                break
        return make_sheet(self._bank, np.array(rows, dtype=np.int64))

    def _find(
        self, size: int, values: npt.NDArray[np.int64], random: np.random.Generator
    ) -> int | None:
        """Return a patch with these values; which background it has matters least."""
        grounds = [int(values[3]), _HIDDEN, *random.permutation(_COUNTS[3]).tolist()]
        for ground in grounds:
            code = int(self._codes(np.array([[*values[:3], ground]]))[0])
            rows = self._rows.get((size, code))
            if rows is not None:
                return int(random.choice(rows))
        return None

    @staticmethod
    def _chances(random: np.random.Generator) -> list[npt.NDArray[np.float64]]:
        """Return for each kind how likely the channel's references show each of its values."""
        pure = random.choice(5, p=[0.22, 0.42, 0.22, 0.12, 0.02])
        chosen = set(random.permutation(len(KINDS))[:pure].tolist())
        chances = []
        for column, count in enumerate(_COUNTS):
            even = np.full(count, 1 / count)
            if column in chosen:
                chance = even * 0
                chance[random.integers(count)] = 1.0
                weight = 1.0 if random.random() < 0.5 else random.uniform(0.75, 1.0)
                chances.append(weight * chance + (1 - weight) * even)
            elif random.random() < 0.5:  # a leaning, which is not yet a meaning
                lean = random.dirichlet(np.full(count, 0.4))
                weight = random.uniform(0.2, 0.9)
                chances.append(weight * lean + (1 - weight) * even)
            else:
                chances.append(even)
        return chances


def seen(bank: Bank, row: int) -> dict[str, str]:
    """Return what a patch shows."""
    return {
        kind: ATTRIBUTES[kind][value]
        for kind, value in zip(KINDS, bank.values[row].tolist(), strict=True)
        if value != _HIDDEN
    }


def question(
    bank: Bank, row: int, random: np.random.Generator, simple: float = 0.0
) -> tuple[str, bool]:
    """Return a name to ask of a patch, and whether the patch shows it.

    A share `simple` of the questions is about the colour alone.
    """
    shown = seen(bank, row)
    count = int(random.choice([1, 2, 3], p=[0.75, 0.18, 0.07]))
    chosen = sorted(random.permutation(len(KINDS))[:count].tolist())
    kinds: Sequence[str] = (
        KINDS[:1] if simple and random.random() < simple else [KINDS[i] for i in chosen]
    )
    asked = {}
    fits = random.random() < 0.5 and all(kind in shown for kind in kinds)
    for kind in kinds:
        asked[kind] = shown[kind] if kind in shown else str(random.choice(ATTRIBUTES[kind]))
    if not fits:
        wrong = [kind for kind in kinds if random.random() < 0.6] or [kinds[0]]
        for kind in wrong:
            others = [value for value in ATTRIBUTES[kind] if value != shown.get(kind)]
            asked[kind] = str(random.choice(others))
    name = concept_name(asked)
    assert name is not None
    return name, fits


def rated(bank: Bank, row: int, random: np.random.Generator) -> tuple[str, float]:
    """Return a name to ask of a patch, and how likely yes is to be the answer.

    A patch that shows part of what is named fits better than one that shows nothing of it.
    """
    shown = seen(bank, row)
    count = int(random.choice([1, 2, 3], p=[0.5, 0.33, 0.17]))
    chosen = random.choice(len(KINDS), count, replace=False, p=_ASKED)
    kinds = [KINDS[column] for column in sorted(chosen.tolist())]
    right = set(kinds) if random.random() < 0.5 else {k for k in kinds if random.random() < 0.35}
    right &= set(shown)
    asked = {}
    for kind in kinds:
        others = [value for value in ATTRIBUTES[kind] if value != shown.get(kind)]
        asked[kind] = shown[kind] if kind in right else str(random.choice(others))
    name = concept_name(asked)
    assert name is not None
    share = len(right) / len(kinds)
    return name, 1.0 if share == 1 else 0.5 * share**2
