"""`atlas explain`: explanations of single pictures."""

import sys
import textwrap
from pathlib import Path

import click

from atlas.cli.files import exchange, file_options, report
from atlas.cli.group import atlas_argument, main, set_option, trust_option
from atlas.errors import UserError

WIDTH = 96
"""Characters of a line of text."""


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
    help="Only draw where in each IMAGE this word is: the relevance of the channels and factors "
    "whose names have it.",
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
    if word is not None and (questions or answers):
        raise UserError("--word asks no model: leave --questions and --answers out")
    if word is not None and to is not None:
        raise UserError("--word only draws where a word is: leave --to out")
    if word is not None:
        for one in pipeline.word_maps(store, recipe, images, word, out or Path(), target, border):
            shares = ", ".join(f"{layer} {share:.0%}" for layer, share in one.shares.items())
            click.echo(f"{one.drawn}: share of the relevance: {shares}")
        return
    if out is not None:
        raise UserError("--out is where --word draws: add --word, or leave it out")
    files = exchange(questions, answers, part_mb)
    outcome = pipeline.explain(store, recipe, images, target, border, exchange=files, to=to)
    for folder in outcome.done:
        click.echo(folder)
        if audience is not None:
            click.echo(_said(folder, audience))
    for path, reason in outcome.failed:
        click.echo(f"atlas: {path} is not explained: {reason}", err=True)
    report(files)
    if outcome.failed:
        sys.exit(2)


def _said(folder: Path, audience: str) -> str:
    """Return the text for an audience, and behind that for experts the table."""
    from atlas.store import evidence, narrative, table  # noqa: PLC0415 (slow to import)

    own = next(one for one in narrative.read(folder) if one.audience == audience)
    text = textwrap.fill(" ".join(one.text for one in own.sentences), WIDTH)
    rows = table.rows(evidence.read(folder)) if audience == "expert" else ()
    return f"\n{text}\n" + (f"\n{table.text(rows)}\n" if rows else "")
