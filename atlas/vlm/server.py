"""A vision-language model at a server, by the chat-completions interface.

vLLM, llama.cpp, Ollama, LM Studio and `transformers serve` share it, and hosted services have it.
The `openai` client speaks it, keeps connections open, and tries again with growing pauses what a
server has no time for (408, 409, 429, 500 and above, lost connections), heeding `Retry-After`.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

from atlas.errors import UserError, one_line
from atlas.vlm import chat
from atlas.vlm.asked import Failed, Loading, Request, SampledChance, called, decoding

SERVER = "server:"
"""What the name of a model at a server begins with: `server:URL`, or `server:URL#MODEL`."""

KEY = "ATLAS_VLM_KEY"
"""Environment variable with the key that a server asks for.

It is no other tool's, so that the key of one service is never sent to another.
"""

TRIES_AGAIN = 6
"""How often a question is asked anew that a server could not answer: for half a minute."""

PATIENCE = 600.0
"""Seconds after which an answer is not waited for any more."""

SAMPLES = 8
"""Answers of which the share of yes is taken where the probability of words is not given."""

_OTHERS = ("OpenAI-Organization", "OpenAI-Project")
"""Headers that the client makes of variables meant for one service."""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class StoppedError(UserError):
    """The server stopped answering; what it had answered before is there.

    Attributes
    ----------
    answers : list
        One for each question, None where there is none.
    """

    def __init__(self, message: str, answers: Sequence[Any]) -> None:
        super().__init__(message)
        self.answers = list(answers)


class _AwayError(Exception):
    """The server cannot answer now, whatever it is asked."""


class ServerVlm:
    """A model at a server, which is asked many questions at a time.

    Parameters
    ----------
    client : openai.OpenAI
        Knows the address and the key.
    model : str
        What the server calls the model.
    loading : Loading
        `batch_size` says how many questions are in flight.
    facts : mapping
        What the server says of itself.
    """

    def __init__(self, client: Any, model: str, loading: Loading, facts: Mapping[str, Any]) -> None:
        self.id = _short(model)
        self.revision: str | None = loading.revision or None
        self.decoding = decoding(loading)
        self._client = client
        self._model = model
        self._in_flight = loading.batch_size
        self._facts = dict(facts)
        self._answered = False  # anything at all

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the server says of itself."""
        return {"server": dict(self._facts)}

    def ask(self, requests: Sequence[Request]) -> list[str]:
        """Return the answer to each question."""
        return self._all(requests, self._words)

    def yes(self, requests: Sequence[Request]) -> list[float]:
        """Return P(yes) / (P(yes) + P(no)), or a share of samples where it is not given.

        Raises
        ------
        UserError
            The server refuses a question.
        """
        return self._all(requests, self._weigh if self._gives_chances else self._sample)

    def _words(self, request: Request) -> str:
        asked = chat.body(request, "words", self._model, self.decoding)
        try:
            return self._reply(asked).text
        except _RefusedError as refused:
            if request.menu:  # it may not know how to answer by a schema
                return self._words(replace(request, menu=0))
            return Failed(refused)

    def _weigh(self, request: Request) -> float:
        reply = self._reply(chat.body(request, "yes", self._model, self.decoding))
        # A server may leave them out for one question: its word is what is known then.
        return reply.chance if reply.chance is not None else _share([reply.text])

    def _sample(self, request: Request) -> float:
        asked = chat.body(request, "yes", self._model, self.decoding)
        asked = {key: asked[key] for key in ("model", "messages")}
        asked |= {"max_tokens": 4, "temperature": 1}
        return _share([self._reply({**asked, "seed": seed}).text for seed in range(SAMPLES)])

    @cached_property
    def _gives_chances(self) -> bool:
        """Whether the server gives the probability of its first word: it is asked once."""
        asked = chat.body(Request((), "Say yes."), "yes", self._model, self.decoding)
        try:
            given = self._reply(asked).chance is not None
        except _RefusedError:
            given = False
        except _AwayError as error:
            raise UserError(str(error)) from error
        if not given:
            _log.warning(
                "%s does not give how probable its words are: yes is counted in %d samples",
                *(self.id, SAMPLES),
            )
        return given

    def _all(self, requests: Sequence[Request], run: Callable[[Request], _T]) -> list[_T]:
        """Ask all questions, many at a time; the first failure ends it, and loses no answer."""
        pool = ThreadPoolExecutor(self._in_flight)
        try:
            futures = [pool.submit(run, request) for request in requests]
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            pool.shutdown(cancel_futures=True)  # those in flight may still be answered
        answers: list[_T | None] = []
        problem: BaseException | None = None
        for future in futures:
            failed = None if future.cancelled() else future.exception()
            problem = problem or failed
            answers.append(None if future.cancelled() or failed else future.result())
        if problem is not None and not isinstance(problem, _AwayError | _RefusedError | UserError):
            raise problem
        if problem is not None:
            said = str(problem)
            if isinstance(problem, _RefusedError):
                said = f"{self._where} refuses a question ({problem})"
            raise StoppedError(
                f"{said}; what was answered is kept: run the same command again to go on", answers
            ) from problem
        done = [answer for answer in answers if answer is not None]
        self._answered = self._answered or not all(isinstance(answer, Failed) for answer in done)
        if done and not self._answered:
            raise UserError(
                f"the model {self.id} refuses every question ({done[0]}): does it take "
                f"{len(requests[0].images)} pictures in a question, and are naming.max_tokens, "
                "naming.constrained and naming.layout such that it can answer?"
            )
        return done

    def _reply(self, asked: dict[str, Any]) -> chat.Reply:
        """Send one request, and once more where what comes back cannot be read."""
        import openai  # noqa: PLC0415 (an extra)

        for left in (1, 0):
            try:
                raw = self._client.chat.completions.with_raw_response.create(**asked)
                reply = chat.read(json.loads(raw.http_response.content))
            except ValueError as error:
                if left:
                    continue
                raise _AwayError(
                    f"{self._where} answers what is no chat completion ({one_line(error)[:120]}): "
                    "is it the address of the interface, which ends in /v1?"
                ) from error
            except openai.APIStatusError as error:
                raise self._about(error) from error
            except openai.APITimeoutError as error:
                raise _AwayError(
                    f"{self._where} did not answer within {self._client.timeout:g} seconds: ask "
                    "less at a time (--set naming.batch_size=4)"
                ) from error
            except openai.APIConnectionError as error:
                raise _AwayError(
                    f"{self._where} cannot be reached ({one_line(error.__cause__ or error)[:120]})"
                    ": see whether it runs"
                ) from error
            self._facts |= reply.facts if self._facts.get("model") is None else {}
            if fingerprint := reply.facts.get("system_fingerprint"):
                self._facts["system_fingerprint"] = fingerprint
            return reply
        raise AssertionError("unreachable")

    def _about(self, error: Any) -> Exception:
        """Say what a status means: that of the server, or of this one question."""
        status, said = error.status_code, _reason(error)
        if status in (401, 403):
            return UserError(
                f"{self._where} wants a key ({said}): set the environment variable {KEY}"
            )
        if status == 404:
            return UserError(
                f"{self._where} has no model {self._model!r} ({said}): name another one, "
                "naming.vlm = 'server:URL#MODEL'"
            )
        if status in (408, 409, 429) or status >= 500:
            return _AwayError(
                f"{self._where} answers {status}, and did so {self._client.max_retries} times more "
                f"({said})"
            )
        return _RefusedError(said)

    @property
    def _where(self) -> str:
        return f"the server at {str(self._client.base_url).rstrip('/')}"


