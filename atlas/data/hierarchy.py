"""Superclasses of classes: WordNet's nouns above ImageNet's classes, or a file of the user's."""

import csv
import graphlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from atlas.data import imagenet
from atlas.data.imagenet import WORDNET_ID, plain
from atlas.errors import UserError, one_line

FEW = 5
"""Names that a line shows."""

LONGEST = 40
"""Characters of each name that a line shows."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class Superclasses:
    """What stands above the classes of an atlas."""

    classes: Mapping[str, frozenset[int]]
    """Name of each superclass -> the numbers of the classes below it."""
    remark: str = ""
    """In one line how many there are, and which classes the hierarchy lacks; empty for none."""


def superclasses(file: str, classes: Sequence[str]) -> Superclasses:
    """Return the superclasses of classes.

    Parameters
    ----------
    file : str
        `data.hierarchy` of the recipe: JSON, a tree of objects and lists
        (`{"animal": {"dog": ["pug", "beagle"]}}`); or a table with two columns, child and parent,
        between commas or tabs, in which a child may have several parents. Empty: WordNet's nouns
        for those classes that are ImageNet's by their WordNet ids (or by all their names).
    classes : sequence of str
        Names of the atlas's classes, by number.

    Raises
    ------
    UserError
        The file cannot be read or is neither, has something twice, goes round in a circle, or
        has at its ends what is no class.
    """
    if not file:
        return _wordnet_superclasses(classes)
    pairs = list(_read(file))
    if not pairs:
        raise UserError(f"data.hierarchy = {file!r} has no classes")
    children = _children(pairs)
    numbers = _numbers(classes)
    ends = [node for node in dict.fromkeys(child for child, _ in pairs) if node not in children]
    meant = {node: numbers.get(node) or numbers.get(plain(node)) or set() for node in ends}
    meant |= {node: numbers[node] for node in children if node in numbers}
    for node, mine in meant.items():
        if len(mine) > 1:
            raise UserError(
                f"data.hierarchy = {file!r}: {len(mine)} classes are named {node[:LONGEST]!r}: "
                "give their WordNet ids, or rename them (--set model.classes=FILE)"
            )
    below = _below(children, meant, file)
    unknown = [node for node in ends if not meant[node]]
    if unknown:
        some = f"{len(unknown)} names are" if len(unknown) > 1 else "a name is"
        raise UserError(
            f"data.hierarchy = {file!r}: {some} no class of the atlas, with none below: "
            f"{_few(unknown)}; its classes are {_few(classes)}: correct them or take them out"
        )
    met = set().union(*below.values())
    found = {node: frozenset(below[node]) for node in below if node in children}
    lost = [name for number, name in enumerate(classes) if number not in met]
    remark = f"{len(found)} superclasses of {len(met)} of {len(classes)} classes"
    return Superclasses(found, remark + (f"; not in it: {_few(lost)}" if lost else ""))


def _wordnet_superclasses(classes: Sequence[str]) -> Superclasses:
    numbers: dict[str, set[int]] = defaultdict(set)
    for number, name in enumerate(imagenet.add_wordnet_ids(classes)):
        match = WORDNET_ID.match(name)
        if match and match[1] in imagenet.ids():
            numbers[match[1]].add(number)
    if not numbers:
        return Superclasses({})
    pairs, names = _wordnet()
    children = _children(pairs)
    below = _below(children, numbers, "wordnet.tsv")
    found = {names[node]: frozenset(below[node]) for node in below if node in children}
    found = {name: own for name, own in found.items() if own}
    met = len(set().union(*numbers.values()))
    remark = f"{len(found)} superclasses of {met} of {len(classes)} classes, from WordNet"
    return Superclasses(found, remark)


def _wordnet() -> tuple[list[Pair], dict[str, str]]:
    """Return (id, id above it), and the names of those that are no classes."""
    pairs, names = [], {}
    text = resources.files("atlas.data").joinpath("wordnet.tsv").read_text("utf-8")
    for line in text.splitlines():
        if not line.startswith("#"):
            node, above, names[node] = line.split("\t")
            pairs += [(node, parent) for parent in above.split()]
    return pairs, names


def _read(file: str) -> Iterator[Pair]:
    """Yield (child, parent), none twice."""
    try:
        text = Path(file).expanduser().read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(
            f"data.hierarchy = {file!r} cannot be read ({one_line(error)}): give a file, JSON or "
            "a table with the columns child and parent"
        ) from error
    pairs = _json(text, file) if text.lstrip().startswith(("{", "[")) else _table(text, file)
    seen = set()
    for pair in pairs:
        if pair in seen:
            child, parent = (name[:LONGEST] for name in pair)
            raise UserError(f"data.hierarchy = {file!r} has {child!r} twice below {parent!r}")
        seen.add(pair)
        yield pair


def _table(text: str, file: str) -> Iterator[Pair]:
    comma = "\t" if "\t" in text.lstrip("\n").partition("\n")[0] else ","
    try:
        read = list(csv.reader(io.StringIO(text), delimiter=comma))
    except csv.Error as error:
        raise UserError(f"data.hierarchy = {file!r} is no table: {one_line(error)}") from error
    rows = [row for row in ([cell.strip() for cell in row] for row in read) if any(row)]
    if rows and [cell.lower() for cell in rows[0]] == ["child", "parent"]:
        rows = rows[1:]
    for row in rows:
        if len(row) != 2 or not all(row):
            raise UserError(
                f"data.hierarchy = {file!r}: expected two columns, child and parent, and not "
                f"{comma.join(row)[:60]!r} (put names that have commas in quotation marks)"
            )
        yield row[0], row[1]


def _json(text: str, file: str) -> Iterator[Pair]:
    try:
        tree = json.loads(text, object_pairs_hook=_Object)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"data.hierarchy = {file!r} is not JSON: {one_line(error)}") from error
    inner = set()
    waiting: list[tuple[str | None, Any]] = [(None, tree)]
    while waiting:
        parent, what = waiting.pop()
        for name, below in _items(what, file, top=parent is None):
            if parent is not None:
                yield name, parent
            if not below:
                continue
            if name in inner:
                raise UserError(
                    f"data.hierarchy = {file!r} has {name[:LONGEST]!r} with names below it twice: "
                    "give each superclass a name of its own, in one place"
                )
            inner.add(name)
            waiting.append((name, below))


def _items(what: Any, file: str, *, top: bool) -> Iterator[tuple[str, Any]]:
    """Yield the names of an object or a list with what is below each."""
    if isinstance(what, _Object):
        yield from what
        return
    if isinstance(what, list) and not top:
        for item in what:
            if isinstance(item, str):
                yield item, None
            elif isinstance(item, _Object):
                yield from item
            else:
                break
        else:
            return
    raise UserError(
        f"data.hierarchy = {file!r}: expected a tree of objects and lists, such as "
        '{"animal": {"dog": ["pug", "beagle"]}}, and not ' + json.dumps(what)[:60]
    )


class _Object(list[tuple[str, Any]]):
    """The pairs of an object of JSON, which may have a name twice."""


def _children(pairs: Sequence[Pair]) -> dict[str, list[str]]:
    children: dict[str, list[str]] = {}
    for child, parent in pairs:
        children.setdefault(parent, []).append(child)
    return children


def _below(
    children: Mapping[str, Sequence[str]], numbers: Mapping[str, set[int]], file: str
) -> dict[str, set[int]]:
    """Return for all names, each behind those below it, which classes they and those below are."""
    below: dict[str, set[int]] = {}
    try:
        for node in graphlib.TopologicalSorter(children).static_order():
            mine = numbers.get(node, set())
            below[node] = mine.union(*(below[child] for child in children.get(node, ())))
    except graphlib.CycleError as error:
        names = [name[:LONGEST] for name in error.args[1]]
        circle = " -> ".join(names if len(names) <= FEW else [*names[:FEW], "..."])
        raise UserError(f"data.hierarchy = {file!r} goes round in a circle: {circle}") from error
    return below


def _numbers(classes: Sequence[str]) -> dict[str, set[int]]:
    """Return which classes a text may mean: a name as it is or in plain words, or a WordNet id."""
    exact: dict[str, set[int]] = {}
    loose: dict[str, set[int]] = {}
    for number, name in enumerate(imagenet.add_wordnet_ids(classes)):
        exact.setdefault(classes[number], set()).add(number)
        match = WORDNET_ID.match(name)
        rest = name[match.end() :] if match else name
        for text in (plain(rest), *([match[1]] if match else [])):
            if text:
                loose.setdefault(text, set()).add(number)
    return loose | exact


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:LONGEST]) for name in names[:FEW])
    return shown + (f" and {len(names) - FEW} more" if len(names) > FEW else "")
