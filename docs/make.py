"""Write docs/cli.md, python.md, recipe.md and tables.md from the code.

    python docs/make.py

What stands in them is the help of the commands, the docstrings of the public names and of the
recipe's fields, and the columns of the tables; a test fails when they are not those of the code.
"""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

import click
import griffe

from atlas.cli import main
from atlas.recipe import Recipe
from atlas.recipe.load import RECIPE
from atlas.store import COLUMNS, directory
from atlas.store.checks import BANDS

DOCS = Path(__file__).parent
LARGE = 2**62  # bounds above it are those of the computer
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


def recipe() -> str:
    """Return the reference of the recipe: every key with its type, default and meaning."""
    package = griffe.load("atlas", docstring_parser="numpy", search_paths=[str(DOCS.parent)])
    schema = RECIPE.json_schema()
    parts = [
        MADE,
        "# Recipe",
        "A recipe is a TOML file that says what to build. Every key of it stands here; a key that "
        "does not is an error, not a default. On the command line `--set table.key=value` changes "
        "one of them. Where a default is *none*, the key may be left out and what then happens "
        "stands beside it.",
        "[Your network](network.md) and [Your photographs](photographs.md) have whole recipes.",
    ]
    own = [field for field in fields(Recipe) if not is_dataclass(field.type)]
    parts.append("## Keys outside tables")
    for field in own:
        parts += _key(field.name, field, schema, package["recipe.recipe.Recipe"], schema)
    for field in fields(Recipe):
        if not is_dataclass(field.type):
            continue
        kind: Any = field.type
        described = package[f"{kind.__module__.removeprefix('atlas.')}.{kind.__name__}"]
        first, *others = described.docstring.value.split("\n\n")
        parts += [f"## [{field.name}]", _sentence(first), *map(_prose, others)]
        for key in fields(kind):
            name = f"{field.name}.{key.name}"
            parts += _key(name, key, schema["$defs"][kind.__name__], described, schema)
    return "\n\n".join(parts) + "\n"


def _key(
    name: str, field: "Field[Any]", table: Mapping[str, Any], described: Any, schema: Any
) -> Iterator[str]:
    """Yield heading, type, default and meaning of one key."""
    yield f"### {name}"
    kind = _kind(table["properties"][field.name], schema)
    default = "default: that of the file" if name == "name" else _default(field)
    yield f"*{kind}; {default}*"
    text = described.members[field.name].docstring.value
    # Lists stay lists; what else is wrapped becomes one line.
    blocks = [part if part.startswith("- ") else _line(part) for part in text.split("\n\n")]
    yield "\n\n".join(blocks)


def _kind(value: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return in words what a JSON schema allows."""
    if "$ref" in value:
        return _kind(schema["$defs"][value["$ref"].rpartition("/")[2]], schema)
    if "anyOf" in value:
        kinds = [_kind(one, schema) for one in value["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in value:
        return "one of " + ", ".join(f"`{json.dumps(one)}`" for one in value["enum"])
    words = {"string": "text", "integer": "whole number", "number": "number"}
    words |= {"boolean": "`true` or `false`", "object": "table"}
    if value["type"] == "array":
        if "prefixItems" in value:
            return f"list of {len(value['prefixItems'])} " + _kind(value["prefixItems"][0], schema)
        items = _kind(value["items"], schema)
        return f"list: {items}" if items.startswith("one of") else f"list of {items}"
    text = words[value["type"]]
    bounds = (
        ("exclusiveMinimum", "above"), ("minimum", "from"), ("maximum", "up to"),
        ("exclusiveMaximum", "below"),
    )  # fmt: skip
    said = [f"{word} {value[key]}" for key, word in bounds if value.get(key, LARGE) < LARGE]
    return " ".join([text, *said])


def _default(field: "Field[Any]") -> str:
    """Return what a key is where it is not given."""
    value = field.default
    if value is MISSING and field.default_factory is not MISSING:
        value = field.default_factory()
    if value is MISSING:
        return "must be given"
    if value is None or value in ("", (), {}):
        return "default: none"
    return f"default: `{json.dumps(value)}`"


def tables() -> str:
    """Return the reference of the tables of an atlas: every column, its type and its meaning."""
    comments = _comments(inspect.getsource(directory))
    parts = [
        MADE,
        "# Tables of an atlas",
        "Each table is a Parquet file of this name in the directory of an atlas "
        "([Files of an atlas](files.md)). Names and scores are columns that `atlas name` and "
        '`atlas score` add. "Row of" another table is the number of a row there, from 0.',
    ]
    for name, columns in COLUMNS.items():
        lines = ["| column | | type |", "|:--|:--|:--|"]
        for column, kind in columns.items():
            above, meaning = comments.get((name, column), ("", ""))
            lines += [f"| | *{_cell(above)}* | |"] if above else []
            shown = str(kind).replace("item: ", "")
            lines.append(f"| `{column}` | {_cell(meaning)} | `{_cell(shown)}` |")
        parts += [f"## {name}.parquet", "\n".join(lines)]
        if name == "bands":
            parts.append("Bands, from the top down: " + ", ".join(f"`{b}`" for b in BANDS) + ".")
    return "\n\n".join(parts) + "\n"


def _comments(source: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Return for each column the comment on the line above it, and its own."""
    found, table, above = {}, "", ""
    for line in source.splitlines():
        if start := re.fullmatch(r'    "(\w+)": \{', line):
            table, above = start[1], ""
        elif alone := re.fullmatch(r"        # (.*)", line):
            above = alone[1]
        elif column := re.fullmatch(r'        "(\w+)": pa\.[^#]*,(?:  # (.*))?', line):
            found[table, column[1]] = above, column[2] or ""
            above = ""
    return found


def _sentence(text: str) -> str:
    """Return what follows the name of a table in its docstring, as a sentence."""
    text = _line(text).partition(": ")[2] or _line(text)
    return text[:1].upper() + text[1:]


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
    (DOCS / "recipe.md").write_text(recipe(), "utf-8")
    (DOCS / "tables.md").write_text(tables(), "utf-8")
