"""Which labels a channel distinguishes: the combination with the best AUC, honestly tested.

A label is a class, a superclass, or a word that the names of several classes share ("striped").
Combinations are those of INVERT (Bykov et al. 2023) and of compositional explanations (Mu and
Andreas 2020): a label or its opposite, made longer by AND, OR and AND NOT in a beam search, as long
as that fits clearly better. INVERT takes the best AUC, which prefers labels that are too narrow:
all pugs are among the best pictures of a channel for dogs. Here, of those whose AUC is that of a
name, the correlation of ranks with the label decides, which loses by what is left out too.

The best of thousands of combinations looks good by chance alone. So the search sees half of the
pictures, and what it finds is tested on the other half, by Mann and Whitney's test. The search
proposes one combination of each length, and the other half decides between them: p values are
multiplied by their number. As every channel is tested, names are given by the false discovery rate
over channels (Benjamini and Hochberg 1995).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from atlas.probe.significance import (
    Booleans,
    Floats,
    auc,
    false_discovery,
    halves,
    p_value,
    ranks,
)
from atlas.store import Store

FEWEST = 5
"""A label counts with at least this many pictures in each half, and as many without it."""

MOST = 0.6
"""A class may be more frequent than this share, and nothing else: "not a bird" is no concept."""

GAIN = 0.05
"""A longer combination must have a correlation that is higher by this share."""

LONGEST = 3
"""Labels in a combination."""

SURE = 0.85
"""Smallest AUC of a name, on the pictures that did not choose it."""

LEVEL = 0.05
"""Largest false discovery rate of names."""

_NONE = -2.0  # fit of what is no combination
_SURELY = 2.0
_BEAM = 5  # combinations that are made longer
_SIGNS = ("AND", "OR", "AND NOT")

_Parts = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Labels:
    """The labels of some pictures.

    Attributes
    ----------
    names : sequence of str
        Names of the labels.
    shown : ndarray
        bool (labels, pictures): which picture has which label.
    choosing, testing : ndarray
        bool (pictures,): the half that combinations are chosen on, and the other. Pictures
        without a class are in neither.
    """

    names: Sequence[str]
    shown: Booleans
    choosing: Booleans
    testing: Booleans


@dataclass(frozen=True)
class Formula:
    """A combination of labels and how well a channel distinguishes it."""

    text: str
    """The combination as logic: `(red OR blue) AND NOT star`."""
    name: str
    """The combination in words: `red or blue, not star`."""
    auc: float
    """Area under the ROC curve of the channel's activation for pictures with it, 0 to 1, on the
    testing half."""
    chosen_auc: float
    """The same on the choosing half, which flatters it."""
    p: float
    """That the activations are no higher there, corrected for what the testing half decided."""
    q: float
    """False discovery rate at which the channel would just get this name: that of p over all
    channels, where an AUC below `SURE` counts as p = 1."""
    tried: int
    """Combinations that it is the best of."""
    pictures: int
    """How many have it."""
    positive: int
    """How many pictures of the testing half have it."""
    tested: int
    """How many pictures the testing half has."""

    @property
    def passes(self) -> bool:
        """Whether it is the channel's name."""
        return self.auc >= SURE and self.q <= LEVEL


def labels(
    classes: Sequence[str],
    assigned: Sequence[int | None],
    superclasses: Mapping[str, frozenset[int]] | None = None,
) -> Labels:
    """Return the labels of pictures: classes, superclasses, and words that several classes share.

    Of labels that the same pictures have, one is kept: a class before a superclass, of these the
    one with the fewest classes, and a word last.

    Parameters
    ----------
    classes : sequence of str
        Names of the classes.
    assigned : sequence of int or None
        The class of each picture; None is no class.
    superclasses : mapping, optional
        Name -> numbers of its classes.
    """
    having: dict[str, set[int]] = {}
    for number, name in enumerate(classes):
        having.setdefault(name, set()).add(number)
    for name, below in sorted((superclasses or {}).items(), key=lambda item: len(item[1])):
        # A class may stand above others; another class may have the name of a superclass.
        own = having.get(name, set()) <= below
        having[name if own else f"{name} (superclass)"] = set(below)
    words: dict[str, set[int]] = {}
    for number, name in enumerate(classes):
        for word in name.replace(",", " ").replace("_", " ").split():
            words.setdefault(word, set()).add(number)
    having |= {
        word: numbers
        for word, numbers in words.items()
        if len(numbers) > 1 and len(word) > 2 and word not in having
    }
    known = np.array([-1 if label is None else label for label in assigned], np.int64)
    choosing, testing = halves(known)
    kept: dict[bytes, tuple[str, Booleans]] = {}
    for name, numbers in having.items():
        row = np.isin(known, sorted(numbers))
        sides = [row[half] for half in (choosing, testing)]
        common = all(FEWEST <= side.sum() <= len(side) - FEWEST for side in sides)
        if common and (len(numbers) == 1 or row.sum() <= MOST * (known >= 0).sum()):
            kept.setdefault(row.tobytes(), (name, row))
    shown = np.array([row for _, row in kept.values()], np.bool_).reshape(len(kept), len(known))
    return Labels([name for name, _ in kept.values()], shown, choosing, testing)


