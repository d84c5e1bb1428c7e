"""Kinds of values that several tables of a recipe have."""

from typing import Annotated

from pydantic import ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Fraction = Annotated[float, Field(ge=0, le=1)]

STRICT = ConfigDict(extra="forbid")  # a typo in a recipe is an error, not a default
