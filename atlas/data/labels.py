"""Which output of the network stands for which label of the data.

A folder of photographs may hold 20 of the 1000 classes that a network knows, in another
order and written another way. Names are compared without regard to case and punctuation,
to whether words are separated by spaces, underscores or hyphens, and to a WordNet id in
front ("n01440764_tench"). Commas separate synonyms ("tench, Tinca tinca").

No match is better than a wrong one: relevance for the wrong output looks as convincing as
for the right one. So a name that could mean two outputs, or that two labels have, matches
nothing by itself.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

_WORDNET_ID = re.compile(r"^(n\d{8})(?:[\s_-]+|$)")

# ImageNet has two classes of each of these names. Torchvision tells them apart by these
# texts (and by the case of the last two), other lists hardly or not at all.
_TWICE = {
    "n02012849": "crane bird",
    "n03126707": "crane",
    "n03710637": "maillot",
    "n03710721": "maillot tank suit",
    "n02113186": "Cardigan",
    "n02963159": "cardigan",
}
_AMBIGUOUS = ("crane", "maillot", "cardigan")


def match_labels(
    data_classes: Sequence[str] | None, model_classes: Sequence[str]
) -> tuple[int | None, ...]:
    """Find the network's output for every label of the data.

    In this order, and never two labels to one output:

    1. The same WordNet id on both sides; and where the outputs have torchvision's names, the
       label's id chooses among the names that ImageNet has twice (crane, maillot, cardigan).
    2. The same name as a whole.
    3. The same first synonym.
    4. Any synonym in common.
    5. What is left, by order, if there are as many labels as outputs and no label that has
       been matched by name says otherwise: label 3 is output 3.

    Labels without names are the numbers of the outputs; so are labels whose names all are
    numbers and no names of outputs.

    Parameters
    ----------
    data_classes : sequence of str or None
        Names of the data's labels; None where they have no names.
    model_classes : sequence of str
        Names of the network's outputs; empty texts where they are not known.

    Returns
    -------
    tuple of (int or None)
        For each label of the data the index of its output, None for a label that the
        network does not know. Without names of the data: as long as the outputs are many.
    """
    if data_classes is None:
        return tuple(range(len(model_classes)))
    found = _told_apart(data_classes, model_classes)
    for names in (_ids, _whole, _first, _synonyms):
        claims = _claims(data_classes, model_classes, names)
        taken = set(found.values())
        found |= {a: b for a, b in claims.items() if a not in found and b not in taken}
    if all(name.isdecimal() for name in data_classes) and not found:
        # Sorted as text 10 comes before 2, so that the order would mislead.
        return tuple(int(n) if int(n) < len(model_classes) else None for n in data_classes)
    same_order = all(label == output for label, output in found.items())
    if len(data_classes) == len(model_classes) and same_order:
        return tuple(range(len(model_classes)))
    return tuple(found.get(label) for label in range(len(data_classes)))


def _told_apart(labels: Sequence[str], outputs: Sequence[str]) -> dict[int, int]:
    """Return label -> output for ids of `_TWICE`, where torchvision's texts are the outputs."""
    if not set(_TWICE.values()).issubset(outputs):
        return {}
    ids = [(label, wordnet) for label, text in enumerate(labels) for wordnet in _ids(text)]
    return {label: outputs.index(_TWICE[i]) for label, i in ids if i in _TWICE}


def _claims(
    labels: Sequence[str], outputs: Sequence[str], names: Callable[[str], Iterable[str]]
) -> dict[int, int]:
    """Return label -> output where exactly these two have a name in common."""
    owners = defaultdict(set)
    for output, text in enumerate(outputs):
        for name in names(text):
            owners[name].add(output)
    twice = _meant_twice(outputs)
    claims: dict[int, int] = {}
    rivals: dict[int, int] = defaultdict(int)
    for label, text in enumerate(labels):
        candidates = {o for name in names(text) if name not in twice for o in owners[name]}
        for output in candidates:
            rivals[output] += 1
        if len(candidates) == 1:
            claims[label] = candidates.pop()
    return {label: output for label, output in claims.items() if rivals[output] == 1}


def _meant_twice(outputs: Sequence[str]) -> set[str]:
    """Return which of the names that ImageNet has twice mean two of these outputs."""
    wholes = [name for text in outputs for name in _whole(text)]
    return {
        name
        for name in _AMBIGUOUS
        if sum(whole == name or whole.startswith(f"{name} ") for whole in wholes) > 1
    }


def _ids(text: str) -> list[str]:
    match = _WORDNET_ID.match(text)
    return [match[1]] if match else []


def _whole(text: str) -> list[str]:
    return [name for name in [_plain(_WORDNET_ID.sub("", text))] if name]


def _first(text: str) -> list[str]:
    return _synonyms(text)[:1]


def _synonyms(text: str) -> list[str]:
    parts = _WORDNET_ID.sub("", text).split(",")
    return [name for name in map(_plain, parts) if name]


def _plain(name: str) -> str:
    """Return the words of a name in lower case with single spaces between them."""
    folded = unicodedata.normalize("NFKC", name).casefold().replace("'", "").replace("’", "")
    return " ".join(re.findall(r"[^\W_]+", folded))
