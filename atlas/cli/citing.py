"""`atlas cite`: bibliography entries."""

from pathlib import Path

import click

from atlas.cli.group import atlas_argument, main


@main.command()
@atlas_argument
@click.argument("address", metavar="[LAYER:CHANNEL]", required=False)
@click.option("--class", "label", metavar="CLASS", help="Cite the page of this class.")
@click.option("--explanation", metavar="ID", help="Cite this explanation.")
@click.option(
    "--format",
    "form",
    default="bibtex",
    show_default=True,
    type=click.Choice(["bibtex", "csl-json", "text"]),
)
def cite(
    atlas_dir: Path, address: str | None, label: str | None, explanation: str | None, form: str
) -> None:
    """Print how ATLAS is cited, or one of its channels, classes or explanations.

    Authors, title and address of the site come from the table [cite] of the recipe.
    """
    import atlas  # noqa: PLC0415

    a = atlas.open(atlas_dir)
    text = a.cite(address, label=label, explanation=explanation, format=form)  # type: ignore[arg-type]
    click.echo(text, nl=False)
