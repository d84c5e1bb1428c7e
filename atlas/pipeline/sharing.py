"""One model in each of several processes, which share the questions of a run.

`accelerate launch` or `torchrun` starts them. The first one knows the atlas and asks; the others
only answer what they are handed: texts and pixels, and nothing that could be run.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from atlas.errors import one_line
from atlas.prepass import processes
from atlas.prepass.processes import Team
from atlas.vlm import CutOff, Loading, Request, Vlm
from atlas.vlm.chat import Kind

_HEAD = 8  # bytes that say how long the description is which stands before the pixels

_T = TypeVar("_T", str, float)


class Shared:
    """A model that runs in every process; the first one asks it.

    Parameters
    ----------
    vlm : Vlm
        The model of this process.
    team : Team
        All of them.
    """

    def __init__(self, vlm: Vlm, team: Team) -> None:
        self.id, self.revision, self.decoding = vlm.id, vlm.revision, vlm.decoding
        self._vlm = vlm
        self._team = team

    @property
    def facts(self) -> Mapping[str, Any]:
        """What records say of who answered."""
        return self._vlm.facts

    def ask(self, requests: Sequence[Request]) -> list[str]:
        """Return the answer to each question."""
        return self._all("words", requests, self._vlm.ask, _text)

    def yes(self, requests: Sequence[Request]) -> list[float]:
        """Return the probability of yes for each question."""
        return self._all("yes", requests, self._vlm.yes, float)

    def end(self) -> None:
        """Let the other processes end."""
        self._team.hand_out([b""] * self._team.size)

    def _all(
        self,
        kind: Kind,
        requests: Sequence[Request],
        ask: Callable[[Sequence[Request]], list[_T]],
        read: Callable[[Any], _T],
    ) -> list[_T]:
        size = self._team.size
        self._team.hand_out([packed(kind, requests[rank::size]) for rank in range(size)])
        own, problem = _tried(ask, requests[::size])
        replies = [json.loads(part) for part in self._team.collect(json.dumps([]).encode())]
        if problem is not None:
            raise problem
        failed = next((part["error"] for part in replies[1:] if isinstance(part, dict)), None)
        if failed is not None:
            raise RuntimeError(f"in another process: {failed}")
        answers: list[_T | None] = [None] * len(requests)
        answers[::size] = own
        for rank in range(1, size):
            answers[rank::size] = [read(answer) for answer in replies[rank]]
        return [answer for answer in answers if answer is not None]


def loaded_here(loading: Loading, team: Team) -> Loading:
    """Return how the model is loaded in this process: on a GPU of its own, if there are several."""
    return replace(loading, device=processes.device(loading.device)) if team.size > 1 else loading


def answer_others(vlm: Vlm, team: Team) -> None:
    """Answer what the first process hands out, until it ends."""
    while part := team.hand_out([]):
        kind, requests = unpacked(part)
        ask: Callable[[Sequence[Request]], list[Any]] = vlm.yes if kind == "yes" else vlm.ask
        answers, problem = _tried(ask, requests)
        replies: Any = [
            {"cut_off": str(answer)} if isinstance(answer, CutOff) else answer for answer in answers
        ]
        if problem is not None:
            replies = {"error": one_line(problem)}
        team.collect(json.dumps(replies).encode())


def packed(kind: Kind, requests: Sequence[Request]) -> bytes:
    """Return questions as bytes: their description as JSON, then the pixels of all pictures."""
    pictures = [image.convert("RGB") for request in requests for image in request.images]
    about = {
        "kind": kind,
        "texts": [request.text for request in requests],
        "counts": [len(request.images) for request in requests],
        "sizes": [picture.size for picture in pictures],
    }
    head = json.dumps(about).encode()
    pixels = b"".join(picture.tobytes() for picture in pictures)
    return len(head).to_bytes(_HEAD, "big") + head + pixels


def unpacked(content: bytes) -> tuple[Kind, list[Request]]:
    """Return the questions that `packed` made bytes of."""
    at = _HEAD + int.from_bytes(content[:_HEAD], "big")
    about = json.loads(content[_HEAD:at])
    pictures = []
    for width, height in about["sizes"]:
        end = at + width * height * 3
        pixels = np.frombuffer(content[at:end], np.uint8).reshape(height, width, 3)
        pictures.append(Image.fromarray(pixels))
        at = end
    left = iter(pictures)
    requests = [
        Request([next(left) for _ in range(count)], text)
        for text, count in zip(about["texts"], about["counts"], strict=True)
    ]
    return about["kind"], requests


def _tried(
    ask: Callable[[Sequence[Request]], list[_T]], requests: Sequence[Request]
) -> tuple[list[_T], Exception | None]:
    """Return answers, or what went wrong: the other processes wait for either."""
    try:
        return ask(requests) if requests else [], None
    except Exception as error:  # whatever a model raises
        return [], error


def _text(answer: Any) -> str:
    return CutOff(answer["cut_off"]) if isinstance(answer, dict) else str(answer)
