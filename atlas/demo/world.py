"""The demo world: pictures of one patterned object each, known to the pixel.

`draw(seed, index)` makes one picture from nothing but its two numbers, so that any picture
can be had at any time, in any order. The same pair gives the same pixels on every machine:
the random numbers come from raw PCG64 words and the drawing uses exactly rounded arithmetic
only (no sine, no matrix product, no sum over pixels, whose results depend on the machine).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

from atlas.demo.dice import Dice, Plane
from atlas.demo.outlines import OUTLINES
from atlas.demo.patterns import BACKGROUNDS, TEXTURES

Mask = npt.NDArray[np.bool_]

# Nameable hues of like saturation; luminances (Rec. 601) lie between 100 and 170.
_COLOURS: Mapping[str, tuple[float, float, float]] = {
    "red": (218.0, 44.0, 48.0),
    "orange": (238.0, 126.0, 30.0),
    "yellow": (222.0, 190.0, 38.0),
    "green": (62.0, 160.0, 58.0),
    "turquoise": (38.0, 178.0, 172.0),
    "blue": (48.0, 98.0, 222.0),
    "purple": (140.0, 66.0, 204.0),
    "pink": (240.0, 124.0, 182.0),
}

# Where the centre of the object is: range of the offset in x and in y, as a share of the
# room that the object leaves on each side.
_POSITIONS: Mapping[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "centre": ((-0.3, 0.3), (-0.3, 0.3)),
    "left": ((-1.0, -0.5), (-0.5, 0.5)),
    "right": ((0.5, 1.0), (-0.5, 0.5)),
    "top": ((-0.5, 0.5), (-1.0, -0.5)),
    "bottom": ((-0.5, 0.5), (0.5, 1.0)),
}

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "shape": tuple(OUTLINES),
    "texture": tuple(TEXTURES),
    "colour": tuple(_COLOURS),
    "background": tuple(BACKGROUNDS),
    "position": tuple(_POSITIONS),
}
"""The values of each attribute, in the order in which they are numbered."""

CLASSES: tuple[str, ...] = tuple(
    " ".join(words)
    for words in product(ATTRIBUTES["colour"], ATTRIBUTES["texture"], ATTRIBUTES["shape"])
)
"""Names of the classes, such as "red striped star": every colour, texture and shape."""

# How strong the light and dark of each texture are: a network's strongest responses would else
# be to the same texture nearly always (dots, which fit a small filter best, then stripes).
_STRENGTHS: Mapping[str, float] = {
    "plain": 1.0,
    "striped": 0.93,
    "checked": 1.0,
    "dotted": 0.85,
    "zigzag": 0.93,
}

_REFERENCE_SIZE = 112  # all lengths below are in pixels of a picture this wide


@dataclass(frozen=True)
class DrawnPicture:
    """One picture and the truth about it.

    Attributes
    ----------
    image : numpy.ndarray
        uint8, (H, W, 3), RGB.
    attributes : dict of str to str
        The value of every attribute in `ATTRIBUTES`.
    label : int
        Index of the picture's class in `CLASSES`.
    mask : numpy.ndarray
        bool, (H, W): where the main object is. Its shadow and the distractors are outside.
    distractors : numpy.ndarray
        bool, (H, W): where the grey crumbs and twigs are, which have no attributes.
    """

    image: npt.NDArray[np.uint8]
    attributes: dict[str, str]
    label: int
    mask: Mask
    distractors: Mask


def class_index(attributes: Mapping[str, str]) -> int:
    """Return the index in `CLASSES` of an object with these attributes.

    Parameters
    ----------
    attributes : Mapping of str to str
        At least "colour", "texture" and "shape".
    """
    label = 0
    for kind in ("colour", "texture", "shape"):
        label = label * len(ATTRIBUTES[kind]) + ATTRIBUTES[kind].index(attributes[kind])
    return label


def draw(
    seed: int,
    index: int,
    size: int = _REFERENCE_SIZE,
    instead: Mapping[str, str] | None = None,
) -> DrawnPicture:
    """Draw one picture.

    Parameters
    ----------
    seed : int
        Which world; not negative. The network was trained on seed 0.
    index : int
        Which picture of that world; not negative.
    size : int
        Width and height in pixels.
    instead : Mapping of str to str, optional
        Values of shape, texture or colour to draw in place of the picture's own; all else stays.

    Returns
    -------
    DrawnPicture
        The same for the same arguments, whatever was drawn before.
    """
    dice = Dice(seed, index)
    attributes = {kind: values[dice.below(len(values))] for kind, values in ATTRIBUTES.items()}
    rolled = attributes["texture"]
    attributes |= instead or {}
    grid = _grid(size)
    planes = _paint_background(grid, attributes["background"], dice)
    distractors = _paint_distractors(planes, grid, dice)
    mask = _paint_object(planes, grid, attributes, rolled, dice)

    light = dice.between(0.8, 1.08)
    lit = [np.clip(plane * (light * dice.between(0.97, 1.03)), 0.0, 255.0) for plane in planes]
    image = np.floor(np.stack(lit, axis=2) + 0.5).astype(np.uint8)
    return DrawnPicture(image, attributes, class_index(attributes), mask, distractors & ~mask)


@dataclass(frozen=True)
class _Grid:
    """The centres of the pixels, and the width of one, in reference pixels."""

    x: Plane
    y: Plane
    pixel: float


@lru_cache(maxsize=4)
def _grid(size: int) -> _Grid:
    line = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(
        _REFERENCE_SIZE / size
    )
    x, y = np.broadcast_to(line, (size, size)), np.broadcast_to(line[:, None], (size, size))
    return _Grid(np.ascontiguousarray(x), np.ascontiguousarray(y), _REFERENCE_SIZE / size)


def _cover(planes: list[Plane], colour: Sequence[float | Plane], share: Plane) -> None:
    """Lay a colour over the picture, in place, as far as `share` (0 to 1) says."""
    for channel, value in enumerate(colour):
        planes[channel] = planes[channel] + (value - planes[channel]) * share


def _paint_background(grid: _Grid, kind: str, dice: Dice) -> list[Plane]:
    """Return a muted background: no hue of its own that could be taken for an attribute."""
    grey = dice.between(105.0, 200.0)
    tint = [grey * dice.between(0.89, 1.11) for _ in range(3)]
    contrast = dice.between(0.13, 0.2)
    tone = BACKGROUNDS[kind](grid.x, grid.y, dice) * contrast + 1.0
    return [tone * channel for channel in tint]


def _paint_distractors(planes: list[Plane], grid: _Grid, dice: Dice) -> Mask:
    """Strew up to five grey crumbs and twigs; return where they are."""
    everything = np.zeros(grid.x.shape, dtype=np.bool_)
    for _ in range(dice.below(6)):
        cos, sin = dice.turn(1.0)
        dx, dy = grid.x - dice.between(4.0, 108.0), grid.y - dice.between(4.0, 108.0)
        u, v = cos * dx + sin * dy, cos * dy - sin * dx
        grey = dice.between(40.0, 215.0)
        length, width = (6.0, 1.1) if dice.unit() < 0.5 else (dice.between(0.5, 1.5), 2.4)
        over = np.maximum(np.abs(u) - length, 0.0)
        share = np.clip((width - np.sqrt(over * over + v * v)) / grid.pixel + 0.5, 0.0, 1.0)
        _cover(planes, (grey, grey, grey), share)
        everything |= share > 0.5
    return everything


def _paint_object(
    planes: list[Plane],
    grid: _Grid,
    attributes: Mapping[str, str],
    rolled: str,
    dice: Dice,
) -> Mask:
    """Paint the main object with its shadow; return where the object is.

    `rolled` is the texture that the dice gave, for which they roll once more if it is dotted.
    """
    radius = dice.between(21.0, 33.0)
    room = 0.5 * _REFERENCE_SIZE - 1.06 * radius
    range_x, range_y = _POSITIONS[attributes["position"]]
    dx = grid.x - 0.5 * _REFERENCE_SIZE - room * dice.between(*range_x)
    dy = grid.y - 0.5 * _REFERENCE_SIZE - room * dice.between(*range_y)
    cos, sin = dice.turn(0.2)
    outline = OUTLINES[attributes["shape"]]

    def distance(dx: Plane, dy: Plane) -> Plane:
        u, v = cos * dx + sin * dy, cos * dy - sin * dx
        return outline(u / radius, v / radius) * radius

    shadow = np.clip(0.5 - distance(dx - 2.5, dy - 3.5) / 7.0, 0.0, 1.0) * 0.45
    _cover(planes, (25.0, 25.0, 30.0), shadow)

    inside = distance(dx, dy)
    cos, sin = dice.turn(1.0)
    period = dice.between(9.0, 13.0)
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    pattern = TEXTURES[attributes["texture"]](
        u + period * dice.unit(), v + period * dice.unit(), period
    )
    strength = dice.between(0.6, 1.0) * _STRENGTHS[attributes["texture"]]
    turned = rolled == "dotted" and dice.unit() < 0.5
    if attributes["texture"] == "dotted" and turned:
        pattern = 1.0 - pattern
    # The rim is as dark on every texture, so that plain objects have an edge as well.
    shade = (1.0 - 0.004 * (dx + dy)) * (1.0 - 0.3 * np.clip(inside / 2.0 + 1.5, 0.0, 1.0))
    paint: list[float | Plane] = []
    for base in _COLOURS[attributes["colour"]]:
        light = base + (255.0 - base) * (0.5 * strength)
        dark = base * (1.0 - 0.32 * strength)
        middle = 0.5 * (light + dark) if attributes["texture"] != "plain" else base
        paint.append((middle + (light - dark) * (pattern - 0.5)) * shade)
    share = np.clip(0.5 - inside / grid.pixel, 0.0, 1.0)
    _cover(planes, paint, share)
    return inside < 0.0
