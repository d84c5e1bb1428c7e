"""What pages show of references: pictures, and the words that say what is seen."""

import os
import posixpath
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tqdm import tqdm

from atlas.errors import UserError
from atlas.site import text
from atlas.site.catalogue import Catalogue, Channel, Label, Layer, Reference
from atlas.site.output import Tree
from atlas.site.sprites import Sheets
from atlas.store import MODES, Mode

COLUMN = 6
"""Patches in the picture of a layer."""


@dataclass(frozen=True)
class Shown:
    """A reference as a page shows it."""

    label: Label | None
    predicted: Label | None  # where the network takes the picture for something else
    score: str
    alt: str
    image: int
    width: int  # of the whole picture
    height: int
    inset: str  # of the patch in the whole picture: CSS, from top clockwise


@dataclass(frozen=True)
class Plate:
    """The references of a channel in one mode, with the sheets that show them."""

    mode: Mode
    sheet: str  # file names beside the page
    veil: str
    offset: int  # of the first reference on the veil, which serves both modes
    veiled: int  # tiles on the veil
    shown: list[Shown]

    @property
    def differs(self) -> bool:
        """Whether the network takes some picture for something else."""
        return any(reference.predicted for reference in self.shown)


class Words:
    """How numbers of this atlas are called and written."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._shares = {mode: bool(catalogue.manifest[mode]["normalize"]) for mode in MODES}
        self.label = catalogue.labels.__getitem__
        self.class_pictures = {
            "label": "pictures of",
            "mixed": "pictures of (or, without a label, taken by the network for)",
            "predicted": "pictures that the network takes for",
        }[catalogue.classes_by]
        self._aggregates = {mode: catalogue.manifest[mode]["aggregate"] for mode in MODES}

    def score_name(self, mode: Mode) -> str:
        """Return what a reference's score is called."""
        return f"{mode} share" if self._shares[mode] else mode

    def score(self, mode: Mode, value: float) -> str:
        """Return a reference's score as it is written."""
        return text.percent(value) if self._shares[mode] else text.number(value)

    def score_meaning(self, mode: Mode, layer: Layer) -> str:
        """Return what a score is, with its denominator."""
        over = {"max": "the maximum", "sum": "the sum"}[self._aggregates[mode]]
        what = {
            "activation": f"{over} of the layer’s raw output over the channel’s map",
            "relevance": f"{over} of the channel’s relevance over its map",
        }[mode]
        if not self._shares[mode]:
            return f"{what}."
        return (
            f"{what}, as a share of Σ |{mode}| over the {len(layer.rows)} channels of "
            f"{layer.shown} in that picture."
        )

    def alt(self, channel: Channel, mode: Mode, reference: Reference, label: Label | None) -> str:
        """Return what stands for a patch where it is not seen."""
        named = f", class {label.shown}" if label else ""
        score = self.score(mode, reference.score).replace(text.NO_BREAK, " ")
        patch = f"patch {reference.rank} of {channel.address}"
        return f"{patch}{named}, {self.score_name(mode)} {score}"


class Plates:
    """Makes the pictures of all pages and keeps their names."""

    def __init__(self, catalogue: Catalogue, tree: Tree, words: Words) -> None:
        self._catalogue = catalogue
        self._tree = tree
        self._words = words
        self._sheets = Sheets(catalogue, tree)
        self._strips: dict[int, str] = {}
        self._plates: dict[int, list[tuple[Mode, str, str]]] = {}

    def make(self) -> None:
        """Put every picture that pages show."""
        catalogue = self._catalogue
        root = catalogue.store.root.resolve()
        for row in catalogue.images:
            source = (root / row["path"]).resolve()
            if not source.is_relative_to(root):
                raise UserError(f"images.parquet names a file outside the atlas: {row['path']!r}")
            self._tree.link(picture(row["image"]), source)
        catalogue.load_references()  # before threads ask for them
        pool = ThreadPoolExecutor(os.cpu_count())
        try:  # Pillow scales and encodes outside Python's lock, so threads fill the processors.
            made = pool.map(self._make, catalogue.channels)
            for _ in tqdm(made, "patches", len(catalogue.channels), unit=" channels"):
                pass
        finally:
            pool.shutdown(cancel_futures=True)  # at an error or Ctrl-C, at once

    def strip(self, channel: Channel) -> str | None:
        """Return the address of a channel's strip; silent channels have none."""
        return self._strips.get(channel.row)

    def sets(self, channel: Channel) -> list[Plate]:
        """Return the plates of a channel, by relevance first."""
        offset, plates = 0, []
        made = self._plates[channel.row]
        found = {mode: self._catalogue.references(channel, mode) for mode, _, _ in made}
        total = sum(map(len, found.values()))
        for mode, sheet, veil in made:
            shown = [self._shown(channel, mode, reference) for reference in found[mode]]
            names = posixpath.basename(sheet), posixpath.basename(veil)
            plates.append(Plate(mode, *names, offset, total, shown))
            offset += len(shown)
        return plates

    def column(self, layer: Layer) -> str | None:
        """Put the best patch of each of a layer's most relevant channels; return its address."""
        catalogue = self._catalogue
        rows = sorted(layer.rows, key=lambda row: -catalogue.channels[row].values["rel_mean"])
        best = [self._faces(catalogue.channels[row])[:1] for row in rows[: 3 * COLUMN]]
        references = [found[0] for found in best if found][:COLUMN]
        return self._sheets.patches(f"layers/{layer.slug}", references, 96) if references else None

    def _make(self, channel: Channel) -> None:
        base = f"channels/{channel.layer.slug}/{channel.channel}"
        found = {mode: self._catalogue.references(channel, mode) for mode in MODES[::-1]}
        found = {mode: references for mode, references in found.items() if references}
        self._plates[channel.row] = []
        if not found:
            return
        self._strips[channel.row] = self._sheets.strip(f"{base}s", self._faces(channel))
        veil = self._sheets.veils(f"{base}v", [r for rows in found.values() for r in rows])
        self._plates[channel.row] = [
            (mode, self._sheets.patches(f"{base}{mode[0]}", references), veil)
            for mode, references in found.items()
        ]

    def _faces(self, channel: Channel) -> list[Reference]:
        """Return the references that stand for a channel on other pages."""
        references = self._catalogue.references
        return references(channel, "relevance") or references(channel, "activation")

    def _shown(self, channel: Channel, mode: Mode, reference: Reference) -> Shown:
        catalogue = self._catalogue
        predicted = catalogue.name(reference.predicted)
        label = predicted if reference.label is None else catalogue.name(reference.label)
        row = catalogue.images[reference.image]
        x0, y0, x1, y1 = reference.box
        width, height = row["width"], row["height"]
        edges = (y0 / height, 1 - x1 / width, 1 - y1 / height, x0 / width)
        return Shown(
            label=label,
            predicted=None if predicted == label else predicted,
            score=self._words.score(mode, reference.score),
            alt=self._words.alt(channel, mode, reference, label),
            image=reference.image,
            width=width,
            height=height,
            inset=" ".join(f"{100 * edge:.0f}%" for edge in edges),
        )


def picture(image: int) -> str:
    """Return the address of a stored picture; short, because pages name it dozens of times."""
    return f"i/{image}.webp"
