"""The reference in docs/ is that of the code, and has everything that is public."""

import importlib.util
import re
from pathlib import Path

import click
import pytest

import atlas
from atlas.cli import main

DOCS = Path(__file__).parent.parent / "docs"
CLI, PYTHON = ((DOCS / name).read_text("utf-8") for name in ("cli.md", "python.md"))


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("make_docs", DOCS / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_made_from_this_code(make):
    assert make.cli() == CLI, "run `make docs`"
    assert make.python() == PYTHON, "run `make docs`"


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


def test_the_readme_leads_to_it():
    readme = (DOCS.parent / "README.md").read_text("utf-8")
    assert "(docs/cli.md)" in readme and "(docs/python.md)" in readme
