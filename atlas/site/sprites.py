"""Sprite sheets: one picture file for many patches, so that a page needs few files.

Where whole pictures are published, a channel's own page cuts its patches out of these and needs
a sheet of mask overlays alone; pages that show many channels have a thumbnail strip for each.

The name of a sheet holds a digest of what it shows. A sheet that is there is not made again,
and a browser never shows an old one.
"""

import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from atlas.site.catalogue import Catalogue
from atlas.site.entries import ReferenceEntry
from atlas.site.output import Tree
from atlas.store.pictures import open_picture, read_picture

VERSION = "2"
"""Raised when sheets look different: it is part of every sheet's name."""

THUMB = 64
"""Side of the largest picture of the data where only thumbnails are published. A multiple of 16:
WebP's blocks then end where patches end, and no colour leaks from one to the next."""

SMALL = 128
"""Side of a whole picture where it is one of many, as under a histogram: a fifth of its bytes."""

THUMBNAIL_PATCHES = 4
THUMBNAIL_TILE = 64
"""Patches on a thumbnail strip, by which other pages show a channel, and their side in pixels."""

LONGEST = 16000
"""Pixels; WebP ends at 16,383."""

MASK_TILE = 18
"""Masks have 16 rows; one more on each side keeps neighbours apart when it is scaled up."""

OVERLAY_DARKEST = 0.82
"""Opacity of a mask overlay where the concept is not."""

DRAWN_AT_ONCE = 4096
"""Thumbnail strips that are drawn at once, so that a picture is decoded once for all: 200 MB."""


@dataclass(frozen=True)
class ThumbnailStrip:
    """A thumbnail strip that is to be drawn."""

    base: str
    """The name of its file, without the digest."""
    references: Sequence[ReferenceEntry]
    """The references of the channel, best first."""

    @property
    def shown(self) -> Sequence[ReferenceEntry]:
        """The references whose patches are on the strip."""
        return self.references[:THUMBNAIL_PATCHES]