class _RefusedError(Exception):
    """The server cannot take this one question; it says why."""


def connect(
    loading: Loading, *, tries_again: int = TRIES_AGAIN, patience: float = PATIENCE
) -> ServerVlm:
    """Return the model at a server, after a look at which models are there.

    Parameters
    ----------
    loading : Loading
        Its name is `server:URL`, or `server:URL#MODEL` where the server has several.
    tries_again : int
        How often a question is asked anew.
    patience : float
        Seconds after which an answer is not waited for any more.

    Raises
    ------
    UserError
        Nothing answers there, it wants a key, or it cannot be known which model is meant.
    """
    address, model = split(loading.name)
    try:
        import openai  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise UserError(
            'a model at a server needs an extra: pip install "concept-atlas[server]"'
        ) from error
    client = openai.OpenAI(
        base_url=address,
        api_key=os.environ.get(KEY) or "none",
        default_headers={name: openai.Omit() for name in _OTHERS},
        max_retries=tries_again,
        timeout=patience,
    )
    try:
        raw = client.with_options(max_retries=1, timeout=30).models.with_raw_response.list()
        listed = json.loads(raw.http_response.content).get("data") or []
        software = raw.http_response.headers.get("server")
    except openai.APIStatusError as error:
        if error.status_code in (401, 403):
            raise UserError(
                f"the server at {address} wants a key: set the environment variable {KEY}"
            ) from error
        listed, software = [], None  # it may have no such list
    except openai.APIConnectionError as error:
        raise UserError(
            f"no server answers at {address} ({one_line(error.__cause__ or error)[:120]}): start "
            "it, or give its address with --set naming.vlm=server:URL"
        ) from error
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"what answers at {address} is no chat-completions interface: its address usually "
            "ends in /v1"
        ) from error
    known = {str(one["id"]): one for one in listed if isinstance(one, dict) and "id" in one}
    if not model and len(known) != 1:
        names = ", ".join(sorted(known)[:8]) or "it lists none"
        raise UserError(
            f"the server at {address} has not just one model ({names}): say which one, "
            f"--set naming.vlm='{SERVER}{address}#MODEL'"
        )
    model = model or next(iter(known))
    about = known.get(model, {})
    facts = {
        "model": _short(model),
        "software": software,
        **{key: about.get(key) for key in ("owned_by", "max_model_len")},
    }
    plain = {key: value for key, value in facts.items() if isinstance(value, str | int) and value}
    return ServerVlm(client, model, loading, plain)


