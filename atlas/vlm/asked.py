"""What is asked of a vision-language model, and what an answer can be, wherever the model runs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal, Protocol

from PIL import Image

from atlas.errors import UserError, one_line

DEMO = "demo/vlm"
"""Stands for the small model that ships with the package."""

ANSWER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"anyOf": [{"type": "string", "maxLength": 60}, {"type": "null"}]},
        "description": {"anyOf": [{"type": "string", "maxLength": 400}, {"type": "null"}]},
        "confidence": {"anyOf": [{"type": "number"}, {"type": "null"}]},
    },
    "required": ["name", "description", "confidence"],
    "additionalProperties": False,
}
"""JSON schema of the answers that constrained decoding lets through."""


@dataclass(frozen=True)
class Request:
    """One question about pictures, which come first."""

    images: Sequence[Image.Image]
    text: str
    menu: int = 0
    """Where only numbers from 1 to this are an answer; models that can give no other then."""


class CutOff(str):
    """An answer that ended because `max_tokens` was reached."""

    __slots__ = ()


class Failed(str):
    """No answer: the model cannot take this question, and would not another time; it says why."""

    __slots__ = ()


class Unanswered(str):
    """No answer yet: the question waits in a file for somebody to answer it."""

    __slots__ = ()


UNKNOWN = float("nan")
"""The probability of yes where the question is not answered yet."""


class SampledChance(float):
    """A share of yes among answers, where the model does not tell the probability of its words."""

    __slots__ = ()


class Vlm(Protocol):
    """What stages need of a vision-language model."""

    id: str
    """Name on the Hub, of the local folder, or at the server."""
    revision: str | None
    """Commit of the model, as far as it is known."""
    decoding: dict[str, Any]
    """How answers are generated."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What records say besides of who answered: `server`, where there is one."""

    def ask(self, requests: Sequence[Request]) -> list[str]:
        """Return the answer to each question.

        It is a `CutOff` where it lacked room, and may be `Failed` or `Unanswered`.
        """

    def yes(self, requests: Sequence[Request]) -> list[float]:
        """Return the probability of yes, against no, as the first word of each answer.

        It is `SampledChance` where only answers are known, and `UNKNOWN` where none is.
        """


@dataclass(frozen=True)
class Loading:
    """Which model, and how it is loaded; the fields are those of the recipe's `[naming]`."""

    name: str
    revision: str = ""
    dtype: str = "auto"
    device: str = "auto"
    quantization: Literal["none", "8bit", "4bit"] = "none"
    batch_size: int = 16
    max_tokens: int = 160
    constrained: bool = False
    setting: str = "naming.vlm"
    """Where a recipe names the model: what is to be mended where it is not there."""

    @property
    def sort(self) -> str:
        """What kind of model is wanted: texts are written and judged without eyes too."""
        blind = self.setting in ("explain.writer", "explain.judge")
        return "language model" if blind else "image-text-to-text model"

    def missing(self, error: Exception) -> UserError:
        """Return the error about a model that cannot be loaded."""
        return UserError(
            f"the {self.sort} {self.name!r} cannot be loaded ({_without_addresses(error)}): give a "
            f"local folder, or the name of one on the Hub that can be reached, with --set "
            f"{self.setting}=NAME"
        )


def _without_addresses(error: Exception) -> str:
    """Return what an error says before it gives general advice, with addresses of pages."""
    sentences = re.split(r"(?<=[.!?]) ", one_line(error))
    said = " ".join(takewhile(lambda sentence: "://" not in sentence, sentences))
    return shorten(said or type(error).__name__, 200, placeholder=" …")


def decoding(loading: Loading) -> dict[str, Any]:
    """Return what records say of how answers are generated: the same wherever the model runs."""
    known: dict[str, Any] = {"greedy": True, "max_tokens": loading.max_tokens}
    return {**known, "constrained": True} if loading.constrained else known


def called(name: str) -> str:
    """Return what a model is called in records: a folder by its last part, not by its path."""
    return Path(name).resolve().name if Path(name).is_dir() else name
