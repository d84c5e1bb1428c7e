"""`atlas explain`: explanations of single pictures."""

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from atlas.cli.files import exchange, file_options, report
from atlas.cli.group import atlas_argument, main, set_option, trust_option
from atlas.errors import UserError

if TYPE_CHECKING:
    from atlas.pipeline.words import WordMap

WIDTH = 96
"""Characters of a line of text."""

OF_WORDS = ("explain.layers", "explain.basis", "model.device")
"""What can change where --word only draws."""


@main.command()
@atlas_argument
@click.argument(
    "images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--target",
    metavar="CLASS",
    help="Explain this class, by its name or number (:3 is always number 3), and not the predicted "
    "one.",
)
@click.option(
    "--to",
    metavar="CLASS",
    help="Also find what it would take for the answer to be this class: the fewest concepts to "
    "take away for another answer, and the fewest to copy from a real picture of this class.",
)
@click.option(
    "--for",
    "audience",
    type=click.Choice(["everyone", "expert"]),
    help="Print also what is said to this reader; to experts with the table of concepts.",
)
@click.option(
    "--word",
    metavar="WORD",
    help="Only draw where in each IMAGE this word is: the maps of the channels and factors of "
    "which one name has it, or all of several words, added up in each layer (what a channel and a "
    "factor both hold counts once), and the mean over the layers. explain.layers and "
    "explain.basis say where to look; everywhere unless given.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory for what --word draws; the current one unless given.",
)
@set_option
@file_options
@trust_option
def explain(
    atlas_dir: Path,
    images: tuple[Path, ...],
    target: str | None,
    to: str | None,
    audience: str | None,
    word: str | None,
    out: Path | None,
    overrides: tuple[str, ...],
    questions: Path | None,
    answers: tuple[Path, ...],
    part_mb: float,
    *,
    trust_code: bool,
) -> None:
    """Say which named concepts the network's answer to each IMAGE rests on.

    A folder stands for the pictures in it. The pages are made by `atlas site`. Models that look or
    write (explain.vlm, explain.writer, explain.judge) run in this process or at a server, or are
    asked by files (--questions, --answers): then questions that follow from answers are in the next
    file, and texts are by rules until it is answered. What is answered is not asked again.
    Ends with exit status 2 when a picture cannot be read, or is taken for the class of --to; the
    others are explained.
    """
    from atlas import pipeline  # noqa: PLC0415 (torch takes seconds to import)
    from atlas.recipe import recorded  # noqa: PLC0415
    from atlas.store import open_store  # noqa: PLC0415

    for override in overrides:
        if not override.startswith(("explain.", "model.device=")):
            raise UserError(
                f"--set {override}: an explanation is by what the atlas measured; only [explain] "
                "and model.device can change (build another atlas for the rest)"
            )
    store = open_store(atlas_dir)
    recipe = recorded(store.manifest(), overrides)
    border = pipeline.border(store, overrides, trust_code=trust_code)
    if word is not None:
        _check_word(to, audience, overrides, files=bool(questions or answers))
        found = pipeline.word_maps(store, recipe, images, word, out or Path(), target, border)
        for one in found.done:
            click.echo(_where(one))
        _fail(found.failed, "read")
        return
    if out is not None:
        raise UserError("--out is where --word draws: add --word, or leave it out")
    files = exchange(questions, answers, part_mb)
    outcome = pipeline.explain(store, recipe, images, target, border, exchange=files, to=to)
    for folder in outcome.done:
        click.echo(folder)
        if audience is not None:
            click.echo(_said(folder, audience))
    report(files)
    _fail(outcome.failed, "explained")


def _check_word(
    to: str | None, audience: str | None, overrides: Sequence[str], *, files: bool
) -> None:
    """Refuse beside --word what would have no effect."""
    if files:
        raise UserError("--word asks no model: leave --questions and --answers out")
    if to is not None:
        raise UserError("--word only draws where a word is: leave --to out")
    if audience is not None:
        raise UserError("--word only draws where a word is and writes no text: leave --for out")
    for override in overrides:
        if override.partition("=")[0].strip() not in OF_WORDS:
            raise UserError(
                f"--set {override}: --word only draws where a word is; of the settings only "
                f"{', '.join(OF_WORDS[:-1])} and {OF_WORDS[-1]} say something of that"
            )


def _where(one: "WordMap") -> str:
    """Return what is said of a map of a word."""
    shares = ", ".join(f"{name} {share:.1%}" for name, share in one.shares.items())
    drawn = "map of one layer" if one.layers == 1 else f"mean of the maps of {one.layers} layers"
    return f"{one.drawn}: {drawn}; share of the relevance of its channels, or factors: {shares}"


def _fail(failed: Sequence[tuple[Path, str]], done: str) -> None:
    """Say which pictures could not be dealt with, and end if there are any."""
    for path, reason in failed:
        click.echo(f"atlas: {path} is not {done}: {reason}", err=True)
    if failed:
        sys.exit(2)


def _said(folder: Path, audience: str) -> str:
    """Return the text for an audience, and behind that for experts the table."""
    from atlas.store import evidence, narrative, table  # noqa: PLC0415 (slow to import)

    own = next(one for one in narrative.read(folder) if one.audience == audience)
    text = textwrap.fill(" ".join(one.text for one in own.sentences), WIDTH)
    rows = table.rows(evidence.read(folder)) if audience == "expert" else ()
    return f"\n{text}\n" + (f"\n{table.text(rows)}\n" if rows else "")
