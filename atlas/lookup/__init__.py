"""Finding channels: by address, by words, by a picture."""

from atlas.lookup.choice import Choice
from atlas.lookup.hit import Hit
from atlas.lookup.words import Words

__all__ = ["Choice", "Hit", "Words"]
"""`atlas.lookup.picture`, which needs torch, is imported where it is used."""
