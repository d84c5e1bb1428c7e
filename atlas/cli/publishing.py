"""`atlas site`, `atlas serve` and `atlas publish`: the pages."""

from pathlib import Path

import click

from atlas.cli.group import atlas_argument, main, set_option
from atlas.plain import plain


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

    What did not change since the last time is left as it is. --set changes the tables [site], for
    this time, and [cite], which stays with the atlas: `cite.url` for one, the address at which the
    site will be, is what citations and permalinks begin with from then on.
    """
    from atlas import site as pages  # noqa: PLC0415 (not the pipeline: torch takes seconds)
    from atlas.errors import UserError  # noqa: PLC0415
    from atlas.explain.proving import prover  # noqa: PLC0415
    from atlas.recipe import recorded  # noqa: PLC0415
    from atlas.store import open_store  # noqa: PLC0415
    from atlas.store.lock import alone  # noqa: PLC0415

    store = open_store(atlas_dir)
    for override in overrides:
        if override.partition(".")[0].strip() not in ("site", "cite"):
            raise UserError(
                f"--set {override!r}: a site is made by the tables [site] and [cite] alone; the "
                "others are for `atlas build`"
            )
    recipe = recorded(store.manifest(), overrides)
    settings = recipe.site
    with alone(store):
        if any(override.lstrip().startswith("cite.") for override in overrides):
            manifest = store.manifest()
            known = {**manifest.get("recipe", {}), "cite": recipe.as_dict()["cite"]}
            store.write_manifest({**manifest, "recipe": known})
        if images_from is not None:
            from atlas.indexing.filling import fill  # noqa: PLC0415

            fill(store, images_from)
        pages.render(store, settings, prover(store))
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


@main.command()
@atlas_argument
@click.option(
    "--to",
    "target",
    required=True,
    metavar="PLACE",
    help="git:REMOTE[#BRANCH], hf-space:[OWNER/]NAME, dir:PATH or zip:FILE.",
)
def publish(atlas_dir: Path, target: str) -> None:
    """Publish the site of ATLAS: its files and no others.

    git:REMOTE[#BRANCH] makes the site the only commit of a branch (gh-pages unless named), so that
    earlier pictures do not fill the repository. A branch that was not made so is refused. GitHub
    shows it once Settings, Pages names that branch and its folder /. GitLab needs a job for it,
    which may stand in another project, so that the branch has the site alone: Settings, CI/CD,
    General pipelines, CI/CD configuration file takes the address of a file or FILE@GROUP/PROJECT
    with `pages: {script: ["mkdir .public; cp -r * .public; mv .public public"], artifacts: {paths:
    [public]}, rules: [{if: '$CI_COMMIT_BRANCH == "gh-pages"'}]}`.

    hf-space:NAME makes a static Space of the Hugging Face Hub, with the token of `hf auth login`
    or HF_TOKEN. dir:PATH copies into a new folder, or over an earlier publication. zip:FILE writes
    an archive for Zenodo with CITATION.cff and .zenodo.json at its top; the same site is the same
    bytes.

    The site has to be built (`atlas site`), and to know its address (`url` under [cite] in the
    recipe). It is refused if it has pictures that site.images or cite.rights keeps back.
    """
    import atlas  # noqa: PLC0415
    from atlas.publishing.publish import publish as run  # noqa: PLC0415

    place = run(
        atlas.open(atlas_dir), target, lambda line: click.echo(f"atlas: {plain(line)}", err=True)
    )
    click.echo(plain(place))
