"""The tests of names that count, with what was shown to the model and what it answered."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from atlas.site.entries import ChannelEntry
from atlas.store import FACTORS, Mode, Store, bounds, nametests
from atlas.store.directory import SCORES_FILE
from atlas.store.names import NameRecord
from atlas.store.nametests import ShownTest, SideTest

_Address = tuple[str, int]


@dataclass(frozen=True)
class Fit:
    """How many of the references of a mode that the model was shown fit the name."""

    fitting: int
    shown: int


@dataclass(frozen=True)
class TrialPicture:
    """A picture of a test on the whole range; the name was not made from it."""

    image: int
    answer: float
    """How sure the model is that the picture shows what the name says, 0 to 1."""
    activation: float
    """The channel's largest output there."""
    responds: bool
    """Whether the channel responds to it."""


class NameTests:
    """The tests of the names of one atlas.

    Parameters
    ----------
    store : Store
        The atlas, with its factors as one if it has any.
    records : mapping
        The naming that counts by layer and channel.
    """

    def __init__(self, store: Store, records: Mapping[_Address, NameRecord]) -> None:
        self._store = store
        self._records = records

    def key(self, channel: ChannelEntry) -> str:
        """Return what identifies the tests of a channel; empty without any."""
        side, trial = self._side(channel), self._trial(channel)
        return f"{side.key if side else ''} {trial['key'] if trial else ''}".strip()

    def fits(self, channel: ChannelEntry) -> dict[Mode, Fit]:
        """Return how many references of each mode fit the name; nothing where nobody asked."""
        side = self._side(channel)
        if side is None:
            return {}
        return {
            mode: Fit(sum(answer > 0.5 for answer in answers), len(answers))
            for mode, answers in side.answers.items()
        }

    def marks(self, channel: ChannelEntry) -> dict[int, bool]:
        """Return whether the name fits each reference that was shown, by its row."""
        side = self._side(channel)
        if side is None:
            return {}
        before = self._store.parts[0].rows("references") if channel.layer.basis else 0
        return {
            before + row: answer > 0.5
            for mode, rows in side.references.items()
            for row, answer in zip(rows, side.answers.get(mode, ()), strict=False)
        }

    def trial(self, channel: ChannelEntry) -> list[TrialPicture]:
        """Return the pictures of the test on the whole range, by falling activation."""
        test = self._trial(channel)
        if test is None:
            return []
        places = self._places[1 if channel.layer.basis else 0]
        pictures = []
        columns = (test["images"], test["answers"], test["activations"], test["positive"])
        for image, answer, activation, responds in zip(*columns, strict=True):
            if image >= len(places):
                wrong = f"a test of {channel.address} shows picture {image}, which is not there"
                folder = self._store.root / (FACTORS if channel.layer.basis else "")
                raise bounds.damaged(folder / SCORES_FILE, wrong)
            pictures.append(TrialPicture(places[image], answer, activation, responds))
        return sorted(pictures, key=lambda one: -one.activation)

    def _side(self, channel: ChannelEntry) -> SideTest | None:
        """Return the test on both sides of the name that counts, as the table has it."""
        record = self._records.get((channel.layer.name, channel.channel))
        if record is None or record.name is None:
            return None
        found = self._sides.get((record.layer, record.channel, record.name, record.by))
        if found is None or found.revision != record.revision:
            return None
        shares = ((found.fits.get(mode), channel.number(f"fits_{mode}")) for mode in found.answers)
        return found if all(_equal(*pair) for pair in shares) else None

    def _trial(self, channel: ChannelEntry) -> ShownTest | None:
        """Return the test on the whole range whose score the table has."""
        found = self._ranges.get((channel.layer.name, channel.channel))
        if found is None or found["name"] != channel.values.get("score_name"):
            return None
        return found if _equal(found["ap"], channel.score) else None

    @cached_property
    def _sides(self) -> dict[tuple[str, int, str, str | None], SideTest]:
        every = (test for part in self._store.parts for test in nametests.sides(part))
        return {(test.layer, test.channel, test.name, test.by): test for test in every}

    @cached_property
    def _ranges(self) -> dict[_Address, ShownTest]:
        every = (test for part in self._store.parts for test in nametests.shown(part))
        return {(test["layer"], test["channel"]): test for test in every}

    @cached_property
    def _places(self) -> list[list[int]]:
        """For each part the rows of its pictures among those of all parts."""
        paths = self._store.table("images", ["path"])["path"].to_pylist()
        rows = {path: row for row, path in enumerate(paths)}
        return [
            [rows[path] for path in part.table("images", ["path"])["path"].to_pylist()]
            for part in self._store.parts
        ]


def _equal(one: float | None, other: float | None) -> bool:
    """Say whether two numbers are one, which the table has in single precision."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-6)
