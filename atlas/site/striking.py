"""A few channels for the home page, by a rule that the page states."""

from atlas.site.catalogue import Catalogue, Channel

COUNT = 8


def choose(catalogue: Catalogue) -> list[Channel]:
    """Return channels of the last third of the layers with the highest share for one class.

    No two of them share that class or are each other's nearest channels, so that they show
    different things.
    """
    late = [layer for layer in catalogue.layers if layer.depth >= 2 / 3]
    candidates = [catalogue.channels[row] for layer in late for row in layer.rows]
    candidates = [c for c in candidates if max(c.values["top_class_shares"], default=0) > 0]
    candidates.sort(key=lambda c: (-c.values["top_class_shares"][0], c.row))
    chosen: list[Channel] = []
    classes: set[int] = set()
    near: set[int] = set()
    for channel in candidates:
        best = channel.values["top_classes"][0]
        if best in classes or channel.row in near:
            continue
        chosen.append(channel)
        classes.add(best)
        near.update(channel.values["neighbours"])
        if len(chosen) == COUNT:
            break
    return chosen
