"""The command line: reads arguments, calls the stages, turns problems into one line."""

import errno
import os
import sys
from pathlib import Path
from typing import Any

import click

import atlas
from atlas.errors import UserError, one_line

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells give it."""

RECIPE_HELP = "RECIPE is a TOML file, or the bare name of one that ships: demo, photos."


class _Group(click.Group):
    """Commands whose problems end in one line on stderr."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.ClickException as error:
            _fail(error.format_message())
        except UserError as error:
            _fail(str(error))
        except (click.Abort, KeyboardInterrupt):
            click.echo("\natlas: interrupted; run the same command again to go on", err=True)
            sys.exit(INTERRUPTED)
        except BrokenPipeError:  # the reader of our output has gone, as in `atlas ... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except OSError as error:
            _fail(_about_files(error))


def _fail(message: str) -> None:
    click.echo(f"atlas: {message}", err=True)
    sys.exit(2)


def _about_files(error: OSError) -> str:
    """Say what a failed file operation needs."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}: free some space and run the same command again to go on"
    return f"{one_line(error)}: check the path and its permissions"


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=False,
)
@click.version_option(atlas.__version__, prog_name="concept-atlas")
def main() -> None:
    """Make and use a catalogue of what the channels of a CNN mean."""


_recipe = click.argument("recipe")
_out = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the atlas; build/out/NAME unless given.",
)
_set = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="TABLE.KEY=VALUE",
    help="Change one value of the recipe; may be repeated.",
)


@main.command(epilog=RECIPE_HELP)
@_recipe
@_out
@_set
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
    page = (store.root / "site" / "index.html").resolve()
    click.echo(f"The atlas is in {store.root}. Open {page.as_uri()} in a browser.")


@main.command(epilog=RECIPE_HELP)
@_recipe
@_out
@_set
def index(recipe: str, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Measure every channel: pre-pass, reference pictures, patches, FAISS index."""
    from atlas import pipeline  # noqa: PLC0415
    from atlas.recipe import load  # noqa: PLC0415

    parsed = load(recipe, overrides)
    store = pipeline.index(parsed, out or _default_out(parsed.name))
    if store is None:
        return
    click.echo(f"The tables are in {store.root}. `atlas site {store.root}` makes the pages.")


def _default_out(name: str) -> Path:
    return Path("build") / "out" / name


_atlas = click.argument("atlas_dir", metavar="ATLAS", type=click.Path(path_type=Path))


@main.command()
@_atlas
def site(atlas_dir: Path) -> None:
    """Write the pages of ATLAS and build its static site."""
    from atlas import pipeline  # noqa: PLC0415
    from atlas.store import open_store  # noqa: PLC0415

    store = open_store(atlas_dir)
    pipeline.make_site(store)
    page = (store.root / "site" / "index.html").resolve()
    click.echo(f"Open {page.as_uri()} in a browser.")


@main.command()
@_atlas
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
def serve(atlas_dir: Path, port: int) -> None:
    """Serve the site of ATLAS on this machine until Ctrl-C."""
    from atlas.serve import serve as run  # noqa: PLC0415
    from atlas.store import open_store  # noqa: PLC0415

    run(open_store(atlas_dir), port)


@main.command()
@_atlas
def verify(atlas_dir: Path) -> None:
    """Check every hash, row count and link of ATLAS.

    Ends with exit status 1 when a check fails.
    """
    from atlas.store import open_store  # noqa: PLC0415
    from atlas.verify import check  # noqa: PLC0415

    failures = 0
    for result in check(open_store(atlas_dir)):
        click.echo(f"{'ok  ' if result.passed else 'FAIL'} {result.text}")
        failures += not result.passed
    if failures:
        click.echo(f"{failures} of the checks failed", err=True)
        sys.exit(1)
