"""What a namer is shown of each channel: its references, by sense, and what it is not."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from atlas.naming import senses
from atlas.patches import vectors
from atlas.patches.views import References
from atlas.probe.probe import Responses
from atlas.recipe import Naming
from atlas.store import Mode, Store

QUIET = 0.5
"""Contrast comes from pictures that are, by the channel's answer, in this lower share of all ..."""

HARDLY = 0.25
"""Contrast comes from pictures to which the channel answers with no more than this share of its
response to the one picture in a hundred that it responds to most."""

RECURRING = 1 / 3
"""Pictures of a class that so many of the references are of are no contrast: what the channel may
mean is likely in them, whether it answers or not."""

_SPREAD = 4  # contrast is chosen among so many times as many of the nearest
_SEARCHED = 2_000  # neighbours among which contrast is sought


@dataclass(frozen=True)
class Selection:
    """One question about a channel: rows of references.parquet."""

    layer: str
    channel: int
    sense: int | None
    """None: the channel as a whole."""
    share: float | None
    """Share of the references that belong to the sense; None for the channel as a whole."""
    members: tuple[int, ...]
    """All references of the sense."""
    shown: tuple[int, ...]
    contrast: tuple[int, ...]
    whole: str
    """SHA-256 of all references of the channel, the same for all its senses."""
    side: Mode | None = None
    """The mode of the references, where they are asked about because the name does not fit them."""


class ReferenceSelector:
    """Selects what is shown of channels, from references and their vectors.

    Without responses there is no contrast.
    """

    def __init__(
        self,
        store: Store,
        references: References,
        settings: Naming,
        responses: Responses | None = None,
    ) -> None:
        self.references = references
        self._settings = settings
        self._mode: Mode = settings.mode or ("activation" if store.home else "relevance")
        self._responses = responses
        self._index = vectors.load_of(store)
        labels = store.table("references", ["label"])["label"]
        self._labels: npt.NDArray[np.int64] = labels.fill_null(-1).to_numpy().astype(np.int64)
        table = store.table("channels").select(["layer", "channel"]).to_pydict()
        self.addresses = list(zip(table["layer"], table["channel"], strict=True))

    def whole(self) -> list[Selection]:
        """Return what is shown of each channel; nothing can be said of those without references."""
        questions = []
        for address in self.addresses:
            rows = self._rows(address)
            if rows:
                questions.append(self._selection(address, None, None, rows, rows))
        return self._contrasted(questions)

    def senses(self, addresses: Sequence[tuple[str, int]]) -> list[Selection]:
        """Return what is shown of each sense of some channels, where there are several."""
        questions = []
        for address in tqdm(addresses, desc="senses", unit=" channels"):
            rows = self._rows(address)
            labels = senses.split(vectors.of_rows(self._index, np.array(rows, np.int64)))
            for sense in range(int(labels.max()) + 1 if labels.any() else 0):
                members = [row for row, label in zip(rows, labels, strict=True) if label == sense]
                share = len(members) / len(rows)
                questions.append(self._selection(address, sense, share, members, rows))
        return self._contrasted(questions)

    def side(self, asked: Sequence[tuple[tuple[str, int], Mode]]) -> list[Selection]:
        """Return what is shown of the references of one mode, for each channel and mode."""
        questions = []
        for address, mode in asked:
            rows = self.references.of(*address, mode)
            one = self._selection(address, None, None, rows, rows)
            questions.append(replace(one, side=mode))
        return self._contrasted(questions)

    def _rows(self, address: tuple[str, int]) -> list[int]:
        """Return the references by the mode that is asked for, or by activation without any.

        Relevance reaches no channel that the answer does not rest on.
        """
        asked = self.references.of(*address, self._mode)
        return asked or self.references.of(*address, "activation")

    def _selection(
        self,
        address: tuple[str, int],
        sense: int | None,
        share: float | None,
        members: Sequence[int],
        rows: Sequence[int],
    ) -> Selection:
        whole = fingerprint(self.references, rows, ())
        shown = tuple(members[: self._settings.references])
        return Selection(*address, sense, share, tuple(members), shown, (), whole)

    def _contrasted(self, questions: list[Selection]) -> list[Selection]:
        count, responses = self._settings.contrast, self._responses
        if not count or not questions or responses is None:
            return questions
        means = [
            vectors.of_rows(self._index, np.array(q.shown, np.int64)).mean(0) for q in questions
        ]
        nearest = self._index.search(np.stack(means), min(_SEARCHED, self._index.ntotal))[1]
        column = {address: number for number, address in enumerate(self.addresses)}
        values = responses.values
        best = np.quantile(values, 0.99, axis=0)
        limits = np.quantile(values, QUIET, axis=0)
        limits = np.where(best > 0, np.minimum(limits, HARDLY * best), limits)
        served = Counter[tuple[int, ...]]()
        result = []
        for question, rows in zip(questions, nearest, strict=True):
            channel = column[question.layer, question.channel]
            quiet = responses.images[values[:, channel] <= limits[channel]]
            found = self._near_misses(question, rows, quiet, served)
            result.append(replace(question, contrast=found))
        return result

    def _near_misses(
        self,
        question: Selection,
        nearest: npt.NDArray[np.int64],
        quiet: npt.NDArray[np.int64],
        served: "Counter[tuple[int, ...]]",
    ) -> tuple[int, ...]:
        """Return the nearest patches of quiet pictures, one of each, that are no references.

        Of the nearest ones those come first that have `served` the fewest channels before.
        """
        references, count = self.references, self._settings.contrast
        own = [
            row
            for mode in ("activation", "relevance")
            for row in references.of(question.layer, question.channel, mode)
        ]
        labels = Counter(self._labels[row] for row in question.members)
        recurring = [
            label
            for label, times in labels.items()
            if label >= 0 and times >= max(2, RECURRING * len(question.members))
        ]
        rows = nearest[nearest >= 0]
        images = references.image[rows]
        allowed = np.isin(images, quiet) & ~np.isin(images, references.image[own])
        allowed &= ~np.isin(self._labels[rows], recurring)
        first = np.unique(images[allowed], return_index=True)[1]
        near = rows[allowed][np.sort(first)[: _SPREAD * count]].tolist()
        places = {row: (int(references.image[row]), *references.box(row)) for row in near}
        chosen = sorted(near, key=lambda row: served[places[row]])[:count]
        served.update(places[row] for row in chosen)
        return tuple(chosen)


def fingerprint(references: References, rows: Sequence[int], facts: Sequence[Any]) -> str:
    """Return the SHA-256 of the patches in `rows` and of how they are shown."""
    digest = hashlib.sha256(json.dumps(list(facts)).encode())
    for row in rows:
        patch = references.patch(row)
        # A stored picture's name is made from what decides its pixels.
        digest.update(f"{patch.path.name} {patch.box}".encode() + patch.mask.tobytes())
    return digest.hexdigest()
