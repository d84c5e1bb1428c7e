"""Finding channels by words, without a model.

The index is SQLite's FTS5, which comes with Python, in memory: Porter's stems for plurals and
word forms, BM25, thousands of channels in a tenth of a second. A word that stands nowhere in the
atlas is taken for a misspelling and replaced by those nearest to it, within the edit distance
that Lucene allows (its `fuzziness: AUTO`), or for the beginning of a longer word.
"""

import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
import numpy.typing as npt

from atlas import addresses
from atlas.api.contents import Contents
from atlas.errors import UserError
from atlas.lookup.choice import Choice
from atlas.lookup.hit import FIELDS, Field, Hit, Kind

WEIGHTS: dict[Field, float] = {"name": 1.0, "senses": 0.9, "description": 0.5, "classes": 0.25}
"""What a word of the query counts by the best field in which it stands. (BM25 over fields of so
different lengths would prefer ten mentions among classes to a name.)"""

CORRECTED = 0.5
"""What a word counts that had to be corrected, beside one that had not."""

LITTLE = frozenset(
    ("a", "an", "and", "at", "by", "for", "from", "in", "is", "of", "on", "or", "the", "to", "with")
)
"""Words that say nothing of a picture; they are left out where there are others."""

LONGEST_QUERY = 1000
"""Characters; a longer one is a mistake."""

NEAR_WORDS = 8
"""Words that an unknown one is replaced by, at most."""

_WORD = re.compile(r"[^\W_]+")
_BEFORE, _AFTER, _BETWEEN = "\x02", "\x03", "\x1f"


