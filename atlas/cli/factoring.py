"""`atlas factors`: concepts that are no single channels."""

from pathlib import Path

import click

from atlas.cli.group import atlas_argument, main, set_option, trust_option


@main.command()
@atlas_argument
@set_option
@trust_option
def factors(atlas_dir: Path, overrides: tuple[str, ...], *, trust_code: bool) -> None:
    """Find the factors of ATLAS: directions of a layer that are concepts, and measure them.

    Which layers have them and how many is said in the recipe's table [factors]; without layers it
    is the last one that has a ReLU behind it. They are addressed, named and shown like channels:
    `atlas name` and `atlas site` come next. The data and the network are needed again.
    """
    from atlas import pipeline  # noqa: PLC0415 (torch takes seconds to import)
    from atlas.recipe import recorded  # noqa: PLC0415
    from atlas.store import bases, open_store  # noqa: PLC0415

    store = open_store(atlas_dir)
    border = pipeline.border(store, overrides, trust_code=trust_code)
    part = pipeline.factorise(store, recorded(store.manifest(), overrides), border)
    for basis in bases.read(part):
        whole = basis.facts["complete"]
        click.echo(
            f"{basis.name}: {len(basis.directions)} factors hold {basis.facts['explained']:.0%} "
            f"of the output of {basis.layer}; from them alone the network answers the same for "
            f"{whole['same_answer']:.0%} of {whole['pictures']} pictures."
        )
