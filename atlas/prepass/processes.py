"""Several processes that share one pre-pass, on one machine or many.

`accelerate launch` or `torchrun` starts them; each measures the n-th part. The first one
collects what the others found, writes the checkpoints and does the rest alone.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

from atlas.errors import UserError, one_line


@dataclass(frozen=True)
class Team:
    """The processes of this run, seen from one of them."""

    rank: int = 0
    """Number of this process; 0 is the first."""
    size: int = 1
    """How many take part."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def sums(self, *numbers: int) -> list[int]:
        """Return for each number the sum of what the processes have."""
        if self.size == 1:
            return list(numbers)
        summed = torch.tensor(numbers)
        distributed.all_reduce(summed)
        return [int(number) for number in summed]

    def from_first(self, numbers: list[int]) -> list[int]:
        """Return the numbers that the first process has, as many as there may be."""
        if self.size == 1:
            return numbers
        length = torch.tensor(len(numbers))
        distributed.broadcast(length, src=0)
        sent = torch.tensor(numbers) if self.first else torch.zeros(int(length), dtype=torch.int64)
        distributed.broadcast(sent, src=0)
        return [int(number) for number in sent]

    def hand_out(self, parts: Sequence[bytes]) -> bytes:
        """Return this process's part of those, one for each process, that the first one has."""
        if self.size == 1:
            return parts[0]
        lengths = self.from_first([len(part) for part in parts])
        longest = max(*lengths, 1)
        mine = torch.empty(longest, dtype=torch.uint8)
        padded = [_padded(part, longest) for part in parts] if self.first else None
        distributed.scatter(mine, padded, src=0)
        return mine[: lengths[self.rank]].numpy().tobytes()

    def collect(self, content: bytes) -> list[bytes]:
        """Return the contents of all processes to the first one, and nothing to the others."""
        if self.size == 1:
            return [content]
        length = torch.tensor(len(content))
        lengths = [torch.zeros_like(length) for _ in range(self.size)]
        distributed.all_gather(lengths, length)
        padded = _padded(content, int(max(lengths)))
        gathered = [torch.empty_like(padded) for _ in range(self.size)] if self.first else None
        distributed.gather(padded, gathered, dst=0)
        pairs = zip(gathered or [], lengths, strict=False)
        return [part[: int(size)].numpy().tobytes() for part, size in pairs]


def _padded(content: bytes, length: int) -> torch.Tensor:
    """Return bytes as a tensor of a length."""
    padded = torch.zeros(length, dtype=torch.uint8)
    if content:
        padded[: len(content)] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return padded


ALONE = Team()


@contextmanager
def team() -> Iterator[Team]:
    """Join the processes that a launcher has started; alone if there is none.

    What is exchanged is small and lies in main memory, so that gloo serves on CPUs and
    GPUs alike.

    Raises
    ------
    UserError
        Another process of the run has ended or cannot be reached.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    distributed.init_process_group("gloo")
    try:
        yield Team(distributed.get_rank(), size)
        distributed.barrier()  # nobody takes its connections away while another still works
    except (distributed.DistError, RuntimeError) as error:
        if not _is_about_others(error):
            raise
        raise UserError(
            f"another process of this run has ended ({one_line(error)[:120]}): run the same "
            "command again to go on from the last checkpoint"
        ) from error
    finally:
        distributed.destroy_process_group()


def device(name: str) -> str:
    """Return the device of this process for what the recipe says: each takes a GPU of its own."""
    if name in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
    return name


def _is_about_others(error: Exception) -> bool:
    text = str(error).lower()
    words = ("connection", "gloo", "timed out", "socket", "peer")
    return isinstance(error, distributed.DistError) or any(word in text for word in words)