class SpriteSheets:
    """Makes the sprite sheets of one atlas and puts them into the tree."""

    def __init__(self, catalogue: Catalogue, tree: Tree) -> None:
        self._catalogue = catalogue
        self._tree = tree

    def patches(self, base: str, references: Sequence[ReferenceEntry], tile: int) -> str:
        """Put a column of patches, best on top, and return its name."""
        tile = min(tile, LONGEST // len(references))
        name = f"{base}-{self._digest(references, tile)}.webp"
        if not self._tree.has_webp(name):
            sheet = Image.new("RGB", (tile, tile * len(references)))
            for place, reference in enumerate(references):
                patch = _cut(open_picture(self._path(reference.image)), reference.box, tile)
                sheet.paste(patch, (0, place * tile))
            self._tree.write(name, _webp(sheet, quality=78))
        return name

    def thumbnail_strips(self, wanted: Sequence[ThumbnailStrip], pool: Executor) -> list[str]:
        """Put up to `DRAWN_AT_ONCE` strips, first patches side by side; return their names."""
        names = [f"{one.base}-{self._digest(one.shown, THUMBNAIL_TILE)}.webp" for one in wanted]
        missing = [n for n, name in enumerate(names) if not self._tree.has_webp(name)]
        shown = [wanted[n].shown for n in missing]
        drawn = self._draw(shown, pool)
        for _ in pool.map(self._write_thumbnail_strip, (names[n] for n in missing), drawn, shown):
            pass
        return names

    def _draw(
        self, shown: Sequence[Sequence[ReferenceEntry]], pool: Executor
    ) -> npt.NDArray[np.uint8]:
        """Draw thumbnail strips, picture by picture; return (count, height, width, 3)."""
        drawn = np.zeros(
            (len(shown), THUMBNAIL_TILE, THUMBNAIL_PATCHES * THUMBNAIL_TILE, 3), np.uint8
        )
        places: dict[int, list[tuple[int, int, ReferenceEntry]]] = {}
        for number, references in enumerate(shown):
            for place, reference in enumerate(references):
                places.setdefault(reference.image, []).append((number, place, reference))

        def draw(image: int) -> None:
            picture = read_picture(self._path(image))
            for number, place, reference in places[image]:
                left = place * THUMBNAIL_TILE
                patch = _cut(picture, reference.box, THUMBNAIL_TILE)
                drawn[number, :, left : left + THUMBNAIL_TILE] = np.asarray(patch)

        for _ in pool.map(draw, places):
            pass
        return drawn

    def _write_thumbnail_strip(
        self, name: str, pixels: npt.NDArray[np.uint8], references: Sequence[ReferenceEntry]
    ) -> None:
        thumbnails = Image.fromarray(pixels)
        if len(references) < THUMBNAIL_PATCHES:  # transparent where there is no patch
            mask = Image.new("L", thumbnails.size)
            mask.paste(255, (0, 0, len(references) * THUMBNAIL_TILE, THUMBNAIL_TILE))
            thumbnails.putalpha(mask)
        self._tree.write(name, _webp(thumbnails, quality=72))

    def mask_thumbnails(self, base: str, references: Sequence[ReferenceEntry]) -> str:
        """Put the masks of the first patches side by side, without a pixel of the data."""
        rows = [reference.row for reference in references[:THUMBNAIL_PATCHES]]
        masks = np.asarray(self._catalogue.masks[rows])
        name = f"{base}-{hashlib.sha256(masks.tobytes()).hexdigest()[:8]}.webp"
        if not self._tree.has_webp(name):
            thumbnails = np.full((16, 17 * THUMBNAIL_PATCHES - 1, 4), 120, np.uint8)
            thumbnails[..., 3] = 0
            for place, mask in enumerate(masks):
                thumbnails[:, 17 * place : 17 * place + 16, 3] = mask
            self._tree.write(name, _webp(Image.fromarray(thumbnails, "RGBA"), lossless=True))
        return name

    def small_picture(self, name: str, image: int, longest: int) -> None:
        """Put a small whole picture."""
        picture = read_picture(self._path(image))
        small = picture.resize(small_size(*picture.size, longest), Image.Resampling.HAMMING)
        self._tree.write(name, _webp(small, quality=72))

    def mask_overlays(self, base: str, references: Sequence[ReferenceEntry]) -> str:
        """Put a column of overlays that darken patches outside the concept; return its name."""
        rows = [reference.row for reference in references]
        masks = np.asarray(self._catalogue.masks[rows])
        digest = hashlib.sha256(masks.tobytes() + VERSION.encode()).hexdigest()[:8]
        name = f"{base}-{digest}.webp"
        if not self._tree.has_webp(name):
            # The least effort takes a third of the time, for a file that is a twelfth larger.
            self._tree.write(name, _webp(overlay_column(masks), quality=0, lossless=True, method=0))
        return name

    def _path(self, image: int) -> Path:
        path: str = self._catalogue.images["path"][image]
        return self._catalogue.store.inside(path)

    def _digest(self, references: Sequence[ReferenceEntry], tile: int) -> str:
        digests = self._catalogue.images["sha256"]
        shown = [(digests[r.image], *r.box) for r in references]
        return hashlib.sha256(f"{VERSION} {tile} {shown}".encode()).hexdigest()[:8]


def small_size(width: int, height: int, longest: int) -> tuple[int, int]:
    """Return width and height of a picture whose longer side is `longest`."""
    scale = longest / max(width, height)
    return max(1, round(scale * width)), max(1, round(scale * height))


def _cut(picture: Image.Image, box: tuple[int, int, int, int], side: int) -> Image.Image:
    """Return a patch; small ones are scaled up smoothly, large ones without aliasing.

    By filters that are hardly less sharp than Lanczos's and take a third of the time.
    """
    grows = max(box[2] - box[0], box[3] - box[1]) < side
    how = Image.Resampling.BICUBIC if grows else Image.Resampling.HAMMING
    return picture.resize((side, side), how, box=box)


def overlay_column(masks: npt.NDArray[np.uint8]) -> Image.Image:
    """Return mask overlays below each other: black, transparent where the concept is strong."""
    strength = np.pad(masks, ((0, 0), (1, 1), (1, 1)), mode="edge").astype(np.float32) / 255
    # Weak rims of a map say little and would blur the picture of what matters: soft threshold.
    seen = np.clip((strength - 0.08) / 0.4, 0, 1)
    seen = seen * seen * (3 - 2 * seen)
    alpha = (1 - seen) * OVERLAY_DARKEST * 255
    alpha = np.round(alpha / 8) * 8  # fewer levels make a third of the file, unseen when scaled
    column = np.zeros((len(masks) * MASK_TILE, MASK_TILE, 4), np.uint8)
    column[..., 3] = alpha.reshape(-1, MASK_TILE)
    return Image.fromarray(column, "RGBA")


def _webp(
    picture: Image.Image, quality: int = 80, lossless: bool = False, method: int = 2
) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, lossless=lossless, method=method)
    return buffer.getvalue()
