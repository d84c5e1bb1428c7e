"""What a vision-language model answered, made into a name: tolerant, and never inventing.

Thinking is no answer, nor is what the question itself says. Of several objects the last one
counts. An answer that cannot be used is no name, and the record says why. Models' words are
untrusted: they are taken as text, freed of control characters, and everything that shows them
escapes them.
"""

import html
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from atlas import prompts
from atlas.naming import loose
from atlas.naming.wording import Role, confidence, denies, plain, role, says_nothing
from atlas.store.names import Status
from atlas.vlm import CutOff

MOST_WORDS = 5
LONGEST_NAME = 60
LONGEST_DESCRIPTION = 400

PARTS = 3
"""Name, description and confidence."""

CUT = "cut off before its end"
CUT_THINKING = "cut off while thinking"
"""The problems of an answer that lacked room."""

_UNREADABLE = "its object cannot be read"
_REPEATS = "it repeats the question"

_THINK = "think|thinking|thoughts?|reasoning|reflection|analysis|scratchpad|seed:think"
_OPENS = rf"[<◁](?:{_THINK})(?:\s[^<>]{{0,60}})?[>▷]|\[THINK\]|<\|begin_of_thought\|>"
_OPENS += r"|<\|channel\|>analysis<\|message\|>"
_ENDS = rf"[<◁]/(?:{_THINK})[>▷]|\[/THINK\]|<\|end_of_thought\|>|<\|channel\|>final<\|message\|>"
_THOUGHT = re.compile(rf"(?P<opens>{_OPENS})|(?:{_ENDS})", re.I)
_TOKEN = re.compile(r"<\|[^|<>\s]{1,40}\|>|</s>|<(?:start|end)_of_turn>|<eos>|\[/?INST\]")
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.M)
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_OBJECT = re.compile(r"""\{\s*(?:\\?["'“*]+)?[^\W\d][\w ]{0,40}(?:\\?["'”*]+)?\s*[:=]""")
_NAKED = re.compile(r"""["'“`]?\b([^\W\d][\w ]{0,40})["'”`]\s*[:=：]\s*(?:["'“`]|null|None)""")
_TAG = re.compile(r"<(/?)([A-Za-z][\w-]*)[^<>]*>")
_BLOCKS = {"br", "p", "li", "ul", "ol", "div", "tr", "td", "h1", "h2", "h3", "h4", "answer"}
_LINE = re.compile(r"[\W\d_]{0,20}([^\W\d_][\w -]{0,40}?)[*_\"'` ]{0,6}(?::|=|：|–|—|->)(.*)")
_NEXT_PART = re.compile(r"(?:[,;|]\s?|\s(?=\*\*))(?=\s?\**([^\W\d_][\w ]{0,40}?)\**\s?\**[:=：])")
_HEADING = re.compile(r"\s*(?:#+\s*\**|\*\*)([^\W\d][\w ]{0,40}?)\**\s*")
_LEFT = re.compile(
    r"""["”]\s*[:=]|["'“”]\s*,\s*["'“”]|["'“](?:name|description|confidence)\b""", re.I
)

_HOLDER = re.compile(r"[<\[][^<>\[\]]*[>\]]|[.…]+")
_HOLDERS = {"string", "str", "text", "name", "description"}
"""What stands in place of an answer where a form is repeated."""

_Fields = Mapping[Role, Any]


@dataclass(frozen=True)
class Answer:
    """What was understood of an answer."""

    status: Status
    name: str | None = None
    description: str | None = None
    confidence: float | None = None
    problem: str | None = None
    """Why the answer is unusable."""


class _CannotBeReadError(ValueError):
    """Says why."""


def parse(raw: str, question: str | None = None) -> Answer:
    """Understand an answer: the last object in it, or lines such as `name: ...`.

    Parameters
    ----------
    raw : str
        The answer as it came, of any length; a `CutOff` if it lacked room.
    question : str, optional
        What was asked: its form and its examples are no answers. Unless given, the prompt
        `patches`.
    """
    if question is None:
        question = prompts.naming("patches", "dimmed", "separate", 9, 0).text
    try:
        fields = _fields(raw, _examples(question))
    except _CannotBeReadError as problem:
        return Answer("unnamed", problem=str(problem))
    return _answer(fields)


def _answer(fields: _Fields) -> Answer:
    """Judge the name of an answer that could be read."""
    name = fields["name"]
    description = plain(fields.get("description"))[:LONGEST_DESCRIPTION].strip() or None
    sure = confidence(fields.get("confidence"))
    if name is None or (isinstance(name, str) and says_nothing(name)):
        return Answer("no clear concept", None, description, sure)
    if not isinstance(name, str):
        return Answer("unnamed", problem="the name is no text")
    name = plain(name)
    problem = ""
    if _LEFT.search(name):
        problem = "the name holds other parts of the answer"
    elif not any(unicodedata.category(letter)[0] in "LN" for letter in name):
        problem = "the name has no letters"
    elif len(name.split()) > MOST_WORDS:
        problem = f"the name is longer than {MOST_WORDS} words"
    elif len(name) > LONGEST_NAME:
        problem = f"the name is longer than {LONGEST_NAME} characters"
    if problem:
        return Answer("unnamed", problem=problem)
    return Answer("named", name, description, sure)


