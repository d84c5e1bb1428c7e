"""`atlas name` and `atlas rename`: what channels are called."""

from collections import Counter
from pathlib import Path

import click

from atlas.cli.files import exchange, file_options, report
from atlas.cli.group import atlas_argument, main, set_option, trust_option


@main.command()
@atlas_argument
@set_option
@file_options
@trust_option
def name(
    atlas_dir: Path,
    overrides: tuple[str, ...],
    questions: Path | None,
    answers: tuple[Path, ...],
    part_mb: float,
    *,
    trust_code: bool,
) -> None:
    """Name every channel and factor of ATLAS once, by a vision-language model or by labels.

    What is named already is not asked again; an interrupted run goes on. The model runs in this
    process or at a server (naming.vlm), or is asked by files (--questions, --answers): then
    questions that follow from answers are in the next file. By files, factors are named by giving
    their directory, ATLAS/factors.
    """
    from atlas import pipeline  # noqa: PLC0415 (torch takes seconds to import)
    from atlas.recipe import recorded  # noqa: PLC0415
    from atlas.store import bases, open_store  # noqa: PLC0415

    store = open_store(atlas_dir)
    border = pipeline.border(store, overrides, trust_code=trust_code)
    files = exchange(questions, answers, part_mb)
    recipe = recorded(store.manifest(), overrides)
    parts = bases.parts(store) if files is None else [store]
    with pipeline.team() as team:
        named = [pipeline.name(part, recipe, border, files, team) for part in parts]
    if not team.first:  # this process helped another one
        return
    counts = sum((Counter(each) for each in named), Counter[str]())
    click.echo(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    report(files)


@main.command()
@atlas_argument
@click.argument("address", metavar="LAYER:CHANNEL")
@click.argument("new", metavar="NAME")
@click.option(
    "--by", required=True, metavar="WHO", help="Who says so; it is shown beside the name."
)
def rename(atlas_dir: Path, address: str, new: str, by: str) -> None:
    """Give one channel of ATLAS the NAME that a person has found; it wins over all others."""
    from atlas import pipeline  # noqa: PLC0415
    from atlas.recipe import recorded  # noqa: PLC0415
    from atlas.store import bases, open_store  # noqa: PLC0415

    store = open_store(atlas_dir)
    layer = address.rpartition(":")[0]
    found = [part for part in bases.parts(store) if layer in part.manifest()["layers"]]
    pipeline.rename((found or [store])[0], recorded(store.manifest()), address, new, by)
    click.echo(f"{address} is called {new!r} now.")
