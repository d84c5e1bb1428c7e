"""What a channel means, read from the planted truth of its references.

A reference shows the attributes of the object only where the object is: a patch that lies
beside it (on a twig, or a corner of the background) counts for the background alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atlas.demo.world import ATTRIBUTES, DrawnPicture, Mask

Box = tuple[int, int, int, int]

CLEAR_PURITY = 0.8
"""A channel is clear when at least this share of its references show its meaning."""
CLEAR_LIFT = 3.0
"""A channel is clear when this share is at least so many times what chance would give."""

_OBJECT_KINDS = ("shape", "texture", "colour", "position")


@dataclass(frozen=True)
class PlantedMeaning:
    """The attribute value that most references of a channel share.

    Attributes
    ----------
    kind, value : str
        The attribute and its value, such as "colour" and "red".
    purity : float
        Share of the references whose patches show the value.
    base_rate : float
        Share of all pictures that have it.
    """

    kind: str
    value: str
    purity: float
    base_rate: float

    @property
    def clear(self) -> bool:
        """Whether the references say what the channel means, beyond chance."""
        return self.purity >= CLEAR_PURITY and self.purity >= CLEAR_LIFT * self.base_rate


def shown(picture: DrawnPicture, box: Box | None = None, least: float = 0.02) -> dict[str, str]:
    """Return the attributes that can be seen within a box of a picture.

    Parameters
    ----------
    picture : DrawnPicture
        A drawn picture.
    box : tuple of int, optional
        x0, y0, x1, y1 in pixels, the ends excluded; the whole picture if not given.
    least : float
        Share of the box that the object (or the ground around it) must cover to be seen.
    """
    part: Mask = picture.mask
    if box is not None:
        x0, y0, x1, y1 = box
        part = part[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    if not part.size:
        return {}
    covered = float(part.mean())
    seen = dict(picture.attributes)
    if covered < least:
        seen = {kind: value for kind, value in seen.items() if kind not in _OBJECT_KINDS}
    if 1.0 - covered < least:
        seen.pop("background")
    return seen


def base_rates(attributes: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], float]:
    """Return the share of each (kind, value) among the attributes of all pictures."""
    counts = Counter(item for picture in attributes for item in picture.items())
    return {
        (kind, value): counts[kind, value] / max(len(attributes), 1)
        for kind, values in ATTRIBUTES.items()
        for value in values
    }


def meaning(
    references: Sequence[Mapping[str, str]],
    rates: Mapping[tuple[str, str], float],
) -> PlantedMeaning:
    """Return the value that the references of a channel share most beyond its base rate.

    Parameters
    ----------
    references : sequence of Mapping
        What each reference shows, from `shown` (or a picture's attributes); not empty.
    rates : Mapping
        From `base_rates`.
    """
    counts = Counter(item for seen in references for item in seen.items())

    def beyond_chance(item: tuple[str, str]) -> float:
        rate = rates[item]
        return (counts[item] / len(references) - rate) / max(1.0 - rate, 1e-9)

    best = max(rates, key=beyond_chance)
    return PlantedMeaning(*best, purity=counts[best] / len(references), base_rate=rates[best])
