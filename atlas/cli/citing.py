"""`atlas cite`, `figure` and `export`: an atlas in a paper, and as data for other tools."""

from pathlib import Path

import click

from atlas.cli.group import atlas_argument, main, set_option


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
@set_option
def cite(
    atlas_dir: Path,
    address: str | None,
    label: str | None,
    explanation: str | None,
    form: str,
    overrides: tuple[str, ...],
) -> None:
    """Print how ATLAS is cited, or one of its channels, classes or explanations.

    Authors, title and address of the site come from the table [cite] of the recipe.
    """
    import atlas  # noqa: PLC0415

    a = atlas.open(atlas_dir, overrides)
    text = a.cite(address, label=label, explanation=explanation, format=form)  # type: ignore[arg-type]
    click.echo(text, nl=False)


@main.command()
@atlas_argument
@click.argument("addresses", metavar="[LAYER:CHANNEL]...", nargs=-1)
@click.option("--explanation", metavar="ID", help="Draw this explanation, and not channels.")
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write: .pdf, .svg or .png.",
)
@click.option(
    "--columns",
    "width",
    default="two",
    show_default=True,
    type=click.Choice(["one", "two"]),
    help="Columns of the page that it spans: 89 or 183 mm.",
)
@click.option(
    "--mode",
    default="relevance",
    show_default=True,
    type=click.Choice(["activation", "relevance"]),
    help="By which score the patches were chosen.",
)
def figure(
    atlas_dir: Path,
    addresses: tuple[str, ...],
    explanation: str | None,
    out: Path,
    width: str,
    mode: str,
) -> None:
    """Draw channels of ATLAS, or an explanation, for a paper; print the caption.

    Type stays type, pictures are embedded at 300 dpi. Needs the extra `figure`.
    """
    import atlas  # noqa: PLC0415

    a = atlas.open(atlas_dir)
    click.echo(a.figure(*addresses, explanation=explanation, out=out, width=width, mode=mode))  # type: ignore[arg-type]


@main.command()
@atlas_argument
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    default="hf",
    show_default=True,
    type=click.Choice(["hf", "csv", "crp", "milan"]),
    help="A data set for `datasets` with card and Croissant, tables for spreadsheets, or the "
    "folders that zennit-crp and MILAN read.",
)
@set_option
def export(atlas_dir: Path, directory: Path, form: str, overrides: tuple[str, ...]) -> None:
    """Write ATLAS into an empty DIRECTORY as data for other tools.

    Of the pictures goes along what the recipe's site.images allows: full, thumbs or none.
    """
    import atlas  # noqa: PLC0415
    from atlas.export import export as run  # noqa: PLC0415

    run(atlas.open(atlas_dir, overrides), directory, form)  # type: ignore[arg-type]
    click.echo(directory)
