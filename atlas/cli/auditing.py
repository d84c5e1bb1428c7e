"""`atlas audit`: how far maps of what an answer rests on hold."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from atlas.cli.group import atlas_argument, main, set_option, trust_option
from atlas.cli.table import TableColumn, print_table

if TYPE_CHECKING:
    from atlas.store.audit import Audit, Figure

ARROWS = {"lower": "↓", "higher": "↑"}
"""Which end of a measure is the good one."""


@main.command()
@atlas_argument
@click.option(
    "--pictures",
    default=24,
    show_default=True,
    type=click.IntRange(min=1),
    help="Measure on so many of the pictures that ATLAS keeps, drawn by chance.",
)
@click.option(
    "--maps",
    metavar="NAME,...",
    help="Only these maps: lrp, factors, sobol, grad-cam, grad-cam++, smooth-grad-cam++, "
    "integrated-gradients, occlusion, and the controls random, centre and edges.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@set_option
@trust_option
def audit(
    atlas_dir: Path,
    pictures: int,
    maps: str | None,
    overrides: tuple[str, ...],
    *,
    as_json: bool,
    trust_code: bool,
) -> None:
    """Measure how far maps of what an answer rests on hold, on pictures and network of ATLAS.

    Maps by relevance, by factors, by Sobol indices, by gradients and by occlusion, and three
    controls that know nothing of the network, are measured by deletion, insertion, infidelity and
    sensitivity; in a drawn world also by where the object is. `atlas site` makes a page of it.
    Sobol attribution takes 2,112 passes through the network for a picture: leave it out with --maps
    where that is too long.
    """
    from atlas import pipeline  # noqa: PLC0415 (torch takes seconds to import)
    from atlas.recipe import recorded  # noqa: PLC0415
    from atlas.store import open_store  # noqa: PLC0415
    from atlas.store.audit import as_json as ready  # noqa: PLC0415

    store = open_store(atlas_dir)
    border = pipeline.border(store, overrides, trust_code=trust_code)
    chosen = [] if maps is None else [name.strip() for name in maps.split(",")]
    found = pipeline.audit_maps(
        store, recorded(store.manifest(), overrides), pictures, chosen, border
    )
    if as_json:
        click.echo(json.dumps(ready(found), indent=2, ensure_ascii=False))
    else:
        _print(found)
    if len(found.pictures) < pictures:
        kept = f"{atlas_dir} keeps {len(found.pictures)} pictures: all were measured"
        click.echo(f"{kept}, not {pictures}.", err=True)


def _print(found: "Audit") -> None:
    title = f"How far maps hold, on {len(found.pictures)} pictures (below: 95 % intervals)"
    columns = [TableColumn("map", "address")]
    for name in found.measured:
        columns.append(TableColumn(f"{name}\n{ARROWS[found.measures[name].better]}", "number"))
    rows = [
        [map_, *(_cell(found.figure(map_, name)) for name in found.measured)] for map_ in found.maps
    ]
    print_table(columns, rows, title)
    click.echo("↑ higher is better, ↓ lower is better.", nl=found.object_share is None)
    if found.object_share is not None:
        click.echo(f" The object covers {found.object_share:.1%} of a picture.")
    for line in found.left_out:
        click.echo(f"Left out: {line}.")


def _cell(one: "Figure | None") -> str:
    if one is None:
        return "–"
    if one.low is None or one.high is None:
        return f"{one.mean:.3f}\nn = {one.pictures}"
    ends = (f"{end:.2f}".removeprefix("0") for end in (one.low, one.high))
    return f"{one.mean:.3f}\n{'–'.join(ends)}"
