"""What the weights say that a channel is: a vote of the names of its strongest inputs.

Each word of the name of an input counts by the input's share. A word that the inputs of all
channels of the layer have says nothing of one of them: what counts is by how much more of this
channel's inputs have it. This knows nothing of the channel's own references, so that the two can
disagree: a name that none of the words is in is worth a second look. What inputs make a channel
fire for is asked, so that of a one-sided name that side is compared.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from atlas.store import names, standing
from atlas.store.directory import Store

LEAST = 0.05
"""By how much more of a channel's inputs, in shares, have a word than of the layer's others, that
it is said of it."""

NEAR = 0.5
"""Other words are said as well that have so much of what the first one has."""

MOST = 3
"""Most words that are said."""

Numbers = npt.NDArray[np.float64]


def write_columns(store: Store) -> None:
    """Write what the weights say into channels.parquet, if the strongest inputs are there."""
    table = store.table("channels")
    if not {"made_of", "name"} <= set(table.column_names):
        return
    known = table.to_pydict()
    said = votes(known)
    own = standing.tested_names(known)  # of one-sided ones what the channel fires for
    columns = {
        "name_by_weights": [", ".join(words) or None for words in said],
        "weights_agree": [agree(name, words) for name, words in zip(own, said, strict=True)],
    }
    store.extend_table("channels", columns)


def votes(table: Mapping[str, Sequence[Any]]) -> list[tuple[str, ...]]:
    """Return the words for each channel, the first one first; none where the inputs say nothing.

    Parameters
    ----------
    table : mapping
        The columns `layer`, `name`, `made_of` and `made_of_shares` of channels.parquet.
    """
    words = [_forms(name) for name in table["name"]]
    layers: dict[str, list[int]] = defaultdict(list)
    for row, layer in enumerate(table["layer"]):
        layers[layer].append(row)
    found: list[tuple[str, ...]] = [()] * len(words)
    for rows in layers.values():
        pairs = [
            list(zip(table["made_of"][row] or (), table["made_of_shares"][row] or (), strict=True))
            for row in rows
        ]
        known = sorted({word for one in pairs for row, _ in one for word in words[row]})
        place = {word: column for column, word in enumerate(known)}
        shares = np.zeros((len(rows), len(known)))
        for line, one in enumerate(pairs):
            for row, share in one:
                for word in words[row]:
                    shares[line, place[word]] += share
        more = shares - shares.mean(axis=0)
        for line, row in enumerate(rows):
            shown: Counter[tuple[str, str]] = Counter()
            for other, share in pairs[line]:
                shown.update(dict.fromkeys(words[other].items(), share))
            found[row] = tuple(_shown(known[column], shown) for column in _best(more[line]))
    return found


def agree(name: str | None, said: Sequence[str]) -> bool | None:
    """Say whether a name has one of the words; None where there is no name, or no word."""
    if not name or not said:
        return None
    return bool(names.words(name) & {stem for word in said for stem in names.words(word)})


def _best(more: Numbers) -> list[int]:
    order = np.argsort(-more, kind="stable")[:MOST].tolist()
    if not order or more[order[0]] < LEAST:
        return []
    return [column for column in order if more[column] >= max(LEAST, NEAR * more[order[0]])]


def _forms(name: str | None) -> dict[str, str]:
    """Return the words of a name as they are compared, and as they are written."""
    cleaned = "".join(letter if letter.isalnum() else " " for letter in (name or "").casefold())
    return {stem: word for word in cleaned.split() for stem in names.words(word)}


def _shown(stem: str, written: Mapping[tuple[str, str], float]) -> str:
    """Return how a word is mostly written."""
    forms = {word: count for (known, word), count in written.items() if known == stem}
    return max(forms, key=lambda word: (forms[word], word))
