"""Contextualisation: a vision-language model says where and how a concept shows in a picture.

(Kůr et al. 2025, LLEXICORP.) The name is given and stays what it is: naming is never mixed with
explaining. What the model says is not measured, and is shown as what somebody said.
"""

import re
from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from atlas.explain.drawing import over
from atlas.explain.models import AnsweringModel
from atlas.store.evidence import Concept, Context
from atlas.vlm import Failed, Request, Unanswered

LONGEST = 160
"""Characters that are kept of an answer."""

_QUESTION = """\
The first picture is a photograph. In the second, the places that a neural network used for the \
concept "{name}" are painted orange (blue where they speak against its answer).{description}
Does "{name}" show at these places? Begin with yes or no. If yes, go on with one short sentence \
that says where and how it shows here. Do not give it another name."""


def contextualise(
    view: Image.Image, concepts: Sequence[Concept], maps: Tensor, model: AnsweringModel
) -> tuple[Context | None, ...]:
    """Ask about every concept that has a name.

    Parameters
    ----------
    view : PIL.Image.Image
        What the network saw.
    concepts : sequence of Concept
        Those of an explanation.
    maps : Tensor
        (concepts, height, width), their heat maps.
    model : AnsweringModel
        Who is asked.

    Returns
    -------
    tuple of Context or None
        None for questions whose answer is still to come.
    """
    named = [(one, heat) for one, heat in zip(concepts, maps, strict=True) if one.name]
    requests = [
        Request(
            (view, over(view, heat)),
            _QUESTION.format(
                name=_plain(one.name or ""),
                description=f" {_plain(one.description)}" if one.description else "",
            ),
        )
        for one, heat in named
    ]
    answers = model.ask(requests) if requests else []
    return tuple(
        None
        if isinstance(answer, Unanswered)
        else Context(f"context:{one.id}", one.id, *parse(answer), model.id)
        for (one, _), answer in zip(named, answers, strict=True)
    )


def parse(answer: str) -> tuple[bool | None, str]:
    """Return whether the concept shows, and what was said of it on one line.

    An answer that begins with neither yes nor no says nothing, and neither does what a model says
    that cannot answer.
    """
    if isinstance(answer, Failed):
        return None, ""
    text = _plain(answer)
    match = re.match(r"\W*(yes|no)\b[\s,.:;–-]*", text, re.IGNORECASE)
    if match is None:
        return None, ""
    return match[1].lower() == "yes", text[match.end() :]


def _plain(text: str) -> str:
    """Return a text on one line, without control characters, clipped."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1].rstrip() + "…"
