"""`atlas build`, `atlas index` and `atlas verify`: making an atlas and checking it."""

import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from atlas.cli.group import atlas_argument, main, out_option, recipe_argument, set_option

if TYPE_CHECKING:
    from atlas.store import Store

RECIPE_HELP = (
    "RECIPE is a TOML file, or the bare name of one that ships: demo, efficientnet-lite0, photos."
)


@main.command(epilog=RECIPE_HELP)
@recipe_argument
@out_option
@set_option
def build(recipe: str, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Run all stages, from the data to the site.

    What is done already is not done again; an interrupted build goes on.
    """
    from atlas import pipeline  # noqa: PLC0415 (torch takes seconds to import)
    from atlas.recipe import load  # noqa: PLC0415

    parsed = load(recipe, overrides)
    store = pipeline.build(parsed, out or _default_out(parsed.name))
    if store is None:  # one of several processes, and not the first
        return
    _report_left_out(store)
    page = (store.root / "site" / "index.html").resolve()
    click.echo(f"The atlas is in {store.root}. Open {page.as_uri()} in a browser.")


@main.command(epilog=RECIPE_HELP)
@recipe_argument
@out_option
@set_option
def index(recipe: str, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Measure every channel: pre-pass, reference pictures, patches, FAISS index."""
    from atlas import pipeline  # noqa: PLC0415
    from atlas.recipe import load  # noqa: PLC0415

    parsed = load(recipe, overrides)
    store = pipeline.index(parsed, out or _default_out(parsed.name))
    if store is None:
        return
    _report_left_out(store)
    click.echo(f"The tables are in {store.root}. `atlas site {store.root}` makes the pages.")


def _report_left_out(store: "Store") -> None:
    """Say what of the data was not measured."""
    from atlas.data import format_counts  # noqa: PLC0415

    images = store.manifest()["images"]
    if images["skipped"]:
        click.echo(
            f"{images['skipped']} pictures could not be read and are not in the atlas: "
            f"{format_counts(images.get('reasons', {}))}. manifest.json names them.",
            err=True,
        )
    if images.get("left_out"):
        click.echo(f"Left out beside the data: {format_counts(images['left_out'])}.", err=True)


def _default_out(name: str) -> Path:
    return Path("build") / "out" / name


@main.command()
@atlas_argument
def verify(atlas_dir: Path) -> None:
    """Check every hash, row count and link of ATLAS, and every sentence.

    Sentences of explanations are made again from their numbers. Ends with exit status 1 when a
    check fails.
    """
    from atlas.explain.proving import check_texts  # noqa: PLC0415
    from atlas.store import open_store  # noqa: PLC0415
    from atlas.store.verify import check  # noqa: PLC0415

    failures, store = 0, open_store(atlas_dir)
    for result in chain(check(store), check_texts(store)):
        click.echo(f"{'ok  ' if result.passed else 'FAIL'} {result.text}")
        failures += not result.passed
    if failures:
        click.echo(f"{failures} of the checks failed", err=True)
        sys.exit(1)
