"""Two atlases side by side: references, names and classes of matched channels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from atlas.api.contents import Channel, Contents
from atlas.diff.matching import (
    By,
    Pairs,
    comparable,
    match_by_address,
    match_by_patches,
    mean_vectors,
    other_factors,
)
from atlas.diff.overlap import rank_biased_overlap
from atlas.errors import UserError
from atlas.store import names


@dataclass(frozen=True)
class ChannelPair:
    """A channel of the first atlas and what it is in the second."""

    first: str
    second: str
    """Addresses."""
    first_name: str | None
    second_name: str | None
    renamed: bool
    """Whether the names differ in more than plural endings, case or the order of words."""
    overlap: Mapping[str, float | None]
    """Rank-biased overlap of the references by mode, 0 to 1; None where the data differ."""
    similarity: float | None
    """Cosine of the mean patch vectors; None where another encoder made them."""
    classes: float
    """Rank-biased overlap of the top classes, 0 to 1."""

    @property
    def change(self) -> float:
        """How much changed, for ranking: 0 nothing, 1 all, by what can be compared."""
        known = [value for value in (*self.overlap.values(), self.similarity) if value is not None]
        return 1 - (float(np.mean(known)) if known else self.classes)


@dataclass(frozen=True)
class ClassPair:
    """A class of both atlases."""

    name: str
    first_count: int
    second_count: int
    """Pictures whose relevance was computed for it."""
    similarity: float
    """Cosine of its mean relevance shares over the matched channels, -1 to 1."""
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    """Channels (addresses in the first atlas) that came into its `STRONGEST`, or went."""


@dataclass(frozen=True)
class Comparison:
    """All of it."""

    first: str
    second: str
    """Ids of the atlases."""
    matched_by: By
    same_data: bool
    """Whether both were measured on the same source; otherwise references have no overlap."""
    channels: tuple[ChannelPair, ...]
    """Pairs of channels, in the order of the first atlas."""
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    """Addresses of channels without a partner."""
    classes: tuple[ClassPair, ...]
    """Those that both have, the most moved first."""
    other_factors: tuple[str, ...] = ()
    """Sets of factors that have one name in both and are others in each: only patches match these,
    addresses do not."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON value."""
        return asdict(self)

    def most_changed(self) -> list[ChannelPair]:
        """Return the matched channels, the most changed first."""
        return sorted(self.channels, key=lambda pair: -pair.change)


STRONGEST = 10
"""Channels of a class that are looked at for what came and went."""


def compare(first: Contents, second: Contents, by: By = "address") -> Comparison:
    """Compare two atlases.

    Parameters
    ----------
    first, second : Contents
        Atlases of the same network on other data, or of networks whose layers have the same names.
    by : {"address", "patches"}
        Which channels are one: those with the same address, or those of a layer whose patches are
        most alike (an optimal assignment of the mean patch vectors' cosines), for networks that
        were trained apart.

    Raises
    ------
    UserError
        No channel has a partner, an index is damaged, or patches cannot be compared because
        different encoders made their vectors.
    """
    vectors = None
    if comparable(first, second):
        vectors = _vectors(first), _vectors(second)
    elif by == "patches":
        raise UserError(
            "the patches of the two atlases were encoded by different encoders: build both with "
            "the same patches.encoder (a model of transformers), or match by address"
        )
    pairs = match_by_address(first, second) if vectors is None or by == "address" else None
    if pairs is None:
        assert vectors is not None
        pairs = match_by_patches(first, second, vectors)
    if not pairs:
        raise UserError(f"no channel of {first.id} is in {second.id}: there is nothing to compare")
    same_data = _same_data(first, second)
    everything = [list(contents) for contents in (first, second)]
    rankings = [_rankings(contents) for contents in (first, second)]
    channels = []
    for mine, other in pairs:
        a, b = everything[0][mine], everything[1][other]
        overlap: dict[str, float | None] = {
            mode: rank_biased_overlap(
                rankings[0].get((mine, mode), ()), rankings[1].get((other, mode), ())
            )
            if same_data
            else None
            for mode in first.modes
            if mode in second.modes
        }
        similarity = None if vectors is None else float(vectors[0][mine] @ vectors[1][other])
        channels.append(_pair(a, b, overlap, similarity))
    matched = [set(rows) for rows in zip(*pairs, strict=True)]
    return Comparison(
        first=first.id,
        second=second.id,
        matched_by=by,
        same_data=same_data,
        channels=tuple(channels),
        only_first=tuple(c.address for c in everything[0] if c.row not in matched[0]),
        only_second=tuple(c.address for c in everything[1] if c.row not in matched[1]),
        classes=tuple(_classes(first, second, pairs)),
        other_factors=tuple(other_factors(first, second)),
    )


