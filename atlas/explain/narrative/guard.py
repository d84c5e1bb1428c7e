"""Whether other words for a claim can be let through: the same slots, and no word that adds.

Words that deny, turn, compare, count, place, measure or judge have to be those of the canonical
sentence, or of their family; they are of small classes, which `english` lists. Other words may take
the place of others: as many may come in as are gone. Slots that have changed places are refused,
and a family of words that was there and is gone.
"""

import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

from atlas.explain.english import closed, families
from atlas.store.claims import PLACEHOLDER, Slot, Wording

_LIST = r"\{\w+\}(?:,? (?:and |or )?\{\w+\})*|it|any one"
"""What is taken away."""

_PHRASES = (
    (r"(?:switch|turn)(?:ed|es|ing|s)? off|tak(?:e|es|en|ing) away|remov(?:e|es|ed|ing)"
     r"|removal of|(?:in )?the absence of|absent|missing|lacking|without"
     r"|(?:delet|disabl|exclud|deactivat|eliminat)(?:e|es|ed|ing)", "REMOVED"),
    (rf"(?:tak(?:e|es|en|ing)|switch(?:ed|es|ing)?|turn(?:ed|ing|s)?) ({_LIST}) (?:away|off)",
     r"REMOVED \1"),
    (rf"(?:with|if|when|once) ({_LIST}) (?:(?:is|are) )?(?:both )?(?:gone|off)", r"REMOVED \1"),
    (rf"needs? ({_LIST}): REMOVED it", r"REMOVED \1"),
    (rf"(?:drop|lose|cut|minus|no|leav(?:e|ing) out|dropping|losing|cutting)(?: both)? ({_LIST})",
     r"REMOVED \1"),
    (r"together(?: with)?", "both"),
    (r"any single one|a single one|any one of (?:them|these|the)", "any one"),
    (r"now", "then"),
    (r"(?:set|setting|sets) (\{\w+\}(?: channels of \{\w+\})?|it) to zero", r"ZERO \1"),
    (r"set to zero|zero(?:ed|ing|es)", "ZERO"),
    (r"for (?:and|or) against|against (?:and|or) for", "BOTHSIDES"),
    (r"of all(?: the)?", "of the"),
    (r"over (a fifth|half|one half)", r"more than \1"),
    (r"no(?:t)? more than", "at most"),
    (r"(?:go|goes|went|going) down", "fall"),
    (r"(?:go|goes|went|going) up", "rise"),
    (r"one by one|in turn", "one after another"),
    (r"mak(?:e|es|ing) up", "carry"),
    (r"(parts(?: that are not listed)?) share", r"\1 carry"),
    (r"(favours? \{\w+\}) over", r"\1 rather than"),
    (r"runner-up|in second place|second most (?:probable|likely)(?: class)?", "second"),
    (r"(?:be|get|become)s? smaller", "shrink"),
    (r"(?:on|by) (?:its|their) own", "alone"),
    (r"at (?:an )?earlier (?:stages?|steps?) (?:of|in)", "earlier in"),
    (r"as well", "too"),
    (r"and not (\{\w+\})", r"rather than \1"),
    (r"ranks? first", "comes first"),
    (r"did not do well|not do well|went poorly", "did poorly"),
    (r"whichever|any one of (?:them|these|the)", "any one"),
    (r"even its best", "best"),
    (rf"(?:with|if|when|once|were|had|as soon as) ({_LIST}) "
     r"(?:(?:is|are|were|be|been) )?(REMOVED|ZERO)",
     r"\2 \1"),
    (rf"({_LIST}) (?:is|are|were|be|being) (REMOVED|ZERO)", r"\2 \1"),
    (r"(REMOVED|ZERO), (\{\w+\})", r"\1 \2"),
    (r"(?:is|are|were|be) (REMOVED|ZERO)", r"\1"),
    (rf"^({_LIST}) (REMOVED|ZERO)(?=,)", r"\2 \1"),
)  # fmt: skip
"""Ways of saying one thing, brought to one; what is taken away stands behind the word for it."""

_FORMS = ("REMOVED", "ZERO", "BOTHSIDES")
"""What phrases are brought to."""

