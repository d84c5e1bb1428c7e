"""How well a channel fits a query: the order of all hits.

All words must stand somewhere in its texts; of its classes only one may have them, or `red star`
would find channels of red hearts and blue stars. Of two channels the better is the one that

1. lacks fewer words (where no channel has all of them);
2. is called just so, by its name or that of a sense;
3. has the words as such rather than in other forms, as beginnings, inside of words, or nearly so;
4. has them in better places: name, sense, description, first class, ..., last class, layer;
5. has them in shorter texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from atlas.lookup.textindex import FORM, INSIDE, NEAR, Term

NAME, SENSE, DESCRIPTION, FIRST_CLASS = range(4)
"""Where a text stands; further classes follow the first, and then comes the layer."""

_Found = tuple[int, int, int]  # how a text fits, where it stands, its number


@dataclass(frozen=True)
class Entry:
    """The texts of a channel by their numbers, each with its place."""

    texts: Sequence[tuple[int, int]]
    """Its names, its description and its layer."""
    labels: Sequence[tuple[int, int]]
    """Its classes."""


@dataclass(frozen=True, order=True)
class Rank:
    """How well a channel fits; less is better."""

    lacking: int
    """Words that it lacks."""
    otherwise: bool
    """Whether it is called otherwise."""
    fit: int
    """How the word fits that fits worst."""
    place: int
    """The places of all words, added up."""
    length: int
    """Telling words in all the texts that have them."""
    label: int | None = field(compare=False)
    """The class that has words of the query."""


def rank(entry: Entry, terms: Sequence[Term], lengths: Sequence[int]) -> Rank | None:
    """Return how well a channel fits the words of a query; None if it has none of them.

    Parameters
    ----------
    entry : Entry
        Its texts.
    terms : sequence of Term
        The words.
    lengths : sequence of int
        How many telling words each text has.
    """
    found = [_best(entry.texts, term) for term in terms]
    options: list[tuple[int | None, list[_Found | None]]] = [(None, found)]
    for label, place in entry.labels:
        if any(label in term for term in terms):
            with_it = [_best([(label, place)], term) for term in terms]
            options.append((label, list(map(_better, found, with_it))))
    called = any(
        place <= SENSE
        and lengths[text] <= len(terms)
        and all(_whole(term.get(text, INSIDE)) for term in terms)
        for text, place in entry.texts
    )
    ranks = []
    for named, words in options:
        there = [word for word in words if word]
        if there:
            fits, places, texts = zip(*there, strict=True)
            length = sum(lengths[text] for text in set(texts))
            lacking = len(words) - len(there)
            ranks.append(Rank(lacking, not called, max(fits), sum(places), length, named))
    return min(ranks, default=None)


def _whole(fit: int) -> bool:
    return fit <= FORM or fit >= NEAR


def _best(texts: Sequence[tuple[int, int]], term: Term) -> _Found | None:
    found = ((term[text], place, text) for text, place in texts if text in term)
    return min(found, key=lambda one: one[:2], default=None)


def _better(one: _Found | None, other: _Found | None) -> _Found | None:
    return min((each for each in (one, other) if each), key=lambda each: each[:2], default=None)
