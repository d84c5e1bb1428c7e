"""What a language model is asked: which claims, in which order, and how else to put them."""

from collections.abc import Sequence

from atlas.store.claims import Audience, Claim

VERSION = 3

_READERS: dict[Audience, str] = {
    "everyone": "somebody who has never heard of neural networks. Take 4 to 8 of them: what the "
    "network answers, what that rests on, what would change it, and what to doubt",
    "expert": "a machine learning researcher. Take 8 to 15 of them, findings first, doubts last",
}

_MENU = """\
These numbered statements are all that is known of how a neural network came to its answer for one \
picture. Put together a text for {reader}.

{menu}

Answer with their numbers in the order of the text, separated by commas, and nothing else. Two \
that say the same kind of thing may share a sentence: join them by +. For example: {example}"""

_REPHRASE = """\
Say this in other words for {reader}. It must mean exactly the same: nothing added, nothing left \
out. Keep every placeholder in curly brackets exactly as it is, once, and use no other names, \
numbers or quotation marks. Answer with the sentence and nothing else.

{text}"""

_SAME = """\
A: {one}
B: {other}
Letters in square brackets stand for names and numbers. Does B say anything that A does not say? \
Answer yes or no."""


def menu(claims: Sequence[Claim], audience: Audience) -> str:
    """Return the question which claims a text should make."""
    lines = [f"[{n}] {one.wordings[audience].sentence}" for n, one in enumerate(claims, 1)]
    example = "1, 4+3, 2" if len(lines) > 3 else "1"
    return _MENU.format(reader=_READERS[audience], menu="\n".join(lines), example=example)


def rephrase(text: str, audience: Audience) -> str:
    """Return the question for other words for a claim, with its placeholders."""
    return _REPHRASE.format(reader=_READERS[audience].partition(".")[0], text=text)


def says_more(one: str, other: str) -> str:
    """Return the question whether a sentence says more than another, names masked."""
    return _SAME.format(one=one, other=other)
