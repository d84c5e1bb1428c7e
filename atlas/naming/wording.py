"""The words of answers: which key means what, what says "no concept", how sure is how much."""

import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Literal

from atlas.plain import plain as one_line

Role = Literal["name", "description", "confidence"]

_WORDS: Mapping[Role, str] = {
    "name": "name concept label feature nombre nom nome naam имя название 名称 名字 名前 이름",
    "description": "description explanation desc descripción descrição beschreibung descrizione "
    "описание 描述 説明 설명",
    "confidence": "confidence certainty score confianza confiança confiance konfidenz fiducia "
    "уверенность 置信度 信頼度",
}
_ROLES: Mapping[str, Role] = {
    word: role for role, words in _WORDS.items() for word in words.split()
}
_BEFORE = {
    "the",
    "a",
    "shared",
    "common",
    "short",
    "suggested",
    "proposed",
    "final",
    "main",
    "visual",
    "concept",
    "feature",
    "channel",
}
_AFTER = {"score", "level", "value", "rating"}

LONGEST_DENIAL = 200

_NOTHING = {
    "",
    "null",
    "none",
    "none identified",
    "n/a",
    "n.a",
    "na",
    "nan",
    "nil",
    "unclear",
    "unknown",
    "undefined",
    "unidentified",
    "indeterminate",
    "inconclusive",
    "ambiguous",
    "uncertain",
    "not sure",
    "not identifiable",
    "none of the above",
    "none of these",
    "various",
    "mixed",
    "miscellaneous",
    "unrelated",
    "unrelated images",
    "unrelated things",
    "varied",
    "diverse",
    "nothing",
    "nothing clear",
    "nothing in common",
    "nothing shared",
    "not applicable",
    "not clear",
    "keine",
    "kein",
    "keines",
    "aucun",
    "aucune",
    "ninguno",
    "ninguna",
    "nessuno",
    "nenhum",
    "нет",
    "无",
    "無",
    "没有",
    "なし",
    "없음",
}
_ADJECTIVE = (
    "clear|clearly|common|shared|single|specific|obvious|consistent|discernible|discernable|"
    "apparent|distinct|distinctive|particular|unifying|coherent|visible|identifiable|evident|"
    "recognizable|recognisable|meaningful|definite|strong|such|one|overall|visual|semantic"
)
_NOUN = (
    "concepts?|patterns?|features?|themes?|commonality|commonalities|similarity|similarities|"
    "connection|denominator|characteristics?|attributes?|property|properties|elements?|name"
)
_NO_CONCEPT = re.compile(
    r"(?:(?:there (?:is|are|(?:seems?|appears?) to be)|i (?:see|find)|the patches share) )?"
    r"(?:no|not|without|lack of|lacking|nothing) (?:an? |any |the )?"
    rf"(?:(?:(?:{_ADJECTIVE})(?:,|, and| and| or)? )*(?:concept|concepts|commonality|commonalities)"
    rf"|(?:(?:{_ADJECTIVE})(?:,|, and| and| or)? )+(?:{_NOUN}))\b"
    r"(?:[ ,;(].*)?"
    r"|(?:null|none|n/a|unclear|unknown)(?:\s*[(,;:–—]|\s-\s).*"
    rf"|(?:unclear|unknown|undefined) (?:{_NOUN})|(?:{_NOUN}) (?:is )?(?:not clear|unclear|unknown)"
    r"|(?:kein|keine|keinen) (?:klar|gemeinsam|eindeutig)\w* \w+"
    r"|(?:aucun concept|ningún concepto|nenhum conceito|nessun concetto)\b.*"
    r"|(?:没有|無|无)(?:明确|清晰|共同)?的?概念",
    re.S,
)
_CANNOT = re.compile(
    r"(?:i |we )?(?:cannot|can't|can not|could not|couldn't|unable to) (?:be )?"
    r"(?:tell|determined?|identif(?:y|ied)|say|see|discern(?:ed)?|named?)"
    rf"(?: (?:an? |any |the )?(?:(?:{_ADJECTIVE}) )*(?:{_NOUN}))?"
)
_BUT = re.compile(r"\b(?:but|however|although|though|except|most|instead|while)\b")

_MARKS = ("**", "**"), ("__", "__"), ("`", "`"), ('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’")

_SURE = re.compile(
    r"(?:~|≈|about|around|approximately)?\s*(\d+(?:[.,]\d+)?|\.\d+)(e-?\d{1,3})?\s*"
    r"(?:(%|percent)|(?:/|out of)\s*(\d+(?:\.\d+)?))?\s*(?:\([^()]*\))?[.;]?",
    re.I,
)


def role(key: str) -> Role | None:
    """Return what a key means, in any case, with synonyms and in some languages."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain(key))
    words = re.sub(r"[\W_]+", " ", parted).casefold().split()
    while len(words) > 1 and words[0] in _BEFORE:
        words = words[1:]
    while len(words) > 1 and words[-1] in _AFTER:
        words = words[:-1]
    return _ROLES.get(words[0]) if len(words) == 1 else None


def plain(value: Any) -> str:
    """Return a text on one line without characters that are not seen; else nothing."""
    if not isinstance(value, str):
        return ""
    known = (c for c in value if unicodedata.category(c) not in ("Cs", "Co", "Cn"))
    line = one_line("".join(known)).rstrip(".")
    for mark, end in _MARKS:
        inner = line[len(mark) : -len(end)].strip()
        if line.startswith(mark) and line.endswith(end) and inner and end not in inner:
            line = inner.rstrip(".")
    return line


def says_nothing(name: str) -> bool:
    """Say whether a name is none: no concept, or that none can be made out."""
    return denies(name) or bool(_CANNOT.fullmatch(_simple(name)))


def denies(text: str) -> bool:
    """Say whether a text says that there is no clear concept, and nothing else."""
    words = _simple(text)
    if len(words) > LONGEST_DENIAL:
        return False
    found = words in _NOTHING or _NO_CONCEPT.fullmatch(words)
    return bool(found) and not _BUT.search(words)


def _simple(text: str) -> str:
    return plain(text).casefold().replace("’", "'")


def confidence(value: Any) -> float | None:
    """Return a number from 0 to 1, from `0.9`, `"0.9"`, `"90 %"` or `"9/10"`; else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        found = _SURE.fullmatch(plain(value[:100]))
        if not found:
            return None
        number = float(found[1].replace(",", ".") + (found[2] or ""))
        whole = 100.0 if found[3] else float(found[4] or 1)
        number = number / whole if whole else math.nan
    elif isinstance(value, int | float):
        number = float(value)
    else:
        return None
    return number if 0 <= number <= 1 else None
