"""Kinds of classes: the superclasses by which a long list of classes is narrowed.

Only WordNet's, for ImageNet's classes: a file that the recipe names may lie anywhere, and a site is
also made from atlases of other people.
"""

from collections.abc import Mapping, Sequence

from atlas.data.hierarchy import superclasses
from atlas.site.entries import ClassEntry

FEWEST = 3
"""Classes of a kind at least."""

MOST_OF_ALL = 0.5
"""Share of all classes that a kind may have: a wider one narrows nothing."""

OF_CLASS = 7
"""Kinds of one class, the narrowest first."""

LISTED = 60
"""Kinds that the list of classes offers, the largest first."""


def kinds(classes: Sequence[ClassEntry], names: Sequence[str]) -> Mapping[int, list[str]]:
    """Return the kinds of each class, narrowest first; none for classes that WordNet has not.

    Parameters
    ----------
    classes : sequence of ClassEntry
        Those that have pages.
    names : sequence of str
        Names of all classes, by number.
    """
    own = {label.label for label in classes}
    below = {kind: own & some for kind, some in superclasses("", names).classes.items()}
    found: dict[int, list[str]] = {label: [] for label in own}
    for kind, some in sorted(below.items(), key=lambda pair: (len(pair[1]), pair[0])):
        if FEWEST <= len(some) <= MOST_OF_ALL * len(own):
            for label in some:
                if len(found[label]) < OF_CLASS:
                    found[label].append(kind)
    return found
