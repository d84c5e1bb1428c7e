"""Sheets of patches: one picture file for many patches, so that a page needs few files.

The name of a sheet holds a digest of what it shows. A sheet that is there is not made again,
and a browser never shows an old one.
"""

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from atlas.errors import UserError
from atlas.site.catalogue import Catalogue
from atlas.site.entries import Reference
from atlas.site.output import Tree

VERSION = "1"
"""Raised when sheets look different: it is part of every sheet's name."""

TILE = 128
"""Side of a patch on a channel's page, in pixels. A multiple of 16: WebP's blocks then end
where tiles end, and no colour leaks from one to the next."""

THUMB = 64
"""Side of the largest picture of the data where only thumbnails are published."""

STRIP_TILE = 64
STRIP = 4
"""Patches on a strip, the face of a channel on other pages."""

LONGEST = 16000
"""Pixels; WebP ends at 16,383."""

VEIL_TILE = 18
"""Masks have 16 rows; one more on each side keeps neighbours apart when it is scaled up."""

VEIL_DARKEST = 0.82
"""Opacity of the veil where the concept is not."""

CACHED = 1024
"""Decoded pictures in memory: 150 MB of them at 224 px."""


class Sheets:
    """Makes sheets of one atlas and puts them into the tree."""

    def __init__(self, catalogue: Catalogue, tree: Tree) -> None:
        self._catalogue = catalogue
        self._tree = tree
        self._pictures: OrderedDict[int, Image.Image] = OrderedDict()
        self._lock = threading.Lock()  # sheets are made in several threads

    def patches(self, base: str, references: Sequence[Reference], tile: int = TILE) -> str:
        """Put a column of patches, best on top, and return its name."""
        tile = min(tile, LONGEST // len(references))
        name = f"{base}-{self._digest(references, tile)}.webp"
        if not self._tree.has_webp(name):
            sheet = Image.new("RGB", (tile, tile * len(references)))
            for place, reference in enumerate(references):
                sheet.paste(self._patch(reference, tile), (0, place * tile))
            self._tree.write(name, _webp(sheet, quality=78))
        return name

    def strip(self, base: str, references: Sequence[Reference]) -> str:
        """Put the first patches side by side and return the name of that picture."""
        references = references[:STRIP]
        name = f"{base}-{self._digest(references, STRIP_TILE)}.webp"
        if not self._tree.has_webp(name):
            sheet = Image.new("RGBA", (STRIP_TILE * STRIP, STRIP_TILE), (0, 0, 0, 0))
            for place, reference in enumerate(references):
                sheet.paste(self._patch(reference, STRIP_TILE), (place * STRIP_TILE, 0))
            self._tree.write(name, _webp(sheet, quality=72))
        return name

    def shapes(self, base: str, references: Sequence[Reference]) -> str:
        """Put the maps of the first patches side by side, without a pixel of the data."""
        rows = [reference.row for reference in references[:STRIP]]
        masks = np.asarray(self._catalogue.masks[rows])
        name = f"{base}-{hashlib.sha256(masks.tobytes()).hexdigest()[:8]}.webp"
        if not self._tree.has_webp(name):
            strip = np.full((16, 17 * STRIP - 1, 4), 120, np.uint8)
            strip[..., 3] = 0
            for place, mask in enumerate(masks):
                strip[:, 17 * place : 17 * place + 16, 3] = mask
            self._tree.write(name, _webp(Image.fromarray(strip, "RGBA"), lossless=True))
        return name

    def thumb(self, name: str, image: int) -> None:
        """Put a small whole picture."""
        if not self._tree.has_webp(name):
            self._tree.write(name, _webp(self._picture(image).resize((THUMB, THUMB)), quality=72))

    def veils(self, base: str, references: Sequence[Reference]) -> str:
        """Put what covers the parts of each patch outside the concept; return its name."""
        rows = [reference.row for reference in references]
        masks = np.asarray(self._catalogue.masks[rows])
        digest = hashlib.sha256(masks.tobytes() + VERSION.encode()).hexdigest()[:8]
        name = f"{base}-{digest}.webp"
        if not self._tree.has_webp(name):
            self._tree.write(name, _webp(veil_column(masks), lossless=True))
        return name

    def _patch(self, reference: Reference, tile: int) -> Image.Image:
        """Return a patch; small ones are scaled up smoothly, large ones without aliasing."""
        picture = self._picture(reference.image)
        return picture.resize((tile, tile), Image.Resampling.LANCZOS, box=reference.box)

    def _picture(self, image: int) -> Image.Image:
        with self._lock:
            if image in self._pictures:
                self._pictures.move_to_end(image)
                return self._pictures[image]
        path = self._catalogue.store.root / self._catalogue.images["path"][image]
        try:
            with Image.open(path, formats=["WEBP"]) as file:
                picture = file.convert("RGB")
        except OSError as error:
            raise UserError(
                f"the stored picture {path} cannot be read: delete it and run `atlas build` again"
            ) from error
        with self._lock:
            self._pictures[image] = picture
            if len(self._pictures) > CACHED:
                self._pictures.popitem(last=False)
        return picture

    def _digest(self, references: Sequence[Reference], tile: int) -> str:
        digests = self._catalogue.images["sha256"]
        shown = [(digests[r.image], *r.box) for r in references]
        return hashlib.sha256(f"{VERSION} {tile} {shown}".encode()).hexdigest()[:8]


def veil_column(masks: npt.NDArray[np.uint8]) -> Image.Image:
    """Return black of varying opacity for a column of masks: none where the concept is strong."""
    strength = np.pad(masks, ((0, 0), (1, 1), (1, 1)), mode="edge").astype(np.float32) / 255
    # Weak rims of a map say little and would blur the picture of what matters: soft threshold.
    seen = np.clip((strength - 0.08) / 0.4, 0, 1)
    seen = seen * seen * (3 - 2 * seen)
    alpha = (1 - seen) * VEIL_DARKEST * 255
    alpha = np.round(alpha / 8) * 8  # fewer levels make a third of the file, unseen when scaled
    column = np.zeros((len(masks) * VEIL_TILE, VEIL_TILE, 4), np.uint8)
    column[..., 3] = alpha.reshape(-1, VEIL_TILE)
    return Image.fromarray(column, "RGBA")


def _webp(picture: Image.Image, quality: int = 80, lossless: bool = False) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, lossless=lossless, method=2)
    return buffer.getvalue()