class Words:
    """The words of an atlas, to be searched."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._texts = list(_texts(contents))
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute(
            f"CREATE VIRTUAL TABLE channel USING fts5({', '.join(FIELDS)}, "
            "tokenize='porter unicode61 remove_diacritics 2')"
        )
        self._database.executemany(
            "INSERT INTO channel(rowid, name, senses, description, classes) VALUES (?, ?, ?, ?, ?)",
            ((row, *texts) for row, texts in enumerate(self._texts)),
        )

    def search(self, query: str, n: int, choice: Choice) -> list[Hit]:
        """Find channels by their address or by words.

        Parameters
        ----------
        query : str
            An address (`features.28:79`), or words.
        n : int
            How many to return at most.
        choice : Choice
            Which channels may be found.

        Returns
        -------
        list of Hit
            Best first: the address; then names (of channels and senses) that consist of just
            these words; then channels with most of the words in the best places (`WEIGHTS`), and
            of equal ones those with the better BM25 or the better name.

        Raises
        ------
        UserError
            The query has no words, or it is an address that the atlas lacks.
        """
        text = query.strip()
        allowed = choice.allowed(self._contents)
        if (row := self._contents.rows.get(text)) is not None:
            return [Hit(self._contents.channel(row), "address")] if allowed[row] else []
        if addresses.looks_like_one(text):
            raise addresses.unknown(text, list(self._contents.rows), self._contents.id)
        words = split(text)
        if not words or len(text) > LONGEST_QUERY:
            raise UserError(
                f"the query {query[:40]!r} has {'too many' if words else 'no'} words: ask for an "
                "address such as features.28:79, or for some words"
            )
        telling = [word for word in words if word not in LITTLE] or words
        terms = [self._term(word) for word in dict.fromkeys(self._joined(telling))]
        return list(islice(self._ranked(terms, allowed), n))

    def _joined(self, words: Sequence[str]) -> Iterator[str]:
        """Yield the words; two that the atlas has as one, as in "zig zag", are joined."""
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if rest and word + rest[0] in self._vocabulary and not self._rows(_quoted(word)):
                word += rest.pop(0)
            yield word

    def _term(self, word: str) -> "_Term":
        """Return what is looked for in place of a word: the word itself, or those near it."""
        if self._rows(_quoted(word)):
            return _Term(_quoted(word), corrected=False)
        return _Term(" OR ".join(map(_quoted, self._near(word))), corrected=True)

    def _near(self, term: str) -> list[str]:
        """Return words of the atlas that `term` may be meant for, the likeliest first."""
        from rapidfuzz import process  # noqa: PLC0415 (only mistakes need it)
        from rapidfuzz.distance import OSA  # noqa: PLC0415

        allowed = 0 if len(term) < 3 else 1 if len(term) < 6 else 2
        spelt = process.extract(
            term,
            list(self._vocabulary),
            scorer=OSA.distance,
            score_cutoff=allowed,
            limit=NEAR_WORDS,
        )
        best = min((distance for _, distance, _ in spelt), default=0)
        words = [word for word, distance, _ in spelt if distance == best]
        longer = [word for word in self._vocabulary if len(term) > 2 and word.startswith(term)]
        return (words or longer)[:NEAR_WORDS]

    @cached_property
    def _vocabulary(self) -> dict[str, None]:
        words = {word for texts in self._texts for text in texts for word in split(text)}
        return dict.fromkeys(sorted(words))

    def _rows(self, expression: str) -> set[int]:
        if not expression:
            return set()
        found = self._database.execute(
            "SELECT rowid FROM channel WHERE channel MATCH ?", (expression,)
        )
        return {row for (row,) in found}

    def _ranked(self, terms: Sequence["_Term"], allowed: npt.NDArray[np.bool_]) -> Iterator[Hit]:
        """Yield the hits among the allowed rows, best first."""
        known = [term for term in terms if term.expression]
        if not known:
            return
        worth: dict[int, float] = {}
        for term in known:
            for row, value in self._worth(term).items():
                worth[row] = worth.get(row, 0.0) + value
        corrected = {row for term in known if term.corrected for row in self._rows(term.expression)}
        exact = self._called(known) if len(known) == len(terms) else set()
        any_word = " OR ".join(term.expression for term in known)
        relevance = dict(
            self._database.execute(
                "SELECT rowid, bm25(channel) FROM channel WHERE channel MATCH ?", (any_word,)
            )
        )

        def place(row: int) -> tuple[bool, float, float, float, int]:
            by_words = 0.0 if row in exact else relevance[row]  # less is better
            return (row not in exact, -worth[row], by_words, -self._standing[row], row)

        for row in sorted((row for row in worth if allowed[row]), key=place):
            kind: Kind = "near" if row in corrected else "name" if row in exact else "words"
            yield Hit(self._contents.channel(row), kind, self._found(row, any_word))

    def _worth(self, term: "_Term") -> dict[int, float]:
        """Return what a term counts for each channel that has it: by its best field."""
        worth: dict[int, float] = {}
        for field in sorted(WEIGHTS, key=WEIGHTS.__getitem__):
            for row in self._rows(f"{field} : ({term.expression})"):
                worth[row] = WEIGHTS[field] * (CORRECTED if term.corrected else 1.0)
        return worth

    def _called(self, terms: Sequence["_Term"]) -> set[int]:
        """Return the rows of channels, one of whose names consists of just the words asked for."""
        rows = self._database.execute(
            f"SELECT rowid, highlight(channel, 0, '{_BEFORE}', '{_AFTER}'), "  # noqa: S608
            f"highlight(channel, 1, '{_BEFORE}', '{_AFTER}') FROM channel WHERE channel MATCH ?",
            ("{name senses} : (" + " AND ".join(f"({t.expression})" for t in terms) + ")",),
        )
        called = set()
        for row, name, senses in rows:
            for text in (name, *senses.split(_BETWEEN)):
                others = split(re.sub(f"{_BEFORE}[^{_AFTER}]*{_AFTER}", " ", text))
                if text.count(_BEFORE) >= len(terms) and not others:
                    called.add(row)
        return called

    @cached_property
    def _standing(self) -> list[float]:
        """How well each channel's name holds: by detection, else by the namer's confidence."""
        table = self._contents.channels
        columns = [
            table[name].to_pylist()
            for name in ("score_detection", "name_confidence")
            if name in table.column_names
        ]
        if not columns:
            return [0.0] * len(table)
        return [
            next((value for value in row if value is not None), 0.0)
            for row in zip(*columns, strict=True)
        ]

    def _found(self, row: int, expression: str) -> tuple[Field, ...]:
        """Return the fields of a channel in which the words stand."""
        [marked] = self._database.execute(
            "SELECT "  # noqa: S608
            + ", ".join(f"highlight(channel, {n}, '{_BEFORE}', '')" for n in range(len(FIELDS)))
            + " FROM channel WHERE channel MATCH ? AND rowid = ?",
            (expression, row),
        )
        return tuple(field for field, text in zip(FIELDS, marked, strict=True) if _BEFORE in text)


@dataclass(frozen=True)
class _Term:
    """What is looked for in place of one word of the query."""

    expression: str
    """For FTS5; empty if nothing is like the word."""
    corrected: bool
    """Whether the word itself stands nowhere."""


def split(text: str) -> list[str]:
    """Return the words of a text in lower case and without accents."""
    bare = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(letter for letter in bare if not unicodedata.combining(letter)))


def _quoted(word: str) -> str:
    """Return a word as a string of FTS5, in which nothing is an operator."""
    return f'"{word}"'


def _texts(contents: Contents) -> Iterator[tuple[str, str, str, str]]:
    """Yield the texts of `FIELDS` for each channel."""
    table = contents.channels
    columns = [name for name in ("name", "senses", "description") if name in table.column_names]
    rows = table.select([*columns, "top_classes"]).to_pylist()
    classes = contents.class_names
    for row in rows:
        senses = [sense["name"] or "" for sense in row.get("senses") or ()]
        labels = [classes[label] for label in row["top_classes"]]
        yield (
            _clean(row.get("name") or ""),
            _BETWEEN.join(map(_clean, senses)),
            _clean(row.get("description") or ""),
            _clean(" ".join(labels)),
        )


def _clean(text: str) -> str:
    """Return the words of a text as `split` finds them, for SQLite."""
    return " ".join(split(text))
