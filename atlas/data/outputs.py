"""Which output of the network each label of the data is, or why nobody can know.

Names and WordNet ids say it (`atlas.data.labels`); so does a file of the user's. A label's number
says nothing by itself: only where labels and outputs are equally many, and the network does not
name its outputs, is label n output n. Labels that are bare numbers are numbers of outputs only
if they begin with the first and end with the last.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from atlas.data import assigned
from atlas.data.assigned import COUNTED
from atlas.data.imagenet import plain
from atlas.data.labels import ambiguous, match_labels
from atlas.data.source import Source
from atlas.errors import UserError

FEW = 5
"""Labels that a line names."""

LONGEST = 40
"""Characters of each label that a line shows."""

_NUMBER = re.compile(r"\d+(\.0+)?")
_ASK = (
    "give a file that says which output each label is (--set data.labels=FILE, JSON "
    '{"label": "output"} or CSV label,output)'
)
_BY_NAME = "by name or WordNet id"
_OR = "or let relevance start at the predicted class (--set relevance.target=predicted)"


@dataclass(frozen=True)
class Matching:
    """The outputs of all labels, and what a line says about them."""

    outputs: tuple[int | None, ...]
    """Output for each label of the data; None for one that the network does not know."""
    summary: str
    """How many labels met an output, in one line that goes on after "labels:"."""


class _UnknownError(Exception):
    """Nobody can know; the message says why and what to give."""


def match_outputs(
    source: Source, outputs: int, names: Sequence[str] | None, asked: str, *, needed: bool
) -> Matching:
    """Find the network's output for every label of the data.

    Parameters
    ----------
    source : Source
        The data.
    outputs : int
        How many the network has.
    names : sequence of str or None
        Their names, if they are known.
    asked : str
        `data.labels` of the recipe: empty, a file, or one of `COUNTED`.
    needed : bool
        Whether relevance starts at the labels' outputs.

    Raises
    ------
    UserError
        `asked` does not fit; or the outputs are needed, the data has labels, and none met an
        output or nobody can know which.
    """
    known = list(names) if names and any(names) else None
    labels, numbers = source.classes, source.label_numbers
    if not labels and numbers == ():
        if asked:
            raise UserError(f"data.labels = {asked!r}: the data has no labels")
        return Matching((), "the data has none" + _predicted(needed))
    try:
        if asked:
            found, how = _asked(asked, labels, numbers, outputs, known)
        elif labels:
            found, how = _named(labels, outputs, known)
        else:
            found, how = _numbered(numbers, outputs)
        if all(output is None for output in found):
            raise _UnknownError(_none(labels, known, how))
    except _UnknownError as error:
        if needed:
            raise UserError(f"{error}, {_OR}") from error
        count = len(labels) if labels else 0
        return Matching((None,) * count, f"none met an output of the network; {error}")
    summary = _summary(found, labels, numbers, how)
    if labels and how == _BY_NAME:
        lost = [label for label, output in zip(labels, found, strict=True) if output is None]
        summary += _several(ambiguous(lost, known or ()))
    return Matching(tuple(found), summary)


def output_names(
    names: Sequence[str] | None,
    labels: Sequence[str] | None,
    found: Sequence[int | None],
    count: int,
) -> list[str]:
    """Return a name for every output: its own, else that of the one label that it is.

    Parameters
    ----------
    names : sequence of str or None
        Names of the outputs, if they are known.
    labels : sequence of str or None
        Names of the data's labels, if they have any.
    found : sequence of (int or None)
        The output of each label.
    count : int
        How many outputs the network has.
    """
    if names is not None:
        return list(names)
    owners: dict[int | None, list[str]] = {}
    for label, output in zip(labels or (), found, strict=False):
        owners.setdefault(output, []).append(label)
    called = {output: of[0] for output, of in owners.items() if len(of) == 1}
    return [called.get(output, f"class {output}") for output in range(count)]


def _named(
    labels: Sequence[str], outputs: int, names: Sequence[str] | None
) -> tuple[Sequence[int | None], str]:
    """Match labels that have names."""
    values = [_number(label) for label in labels]
    if names is not None:
        found = match_labels(labels, names)
        if any(output is not None for output in found) or None in values:
            return found, _BY_NAME
    if None not in values:
        numbers = [value for value in values if value is not None]
        in_order = numbers == sorted(set(numbers))
        if names is None and len(labels) == outputs and not in_order:
            # As texts 10 comes before 2. A network that was trained on these folders knows
            # them in that order, another one by their numbers.
            raise _UnknownError(
                f"the labels are numbers that as texts have another order ({_few(labels)}), and "
                "the network does not name its outputs: name them (--set model.classes=FILE), "
                f"say that the numbers are meant (--set data.labels='from {min(numbers)}')"
            )
        if names is not None or len(labels) != outputs:
            return _by_number(numbers, outputs), "as numbers"
    if names is None and len(labels) == outputs:
        return range(outputs), "by their order, as the network does not name its outputs"
    raise _UnknownError(
        f"the data has {len(labels)} labels ({_few(labels)}), the network {outputs} outputs "
        f"without names: name these (--set model.classes=FILE), {_ASK}"
    )


def _numbered(numbers: Sequence[int] | None, outputs: int) -> tuple[Sequence[int | None], str]:
    """Match labels that are bare numbers."""
    if numbers is None:
        raise _UnknownError(
            "the labels are bare numbers, and only reading all pictures would show which there "
            "are: say whether 0 or 1 is the first output (--set data.labels='from 0'), read the "
            f"data whole (--set data.streaming=false), {_ASK}"
        )
    _by_number(numbers, outputs)
    return range(outputs), "as numbers"


def _by_number(values: Sequence[int], outputs: int) -> Sequence[int]:
    """Return `values` if they are the numbers of the outputs, from the first to the last."""
    first, last = min(values), max(values)
    if (first, last) == (0, outputs - 1) and len(set(values)) == len(values):
        return values
    span = (
        f"the labels are the numbers {first} to {last}" if last > first else f"the label is {first}"
    )
    if (first, last) == (1, outputs):
        raise _UnknownError(
            f"{span}, those of the outputs 0 to {outputs - 1}: if label 1 is the first output, say "
            f"so (--set data.labels='from 1'), else {_ASK}"
        )
    raise _UnknownError(
        f"{span}, those of the outputs 0 to {outputs - 1}, so that a label may not be the output "
        f"of its number: if it is, say so (--set data.labels='from 0'), else {_ASK}"
    )


def _number(text: str) -> int | None:
    """Return the number that a label's name is, None if it is none."""
    return int(float(text)) if text.isascii() and _NUMBER.fullmatch(text) else None


