"""The pages in docs/: what they tell people to type exists, and what they point at is there."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import click
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import atlas
from atlas.cli import main
from atlas.recipe import Recipe, load, parse
from atlas.store import COLUMNS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

PAGES = {path.name: path.read_text("utf-8") for path in sorted(DOCS.glob("*.md"))}
CHECKED = {**PAGES, "README.md": (ROOT / "README.md").read_text("utf-8")}

MADE = {"cli.md", "python.md", "recipe.md", "tables.md"}
TABLES = {field.name: field.type for field in fields(Recipe) if is_dataclass(field.type)}

NOUNS = [
    *("apple", "bread", "chair", "door", "egg", "flag", "glove", "hat", "ink", "jar"),
    *("key", "lamp", "mug", "nail", "oven", "pan", "quilt", "rope", "sock", "table"),
]
"""Twenty classes; the messages on the page about networks show the first five."""


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words behind `atlas` of each command in the blocks of a page, as a shell does."""
    typed = "".join(blocks(text, "sh"))
    typed += "".join(line[2:] for line in re.findall(r"^\$ .*\n", text, re.MULTILINE))
    for line in typed.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        for place, word in enumerate(words):
            if word == "atlas" and (place == 0 or words[place - 1] in ("-m", "&&", "|", ";")):
                rest = words[place + 1 :]
                stop = next((n for n, one in enumerate(rest) if one in ("&&", "|", ";", "&")), None)
                yield rest[:stop]
                break


def parameters(words: list[str]) -> dict:
    """Return what click reads; it raises where a command or an option does not exist."""
    assert words[0] in main.commands, words
    return main.commands[words[0]].make_context(words[0], words[1:]).params


# What is typed -----------------------------------------------------------------------------


@pytest.mark.parametrize("page", [name for name in CHECKED if name not in MADE])
def test_every_command_and_every_recipe_key_in_it_exists(page, monkeypatch):
    monkeypatch.setattr(click.Path, "convert", lambda _, value, *__: value)
    for words in commands(CHECKED[page]):
        found = parameters(words)
        if "prepass.kk=3" in found.get("overrides", ()):  # the page shows how that is refused
            continue
        shipped = {path.stem for path in (ROOT / "build").glob("*.toml")}
        recipe = found.get("recipe")
        assert recipe is None or recipe in shipped or recipe.endswith(".toml"), words
        load(recipe if recipe in shipped else "demo", found.get("overrides", ()))


def test_commands_are_found_however_they_are_started():
    text = (
        "```sh\nsrun a \\\n  -m atlas index demo\nx & \natlas serve A   # note\n"
        "cd b && atlas name A | head\n```\n```console\n$ atlas show A b:1\nout\n```\n"
    )
    found = list(commands(text))
    assert found == [["index", "demo"], ["serve", "A"], ["name", "A"], ["show", "A", "b:1"]]
    with pytest.raises(click.NoSuchOption):
        parameters(["name", "A", "--vlm", "x"])


@pytest.mark.parametrize("page", [name for name, text in CHECKED.items() if "```toml" in text])
def test_every_recipe_is_one(page):
    base = tomllib.loads((ROOT / "build" / "demo.toml").read_text("utf-8"))
    for text in blocks(CHECKED[page], "toml"):
        merged = dict(base)
        for table, values in tomllib.loads(text).items():
            merged[table] = {**base.get(table, {}), **values} if table in TABLES else values
        parse(merged, page)


def test_extras_are_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for page, text in CHECKED.items():
        for extra in re.findall(r"pip install '[\w.-]+\[([\w-]+)\]'", text):
            assert extra in project["optional-dependencies"], (page, extra)


# What is pointed at --------------------------------------------------------------------------


def test_keys_and_columns_in_the_text_exist():
    """`table.key` is a key of a recipe, or a column of a table of an atlas."""
    keys = {name: {field.name for field in fields(kind)} for name, kind in TABLES.items()}
    files = {"patches.faiss", "site.json", "pages.json", *(f"{name}.parquet" for name in COLUMNS)}
    seen = 0
    for page, text in CHECKED.items():
        for table, key in re.findall(r"`([a-z]+)\.([a-z_0-9]+)", text):
            if f"{table}.{key}" in files or not (table in keys or table in COLUMNS):
                continue
            seen += 1
            assert key in keys.get(table, set()) | set(COLUMNS.get(table, {})), (page, table, key)
    assert seen > 50


