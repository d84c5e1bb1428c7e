"""A file of the user's that says which output each label is: JSON or CSV."""

import csv
import io
import json
from pathlib import Path

from atlas.errors import UserError, one_line

COUNTED = {"from 0": 0, "from 1": 1}
"""What `data.labels` may say instead of labels that are numbers: which is the first output."""


def read(file: str) -> dict[str, str | int]:
    """Return label -> name or number of its output, as a file says.

    Parameters
    ----------
    file : str
        JSON: an object; or CSV with two columns, under the names label and output or none.

    Raises
    ------
    UserError
        It cannot be read, is neither, or has two outputs for a label.
    """
    try:
        text = Path(file).expanduser().read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        counted = " or ".join(map(repr, COUNTED))
        raise UserError(
            f"data.labels = {file!r} cannot be read ({one_line(error)}): give a file, or {counted} "
            "where labels are numbers"
        ) from error
    pairs = _json(text, file) if text.lstrip().startswith(("{", "[")) else _csv(text, file)
    found: dict[str, str | int] = {}
    for label, output in pairs:
        if found.setdefault(label, output) != output:
            raise UserError(f"data.labels = {file!r} has two outputs for the label {label!r}")
    if not found:
        raise UserError(f"data.labels = {file!r} has no labels")
    return found


def _json(text: str, file: str) -> list[tuple[str, str | int]]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"data.labels = {file!r} is not JSON: {one_line(error)}") from error
    if not text.lstrip().startswith("{") or not all(
        isinstance(output, (str, int)) and not isinstance(output, bool) for _, output in pairs
    ):
        raise UserError(
            f"data.labels = {file!r}: expected an object that has for each label the name or "
            "number of its output"
        )
    return [(label, output) for label, output in pairs]


def _csv(text: str, file: str) -> list[tuple[str, str | int]]:
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    if rows and [cell.strip().lower() for cell in rows[0]] == ["label", "output"]:
        rows = rows[1:]
    if wrong := next((row for row in rows if len(row) != 2), None):
        raise UserError(
            f"data.labels = {file!r}: expected two columns, label and output, and not "
            f"{','.join(wrong)[:60]!r} (put names that have commas in quotation marks)"
        )
    return [(label.strip(), output.strip()) for label, output in rows]
