"""`atlas influences`: what channels react to."""

from pathlib import Path

import click

from atlas.cli.group import atlas_argument, main, set_option, trust_option


@main.command()
@atlas_argument
@set_option
@trust_option
def influences(atlas_dir: Path, overrides: tuple[str, ...], *, trust_code: bool) -> None:
    """Measure what the channels and factors of ATLAS react to: hue, texture, shape and so on.

    Each of hue, saturation, contrast, texture and shape is taken out of pictures among the
    references, and it is measured how far activations drop. How many pictures is said in the
    recipe's table [influences]. Pages show it once `atlas site` has made them again. The network is
    needed again, the data is not.
    """
    from atlas import pipeline  # noqa: PLC0415 (torch takes seconds to import)
    from atlas.recipe import recorded  # noqa: PLC0415
    from atlas.store import open_store  # noqa: PLC0415

    store = open_store(atlas_dir)
    border = pipeline.border(store, overrides, trust_code=trust_code)
    measured = pipeline.influence(store, recorded(store.manifest(), overrides), border)
    click.echo(f"Measured {measured} channels and factors." if measured else "All is measured.")
