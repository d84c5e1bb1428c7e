"""Finding channels: by address, by words, by a picture.

`atlas.lookup.picture`, which needs torch, is imported where it is used.
"""

from atlas.lookup.conditions import Conditions
from atlas.lookup.hit import Hit
from atlas.lookup.wordsearch import WordSearch

__all__ = ["Conditions", "Hit", "WordSearch"]
