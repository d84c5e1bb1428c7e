"""Which class somebody means: by its name first, then by its number."""

import sys
from collections.abc import Sequence

from tqdm import tqdm

from atlas.errors import UserError

NEAREST = 3
"""How many names a message about an unknown class has."""


def find(asked: str, names: Sequence[str]) -> int:
    """Return the number of the class that `asked` names, or numbers.

    Names come before numbers, because classes may be called "1", "10", "2"; a line says so
    where the two differ. `:3` is always the class with number 3.

    Parameters
    ----------
    asked : str
        A name, in any case; or a number from 0, with or without `:`.
    names : sequence of str
        Those of classes.parquet, by number.

    Raises
    ------
    UserError
        There is none, or several have the name.
    """
    text = asked.strip()
    number = _number(text, names)
    if text.startswith(":") and number is not None:
        return number
    for known in (asked, text), {text.casefold()}:
        found = [
            label
            for label, name in enumerate(names)
            if (name if len(known) == 2 else name.strip().casefold()) in known
        ]
        if len(found) > 1:
            which = ", ".join(f":{label} ({names[label]!r})" for label in found[:8])
            raise UserError(f"several classes are named {asked!r}: give one of {which}")
        if found:
            if number is not None and found[0] != number:
                tqdm.write(
                    f"{asked!r} is taken for the class of this name, number {found[0]}; number "
                    f"{number} ({names[number]!r}) is ':{number}'",
                    sys.stderr,
                )
            return found[0]
    if number is not None:
        return number
    from rapidfuzz import process  # noqa: PLC0415 (only mistakes need it)

    close = [match for match, _, _ in process.extract(text, names, limit=NEAREST)]
    raise UserError(
        f"no class {asked!r}: the nearest are {', '.join(map(repr, close))}; give a name of "
        f"classes.parquet, or a number from :0 to :{len(names) - 1}"
    )


def _number(text: str, names: Sequence[str]) -> int | None:
    """Return a number that a class has; None if `text` is none."""
    digits = text.removeprefix(":")
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 9:
        return None
    return int(digits) if int(digits) < len(names) else None
