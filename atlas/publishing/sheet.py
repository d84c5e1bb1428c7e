"""A contact sheet: the references of a channel in one picture."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from atlas.api.contents import Channel
from atlas.errors import UserError
from atlas.store import Mode, files

TILE, GAP, HEAD = 112, 6, 26
"""Side of a patch, space between patches, height of a line of text; in pixels."""

COLUMNS = 10

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def draw(channel: Channel, modes: Sequence[Mode]) -> Image.Image:
    """Draw the patches of a channel's references, best first, under one line for each mode.

    Parameters
    ----------
    channel : Channel
        The channel.
    modes : sequence of {"activation", "relevance"}
        Whose references.

    Returns
    -------
    PIL.Image.Image
        RGB, ten patches wide. A patch that is no square has a white border.
    """
    patches = {mode: [r.patch() for r in channel.references(mode)] for mode in modes}
    rows = {mode: -(-len(several) // COLUMNS) for mode, several in patches.items()}
    step = TILE + GAP
    height = GAP + HEAD + sum(HEAD + count * step for count in rows.values())
    sheet = Image.new("RGB", (GAP + COLUMNS * step, height), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(16)
    title = channel.address + (f"  {channel.name}" if channel.name else "")
    pen.text((GAP, GAP), " ".join(title.split()), "black", font)
    top = GAP + HEAD
    for mode, several in patches.items():
        pen.text((GAP, top), f"{mode}, {len(several)} references", "#555555", font)
        top += HEAD
        for number, patch in enumerate(several):
            row, column = divmod(number, COLUMNS)
            sheet.paste(_tile(patch), (GAP + column * step, top + row * step))
        top += rows[mode] * step
    return sheet


def save(channel: Channel, modes: Sequence[Mode], path: Path) -> None:
    """Draw a contact sheet into a file.

    Raises
    ------
    UserError
        The name does not end in one of `FORMATS`, or a stored picture cannot be read.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise UserError(f"{path}: name the sheet with one of the endings {', '.join(FORMATS)}")
    sheet = draw(channel, modes)
    with files.atomic_path(path) as temporary:
        sheet.save(temporary, kind, quality=90)


def _tile(patch: Image.Image) -> Image.Image:
    tile = Image.new("RGB", (TILE, TILE), "white")
    scale = TILE / max(patch.size)
    size = (max(1, round(patch.width * scale)), max(1, round(patch.height * scale)))
    resized = patch.resize(size, Image.Resampling.LANCZOS)
    tile.paste(resized, ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return tile
