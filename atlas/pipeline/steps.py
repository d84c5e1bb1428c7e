"""One display for a build: which stage of how many, and how long all that is left will take."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from atlas.pipeline.memory import give_back
from atlas.prepass.progress import memory_gb

LASTS = {"pictures": 0.1, "patches": 1.5, "weights": 0.01, "site": 0.2}
"""How long stages take, in parts of a pre-pass with relevance: roughly, as the first lines of
`benchmarks/whole.py` have it. Names, scores and explanations depend on the models that make them,
so that nothing is known of these before."""


class Steps:
    """Says on stderr, and in the recipe's progress file, which stage begins and how long is left.

    Parameters
    ----------
    names : sequence of str
        The stages that a run may go through, in their order; those that are done are passed over.
    log : str
        A file that gets a JSON line at the end of each stage, with `time` (Unix seconds), `stage`,
        `number` (from 1), `of`, `seconds`, `memory_gb` (the most so far; null on Windows) and
        `finished` (false where the stage was broken off); none if empty.
    title : str
        What a stage is called in the line.
    """

    def __init__(self, names: Sequence[str], log: str = "", title: str = "stage") -> None:
        self.names = tuple(names)
        self._title = title
        self._log = Path(log) if log else None
        self._prepass: float | None = None

    def later(self, name: str) -> float:
        """Return how long the stages after `name` take, in parts of a pre-pass, where known."""
        after = self.names[self.names.index(name) + 1 :]
        return sum(LASTS.get(other, 0.0) for other in after)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show the stage that runs within this context."""
        number, begin, finished = self.names.index(name) + 1, time.monotonic(), False
        tqdm.write(
            f"{self._title} {number} of {len(self.names)}: {name}{self._left(name)}", sys.stderr
        )
        try:
            yield
            finished = True
        finally:
            give_back()
            seconds = time.monotonic() - begin
            if name == "prepass":
                self._prepass = seconds
            if self._log is not None:
                memory = memory_gb()
                line = {
                    "time": round(time.time(), 3),
                    "stage": name,
                    "number": number,
                    "of": len(self.names),
                    "seconds": round(seconds, 3),
                    "memory_gb": None if memory is None else round(memory, 3),
                    "finished": finished,
                }
                with self._log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")

    def _left(self, name: str) -> str:
        """Return what is known of the time until all is done, for the line."""
        unknown = [
            other
            for other in self.names[self.names.index(name) :]
            if other not in (*LASTS, "prepass")
        ]
        without = f", without {', '.join(unknown)}" if unknown else ""
        if self._prepass is None or not (known := LASTS.get(name, 0.0) + self.later(name)):
            return ""
        return f" (about {tqdm.format_interval(known * self._prepass)} left in all{without})"
