"""The reference in docs/ is that of the code, and has everything that is public."""

import importlib.util
import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import click
import pytest

import atlas
from atlas.cli import main
from atlas.recipe import Recipe
from atlas.store import COLUMNS

DOCS = Path(__file__).parent.parent / "docs"
CLI, PYTHON, RECIPE, TABLES = (
    (DOCS / name).read_text("utf-8") for name in ("cli.md", "python.md", "recipe.md", "tables.md")
)


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("make_docs", DOCS / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_made_from_this_code(make):
    assert make.cli() == CLI, "run `make docs`"
    assert make.python() == PYTHON, "run `make docs`"
    assert make.recipe() == RECIPE, "run `make docs`"
    assert make.tables() == TABLES, "run `make docs`"


def test_every_command_and_option_is_there():
    sections = dict(re.findall(r"^## atlas (\w+)\n(.*?)(?=^## |\Z)", CLI, re.DOTALL | re.MULTILINE))
    assert set(sections) == set(main.commands)
    for name, command in main.commands.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                for option in parameter.opts:
                    assert option in sections[name], (name, option)


def test_every_public_name_is_there():
    for name in atlas.__all__:
        assert re.search(rf"^## (class )?atlas\.{name}$", PYTHON, re.MULTILINE), name
        thing = getattr(atlas, name)
        if not isinstance(thing, type):
            continue
        [section] = re.findall(
            rf"^## class atlas\.{name}\n(.*?)(?=^## |\Z)", PYTHON, re.DOTALL | re.MULTILINE
        )
        fields = getattr(thing, "__dataclass_fields__", {})
        members = {each for base in thing.__mro__ for each in vars(base)} | set(fields)
        for member in members:
            if member.startswith("_") or base_of_exceptions(thing, member):
                continue
            shown = f"### {name}.{member}\n" in section or f"| `{member}` |" in section
            assert shown, f"{name}.{member}"


def base_of_exceptions(thing: type, member: str) -> bool:
    return issubclass(thing, BaseException) and hasattr(Exception, member)


def test_every_public_name_says_what_it_is():
    assert not re.findall(r"^\| `[^|]*\|[^|]*\|\s*\|$", PYTHON, re.MULTILINE)
    for heading, following in re.findall(r"^(##+ .*)\n\n(.*)", PYTHON, re.MULTILINE):
        assert not following.startswith("#"), heading


def test_every_key_of_a_recipe_is_there_with_its_meaning():
    tables = {field.name: field.type for field in fields(Recipe) if is_dataclass(field.type)}
    keys = [f"{table}.{key.name}" for table, kind in tables.items() for key in fields(kind)]
    found = re.findall(r"^### (\S+\.\S+)\n\n\*.*; .*\*\n\n\S", RECIPE, re.MULTILINE)
    assert found == keys


def test_every_column_of_every_table_is_there():
    sections = dict(re.findall(r"^## (\w+)\.parquet\n(.*?)(?=^## |\Z)", TABLES, re.DOTALL | re.M))
    assert list(sections) == list(COLUMNS)
    for name, columns in COLUMNS.items():
        assert re.findall(r"^\| `(\w+)` \|", sections[name], re.MULTILINE) == list(columns)


def test_the_readme_leads_to_it():
    readme = (DOCS.parent / "README.md").read_text("utf-8")
    assert "(docs/cli.md)" in readme and "(docs/python.md)" in readme
