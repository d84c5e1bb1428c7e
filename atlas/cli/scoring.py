"""`atlas score`: how good names are."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import click

from atlas.cli.files import exchange, file_options, report
from atlas.cli.group import atlas_argument, main, set_option, trust_option
from atlas.cli.table import TableColumn, print_table

ALL = "all"

MEANS = (
    "score_ap",
    "score_f1",
    "score_correlation",
    "score_borrowed_ap",
    "score_frequent_ap",
    "score_base_rate",
)
"""Columns of which the mean is printed, in this order."""


@main.command()
@atlas_argument
@set_option
@file_options
@trust_option
def score(
    atlas_dir: Path,
    overrides: tuple[str, ...],
    questions: Path | None,
    answers: tuple[Path, ...],
    part_mb: float,
    *,
    trust_code: bool,
) -> None:
    """Test the names of ATLAS on pictures from the whole range of their channels.

    Scores are estimates for all pictures of the data. Beside those of each layer's names stand the
    base rate, which the name "anything" gets, and those of other channels' names on the same
    patches, which is what a name without meaning gets.
    """
    from atlas import pipeline  # noqa: PLC0415 (torch takes seconds to import)
    from atlas.recipe import recorded  # noqa: PLC0415
    from atlas.store import bases, open_store  # noqa: PLC0415

    store = open_store(atlas_dir)
    border = pipeline.border(store, overrides, trust_code=trust_code)
    files = exchange(questions, answers, part_mb)
    recipe = recorded(store.manifest(), overrides)
    # Factors without names are passed over: those of channels may be all that is wanted.
    parts = [
        part
        for part in (bases.parts(store) if files is None else [store])
        if part.home is None or "name" in part.table("channels").column_names
    ]
    with pipeline.team() as team:
        tested = [pipeline.score(part, recipe, border, files, team) for part in parts]
    if not team.first:  # this process helped another one
        return
    asked = sum(each or 0 for each in tested)
    report(files)
    every = [row for part in parts for row in part.table("channels").to_pylist()]
    rows = [row for row in every if row["score_ap"] is not None]
    if not rows and files is not None and files.open:
        return
    if not rows:
        click.echo(
            "No name could be tested: the pictures of the atlas are too few, or it has no names of "
            "other words to compare with (`atlas name`)."
        )
        return
    _print(rows)
    click.echo(f"{len(rows)} names are tested, {asked} of them now.")


def _print(rows: Sequence[dict[str, Any]]) -> None:
    """Print the scores by layer."""
    from atlas.store import standing  # noqa: PLC0415

    numbers = (
        *("names", "AP", "F1", "Pearson", "borrowed", "frequent", "base rate", "tested"),
        "clarity",
    )
    columns = [TableColumn("layer", "address"), *(TableColumn(one, "number") for one in numbers)]
    lines = []
    for layer in [*dict.fromkeys(row["layer"] for row in rows), ALL]:
        mine = [row for row in rows if layer in (row["layer"], ALL)]
        tested = fmean(bool(standing.above_chance(row)) for row in mine)
        means = [_mean(mine, column) for column in MEANS]
        lines.append([layer, str(len(mine)), *means, f"{tested:.0%}", _mean(mine, "score_clarity")])
    title = "Names on all pictures: average precision and what it is compared with"
    print_table(columns, lines, title, total=True)


def _mean(rows: Sequence[dict[str, Any]], column: str) -> str:
    values = [row[column] for row in rows if row[column] is not None]
    return f"{fmean(values):.2f}" if values else "–"
