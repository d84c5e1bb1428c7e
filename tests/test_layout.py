"""Data flows one way: which part of the package may know which."""

import ast
import graphlib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAGES = {
    "prepass", "indexing", "factors", "naming", "scoring", "explain", "lookup", "diff", "export",
    "site", "audit",
}  # fmt: skip
KNOW_STAGES = {"pipeline", "cli", "api", "__init__", "__main__"}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in (ROOT / "atlas").rglob("*.py")}


def imports(path: Path, *, at_once: bool) -> set[str]:
    """Return the modules of the package that a file imports (`at_once`: when it is loaded)."""
    found = set()
    tree = ast.parse(path.read_text("utf-8"))
    nodes = tree.body if at_once else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "atlas":
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in full}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in MODULES}
    return found


def test_there_is_no_circle_of_imports():
    graph = {name: imports(path, at_once=True) - {name} for name, path in MODULES.items()}
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_stages_do_not_import_each_other():
    wrong = []
    for name, path in MODULES.items():
        part = (*name.split("."), "__init__")[1]
        if part in KNOW_STAGES:
            continue
        for other in imports(path, at_once=False):
            if (*other.split("."), "__init__")[1] in STAGES - {part}:
                wrong.append(f"{name} imports {other}")
    assert wrong == []


def test_folders_do_not_import_each_other_in_a_circle():
    graph: dict[str, set[str]] = defaultdict(set)
    for name, path in MODULES.items():
        part = (*name.split("."), "__init__")[1]
        if part == "api":
            continue  # the façade loads stages when it is asked for them
        others = {(*other.split("."), "__init__")[1] for other in imports(path, at_once=False)}
        graph[part] |= others - {part}
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