_BOUND = ("REMOVED", "ZERO", "for", "against", "than", "over", "probability", "logit", "share",
          "place")  # fmt: skip
"""Words whose next slot has to stay the same."""

_MEASURES = ("weight", "probability", "score", "logit", "share", "relevance")
"""Families of what is measured: not one takes another’s place."""

_VERBS = ("judge", "become", "take", "free")
"""Families of verbs that say little, and what says nothing."""

_BETWEEN = frozenset(
    ["a", "an", "the", "is", "are", "was", "were", "be", "so", "not", "therefore", "thus"]
)

_NUMBERS = ("share", "probability", "logit", "count")

_COURSE = re.compile(r"from \{\w+\} to \{\w+\}")

_WHOLE = re.compile(r"\{(\w+)\} of (?:the |this |a )?([^\W\d_]+)")

_WORD = re.compile(r"\{\w+\}|[^\W\d_]+(?:[’'-][^\W\d_]+)*")

_MAY_GO = {
    "judge", "become", "take", "speaks", "cause", "other", "probability", "first", "picture",
    "even", "part", "share",
}  # fmt: skip
"""Families that a sentence can do without, if nothing takes their place."""

_REPLACED = {"stay", "decide", "weight"}
"""More of them where a word of no closed class has come in."""

_SOFT = {"judge", "become", "take", "speaks", "part", "place", "map", "class", "channel"}
"""Families of words that may take others’ place, as words of no family may."""

_BESIDE = {
    frozenset(["most", "first", "best"]): {"most", "first"},
    frozenset(["than", "fall", "rise"]): {"more"},
    frozenset(["any", "both"]): {"one"},
}
"""Families that come in with others."""

_LONGER = 1.6
"""A wording may have so many times the words of the canonical sentence, and three more."""


def objection(wording: Wording, text: str) -> str | None:
    """Return why other words for a claim cannot be let through; None if they can.

    Parameters
    ----------
    wording : Wording
        The canonical sentence.
    text : str
        The other words, with the same placeholders.
    """
    own, other = wording.text, text
    if own != other and (found := _form(own, other)):
        return found
    slots = wording.slots
    return _order(slots, own, other) or _roles(own, other) or _words(slots, own, other)


def _form(own: str, other: str) -> str | None:
    """Object to other slots, to numbers, names and marks outside of them, and to two sentences."""
    if sorted(PLACEHOLDER.findall(own)) != sorted(PLACEHOLDER.findall(other)):
        return "its slots are others"
    bare = PLACEHOLDER.sub(" ", other)
    marks = Counter(re.findall(r"[\d“”\"„‟«»{}\[\]<>%=*_#|\\/\n]", bare))
    if more := marks - Counter(PLACEHOLDER.sub(" ", own)):
        return f"{min(more)!r} stands outside of the slots"
    if not re.fullmatch(r"[^.!?]+\.", other):
        return "it is not one sentence"
    if found := re.search(r"(?<=[\w,;:)] )[A-Z]\w*", bare.strip()):
        return f"{found[0]!r} looks like a name"
    if len(other.split()) > _LONGER * len(own.split()) + 3:
        return "it is too long"
    return None


def _order(slots: tuple[Slot, ...], own: str, other: str) -> str | None:
    """Object to slots of one kind that have changed places, or follow another word."""
    kinds = {slot.key: "number" if slot.kind in _NUMBERS else slot.kind for slot in slots}
    for kind in set(kinds.values()):
        before, after = (
            [key for key in PLACEHOLDER.findall(text) if kinds[key] == kind]
            for text in (own, other)
        )
        if before != after:
            return "slots have changed places"
    wholes, others = _wholes(own), _wholes(other)
    if any(wholes.get(key, whole) != whole for key, whole in others.items()):
        return "a number is a part of something else"
    differences = (f"by {{{key}}}" for key, kind in kinds.items() if kind == "number")
    if any(by in other and by not in own for by in differences):
        return "a number has become a difference"
    before_, after_ = _bindings(own), _bindings(other)
    for word, keys in after_.items():
        if keys and before_.get(word, keys) != keys and not keys <= before_[word]:
            return f"another slot follows {word!r}"
    for word in ("REMOVED", "ZERO", "over"):
        if before_.get(word) and not before_[word] <= after_.get(word, set()):
            return f"{word!r} is gone from its slot"
    return None


