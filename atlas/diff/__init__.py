"""What differs between two atlases: other data, another checkpoint, other names.

Explanations by examples depend on the pictures that were shown (Ramaswamy et al., CVPR 2023), so
it matters how much.
"""

from atlas.diff.compare import ChannelPair, ClassPair, Comparison, compare
from atlas.diff.matching import By

__all__ = ["By", "ChannelPair", "ClassPair", "Comparison", "compare"]
