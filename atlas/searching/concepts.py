"""The concepts of an atlas: names, and words of names, that several channels have.

Two names are the same if they have the same words in the same order, as the search reads them. A
channel has its name, the names of its senses and of its two sides, and the words of all of these.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from atlas.searching import analyser
from atlas.searching.entries import ChannelTexts

FEWEST = 2
"""Channels that have a concept; what one channel alone is called, the search finds."""

MOST = 1000
"""Concepts of an atlas at most, those of most channels: each has a page in its site."""

SHORTEST = 3
"""Letters of a word that is a concept by itself."""


@dataclass(frozen=True)
class NamedConcept:
    """A name, or a word of names, with the channels that are called so."""

    key: str
    """Its words, joined by hyphens."""
    shown: str
    """As it is written most often."""
    rows: tuple[int, ...]
    """The channels that have it in a name, as rows of channels."""
    exact: frozenset[int]
    """Those of them of which it is a whole name."""


def concepts(several: Sequence[ChannelTexts]) -> dict[str, NamedConcept]:
    """Return the concepts of channels by their keys, those of most channels first.

    Parameters
    ----------
    several : sequence of ChannelTexts
        In the order of their rows.
    """
    written: dict[str, Counter[str]] = {}
    rows: dict[str, list[int]] = {}
    exact: dict[str, set[int]] = {}
    for row, texts in enumerate(several):
        own: set[str] = set()
        for name in (texts.name, *texts.senses):
            for key, shown, whole in terms(name):
                written.setdefault(key, Counter())[shown] += 1
                own.add(key)
                if whole:
                    exact.setdefault(key, set()).add(row)
        for key in own:
            rows.setdefault(key, []).append(row)
    common = [key for key, found in rows.items() if len(found) >= FEWEST]
    common.sort(key=lambda key: (-len(rows[key]), key))
    return {
        key: NamedConcept(
            key,
            written[key].most_common(1)[0][0],
            tuple(rows[key]),
            frozenset(exact.get(key, ())),
        )
        for key in common[:MOST]
    }


def terms(name: str) -> list[tuple[str, str, bool]]:
    """Return a name and its words as keys, as they are shown, and whether it is the whole name."""
    words = analyser.words(name)
    if not words:
        return []
    found = [("-".join(words), name, True)]
    if len(words) > 1:
        some = [word for word in analyser.telling(words) if len(word) >= SHORTEST]
        found += [(word, word, False) for word in some if not word.isdigit()]
    return found
