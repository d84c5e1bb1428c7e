"""Questions in files that others answer: `vllm run-batch`, batch services, a script of one's own.

Files have one JSON object a line, as the batch interface of OpenAI defined it and others took
over (https://platform.openai.com/docs/guides/batch, https://docs.vllm.ai, `run-batch`). A question
is `{"custom_id", "method", "url", "body"}`, an answer `{"custom_id", "response": {"status_code",
"body"}, "error"}`.
"""

import json
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from atlas.errors import UserError, one_line
from atlas.plain import plain
from atlas.store import bounds, files
from atlas.vlm import chat
from atlas.vlm.asked import UNKNOWN, Loading, Request, SampledChance, Unanswered, called, decoding
from atlas.vlm.chat import Kind
from atlas.vlm.server import SERVER, split

ADDRESS = "/v1/chat/completions"

LINES = 50_000
"""Questions in a part, the most that batch services take."""

PART_MB = 100
"""Size of a part unless another is given; batch services take up to 200 MB."""


@dataclass
class Exchange:
    """Files of questions and answers, and what became of them.

    Attributes
    ----------
    questions : Path or None
        Where open questions are written; there is no such file yet.
    answers : sequence of Path
        Files with answers.
    part_mb : float
        Largest size of a file of questions, in 10^6 bytes.
    written : list of Path
        The files of questions that were written.
    open : int
        Questions that have no answer.
    """

    questions: Path | None
    answers: Sequence[Path] = ()
    part_mb: float = PART_MB
    written: list[Path] = field(default_factory=list)
    open: int = 0


class OpenExchange:
    """Files that are being written and read, by one model or several.

    Parameters
    ----------
    exchange : Exchange
        The files.
    about : str
        What the questions are about.

    Raises
    ------
    UserError
        A file of answers cannot be read or holds none, or one of questions is there already.
    """

    def __init__(self, exchange: Exchange, about: str = "this atlas") -> None:
        self._exchange = exchange
        self._about = about
        self._asked: set[str] = set()
        self._used: set[str] = set()
        self._parts = None
        if exchange.questions is not None:
            self._parts = _Parts(exchange.questions, round(exchange.part_mb * 1e6))
        self._answers: dict[str, Any] = {}
        for path in exchange.answers:
            self._answers |= read(path)

    def reply(self, question: str, body: Callable[[], Mapping[str, Any]]) -> chat.Reply | None:
        """Return the answer to a question; without one, write it, and return None.

        Parameters
        ----------
        question : str
            Its `chat.identity`.
        body : callable
            Makes the request that asks it.
        """
        if (answer := self._answers.get(question)) is not None:
            self._used.add(question)
            reply: chat.Reply = answer
            return reply
        if question not in self._asked:
            self._asked.add(question)
            if self._parts is not None:
                self._parts.add(question, body())
        return None

    def close(self, known: Container[str]) -> None:
        """Give the files of questions their names, and say which answers were of no use.

        Parameters
        ----------
        known : container of str
            Questions that were answered before.
        """
        if self._parts is not None:
            self._exchange.written = self._parts.close()
        self._exchange.open = len(self._asked)
        left = [name for name in self._answers if name not in self._used]
        again = sum(name in known for name in left)
        if again:
            _report(f"{again} answers were known already")
        strange = [name for name in left if name not in known]
        if strange:
            _report(
                f"{len(strange)} answers are to no open question of {self._about} and are skipped "
                f"(the first is {plain(strange[0])[:80]!r}): they were recorded before, or are "
                "of another picture, state, model or setting"
            )

    def discard(self) -> None:
        """Delete what was written of files of questions that are not whole."""
        if self._parts is not None:
            self._parts.discard()


