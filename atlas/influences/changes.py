"""Changes of a picture that each take one thing away and leave the others.

Nauta et al., "This looks like that, because ..." (2020), change pictures to find out why a part of
one looks like a prototype. At the levels of their code hardly anything but contrast changes what
the channels of a network do; these levels were validated on the demo network, where it is known
what channels mean (`benchmarks/because.py`).
"""

from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageEnhance

HUE = 128
"""By how much of 256 the hue is turned: to the opposite one."""

SATURATION = 0.3
"""What is left of the saturation."""

CONTRAST = 0.45
"""What is left of the contrast."""

TILES = 28
"""Tiles in a row within which pixels are shuffled: colours and outlines stay, patterns go."""

SMALLEST = 3
"""Least side of such a tile in pixels."""

PIECES = 3
"""Pieces in a row that change places: patterns and colours stay, outlines go."""

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def hue(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    """Turn every hue to the opposite one."""
    planes = np.array(picture.convert("HSV"))
    planes[..., 0] += np.uint8(HUE)  # wraps around, as hues do
    return Image.fromarray(planes, "HSV").convert("RGB")


def saturation(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    """Take most of the saturation away."""
    return ImageEnhance.Color(picture).enhance(SATURATION)


def contrast(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    """Take half of the contrast away."""
    return ImageEnhance.Contrast(picture).enhance(CONTRAST)


def texture(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Shuffle the pixels within each of many small tiles."""
    pixels = np.array(picture)
    side = max(min(picture.size) // TILES, SMALLEST)
    tiles = _tiles(pixels, side, side)
    order = random.random(tiles.shape[:2]).argsort(axis=1)
    return _put(pixels, np.take_along_axis(tiles, order[..., None], axis=1), side, side)


def shape(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Let the pieces of the picture change places; none stays where it is."""
    pixels = np.array(picture)
    height, width = picture.height // PIECES, picture.width // PIECES
    pieces = _tiles(pixels, height, width)
    places = np.arange(len(pieces))
    order = random.permutation(len(pieces))
    while (order == places).any():
        order = random.permutation(len(pieces))
    return _put(pixels, pieces[order], height, width)


CHANGES: Mapping[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "hue": hue,
    "saturation": saturation,
    "contrast": contrast,
    "texture": texture,
    "shape": shape,
}
"""The changes by what they take away."""


def _tiles(pixels: Pixels, height: int, width: int) -> Pixels:
    """Return the tiles of a picture (tiles, pixels of one, 3); what is over stays out."""
    rows, columns = pixels.shape[0] // height, pixels.shape[1] // width
    inside = pixels[: rows * height, : columns * width]
    apart = inside.reshape(rows, height, columns, width, 3).transpose(0, 2, 1, 3, 4)
    return apart.reshape(rows * columns, height * width, 3)


def _put(pixels: Pixels, tiles: Pixels, height: int, width: int) -> Image.Image:
    """Return the picture with other tiles."""
    rows, columns = pixels.shape[0] // height, pixels.shape[1] // width
    apart = tiles.reshape(rows, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    pixels[: rows * height, : columns * width] = apart.reshape(rows * height, columns * width, 3)
    return Image.fromarray(pixels)
