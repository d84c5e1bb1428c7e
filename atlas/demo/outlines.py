"""Outlines of the shapes, as signed distances.

Every function takes coordinates `u` (to the right) and `v` (downwards) around the centre of
the shape, float32 arrays of shape (H, W) in units of the shape's size, and returns the signed
distance to the outline in the same units, negative inside. The scales give all shapes
about the same area, so that area does not distinguish them. Only + - * /, square root and
comparisons are used: the pixels are then the same on every machine.
"""

from collections.abc import Callable, Mapping

import numpy as np

from atlas.demo.dice import Plane

Outline = Callable[[Plane, Plane], Plane]

# Cosine and sine of 36 degrees, and the tangent of 18 degrees.
_COS36, _SIN36 = 0.8090169943749475, 0.5877852522924731
_ROOT3_HALF = 0.8660254037844386


def circle(u: Plane, v: Plane) -> Plane:
    """Return the signed distance to a circle."""
    return np.sqrt(u * u + v * v) - 0.94


def square(u: Plane, v: Plane) -> Plane:
    """Return the signed distance to an upright square."""
    distance: Plane = np.maximum(np.abs(u), np.abs(v)) - 0.83
    return distance


def triangle(u: Plane, v: Plane) -> Plane:
    """Return the signed distance to a triangle that points up."""
    lower = v - 0.2
    distance: Plane = np.maximum(lower, _ROOT3_HALF * np.abs(u) - 0.5 * lower - 0.1) - 0.55
    return distance


def star(u: Plane, v: Plane) -> Plane:
    """Return the signed distance to a five-pointed star."""
    radius, inner = 1.22, 0.52
    x, y = np.abs(u), -v
    # Fold the plane onto one half of one point of the star.
    fold = 2.0 * np.maximum(_COS36 * x - _SIN36 * y, 0.0)
    x, y = x - fold * _COS36, y + fold * _SIN36
    fold = 2.0 * np.maximum(-_COS36 * x - _SIN36 * y, 0.0)
    x, y = np.abs(x + fold * _COS36), y + fold * _SIN36 - radius
    along_x, along_y = _SIN36 * inner, _COS36 * inner - 1.0
    length = along_x * along_x + along_y * along_y
    h = np.clip((x * along_x + y * along_y) / length, 0.0, radius)
    far_x, far_y = x - along_x * h, y - along_y * h
    distance = np.sqrt(far_x * far_x + far_y * far_y)
    return np.where(y * along_x > x * along_y, distance, -distance)


def heart(u: Plane, v: Plane) -> Plane:
    """Return the signed distance to a heart."""
    scale = 1.68
    x, y = np.abs(u) / scale, 0.53 - v / scale
    lobe_x, lobe_y = x - 0.25, y - 0.75
    lobe = np.sqrt(lobe_x * lobe_x + lobe_y * lobe_y) - 0.35355339059327373
    notch_y, foot = y - 1.0, 0.5 * np.maximum(x + y, 0.0)
    foot_x, foot_y = x - foot, y - foot
    near = np.minimum(x * x + notch_y * notch_y, foot_x * foot_x + foot_y * foot_y)
    side = np.sqrt(near)
    side = np.where(x > y, side, -side)
    return scale * np.where(x + y > 1.0, lobe, side)


def cross(u: Plane, v: Plane) -> Plane:
    """Return the signed distance to an upright cross."""
    x, y = np.abs(u), np.abs(v)
    return np.minimum(np.maximum(x - 1.08, y - 0.4), np.maximum(x - 0.4, y - 1.08))


OUTLINES: Mapping[str, Outline] = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "star": star,
    "heart": heart,
    "cross": cross,
}