def test_files_of_the_repository_that_are_named_exist():
    for page, text in CHECKED.items():
        pattern = r"`(?:python )?((?:atlas|benchmarks|docs|tests|build)/[\w./]+)"
        for name in re.findall(pattern, text):
            assert name.startswith("build/out/") or (ROOT / name).exists(), (page, name)


def test_names_of_python_exist():
    for page, text in CHECKED.items():
        for owner, name in re.findall(r"`(\w+)\.(\w+)(?:\(\))?`", text):
            thing = atlas if owner == "atlas" else getattr(atlas, owner, None)
            if owner == "atlas" or isinstance(thing, type):
                fields_ = getattr(thing, "__dataclass_fields__", {})
                assert hasattr(thing, name) or name in fields_, (page, owner, name)


def test_words_that_the_glossary_keeps_out_are_not_on_the_pages():
    table = PAGES["glossary.md"].split("## Words that are kept out\n")[1]
    words = [cell for row in re.findall(r"^\| (.*?) \|", table, re.MULTILINE)[1:] for cell in
             row.split(", ")]  # fmt: skip
    assert "plate" in words
    for page in CHECKED.keys() - MADE - {"glossary.md"}:
        text = re.sub("not told from chance|Hugging Face", "", CHECKED[page])  # names, both
        assert not re.findall(rf"\b(?:{'|'.join(words)})s?\b", text, re.IGNORECASE), page


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built strictly: a link or an anchor that leads nowhere ends it."""
    out = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file"]
    result = subprocess.run(
        [*command, str(ROOT / "mkdocs-docs.yml"), "--site-dir", str(out)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return out


def test_the_site_has_every_page_and_asks_for_nothing_from_elsewhere(site):
    for name in PAGES:
        text = (site / name).with_suffix(".html").read_text("utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=\"?([^\s\">]+)", text)
        loaded += re.findall(r"<link[^>]*\shref=\"?([^\s\">]+)", text)
        assert loaded
        assert not [one for one in loaded if re.match(r"(?:https?:)?//", one)], name
        for linked in re.findall(r"<a[^>]*\shref=\"?([^\s\">]+)", text):
            assert not linked.startswith("http:"), (name, linked)
    assert not list(site.rglob("*.py"))


def test_the_readme_leads_to_the_pages():
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)\)", CHECKED["README.md"]))
    assert linked <= set(PAGES)
    assert {"first-atlas.md", "photographs.md", "network.md", "reading.md", "recipe.md"} <= linked
    for path in re.findall(r"\]\(([\w/.-]+)\)", CHECKED["README.md"]):
        assert (ROOT / path).exists(), path


# What is shown runs ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(small_demo, tmp_path_factory) -> Path:
    """A directory with a copy of the small demo, which may be changed, and a picture."""
    from atlas.demo.world import draw

    folder = tmp_path_factory.mktemp("reader")
    own = Path("build/out/demo")
    ignore = shutil.ignore_patterns("site", "pages", "theme")
    shutil.copytree(small_demo / own, folder / own, ignore=ignore)
    Image.fromarray(draw(5, 1).image).save(folder / "picture.png")
    return folder


WITH_PYTHON = [name for name, text in CHECKED.items() if "\nimport atlas" in text]


@pytest.mark.parametrize("page", sorted({*WITH_PYTHON, "files.md"} - MADE))
def test_python_on_the_pages_runs(page, home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    for text in blocks(CHECKED[page], "python"):
        exec(compile(text, page, "exec"), {})
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("page", "count"), [("first-atlas.md", 4), ("comparing.md", 4), ("publishing.md", 10)]
)
def test_commands_that_ask_an_atlas_run(page, count, home, monkeypatch):
    """Two atlases that are compared are the demo and itself."""
    monkeypatch.chdir(home)
    ran = 0
    for words in commands(PAGES[page]):
        own = [re.sub("^build/out/(before|after)$", "build/out/demo", word) for word in words]
        if own[0] in ("lookup", "show", "cite", "diff", "export", "figure", "rename"):
            result = CliRunner().invoke(main, own)
            assert result.exit_code == 0, (own, result.output)
            ran += 1
    assert ran == count


def test_the_files_of_an_atlas_are_listed(small_demo):
    text = PAGES["files.md"]
    out = small_demo / "build/out/demo"
    for path in out.iterdir():
        assert f"`{path.name}" in text, path.name
    manifest = text.split("## The manifest")[1]
    for key in atlas.open(out).manifest:
        assert f"`{key}`" in manifest, key


# Somebody follows the page about networks, word by word ------------------------------------


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory) -> Path:
    """A directory with twenty folders of pictures, the page's files and a checkpoint."""
    timm = pytest.importorskip("timm")
    home = tmp_path_factory.mktemp("newcomer")
    random = np.random.default_rng(0)
    for noun in NOUNS:
        (home / "pictures" / noun).mkdir(parents=True)
        for number in range(2):
            pixels = random.integers(0, 256, (6, 6, 3)).astype(np.uint8)
            picture = Image.fromarray(pixels).resize((70, 64), Image.Resampling.NEAREST)
            picture.save(home / "pictures" / noun / f"{number}.png")
    first, own, *_ = [one for one in blocks(PAGES["network.md"], "toml") if "[data]" in one]
    (home / "mine.toml").write_text(first)
    (home / "own.toml").write_text(own)
    (home / "net.py").write_text(blocks(PAGES["network.md"], "python")[0])
    torch.manual_seed(1)
    trained = timm.create_model("resnet18", num_classes=20, zero_init_last=False)
    state = {f"module.{name}": tensor for name, tensor in trained.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, home / "checkpoint.pth")
    return home


