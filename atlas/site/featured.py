"""The channels that the home page shows, chosen by a rule that the page states."""

from atlas.site.catalogue import Catalogue
from atlas.site.entries import ChannelEntry

COUNT = 8
OF_ONE_LAYER = 24
"""Channels that are shown, and those of an atlas of one layer, which has no network to show."""


def choose(catalogue: Catalogue) -> list[ChannelEntry]:
    """Return channels of the last third of the layers with the highest share for one class.

    No two of them share that class or are each other's nearest channels, and no layer has more
    than its part of them, so that they show different things.
    """
    late = [
        layer for layer in catalogue.layers if layer.position >= 2 / 3 * (len(catalogue.layers) - 1)
    ]
    candidates = [catalogue.channels[row] for layer in late for row in layer.rows]
    candidates = [c for c in candidates if c.classes and c.classes[0][1] > 0]
    candidates.sort(key=lambda c: (-c.classes[0][1], c.row))
    count = OF_ONE_LAYER if len(catalogue.layers) == 1 else COUNT
    most = -(-count // max(len(late), 1))  # of one layer
    chosen: list[ChannelEntry] = []
    classes: set[int] = set()
    near: set[int] = set()
    for channel in candidates:
        best = channel.classes[0][0]
        of_layer = sum(1 for other in chosen if other.layer == channel.layer)
        if best in classes or channel.row in near or of_layer == most:
            continue
        chosen.append(channel)
        classes.add(best)
        near.update(row for row, _ in channel.neighbours)
        if len(chosen) == count:
            break
    return chosen
