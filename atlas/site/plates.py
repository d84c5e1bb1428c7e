"""What pages show of references: pictures, and the words that say what is seen."""

import os
import posixpath
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from markupsafe import Markup, escape
from tqdm import tqdm

from atlas.errors import UserError
from atlas.recipe.publishing import Images
from atlas.site import charts, text
from atlas.site.catalogue import Catalogue
from atlas.site.entries import Channel, Layer, Reference, by_weight
from atlas.site.output import Ledger, Tree
from atlas.site.sprites import THUMB, Sheets, Wanted, thumb_size
from atlas.site.words import Words
from atlas.store import MODES, Mode

MOST = 24
"""References of each mode on a channel's page; the JSON has all of them."""

COLUMN = 6
COLUMN_TILE = 96
"""Patches in the picture of a layer, and the side of one, in pixels."""


@dataclass(frozen=True)
class Plate:
    """The references of a channel in one mode, with the sheets that show them."""

    mode: Mode
    veil: str  # file name beside the page
    sheet: str | None  # another, where only thumbnails are published
    bare: bool  # whether no pixels are published
    offset: int  # of the first reference on the veil, which serves both modes
    veiled: int  # tiles on the veil
    count: int
    all: int  # references, with those that are not shown
    items: Markup  # a list item for each reference
    differs: bool  # whether the network takes some picture for something else
    senses: bool  # whether some references are known to show one of several senses
    first: str  # the score of the best and of the last reference
    last: str
    curve: str  # points of the scores by rank, for a drawing 100 wide and 30 high
    ratio: float  # of width to height of the pictures


