"""Concept Atlas: a browsable, citable catalogue of what the channels of a CNN mean."""

from atlas.api.atlas import Atlas, open  # noqa: A004 (atlas.open)
from atlas.api.contents import Channel, Sense
from atlas.api.reference import Reference
from atlas.api.sampled import Sampled
from atlas.errors import UserError
from atlas.lookup import Hit

__all__ = ["Atlas", "Channel", "Hit", "Reference", "Sampled", "Sense", "UserError", "open"]

__version__ = "0.1.0"
