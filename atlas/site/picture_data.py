"""Which channels respond where in each stored picture, in scripts for the page of a picture.

There may be a hundred thousand pictures: one page shows them all, and loads the script that has the
one that is asked for. A script also loads from the file system.
"""

import json
from collections.abc import Sequence

import numpy as np

from atlas.site import text
from atlas.site.catalogue import Catalogue
from atlas.site.output import BuildCache, Tree
from atlas.site.reference_images import ReferenceImages
from atlas.site.search import safe
from atlas.site.writer import PageWriter

IN_A_SCRIPT = 200
"""Pictures of one script."""

CHANNELS = 48
"""Channels of a picture at most: those among whose references it stands highest."""

KEY = 60
"""Characters of a picture's key that its page shows, from the end."""


def write(
    catalogue: Catalogue,
    tree: Tree,
    cache: BuildCache,
    writer: PageWriter,
    reference_images: ReferenceImages,
    title: str,
) -> None:
    """Write the page, and the scripts: those from N * `IN_A_SCRIPT` on in `assets/pictures/N.js`.

    What channels are called stands in the data of the search, so that a new name changes nothing.
    """
    known = cache.files("picture data")
    if known is None or not tree.keep(known):
        known = tree.sizes(_write(catalogue, tree))
    cache.add("picture data", (), known)
    count = len(catalogue.images["image"])
    writer.page(
        "picture.html",
        "picture.html",
        "Picture",
        f"A stored picture of {title} with the channels that respond to it.",
        each=IN_A_SCRIPT,
        count=count,
        ratio=reference_images.ratio(0) if count else 1,
        published="yes" if reference_images.picture(0) else "",
    )


def _write(catalogue: Catalogue, tree: Tree) -> list[str]:
    found = _channels(catalogue)
    images = catalogue.images
    names = []
    for start in range(0, len(images["image"]), IN_A_SCRIPT):
        several = range(start, min(start + IN_A_SCRIPT, len(images["image"])))
        data = [
            [
                text.plain(images["key"][image])[-KEY:],
                images["label"][image],
                images["predicted"][image],
                found.get(image, []),
            ]
            for image in several
        ]
        name = f"assets/pictures/{start // IN_A_SCRIPT}.js"
        said = safe(json.dumps(data, ensure_ascii=False, separators=(",", ":")))
        tree.write(name, f"window.conceptPictures={said};\n")
        names.append(name)
    return names


def _channels(catalogue: Catalogue) -> dict[int, Sequence[int]]:
    """Return for each picture six numbers a channel, one after the other.

    These are its place in the search's data, whether the picture is a reference by relevance (0),
    activation (1) or both (2), and left, top, width and height of the patch in per cent.
    """
    order = [row for layer in catalogue.layers for row in layer.rows]
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    rows = np.lexsort((~catalogue.by_relevance, catalogue.ranks, catalogue.images_of))
    sides = np.array([catalogue.images["width"], catalogue.images["height"]], np.float64)
    boxes = catalogue.boxes[rows].astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    size = sides[:, catalogue.images_of[rows]].T
    parts = np.rint(100 * boxes / np.concatenate([size, size], axis=1)).astype(np.int64)
    columns = (
        catalogue.images_of[rows].tolist(),
        places[catalogue.channel_of[rows]].tolist(),
        (~catalogue.by_relevance[rows]).astype(int).tolist(),
        parts.tolist(),
    )
    found: dict[int, dict[int, list[int]]] = {}
    for image, channel, mode, part in zip(*columns, strict=True):
        own = found.setdefault(image, {})
        if channel in own:
            own[channel][1] = 2
        elif len(own) < CHANNELS:
            own[channel] = [channel, mode, *part]
    return {image: [n for one in own.values() for n in one] for image, own in found.items()}
