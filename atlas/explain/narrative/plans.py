"""What a model chose of a numbered menu, whatever form its answer has.

An answer can only choose: numbers of the menu are looked for, and everything else is passed over.
So nothing that a model writes can make a sentence false.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

Plan = tuple[tuple[int, ...], ...]
"""Numbers of the menu by sentence, in order."""

LONGEST = 20_000
"""Characters of an answer that are looked at."""

_NUMBER = r"(?<![\d.])\d{1,4}(?!\d|\.\d|\s*%)"
_BRACKETED = re.compile(r"[\[(]\s*\d{1,4}(?:\s*[,+&]\s*\d{1,4})*\s*[\])]")
_MARKER = re.compile(r"(?:answer|plan|order|selection)\s*(?:is)?\s*[:=]", re.IGNORECASE)
_FENCE = re.compile(r"```\w*\s*(.*?)```", re.DOTALL)
_TAG = re.compile(r"<\|[^|>]*\|>|</?[a-z]{1,12}>", re.IGNORECASE)
_ENUMERATED = re.compile(rf"\s*\d+[.)]\s+(?=\W*{_NUMBER})")
_LEADING = re.compile(rf"\W*({_NUMBER})[.):\]]?\s+[^\W\d]")


def read(answer: str, most: int) -> tuple[Plan, int]:
    """Read what an answer chooses.

    Parameters
    ----------
    answer : str
        Whatever the model wrote.
    most : int
        The last number of the menu, which begins with 1.

    Returns
    -------
    tuple of tuples of int
        The numbers that are in the menu, each once, by sentence.
    int
        How many others there were.
    """
    seen: set[int] = set()
    plan, strange = [], 0
    for group in _groups(cleaned(answer)):
        strange += sum(not 1 <= number <= most for number in group)
        own = [one for one in dict.fromkeys(group) if 1 <= one <= most and one not in seen]
        seen.update(own)
        if own:
            plan.append(tuple(own))
    return tuple(plan), strange


def cleaned(answer: str) -> str:
    """Return an answer without thinking, tags and fences; of several blocks the last."""
    text = unicodedata.normalize("NFKC", answer[:LONGEST])
    text = text.rpartition("</think>")[2].partition("<think>")[0]
    text = _TAG.sub(" ", text)
    blocks = _FENCE.findall(text)
    text = blocks[-1] if blocks else text
    marks = [mark.end() for mark in _MARKER.finditer(text)]
    tails = [text[end:] for end in reversed(marks) if re.search(r"\d", text[end:])]
    if blocks or not tails:
        return text
    first = tails[0].strip("* \n").partition("\n\n")[0]
    return first if re.fullmatch(r"[\W\d]*\d[\W\d]*", first) else tails[0]


def _groups(text: str) -> Iterator[list[int]]:
    """Yield the numbers of an answer by sentence."""
    value = _json(text.strip())
    if value is not None:
        yield from _from_json(value)
        return
    brackets = list(_BRACKETED.finditer(text))
    bare = _BRACKETED.sub(" ", text)
    if brackets and not re.fullmatch(r"[\W\d]*\d[\W\d]*", bare):
        yield from _bracketed(text, brackets)
        return
    lines = [line for line in text.splitlines() if re.search(r"\d", line)]
    enumerated = len(lines) > 1 and all(_ENUMERATED.match(line) for line in lines)
    for line in lines:
        yield from _line(_ENUMERATED.sub("", line, count=1) if enumerated else line)


def _json(text: str) -> Any:
    """Return the JSON value that a text is, perhaps cut off or with Python's quotes; else None."""
    begin = re.match(r"[\[{]", text)
    if begin is None:
        return None
    text = re.sub(r",\s*([\]}])", r"\1", text.replace("'", '"'))
    closers = "".join({"[": "]", "{": "}"}[one] for one in reversed(_open(text)[:20]))
    for attempt in (text, text + closers):
        try:
            return json.loads(attempt)
        except (ValueError, RecursionError):
            continue
    return None


def _open(text: str) -> list[str]:
    """Return the brackets that a text leaves open."""
    stack: list[str] = []
    for one in text:
        if one in "[{":
            stack.append(one)
        elif one in "]}" and stack:
            stack.pop()
    return stack


def _from_json(value: Any) -> Iterator[list[int]]:
    if isinstance(value, dict):
        value = next((one for one in value.values() if isinstance(one, list | str)), [])
    if isinstance(value, str):
        yield from _groups(value)
        return
    for item in value if isinstance(value, list) else []:
        found = list(_integers(item))
        if found:
            yield found


def _integers(value: Any, depth: int = 0) -> Iterator[int]:
    if isinstance(value, bool) or depth > 3:
        return
    if isinstance(value, int):
        yield value
    elif isinstance(value, str) and re.fullmatch(r"\W*\d{1,4}\W*", value):
        yield int(re.sub(r"\D", "", value))
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _integers(one, depth + 1)


def _bracketed(text: str, brackets: list[re.Match[str]]) -> Iterator[list[int]]:
    """Yield what stands in brackets; `[1]+[4]` and `[1+4]` are one sentence, `[1, 4]` two."""
    group: list[int] = []
    before = 0
    for match in brackets:
        if group and text[before : match.start()].strip() not in ("+", "&"):
            yield group
            group = []
        numbers = [int(number) for number in re.findall(r"\d+", match[0])]
        if "," in match[0] and len(brackets) == 1:
            yield from ([number] for number in numbers)
        else:
            group += numbers
        before = match.end()
    if group:
        yield group


def _line(line: str) -> Iterator[list[int]]:
    """Yield the numbers of a line: of a sentence behind its number only that one."""
    if "|" in line:
        line = line.strip().strip("|").rpartition("|")[2]
    if leading := _LEADING.match(line):
        rest = line[leading.end() :]
        if not re.search(rf"{_NUMBER}", re.sub(r"“[^”]*”", "", rest)) or "%" in rest:
            yield [int(leading[1])]
            return
    group: list[int] = []
    before = 0
    for match in re.finditer(_NUMBER, line):
        between = line[before : match.start()].strip(" []")
        if group and between not in ("+", "&") and not _nested(line, before, match.start()):
            yield group
            group = []
        group.append(int(match[0]))
        before = match.end()
    if group:
        yield group


def _nested(line: str, before: int, after: int) -> bool:
    """Return whether two numbers stand in one pair of round brackets beside others."""
    opened = line.rfind("(", 0, before)
    inside = opened >= 0 and ")" not in line[opened:after]
    return inside and line[before:after].strip() == ","