def test_refusals_read_as_the_page_shows_them(newcomer, monkeypatch):
    monkeypatch.chdir(newcomer)
    shown = blocks(PAGES["network.md"], "console")
    assert len(shown) == 3
    for block in shown:
        typed, expected = block.rstrip("\n").split("\n")
        words = shlex.split(typed.removeprefix("$ atlas "))
        result = CliRunner().invoke(main, [*words, "--set", "model.device=cpu"])
        assert result.exit_code == 2
        assert result.output.splitlines()[-1] == expected


SMALL = [
    "--set", "preprocessing.resize=64", "--set", "preprocessing.crop=64", "--set", "prepass.k=2",
    "--set", "model.device=cpu",
]  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "layer", "inside"), [("mine", "layer4.0.conv1", "layer4.0.bn1"), ("own", "3", "3")]
)
def test_a_newcomer_gets_a_right_atlas(newcomer, monkeypatch, recipe, layer, inside):
    """Labels are the folders, and references those that a plain forward pass finds."""
    import timm

    monkeypatch.chdir(newcomer)
    words = ["index", f"{recipe}.toml", *SMALL, "--set", f"model.layers=['{layer}']"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    a = atlas.open(f"build/out/{recipe}")
    assert a.class_names == NOUNS
    assert f"labels: {a.manifest['labels']}\n" in PAGES["network.md"]
    assert a.manifest["images"]["labelled"] == 40
    assert all(check["passed"] for check in a.manifest["checks"])

    if recipe == "mine":
        network = timm.create_model("resnet18", num_classes=20)
        state = torch.load("checkpoint.pth", weights_only=True)["state_dict"]
        network.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
        mean, std = (torch.tensor(network.default_cfg[key]) for key in ("mean", "std"))
    else:
        code: dict = {}
        exec(Path("net.py").read_text(), code)
        torch.manual_seed(0)  # the recipe's
        network, mean, std = code["make"](), torch.tensor([0.5] * 3), torch.tensor([0.25] * 3)
    seen = []
    network.get_submodule(inside).register_forward_hook(lambda *a: seen.append(a[2].clone()))
    paths = sorted(Path("pictures").rglob("*.png"))
    pixels = [np.asarray(Image.open(path))[:, 3:67] for path in paths]  # the middle 64 of 70
    pictures = torch.tensor(np.stack(pixels)).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        network.eval()((pictures - mean[:, None, None]) / std[:, None, None])
    best = seen[0].amax((2, 3)).topk(2, dim=0)
    table = pq.read_table(f"build/out/{recipe}/references.parquet").to_pandas()
    table = table[table["mode"] == "activation"].pivot_table("score", "channel", "rank")
    found = torch.tensor(table.to_numpy())
    torch.testing.assert_close(found, best.values.T[table.index].double(), rtol=1e-3, atol=1e-4)
