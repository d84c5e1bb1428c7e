"""`atlas picture`: a picture that a channel would like."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from atlas.cli.group import atlas_argument, main, trust_option
from atlas.errors import UserError

if TYPE_CHECKING:
    from atlas.store.made import Kind


@main.command()
@atlas_argument
@click.argument("address", metavar="LAYER:CHANNEL")
@click.option("--steps", type=click.IntRange(min=1), help="Steps of the optimiser.")
@click.option("--seed", type=click.IntRange(min=0), help="The same seed gives the same picture.")
@click.option(
    "--control",
    is_flag=True,
    help="Let the spectrum free as well: such a picture mostly reaches further and looks less "
    "natural.",
)
@click.option(
    "--accentuate",
    is_flag=True,
    help="Begin with the best reference by activation and stay near it, instead of by chance.",
)
@trust_option
def picture(
    atlas_dir: Path,
    address: str,
    steps: int | None,
    seed: int | None,
    *,
    control: bool,
    accentuate: bool,
    trust_code: bool,
) -> None:
    """Make a picture that a channel or factor of ATLAS would like, and keep it there.

    It is made, not seen: phases are optimised, and the spectrum is the mean of the atlas's own
    pictures (MACO). With it stand its reach (the activation in parts of the highest on any picture
    of the data), the place of the channel among those of its layer, and whether it agrees with the
    references. Steps and seed are those of the recipe's table [pictures_made] unless given; whole
    layers are made with that table too. Pages show it once `atlas site` has made them again. The
    network is needed again, the data is not.
    """
    from atlas import pipeline  # noqa: PLC0415 (torch takes seconds to import)
    from atlas.recipe import recorded  # noqa: PLC0415
    from atlas.store import made, open_store  # noqa: PLC0415
    from atlas.store.joined import joined  # noqa: PLC0415

    if control and accentuate:
        raise UserError("give --control or --accentuate, not both")
    store = open_store(atlas_dir)
    given = {"steps": steps, "seed": seed}
    changes = [f"pictures_made.{key}={value}" for key, value in given.items() if value is not None]
    recipe = recorded(store.manifest(), changes)
    border = pipeline.border(store, trust_code=trust_code)
    kind: Kind = "fourier" if control else "accentuated" if accentuate else "maco"
    row = pipeline.make_one(store, recipe, address, kind, border)
    click.echo(made.path(joined(store), row))
    click.echo(made.said(row))
