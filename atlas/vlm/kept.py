"""Answers to single questions, kept by the question that they answer.

A record of naming may need a second question, one of scoring has many. Answers that come by file,
in any order and not all at once, or that a server gave before it stopped, wait here until
the record can be made. Of what a model said for explanations there is no other record. A question
is known by its text, pixels and model (`chat.identity`), so that an answer is never taken for that
of another one, whatever became of the atlas in between.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from atlas.store import journal
from atlas.vlm import chat
from atlas.vlm.asked import CutOff, Failed, Request, SampledChance, Unanswered, Vlm
from atlas.vlm.chat import Kind
from atlas.vlm.server import StoppedError

_T = TypeVar("_T", str, float)


class Answers:
    """Answers to single questions, in a file that only grows.

    Parameters
    ----------
    path : Path
        The file; it need not be there.

    Raises
    ------
    UserError
        A line of it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = {
            str(one["id"]): answer
            for one in journal.read(path)
            if "id" in one and (answer := _read(one)) is not None
        }

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, question: object) -> bool:
        return question in self._known

    def get(self, question: str) -> str | float | None:
        """Return the answer to a question, None if there is none."""
        return self._known.get(question)

    def add(self, answers: Mapping[str, str | float]) -> None:
        """Keep those that are new and final."""
        new = {
            question: answer
            for question, answer in answers.items()
            if question not in self._known and _final(answer)
        }
        if new:
            # Pictures may be explained by several processes at a time, which all write here.
            with FileLock(self._path.with_name(f".{self._path.name}.lock")):
                journal.append(self._path, [_written(*pair) for pair in new.items()])
            self._known |= new


class Kept:
    """A model that is not asked again what it has answered already.

    Parameters
    ----------
    vlm : Vlm
        Who is asked.
    answers : Answers
        What is known.
    every : bool
        Whether every answer is kept at once, and not just those before the model stopped.
    """

    def __init__(self, vlm: Vlm, answers: Answers, *, every: bool = False) -> None:
        self.id, self.revision, self.decoding = vlm.id, vlm.revision, vlm.decoding
        self._vlm = vlm
        self._answers = answers
        self._every = every

    @property
    def facts(self) -> Mapping[str, Any]:
        """What records say of who answered."""
        return self._vlm.facts

    def ask(self, requests: Sequence[Request]) -> list[str]:
        """Return the answer to each question."""
        return self._all(requests, "words", str, self._vlm.ask)

    def yes(self, requests: Sequence[Request]) -> list[float]:
        """Return the probability of yes for each question."""
        return self._all(requests, "yes", float, self._vlm.yes)

    def _all(
        self,
        requests: Sequence[Request],
        kind: Kind,
        of: type[_T],
        ask: Callable[[Sequence[Request]], list[_T]],
    ) -> list[_T]:
        names = [
            chat.identity(request, kind, self.id, self.revision, self.decoding)
            for request in requests
        ]
        open_: dict[str, Request] = {}
        for name, request in zip(names, requests, strict=True):
            if name not in self._answers:
                open_.setdefault(name, request)
        try:
            replies = ask(list(open_.values())) if open_ else []
        except StoppedError as stopped:
            pairs = zip(open_, stopped.answers, strict=True)
            self._answers.add({name: answer for name, answer in pairs if answer is not None})
            raise
        found = dict(zip(open_, replies, strict=True))
        if self._every:
            self._answers.add(found)
        result: list[_T] = []
        for name in names:
            answer = found.get(name, self._answers.get(name))
            assert isinstance(answer, of)  # the kind is part of the name
            result.append(answer)
        return result


def _final(answer: str | float) -> bool:
    """Say whether it is an answer, and not that there is none."""
    if isinstance(answer, float):
        return not math.isnan(answer)
    return not isinstance(answer, Unanswered | Failed)


def _written(question: str, answer: str | float) -> dict[str, Any]:
    if isinstance(answer, float):
        return {"id": question, "yes": float(answer), "sampled": isinstance(answer, SampledChance)}
    return {"id": question, "text": str(answer), "cut_off": isinstance(answer, CutOff)}


def _read(line: Mapping[str, Any]) -> str | float | None:
    """Return the answer in a line of the file; None if it holds none, as a foreign one may."""
    yes, text = line.get("yes"), line.get("text")
    if isinstance(yes, float | int) and not isinstance(yes, bool) and 0 <= yes <= 1:
        return SampledChance(yes) if line.get("sampled") else float(yes)
    if isinstance(text, str):
        return CutOff(text) if line.get("cut_off") else text
    return None
