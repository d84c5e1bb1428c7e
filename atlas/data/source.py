"""What every source of pictures offers, whatever is behind it."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from PIL import Image

from atlas.errors import UserError

Description = dict[str, str | int | None]

REASONS = 8
"""Reasons that a line names."""


@dataclass(frozen=True)
class Record:
    """One sample, not yet decoded.

    Attributes
    ----------
    index : int
        Ordinal in the source, or in its shard where one shard is read; from 0. The total
        order of the samples; it does not depend on the batch size, the number of workers or
        where reading started.
    key : str
        Name of the sample in its source, such as "n01440764/0001.JPEG" or
        "train/0000123". The same data has the same keys on every machine.
    label : int or None
        Index into the source's `classes` (or a bare number where they have no names);
        None where the sample has no label.
    picture : callable
        Decodes the picture: `() -> PIL.Image.Image` in mode RGB. Raises
        `atlas.data.images.BadImage`. It can be pickled, and so called in another process.
    """

    index: int
    key: str
    label: int | None
    picture: Callable[[], Image.Image]


@dataclass(frozen=True)
class LeftOut:
    """Files that lie among the data and are not read."""

    pictures: Mapping[str, int] = field(default_factory=dict)
    """How many that are pictures, or should be, by reason: ".heic", "without an ending"."""
    files: Mapping[str, int] = field(default_factory=dict)
    """How many others."""
    taken: int = 0
    """How many pictures are read."""

    @property
    def share(self) -> float:
        """Share of the pictures that were left out, from 0 to 1."""
        lost = sum(self.pictures.values())
        return lost / max(1, lost + self.taken)

    @property
    def every(self) -> dict[str, int]:
        """How many by reason, whether pictures or not."""
        return dict(Counter(self.pictures) + Counter(self.files))


class Source(Protocol):
    """Samples in a fixed order."""

    @property
    def name(self) -> str:
        """Short name for the atlas id: lower-case letters, digits and hyphens."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the labels, in their order; None where the data has no names for them."""

    @property
    def label_numbers(self) -> tuple[int, ...] | None:
        """Labels that are bare numbers, ascending, those beyond the recipe's limit among them.

        Empty where labels have names and where there are none; None where only reading all
        samples would show it.
        """

    @property
    def count(self) -> int | None:
        """Number of samples; None where only reading them all would show it."""

    @property
    def random_access(self) -> bool:
        """Whether `fetch` costs no more than the samples that it yields."""

    @property
    def left_out(self) -> LeftOut:
        """What lies beside the samples and is not read, as far as that is known."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know of how the data was understood, a line each."""

    def describe(self) -> Description:
        """Return what identifies the data, for the manifest.

        The keys are always `source`, `split`, `config`, `revision` and `fingerprint`;
        what does not apply is None. The same data has the same description on every
        machine: folders are named by their last part only.
        """

    def records(self, start: int = 0) -> Iterator[Record]:
        """Yield the samples from ordinal `start` on, in ascending order.

        Raises
        ------
        UserError
            The data can no longer be read.
        """

    def fetch(self, indices: Iterable[int]) -> Iterator[Record]:
        """Yield the samples with these ordinals, each once, in ascending order.

        Raises
        ------
        UserError
            The data can no longer be read, or has no such sample (any more).
        """


@runtime_checkable
class Sharded(Source, Protocol):
    """A stream that lies in files of which each can be read without the others.

    Its samples are those of the first shard, then those of the second, and so on.
    """

    @property
    def shards(self) -> int:
        """How many there are; 1 where the samples can only be read one after the other."""

    def shard(self, number: int, start: int = 0) -> Iterator[Record]:
        """Yield the samples of a shard from its ordinal `start` on; see `Record.index`.

        Raises
        ------
        UserError
            The data can no longer be read.
        """

    def whole_key(self, key: str, index: int) -> str:
        """Return the key that a sample has in the source.

        Parameters
        ----------
        key : str
            Key of its record in `shard`, which does not know how long the shards before are.
        index : int
            Its ordinal in the source.
        """


def format_counts(counts: Mapping[str, int]) -> str:
    """Return counts by reason for a line, the largest first: "3 .heic, 1 without an ending"."""
    few = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:REASONS]
    rest = sum(counts.values()) - sum(count for _, count in few)
    parts = [f"{count} {reason}" for reason, count in few]
    return ", ".join(parts + ([f"{rest} others"] if rest else []))


def ascending(indices: Iterable[int], count: int | None) -> list[int]:
    """Return the ordinals each once and sorted, after checking them against `count`."""
    chosen = sorted(set(indices))
    if chosen and (chosen[0] < 0 or (count is not None and chosen[-1] >= count)):
        raise missing_sample(chosen[-1], count)
    return chosen


def missing_sample(index: int, count: int | None) -> UserError:
    """Return the error for an ordinal that the data does not have."""
    has = "fewer" if count is None else str(count)
    return UserError(
        f"sample {index} is not in the data, which has {has} samples: "
        "if the data changed since the atlas was indexed, index it again"
    )


def slug(text: str) -> str:
    """Return `text` as lower-case ASCII letters, digits and single hyphens; "data" if none."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-") or "data"
