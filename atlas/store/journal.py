"""Files that only grow: one JSON object a line, each line whole or not there at all."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from atlas.errors import UserError, one_line
from atlas.store import bounds


def read(path: Path) -> list[dict[str, Any]]:
    """Return the objects in a file; none if there is no file.

    A last line without its line break is what an interruption left; it counts as not written.

    Raises
    ------
    UserError
        A line is no JSON object.
    """
    try:
        text = bounds.read_bytes(path, bounds.RECORDS_BYTES).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise bounds.damaged(path, error) from error
    objects = []
    for number, line in enumerate(text[: text.rfind("\n") + 1].split("\n")[:-1], 1):
        try:
            value = bounds.parse_json(line)
            if not isinstance(value, dict):
                raise TypeError(f"{type(value).__name__} instead of an object")
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{path}, line {number}, cannot be read ({one_line(error)[:200]}): restore the "
                "file, or delete that line"
            ) from error
        objects.append(value)
    return objects


def line(value: dict[str, Any]) -> str:
    """Return an object as a line of a file, with its line break."""
    return json.dumps(value, ensure_ascii=True) + "\n"


def append(path: Path, objects: Iterable[dict[str, Any]]) -> None:
    """Add objects and see them onto the disk; what an interruption left half goes away."""
    lines = "".join(map(line, objects))
    with path.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(lines.encode())
        file.flush()
        os.fsync(file.fileno())
