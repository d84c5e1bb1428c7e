"""`atlas site` and `atlas serve`: the pages."""

from pathlib import Path

import click

from atlas.cli.group import atlas_argument, main, set_option


@main.command()
@atlas_argument
@click.option(
    "--images-from",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the pictures of the data, for an atlas that came without them.",
)
@set_option
def site(atlas_dir: Path, images_from: Path | None, overrides: tuple[str, ...]) -> None:
    """Write the pages of ATLAS and build its static site.

    What did not change since the last time is left as it is.
    """
    from atlas import site as pages  # noqa: PLC0415 (not the pipeline: torch takes seconds)
    from atlas.recipe import recorded  # noqa: PLC0415
    from atlas.store import open_store  # noqa: PLC0415
    from atlas.store.lock import alone  # noqa: PLC0415

    store = open_store(atlas_dir)
    settings = recorded(store.manifest(), overrides).site
    with alone(store):
        if images_from is not None:
            from atlas.indexing.filling import fill  # noqa: PLC0415

            fill(store, images_from)
        pages.render(store, settings)
        pages.build(store)
    page = (store.root / "site" / "index.html").resolve()
    click.echo(f"Open {page.as_uri()} in a browser.")


@main.command()
@atlas_argument
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
def serve(atlas_dir: Path, port: int) -> None:
    """Serve the site of ATLAS on this machine until Ctrl-C."""
    from atlas.publishing.serve import serve as run  # noqa: PLC0415
    from atlas.store import open_store  # noqa: PLC0415

    run(open_store(atlas_dir), port)
