"""The pre-pass: one pass over the data that measures every channel in both modes.

What it keeps is bounded by channels, classes and k, never by the number of pictures.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from atlas.data import Source, format_counts, too_many
from atlas.errors import UserError
from atlas.model.preprocessing import Preprocessor
from atlas.prepass import checkpoint, reductions, shards, tally
from atlas.prepass.batchtally import BatchTally
from atlas.prepass.processes import ALONE, Team
from atlas.prepass.progress import Progress
from atlas.prepass.reader import Batch, batches, by_shards
from atlas.prepass.reductions import Reduce
from atlas.prepass.shards import Done, Read
from atlas.prepass.tally import Tally
from atlas.recipe import Activation, Prepass, Relevance
from atlas.relevance.engine import PREDICTED, Engine, measure

MOST_WORKERS = 8
"""Processes that read beside a GPU unless the recipe says otherwise."""


@dataclass(frozen=True)
class Checkpoints:
    """Where the state of an unfinished pass is kept."""

    path: Path
    inputs: str
    """Fingerprint of what the pass measures."""


def measure_channels(
    source: Source,
    outputs: Sequence[int | None],
    classes: int,
    engine: Engine,
    preprocessing: Preprocessor,
    activation: Activation,
    relevance: Relevance,
    settings: Prepass,
    device: torch.device,
    checkpoints: Checkpoints | None = None,
    team: Team = ALONE,
    most_skipped: float = 1.0,
    seed: int = 0,
    later: float = 0.0,
    fired_by_class: bool = False,
) -> Tally:
    """Stream the source through `engine` and keep what the tables need.

    Parameters
    ----------
    source : Source
        The pictures. Unreadable ones are skipped, counted and listed.
    outputs : sequence of (int or None)
        The network's output for every label of the data.
    classes : int
        Outputs of the network.
    engine : Engine
        What computes activation and relevance maps.
    preprocessing : Preprocessor
        From pictures to the network's input.
    activation, relevance : Activation, Relevance
        How references are scored.
    settings : Prepass
        How many references, how many pictures at once, how often a checkpoint.
    device : torch.device
        Where the network is.
    checkpoints : Checkpoints, optional
        If given, the pass goes on from there and leaves checkpoints behind. The result is
        the same, bit by bit, however often it was interrupted.
    team : Team
        The processes that share the work.
    most_skipped : float
        The share of unreadable pictures above which the pass ends, from 0 to 1.
    seed : int
        Decides which pictures of the bands are kept.
    later : float
        How long what comes after the pass takes, in parts of it, as far as that is known.
    fired_by_class : bool
        Whether activation is summed by class as well as relevance, and a few pictures of each class
        are kept.

    Returns
    -------
    Tally
        The results; of several processes only the first one gets them.

    Raises
    ------
    UserError
        No picture could be read, or too few of them; the network returned something that is not
        finite; or the GPU's memory is too small for a batch.
    """
    done, state = (
        dict[int, Read](),
        Tally(settings.k, classes, settings.modes, settings.bands, seed, fired_by_class),
    )
    if checkpoints is not None and team.first:
        done, state = checkpoint.load(checkpoints.path, checkpoints.inputs, device) or (done, state)
    done = shards.unflat(team.from_first(shards.flat(done)))
    workers = settings.workers
    if workers is None:
        workers = 0 if device.type == "cpu" else min(MOST_WORKERS, os.cpu_count() or 1)
    size, share, pin = settings.batch_size, (team.rank, team.size), device.type == "cuda"
    reading = batches(source, preprocessing, size, dict(done), share, workers, pin)
    if team.first:
        _warn(source, done, max(1, workers) * team.size)
    count, lost = shards.samples(done), team.from_first([state.skipped])[0]
    last_count, last_time = count, time.monotonic()
    title = "pre-pass" if team.size == 1 else f"pre-pass ({team.size} processes)"
    log = Path(settings.progress) if settings.progress else None
    reduce = reductions.compiled() if settings.compile else reductions.reduce
    with Progress(title, source.count, count, log, not team.first, later) as progress:
        for batch, waited in _timed(reading):
            # All take a step together: only then is what is done of a shard its beginning.
            due = count - last_count >= settings.checkpoint_images
            due |= time.monotonic() - last_time >= settings.checkpoint_seconds
            size, bad = (0, 0) if batch is None else (batch.size, len(batch.skips))
            more, save, step, worse = team.sums(batch is not None, due and team.first, size, bad)
            if checkpoints is not None and save and count > last_count:
                done, state = _collected(done, state, team, device)
                if team.first:
                    checkpoint.save(checkpoints.path, checkpoints.inputs, done, state)
                last_count, last_time = count, time.monotonic()
            if not more:
                break
            if batch is not None:
                done[batch.shard] = batch.read
                _measure(
                    state, batch, engine, preprocessing, activation, relevance, outputs, device,
                    reduce,
                )  # fmt: skip
            count, lost = count + step, lost + worse
            if source.count is not None and lost > most_skipped * source.count:
                break  # whatever comes
            progress.update(step, waited)
    done, state = _collected(done, state, team, device)
    if not team.first:
        return state
    if checkpoints is not None and lost > most_skipped * count:  # for those who then allow more
        checkpoint.save(checkpoints.path, checkpoints.inputs, done, state)
    _check_read(state, count, most_skipped)
    return shards.numbered(state, source, done)


def _check_read(state: Tally, count: int, most_skipped: float) -> None:
    """Refuse a pass over `count` pictures of which too many could not be read."""
    first = f"; the first: {': '.join(state.skips[0][1:])}" if state.skips else ""
    if not state.images:
        raise UserError(f"no picture of the data could be read ({state.skipped} skipped{first})")
    if state.skipped > most_skipped * count:
        raise too_many(
            f"{state.skipped} of the first {count} pictures could not be read: "
            f"{format_counts(state.reasons)}{first}",
            state.skipped / count,
            most_skipped,
        )


def _warn(source: Source, done: Done, readers: int) -> None:
    """Say so where the readers of a stream read past each other's pictures."""
    if readers > 1 and not source.random_access and not by_shards(source, done, readers):
        count = len(shards.left(done, shards.count(source)))
        tqdm.write(
            f"{readers} processes read, and the data has {count} shards that can be read alone: "
            "each reads all and decodes its own part", sys.stderr,
        )  # fmt: skip


