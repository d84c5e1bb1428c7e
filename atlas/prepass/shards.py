"""How far every shard of the data has been read, and the numbers of its samples.

While a stream is read nobody knows how long the shards before this one are. So a sample is
numbered by its shard and its ordinal there, which puts all samples into the same order as
their ordinals in the source; in the end, when all lengths are known, it gets that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate

import torch

from atlas.data.source import Sharded, Source
from atlas.prepass import classpictures
from atlas.prepass.tally import Tally
from atlas.prepass.topk import EMPTY

LONGEST = 2**40
"""Samples that a shard may have; of 2**23 shards."""


@dataclass(frozen=True)
class Read:
    """What has been read of a shard."""

    samples: int
    """From its start."""
    finished: bool
    """Whether it has no more."""


Done = Mapping[int, Read]
"""What has been read of which shard; nothing of those that are missing."""


def count(source: Source) -> int:
    """Return how many shards the data has; 1 where nothing can be read by itself."""
    return source.shards if isinstance(source, Sharded) else 1


def both(one: Done, other: Done) -> dict[int, Read]:
    """Return what is done by either; each shard is read from its start by those who share it."""
    together = dict(one)
    for shard, read in other.items():
        mine = together.get(shard, Read(0, finished=False))
        together[shard] = Read(
            max(mine.samples, read.samples), finished=mine.finished or read.finished
        )
    return together


def samples(done: Done) -> int:
    """Return how many samples were read in all."""
    return sum(read.samples for read in done.values())


def left(done: Done, shards: int) -> list[tuple[int, int]]:
    """Return the shards that are not finished, each with the sample to go on from."""
    reads = [(shard, done.get(shard, Read(0, finished=False))) for shard in range(shards)]
    return [(shard, read.samples) for shard, read in reads if not read.finished]


def flat(done: Done) -> list[int]:
    """Return it as integers, three for a shard."""
    return [n for shard, read in done.items() for n in (shard, read.samples, int(read.finished))]


def unflat(numbers: list[int]) -> dict[int, Read]:
    """Return what `flat` was given."""
    threes = zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
    return {shard: Read(samples, bool(finished)) for shard, samples, finished in threes}


def numbered(state: Tally, source: Source, done: Done) -> Tally:
    """Return the tally of a finished pass with the ordinals and keys that the source has.

    Parameters
    ----------
    state : Tally
        Its samples are numbered `shard * LONGEST + ordinal in the shard`.
    source : Source
        The data.
    done : Done
        All shards, finished.
    """
    if not isinstance(source, Sharded) or source.shards == 1:
        return state
    lengths = [done[shard].samples for shard in range(source.shards)]
    first = torch.tensor([0, *accumulate(lengths)][:-1])

    def ordinals(numbers: torch.Tensor) -> torch.Tensor:
        taken = numbers != EMPTY
        shard = torch.where(taken, numbers // LONGEST, 0)
        found = first.to(numbers.device)[shard] + numbers % LONGEST
        return torch.where(taken, found, EMPTY)

    for layer in state.layers.values():
        layer.top = {
            mode: replace(top, indices=ordinals(top.indices)) for mode, top in layer.top.items()
        }
        if layer.bands is not None:
            layer.bands = replace(layer.bands, indices=ordinals(layer.bands.indices))
    indices = ordinals(torch.tensor([one.index for one in state.samples], dtype=torch.int64))
    state.samples = classpictures.renumbered(state.samples, indices.tolist())
    places = ordinals(torch.tensor([*state.seen, *(skip[0] for skip in state.skips)])).tolist()
    seen = zip(places, state.seen.values(), strict=False)
    state.seen = {n: replace(it, key=source.whole_key(it.key, n)) for n, it in seen}
    skips = zip(places[len(state.seen) :], state.skips, strict=True)
    state.skips = [(n, source.whole_key(key, n), reason) for n, (_, key, reason) in skips]
    return state
