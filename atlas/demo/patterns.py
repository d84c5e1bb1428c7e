"""Textures of the objects and the kinds of background, as maps of light and dark.

Functions take coordinates in pixels of a 112-pixel picture, float32 arrays of shape (H, W),
and return a float32 map of the same shape. Only + - * /, comparisons and rounding to whole
numbers are used: the pixels are then the same on every machine.
"""

from collections.abc import Callable, Mapping

import numpy as np

from atlas.demo.dice import Dice, Plane

Texture = Callable[[Plane, Plane, float], Plane]
Background = Callable[[Plane, Plane, Dice], Plane]


def _fraction(x: Plane) -> Plane:
    fraction: Plane = x - np.floor(x)
    return fraction


def _triangle_wave(x: Plane) -> Plane:
    """Return a wave of period 1 between 0 (at whole numbers) and 0.5."""
    wave: Plane = np.abs(_fraction(x + 0.5) - 0.5)
    return wave


def _smooth_wave(x: Plane) -> Plane:
    """Return a wave of period 1 between -1 and 1, made of parabolas."""
    t = 2.0 * _fraction(x) - 1.0
    wave: Plane = 4.0 * t * (1.0 - np.abs(t))
    return wave


def _edge(x: Plane, sharpness: float) -> Plane:
    """Return 0 for negative and 1 for positive x, with an edge one pixel wide."""
    share: Plane = np.clip(x * sharpness + 0.5, 0.0, 1.0)
    return share


def _look_up(table: Plane, column: Plane, row: Plane) -> Plane:
    """Return a random number for each cell of a grid, repeating beyond the table."""
    height, width = table.shape
    cell: Plane = table[row.astype(np.int32) % height, column.astype(np.int32) % width]
    return cell


# --- Textures: 0 is the dark tone, 1 the light one; half of the area is light. -------------


def plain(u: Plane, v: Plane, period: float) -> Plane:
    """Return one even tone."""
    return np.full_like(u, 0.5)


def striped(u: Plane, v: Plane, period: float) -> Plane:
    """Return straight stripes."""
    return _edge(_triangle_wave(u / period) - 0.25, period)


def checked(u: Plane, v: Plane, period: float) -> Plane:
    """Return the squares of a chessboard."""
    across, down = striped(u, v, 1.4 * period), striped(v, u, 1.4 * period)
    return across + down - 2.0 * across * down


def dotted(u: Plane, v: Plane, period: float) -> Plane:
    """Return light dots on a dark ground."""
    row = np.floor(v / period)
    shifted = u / period + 0.5 * (row - 2.0 * np.floor(row / 2.0))
    x, y = _fraction(shifted) - 0.5, _fraction(v / period) - 0.5
    return _edge(0.37 - np.sqrt(x * x + y * y), period)


def zigzag(u: Plane, v: Plane, period: float) -> Plane:
    """Return stripes that turn to and fro."""
    return striped(u + 1.5 * period * _triangle_wave(v / (1.7 * period)), v, period)


TEXTURES: Mapping[str, Texture] = {
    "plain": plain,
    "striped": striped,
    "checked": checked,
    "dotted": dotted,
    "zigzag": zigzag,
}

# --- Backgrounds: around 0, mostly within -1 to 1. ------------------------------------------


def clear(x: Plane, y: Plane, dice: Dice) -> Plane:
    """Return a slow change from one side to the other."""
    slope_x, slope_y = dice.between(-0.7, 0.7), dice.between(-0.7, 0.7)
    return (x / 56.0 - 1.0) * slope_x + (y / 56.0 - 1.0) * slope_y


def bricks(x: Plane, y: Plane, dice: Dice) -> Plane:
    """Return a wall of bricks with light joints."""
    height = dice.between(10.0, 14.0)
    width = 2.1 * height
    x, y = x / width + dice.unit(), y / height + dice.unit()
    row = np.floor(y)
    x = x + 0.5 * (row - 2.0 * np.floor(row / 2.0))
    tone = 0.8 * _look_up(dice.table(16, 16), np.floor(x), row) - 0.8
    joint = np.minimum(_triangle_wave(x) * width, _triangle_wave(y) * height)
    return tone + (1.3 - tone) * _edge(0.9 - joint, 1.0)


def waves(x: Plane, y: Plane, dice: Dice) -> Plane:
    """Return soft wavy bands that lie on each other."""
    length, period = dice.between(26.0, 38.0), dice.between(10.0, 14.0)
    swing = 0.3 * _smooth_wave(x / length + dice.unit())
    return 0.9 * _smooth_wave(y / period + swing + dice.unit())


def clouds(x: Plane, y: Plane, dice: Dice) -> Plane:
    """Return soft blotches of two sizes."""
    total = np.zeros_like(x)
    for cell, weight in ((26.0, 2.4), (12.0, 0.9)):
        table = dice.table(16, 16)
        column, row = np.floor(x / cell), np.floor(y / cell)
        a, b = x / cell - column, y / cell - row
        a, b = a * a * (3.0 - 2.0 * a), b * b * (3.0 - 2.0 * b)
        top = _look_up(table, column, row) * (1.0 - a) + _look_up(table, column + 1, row) * a
        below = row + 1
        low = _look_up(table, column, below) * (1.0 - a) + _look_up(table, column + 1, below) * a
        total = total + weight * (top * (1.0 - b) + low * b - 0.5)
    return total


def pebbles(x: Plane, y: Plane, dice: Dice) -> Plane:
    """Return rounded stones with dark gaps between them."""
    cell = dice.between(13.0, 17.0)
    x, y = x / cell + dice.unit(), y / cell + dice.unit()
    column, row = np.floor(x), np.floor(y)
    jitter_x, jitter_y, tones = dice.table(16, 16), dice.table(16, 16), dice.table(16, 16)
    nearest, second = np.full_like(x, 9.0), np.full_like(x, 9.0)
    tone = np.zeros_like(x)
    for step_x in (-1.0, 0.0, 1.0):
        for step_y in (-1.0, 0.0, 1.0):
            c, r = column + step_x, row + step_y
            far_x = c + 0.15 + 0.7 * _look_up(jitter_x, c, r) - x
            far_y = r + 0.15 + 0.7 * _look_up(jitter_y, c, r) - y
            distance = np.sqrt(far_x * far_x + far_y * far_y)
            second = np.minimum(second, np.maximum(nearest, distance))
            tone = np.where(distance < nearest, _look_up(tones, c, r), tone)
            nearest = np.minimum(nearest, distance)
    stone = 0.9 + 0.6 * (tone - 0.5) - 0.8 * nearest
    return np.where(second - nearest > 0.12, stone, -1.3)


def rain(x: Plane, y: Plane, dice: Dice) -> Plane:
    """Return short slanting strokes, light on a darker ground."""
    spacing, length = dice.between(5.5, 7.5), dice.between(20.0, 26.0)
    x = (x + dice.sign() * dice.between(0.3, 0.5) * y) / spacing + 64.0
    column = np.floor(x)
    start = _look_up(dice.table(1, 64), column, np.zeros_like(column))
    along = _fraction(y / length + start)
    across = x - column
    inside = np.minimum(
        (0.27 - np.abs(along - 0.5)) * length, (0.2 - np.abs(across - 0.5)) * spacing
    )
    return 2.0 * _edge(inside, 1.0) - 0.4


BACKGROUNDS: Mapping[str, Background] = {
    "clear": clear,
    "bricks": bricks,
    "waves": waves,
    "clouds": clouds,
    "pebbles": pebbles,
    "rain": rain,
}
