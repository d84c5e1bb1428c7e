"""A sentence as clauses of words, numbers and names that its evidence knows."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from atlas.explain.narrative.lexicon import LIGHT, VOCABULARY
from atlas.explain.narrative.phrases import quoted
from atlas.store.evidence import Concept, Context, Evidence, Guess

Kind = Literal["word", "number", "name", "break"]


@dataclass(frozen=True)
class Names:
    """What one name may stand for."""

    concepts: tuple[Concept, ...] = ()
    guesses: tuple[Guess, ...] = ()
    channels: tuple[str, ...] = ()
    """Addresses of lower channels that feed a concept."""
    layer: str | None = None
    context: Context | None = None

    def joined(self, other: "Names") -> "Names":
        """Return both."""
        return Names(
            self.concepts + tuple(one for one in other.concepts if one not in self.concepts),
            self.guesses + tuple(one for one in other.guesses if one not in self.guesses),
            self.channels + tuple(one for one in other.channels if one not in self.channels),
            self.layer or other.layer,
            self.context or other.context,
        )


@dataclass(frozen=True)
class Token:
    """A word in lower case, a number, a name, or a break between clauses."""

    kind: Kind
    text: str
    names: Names = field(default_factory=Names)
    value: float = 0.0
    places: int = 0
    """Decimals that a number was written with."""
    per_cent: bool = False
    signed: bool = False


Clause = tuple[Token, ...]

_QUOTED = r"[“\"]([^”\"]*)[”\"]"
_NUMBER = r"([−+-]?)(\d[\d,]*(?:\.\d+)?)(?:(st|nd|rd|th)\b)?(\s*(?:%|percent\b|per cent\b))?"
_WORD = r"[^\W\d_]+(?:['’-][^\W\d_]+)*"
_BREAKS = {"but", "while", "whereas", "although", "though", "yet", "however"}


def known_names(evidence: Evidence) -> dict[str, Names]:
    """Return everything that can be named, by its text in lower case."""
    found: dict[str, Names] = {}

    def add(text: str | None, names: Names) -> None:
        if text:
            key = _key(text)
            found[key] = found[key].joined(names) if key in found else names

    for one in evidence.concepts:
        add(one.name, Names(concepts=(one,)))
        add(one.address, Names(concepts=(one,)))
    for flow in evidence.flow:
        for feed in flow.feeds:
            add(feed.name, Names(channels=(feed.address,)))
            add(feed.address, Names(channels=(feed.address,)))
    for guess in (evidence.target, *evidence.prediction):
        add(guess.name, Names(guesses=(guess,)))
    for effects in evidence.effects:
        for effect in effects.effects:
            other = Guess(effect.answer, effect.answer_name, 0, 0.0, 0.0)
            if not any(
                g.label == other.label for g in found.get(_key(other.name), Names()).guesses
            ):
                add(other.name, Names(guesses=(other,)))
    for layer in evidence.layers:
        add(layer.layer, Names(layer=layer.layer))
    for context in evidence.context:
        add(context.text, Names(context=context))
    return found


def read(text: str, known: Mapping[str, Names]) -> tuple[list[Clause], list[str]]:
    """Return the clauses of a sentence, and what is wrong with its words.

    Parameters
    ----------
    text : str
        The sentence.
    known : mapping
        From `known_names`.
    """
    problems: list[str] = []
    tokens = _with_addresses(list(_tokens(text, known, problems)), problems)
    return _clauses(tokens), problems


def _tokens(text: str, known: Mapping[str, Names], problems: list[str]) -> Iterator[Token]:
    # Names without quotation marks are found as well, unless they look like plain words.
    bare = [name for name in known if not all(word in VOCABULARY for word in name.split())]
    names = "|".join(re.escape(name) for name in sorted(bare, key=len, reverse=True)) or r"(?!)"
    pattern = re.compile(
        rf"{_QUOTED}|(?<![\w.:])({names})(?![\w:]|\.\w)|{_NUMBER}|({_WORD})|([,;:.()?!—–])",
        re.IGNORECASE,
    )
    at = 0
    for match in pattern.finditer(text):
        between = text[at : match.start()].strip()
        if between:
            problems.append(f"{between!r} cannot be read")
        at = match.end()
        quotation, name, sign, number, _, per_cent, word, _ = match.groups()
        if quotation is not None or name is not None:
            said = quotation if name is None else name
            if _key(said) in known:
                yield Token("name", said, known[_key(said)])
            else:
                problems.append(f"{quoted(said)} is not in the evidence")
        elif number is not None:
            digits = number.replace(",", "")
            places = len(digits.partition(".")[2])
            value = float(digits) * (-1 if sign in ("−", "-") else 1)
            yield Token("number", match[0].strip(), value=value,
                        places=places, per_cent=bool(per_cent), signed=bool(sign))  # fmt: skip
        elif word is not None:
            yield _word(word, problems)
        else:
            yield Token("break", match[0])
    if text[at:].strip():
        problems.append(f"{text[at:].strip()!r} cannot be read")


def _word(word: str, problems: list[str]) -> Token:
    lower = word.lower().replace("’", "'").removesuffix("'s")
    if lower not in VOCABULARY:
        problems.append(f"{word!r} is not a word that can be checked")
    return Token("break" if lower in _BREAKS else "word", lower)


def _with_addresses(tokens: list[Token], problems: list[str]) -> list[Token]:
    """Make one name of a name and the address in brackets behind it."""
    result: list[Token] = []
    at = 0
    while at < len(tokens):
        token, following = tokens[at], tokens[at + 1 : at + 4]
        kinds = [(one.kind, one.text if one.kind == "break" else "") for one in following]
        if token.kind == "name" and kinds == [("break", "("), ("name", ""), ("break", ")")]:
            inner = following[1].names
            concepts = tuple(one for one in token.names.concepts if one in inner.concepts)
            channels = tuple(one for one in token.names.channels if one in inner.channels)
            if not concepts and not channels:
                problems.append(f"{following[1].text} is not {quoted(token.text)}")
            token = Token("name", token.text, Names(concepts=concepts, channels=channels))
            at += 3
        result.append(token)
        at += 1
    return result


def _clauses(tokens: list[Token]) -> list[Clause]:
    """Split at breaks; a part that says nothing by itself belongs to its neighbour."""
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.kind == "break":
            parts.append([])
        else:
            parts[-1].append(token)
    clauses: list[list[Token]] = []
    waiting: list[Token] = []
    for part in filter(None, parts):
        if any(token.kind == "word" and token.text not in LIGHT for token in part):
            clauses.append(waiting + part)
            waiting = []
        elif clauses:
            clauses[-1] += part
        else:
            waiting += part
    if waiting:
        clauses.append(waiting)
    return [tuple(clause) for clause in clauses]


def _key(text: str) -> str:
    return quoted(text)[1:-1].lower()
