"""The pages of classes, and the one that lists them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tqdm import tqdm

from atlas.site import kinds
from atlas.site.api_files import ApiFiles
from atlas.site.catalogue import Catalogue, Shares
from atlas.site.citing import Citing
from atlas.site.class_similarity import ClassSimilarity
from atlas.site.entries import ChannelEntry, ClassEntry, LayerEntry
from atlas.site.explanations import Explanation
from atlas.site.output import BuildCache, Tree
from atlas.site.separating import Separations
from atlas.site.strategies import HEIGHT, LEADS, WIDTH, Strategies
from atlas.site.writer import PageWriter

CHANNELS = 6
"""Channels of each layer on a class's page."""

CONFUSABLE = 5
"""Other classes on a class's page."""

PICTURES = 48
"""Pictures on a class's page."""


def write(
    catalogue: Catalogue,
    tree: Tree,
    cache: BuildCache,
    writer: PageWriter,
    citing: Citing,
    api: ApiFiles,
    explained: Sequence[Explanation],
    title: str,
) -> None:
    """Write a page for each class that was seen, its JSON, and the page that lists all of them."""
    seen, pictures = catalogue.seen, _pictures(catalogue)
    similarity, strategies = ClassSimilarity(catalogue), Strategies(catalogue)
    separations = Separations(catalogue)
    names = [label.name for _, label in sorted(catalogue.labels.items())]
    kinds_of = kinds.kinds(seen, names)
    of_label: dict[int, list[Explanation]] = {}
    for one in explained:
        of_label.setdefault(one.found.target.label, []).append(one)
    for place, label in enumerate(tqdm(seen, desc="pages", unit=" classes")):
        own = of_label.get(label.label, [])
        key = " ".join([f"classes/{label.label}.html", *(one.found.id for one in own)])
        known = cache.files(key)
        if known is not None and tree.keep(known):
            continue
        stored = pictures.get(label.label, [])
        context = {
            "groups": kinds_of[label.label],
            "explained": own,
            "strategies": (ways := strategies.of(label)),
            "least_leads": LEADS,
            "strategy_size": (WIDTH, HEIGHT),
            "previous": seen[place - 1] if place else None,
            "next": seen[place + 1] if place + 1 < len(seen) else None,
        }
        files, rows = _class(
            catalogue, writer, citing, api, similarity, separations, label, stored, context
        )
        rows |= {point.factor.row for point in ways.points} if ways else set()
        cache.add(key, rows, tree.sizes(files))
    recognised = {label.label: similarity.recognised(label) for label in seen}
    writer.page(
        "classes/index.html",
        "classes.html",
        "Classes",
        f"The {len(seen)} classes of which {title} has pictures.",
        seen=seen,
        examples={label: images[0] for label, images in pictures.items()},
        recognised=recognised if any(one.pictures for one in recognised.values()) else {},
        groups=Counter(kind for own in kinds_of.values() for kind in own).most_common(kinds.LISTED),
        groups_of=kinds_of,
    )


def _class(
    catalogue: Catalogue,
    writer: PageWriter,
    citing: Citing,
    api: ApiFiles,
    similarity: ClassSimilarity,
    separations: Separations,
    label: ClassEntry,
    pictures: list[int],
    context: Mapping[str, object],
) -> tuple[list[str], set[int]]:
    """Write the page of a class and its JSON; return their names and the channels on them."""
    link = f"classes/{label.label}.html"
    shares = catalogue.shares.get(label.label)
    top_channels = [] if shares is None else catalogue.by_layer(shares, CHANNELS)
    map_points = similarity.picture_map(pictures)
    similar = similarity.confusable(label, CONFUSABLE)
    matrix = similarity.matrix(label, similar)
    separated = separations.of(label, [other.label for other in similar])
    what = f"Class “{label.shown}”"
    json = api.write_class(label, top_channels, similar)
    page = writer.page(
        link,
        "class.html",
        f"{label.shown} (class {label.label})",
        f"The channels most relevant for class {label.label}, {label.shown}, and its pictures.",
        meta=citing.meta(what, link),
        json=json,
        label=label,
        top_channels=top_channels[::-1],
        shares=shares,
        covered={} if shares is None else _covered(top_channels, shares),
        map_points=map_points,
        similar=similar,
        matrix=matrix,
        separated=separated,
        separating_layer=separations.layer,
        recognised=similarity.recognised(label),
        pictures=pictures[:PICTURES],
        count=len(pictures),
        bibtex=citing.bibtex(what, link),
        **context,
    )
    shown = {channel.row for _, channels in top_channels for channel in channels}
    shown |= {point.channel.row for point in map_points}
    shown |= {channel.row for other in similar for channel in other.shared}
    shown |= {channel.row for channel in matrix.channels} if matrix else set()
    shown |= {one.channel.row for pair in separated for one in (*pair.own, *pair.others)}
    return [page, json], shown


def _covered(
    top_channels: Iterable[tuple[LayerEntry, list[ChannelEntry]]], shares: Shares
) -> dict[str, float]:
    """Return for each layer how much of its positive shares its best channels carry."""
    found = {}
    for layer, channels in top_channels:
        own = shares[list(layer.rows)]
        carried = sum(float(shares[channel.row]) for channel in channels)
        found[layer.name] = min(1.0, carried / float(own[own > 0].sum()))
    return found


def _pictures(catalogue: Catalogue) -> dict[int, list[int]]:
    """Return the stored pictures of each class."""
    found: dict[int, list[int]] = {}
    for image in catalogue.images["image"]:
        label = catalogue.class_of(image)
        if label is not None:
            found.setdefault(label, []).append(image)
    return found
