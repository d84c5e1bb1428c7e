"""What explanations need of models: one that answers, and one that judges."""

from collections.abc import Sequence
from typing import Protocol

from atlas.vlm import Request


class AnsweringModel(Protocol):
    """A model that answers in words; `atlas.vlm.Vlm` is one."""

    @property
    def id(self) -> str:
        """Name of the model."""

    def ask(self, requests: Sequence[Request]) -> list[str]:
        """Return the answer to each request."""


class Judge(Protocol):
    """A model that says yes or no; `atlas.vlm.Vlm` is one."""

    def yes(self, requests: Sequence[Request]) -> list[float]:
        """Return the probability of yes, against no, for each request."""