def _pair(
    a: Channel, b: Channel, overlap: Mapping[str, float | None], similarity: float | None
) -> ChannelPair:
    called = [names.words(channel.name or "") for channel in (a, b)]
    return ChannelPair(
        first=a.address,
        second=b.address,
        first_name=a.name,
        second_name=b.name,
        renamed=called[0] != called[1],
        overlap=overlap,
        similarity=similarity,
        classes=rank_biased_overlap(_top(a), _top(b)),
    )


def _top(channel: Channel) -> list[str]:
    return [name for name, _ in channel.top_classes]


def _vectors(contents: Contents) -> npt.NDArray[np.float32]:
    from atlas.patches import vectors  # noqa: PLC0415 (needs faiss)

    return mean_vectors(contents, vectors.load_of(contents.store))


def _same_data(first: Contents, second: Contents) -> bool:
    """Say whether keys of pictures mean the same pictures in both atlases."""
    data = [contents.manifest["data"] for contents in (first, second)]
    return all(data[0].get(key) == data[1].get(key) for key in ("source", "config", "revision"))


def _rankings(contents: Contents) -> dict[tuple[int, str], list[str]]:
    """Return the keys of the references of each channel's row and mode, best first."""
    keys = contents.images["key"].to_pylist()
    table = contents.references.select(["mode", "image"])
    modes, images = table["mode"].to_pylist(), table["image"].to_pylist()
    rankings: dict[tuple[int, str], list[str]] = {}
    for row, mode, image in zip(contents.channel_rows.tolist(), modes, images, strict=True):
        rankings.setdefault((row, mode), []).append(keys[image])
    return rankings


def _classes(first: Contents, second: Contents, pairs: Pairs) -> list[ClassPair]:
    tables = [_shares(contents) for contents in (first, second)]
    mine, other = (np.array(rows) for rows in zip(*pairs, strict=True))
    addresses = list(first.rows)
    found = []
    for name in tables[0].keys() & tables[1].keys():
        (count_a, whole_a), (count_b, whole_b) = tables[0][name], tables[1][name]
        a, b = whole_a[mine].astype(float), whole_b[other].astype(float)
        length = float(np.linalg.norm(a) * np.linalg.norm(b))
        strongest = [
            [addresses[row] for row in mine[np.argsort(-shares, kind="stable")[:STRONGEST]]]
            for shares in (a, b)
        ]
        found.append(
            ClassPair(
                name=name,
                first_count=count_a,
                second_count=count_b,
                similarity=float(a @ b) / length if length else 0.0,
                gained=_without(strongest[1], strongest[0]),
                lost=_without(strongest[0], strongest[1]),
            )
        )
    return sorted(found, key=lambda pair: (pair.similarity, pair.name))


def _shares(contents: Contents) -> dict[str, tuple[int, npt.NDArray[np.float32]]]:
    """Return count and shares of each class that was seen, by its name."""
    table = contents.classes
    return {
        name: (count, table["shares"][row].values.to_numpy())
        for row, (name, count) in enumerate(
            zip(table["name"].to_pylist(), table["count"].to_pylist(), strict=True)
        )
        if count and table["shares"][row].is_valid
    }


def _without(some: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    return tuple(one for one in some if one not in others)
