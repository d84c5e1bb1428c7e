"""Figures for papers: patches of channels, or an explanation, at the widths of journals."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from atlas.api.contents import Channel, Contents
from atlas.errors import UserError
from atlas.plain import plain
from atlas.publishing.cite import cite_channel, cite_explanation
from atlas.store import Mode, files
from atlas.store import evidence as evidences
from atlas.store.pictures import load_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Width = Literal["one", "two"]

WIDTHS: dict[Width, float] = {"one": 89 / 25.4, "two": 183 / 25.4}
"""Inches of one and two columns (Nature's 89 and 183 mm, which fit most journals)."""

TILES: dict[Width, int] = {"one": 5, "two": 10}
"""Pictures side by side."""

DPI = 300
"""Resolution of the pictures inside, in pixels per inch."""

_GAP, _LINE = 0.03, 0.14
"""Inches between pictures, and of a line of type."""

_TYPE, _SMALL = 7, 5
"""Points."""

_METADATA: dict[str, dict[str, Any]] = {
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
    ".png": {},
}


@dataclass(frozen=True)
class PictureRow:
    """One line of pictures under a line of type."""

    text: str
    tiles: tuple[Image.Image, ...]
    below: tuple[str, ...] = ()
    """A small line of type below each picture."""


def draw_channels(
    contents: Contents, channels: Sequence[Channel], out: Path, width: Width, mode: Mode
) -> str:
    """Draw the best patches of one or several channels.

    Parameters
    ----------
    contents : Contents
        The atlas.
    channels : sequence of Channel
        One line of patches each.
    out : Path
        File to write: .pdf, .svg or .png.
    width : {"one", "two"}
        Columns of the page.
    mode : {"activation", "relevance"}
        Whose references are shown, best first.

    Returns
    -------
    str
        Text of the caption.

    Raises
    ------
    UserError
        The ending is unknown, matplotlib is not installed, a picture cannot be read, or a
        channel has no references of the mode.
    """
    rows = []
    for channel in channels:
        references = channel.references(mode)[: TILES[width]]
        if not references:
            raise UserError(f"{channel.address} has no references by {mode}: take another mode")
        rows.append(PictureRow(_title(channel), tuple(r.patch() for r in references)))
    _save(rows, out, width)
    chosen = {
        "activation": "that activate the channel most",
        "relevance": "in which the channel's share of its layer's relevance is highest (CRP)",
    }[mode]
    return (
        f"{'Channels' if len(channels) > 1 else 'Channel'} {'; '.join(map(_title, channels))} of "
        f"{plain(contents.manifest['model']['name'])}. Patches of the pictures {chosen}, best "
        f"first. Concept Atlas {contents.id}; cite as "
        f"{', '.join(cite_channel(channel, contents).key for channel in channels)}."
    )


def draw_explanation(contents: Contents, slug: str, out: Path, width: Width) -> str:
    """Draw a picture and where in it the relevance of each of its concepts lies.

    Parameters
    ----------
    contents : Contents
        The atlas.
    slug : str
        Id of the explanation.
    out : Path
        File to write: .pdf, .svg or .png.
    width : {"one", "two"}
        Columns of the page.

    Returns
    -------
    str
        Text of the caption.

    Raises
    ------
    UserError
        There is no such explanation, or as in `draw_channels`.
    """
    citation = cite_explanation(slug, contents)
    folder = contents.store.root / evidences.EXPLANATIONS / slug
    evidence = evidences.read(folder)
    target, concepts = evidence.target, evidence.concepts[: TILES[width] - 1]
    picture = _open(contents, slug, "picture.webp").convert("RGB")
    grey = picture.convert("L").convert("RGBA")
    tiles, below = [picture], ["input"]
    for concept in concepts:
        heat = _open(contents, slug, concept.map).convert("RGBA").resize(grey.size)
        tiles.append(Image.alpha_composite(grey, heat).convert("RGB"))
        below.append(plain(concept.name or concept.address))
    answer = f"“{plain(target.name)}” (probability {target.probability:.3f})"
    _save([PictureRow(f"Relevance for {answer}", tuple(tiles), tuple(below))], out, width)
    shares = "; ".join(
        f"{concept.address}{f' “{plain(concept.name)}”' if concept.name else ''} "
        f"{concept.share:+.1%}"
        for concept in concepts
    )
    return (
        f"Explanation of {plain(evidence.picture.name)} as {answer}: the input, and where each "
        f"concept's relevance lies. Shares of their layers' sums of |relevance|: {shares}. "
        f"Concept Atlas {contents.id}; cite as {citation.key}."
    )


def _title(channel: Channel) -> str:
    return channel.address + (f" “{plain(channel.name)}”" if channel.name else "")


def _open(contents: Contents, slug: str, name: str) -> Image.Image:
    """Open a picture of an explanation."""
    path = contents.store.inside(f"{evidences.EXPLANATIONS}/{slug}/{name}")
    return load_picture(path, path)


def _save(rows: Sequence[PictureRow], out: Path, width: Width) -> None:
    """Draw the rows into a file."""
    kind = out.suffix.lower()
    if kind not in _METADATA:
        raise UserError(f"{out}: name the figure with one of the endings {', '.join(_METADATA)}")
    try:
        from matplotlib import rc_context  # noqa: PLC0415 (an extra, and slow)
    except ImportError as error:
        raise UserError(
            "figures need matplotlib: install it with pip install 'concept-atlas[figure]'"
        ) from error
    style = rc_context(
        {
            "pdf.fonttype": 42,  # TrueType, which journals ask for; by itself it would be Type 3
            "svg.fonttype": "none",
            "svg.hashsalt": "concept-atlas",  # the same figure is the same bytes
            "text.parse_math": False,  # a dollar in a name is a dollar
        }
    )
    with style, files.atomic_path(out) as temporary:
        _drawn(rows, width).savefig(temporary, dpi=DPI, metadata=_METADATA[kind])


def _drawn(rows: Sequence[PictureRow], width: Width) -> "Figure":
    from matplotlib.figure import Figure  # noqa: PLC0415

    across, count = WIDTHS[width], TILES[width]
    side = (across - (count - 1) * _GAP) / count
    heights = [_LINE + side + (_LINE if row.below else 0) + _GAP for row in rows]
    down = sum(heights)
    figure = Figure(figsize=(across, down))
    top = down
    for row, height in zip(rows, heights, strict=True):
        # The right edge clips a long name: the caption has all of it.
        figure.text(0, (top - 0.75 * _LINE) / down, row.text, size=_TYPE)
        low = top - _LINE - side
        for number, (tile, below) in enumerate(_labelled(row)):
            left = number * (side + _GAP)
            place = (left / across, low / down, side / across, side / down)
            axes = figure.add_axes(place)
            axes.imshow(_square(tile, round(side * DPI)), interpolation="none", aspect="auto")
            axes.set_axis_off()
            figure.text(
                (left + side / 2) / across,
                (low - 0.75 * _LINE) / down,
                _shortened(below),
                size=_SMALL,
                ha="center",
            )
        top -= height
    return figure


def _labelled(row: PictureRow) -> list[tuple[Image.Image, str]]:
    return list(zip(row.tiles, row.below or [""] * len(row.tiles), strict=True))


def _square(tile: Image.Image, side: int) -> Image.Image:
    """Return a picture in the middle of a white square of `side` pixels."""
    scale = side / max(tile.size)
    size = (max(1, round(tile.width * scale)), max(1, round(tile.height * scale)))
    square = Image.new("RGB", (side, side), "white")
    resized = tile.resize(size, Image.Resampling.LANCZOS)
    square.paste(resized, ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def _shortened(text: str, length: int = 20) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
