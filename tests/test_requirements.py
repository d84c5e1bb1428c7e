"""What the package imports is what pyproject.toml asks for."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOT_ON_WINDOWS = {"fcntl", "grp", "pwd", "resource", "termios"}


def imported(tree, at_once=False):
    nodes = tree.body if at_once else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]


TREES = {path: ast.parse(path.read_text("utf-8")) for path in (ROOT / "atlas").rglob("*.py")}


def test_every_import_is_asked_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [one for key, some in project["optional-dependencies"].items() for one in some
              if key != "test"]  # fmt: skip
    asked = {
        re.split(r"[<>=!~\[; ]", one)[0].lower() for one in [*project["dependencies"], *extras]
    }
    provided = importlib.metadata.packages_distributions()
    for path, tree in TREES.items():
        for name in set(imported(tree)) - sys.stdlib_module_names - {"atlas"}:
            by = {
                one.lower().replace("_", "-")
                for one in provided.get(name, [name.replace("_", "-")])
            }
            assert by & asked, f"{path} imports {name}, of {by}"


def test_nothing_is_imported_at_once_that_windows_lacks():
    for path, tree in TREES.items():
        assert not NOT_ON_WINDOWS & set(imported(tree, at_once=True)), path
