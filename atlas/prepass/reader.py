"""From a source to batches of decoded pictures, in the order of the source.

Worker processes read, decode and crop; each takes every n-th batch, so that together they
deliver all of them in order and none twice. What cannot be decoded is told, not raised.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from atlas.data import Record, Source
from atlas.data.images import BadImage
from atlas.errors import UserError, one_line
from atlas.model.preprocessing import Preprocessing

STALL = 600
"""Seconds without a batch after which a worker counts as stalled."""

AHEAD = 4
"""Batches that each worker keeps ready."""


@dataclass(frozen=True)
class Batch:
    """Consecutive samples of a source."""

    size: int
    """Samples, the unreadable ones included."""
    indices: list[int]
    """Of the readable samples."""
    keys: list[str]
    labels: list[int | None]
    views: Tensor
    """uint8 (readable samples, side, side, 3)."""
    skips: list[tuple[int, str, str]]
    """Index, key and reason of the unreadable ones."""

    def pin_memory(self) -> "Batch":
        """Return the batch with its pictures where a GPU can fetch them by itself."""
        return Batch(
            self.size, self.indices, self.keys, self.labels, self.views.pin_memory(), self.skips
        )


def batches(
    source: Source,
    preprocessing: Preprocessing,
    batch_size: int,
    start: int = 0,
    share: tuple[int, int] = (0, 1),
    workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Yield the samples from ordinal `start` on, in batches and in order.

    Parameters
    ----------
    source : Source
        What to read.
    preprocessing : Preprocessing
        How a picture is cropped to what the network sees.
    batch_size : int
        Samples in a batch; the last may have fewer.
    start : int
        Samples to leave out at the beginning.
    share : (int, int)
        (i, n): of the batches of all samples, just the i-th, the i+n-th and so on.
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
        _Batches(source, preprocessing, batch_size, start, share),
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


class _Batches(IterableDataset[Batch | str]):
    """What one worker yields: its batches, or at the end the line that tells what went wrong."""

    def __init__(
        self,
        source: Source,
        preprocessing: Preprocessing,
        batch_size: int,
        start: int,
        share: tuple[int, int],
    ) -> None:
        self._source = source
        self._preprocessing = preprocessing
        self._size = batch_size
        self._start = start
        self._share = share

    def __iter__(self) -> Iterator[Batch | str]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        process, processes = self._share
        # DataLoader asks its workers in turn, so a process gets its batches in order.
        worker, workers = worker * processes + process, workers * processes
        try:
            for records in self._records(worker, workers):
                yield self._decode(records)
        except UserError as error:  # an exception would come out wrapped in its traceback
            yield str(error)

    def _records(self, worker: int, workers: int) -> Iterator[list[Record]]:
        """Yield the records of this worker's batches."""
        if self._source.random_access and self._source.count is not None:
            step = self._size * workers
            for first in range(self._start + self._size * worker, self._source.count, step):
                end = min(first + self._size, self._source.count)
                yield list(self._source.fetch(range(first, end)))
            return
        records = self._source.records(self._start)
        number = 0
        while batch := list(islice(records, self._size)):
            if number % workers == worker:  # the others are read past, not decoded
                yield batch
            number += 1

    def _decode(self, records: list[Record]) -> Batch:
        readable, views, skips = [], [], []
        for record in records:
            try:
                views.append(np.asarray(self._preprocessing.view(record.picture())))
                readable.append(record)
            except BadImage as error:
                skips.append((record.index, record.key, str(error)))
        side = self._preprocessing.crop
        pixels = np.stack(views) if views else np.empty((0, side, side, 3), np.uint8)
        return Batch(
            len(records),
            [record.index for record in readable],
            [record.key for record in readable],
            [record.label for record in readable],
            torch.from_numpy(pixels),
            skips,
        )
