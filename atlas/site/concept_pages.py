"""A page for each concept: all channels that are called so, and what they serve."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

from atlas.searching.concepts import NamedConcept
from atlas.site import text, trust
from atlas.site.catalogue import Catalogue
from atlas.site.citing import Citing
from atlas.site.entries import ChannelEntry, ClassEntry, LayerEntry, by_relevance
from atlas.site.output import BuildCache, Tree
from atlas.site.writer import PageWriter

CHANNELS_OF_LAYER = 6
"""Channels of each layer on a concept's page; the search has all."""

CLASSES = 10
RELATED = 16
"""Classes, and other concepts of either kind, on a concept's page."""


def write(
    catalogue: Catalogue,
    tree: Tree,
    cache: BuildCache,
    writer: PageWriter,
    citing: Citing,
    title: str,
) -> None:
    """Write a page for each concept, and the one that lists them."""
    every = catalogue.concepts
    for concept in every.values():
        key = f"{link(concept)} {_digest(concept.rows)}"
        known = cache.files(key)
        if known is None or not tree.keep(known):
            page = _write(catalogue, writer, citing, concept)
            cache.add(key, concept.rows, tree.sizes([page]))
    writer.page(
        "concepts/index.html",
        "concepts.html",
        "Concepts",
        f"What the channels of {title} are called, each with all channels of that name.",
        meta=citing.meta("Concepts", "concepts/index.html"),
        concepts=[
            (concept, link(concept), len({catalogue.channels[r].layer.name for r in concept.rows}))
            for concept in every.values()
        ],
    )


def link(concept: NamedConcept) -> str:
    """Return the address of a concept's page from the site's root."""
    return f"concepts/{text.slug(concept.key)}.html"


def _write(catalogue: Catalogue, writer: PageWriter, citing: Citing, concept: NamedConcept) -> str:
    channels = [catalogue.channels[row] for row in concept.rows]
    tally = trust.tally(channels)
    return writer.page(
        link(concept),
        "concept.html",
        f"{concept.shown} (concept)",
        f"The {text.counted(tally.channels, tally.factors)} that are called “{concept.shown}”, "
        "by layer.",
        meta=citing.meta(f"Concept “{concept.shown}”", link(concept)),
        concept=concept,
        tally=tally,
        layers_of=_by_layer(catalogue, channels, concept),
        classes=_classes(catalogue, channels),
        together=_linked(catalogue, _together(catalogue, concept)),
        alike=_linked(catalogue, _alike(catalogue, concept)),
    )


def _by_layer(
    catalogue: Catalogue, channels: Sequence[ChannelEntry], concept: NamedConcept
) -> list[tuple[LayerEntry, list[ChannelEntry], int]]:
    """Return for each layer the channels to show and how many there are, the last layer first.

    Those of which it is the whole name stand first, then by score.
    """
    found = []
    for layer in reversed(catalogue.layers):
        own = by_relevance([channel for channel in channels if channel.layer is layer])
        own.sort(key=lambda one: (one.row not in concept.exact, -(one.score or 0)))
        if own:
            found.append((layer, own[:CHANNELS_OF_LAYER], len(own)))
    return found


def _classes(
    catalogue: Catalogue, channels: Iterable[ChannelEntry]
) -> list[tuple[ClassEntry, int]]:
    """Return the classes for which most of some channels are among the best, and how many are."""
    counts = Counter(label for channel in channels for label, _ in channel.classes)
    return [(catalogue.labels[label], count) for label, count in counts.most_common(CLASSES)]


def _together(catalogue: Catalogue, concept: NamedConcept) -> Counter[str]:
    """Count the other concepts in the names of the same channels."""
    counts = Counter(key for row in concept.rows for key in catalogue.concepts_of[row])
    del counts[concept.key]
    return counts


def _alike(catalogue: Catalogue, concept: NamedConcept) -> Counter[str]:
    """Count the concepts of the channels with the most similar patches that are not called so."""
    own = {*concept.rows}
    rows = [
        row
        for channel in concept.rows
        for row, _ in catalogue.channels[channel].neighbours[:5]
        if row not in own
    ]
    return Counter(key for row in rows for key in catalogue.concepts_of[row])


def _linked(catalogue: Catalogue, counts: Counter[str]) -> list[tuple[str, str, int]]:
    found = ((catalogue.concepts[key], count) for key, count in counts.most_common(RELATED))
    return [(concept.shown, link(concept), count) for concept, count in found]


def _digest(rows: Sequence[int]) -> str:
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]