def _fields(raw: str, examples: "_Examples") -> _Fields:
    """Return what the answer says of each part.

    Raises
    ------
    _CannotBeReadError
        There is no name, or not the whole of it.
    """
    text = _visible(raw)
    if not text.strip():
        raise _CannotBeReadError("empty")
    text, thinks = _without_thinking(text)
    text = _TOKEN.sub("\n", text)
    cut_off = isinstance(raw, CutOff) or len(_FENCE.findall(text)) % 2 == 1
    reasons = []
    # Quotes that were escaped once more are tried as they stand first.
    for variant in dict.fromkeys((text, text.replace('\\"', '"'), html.unescape(text))):
        found = _read(variant, examples, cut_off=cut_off)
        if not isinstance(found, str):
            return found
        reasons.append(found)
    if thinks:
        raise _CannotBeReadError(CUT_THINKING)
    for reason in (_REPEATS, _UNREADABLE):
        if reason in reasons:
            raise _CannotBeReadError(reason)
    if cut_off or re.fullmatch(r"\s*`{1,3}\w*\s*", text):
        raise _CannotBeReadError(CUT)
    if plain(text) and denies(text.strip().strip("`").removeprefix("json")):
        return {"name": None}
    raise _CannotBeReadError("no name in it")


def _read(text: str, examples: "_Examples", *, cut_off: bool) -> _Fields | str:
    """Return the parts of the answer that counts, or why there is none.

    Raises
    ------
    _CannotBeReadError
        It is cut off.
    """
    read = loose.objects(text)
    rest = _rest(text, read)
    every = [
        (fields, text[slice(*span)])
        for value, span in zip(read.found, read.spans, strict=True)
        for fields in _named(value)
    ]
    own = [(fields, source) for fields, source in every if not examples.have(fields)]
    known = [source for _, source in every] + list(examples.sources)
    if read.cut is not None and not (own and _repeats(text[read.cut :], known)):
        raise _CannotBeReadError(CUT)
    if own:
        return own[-1][0]
    if _OBJECT.search(rest):
        return _UNREADABLE
    found = _naked(rest, cut_off=cut_off) or _lines(rest, cut_off=cut_off)
    if found and not examples.have(found):
        return found
    return _REPEATS if found or every else ""


def _visible(raw: str) -> str:
    """Return a text without what nobody sees: marks of byte order, colours of terminals."""
    kept = (
        letter
        if letter in "\n\t"
        else {"Cc": " ", "Zs": " ", "Zl": "\n", "Zp": "\n", "Cf": ""}.get(
            unicodedata.category(letter), letter
        )
        for letter in _ESCAPE.sub("", raw.replace("\r\n", "\n"))
    )
    return "".join(kept)


def _without_thinking(text: str) -> tuple[str, bool]:
    """Return the text without thoughts, and whether one goes on to its end.

    A thought that ends without having begun began in the question.
    """
    kept: list[str] = []
    at, thinks = 0, False
    for found in _THOUGHT.finditer(text):
        if found["opens"]:
            line = text[text.rfind("\n", 0, found.start()) + 1 : found.start()]
            if thinks or line.count('"') % 2:  # in a text of the answer
                continue
            kept.append(text[at : found.start()])
        elif not thinks:
            kept.clear()
        at, thinks = found.end(), bool(found["opens"])
    return "\n".join(kept if thinks else [*kept, text[at:]]), thinks


def _named(value: Any) -> Iterator[dict[Role, Any]]:
    """Yield the parts of the outermost answers that an object holds."""
    if isinstance(value, str):
        if "{" in value:
            for inner in loose.objects(value).found:
                yield from _named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner)
    elif isinstance(value, dict):
        for key in ("arguments", "parameters"):  # of a call of a tool, which has a name itself
            if isinstance(value.get(key), dict) and "name" in value:
                yield from _named(value[key])
                return
        fields: dict[Role, Any] = {}
        for key, inner in value.items():
            meant = role(key)
            if meant and (meant not in fields or plain(key).casefold() == meant):
                fields[meant] = inner
        if "name" in fields:
            yield fields
            return
        for inner in value.values():
            yield from _named(inner)


