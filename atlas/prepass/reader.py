"""From a source to batches of decoded pictures.

Worker processes read, decode and crop. Where the data has shards enough, each of them is read
by one worker of one process; else each worker takes every n-th batch. The batches are the same
either way: consecutive samples of one shard. What cannot be decoded is reported, not raised.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from atlas.data import Record, Source
from atlas.data.images import BadImage
from atlas.data.source import Sharded
from atlas.errors import UserError, one_line
from atlas.model.preprocessing import Preprocessor
from atlas.prepass import shards
from atlas.prepass.shards import LONGEST, Done, Read

STALL = 600
"""Seconds without a batch after which a worker counts as stalled."""

AHEAD = 4
"""Batches that each worker keeps ready."""


@dataclass(frozen=True)
class Batch:
    """Consecutive samples of a shard."""

    shard: int
    """0 where the source has none."""
    read: Read
    """What is read of the shard with this batch."""
    size: int
    """Samples, the unreadable ones included; 0 if the shard ended with the batch before."""
    indices: list[int]
    """Index of each readable sample: `shard * LONGEST + ordinal in the shard`."""
    keys: list[str]
    digests: list[int]
    """Hash of the pixels of each readable sample, from 0 to 2**64 - 1."""
    labels: list[int | None]
    views: Tensor
    """uint8 (readable samples, height, width, channels)."""
    skips: list[tuple[int, str, str]]
    """Index, key and reason of the unreadable ones."""

    def pin_memory(self) -> "Batch":
        """Return the batch with its pictures where a GPU can fetch them by itself."""
        return replace(self, views=self.views.pin_memory())


def batches(
    source: Source,
    preprocessing: Preprocessor,
    batch_size: int,
    done: Done | None = None,
    share: tuple[int, int] = (0, 1),
    workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Yield what is left of the samples, in batches; without shards, in order.

    Parameters
    ----------
    source : Source
        What to read.
    preprocessing : Preprocessor
        How a picture is cropped to what the network sees.
    batch_size : int
        Samples in a batch; the last of a shard may have fewer.
    done : Done, optional
        What to leave out.
    share : (int, int)
        (i, n): the i-th of n processes that share the samples.
    workers : int
        Processes that read and decode; 0 means that the caller's process does.
    pin_memory : bool
        Whether the pictures go to a GPU.

    Raises
    ------
    UserError
        The data can no longer be read, or a worker died or stalled.
    """
    loader: DataLoader[Batch | str] = DataLoader(
        _Batches(source, preprocessing, batch_size, done or {}, share),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        timeout=STALL if workers else 0,
        pin_memory=pin_memory,
    )
    try:
        for item in loader:
            if isinstance(item, str):
                raise UserError(item)
            yield item
    except RuntimeError as error:  # how DataLoader tells that a worker is gone or hangs
        if not workers or "DataLoader" not in str(error):
            raise
        raise UserError(
            f"a process that reads pictures failed ({one_line(error)[:150]}): run the same command "
            "again to go on, with fewer of them if memory is short (--set prepass.workers=0)"
        ) from error


def by_shards(source: Source, done: Done, readers: int) -> bool:
    """Return whether each of the readers has a shard to itself."""
    return readers <= len(shards.left(done, shards.count(source)))


def digest(pixels: npt.NDArray[np.uint8]) -> int:
    """Return a hash of pixels, from 0 to 2**64 - 1."""
    content = np.ascontiguousarray(pixels).data
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


class _Batches(IterableDataset[Batch | str]):
    """What one worker yields: its batches, or at the end the line that tells what went wrong."""

    def __init__(
        self,
        source: Source,
        preprocessing: Preprocessor,
        batch_size: int,
        done: Done,
        share: tuple[int, int],
    ) -> None:
        self._source = source
        self._preprocessing = preprocessing
        self._size = batch_size
        self._done = done
        self._share = share

    def __iter__(self) -> Iterator[Batch | str]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        process, processes = self._share
        # DataLoader asks its workers in turn, so a process gets every n-th batch in order.
        worker, workers = worker * processes + process, workers * processes
        try:
            for shard, read, records in self._parts(worker, workers):
                yield self._decode(shard, read, records)
        except UserError as error:  # an exception would come out wrapped in its traceback
            yield str(error)

    def _parts(self, worker: int, workers: int) -> Iterator[tuple[int, Read, list[Record]]]:
        """Yield the records of this worker's batches, with their shard and what is read of it."""
        source = self._source
        left = shards.left(self._done, shards.count(source))
        if source.random_access and source.count is not None:
            for _, start in left:
                first = range(start, source.count, self._size)[worker::workers]
                for ends in (range(n, min(n + self._size, source.count)) for n in first):
                    read = Read(ends.stop, finished=ends.stop == source.count)
                    yield 0, read, list(source.fetch(ends))
        elif by_shards(source, self._done, workers):
            # As `datasets` deals them to nodes and to the workers of each.
            for shard, start in left[worker::workers]:
                yield from self._shard(shard, start)
        else:  # the batches of the others are read past, not decoded
            every = (part for shard, start in left for part in self._shard(shard, start))
            yield from islice(every, worker, None, workers)

    def _shard(self, shard: int, start: int) -> Iterator[tuple[int, Read, list[Record]]]:
        if isinstance(self._source, Sharded) and self._source.shards > 1:
            records = self._source.shard(shard, start)
        else:
            records = self._source.records(start)
        finished = False
        while not finished:
            batch = list(islice(records, self._size))
            start, finished = start + len(batch), len(batch) < self._size
            yield shard, Read(start, finished), batch

    def _decode(self, shard: int, read: Read, records: list[Record]) -> Batch:
        readable, views, skips = [], [], []
        for record in records:
            try:
                view = self._preprocessing.view(record.picture())
                views.append(self._preprocessing.pixels(view))
                readable.append(record)
            except BadImage as error:
                skips.append((shard * LONGEST + record.index, record.key, str(error)))
        channels, *size = self._preprocessing.shape
        pixels = np.stack(views) if views else np.empty((0, *size, channels), np.uint8)
        return Batch(
            shard,
            read,
            len(records),
            [shard * LONGEST + record.index for record in readable],
            [record.key for record in readable],
            [digest(view) for view in views],
            [record.label for record in readable],
            torch.from_numpy(pixels),
            skips,
        )
