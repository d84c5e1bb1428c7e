"""The reference images that pages show, with their captions."""

import os
import posixpath
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from markupsafe import Markup, escape
from tqdm import tqdm

from atlas.errors import UserError
from atlas.recipe.publishing import Images
from atlas.site import charts, text
from atlas.site.catalogue import Catalogue
from atlas.site.entries import ChannelEntry, LayerEntry, ReferenceEntry, by_relevance
from atlas.site.name_tests import Fit
from atlas.site.output import BuildCache, Tree
from atlas.site.sprites import (
    DRAWN_AT_ONCE,
    SMALL,
    THUMB,
    SpriteSheets,
    ThumbnailStrip,
    small_size,
)
from atlas.site.terminology import Terminology
from atlas.store import MODES, Mode

SHOWN_REFERENCES = 18
"""References of each mode on a channel's page; the JSON has all of them."""

COLUMN = 6
COLUMN_TILE = 96
"""Patches in the picture of a layer, and the side of one, in pixels."""


_Shown = dict[Mode, list[ReferenceEntry]]


@dataclass(frozen=True)
class ReferenceSet:
    """The references of a channel in one mode, with the sprite sheets that show them."""

    mode: Mode
    overlays: str  # the sheet of mask overlays, which serves both modes: its name beside the page
    patches: str | None  # the sheet of patches, where only thumbnails are published
    shapes_only: bool  # whether masks are shown alone, because no pixels are published
    offset: int  # the tile of the first reference on the sheet of mask overlays
    tiles: int  # all tiles on the sheet of mask overlays
    count: int
    all: int  # references, with those that are not shown
    items: Markup  # a list item for each reference
    differs: bool  # whether the network takes some picture for something else
    fit: Fit | None  # how many fit the name, of those that a model was shown
    senses: bool  # whether some references are known to show one of several senses
    first: str  # the score of the best and of the last reference
    last: str
    rank_curve: str  # points of the scores by rank, for a drawing 100 wide and 30 high
    ratio: float  # of width to height of the pictures


