"""How texts and queries become words, by the tables of `rules.json`.

The steps: compatibility forms (NFKC) in lower case; letters folded by table; accents and other
marks of `dropped` taken off, apostrophes among them; runs of letters, marks and digits are words,
every symbol (an emoji) is one. Scripts that are written without spaces give every two neighbouring
characters as a word, as in Lucene's CJKAnalyzer. The site's `find.js` does the same.
"""

import functools
import json
import re
import unicodedata
from importlib import resources
from itertools import groupby
from typing import Any

RULES: dict[str, Any] = json.loads(
    resources.files("atlas.searching").joinpath("rules.json").read_text("utf-8")
)
"""The tables; `about` says what they are."""

LEAST = 3
"""Letters of a form of a word: shorter ones are chance, as `s` in `sing`."""

_FOLDED = str.maketrans(RULES["folded"])
_DROPPED = dict.fromkeys(
    code for first, last in RULES["dropped"] for code in range(ord(first), ord(last) + 1)
)
_ASCII = re.compile("[a-z0-9]+")
_LITTLE = frozenset(RULES["little"])


def words(text: str) -> list[str]:
    """Return the words of a text in its order, folded."""
    folded = _folded(text)
    if folded.isascii():  # many times as fast
        return _ASCII.findall(folded)
    found = []
    for kind, run in groupby(folded, key=_kind):
        letters = "".join(run)
        if kind == "unspaced" and len(letters) > 1:
            found += [letters[at : at + 2] for at in range(len(letters) - 1)]
        elif kind == "symbol":
            found += letters
        elif kind:
            found.append(letters)
    return found


def telling(several: list[str]) -> list[str]:
    """Return the words without those that say nothing of a picture, such as `the`, if any remain.

    Each stands once.
    """
    every = list(dict.fromkeys(several))
    return [word for word in every if word not in _LITTLE] or every


@functools.lru_cache(100_000)
def forms(word: str) -> tuple[str, ...]:
    """Return a word and what it may be a form of; two words are the same if they share one.

    Irregular plurals are looked up, otherwise the longest ending that fits decides: `buses` is
    `bus` or `buse`, `dotted` is `dot`. A form that is no word does no harm: it stands nowhere.
    """
    if word in RULES["irregular"]:
        return (word, *RULES["irregular"][word])
    for ending, instead in RULES["endings"]:
        if word.endswith(ending):
            rest = word.removesuffix(ending)
            others = (rest + end for end in instead)
            return (word, *(form for form in others if len(form) >= LEAST and form not in _LITTLE))
    return (word,)


def unspaced(letter: str) -> bool:
    """Say whether a letter is of a script that is written without spaces."""
    return any(first <= letter <= last for first, last in RULES["unspaced"])


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).lower().translate(_FOLDED)
    letters = unicodedata.normalize("NFD", plain).translate(_DROPPED)
    return unicodedata.normalize("NFC", letters)


@functools.lru_cache(10_000)
def _kind(letter: str) -> str:
    """Return `unspaced`, `letter` or `symbol`; empty for what stands between words."""
    if unspaced(letter):
        return "unspaced"
    category = unicodedata.category(letter)
    return "letter" if category[0] in "LMN" else "symbol" if category == "So" else ""
