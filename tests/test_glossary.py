"""One word means one thing: words that the glossary keeps out, names of classes, docstrings."""

import ast
import io
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas.store.directory import COLUMNS

ROOT = Path(__file__).parents[1]
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")

FOLDERS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in ((ROOT / "atlas").iterdir())
    if path.is_dir() and any(path.glob("*.py"))
)
"""Parts of the package, each looked at by itself."""

NOT_OURS = {*dir(str), *dir(io.BytesIO)}
"""Methods of Python that have such a name: `str.strip`, `file.tell`."""

READ = (".py", ".html", ".css", ".js", ".svg")
"""Files whose content is looked at; of all others the name alone."""


def _table(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading of the glossary."""
    part = GLOSSARY.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("|")]
    return rows[2:]


KEPT_OUT = {
    word: instead
    for words, instead in _table("Words that are kept out")
    for word in words.split(", ")
}
"""Words that are not used, and what is written instead."""


def parts(text: str) -> list[str]:
    """Return the words of a text or an identifier, in snake_case, kebab-case or camelCase."""
    return [
        word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text.replace("’", ""))
    ]


def kept_out(text: str) -> Iterator[str]:
    """Yield the words in a text that are kept out; in a phrase that stands instead they may be."""
    words = parts(text)
    for before, word in zip(["", *words], words, strict=False):
        one = word if word in KEPT_OUT else word.removesuffix("s")
        if one in KEPT_OUT and f"{before} {one}" not in KEPT_OUT[one].split(", "):
            yield one


def identifiers(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of every name in Python, but for methods of texts and files."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Name):
            yield line, node.id
        elif isinstance(node, ast.Attribute) and node.attr not in NOT_OURS:
            yield line, node.attr
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield line, node.name
        elif isinstance(node, (ast.arg, ast.keyword)) and node.arg:
            yield line, node.arg
        elif isinstance(node, ast.alias):
            yield line, node.asname or node.name


_COMMENT = {
    ".html": r"\{#.*?#\}|<!--.*?-->",
    ".svg": r"<!--.*?-->",
    ".css": r"/\*.*?\*/",
    ".js": r"/\*.*?\*/|(?<![:\"'])//[^\n]*",
}


def texts(source: str, kind: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of what a page, a style or a script says, but for comments.

    Of styles only names count: `.class`, `#id`, `--property`.
    """

    def blank(found: re.Match[str]) -> str:
        return "\n" * found[0].count("\n")

    source = re.sub(_COMMENT[kind], blank, source, flags=re.DOTALL)
    source = re.sub(r"\.[lr]?strip\(", ".(", source)  # a method of Python in a template
    for number, line in enumerate(source.splitlines(), 1):
        if kind == ".css":
            for name in re.findall(r"(?:[.#]|--)[A-Za-z_][\w-]*", line):
                yield number, name
        else:
            yield number, line


def found(root: Path) -> list[str]:
    """Return where in a folder words stand that are kept out, each as "file:line: word"."""
    result = []
    for path in sorted(root.rglob("*")):
        if not path.is_file() or "__pycache__" in path.parts:
            continue
        place = path.relative_to(root).as_posix()
        result += [f"{place}: {word} in its name" for word in kept_out(place)]
        if path.suffix not in READ:
            continue
        source = path.read_text("utf-8")
        said = identifiers(source) if path.suffix == ".py" else texts(source, path.suffix)
        result += [f"{place}:{line}: {word}" for line, text in said for word in kept_out(text)]
    return list(dict.fromkeys(result))


@pytest.mark.parametrize("folder", [*FOLDERS, "site_templates"])
def test_words_that_are_kept_out_are_not_used(folder):
    wrong = found(ROOT / folder)
    assert not wrong, "\n".join(wrong)


def test_nor_are_they_in_modules_that_everybody_uses():
    for path in (ROOT / "atlas").glob("*.py"):
        names = [(0, path.stem), *identifiers(path.read_text("utf-8"))]
        assert [word for _, name in names for word in kept_out(name)] == [], path.name


def test_what_is_looked_for_is_found(tmp_path):
    """A word is met in every kind of file and of name, and nothing else is taken for it."""
    for name, text in {
        "a.py": "class BigPlate:\n    def wall_of(self, *, kin=1): return self.spots\n",
        "walls.txt": "faces",  # what is no source is not looked into
        "page.html": '<p class="veil-top" id="the_strip">{{ one.company }} tells</p>',
        "page.css": ".face { color: red }\n#kinship-map { --spine-width: 1px }",
        "page.js": 'const openGauge = () => find(".carriers");',
    }.items():
        (tmp_path / name).write_text(text)
    assert found(tmp_path) == [
        "a.py:1: plate", "a.py:2: wall", "a.py:2: kin", "a.py:2: spot",
        "page.css:1: face", "page.css:2: kinship", "page.css:2: spine",
        "page.html:1: veil", "page.html:1: strip", "page.html:1: company", "page.html:1: tells",
        "page.js:1: gauge", "page.js:1: carrier",
        "walls.txt: wall in its name",
    ]  # fmt: skip


def test_what_is_only_like_it_is_not(tmp_path):
    for name, text in {
        "template.py": 'surface = "a plate".strip().rstrip()\ninterface = striped = file.tell()\n',
        "sprite.py": "thumbnail_strip = ThumbnailStrip = kind = skin = retold = 1  # a face\n",
        "page.html": "<p>{# a wall #}{{ name.strip() | striptags }} the thumbnail strip</p>",
        "page.css": "/* .plate */ @font-face { src: url(x) }\n.thumbnail-strip { top: 0 }",
        "page.js": "// the veil\nconst kind = surface; /* its spine */",
    }.items():
        (tmp_path / name).write_text(text)
    assert found(tmp_path) == []


# Classes and docstrings ----------------------------------------------------------------------


def test_one_name_is_one_class():
    where = defaultdict(list)
    for path in sorted((ROOT / "atlas").rglob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                where[node.name].append(path.relative_to(ROOT).as_posix())
    assert {name: paths for name, paths in where.items() if len(paths) > 1} == {}


UNFINISHED = re.compile(r"(?:Of|As of|As for) |\(\)|See `\w+`\.|\.\.\.")
"""Beginnings of a docstring that leave out what it is about."""


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of every docstring of what is public, of attributes as well."""
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        name = getattr(node, "name", None) or ""
        if not isinstance(body, list) or name.startswith("_"):
            continue
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = body[:1]
        for before, line in zip([None, *body], body, strict=False):
            stands = before is None or isinstance(before, (ast.Assign, ast.AnnAssign))
            if stands and isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant):
                text = line.value.value
                if isinstance(text, str):
                    yield line.lineno, text


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_can_be_read_alone(folder):
    wrong = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for line, text in docstrings(path.read_text("utf-8")):
            if UNFINISHED.match(text):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}")
    assert not wrong, "\n".join(wrong)


def test_a_docstring_that_cannot_be_is_found():
    source = 'class A:\n  """One."""\n  x = 1\n  """Of it."""\n  def f():\n    """() x."""'
    said = [text for _, text in docstrings(source)]
    assert said == ["One.", "Of it.", "() x."]
    assert [bool(UNFINISHED.match(text)) for text in said] == [False, True, True]
    assert not UNFINISHED.match("Often so.")


# The glossary itself -------------------------------------------------------------------------


def test_what_the_glossary_points_at_is_there():
    for path in re.findall(r"`(atlas/[\w/.]+)`", GLOSSARY):
        assert (ROOT / path).exists(), path
    for name, path in re.findall(r"`(\w+)` in `(atlas/[\w/.]+)`", GLOSSARY):
        assert f"\nclass {name}" in (ROOT / path).read_text("utf-8"), name
    for table, column in re.findall(r"`(channels|references|images|classes)\.(\w+)`", GLOSSARY):
        if column != "parquet":
            assert column in COLUMNS[table], column


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_glossary_is_led_to(page):
    assert "(docs/glossary.md)" in (ROOT / page).read_text("utf-8")