def picture_labels(
    store: Store,
    images: npt.NDArray[np.int64],
    superclasses: Mapping[str, frozenset[int]] | None = None,
) -> Labels:
    """Return the labels of stored pictures, given by their rows of images.parquet."""
    labelled = store.table("images")["label"].to_pylist()
    return labels(class_names(store), [labelled[row] for row in images], superclasses)


def class_names(store: Store) -> list[str]:
    """Return the names of the classes by number."""
    classes = store.table("classes").select(["label", "name"]).to_pydict()
    names = dict(zip(classes["label"], classes["name"], strict=True))
    return [names.get(label, f"class {label}") for label in range(max(names, default=-1) + 1)]


def best(known: Labels, values: npt.NDArray[Any]) -> list[Formula | None]:
    """Return for each channel the combination of labels that it distinguishes best, and how well.

    Parameters
    ----------
    known : Labels
        Labels of the pictures.
    values : ndarray
        (pictures, channels), activations.

    Returns
    -------
    list of Formula or None
        None where there are no labels, or a channel has the same value everywhere.
    """
    count = values.shape[1]
    if not len(known.names):
        return [None] * count
    first, second = ranks(values[known.choosing]), ranks(values[known.testing])
    search = _Search(known)
    found: list[Formula | None] = []
    for column in tqdm(range(count), desc="labels", unit=" channels"):
        chain = search.chain(first[:, column])
        decided = (
            _decided(known, chain, first[:, column], second[:, column], search.tried)
            if chain
            else None
        )
        found.append(decided)
    counting = [one.p if one is not None and one.auc >= SURE else 1.0 for one in found]
    rates = false_discovery(counting)
    return [
        one if one is None else replace(one, q=float(rate))
        for one, rate in zip(found, rates, strict=True)
    ]


@dataclass(frozen=True)
class _Combination:
    """A combination: labels with what joins each to those before it (NOT or nothing at first)."""

    parts: _Parts
    worth: float  # on the choosing half

    def where(self, shown: Booleans) -> Booleans:
        """Return which pictures have it, given which have each label."""
        (sign, row), *others = self.parts
        mask: Booleans = ~shown[row] if sign else shown[row]
        for sign, row in others:
            if sign == "OR":
                mask = mask | shown[row]
            else:
                mask = mask & (shown[row] if sign == "AND" else ~shown[row])
        return mask


class _Search:
    """A beam search through combinations of labels on the choosing half of the pictures."""

    def __init__(self, known: Labels) -> None:
        self._shown = known.shown[:, known.choosing]
        self._others = known.shown[:, known.testing]
        self._weights = self._shown.astype(np.float64)
        self._counts = self._weights.sum(1)
        self.tried = 0
        """Combinations that the last search has looked at."""

    def chain(self, ranked: Floats) -> list[_Combination]:
        """Return the best combination of each length, each clearly better than the one before.

        The best is the one that fits best of those whose AUC is that of a name, or of all if
        there is none; what is made longer are those that fit best, whatever their AUC.

        Parameters
        ----------
        ranked : ndarray
            (pictures of the choosing half,), ranks of a channel's activations.
        """
        if ranked.max() == ranked.min():
            return []
        count, pictures = len(self._counts), len(ranked)
        sums = self._weights @ ranked
        n = np.concatenate([self._counts, pictures - self._counts])
        fits = _fit(np.concatenate([sums, ranked.sum() - sums]), n, pictures)
        fits[count:][n[count:] > MOST * pictures] = _NONE
        self.tried = 0
        beam, best = self._top(fits, n, lambda at: (("" if at < count else "NOT", at % count),))
        chain = [best] if best else []
        for _ in range(LONGEST - 1):
            beam, best = self._longer(beam, ranked, sums)
            if best and _better(best.worth, chain[-1].worth):
                chain.append(best)
        return chain

    def _longer(
        self, beam: Sequence[_Combination], ranked: Floats, sums: Floats
    ) -> tuple[list[_Combination], _Combination | None]:
        """Return the best combinations with one label more that say something else."""
        if not beam:
            return [], None
        pictures = len(ranked)
        masks = np.array([one.where(self._shown) for one in beam], np.float64)
        # Counts and sums of ranks of AND, OR and AND NOT follow from those of AND: each is
        # (signs, beam, labels).
        both, own = (self._weights @ masks.T).T, masks.sum(1)[:, None]
        n = np.stack([both, own + self._counts - both, own - both])
        both, own_sums = (self._weights @ (masks * ranked).T).T, (masks @ ranked)[:, None]
        fits = _fit(np.stack([both, own_sums + sums - both, own_sums - both]), n, pictures)
        common = (n >= FEWEST) & (n <= MOST * pictures)
        common &= n != own  # else the new label adds nothing ...
        common[:2] &= n[:2] != self._counts  # ... or is all there is
        fits[~common] = _NONE

        def joined(at: int) -> _Parts:
            sign, one, row = np.unravel_index(at, fits.shape)
            return (*beam[int(one)].parts, (_SIGNS[int(sign)], int(row)))

        return self._top(fits.ravel(), n.ravel(), joined)

    def _top(
        self, fits: Floats, n: Floats, parts: Callable[[int], _Parts]
    ) -> tuple[list[_Combination], _Combination | None]:
        """Return those that fit best and differ, and the best; none is rare in the testing half."""
        self.tried += int((fits > _NONE).sum())
        worth = _worth(fits, n, self._shown.shape[1])
        beam = self._allowed(fits, worth, parts, _BEAM)
        best = self._allowed(worth, worth, parts, 1)
        return beam, best[0] if best else None

    def _allowed(
        self, by: Floats, worth: Floats, parts: Callable[[int], _Parts], most: int
    ) -> list[_Combination]:
        result: dict[bytes, _Combination] = {}
        for at in np.argsort(-by, kind="stable").tolist():
            if by[at] == _NONE or len(result) == most:
                break
            one = _Combination(parts(at), float(worth[at]))
            there = one.where(self._others)
            if FEWEST <= there.sum() <= len(there) - FEWEST:
                result.setdefault(one.where(self._shown).tobytes(), one)
        return list(result.values())


