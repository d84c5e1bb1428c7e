"""An index of short texts: which of them have a word, and what a query's words are taken for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from atlas.searching.analyser import LEAST, RULES, forms, telling, unspaced, words

SAME, FORM, BEGINNING, INSIDE, NEAR, NEAR_FORM = range(6)
"""How a word of a text fits one of a query: it is that word, another form of it, begins so, has it
inside, is the nearest in spelling, or another form of that. Less is better."""

COMPOUND = 3
"""So many words of a text in a row may be one of a query, written together."""

Term = Mapping[int, int]
"""How each text fits a word of a query, for texts that do."""


@dataclass(frozen=True)
class Reading:
    """What a query is taken for."""

    terms: tuple[Term, ...]
    """One for each word that is looked for; each has texts."""
    nearest: Mapping[str, tuple[str, ...]]
    """The words of the query that stand nowhere, and those taken for them, if any are near."""


class TextIndex:
    """Texts by their words."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        """Those taken in, by number."""
        self.lengths: list[int] = []
        """How many telling words each text has."""
        self._numbers: dict[str, int] = {}
        self._texts: dict[str, list[int]] = {}  # by word
        self._words: dict[str, list[str]] = {}  # by form
        self._split: list[list[str]] = []  # the words of each text

    def add(self, text: str) -> int:
        """Take in a text and return its number; the same text has the same one."""
        if text in self._numbers:
            return self._numbers[text]
        number = self._numbers[text] = len(self.texts)
        self.texts.append(text)
        every = words(text)
        for word in dict.fromkeys(every):
            if word not in self._texts:
                self._texts[word] = []
                for form in forms(word):
                    self._words.setdefault(form, []).append(word)
            self._texts[word].append(number)
        self._split.append(every)
        self.lengths.append(len(telling(every)))
        return number

    def read(self, query: str) -> list[Reading]:
        """Return what a query is taken for: with words joined that are one in a text, and without.

        Of these the ones whose every word stands somewhere; otherwise the first.
        """
        plain = telling(words(query))
        joined = self._joined(plain)
        readings = [self._read(several) for several in [joined, plain][: 1 + (joined != plain)]]
        return [reading for reading in readings if not reading.nearest] or readings[:1]

    def _joined(self, several: Sequence[str]) -> list[str]:
        """Return the words; two that are one in a text, as `zig zag` may be, are one.

        Two words of the texts are not: `star red` is no form of `star`, as `starred` would be.
        """
        joined: list[str] = []
        for word in several:
            both = joined[-1] + word if joined else ""
            apart = bool(joined) and self.known(joined[-1]) and self.known(word)
            if both in self._texts or (joined and self.known(both) and not apart):
                joined[-1] += word
            else:
                joined.append(word)
        return joined

    def _read(self, several: Sequence[str]) -> Reading:
        terms: list[Term] = []
        nearest: dict[str, tuple[str, ...]] = {}
        for word in several:
            if term := self._term(word):
                terms.append(term)
            elif parts := self._parts(word):
                terms += map(self._whole, parts)
            else:
                nearest[word] = self._nearest(word)
                if nearest[word]:
                    near = _best(map(self._whole, nearest[word]))
                    terms.append({text: NEAR + fit for text, fit in near.items()})
        return Reading(tuple(terms), nearest)

    def _term(self, word: str) -> Term:
        """Return how each text fits a word in any way."""
        inside = len(word) >= LEAST or unspaced(word[0])
        found: dict[int, int] = {}
        for other, texts in self._texts.items():
            if inside and word in other and not other.startswith(word):
                found.update(dict.fromkeys(texts, INSIDE))
        for other, texts in self._texts.items():
            if other.startswith(word):
                found.update(dict.fromkeys(texts, BEGINNING))
        return {**found, **self._whole(word)}

    def _whole(self, word: str) -> Term:
        """Return how each text fits a word as a whole."""
        found: dict[int, int] = {}
        for form in forms(word):
            for other in self._words.get(form, ()):
                found.update(dict.fromkeys(self._texts[other], FORM))
        return {**found, **dict.fromkeys(self._texts.get(word, ()), SAME)}

    def known(self, word: str) -> bool:
        """Say whether a word, or another form of it, stands in a text."""
        return any(form in self._words for form in forms(word))

    @cached_property
    def _compounds(self) -> dict[str, list[str]]:
        """The words that stand in a row somewhere, by what they are written together."""
        compounds: dict[str, list[str]] = {}
        for every in self._split:
            for count in range(2, COMPOUND + 1):
                for at in range(len(every) - count + 1):
                    several = every[at : at + count]
                    compounds.setdefault("".join(several), several)
        return compounds

    def _parts(self, word: str) -> Sequence[str]:
        """Return the words of which one is made that stands nowhere: they stand in a row somewhere.

        If nothing is near in spelling, any two words will do.
        """
        for form in forms(word):
            if form in self._compounds:
                return self._compounds[form]
        if self._nearest(word):
            return ()
        halves = ((word[:at], word[at:]) for at in range(len(word) - LEAST, LEAST - 1, -1))
        return next((pair for pair in halves if all(map(self.known, pair))), ())

    def _nearest(self, word: str) -> tuple[str, ...]:
        """Return the known words of least edit distance, if that is one that mistakes have.

        Neighbours that changed places are one mistake (optimal string alignment); as many are
        allowed as Lucene's `fuzziness: AUTO` does.
        """
        from rapidfuzz import process  # noqa: PLC0415 (only mistakes need it)
        from rapidfuzz.distance import OSA  # noqa: PLC0415

        allowed = (most for length, most in RULES["mistakes"] if len(word) >= length)
        most, known = max(allowed, default=0), list(self._texts)
        found = process.extract(word, known, scorer=OSA.distance, score_cutoff=most, limit=None)
        least = min((distance for _, distance, _ in found), default=0)
        near = sorted(at for _, distance, at in found if distance == least)
        return tuple(known[at] for at in near[: RULES["most_nearest"]])


def _best(terms: Iterable[Term]) -> Term:
    best: dict[int, int] = {}
    for term in terms:
        for text, fit in term.items():
            best[text] = min(fit, best.get(text, fit))
    return best