class FilesVlm:
    """A model whose answers come in files, and whose open questions go into some.

    Parameters
    ----------
    loading : Loading
        Which model is meant.
    exchange : OpenExchange
        The files.

    Raises
    ------
    UserError
        The name does not say which model is meant.
    """

    def __init__(self, loading: Loading, exchange: OpenExchange) -> None:
        self.id, self._model = _model(loading)
        self.revision: str | None = loading.revision or None
        self.decoding = decoding(loading)
        self._exchange = exchange
        self._servers: set[str] = set()

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the answers say of the model that gave them."""
        return {"server": {"files": True, "models": sorted(self._servers)}}

    def ask(self, requests: Sequence[Request]) -> list[str]:
        """Return the answers that came; the other questions are written, and `Unanswered`."""
        replies = (self._reply(request, "words") for request in requests)
        return [Unanswered() if reply is None else reply.text for reply in replies]

    def yes(self, requests: Sequence[Request]) -> list[float]:
        """Return what is known; the other questions are written, and `UNKNOWN`."""
        replies = (self._reply(request, "yes") for request in requests)
        return [UNKNOWN if reply is None else _chance(reply) for reply in replies]

    def _reply(self, request: Request, kind: Kind) -> chat.Reply | None:
        name = chat.identity(request, kind, self.id, self.revision, self.decoding)
        reply = self._exchange.reply(
            name, lambda: chat.body(request, kind, self._model, self.decoding)
        )
        if reply is not None and "model" in reply.facts:
            self._servers.add(reply.facts["model"])
        return reply


def read(path: Path) -> dict[str, chat.Reply]:
    """Return the answers in a file; a line says what cannot be used, and why.

    Raises
    ------
    UserError
        It is no file of answers.
    """
    replies: dict[str, chat.Reply] = {}
    broken: list[str] = []
    refused: list[str] = []
    questions = 0
    try:
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                answer = bounds.parse_json(line.decode("utf-8"))
                name = answer["custom_id"]
                if not isinstance(name, str):
                    raise TypeError("its custom_id is no text")
                if "response" not in answer and "error" not in answer and "body" in answer:
                    questions += 1
                    continue
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                broken.append(f"line {number}: {one_line(error)[:80]}")
                continue
            try:
                replies[name] = _answered(answer)
            except chat.NoReplyError as error:
                refused.append(f"{name[:80]}: {one_line(error)[:120]}")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({one_line(error)[:120]})") from error
    if not (replies or broken or refused or questions):
        raise UserError(f"{path} is empty: give a file of answers")
    if questions and not replies:
        raise UserError(f"{path} holds questions and no answers: give the file that answers them")
    if broken:
        _report(
            f"{path}: {len(broken)} lines are no answers ({plain(broken[0])}); their questions "
            "stay open"
        )
    if refused:
        _report(
            f"{path}: {len(refused)} questions were not answered ({plain(refused[0])}); they stay "
            "open"
        )
    return replies


def _answered(answer: Mapping[str, Any]) -> chat.Reply:
    """Return the reply in a line.

    Raises
    ------
    NoReplyError
        There is none.
    """
    response, error = answer.get("response"), answer.get("error")
    if error:
        said = error.get("message", error) if isinstance(error, dict) else error
        raise chat.NoReplyError(str(said))
    if not isinstance(response, dict):
        raise chat.NoReplyError("it has no response")
    if (status := response.get("status_code", 200)) != 200:
        raise chat.NoReplyError(f"status {status}")
    return chat.read(response.get("body", response))


def _chance(reply: chat.Reply) -> float:
    """Return the probability of yes, or what the one answer says where it is not given."""
    if reply.chance is not None:
        return reply.chance
    said = chat.opinion(reply.text)
    return SampledChance(0.5 if said is None else said)


def _model(loading: Loading) -> tuple[str, str]:
    """Return what records and files of questions call the model."""
    if not loading.name.startswith(SERVER):
        return called(loading.name), called(loading.name)
    model = split(loading.name)[1]
    if not model:
        raise UserError(
            "a file of questions says which model is meant: name it, "
            f"--set {loading.setting}='{SERVER}URL#MODEL'"
        )
    return called(model), model


@dataclass
class _Part:
    """A file that is being written, and how many lines it has."""

    file: BinaryIO
    lines: int = 0


class _Parts:
    """Writes lines into files; none has its name before all are written.

    Each stays below a size and is for one model: batch services and `vllm run-batch` take no other.
    """

    def __init__(self, path: Path, size: int) -> None:
        there = [path, *path.parent.glob(f"{path.stem}-*{path.suffix}")]
        for one in there:
            if one.exists():
                raise UserError(f"{one} is there already: delete it, or give another --questions")
        if not path.parent.is_dir():
            raise UserError(f"{path.parent} is no directory: make it, or give another --questions")
        self._path, self._size = path, size
        self._temporary: list[Path] = []
        self._open: dict[str, _Part] = {}

    def add(self, name: str, body: Mapping[str, Any]) -> None:
        """Write one question."""
        line = json.dumps({"custom_id": name, "method": "POST", "url": ADDRESS, "body": body})
        data = line.encode() + b"\n"
        part = self._open.get(body["model"])
        if part is None or part.file.tell() + len(data) > self._size or part.lines == LINES:
            part = self._next(body["model"])
        part.file.write(data)
        part.lines += 1

    def close(self) -> list[Path]:
        """Name the files, and return them."""
        self._end()
        names = [self._path]
        if len(self._temporary) > 1:
            names = [
                self._path.with_name(f"{self._path.stem}-{number}{self._path.suffix}")
                for number in range(1, len(self._temporary) + 1)
            ]
        for temporary, name in zip(self._temporary, names, strict=False):
            temporary.replace(name)
        done = names[: len(self._temporary)]
        self._temporary = []
        return done

    def discard(self) -> None:
        """Delete the files that have no name yet."""
        self._end()
        for temporary in self._temporary:
            temporary.unlink(missing_ok=True)

    def _next(self, model: str) -> _Part:
        if model in self._open:
            self._open[model].file.close()
        number = len(self._temporary) + 1
        path = self._path.with_name(f".{self._path.name}-{number}{files.TEMPORARY_SUFFIX}")
        self._temporary.append(path)
        self._open[model] = _Part(path.open("wb"))
        return self._open[model]

    def _end(self) -> None:
        for part in self._open.values():
            part.file.close()


def _report(text: str) -> None:
    tqdm.write(text, sys.stderr)
