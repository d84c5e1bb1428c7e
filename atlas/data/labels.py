"""Which output of the network has the name of which label of the data.

A folder of photographs may hold 20 of the 1000 classes that a network knows, in another
order and written another way. Names are compared without regard to case and punctuation,
to whether words are separated by spaces, underscores or hyphens, and to a WordNet id in
front ("n01440764_tench"). Commas separate synonyms ("tench, Tinca tinca").

No match is better than a wrong one: relevance for the wrong output looks as convincing as
for the right one. So a name that could mean two outputs, or that two labels have, matches
nothing by itself, and neither does one whose WordNet id says that it means something else.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from atlas.data import imagenet
from atlas.data.imagenet import AMBIGUOUS, WORDNET_ID, plain


def match_labels(labels: Sequence[str], outputs: Sequence[str]) -> tuple[int | None, ...]:
    """Find the output of each label by what both are called.

    In this order, and never two labels to one output:

    1. The same WordNet id on both sides. Who has ImageNet's names in ImageNet's order has
       its ids too.
    2. The same name as a whole. A WordNet id of ImageNet has the name of its class.
    3. The same first synonym.
    4. Any synonym in common.
    5. The same name at the same place, if there are as many labels as outputs and none of
       them has been found elsewhere: lists may have a name twice, but both equally often.

    Parameters
    ----------
    labels : sequence of str
        Names of the data's labels.
    outputs : sequence of str
        Names of the network's outputs.

    Returns
    -------
    tuple of (int or None)
        For each label the index of its output, None for a label that the network does not
        know.
    """
    theirs = [imagenet.add_class_name(text) for text in imagenet.add_wordnet_ids(outputs)]
    ours = [imagenet.add_class_name(text) for text in imagenet.add_wordnet_ids(labels)]
    found: dict[int, int] = {}
    for names in (_ids, _whole, _first, _synonyms):
        claims = _claims(ours, theirs, names)
        taken = set(found.values())
        found |= {a: b for a, b in claims.items() if a not in found and b not in taken}
    if len(labels) == len(outputs) and all(a == b for a, b in found.items()):
        pairs = enumerate(zip(ours, theirs, strict=True))
        often = [
            Counter(name for text in texts for name in _whole(text)) for texts in (ours, theirs)
        ]
        found |= {
            place: place
            for place, (one, other) in pairs
            if _whole(one) == _whole(other) != [] and not _contradict(_ids(one), _ids(other))
            and len({count[_whole(one)[0]] for count in often}) == 1
        }  # fmt: skip
    return tuple(found.get(label) for label in range(len(labels)))


def ambiguous(labels: Sequence[str], outputs: Sequence[str]) -> list[str]:
    """Return the labels that have the name of several outputs; it is not known which they are."""
    theirs = [imagenet.add_class_name(text) for text in imagenet.add_wordnet_ids(outputs)]
    owners = Counter(name for text in theirs for name in {*_whole(text), *_synonyms(text)})
    twice = _meant_twice(theirs)
    return [
        label
        for label in labels
        if any(owners[name] > 1 or name in twice for name in (*_whole(label), *_synonyms(label)))
    ]


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
        candidates = {
            output
            for name in names(text)
            if name not in twice
            for output in owners[name]
            if not _contradict(_ids(text), _ids(outputs[output]))
        }
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
        for name in AMBIGUOUS
        if sum(whole == name or whole.startswith(f"{name} ") for whole in wholes) > 1
    }


def _contradict(ours: list[str], theirs: list[str]) -> bool:
    """Say whether two names have WordNet ids that differ."""
    return bool(ours and theirs and ours != theirs)


def _ids(text: str) -> list[str]:
    match = WORDNET_ID.match(text)
    return [match[1]] if match else []


def _whole(text: str) -> list[str]:
    return [name for name in [plain(WORDNET_ID.sub("", text))] if name]


def _first(text: str) -> list[str]:
    return _synonyms(text)[:1]


def _synonyms(text: str) -> list[str]:
    parts = WORDNET_ID.sub("", text).split(",")
    return [name for name in map(plain, parts) if name]
