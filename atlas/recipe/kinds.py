"""Kinds of values that several tables of a recipe have."""

import math
from collections.abc import Iterable
from operator import index
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Fraction = Annotated[float, Field(ge=0, le=1)]

STRICT = ConfigDict(extra="forbid")  # a typo in a recipe is an error, not a default

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

Extent = int | tuple[int, int]
"""A length in pixels, or height and width."""


def extent(value: object) -> Extent:
    """Return `value` as an extent; a pair of equal parts stays a pair.

    Raises
    ------
    ValueError
        It is neither a positive whole number nor two of them.
    """
    try:
        if isinstance(value, (list, tuple)):
            height, width = map(_length, value)
            return height, width
        return _length(value)
    except (TypeError, ValueError):
        raise ValueError("write a whole number of pixels, or [height, width]") from None


def _length(value: Any) -> int:
    if isinstance(value, bool) or index(value) < 1:
        raise ValueError
    return index(value)


def levels(value: object) -> tuple[float, ...]:
    """Return `value` as one number for grey pictures, or three for red, green and blue.

    Raises
    ------
    ValueError
        It is neither, or not finite.
    """
    given: Iterable[Any] = value if isinstance(value, Iterable) else [value]
    try:
        parts = tuple(map(float, given))
    except (TypeError, ValueError):
        parts = ()
    if len(parts) not in (1, 3) or not all(map(math.isfinite, parts)):
        raise ValueError("write three numbers (red, green, blue), or one for grey pictures")
    return parts