def _asked(
    asked: str,
    labels: Sequence[str] | None,
    numbers: Sequence[int] | None,
    outputs: int,
    names: Sequence[str] | None,
) -> tuple[Sequence[int | None], str]:
    """Match labels as the recipe says."""
    if asked in COUNTED:
        return _counted(asked, labels, numbers, outputs), f"as numbers {asked}"
    wanted = {
        label: _output_of(output, outputs, names, asked)
        for label, output in assigned.read(asked).items()
    }
    if labels:
        whole = {plain(label): output for label, output in wanted.items()}
        single = {name for name in whole if [plain(label) for label in wanted].count(name) == 1}
        found = [
            wanted[label]
            if label in wanted
            else whole[plain(label)]
            if plain(label) in single
            else None
            for label in labels
        ]
        return found, f"by {Path(asked).name}"
    by_number = {_number(label): output for label, output in wanted.items()}
    if None in by_number:
        word = next(label for label in wanted if _number(label) is None)
        raise UserError(
            f"data.labels = {asked!r} has the label {word!r}, and the data's labels are numbers"
        )
    last = max((number for number in by_number if number is not None), default=-1)
    return [by_number.get(number) for number in range(last + 1)], f"by {Path(asked).name}"


def _counted(
    asked: str, labels: Sequence[str] | None, numbers: Sequence[int] | None, outputs: int
) -> Sequence[int | None]:
    """Return the outputs of labels that are numbers, of which one is said to be the first."""
    first = COUNTED[asked]
    values: Sequence[int | None] = [_number(label) for label in labels] if labels else numbers or []
    for place, value in enumerate(values):
        if value is None or not first <= value < first + outputs:
            label = labels[place] if labels else value
            raise UserError(
                f"data.labels = {asked!r}: the data has the label {label!r}, and the outputs "
                f"would be the labels {first} to {first + outputs - 1}"
            )
    if labels:
        return [None if value is None else value - first for value in values]
    return [None] * first + [*range(outputs)]


def _output_of(value: str | int, outputs: int, names: Sequence[str] | None, file: str) -> int:
    """Return the output that a file names, or numbers."""
    number = value if isinstance(value, int) else _number(value)
    named = None
    if isinstance(value, str) and names is not None:
        exact = [place for place, name in enumerate(names) if name == value]
        named = exact[0] if len(exact) == 1 else match_labels([value], names)[0]
    if named is not None and number not in (None, named):
        raise UserError(
            f"data.labels = {file!r}: {value!r} is the name of output {named} and the number of "
            "another: write numbers as JSON, without quotation marks"
        )
    found = number if named is None else named
    if found is None or not 0 <= found < outputs:
        few = f", as {_few(names)}" if names else " without names: give their numbers"
        raise UserError(
            f"data.labels = {file!r} has the output {value!r}, which the network has not (or "
            f"has twice); it has {outputs}{few}"
        )
    return found


def _none(labels: Sequence[str] | None, names: Sequence[str] | None, how: str) -> str:
    """Return why no label met an output."""
    ours = f"of the data's {len(labels)} labels ({_few(labels)})" if labels else "of the labels"
    theirs = f"; it has {_few(names)}" if names else ""
    if how == _BY_NAME:
        if labels and (several := _several(ambiguous(labels, names or ()))):
            return f"none {ours} met an output of the network{several}"
        return f"none {ours} has the name of an output of the network{theirs}: {_ASK}"
    return f"none {ours} met an output {how}{theirs}: correct data.labels"


def _summary(
    found: Sequence[int | None],
    labels: Sequence[str] | None,
    numbers: Sequence[int] | None,
    how: str,
) -> str:
    """Return the line that says how many labels met an output, and names a few that did not."""
    if labels:
        lost = [label for label, output in zip(labels, found, strict=True) if output is None]
        count = len(labels)
    elif numbers is None:
        return f"they are taken {how}; others have no output"
    else:
        known = {label for label, output in enumerate(found) if output is not None}
        lost, count = [str(label) for label in numbers if label not in known], len(numbers)
    line = f"{count - len(lost)} of {count} met an output of the network, {how}"
    return line + (f"; not {_few(lost)}" if lost else "")


def _several(labels: Sequence[str]) -> str:
    """Return what a line goes on with about labels whose name several outputs have."""
    if not labels:
        return ""
    names = "the name" if len(labels) == 1 else "the names"
    return f"; several outputs have {names} {_few(labels)}: {_ASK}"


def _predicted(needed: bool) -> str:
    return ", so that relevance starts at the predicted class" if needed else ""


def _few(texts: Sequence[str] | None) -> str:
    """Return a few of many names for a line."""
    texts = texts or ()
    shown = ", ".join(repr(text[:LONGEST]) for text in texts[:FEW])
    return shown + (f" and {len(texts) - FEW} more" if len(texts) > FEW else "")
