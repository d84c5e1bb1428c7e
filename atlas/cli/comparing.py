"""`atlas diff`: what differs between two atlases."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from atlas.cli.group import main
from atlas.cli.table import TableColumn, print_table

if TYPE_CHECKING:
    from atlas.diff import Comparison

SHOWN = 10
"""Channels and classes in the tables; JSON and the page have more."""


@main.command()
@click.argument("first", metavar="ATLAS_A", type=click.Path(path_type=Path))
@click.argument("second", metavar="ATLAS_B", type=click.Path(path_type=Path))
@click.option(
    "--by",
    default="address",
    show_default=True,
    type=click.Choice(["address", "patches"]),
    help="Which channels are one: those with the same address, or those of a layer whose patches "
    "are most alike (an optimal assignment).",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write a page with pictures, and diff.json, into this directory.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(first: Path, second: Path, by: str, out: Path | None, as_json: bool) -> None:
    """Compare two atlases: references, names and classes of matched channels.

    For the same network on other data, another checkpoint, or other names.
    """
    import atlas  # noqa: PLC0415
    from atlas.diff import compare  # noqa: PLC0415

    a, b = atlas.open(first), atlas.open(second)
    comparison = compare(a, b, by)  # type: ignore[arg-type]
    if out is not None:
        from atlas.diff.page import write  # noqa: PLC0415

        page = write(comparison, a, b, out)
        click.echo(f"Open {page.resolve().as_uri()} in a browser.", err=True)
    if as_json:
        click.echo(json.dumps(comparison.as_dict(), indent=2))
    else:
        _print(comparison)


def _print(comparison: "Comparison") -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console(highlight=False, markup=False)
    renamed = sum(pair.renamed for pair in comparison.channels)
    console.print(
        f"{len(comparison.channels)} channels matched by {comparison.matched_by}, {renamed} with "
        f"another name; {len(comparison.only_first)} only in the first ({comparison.first}), "
        f"{len(comparison.only_second)} only in the second ({comparison.second})."
    )
    if comparison.other_factors:
        console.print(
            f"Other factors in each, at the same addresses: {', '.join(comparison.other_factors)}; "
            "they are matched with --by patches alone."
        )
    if not comparison.same_data:
        console.print("The data differ, so there is no overlap of references.")
    modes = list(comparison.channels[0].overlap)
    rows = []
    for pair in comparison.most_changed()[:SHOWN]:
        overlaps = [_number(pair.overlap[mode]) for mode in modes]
        names = [name or "" for name in (pair.first_name, pair.second_name)]
        measured = [*overlaps, _number(pair.similarity), _number(pair.classes)]
        rows.append([pair.first, pair.second, *names, *measured])
    numbers = (*(f"by {mode}" for mode in modes), "patches", "classes")
    columns = [
        *(TableColumn(head, "address") for head in ("first", "second")),
        *(TableColumn("name") for _ in range(2)),
        *(TableColumn(head, "number") for head in numbers),
    ]
    print_table(columns, rows, "Most changed channels")
    moved = [
        [pair.name, f"{pair.similarity:.3f}", ", ".join(pair.gained[:3]), ", ".join(pair.lost[:3])]
        for pair in comparison.classes[:SHOWN]
    ]
    heads = TableColumn("class"), TableColumn("cosine", "number")
    changes = TableColumn("gained", "address"), TableColumn("lost", "address")
    print_table([*heads, *changes], moved, "Most moved classes")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
