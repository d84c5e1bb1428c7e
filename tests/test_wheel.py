"""The wheel, unpacked in a place of its own, does what the checkout does."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder into which the wheel is unpacked."""
    out = tmp_path_factory.mktemp("wheel")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(out), versions=["standard"])
    folder = out / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def call(installed, tmp_path_factory):
    """Run `atlas` of the wheel, away from the checkout."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        # The folder comes before the editable checkout of the environment.
        environment = {**os.environ, "PYTHONPATH": str(installed)}
        command = [sys.executable, "-m", "atlas", *map(str, arguments)]
        return subprocess.run(
            command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=300
        )

    return call


def test_it_carries_every_file_of_the_package_that_is_tracked(installed):
    tracked = subprocess.run(
        ["git", "ls-files", "atlas", "site_templates", "mkdocs.yml", "build/*.toml"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    if not tracked:
        pytest.skip("not a git checkout")
    missing = [
        name
        for name in tracked
        if (ROOT / name).exists()
        and not (installed / name).exists()
        and not (installed / "atlas/_shipped" / name).exists()
    ]
    assert missing == []


def test_its_code_is_what_runs(installed, call):
    result = call("build", "no-such-recipe")
    assert result.returncode == 2
    assert "demo" in result.stderr  # the recipes that ship are named
    where = subprocess.run(
        [sys.executable, "-c", "import atlas.resources as r; print(r.shipped('mkdocs.yml'))"],
        cwd="/", env={**os.environ, "PYTHONPATH": str(installed)}, capture_output=True, text=True,
    )  # fmt: skip
    assert Path(where.stdout.strip()) == installed / "atlas/_shipped/mkdocs.yml"


def test_it_builds_an_atlas_with_names_and_a_site(call, tmp_path):
    out = tmp_path / "demo"
    small = (
        "data.limit=200", "prepass.k=8", "model.layers=['planted']", "scoring.pictures=100",
    )  # fmt: skip
    result = call(
        "build", "demo", "--out", out, *(part for one in small for part in ("--set", one))
    )
    assert result.returncode == 0, result.stderr
    assert (out / "site/channels/planted/3.html").is_file()
    shown = call("show", out, "planted:3", "--json")
    assert shown.returncode == 0, shown.stderr
    assert '"name"' in shown.stdout
