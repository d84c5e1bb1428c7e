"""The command `atlas`: problems end in one line; arguments that several commands take."""

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

import atlas
from atlas.cli import memory
from atlas.errors import UserError, one_line
from atlas.plain import plain

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells give it."""


class _Group(click.Group):
    """Commands whose problems end in one line on stderr."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        memory.keep_pages()
        try:
            return super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.ClickException as error:
            _fail(error.format_message())
        except UserError as error:
            _fail(str(error))
        except (click.Abort, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would cut this short
            click.echo("\natlas: interrupted; run the same command again to go on", err=True)
            sys.exit(INTERRUPTED)
        except BrokenPipeError:  # the reader of our output has gone, as in `atlas ... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except OSError as error:
            _fail(_about_files(error))


def _fail(message: str) -> None:
    # Names in an atlas from elsewhere may hold what terminals obey.
    click.echo(f"atlas: {plain(message)}", err=True)
    sys.exit(2)


def _about_files(error: OSError) -> str:
    """Say what a failed file operation needs."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}: free some space and run the same command again to go on"
    if error.errno in (errno.EFBIG, errno.EDQUOT):
        return (
            f"{one_line(error)}{where}: a limit for files (`ulimit -f`, a quota) is reached; raise "
            "it and run the same command again to go on"
        )
    return f"{one_line(error)}: check the path and its permissions"


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=False,
)
@click.version_option(atlas.__version__, prog_name="concept-atlas")
def main() -> None:
    """Make and use a catalogue of what the channels of a CNN mean."""


recipe_argument = click.argument("recipe")
atlas_argument = click.argument("atlas_dir", metavar="ATLAS", type=click.Path(path_type=Path))
out_option = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the atlas; build/out/NAME unless given.",
)
trust_option = click.option(
    "--trust-code",
    is_flag=True,
    help="Let the recipe of this atlas run the Python file, open the files outside the atlas and "
    "send pictures to the server that it names, which is as if its maker sat at this machine.",
)
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="TABLE.KEY=VALUE",
    help="Change one value of the recipe; may be repeated.",
)
