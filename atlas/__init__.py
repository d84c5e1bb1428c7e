"""Concept Atlas: a browsable, citable catalogue of what the channels of a CNN mean."""

from atlas.api import Atlas, Channel, Reference, open  # noqa: A004 (atlas.open)
from atlas.errors import UserError

__all__ = ["Atlas", "Channel", "Reference", "UserError", "open"]

__version__ = "0.1.0"
