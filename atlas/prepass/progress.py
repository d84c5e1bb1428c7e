"""How far the pre-pass is: a bar for people, JSON lines for batch jobs."""

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

EVERY = 10.0
"""Seconds between two JSON lines."""


class Progress:
    """Says on stderr and in a file how many pictures are done, how fast, and what it waits for.

    Parameters
    ----------
    title : str
        What is going on.
    total : int or None
        Pictures in all, if that is known.
    done : int
        Pictures of an earlier run.
    log : Path or None
        A file to which a JSON line is added every `EVERY` seconds and at the end, with
        `time` (Unix seconds), `stage`, `done`, `total`, `images_per_second`, `seconds_left`,
        `waiting` (share of the time in which no picture was ready), `memory_gb` (the most so
        far; null on Windows) and `finished`.
    silent : bool
        Say nothing, as all processes but the first.
    later : float
        How long what comes afterwards takes, in parts of the whole pass, as far as that is known:
        where it is not 0 the bar says how much time is left of both.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        done: int,
        log: Path | None,
        silent: bool,
        later: float = 0.0,
    ) -> None:
        self._bar = tqdm(total=total, initial=done, desc=title, unit=" images", disable=silent)
        self._title, self._total, self._done = title, total, done
        self._log = None if silent else log
        self._later = later
        self._before, self._begin = done, time.monotonic()
        self._said, self._waiting = self._begin, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: object, __: TracebackType | None
    ) -> None:
        self._bar.close()
        self._say(finished=kind is None)

    def update(self, pictures: int, waited: float) -> None:
        """Count `pictures` more, which are measured; `waited` seconds were spent waiting so far."""
        self._done += pictures
        self._waiting = min(1.0, waited / max(time.monotonic() - self._begin, 1e-9))
        memory = memory_gb()
        used = "" if memory is None else f", {memory:.1f} GB"
        self._bar.set_postfix_str(f"waiting {self._waiting:.0%}{used}{self._all()}", refresh=False)
        self._bar.update(pictures)
        if time.monotonic() - self._said >= EVERY:
            self._say(finished=False)

    def _rate(self) -> float:
        """Return the pictures a second of this run."""
        return (self._done - self._before) / max(time.monotonic() - self._begin, 1e-9)

    def _all(self) -> str:
        """Return how much time is left of the pass and what comes afterwards, for the bar."""
        rate = self._rate()
        if self._total is None or not self._later or not rate:
            return ""
        left = (self._total - self._done + self._later * self._total) / rate
        return f", all stages: {tqdm.format_interval(left)} left"

    def _say(self, finished: bool) -> None:
        if self._log is None:
            return
        self._said = time.monotonic()
        rate = self._rate()
        left = None if self._total is None or not rate else (self._total - self._done) / rate
        memory = memory_gb()
        line: dict[str, Any] = {
            "time": round(time.time(), 3),
            "stage": self._title,
            "done": self._done,
            "total": self._total,
            "images_per_second": round(rate, 3),
            "seconds_left": None if left is None else round(left, 1),
            "waiting": round(self._waiting, 4),
            "memory_gb": None if memory is None else round(memory, 3),
            "finished": finished,
        }
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def memory_gb() -> float | None:
    """Return the largest memory that this process has had, in GB; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 (Windows has none)

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