def _rest(text: str, read: loose.Objects) -> str:
    """Return what stands outside the objects."""
    parts, at = [], 0
    for start, end in read.spans:
        parts.append(text[at:start])
        at = end
    return "\n".join([*parts, text[at : read.cut]])


def _repeats(begun: str, known: Sequence[str]) -> bool:
    """Say whether an object that was begun is one of the known ones so far."""
    short = "".join(begun.split())
    return any("".join(one.split()).startswith(short) for one in known)


def _naked(text: str, *, cut_off: bool) -> dict[Role, Any] | None:
    """Return the parts of an answer that has keys in quotes and no braces."""
    for found in _NAKED.finditer(text):
        if role(found[1]) == "name":
            start = found.start(1) - (found.start(1) > found.start())
            quoted = text if start < found.start(1) else f'{text[:start]}"{text[start:]}'
            try:
                fields = next(_named(loose.pairs(quoted, start)), None)
            except loose.CutError:
                raise _CannotBeReadError(CUT) from None
            except loose.BrokenError:
                raise _CannotBeReadError(_UNREADABLE) from None
            if cut_off and fields and len(fields) < PARTS:
                raise _CannotBeReadError(CUT)
            return fields
    return None


def _lines(text: str, *, cut_off: bool) -> dict[Role, Any] | None:
    """Return the parts of an answer in lines: YAML, Markdown, HTML."""
    lines = [line for line in _untagged(text).split("\n") if line.strip(" -*`~>")]
    if cut_off:
        lines = lines[:-1]
    fields: dict[Role, Any] = {}
    for number, line in enumerate(lines):
        meant, value = _keyed(line)
        if meant is None:
            continue
        if not value or value in (">", "|", ">-", "|-"):
            value = lines[number + 1] if number + 1 < len(lines) else ""
            if _keyed(value)[0]:
                value = ""
            if meant == "name" and not value.strip():
                raise _CannotBeReadError(CUT)
        if meant == "name":
            fields = {}
        fields.setdefault(meant, _value(value))
    if cut_off and fields and len(fields) < PARTS:
        raise _CannotBeReadError(CUT)
    return fields if "name" in fields else None


def _keyed(line: str) -> tuple[Role | None, str]:
    """Return what a line says of which part; a heading says it in the next one."""
    if found := _HEADING.fullmatch(line):
        return role(found[1]), ""
    if (found := _LINE.match(line)) and (meant := role(found[1])):
        return meant, found[2].strip(" *_")
    return None, ""


def _value(text: str) -> Any:
    """Return the value of a line, which may stand in quotes."""
    text = text.strip(" *_`").rstrip(",;").strip()
    quote = text[:1] if text[:1] in ("'", '"') else '"'
    if len(text) > 1 and text[0] == text[-1] == quote:
        return text[1:-1]
    if text.count(quote) % 2:
        raise _CannotBeReadError(CUT)
    return None if text == "~" else text


def _untagged(text: str) -> str:
    """Return the text with a line for each part, which a tag may have named, and no tags."""

    def line(found: re.Match[str]) -> str:
        meant = role(found[2])
        known = meant and f"</{found[2]}>" in text
        if meant and not found[1] and not known and not found[0].endswith("/>"):
            raise _CannotBeReadError(CUT)
        if meant and not found[1]:
            return f"\n{meant}: "
        return "\n" if meant or found[2].lower() in _BLOCKS else ""

    parted = _TAG.sub(line, text)
    return _NEXT_PART.sub(lambda found: "\n" if role(found[1]) else found[0], parted)


@dataclass(frozen=True)
class _Examples:
    """What a question says itself."""

    examples: frozenset[tuple[str, str]]
    """Name and description of each example."""
    sources: tuple[str, ...]
    """Each example as it stands there."""
    forms: tuple[str, ...]
    """What stands in place of the name where the form of answers is described."""

    def have(self, fields: _Fields) -> bool:
        """Say whether an answer repeats an example or the form."""
        given = fields["name"]
        name, description = pair = _pair(fields)
        return (
            pair in self.examples
            or (isinstance(given, str) and bool(_HOLDER.fullmatch(given.strip())))
            or (name in _HOLDERS and description in _HOLDERS)
            or (len(name.split()) > 1 and any(form.startswith(name) for form in self.forms))
        )


@lru_cache
def _examples(question: str) -> _Examples:
    read = loose.objects(question)
    found = [fields for value in read.found for fields in _named(value)]
    pairs = [_pair(fields) for fields in found]
    forms = tuple(name for name, _ in pairs if len(name.split()) > MOST_WORDS)
    sources = tuple(question[start:end] for start, end in read.spans)
    return _Examples(frozenset(pairs), sources, forms)


def _pair(fields: _Fields) -> tuple[str, str]:
    name = fields["name"]
    given = "null" if name is None else plain(name)
    return given.casefold(), plain(fields.get("description")).casefold()
