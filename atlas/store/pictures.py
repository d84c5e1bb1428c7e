"""Stored pictures, read again."""

from functools import lru_cache
from pathlib import Path

from PIL import Image

from atlas.errors import UserError


def read_picture(path: Path | str) -> Image.Image:
    """Read a stored picture.

    Raises
    ------
    UserError
        It is missing or damaged.
    """
    try:
        with Image.open(path, formats=["WEBP"]) as picture:
            return picture.convert("RGB")
    except OSError as error:
        raise UserError(
            f"the stored picture {path} cannot be read: delete it and run `atlas build` again"
        ) from error


@lru_cache(maxsize=2048)
def open_picture(path: Path | str) -> Image.Image:
    """Read a stored picture; the last ones stay in memory (at 224 px, 300 MB of them)."""
    return read_picture(path)
