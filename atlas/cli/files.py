"""Options of commands that ask a model: questions by file, and what is said about them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

PART_MB = 100
"""Size of a file of questions unless another is given; batch services take up to 200 MB."""


def file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--questions`, `--answers` and `--part-mb` to a command."""
    path = click.Path(dir_okay=False, path_type=Path)
    for option in (
        click.option(
            "--part-mb",
            type=click.FloatRange(min=1),
            default=PART_MB,
            show_default=True,
            help="Largest size of a file of questions; more than one are FILE-1, FILE-2 ...",
        ),
        click.option(
            "--answers",
            multiple=True,
            type=path,
            metavar="FILE",
            help="Read answers to questions from FILE (JSON lines), in any order; may be repeated.",
        ),
        click.option(
            "--questions",
            type=path,
            metavar="FILE",
            help="Ask no model, and write all open questions to FILE, in the batch form of "
            "`vllm run-batch` and hosted services.",
        ),
    ):
        command = option(command)
    return command


def exchange(questions: Path | None, answers: tuple[Path, ...], part_mb: float) -> Any:
    """Return the files that a command was given; None if there are none."""
    from atlas.vlm.files import Exchange  # noqa: PLC0415 (torch takes seconds to import)

    return Exchange(questions, answers, part_mb) if questions or answers else None


def report(files: Any) -> None:
    """Say which files of questions were written, and how many questions are open."""
    if files is None:
        return
    if files.written:
        names = ", ".join(map(str, files.written[:3])) + (" ..." if len(files.written) > 3 else "")
        click.echo(
            f"{files.open} questions are in {names}: have them answered, then run this command "
            "with --answers FILE"
        )
    elif files.open:
        click.echo(f"{files.open} questions are open: --questions FILE writes them")
    else:
        click.echo("No question is open.")
