"""What may be read of a file that somebody else wrote: where it lies, and how large it is.

An atlas is a thing that people pass on. So what one names is looked at before it is followed, and
what one says of its sizes before memory is taken for it.
"""

import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from atlas.errors import UserError, one_line

JSON_BYTES = 64 << 20
"""Most bytes of a manifest, evidence or narrative; that of a large atlas has 1 MB."""

RECORDS_BYTES = 4 << 30
"""Most bytes of a file of records; 26,560 channels, named by three methods, have 0.3 GB."""

TABLE_BYTES = 512 << 20
"""What any table may take in memory."""

EXPANSION = 500
"""A larger table may take so many times its size on the disk; ours take up to 30 times."""

ROWS = 1 << 28
"""Most rows of a table."""

EXPLAINED = "explanations"
"""The directory of an atlas whose directories' entries are looked at too: they are read."""

WATCHED = (
    "images", EXPLAINED, "factors", "factors/directions", "factors/made", "made", "pages", "site",
    "theme",
)  # fmt: skip
"""Directories of an atlas whose own entries are looked at too."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""Where a JSON text may have half of a pair of surrogates."""

_FORBIDDEN = frozenset('\\:\0<>"|?*')
"""What no file of ours has in its name: other separators, streams, what systems read as more."""


def inside(root: Path, name: str) -> Path:
    """Return the path of a file of an atlas by the name that something in the atlas gives it.

    Parameters
    ----------
    root : Path
        The atlas directory.
    name : str
        With forward slashes, from `root`.

    Raises
    ------
    UserError
        It leads out of the atlas, by itself or by a link.
    """
    parts = name.split("/")
    path = root.joinpath(*parts)
    if any(part in ("", ".", "..") for part in parts) or _FORBIDDEN & set(name):
        raise _outside(root, name)
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise _outside(root, name)
    return path


def no_links_out(root: Path) -> None:
    """Look at what a reader or a writer of the atlas would follow.

    Raises
    ------
    UserError
        An entry of the directory is a link that leads out of it, or neither file nor directory: a
        pipe would be waited for without end.
    """
    for name in ("", *WATCHED):
        _look_at(root, root / name, deep=name == EXPLAINED)


def _look_at(root: Path, folder: Path, *, deep: bool) -> None:
    """Look at the entries of a directory, and at those of its directories if `deep`."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        name = os.path.relpath(entry.path, root)
        real = Path(os.path.realpath(entry.path))
        if entry.is_symlink() and not real.is_relative_to(os.path.realpath(root)):
            raise _outside(root, name)
        if not entry.is_symlink() and not (entry.is_file() or entry.is_dir()):
            raise UserError(f"{entry.path} is no plain file: get the atlas anew, or delete it")
        if deep and entry.is_dir():
            _look_at(root, Path(entry.path), deep=False)


def _outside(root: Path, name: str) -> UserError:
    return UserError(
        f"{root} names a file outside the atlas ({name[:120]!r}), which is not followed: put the "
        "file itself there, or get the atlas anew from whom you trust"
    )


def read_json(path: Path, most: int = JSON_BYTES) -> Any:
    """Return the value in a JSON file; NaN and infinities, which JSON lacks, are errors.

    So is half of a pair of surrogates: it is no character, and no page could be written with it.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is too large or no JSON.
    """
    text = read_bytes(path, most).decode("utf-8-sig")
    value = parse_json(text)
    if _SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("a text in it has half of a character") from error
    return value


def parse_json(text: str | bytes) -> Any:
    """Return a JSON value; ValueError if it is none, however deep it is."""
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large for a number")
    return value


def read_bytes(path: Path, most: int) -> bytes:
    """Return what is in a file; ValueError if that is more than `most` bytes, or no plain file."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no plain file")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most >> 20} MB")
    return content


def check_table(file: pq.ParquetFile, path: Path, columns: Sequence[str]) -> None:
    """Look whether the columns of a table that are to be read fit what the file can hold.

    Raises
    ------
    UserError
        They do not.
    """
    metadata, size = file.metadata, path.stat().st_size
    allowed = max(TABLE_BYTES, EXPANSION * size)
    wanted, total = set(columns), 0
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for place in range(row_group.num_columns):
            chunk = row_group.column(place)
            if chunk.path_in_schema.split(".")[0] in wanted:
                # A value takes 4 bytes or more here, even where the file says it once for all.
                total += max(chunk.total_uncompressed_size, 4 * chunk.num_values)
                if chunk.total_uncompressed_size < 0 or chunk.num_values < 0:
                    total = allowed + 1
    if not 0 <= metadata.num_rows <= ROWS or total > allowed:
        raise UserError(
            f"{path} says that it holds {metadata.num_rows} rows and {total >> 20} MB, far more "
            f"than its {size} bytes: it is damaged, or made to fill the memory"
        )


def damaged(path: Path, error: BaseException | str) -> UserError:
    """Return the error about a file of an atlas that is not as this package writes it."""
    reason = error if isinstance(error, str) else one_line(error)
    return UserError(
        f"{path} is damaged or was not written by concept-atlas ({reason[:200]}): get it anew, or "
        "delete it and run `atlas build` again"
    )
