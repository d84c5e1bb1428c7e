"""The 1,000 classes of ImageNet (ILSVRC 2012): their WordNet ids, in the order of the outputs."""

import ast
import functools
import re
import unicodedata
from collections.abc import Sequence
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

WORDNET_ID = re.compile(r"^(n\d{8})(?:[\s_-]+|$)")

NEARLY_ALL = 0.9
"""A head is ImageNet's if this share of its names is ImageNet's, each at its place."""

TWICE = {
    "n02012849": "crane bird",
    "n03126707": "crane",
    "n03710637": "maillot",
    "n03710721": "maillot tank suit",
    "n02113186": "Cardigan",
    "n02963159": "cardigan",
}
"""ImageNet has two classes of each of these names. Torchvision distinguishes them by these texts
(and by the case of the last two), other lists hardly or not at all."""

_CATEGORIES = "_IMAGENET_CATEGORIES"
"""What torchvision calls its list of names."""

AMBIGUOUS = ("crane", "maillot", "cardigan")


@functools.cache
def ids() -> tuple[str, ...]:
    """Return the WordNet ids; number n is that of output n, as they are sorted."""
    return tuple(resources.files("atlas.data").joinpath("imagenet.txt").read_text().split())


@functools.cache
def names() -> dict[str, str]:
    """Return torchvision's name of the class of each WordNet id."""
    return dict(zip(ids(), _read_names() or _imported_names(), strict=True))


def _read_names() -> list[str]:
    """Return the names as they stand in torchvision's source; nothing if they are not there.

    To import it takes seconds and brings torch, and who makes a site needs neither.
    """
    found = find_spec("torchvision")
    for folder in (found and found.submodule_search_locations) or ():
        try:
            source = ast.parse((Path(folder) / "models" / "_meta.py").read_text("utf-8"))
        except (OSError, ValueError, SyntaxError):
            continue
        for line in source.body:
            if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == _CATEGORIES:
                known = ast.literal_eval(line.value)
                return known if len(known) == len(ids()) else []
    return []


def _imported_names() -> list[str]:
    from torchvision.models import AlexNet_Weights  # noqa: PLC0415 (slow to import)

    categories: list[str] = AlexNet_Weights.IMAGENET1K_V1.meta["categories"]
    return categories


def add_wordnet_ids(texts: Sequence[str]) -> list[str]:
    """Return the names of outputs, with the WordNet id in front where a head is ImageNet's.

    It is if it has 1,000 outputs and nearly all names agree with ImageNet's at their places.
    A name that does not agree gets no id, whatever the others do.
    """
    if len(texts) != len(ids()) or any(WORDNET_ID.match(text) for text in texts):
        return list(texts)
    pairs = list(zip(names().items(), texts, strict=True))
    agreeing = [_agree(name, text) for (_, name), text in pairs]
    if sum(agreeing) < NEARLY_ALL * len(texts):
        return list(texts)
    return [
        f"{wordnet} {text}" if agrees else text
        for ((wordnet, _), text), agrees in zip(pairs, agreeing, strict=True)
    ]


def add_class_name(text: str) -> str:
    """Return a WordNet id that stands alone with the name of its class behind it.

    Ids that ImageNet does not have stay alone, and those whose name it has twice: another
    network's crane may be the bird or the machine.
    """
    known = WORDNET_ID.fullmatch(text)
    if known is None or known[1] in TWICE or known[1] not in names():
        return text
    return f"{text} {names()[known[1]]}"


def _agree(name: str, text: str) -> bool:
    """Say whether a name of an output is ImageNet's name of its place."""
    if plain(name) == plain(text):
        return True
    mine = {plain(part) for part in text.split(",")}
    return plain(name) in mine or any(
        plain(name).startswith(f"{word} ") for word in AMBIGUOUS if word in mine
    )


def plain(name: str) -> str:
    """Return the words of a name in lower case with single spaces between them."""
    folded = unicodedata.normalize("NFKC", name).casefold().replace("'", "").replace("’", "")
    return " ".join(re.findall(r"[^\W_]+", folded))
