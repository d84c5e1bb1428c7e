"""The map of all channels: their places as a script, and a picture of it for who has no scripts."""

import io
import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from atlas.site.catalogue import Catalogue
from atlas.site.citing import Citing
from atlas.site.entries import ChannelEntry, LayerEntry
from atlas.site.output import BuildCache, Tree
from atlas.site.reference_images import ReferenceImages
from atlas.site.writer import PageWriter

DATA, PICTURE = "assets/map-data.js", "assets/map.webp"

FINE = 4095
"""Places are whole numbers up to this one."""

COLUMNS, ROWS, TILE = 28, 18, 40
"""Cells of the picture, and the side of one in pixels."""


def write(
    catalogue: Catalogue,
    tree: Tree,
    cache: BuildCache,
    writer: PageWriter,
    citing: Citing,
    reference_images: ReferenceImages,
    title: str,
) -> None:
    """Write the page of the map, the places of the channels and the picture.

    With the places goes the rank of each channel in its layer by likeness, for the layers' pages.
    They depend on what was measured alone, so that a new name does not move a channel.
    """
    known = cache.files("map")
    there = _there(catalogue)
    if known is None or not tree.keep(known):
        known = {}
        if there:
            known = tree.sizes(_write(catalogue, tree, reference_images))
    cache.add("map", (), known)
    writer.page(
        "map.html",
        "map.html",
        "Map",
        f"All channels of {title}, those with similar patches near each other.",
        meta=citing.meta("Map", "map.html"),
        there=there,
        pictured=PICTURE in known,
        width=COLUMNS * TILE,
        height=ROWS * TILE,
        count=len(catalogue.channels),
    )


def place_of_first(catalogue: Catalogue, layer: LayerEntry) -> int | None:
    """Return where the data of the map have the first channel of a layer; None without a map."""
    before = catalogue.layers[: layer.position]
    return sum(len(one.rows) for one in before) if _there(catalogue) else None


def _there(catalogue: Catalogue) -> bool:
    """Say whether the atlas knows which channels have similar patches."""
    return any(channel.neighbours for channel in catalogue.channels)


def _write(catalogue: Catalogue, tree: Tree, reference_images: ReferenceImages) -> list[str]:
    from atlas.site.map_layout import layout, likeness  # noqa: PLC0415 (SciPy, for this alone)

    channels = [catalogue.channels[row] for layer in catalogue.layers for row in layer.rows]
    by_row = layout(*zip(*(_pairs(channel) for channel in catalogue.channels), strict=True))
    places = by_row[[channel.row for channel in channels]]
    fine = np.rint(FINE * places).astype(int)
    ranks = [likeness(by_row[list(layer.rows)]).tolist() for layer in catalogue.layers]
    tree.write(
        DATA,
        f"window.conceptMap={_numbers(fine.ravel().tolist())};\n"
        f"window.conceptLikeness={_numbers([rank for some in ranks for rank in some])};\n",
    )
    published = reference_images.picture(0) is not None
    picture = _picture(channels, places, tree, reference_images) if published else None
    if picture is None:
        return [DATA]
    tree.write(PICTURE, picture)
    return [DATA, PICTURE]


def _numbers(numbers: list[int]) -> str:
    return json.dumps(numbers, separators=(",", ":"))


def _pairs(channel: ChannelEntry) -> tuple[list[int], list[float]]:
    return [row for row, _ in channel.neighbours], [value for _, value in channel.neighbours]


def _picture(
    channels: Sequence[ChannelEntry],
    places: npt.NDArray[np.float64],
    tree: Tree,
    reference_images: ReferenceImages,
) -> bytes | None:
    """Return a picture in which each cell shows the best patch of the channel nearest to it."""
    sheet = Image.new("RGBA", (COLUMNS * TILE, ROWS * TILE))
    cells = np.minimum((places * (COLUMNS, ROWS)).astype(int), (COLUMNS - 1, ROWS - 1))
    middle = np.abs(places * (COLUMNS, ROWS) - cells - 0.5).sum(axis=1)
    shown: dict[tuple[int, int], ChannelEntry] = {}
    for place in np.argsort(middle, kind="stable").tolist():
        if reference_images.thumbnail_strip(channels[place]):
            shown.setdefault((int(cells[place][0]), int(cells[place][1])), channels[place])
    if not shown:
        return None
    for (column, row), channel in shown.items():
        thumbnail = reference_images.thumbnail_strip(channel)
        assert thumbnail is not None, "it was asked before"
        with Image.open(tree.root / thumbnail) as thumbnails:
            side = thumbnails.height
            patch = thumbnails.convert("RGBA").crop((0, 0, side, side)).resize((TILE - 4, TILE - 4))
        sheet.paste(patch, (column * TILE + 2, row * TILE + 2), patch)
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=60, method=2)
    return buffer.getvalue()