class Plates:
    """Makes the pictures of all pages and keeps their names."""

    def __init__(
        self, catalogue: Catalogue, tree: Tree, ledger: Ledger, words: Words, images: Images
    ) -> None:
        self._catalogue = catalogue
        self._tree = tree
        self._ledger = ledger
        self._words = words
        self._images = images
        self._sheets = Sheets(catalogue, tree)
        self._labels: dict[int | None, tuple[str, str]] = {}
        self._made: dict[int, list[str]] = {}  # strip, veil, and a sheet for each mode

    def make(self) -> None:
        """Put every picture that pages show, as far as it is not there."""
        catalogue = self._catalogue
        catalogue.load_references()  # before threads ask for them
        self._whole_pictures()
        missing = []
        for channel in catalogue.channels:
            known = self._ledger.files(_key(channel))
            if known is not None and self._tree.keep(known):
                self._made[channel.row] = [*known]
            else:
                missing.append(channel)
        pool = ThreadPoolExecutor(os.cpu_count())
        try:  # Pillow scales and encodes outside Python's lock, so threads fill the processors.
            strips = self._strips(missing, pool)
            made = pool.map(self._make, missing, strips)
            for _ in tqdm(made, "patches", len(missing), unit=" channels", disable=not missing):
                pass
        finally:
            pool.shutdown(cancel_futures=True)  # at an error or Ctrl-C, at once

    def picture(self, image: int) -> str | None:
        """Return the address of a stored picture, if pictures are published."""
        return None if self._images == "none" else _picture(image)

    def side(self, image: int) -> tuple[int, int]:
        """Return width and height of a picture as it is published."""
        images = self._catalogue.images
        size = images["width"][image], images["height"][image]
        return thumb_size(*size) if self._images == "thumbs" else size

    def _ratio(self, image: int) -> float:
        images = self._catalogue.images
        return round(float(images["width"][image] / images["height"][image]), 4)

    def strip(self, channel: Channel) -> str | None:
        """Return the address of a channel's strip; silent channels have none."""
        made = self._made[channel.row]
        return made[0] if made else None

    def sets(self, channel: Channel) -> list[Plate]:
        """Return the plates of a channel, by relevance first."""
        offset, plates = 0, []
        found = self._found(channel)
        total = sum(map(len, found.values()))
        if not found:
            return []
        _, veil, *sheets = self._made[channel.row]
        for place, (mode, references) in enumerate(found.items()):
            scores = [reference.score for reference in references]
            plates.append(
                Plate(
                    mode=mode,
                    veil=posixpath.basename(veil),
                    sheet=posixpath.basename(sheets[place]) if sheets else None,
                    bare=self._images == "none",
                    offset=offset,
                    veiled=total,
                    count=len(references),
                    all=len(self._catalogue.references(channel, mode)),
                    items=self._items(channel, mode, references),
                    differs=any(r.label not in (None, r.predicted) for r in references),
                    senses=any(r.sense is not None for r in references),
                    first=self._words.score(mode, scores[0]),
                    last=self._words.score(mode, scores[-1]),
                    curve=charts.curve(scores),
                    ratio=self._ratio(references[0].image),
                )
            )
            offset += len(references)
        return plates

    def column(self, layer: Layer) -> str | None:
        """Put the best patch of each of a layer's most relevant channels; return its address."""
        if self._images == "none":
            return None
        channels = by_weight([self._catalogue.channels[row] for row in layer.rows])
        best = [self._faces(channel)[:1] for channel in channels[: 3 * COLUMN]]
        references = [found[0] for found in best if found][:COLUMN]
        side = THUMB if self._images == "thumbs" else COLUMN_TILE
        return self._sheets.patches(f"layers/{layer.slug}", references, side) if best else None

    def _whole_pictures(self) -> None:
        images = self._catalogue.images
        if self._images == "none":
            return
        known = self._ledger.files("pictures")
        if known is None or not self._tree.keep(known):
            names = [_picture(image) for image in images["image"]]
            if self._images == "thumbs":
                for image, name in zip(images["image"], names, strict=True):
                    self._sheets.thumb(name, image)
            else:
                self._link(names)
            known = self._tree.sizes(names)
        self._ledger.add("pictures", (), known)

    def _link(self, names: list[str]) -> None:
        for name, source in zip(names, self._catalogue.store.pictures(), strict=True):
            if not source.is_file():
                raise UserError(
                    f"the stored picture {source} is missing: run `atlas build` again, or `atlas "
                    "site --images-from DIR` with the data in DIR"
                )
            self._tree.link(name, source)

    def _strips(self, channels: list[Channel], pool: Executor) -> list[str]:
        """Put the strips of channels; return their addresses, empty for silent channels."""
        faces = [self._faces(channel) for channel in channels]
        if self._images == "none":
            return [
                self._sheets.shapes(f"{_base(channel)}s", face) if face else ""
                for channel, face in zip(channels, faces, strict=True)
            ]
        pairs = zip(channels, faces, strict=True)
        wanted = [Wanted(f"{_base(channel)}s", face) for channel, face in pairs if face]
        made = self._sheets.strips(wanted, pool)
        return [next(made) if face else "" for face in faces]

    def _make(self, channel: Channel, strip: str) -> None:
        """Put what belongs to one channel, beside its strip."""
        found = self._found(channel)
        made: list[str] = []
        if found:
            every = [reference for references in found.values() for reference in references]
            made = [strip, self._sheets.veils(f"{_base(channel)}v", every)]
            if self._images == "thumbs":
                made += [
                    self._sheets.patches(f"{_base(channel)}{mode[0]}", references, THUMB)
                    for mode, references in found.items()
                ]
        self._made[channel.row] = made
        self._ledger.add(_key(channel), (), self._tree.sizes(made))

    def _found(self, channel: Channel) -> dict[Mode, list[Reference]]:
        references = self._catalogue.references
        found = {mode: references(channel, mode)[:MOST] for mode in MODES[::-1]}
        return {mode: references for mode, references in found.items() if references}

    def _faces(self, channel: Channel) -> list[Reference]:
        """Return the references that stand for a channel on other pages."""
        return next(iter(self._found(channel).values()), [])

    def _items(self, channel: Channel, mode: Mode, references: list[Reference]) -> Markup:
        """Return the list items of a plate.

        There may be a hundred on a page: few tags, no quotes where none are needed, and put
        together here, because a template takes ten times as long.
        """
        images, bare = self._catalogue.images, self._images == "none"
        name = escape(f"{channel.address}")
        score_name = self._words.score_name(mode)
        items = []
        for place, r in enumerate(references):
            score = self._words.score(mode, r.score)
            label = r.predicted if r.label is None else r.label
            said, link = self._label(label)
            if r.label not in (None, r.predicted):
                link += f" <i>→ {self._label(r.predicted)[0]}</i>"
            if bare:
                link += f" <i>{escape(_short(text.plain(images['key'][r.image])))}</i>"
            sense = "" if r.sense is None else f" data-s={r.sense}"
            named = f", class {said}" if said else ""
            alt = f"patch {r.rank} of {name}{named}, {score_name} {score}"
            alt = alt.replace(text.NO_BREAK, " ")
            place_in_picture = self._place(r)
            if bare:
                patch = f'role=img aria-label="{alt}" style="--i:{place};{place_in_picture}">'
            else:
                width, height = self.side(r.image)
                patch = (
                    f'style="--i:{place};{place_in_picture}"><img src=../../{_picture(r.image)} '
                    f'width={width} height={height} loading=lazy alt="{alt}">'
                )
            items.append(f"<li{sense}><b {patch}</b>{score} {link}</li>")
        return Markup("\n".join(items))  # noqa: S704 (names are escaped)

    def _place(self, reference: Reference) -> str:
        """Return where a patch is in its picture, by the picture's sides, for a style."""
        images, image = self._catalogue.images, reference.image
        width, height = images["width"][image], images["height"][image]
        x0, y0, x1, y1 = reference.box
        parts = {"x": x0 / width, "y": y0 / height, "w": (x1 - x0) / width, "h": (y1 - y0) / height}
        return ";".join(f"--{name}:{_fraction(part)}" for name, part in parts.items())

    def _label(self, number: int | None) -> tuple[str, str]:
        """Return a class's name, and that as a link from a channel's page; both escaped."""
        if number not in self._labels:
            label = self._catalogue.name(number)
            said = str(escape(label.shown)) if label else ""
            link = f"<bdi>{said}</bdi>" if label else ""
            if label and label.link:
                direction = "" if label.shown.isascii() else " dir=auto"
                link = f"<a href=../../{label.link}{direction}>{said}</a>"
            self._labels[number] = said, link
        return self._labels[number]


def _base(channel: Channel) -> str:
    """Return how the names of a channel's pictures begin."""
    return f"channels/{channel.layer.slug}/{channel.channel}"


def _fraction(value: float) -> str:
    """Return a part of 1 in as few characters as half a pixel needs: `.254`, `1`."""
    return f"{value:.3f}".rstrip("0").rstrip(".").removeprefix("0") or "0"


def _short(key: str) -> str:
    """Return the key of a picture as a page shows it: its end tells most."""
    return key if len(key) <= 40 else "…" + key[-39:]


def _key(channel: Channel) -> str:
    return f"plates {channel.row}"


def _picture(image: int) -> str:
    """Return the address of a stored picture; short, because pages name it dozens of times."""
    return f"i/{image}.webp"