class ReferenceImages:
    """Makes the reference images of all pages and keeps their names.

    Parameters
    ----------
    catalogue : Catalogue
        What they show.
    tree : Tree
        Where they are put.
    cache : BuildCache
        What was put there before.
    terms : Terminology
        What captions call the scores.
    images : Images
        Which pictures are published.
    made : dict, optional
        `made` of the process that put them, for one that only writes pages.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        tree: Tree,
        cache: BuildCache,
        terms: Terminology,
        images: Images,
        made: dict[int, list[str]] | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._tree = tree
        self._cache = cache
        self._terms = terms
        self._sheets = SpriteSheets(catalogue, tree)
        self._labels: dict[int | None, tuple[str, str]] = {}
        self.published = images
        self.made: dict[int, list[str]] = made or {}
        """For the row of each channel its thumbnail strip, overlays, and patches of each mode."""

    def make(self) -> None:
        """Put every picture that pages show, as far as it is not there."""
        catalogue = self._catalogue
        catalogue.load_references()  # before threads ask for them
        missing = []
        for channel in catalogue.channels:
            known = self._cache.files(_key(channel))
            if known is not None and self._tree.keep(known):
                self.made[channel.row] = [*known]
            else:
                missing.append(channel)
        pool = ThreadPoolExecutor(os.cpu_count())
        progress = tqdm(desc="patches", total=len(missing), unit=" channels", disable=not missing)
        try:  # Pillow scales and encodes outside Python's lock, so threads fill the processors.
            self._whole_pictures(pool)
            with progress:
                for start in range(0, len(missing), DRAWN_AT_ONCE):
                    some = missing[start : start + DRAWN_AT_ONCE]
                    shown = [self._shown(channel) for channel in some]
                    thumbnails = self._thumbnail_strips(some, shown, pool)
                    for _ in pool.map(self._make, some, shown, thumbnails):
                        progress.update()
        finally:
            pool.shutdown(cancel_futures=True)  # at an error or Ctrl-C, at once

    def picture(self, image: int) -> str | None:
        """Return the address of a stored picture, if pictures are published."""
        return None if self.published == "none" else _picture(image)

    def side(self, image: int) -> tuple[int, int]:
        """Return width and height of a picture as it is published."""
        images = self._catalogue.images
        size = images["width"][image], images["height"][image]
        return small_size(*size, THUMB) if self.published == "thumbs" else size

    def small(self, image: int) -> tuple[str, tuple[int, int]] | None:
        """Return the address of a small form of a picture with its sides, if they are published."""
        if self.published == "none":
            return None
        size = self.side(image)
        if max(size) <= SMALL:
            return _picture(image), size
        digest = self._catalogue.images["sha256"][image][:8]
        return f"t/{image}-{digest}.webp", small_size(*size, SMALL)

    def ratio(self, image: int) -> float:
        """Return the width of a picture by its height."""
        images = self._catalogue.images
        return round(float(images["width"][image] / images["height"][image]), 4)

    def thumbnail_strip(self, channel: ChannelEntry) -> str | None:
        """Return the address of a channel's thumbnail strip; None for one without references."""
        made = self.made[channel.row]
        return made[0] if made else None

    def sets(self, channel: ChannelEntry) -> list[ReferenceSet]:
        """Return the references of a channel in each mode, by relevance first."""
        offset, sets = 0, []
        found = self._shown(channel)
        total = sum(map(len, found.values()))
        if not found:
            return []
        _, overlays, *sheets = self.made[channel.row]
        fits, marks = self._catalogue.tests.fits(channel), self._catalogue.tests.marks(channel)
        for place, (mode, references) in enumerate(found.items()):
            scores = [reference.score for reference in references]
            sets.append(
                ReferenceSet(
                    mode=mode,
                    overlays=posixpath.basename(overlays),
                    patches=posixpath.basename(sheets[place]) if sheets else None,
                    shapes_only=self.published == "none",
                    offset=offset,
                    tiles=total,
                    count=len(references),
                    all=len(self._catalogue.references(channel, mode)),
                    items=self._items(mode, references, marks),
                    differs=any(r.label not in (None, r.predicted) for r in references),
                    fit=fits.get(mode),
                    senses=any(r.sense is not None for r in references),
                    first=self._terms.score(mode, scores[0]),
                    last=self._terms.score(mode, scores[-1]),
                    rank_curve=charts.curve(scores),
                    ratio=self.ratio(references[0].image),
                )
            )
            offset += len(references)
        return sets

    def layer_column(self, layer: LayerEntry) -> str | None:
        """Put the best patch of each of a layer's most relevant channels; return its address."""
        if self.published == "none":
            return None
        channels = by_relevance([self._catalogue.channels[row] for row in layer.rows])
        best = [_best(self._shown(channel))[:1] for channel in channels[: 3 * COLUMN]]
        references = [found[0] for found in best if found][:COLUMN]
        side = THUMB if self.published == "thumbs" else COLUMN_TILE
        if not references:  # of a layer that is silent on all pictures
            return None
        return self._sheets.patches(f"layers/{layer.slug}", references, side)

    def _whole_pictures(self, pool: Executor) -> None:
        images = self._catalogue.images["image"]
        if self.published == "none":
            return
        known = self._cache.files("pictures")
        if known is None or not self._tree.keep(known):
            names = [_picture(image) for image in images]
            if self.published == "thumbs":
                self._small_pictures(names, images, THUMB, pool)
            else:
                self._link(names)
                small = {found[0]: n for n in images if (found := self.small(n))}
                small = {name: n for name, n in small.items() if name != _picture(n)}
                missing = [name for name in small if not self._tree.has_webp(name)]
                self._small_pictures(missing, [small[name] for name in missing], SMALL, pool)
                names += small
            known = self._tree.sizes(names)
        self._cache.add("pictures", (), known)

    def _small_pictures(
        self, names: Sequence[str], images: Sequence[int], longest: int, pool: Executor
    ) -> None:
        sides = [longest] * len(names)
        for _ in pool.map(self._sheets.small_picture, names, images, sides):
            pass

    def _link(self, names: list[str]) -> None:
        for name, source in zip(names, self._catalogue.store.pictures(), strict=True):
            if not source.is_file():
                raise UserError(
                    f"the stored picture {source} is missing: run `atlas build` again, or `atlas "
                    "site --images-from DIR` with the data in DIR"
                )
            self._tree.link(name, source)

    def _thumbnail_strips(
        self, channels: list[ChannelEntry], shown: list[_Shown], pool: Executor
    ) -> list[str]:
        """Put thumbnail strips; return their addresses, empty for channels without references."""
        bases = [f"{_base(channel)}s" for channel in channels]
        pairs = [(base, _best(found)) for base, found in zip(bases, shown, strict=True) if found]
        if self.published == "none":
            made = iter([self._sheets.mask_thumbnails(*pair) for pair in pairs])
        else:
            wanted = [ThumbnailStrip(*pair) for pair in pairs]
            made = iter(self._sheets.thumbnail_strips(wanted, pool))
        return [next(made) if found else "" for found in shown]

    def _make(self, channel: ChannelEntry, found: _Shown, thumbnails: str) -> None:
        """Put what belongs to one channel, beside its thumbnail strip."""
        made: list[str] = []
        if found:
            every = [reference for references in found.values() for reference in references]
            made = [thumbnails, self._sheets.mask_overlays(f"{_base(channel)}v", every)]
            if self.published == "thumbs":
                made += [
                    self._sheets.patches(f"{_base(channel)}{mode[0]}", references, THUMB)
                    for mode, references in found.items()
                ]
        self.made[channel.row] = made
        self._cache.add(_key(channel), (), self._tree.sizes(made))

    def _shown(self, channel: ChannelEntry) -> _Shown:
        """Return the references that pages show of a channel, by relevance first."""
        references = self._catalogue.references
        found = {mode: references(channel, mode)[:SHOWN_REFERENCES] for mode in MODES[::-1]}
        return {mode: references for mode, references in found.items() if references}

    def _items(
        self, mode: Mode, references: list[ReferenceEntry], marks: Mapping[int, bool]
    ) -> Markup:
        """Return the references of one mode as list items, with marks where a name fits.

        There may be a hundred on a page: few tags, no quotes where none are needed, and put
        together here, because a template takes ten times as long.
        """
        images, shapes_only = self._catalogue.images, self.published == "none"
        items = []
        for place, r in enumerate(references):
            score = self._terms.score(mode, r.score)
            label = r.predicted if r.label is None else r.label
            link = self._label(label)[1]
            if r.label not in (None, r.predicted):
                link += f" <i>→ {self._label(r.predicted)[0]}</i>"
            if shapes_only:
                link += f" <i>{escape(_short(text.plain(images['key'][r.image])))}</i>"
            sense = "" if r.sense is None else f" data-s={r.sense}"
            alt = f"patch {r.rank}"
            place_in_picture = self._place(r)
            if shapes_only:
                patch = f'role=img aria-label="{alt}" style="--i:{place};{place_in_picture}">'
            else:
                width, height = self.side(r.image)
                patch = (
                    f"style=--i:{place};{place_in_picture}><img src=../../{_picture(r.image)} "
                    f'width={width} height={height} loading=lazy alt="{alt}">'
                )
            mark = {True: " class=f", False: " class=n", None: ""}[marks.get(r.row)]
            items.append(f"<li{mark}{sense}><b {patch}</b>{score} {link}</li>")
        return Markup("\n".join(items))  # noqa: S704 (names are escaped)

    def _place(self, reference: ReferenceEntry) -> str:
        """Return where a patch is in its picture, by the picture's sides, for a style."""
        images, image = self._catalogue.images, reference.image
        width, height = images["width"][image], images["height"][image]
        x0, y0, x1, y1 = reference.box
        parts = {"x": x0 / width, "y": y0 / height, "w": (x1 - x0) / width, "h": (y1 - y0) / height}
        said = {name: _fraction(part) for name, part in parts.items()}
        if said["h"] == said["w"]:  # then the style sheet says so
            del said["h"]
        return ";".join(f"--{name}:{part}" for name, part in said.items())

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


def _best(found: _Shown) -> list[ReferenceEntry]:
    """Return the references whose patches represent a channel on other pages."""
    return next(iter(found.values()), [])


def _base(channel: ChannelEntry) -> str:
    """Return how the names of a channel's pictures begin."""
    return f"channels/{channel.layer.slug}/{channel.channel}"


def _fraction(value: float) -> str:
    """Return a part of 1 in as few characters as half a pixel needs: `.254`, `1`."""
    return f"{value:.3f}".rstrip("0").rstrip(".").removeprefix("0") or "0"


def _short(key: str) -> str:
    """Return the key of a picture as a page shows it: its end says most."""
    return key if len(key) <= 40 else "…" + key[-39:]


def _key(channel: ChannelEntry) -> str:
    return f"references {channel.row}"


def _picture(image: int) -> str:
    """Return the address of a stored picture; short, because pages name it dozens of times."""
    return f"i/{image}.webp"
