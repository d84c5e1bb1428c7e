"""Pages of channels that several processes write, each a part of them.

A page depends on the tables and on the names of pictures alone, so that its bytes are the same
whichever process writes it. The processes are begun anew and speak in lines of JSON: after a fork
they would have the threads and the memory of a network in them, and `multiprocessing` would run
the program of whoever calls this once more. What they run is `page_process`.
"""

import json
import os
import queue
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from atlas.errors import UserError

LEAST = 1000
"""Pages that a process has to write at least: to begin it takes as long as a few hundred."""

MOST = 4
"""Processes at once: each has the tables in its memory, 0.4 GB of them for 20,000 channels."""

AT_ONCE = 64
"""Pages that a process is asked for at a time."""

_BEGIN = "from atlas.site.page_process import main; main()"


@dataclass(frozen=True)
class WrittenPage:
    """A page that was written."""

    link: str
    rows: Sequence[int]
    """The channels that it speaks of."""
    sizes: Mapping[str, int]
    """The files that it consists of and their sizes in bytes."""


def count(pages: int) -> int:
    """Return how many processes to share so many pages between; 1 is to begin none."""
    return max(1, min(_processors(), MOST, pages // LEAST))


def written(processes: int, task: Mapping[str, Any], rows: Sequence[int]) -> Iterator[WrittenPage]:
    """Have pages written by so many processes, and yield them in the order of `rows`.

    Parameters
    ----------
    processes : int
        How many.
    task : mapping
        What `page_process` needs to know, as JSON.
    rows : sequence of int
        The channels whose pages are wanted.

    Raises
    ------
    UserError
        What one of them raised, or that one of them was ended.
    """
    parts = [rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)]
    idle: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()

    def ask(part: Sequence[int]) -> list[WrittenPage]:
        process = idle.get()
        try:
            return [WrittenPage(*page) for page in _answer(process, list(part))]
        finally:
            idle.put(process)

    with _begun(processes) as team:
        for process in team:
            _say(process, task)
            idle.put(process)
        pool = ThreadPoolExecutor(processes)
        try:
            for pages in pool.map(ask, parts):
                yield from pages
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _begun(processes: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Begin processes, which find the same modules as this one; end them afterwards."""
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8"}
    team = [
        subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            [sys.executable, "-P", "-c", _BEGIN],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        for _ in range(processes)
    ]
    try:
        yield team
    finally:
        for process in team:
            process.kill()
            process.communicate()


def _say(process: subprocess.Popen[str], value: object) -> None:
    assert process.stdin is not None, "it has a pipe"
    try:
        process.stdin.write(json.dumps(value) + "\n")
        process.stdin.flush()
    except BrokenPipeError as error:
        raise _ended(process) from error


def _answer(process: subprocess.Popen[str], value: object) -> list[Any]:
    """Say something and return the pages of the answer."""
    _say(process, value)
    assert process.stdout is not None, "it has a pipe"
    line = process.stdout.readline()
    if not line:
        raise _ended(process)
    answer = json.loads(line)
    if "error" in answer:
        raise UserError(answer["error"])
    pages: list[Any] = answer["pages"]
    return pages


def _ended(process: subprocess.Popen[str]) -> UserError:
    return UserError(
        f"a process that writes pages ended with status {process.wait()}, perhaps for lack of "
        "memory: run the same command again"
    )


def _processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