def _collected(
    done: dict[int, Read], state: Tally, team: Team, device: torch.device
) -> tuple[dict[int, Read], Tally]:
    """Return what all processes have found to the first one, and an empty tally to the others."""
    if team.size == 1:
        return done, state
    parts = team.collect(checkpoint.pack(state, {"read": shards.flat(done)}))
    if not team.first:
        empty = (state.k, state.outputs, state.modes, state.per_band, state.seed)
        return {}, Tally(*empty, state.fired_by_class)
    for part in parts[1:]:
        found, facts = checkpoint.unpack(part, device)
        state = tally.merge(state, found)
        done = shards.both(done, shards.unflat(facts["read"]))
    return done, state


def _measure(
    state: Tally,
    batch: Batch,
    engine: Engine,
    preprocessing: Preprocessor,
    activation: Activation,
    relevance: Relevance,
    outputs: Sequence[int | None],
    device: torch.device,
    reduce: Reduce,
) -> None:
    """Add one batch to the running results."""
    for index, key, reason in batch.skips:
        tally.skip(state, index, key, reason)
    if not batch.keys:
        return
    labels = [_output(label, outputs) for label in batch.labels]
    by_label = relevance.target == "label"
    targets = torch.tensor(
        [PREDICTED if label is None or not by_label else label for label in labels], device=device
    )
    images = preprocessing.normalize(batch.views.to(device, non_blocking=True))
    indices = torch.tensor(batch.indices)
    adding = BatchTally(state, activation, relevance, indices, batch.keys, batch.digests, reduce)
    try:
        logits = measure(engine, images, targets, adding.visit)
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"the GPU's memory is too small for {len(images)} pictures at once: set "
            "prepass.batch_size lower and run the same command again to go on"
        ) from error
    chosen = torch.where(targets == PREDICTED, logits.argmax(dim=1), targets)
    adding.finish(labels, chosen, logits)


def _output(label: int | None, outputs: Sequence[int | None]) -> int | None:
    return None if label is None or label >= len(outputs) else outputs[label]


def _timed(reading: Iterator[Batch]) -> Iterator[tuple[Batch | None, float]]:
    """Yield each batch, then None for ever, with the seconds spent waiting for batches so far."""
    waited = 0.0
    while True:
        asked = time.monotonic()
        batch = next(reading, None)
        waited += time.monotonic() - asked
        yield batch, waited
