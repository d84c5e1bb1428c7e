"""Patches as a person or a model is shown them: outlined, dimmed, plain, or boxed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from atlas.store import Store
from atlas.store.pictures import open_picture

View = Literal["outlined", "dimmed", "patch", "boxed"]

DIM = 0.35
"""How bright a dimmed patch is where the channel's map is zero."""

STRONG = 0.5
"""An outline runs where the mask has this share of its maximum."""

ROOM = 4 / 3
"""How much larger than what is outlined an outlined view is: a third."""

_BOX = (255, 235, 0)
_GAP = 4  # pixels between the patches of a sheet


@dataclass(frozen=True)
class Patch:
    """A place in a stored picture."""

    path: Path
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 in pixels, half-open."""
    mask: npt.NDArray[np.uint8]
    """(16, 16): the channel's map inside the box, 255 at its maximum."""


def view(patch: Patch, kind: View, side: int) -> Image.Image:
    """Return a patch as it is shown, `side` x `side` pixels, RGB."""
    picture = open_picture(str(patch.path))
    if kind == "boxed":
        return _boxed(picture, patch.box, side)
    if kind == "outlined":
        return _outlined(picture, patch, side)
    cut = picture.crop(patch.box).resize((side, side), Image.Resampling.BICUBIC)
    return cut if kind == "patch" else dim(cut, patch.mask)


def dim(cut: Image.Image, mask: npt.NDArray[np.uint8]) -> Image.Image:
    """Darken a patch where its map is below half of its maximum, all the more the lower it is."""
    fine = Image.fromarray(np.ascontiguousarray(mask)).resize(cut.size, Image.Resampling.BILINEAR)
    share = np.clip(2 * np.asarray(fine, np.float32) / 255, 0, 1)[..., None]
    pixels = np.asarray(cut, np.float32) * (DIM + (1 - DIM) * share)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def sheet(views: Sequence[Image.Image]) -> Image.Image:
    """Lay views of one size out in a square, from the left, then down."""
    columns = int(np.ceil(len(views) ** 0.5))
    rows = -(-len(views) // columns)
    side = views[0].width + _GAP
    page = Image.new("RGB", (columns * side - _GAP, rows * side - _GAP), "white")
    for number, one in enumerate(views):
        page.paste(one, (number % columns * side, number // columns * side))
    return page


def _boxed(picture: Image.Image, box: tuple[int, int, int, int], side: int) -> Image.Image:
    scale = side / max(picture.size)
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    page = Image.new("RGB", (side, side))
    page.paste(picture.resize(size, Image.Resampling.BICUBIC))
    x0, y0, x1, y1 = (round(edge * scale) for edge in box)
    draw = ImageDraw.Draw(page)
    draw.rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline=_BOX, width=2)
    return page


def _outlined(picture: Image.Image, patch: Patch, side: int) -> Image.Image:
    """Cut out what the mask has, with room around it that is grey, and a line between them."""
    x0, y0, x1, y1 = patch.box
    where = Image.new("L", picture.size)
    fine = Image.fromarray(np.ascontiguousarray(patch.mask))
    where.paste(fine.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR), (x0, y0))
    most = max(int(patch.mask.max()), 1)
    strong = where.point(lambda strength: 255 * (strength >= STRONG * most))
    left, top, right, bottom = strong.getbbox() or patch.box
    extent = min(ROOM * max(right - left, bottom - top), *picture.size)
    x = min(max((left + right - extent) / 2, 0), picture.width - extent)
    y = min(max((top + bottom - extent) / 2, 0), picture.height - extent)
    frame = (x, y, x + extent, y + extent)
    cut = picture.resize((side, side), Image.Resampling.BICUBIC, box=frame)
    inside = strong.resize((side, side), Image.Resampling.BILINEAR, box=frame)
    inside = inside.point(lambda share: 255 * (share >= 128))
    view_ = Image.composite(cut, cut.convert("L").convert("RGB"), inside)
    line = 2 * max(1, round(side / 200)) + 1
    around = Image.new("L", (side + 2, side + 2))
    around.paste(inside, (1, 1))  # what goes on beyond the edge is closed there
    inner = around.filter(ImageFilter.MinFilter(line)).crop((1, 1, side + 1, side + 1))
    outline = Image.composite(Image.new("L", inner.size), inside, inner)
    view_.paste(_BOX, mask=outline)
    return view_


class References:
    """The references of all channels: which rows they have, and their patches."""

    def __init__(self, store: Store) -> None:
        columns = ["layer", "channel", "mode", "rank", "image", "x0", "y0", "x1", "y1"]
        table = store.table("references").select(columns)
        self._masks = store.array("masks.npy")
        self._root = store.pictures_root
        self._paths: list[str] = store.table("images")["path"].to_pylist()
        self.image: npt.NDArray[np.int64] = table["image"].to_numpy().astype(np.int64)
        boxes = [table[name].to_numpy() for name in ("x0", "y0", "x1", "y1")]
        self._boxes: npt.NDArray[Any] = np.stack(boxes, axis=1)
        rank = table["rank"].to_numpy()
        layer, channel, mode = (table[n].to_pylist() for n in ("layer", "channel", "mode"))
        self._rows: dict[tuple[str, int, str], list[int]] = {}
        for row in np.argsort(rank, kind="stable").tolist():
            self._rows.setdefault((layer[row], channel[row], mode[row]), []).append(row)

    def of(self, layer: str, channel: int, mode: str) -> list[int]:
        """Return the rows of a channel's references in one mode, best first."""
        return self._rows.get((layer, channel, mode), [])

    def box(self, row: int) -> tuple[int, int, int, int]:
        """Return where the patch of a row lies: x0, y0, x1, y1 in pixels."""
        x0, y0, x1, y1 = self._boxes[row].tolist()
        return x0, y0, x1, y1

    def patch(self, row: int) -> Patch:
        """Return the patch of a row."""
        path = self._root / self._paths[self.image[row]]
        return Patch(path, self.box(row), np.asarray(self._masks[row]))
