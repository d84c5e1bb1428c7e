"""The positions that are factorised: some of each of some pictures, the same every time."""

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from atlas.data import Record, Source
from atlas.data.images import BadImage
from atlas.errors import UserError
from atlas.factors.layers import Range
from atlas.factors.nmf import Matrix
from atlas.model.preprocessing import Preprocessor
from atlas.relevance.engine import CPU_BLOCK, Engine, measure
from atlas.store import Mode

FEWEST = 8
"""Pictures without which nothing can be said of a layer."""


@dataclass(frozen=True)
class PositionSample:
    """Positions of a layer's output, and the pictures that they are of."""

    positions: Mapping[str, Matrix]
    """By layer: float32 (pictures, positions of each, channels), in the layer's range."""
    views: Tensor
    """float32 (some pictures, colours, height, width), preprocessed: the first of them."""


def sample(
    source: Source,
    preprocessing: Preprocessor,
    engine: Engine,
    ranges: Mapping[str, Range],
    pictures: int,
    positions: int,
    seed: int,
    device: torch.device,
    kept: int,
) -> PositionSample:
    """Draw positions of the output of layers.

    Which pictures are drawn depends on their numbers in the data and the seed, which positions on
    the picture and the seed: neither on batches nor on the order of reading.

    Parameters
    ----------
    source : Source
        The pictures; those that cannot be read are passed over.
    preprocessing : Preprocessor
        From pictures to the network's input.
    engine : Engine
        What computes activations.
    ranges : mapping
        The layers, each with what the network goes on with of its output.
    pictures, positions : int
        How many pictures are drawn, and how many positions of each; all where a map has fewer.
    seed : int
        Of both draws.
    device : torch.device
        Where the network is.
    kept : int
        How many pictures are returned themselves.

    Raises
    ------
    UserError
        Fewer than `FEWEST` pictures can be read.
    """
    found: dict[str, list[Matrix]] = {layer: [] for layer in ranges}
    views: list[Tensor] = []
    total = pictures if source.count is None else min(pictures, source.count)
    reading = tqdm(_drawn(source, pictures, seed), "factors", total, unit=" pictures")
    for records, batch in _batches(reading, preprocessing):

        def visit(
            part: slice, layer: str, mode: Mode, maps: Tensor,
            records: list[Record] = records,
        ) -> None:  # fmt: skip
            if layer not in found:
                return
            flat = maps.float().clamp(*ranges[layer]).flatten(2).cpu()
            for record, one in zip(records[part], flat, strict=True):
                places = _places(one.shape[1], positions, seed, record.index)
                found[layer].append(one[:, places].T.numpy().copy())

        images = batch.to(device)
        measure(engine, images, torch.zeros(len(images), dtype=torch.int64, device=device), visit)
        if len(views) < kept:
            views += batch[: kept - len(views)].unbind()
    if len(views) < min(FEWEST, kept):
        raise UserError(
            f"only {len(views)} pictures of the data can be read, too few to find factors: give "
            "more pictures"
        )
    return PositionSample(
        {layer: np.stack(parts) for layer, parts in found.items()}, torch.stack(views)
    )


def _drawn(source: Source, count: int, seed: int) -> Iterator[Record]:
    """Yield the records that draw the lowest numbers, in the order of the data."""
    if source.random_access and source.count is not None:
        lowest = heapq.nsmallest(count, range(source.count), key=lambda n: _number(seed, n))
        yield from source.fetch(lowest)
        return
    records = heapq.nsmallest(count, source.records(), key=lambda one: _number(seed, one.index))
    yield from sorted(records, key=lambda one: one.index)


def _number(seed: int, index: int) -> bytes:
    return hashlib.blake2b(f"{seed} {index}".encode(), digest_size=8).digest()


def _places(count: int, wanted: int, seed: int, index: int) -> Tensor:
    drawn = np.random.default_rng([seed, index]).permutation(count)[:wanted]
    return torch.from_numpy(np.sort(drawn))


def _batches(
    records: Iterable[Record], preprocessing: Preprocessor
) -> Iterator[tuple[list[Record], Tensor]]:
    """Yield readable records with their pictures, a few at a time."""
    some: list[Record] = []
    views = []
    for record in records:
        try:
            views.append(preprocessing.view(record.picture()))
        except BadImage:
            continue
        some.append(record)
        if len(some) == CPU_BLOCK:
            yield some, preprocessing.tensor(views)
            some, views = [], []
    if some:
        yield some, preprocessing.tensor(views)
