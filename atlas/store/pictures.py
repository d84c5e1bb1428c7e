"""Stored pictures, read again."""

import warnings
from functools import lru_cache
from pathlib import Path
from typing import IO

from PIL import Image

from atlas.errors import UserError, one_line

PIXELS = 1 << 24
"""Most pixels of a stored picture, which has the size of the network's input."""


def read_picture(path: Path | str) -> Image.Image:
    """Read a stored picture.

    Raises
    ------
    UserError
        It is missing, damaged or far larger than a network's input.
    """
    return load_picture(path, path).convert("RGB")


def load_picture(file: Path | str | IO[bytes], path: Path | str) -> Image.Image:
    """Read a picture of an atlas, WebP, from a file that is called `path` in messages.

    Raises
    ------
    UserError
        It is missing, damaged or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we look ourselves
            with Image.open(file, formats=["WEBP"]) as picture:
                if picture.width * picture.height > PIXELS:
                    raise ValueError(f"{picture.width} x {picture.height} pixels")
                picture.load()
                return picture.copy()
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(
            f"the stored picture {path} cannot be read ({one_line(error)[:100]}): delete it and "
            "run `atlas build` again"
        ) from error


@lru_cache(maxsize=2048)
def open_picture(path: Path | str) -> Image.Image:
    """Read a stored picture; the last ones stay in memory (at 224 px, 300 MB of them)."""
    return read_picture(path)
