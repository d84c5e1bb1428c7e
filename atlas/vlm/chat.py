"""Questions and answers in the chat-completions form that servers and batch services share.

vLLM, llama.cpp, Ollama, LM Studio, `transformers serve` and hosted services read and write it:
https://platform.openai.com/docs/api-reference/chat.
"""

import base64
import hashlib
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

from atlas.vlm.asked import ANSWER, CutOff, Request

Kind = Literal["words", "yes"]
"""Whether an answer in words is wanted, or the probability that it begins with yes."""

LISTED = 20
"""Most probable first words that are asked for: as many as every server gives."""

_FORMS = {"yes": ("yes", "Yes"), "no": ("no", "No")}


@dataclass(frozen=True)
class Reply:
    """What stands in an answer.

    Attributes
    ----------
    text : str
        The words, a `CutOff` if they lacked room.
    chance : float or None
        Probability of yes against no as the first word, 0 to 1; None if it is not given.
    facts : mapping
        What the server says of itself: the model, and the fingerprint of its configuration.
    """

    text: str
    chance: float | None
    facts: Mapping[str, Any]


class NoReplyError(ValueError):
    """What came is no chat completion; it says why."""


def body(request: Request, kind: Kind, model: str, decoding: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request that asks a question.

    Parameters
    ----------
    request : Request
        The question; its pictures become data URIs (PNG, so that no pixel changes).
    kind : {'words', 'yes'}
        What is wanted of the answer.
    model : str
        What the server calls the model.
    decoding : mapping
        As a `Vlm` has it.
    """
    content: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": data_uri(image)}} for image in request.images
    ]
    content.append({"type": "text", "text": request.text})
    asked: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
    }
    if kind == "yes":
        return {**asked, "max_tokens": 1, "logprobs": True, "top_logprobs": LISTED}
    asked["max_tokens"] = decoding["max_tokens"]
    if request.menu:
        number = {"type": "integer", "minimum": 1, "maximum": request.menu}
        sentences = {"type": "array", "items": {"type": "array", "items": number}}
        plan: dict[str, Any] = {"type": "object", "properties": {"plan": sentences}}
        plan |= {"required": ["plan"], "additionalProperties": False}
        schema = {"name": "plan", "schema": plan, "strict": True}
        asked["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif decoding.get("constrained"):
        schema = {"name": "answer", "schema": ANSWER, "strict": True}
        asked["response_format"] = {"type": "json_schema", "json_schema": schema}
    return asked


def data_uri(image: Image.Image) -> str:
    """Return a picture as a `data:` address, without loss."""
    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def identity(
    request: Request, kind: Kind, model: str, revision: str | None, decoding: Mapping[str, Any]
) -> str:
    """Return what a question is called: the same text, pixels and model, and nothing else.

    An answer that carries it belongs to this question whatever became of the atlas since.
    """
    facts = [kind, model, revision, dict(decoding) if kind == "words" else None, request.text]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for image in request.images:
        pixels = image.convert("RGB")
        digest.update(repr(pixels.size).encode() + pixels.tobytes())
    return f"{kind}-{digest.hexdigest()[:40]}"


def read(answer: Any) -> Reply:
    """Read a chat completion.

    Raises
    ------
    NoReplyError
        It is none.
    """
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        content = message.get("content")
        end = choice.get("finish_reason")
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise NoReplyError("it has no choices with a message") from error
    if isinstance(content, list):  # of parts, as some services give them
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str | None):
        raise NoReplyError("its message is no text")
    text = (content or "").strip()
    facts = {
        key: answer[key][:200]
        for key in ("model", "system_fingerprint")
        if isinstance(answer.get(key), str) and answer[key]
    }
    return Reply(CutOff(text) if end == "length" else text, _chance(choice), facts)


def _chance(choice: Mapping[str, Any]) -> float | None:
    """Return P(yes) / (P(yes) + P(no)) of the first word, as far as it is given.

    It is a half where neither is among the most probable words.
    """
    try:
        first = choice["logprobs"]["content"][0]
        listed = first.get("top_logprobs") or [first]
        pairs = [(str(one["token"]), float(one["logprob"])) for one in listed]
    except (TypeError, KeyError, IndexError, AttributeError, ValueError):
        return None
    sums = {
        word: math.fsum(
            math.exp(min(value, 0.0)) for token, value in pairs if _begins(token, forms)
        )
        for word, forms in _FORMS.items()
    }
    both = sums["yes"] + sums["no"]
    return sums["yes"] / both if both > 0 else 0.5


def _begins(token: str, forms: tuple[str, ...]) -> bool:
    """Say whether a word begins with this token, whatever marks a space in it."""
    part = token.strip(" \u2581\u0120\n")
    return bool(part) and any(form.startswith(part) for form in forms)


def opinion(text: str) -> float | None:
    """Return 1 for an answer that begins with yes, 0 for one with no, None for another."""
    found = re.match(r"\W*(yes|no)\b", text, re.IGNORECASE)
    return None if found is None else float(found[1].lower() == "yes")
