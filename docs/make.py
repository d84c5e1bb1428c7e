"""Write docs/cli.md and docs/python.md from the code.

    python docs/make.py

What stands in them is the help of the commands and the docstrings of the public names; a test
fails when they are not those of the code.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import griffe

from atlas.cli import main

DOCS = Path(__file__).parent
MADE = "<!-- Made by docs/make.py from the code; changes here are lost. -->"


def cli() -> str:
    """Return the reference of the command line."""
    parts = [
        MADE,
        "# Command line",
        "ATLAS is the directory of a built atlas, RECIPE a TOML file or the bare name of one that "
        "ships. Exit status: 0 done, 1 a check failed (`verify`), 2 something that you can mend "
        "(one line says what and how), 130 interrupted (the same command goes on).",
    ]
    for name in sorted(main.commands):
        command = main.commands[name]
        context = click.Context(command, info_name=f"atlas {name}")
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        parts += [f"## atlas {name}", f"```sh\n{usage}\n```", _prose(command.help or "")]
        if command.epilog:
            parts.append(_prose(command.epilog))
        records = [parameter.get_help_record(context) for parameter in command.params]
        lines = [
            f"| `{_cell(record[0])}` | {_cell(record[1])} |"
            for record in records
            if record and record[1]
        ]
        if lines:
            parts.append("\n".join(["| option | |", "|:--|:--|", *lines]))
    return "\n\n".join(parts) + "\n"


def python() -> str:
    """Return the reference of the Python API."""
    package = griffe.load("atlas", docstring_parser="numpy", search_paths=[str(DOCS.parent)])
    parts = [MADE, "# Python"]
    module = package["api.atlas"]
    parts += list(_docstring(module))
    exports = [str(name) for name in package.exports]
    for name in sorted(exports, key=lambda name: (name != "open", name != "Atlas", name)):
        thing = package[name]
        target = thing.final_target if thing.is_alias else thing
        if target.is_function:
            parts += [f"## atlas.{name}", _signature(f"atlas.{name}", target), *_docstring(target)]
        else:
            parts += [f"## class atlas.{name}", *_docstring(target), *_members(name, target)]
    return "\n\n".join(parts) + "\n"


def _members(owner: str, target: Any) -> Iterator[str]:
    """Yield the public members of a class: attributes as a table, then methods."""
    members = {
        name: member.final_target if member.is_alias else member
        for name, member in target.all_members.items()
        if not name.startswith("_") or name == "__getitem__"
    }
    attributes = {name: member for name, member in members.items() if member.is_attribute}
    if attributes:
        lines = [
            f"| `{name}` | `{_cell(_annotation(member.annotation))}` | {_cell(_summary(member))} |"
            for name, member in attributes.items()
        ]
        yield "\n".join(["| attribute | type | |", "|:--|:--|:--|", *lines])
    for name, member in members.items():
        if member.is_function:
            shown = f"{owner}[...]" if name == "__getitem__" else f"{owner}.{name}"
            yield f"### {shown}"
            yield _signature(name, member)
            yield from _docstring(member)


def _signature(name: str, function: Any) -> str:
    """Return a function's signature as code."""
    shown, star = [], False
    for parameter in function.parameters:
        if parameter.name == "self":
            continue
        kind = parameter.kind.value
        if kind == "keyword-only" and not star:
            star = True
            shown.append("*")
        mark = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "")
        star = star or mark == "*"
        default = f" = {parameter.default}" if parameter.default and not mark else ""
        shown.append(f"{mark}{parameter.name}: {_annotation(parameter.annotation)}{default}")
    return f"```python\n{name}({', '.join(shown)}) -> {_annotation(function.returns)}\n```"


def _annotation(annotation: object) -> str:
    """Return a type as it is written, without the quotes of forward references."""
    return str(annotation).replace('"', "").replace("'", "") if annotation else ""


def _docstring(thing: Any) -> Iterator[str]:
    """Yield the parts of a docstring as Markdown."""
    if thing.docstring is None:
        return
    for section in thing.docstring.parsed:
        kind, value = section.kind.value, section.value
        if kind == "text":
            yield _examples(value)
        elif kind == "examples":
            yield "\n\n".join(
                f"```pycon\n{text}\n```" if what.value == "examples" else _prose(text)
                for what, text in value
            )
        elif kind in ("parameters", "raises", "returns"):
            yield f"**{kind.capitalize()}**"
            lines = []
            for item in value:
                name = f"`{item.name}`: " if getattr(item, "name", "") else ""
                lines.append(f"- {name}`{_annotation(item.annotation)}`. {_line(item.description)}")
            yield "\n".join(lines)


def _examples(text: str) -> str:
    """Return prose in which sessions with the interpreter are blocks of code."""
    parts = [
        f"```pycon\n{part}\n```" if part.startswith(">>>") else _prose(part)
        for part in text.split("\n\n")
    ]
    return "\n\n".join(parts)


def _summary(member: Any) -> str:
    return _line(member.docstring.value.split("\n\n")[0]) if member.docstring else ""


def _prose(text: str) -> str:
    return "\n\n".join(_line(part) for part in text.split("\n\n"))


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _cell(text: str) -> str:
    return _line(text).replace("|", r"\|")


if __name__ == "__main__":
    (DOCS / "cli.md").write_text(cli(), "utf-8")
    (DOCS / "python.md").write_text(python(), "utf-8")