def split(name: str) -> tuple[str, str]:
    """Return the address of a server and the model there, which may be empty.

    Raises
    ------
    UserError
        It is no address.
    """
    address, _, model = name.removeprefix(SERVER).partition("#")
    try:
        parts = urlsplit(address)
        _ = parts.port
        wrong = parts.scheme not in ("http", "https") or not parts.hostname
    except ValueError:
        wrong = True
    if wrong:
        raise UserError(
            f"{name[:120]!r} is no address of a server: write it as "
            f"{SERVER}http://127.0.0.1:8000/v1, with #MODEL where it has several"
        )
    if parts.username or parts.password:
        raise UserError(
            f"the address of the server has a password in it, which records would show: take it "
            f"out, and set the environment variable {KEY}"
        )
    return address, model


def _reason(error: Any) -> str:
    """Return what a server says with a status."""
    said = error.body.get("message", error.body) if isinstance(error.body, dict) else error.body
    return " ".join(str(said or error).split())[:160]


def _short(model: str) -> str:
    """Return what a model is called in records: a folder or file by its last part."""
    from pathlib import PureWindowsPath  # noqa: PLC0415

    path = PureWindowsPath(model)
    return path.name if path.is_absolute() or model.startswith("/") else called(model)


def _share(texts: Sequence[str]) -> SampledChance:
    """Return the share of yes among answers; a half where none says either."""
    said = [opinion for text in texts if (opinion := chat.opinion(text)) is not None]
    return SampledChance(sum(said) / len(said) if said else 0.5)
