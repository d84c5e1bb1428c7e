"""Explain pictures one by one: each gets a directory of its own, which is whole or absent."""

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from atlas.data.images import ENDINGS, BadImage, decode
from atlas.errors import UserError, one_line
from atlas.explain import drawing
from atlas.explain.claims.making import claims
from atlas.explain.context import contextualise
from atlas.explain.counterfactuals import Asked, SameAnswerError
from atlas.explain.gathering import Gathered, Subject, gather
from atlas.explain.models import AnsweringModel
from atlas.explain.narrative.compose import Writer, compose
from atlas.model.preprocessing import Preprocessor
from atlas.relevance.engine import PREDICTED
from atlas.store import claims as stored_claims
from atlas.store import evidence, files, narrative, othermaps, table
from atlas.store.evidence import Picture
from atlas.store.othermaps import TestedMap

VIEW, HEAT = "picture.webp", "heat.webp"
"""What the network saw, and the heat map of the target."""

STEM = 40
"""Characters of the file's name in the id of its explanation."""


@dataclass(frozen=True)
class Outcome:
    """What became of the pictures."""

    done: tuple[Path, ...]
    """Directories of the explanations."""
    failed: tuple[tuple[Path, str], ...]
    """Pictures that could not be explained, and why."""


@dataclass(frozen=True)
class Explainer:
    """Everything that pictures are explained with."""

    subject: Subject
    preprocessing: Preprocessor
    device: torch.device
    root: Path
    """Where the directories of explanations are."""
    label: Callable[[Path], int | None]
    """The output that is right by a picture's label, where that is known."""
    vlm: AnsweringModel | None = None
    """Who says where and how concepts show in the picture."""
    writer: Writer | None = None
    """Who chooses what the narratives say; rules unless given."""
    others: Callable[[Tensor, int], Sequence[tuple[TestedMap, Tensor]]] | None = None
    """What makes other maps of the network's input (1, ...) and a target: (height, width) each."""
    asked: Asked | None = None
    """Another class, of which it is asked what it would take for the answer to be that."""

    def __call__(self, paths: Sequence[Path], target: int = PREDICTED) -> Outcome:
        """Explain pictures; one that cannot be explained does not stop the others.

        Parameters
        ----------
        paths : sequence of Path
            Image files.
        target : int
            The output to explain, or `atlas.relevance.engine.PREDICTED`.
        """
        done: list[Path] = []
        failed: list[tuple[Path, str]] = []
        for path in tqdm(paths, desc="explaining", unit=" pictures"):
            try:
                done.append(self.one(path, target))
            except (BadImage, SameAnswerError) as error:
                failed.append((path, one_line(error)))
        return Outcome(tuple(done), tuple(failed))

    def one(self, path: Path, target: int = PREDICTED) -> Path:
        """Explain one picture and return the directory of its explanation.

        Raises
        ------
        BadImage
            It cannot be read.
        SameAnswerError
            The class that is asked for is the answer.
        """
        image = decode(path)
        view = self.preprocessing.view(image)
        digest = files.sha256(path)
        side = view.width if view.width == view.height else (view.height, view.width)
        picture = Picture(path.name, digest, image.width, image.height, side)
        atlas, asked = str(self.subject.background.manifest["id"]), self.asked
        id_ = identify(path.stem, digest, atlas, target, asked.label if asked else None)
        known = self.label(path)
        gathered = gather(self.subject, self._input(view), picture, id_, target, known, asked)
        found, writer = gathered.evidence, self.writer
        if self.vlm is not None:
            said = contextualise(view, found.concepts, gathered.maps, self.vlm)
            found = replace(found, context=tuple(one for one in said if one is not None))
            # What is still to come may be said too: the writer chooses when all is there.
            writer = None if None in said else writer
        with _whole(self.root / id_) as folder:
            _draw(folder, view, gathered)
            evidence.write(found, folder)
            # As written: conditions of claims hold for the digits that readers see.
            written = evidence.read(folder)
            claimed = claims(written)
            stored_claims.write(claimed, folder)
            narrative.write(compose(claimed, writer), folder, table.rows(written))
            if self.others is not None:
                _draw_others(folder, self.others(self._input(view), found.target.label))
        return self.root / id_

    def _input(self, view: Image.Image) -> Tensor:
        return self.preprocessing.tensor([view]).to(self.device)


def image_files(path: Path) -> list[Path]:
    """Return the picture itself, or those in a folder, by their names."""
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS)
    if not found:
        raise UserError(f"{path} has no pictures: give image files, or a folder of them")
    return found


def identify(stem: str, digest: str, atlas: str, target: int, asked: int | None = None) -> str:
    """Return the id of an explanation: the file's name, and 8 digits of what decides it."""
    slug = re.sub(r"[^a-z0-9]+", "-", stem.lower())[:STEM].strip("-") or "picture"
    decisive = f"{digest} {atlas} {target}" + ("" if asked is None else f" {asked}")
    return f"{slug}-{hashlib.sha256(decisive.encode()).hexdigest()[:8]}"


def _draw(folder: Path, view: Image.Image, gathered: Gathered) -> None:
    view.save(folder / VIEW, "WEBP", quality=90)
    drawing.overlay(gathered.heat).save(folder / HEAT, "WEBP", quality=80)
    for concept, heat in zip(gathered.evidence.concepts, gathered.maps, strict=True):
        drawing.overlay(heat).save(folder / concept.map, "WEBP", quality=80)


def _draw_others(folder: Path, others: Sequence[tuple[TestedMap, Tensor]]) -> None:
    for one, heat in others:
        drawing.overlay(heat).save(folder / one.file, "WEBP", quality=80)
    othermaps.write([one for one, _ in others], folder)


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Yield a new directory that takes the place of `folder` once everything is in it."""
    temporary = folder.with_name(f".{folder.name}{files.TEMPORARY_SUFFIX}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