def _fit(sums: Floats, positive: Floats, pictures: int) -> Floats:
    """Return the correlation of ranks with labels, from sums of ranks over so many pictures.

    It is that of untied ranks: ties change it by a factor that all labels of a channel share.
    """
    share = positive / pictures
    with np.errstate(invalid="ignore", divide="ignore"):
        above = sums / positive - (pictures + 1) / 2  # of the mean rank
        result: Floats = above * np.sqrt(12 * share / (1 - share)) / pictures
    return result


def _worth(fits: Floats, positive: Floats, pictures: int) -> Floats:
    """Return by what the best is chosen: the fit, and `_SURELY` more with the AUC of a name."""
    share = positive / pictures
    # The correlation that this AUC has for so many pictures with the label.
    least = (SURE - 0.5) * np.sqrt(12 * share * (1 - share))
    return np.where((fits > _NONE) & (fits >= least), fits + _SURELY, fits)


def _better(worth: float, before: float) -> bool:
    """Say whether a longer combination is worth its length."""
    if (worth > 1) != (before > 1):
        return worth > 1
    fit = before - _SURELY if before > 1 else before
    return worth > before + GAIN * abs(fit)


def _decided(
    known: Labels, chain: Sequence[_Combination], first: Floats, ranked: Floats, tried: int
) -> Formula:
    """Return the combination of a chain that the testing half, `ranked`, holds for best."""
    masks = np.array([term.where(known.shown) for term in chain])
    here = masks[:, known.testing]
    n = here.sum(1).astype(np.float64)
    worth = _worth(_fit(here @ ranked, n, len(ranked)), n, len(ranked))
    chosen = 0
    for longer in range(1, len(chain)):
        if _better(float(worth[longer]), float(worth[chosen])):
            chosen = longer
    there = here[chosen]
    text, name = _texts(chain[chosen], known.names)
    return Formula(
        text=text,
        name=name,
        auc=auc(ranked, there),
        chosen_auc=auc(first, masks[chosen][known.choosing]),
        p=min(1.0, p_value(ranked, there) * len(chain)),
        q=1.0,
        tried=tried,
        pictures=int(masks[chosen][known.choosing | known.testing].sum()),
        positive=int(there.sum()),
        tested=len(there),
    )


def _texts(term: _Combination, names: Sequence[str]) -> tuple[str, str]:
    """Return a combination as logic and in words."""
    (sign, row), *others = term.parts
    text = f"NOT {names[row]}" if sign else names[row]
    name = f"not {names[row]}" if sign else names[row]
    before = ""
    for sign, row in others:
        other = names[row]
        mixed = bool(before) and (before == "OR") != (sign == "OR")
        text = f"({text}) {sign} {other}" if mixed else f"{text} {sign} {other}"
        if sign == "OR":
            name = f"{name}; or {other}" if mixed or term.parts[0][0] else f"{name} or {other}"
        elif sign == "AND":
            name = f"{other}, {name}" if term.parts[0][0] else f"{name} {other}"
        else:
            name = f"{name}, not {other}"
        before = sign
    return text, name
