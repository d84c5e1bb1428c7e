"""Finding channels by an address or by words, without a model.

The search of the site (`find.js`) finds the same in the same order.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence, Set

import numpy as np

from atlas import addresses
from atlas.api.contents import Channel, Contents
from atlas.errors import UserError
from atlas.lookup.addressing import Addresses, bare
from atlas.lookup.conditions import Conditions
from atlas.lookup.hit import Field, Hit, Kind, missing
from atlas.lookup.ranking import DESCRIPTION, FIRST_CLASS, NAME, SENSE, Entry, Rank, rank
from atlas.lookup.textindex import FORM, INSIDE, Reading, TextIndex
from atlas.searching import entries
from atlas.searching.analyser import RULES, words
from atlas.searching.entries import ChannelTexts

LAYER = FIRST_CLASS + int(RULES["classes"])
"""The place of a layer's name."""


class WordSearch:
    """The words of an atlas, to be searched."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        channels = list(entries.channels(contents.channels))
        self._standing = entries.standing(channels)
        self._states = [channel.state for channel in channels]
        layers: dict[str, dict[int, int]] = {}
        for row, channel in enumerate(channels):
            layers.setdefault(channel.layer, {})[channel.number] = row
        self._layers = layers
        self._addresses = Addresses(layers)
        self._index = TextIndex()
        self._labels = entries.labels(dict(enumerate(contents.class_names)))
        self._entries = [self._entry(channel) for channel in channels]
        for name in self._labels.values():  # words of other classes are no mistakes
            self._index.add(name)
        self._rows: dict[int, list[int]] = defaultdict(list)
        for row, entry in enumerate(self._entries):
            for text, _ in (*entry.texts, *entry.labels):
                self._rows[text].append(row)

    def search(self, query: str, n: int, conditions: Conditions) -> list[Hit]:
        """Find channels by their address or by words.

        Parameters
        ----------
        query : str
            An address (`features.28:79`, or another form that `Addresses` knows), or words.
        n : int
            How many to return at most.
        conditions : Conditions
            Which channels may be found.

        Returns
        -------
        list of Hit
            Best first, by `ranking`; of channels that fit equally the one whose name has the better
            average precision, then the more relevant one.

        Raises
        ------
        UserError
            The query has no words, or it is an address that the atlas lacks.
        """
        text = bare(query)
        allowed = set(np.flatnonzero(conditions.allowed(self._contents)).tolist())
        for kind, rows in self._addressed(text):
            if rows:
                kept = [row for row in rows if row in allowed]
                return [Hit(self._contents.channel(row), kind) for row in kept[:n]]
        if addresses.looks_like_one(text):
            raise addresses.unknown(text, list(self._contents.rows), self._contents.id)
        found: dict[int, tuple[Rank, Reading]] = {}
        for reading in self._read(query):
            for row, fits in self._fitting(reading, allowed):
                if row not in found or fits < found[row][0]:
                    found[row] = fits, reading
        least = min((fits.lacking for fits, _ in found.values()), default=0)
        left = (row for row, (fits, _) in found.items() if fits.lacking == least)
        best = sorted(left, key=lambda row: (found[row][0], self._standing[row]))
        return [self._hit(row, *found[row]) for row in best[:n]]

    def called(self, query: str) -> list[Channel]:
        """Return the channels of which one name has all words of a query, in the order of rows.

        It is their name, that of a sense, or of their other side; words may have other forms
        there, but none may be a part of another word. Names alone are read, and never two together:
        a *star* of the class *red ring* is not called `red star`.

        Raises
        ------
        UserError
            The query has no words.
        """
        having = {
            text
            for reading in self._read(query)
            if reading.terms and not reading.nearest
            for text in range(len(self._index.texts))
            if all(term.get(text, INSIDE) <= FORM for term in reading.terms)
        }
        return [
            self._contents.channel(row)
            for row, entry in enumerate(self._entries)
            if any(text in having and place <= SENSE for text, place in entry.texts)
        ]

    def missing(self, query: str) -> list[str]:
        """Return what is said of a query's words that stand nowhere in the atlas."""
        text = self._addresses.spelled(bare(query), self._index.known)
        return missing(self._index.read(text)[0].nearest)

    def _read(self, query: str) -> list[Reading]:
        """Return what the words of a query are taken for."""
        text = bare(query)
        if len(text) > RULES["longest_query"] or not words(text):
            raise UserError(
                f"the query {query.strip()[:40]!r} has {'too many' if words(text) else 'no'} "
                "words: ask for an address such as features.28:79, or for some words"
            )
        return self._index.read(self._addresses.spelled(text, self._index.known))

    def _addressed(self, query: str) -> Iterator[tuple[Kind, list[int]]]:
        """Yield the rows that a query addresses in one way after the other."""
        row = self._contents.rows.get(query)
        yield "address", [] if row is None else [row]
        yield "address", self._addresses.channels(query)
        layers = (self._layers[name].values() for name in self._addresses.layers(query))
        yield "layer", [r for rows in layers for r in sorted(rows, key=self._standing.__getitem__)]
        if asked := entries.state(query):
            rows = [row for row, state in enumerate(self._states) if state == asked]
            yield "state", sorted(rows, key=self._standing.__getitem__)

    def _fitting(self, reading: Reading, allowed: set[int]) -> Iterator[tuple[int, Rank]]:
        """Yield the rows that have all words, otherwise those that have any, and how they fit."""
        having = [
            {row for text in term for row in self._rows.get(text, ())} & allowed
            for term in reading.terms
        ]
        if not having:
            return
        ranks = [(row, self._rank(row, reading)) for row in set.intersection(*having)]
        if all(fits.lacking for _, fits in ranks):
            ranks = [(row, self._rank(row, reading)) for row in set.union(*having)]
        yield from ranks

    def _rank(self, row: int, reading: Reading) -> Rank:
        fits = rank(self._entries[row], reading.terms, self._index.lengths)
        assert fits is not None, "the row has a word"
        return fits

    def _hit(self, row: int, fits: Rank, reading: Reading) -> Hit:
        entry = self._entries[row]
        places = (*entry.texts, *entry.labels)
        having = {place for text, place in places if any(text in term for term in reading.terms)}
        whole = {place for text, place in places if all(text in term for term in reading.terms)}
        return Hit(
            self._contents.channel(row),
            _kind(fits, reading),
            _fields(having),
            together=() if fits.lacking else _fields(whole),
            label=None if fits.label is None else self._index.texts[fits.label],
            lacking=fits.lacking,
            nearest=reading.nearest,
        )

    def _entry(self, channel: ChannelTexts) -> Entry:
        senses = [(sense, SENSE) for sense in channel.senses]
        others = [(channel.description, DESCRIPTION), (channel.layer, LAYER)]
        named = [(channel.name, NAME), *senses, *others]
        classes = enumerate((self._labels[label] for label in channel.labels), FIRST_CLASS)
        return Entry(
            [(self._index.add(text), place) for text, place in named],
            [(self._index.add(name), place) for place, name in classes],
        )


_FIELDS: dict[Field, Sequence[int]] = {
    "name": [NAME],
    "senses": [SENSE],
    "description": [DESCRIPTION],
    "classes": range(FIRST_CLASS, LAYER),
    "layer": [LAYER],
}


def _fields(places: Set[int]) -> tuple[Field, ...]:
    return tuple(name for name, several in _FIELDS.items() if places & {*several})


def _kind(fits: Rank, reading: Reading) -> Kind:
    if any(reading.nearest.values()):
        return "near"
    if fits.lacking or reading.nearest:
        return "some"
    if not fits.otherwise:
        return "name"
    return "words" if fits.fit <= FORM else "letters"