def _wholes(text: str) -> dict[str, str]:
    """Return by number of what it is a part: `{area} of the picture`."""
    return {key: next(families(word), word) for key, word in _WHOLE.findall(text)}


def _roles(own: str, other: str) -> str | None:
    """Object where something else is denied, and where what is measured has changed places."""
    if not _negated(other) <= _negated(own):
        return "something else is denied"
    if not _judged(other) <= _judged(own):
        return "something else is called right or wrong"
    measures, said = _measures(own), _measures(other)
    if [one for one in measures if one in said] != [one for one in said if one in measures]:
        return "measures have changed places"
    return None


def _negated(text: str) -> set[str]:
    """Return what a text says not: by families, the words that say something behind a `not`."""
    tokens = [word for word in _tokens(text) if next(families(word), "") not in _VERBS]
    pairs = (pair for pair in pairwise(tokens) if pair[0] in ("not", "never"))
    return {next(families(word), word) for _, word in pairs}


def _judged(text: str) -> set[str]:
    """Return what a text calls right or wrong: the word before, over verbs and articles."""
    tokens = [word for word in _tokens(text) if word not in _BETWEEN]
    return {one for one, word in pairwise(tokens) if {*families(word)} & {"right", "wrong"}}


def _measures(text: str) -> list[str]:
    """Return in which order a text speaks of weight, probability, logit and the like."""
    found = (family for word in _tokens(text) for family in families(word))
    return list(dict.fromkeys(family for family in found if family in _MEASURES))


def _bindings(text: str) -> Mapping[str, set[str]]:
    """Return by some words the slots that stand right behind them."""
    found: dict[str, set[str]] = {}
    for word, follower in pairwise(_tokens(text)):
        if word in _BOUND and follower.startswith("{"):
            found.setdefault(word, set()).add(follower[1:-1])
    return found


def _words(slots: tuple[Slot, ...], own: str, other: str) -> str | None:
    """Object to words that say more than the canonical sentence, and to what is not said."""
    canonical = set(_tokens(own))
    known = {"free", *(family for word in canonical for family in families(word))}
    if any(slot.kind == "probability" for slot in slots):
        known.add("probability")
    # Verbs of change and of answering: only where the claim is about a change, or the network.
    if canonical & {"REMOVED", "ZERO", "blur", "blurring"} or _COURSE.search(own):
        known |= {"become", "take", "judge"}
    if "network" in canonical or "answer" in canonical:
        known.add("judge")
    for some, others in _BESIDE.items():
        known |= others if known & some else set()
    said, new = set(), []
    for word in _tokens(other):
        own_families = set(families(word))
        said |= own_families | {word}
        supposed = word == "would" and not canonical & {"REMOVED", "ZERO"}
        if word.startswith("{") or word in canonical or (own_families & known and not supposed):
            continue
        if supposed or closed(word) or not own_families <= _SOFT:
            return f"{word!r} says something else"
        new.append(word)
    content = {next(families(word), word) for word in canonical if not closed(word)}
    replaced = {one for one in content if one != "free" and one not in said and one[0] != "{"}
    if len(new) > len(replaced):
        return f"{new[0]!r} says something else"
    needed = {family for word in canonical for family in families(word)} - _MAY_GO
    if (course := _COURSE.search(own)) and course[0] in other:
        needed -= {"fall", "rise"}  # its two numbers say so
    needed -= _REPLACED if new else set()
    needed |= canonical & {"REMOVED", "ZERO", "BOTHSIDES", "blur"}
    gone = needed - said
    return f"nothing says {min(gone)!r}" if gone else None


def _tokens(text: str) -> list[str]:
    """Return the words of a text in small letters, with phrases brought to one form."""
    lowered = PLACEHOLDER.sub(lambda slot: slot[0], text[:1].lower() + text[1:])
    for pattern, form in _PHRASES:
        lowered = re.sub(rf"(?<![\w{{])(?:{pattern})(?![\w}}])", form, lowered)
    words = (word.removesuffix("’s") for word in _WORD.findall(lowered))
    return [word if word in _FORMS else word.lower() for word in words]
