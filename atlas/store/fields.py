"""What may stand in a field of an explanation's evidence."""

from typing import Annotated

from pydantic import Field

Id = Annotated[str, Field(pattern=r"^[a-z]+[0-9]*(:[^\x00-\x1f]{1,300})?$")]
"""Id of a part of the evidence."""

Slug = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,80}$")]
"""Id of an explanation, and the name of its directory."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

Number = Annotated[float, Field(ge=-1e30, le=1e30)]

Probability = Annotated[float, Field(ge=0, le=1 + 1e-6)]
"""Rounded sums of exponentials may pass 1 by their last digit."""

Count = Annotated[int, Field(ge=0, lt=1 << 53)]

Tied = Annotated[int, Field(ge=1, lt=1 << 31)]
"""How many classes have a logit alike, up to rounding: 1 where a class is alone."""

Side = Annotated[int, Field(ge=1, le=16_383)]
Edge = Annotated[int, Field(ge=-(1 << 20), le=1 << 20)]
"""Pixels, or units of a layer."""
