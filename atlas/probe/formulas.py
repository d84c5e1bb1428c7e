"""Which labels a channel distinguishes: the combination of labels with the best AUC.

In the spirit of INVERT (Bykov et al. 2023): a label is a class, or a word that the names of
several classes share ("terrier", "striped"), which serves as their superclass. Labels are combined
by AND, OR and AND NOT as long as that makes the AUC clearly better. The p value is that of
Mann and Whitney's test, times the number of combinations tried (Bonferroni).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from atlas.store import Store

FEWEST = 5
"""A label counts with at least this many pictures, and as many without it."""

GAIN = 0.02
"""A longer combination must be better by this much AUC."""

LONGEST = 3
"""Labels in a combination."""

_BEAM = 5  # combinations that are made longer
_PARTNERS = 40  # labels that they are combined with

Booleans = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Labels:
    """The labels of some pictures.

    Attributes
    ----------
    names : sequence of str
        Names of the labels.
    shown : ndarray
        bool (labels, pictures): which picture has which label.
    """

    names: Sequence[str]
    shown: Booleans


@dataclass(frozen=True)
class Formula:
    """A combination of labels and how well a channel distinguishes it."""

    text: str
    """The combination as logic: `red AND star AND NOT dotted`."""
    name: str
    """The combination in words: `red star, not dotted`."""
    auc: float
    """Area under the ROC curve of the channel's activation for pictures with it, 0 to 1."""
    p: float
    """That the activations are no higher there, corrected for `tried`."""
    tried: int
    pictures: int
    """How many have it."""


def labels(classes: Sequence[str], assigned: Sequence[int | None]) -> Labels:
    """Return the labels of pictures: their classes, and words that several classes share.

    Parameters
    ----------
    classes : sequence of str
        Names of the classes.
    assigned : sequence of int or None
        The class of each picture; None is no class.
    """
    having: dict[str, set[int]] = {}
    for number, name in enumerate(classes):
        having.setdefault(name, set()).add(number)
    words: dict[str, set[int]] = {}
    for number, name in enumerate(classes):
        for word in name.replace(",", " ").replace("_", " ").split():
            words.setdefault(word, set()).add(number)
    having |= {
        word: numbers
        for word, numbers in words.items()
        if len(numbers) > 1 and len(word) > 2 and word not in having
    }
    known = np.array([-1 if label is None else label for label in assigned])
    shown = np.array([np.isin(known, sorted(numbers)) for numbers in having.values()])
    enough = (shown.sum(1) >= FEWEST) & ((~shown).sum(1) >= FEWEST)
    names = [name for name, kept in zip(having, enough, strict=True) if kept]
    return Labels(names, shown[enough])


def picture_labels(store: Store, images: npt.NDArray[np.int64]) -> Labels:
    """Return the labels of stored pictures, given by their rows of images.parquet."""
    labelled = store.table("images")["label"].to_pylist()
    classes = store.table("classes").select(["label", "name"]).to_pydict()
    names = dict(zip(classes["label"], classes["name"], strict=True))
    every = range(max(names, default=-1) + 1)
    return labels(
        [names.get(label, f"class {label}") for label in every], [labelled[row] for row in images]
    )


def ranks(values: npt.NDArray[Any]) -> Floats:
    """Return the ranks, from 1, of the rows in each column; ties share their mean rank."""
    result = np.empty(values.shape)
    for column, each in enumerate(values.T):
        _, place, counts = np.unique(each, return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        result[:, column] = (last - (counts - 1) / 2)[place]
    return result


def aucs(ranked: Floats, shown: Booleans) -> Floats:
    """Return the AUC of every label for every channel.

    Parameters
    ----------
    ranked : ndarray
        (pictures, channels), from `ranks`.
    shown : ndarray
        bool (labels, pictures).

    Returns
    -------
    ndarray
        (labels, channels).
    """
    positive = shown.sum(1, keepdims=True).astype(np.float64)
    negative = shown.shape[1] - positive
    above = shown.astype(np.float64) @ ranked - positive * (positive + 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = above / (positive * negative)
    return result


def p_value(auc: float, positive: int, ranked: Floats) -> float:
    """Return Mann and Whitney's one-sided p value, with the normal approximation and ties."""
    count = len(ranked)
    negative = count - positive
    ties = np.unique(ranked, return_counts=True)[1].astype(np.float64)
    tied = (ties**3 - ties).sum() / (count * (count - 1))
    spread = math.sqrt(positive * negative / 12 * (count + 1 - tied))
    if spread == 0:
        return 1.0
    z = (auc - 0.5) * positive * negative / spread
    return 0.5 * math.erfc(z / math.sqrt(2))


def best_formula(known: Labels, ranked: Floats, single: Floats) -> Formula | None:
    """Return the combination of labels that a channel distinguishes best.

    Parameters
    ----------
    known : Labels
        Labels of the pictures.
    ranked : ndarray
        (pictures,), ranks of the channel's activations.
    single : ndarray
        (labels,), the AUC of each label for this channel.

    Returns
    -------
    Formula or None
        None where there are no labels.
    """
    if not len(known.names):
        return None
    order = np.argsort(-single, kind="stable")
    partners = order[:_PARTNERS]
    beam = [
        _Combination((int(row),), (), known.shown[row], float(single[row])) for row in order[:_BEAM]
    ]
    best, tried = beam[0], len(known.names)
    for _ in range(LONGEST - 1):
        longer = [new for one in beam for new in _longer(one, known, partners)]
        if not longer:
            break
        values = aucs(ranked[:, None], np.array([one.shown for one in longer]))[:, 0]
        tried += len(longer)
        rising = np.argsort(-values, kind="stable")[:_BEAM]
        beam = [
            _Combination(longer[i].parts, longer[i].signs, longer[i].shown, float(values[i]))
            for i in rising
        ]
        if beam[0].auc < best.auc + GAIN:
            break
        best = beam[0]
    positive = int(best.shown.sum())
    p = min(1.0, p_value(best.auc, positive, ranked) * tried)
    return Formula(*_texts(best, known), best.auc, p, tried, positive)


@dataclass(frozen=True)
class _Combination:
    parts: tuple[int, ...]
    signs: tuple[str, ...]  # between them
    shown: Booleans
    auc: float


def _longer(
    one: _Combination, known: Labels, partners: npt.NDArray[np.int64]
) -> list[_Combination]:
    """Return the combinations with one label more that say something else and are not rare."""
    result = []
    for row in partners.tolist():
        if row in one.parts:
            continue
        other = known.shown[row]
        for sign, shown in (
            ("AND", one.shown & other),
            ("OR", one.shown | other),
            ("AND NOT", one.shown & ~other),
        ):
            count = int(shown.sum())
            common = FEWEST <= count <= len(shown) - FEWEST
            if common and not (shown == one.shown).all() and not (shown == other).all():
                result.append(_Combination((*one.parts, row), (*one.signs, sign), shown, 0.0))
    return result


def _texts(one: _Combination, known: Labels) -> tuple[str, str]:
    """Return a combination as logic, read from the left, and in words."""
    text = name = known.names[one.parts[0]]
    plain = {"AND": " ", "OR": " or ", "AND NOT": ", not "}
    for sign, row in zip(one.signs, one.parts[1:], strict=True):
        text = f"{text} {sign} {known.names[row]}"
        name = f"{name}{plain[sign]}{known.names[row]}"
    return text, name
