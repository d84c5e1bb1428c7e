"""An atlas with factors, made once for all tests of them."""

import shutil

import pytest

LAYER = "3"
SETTINGS = (
    "--set", f'factors.layers=["{LAYER}"]', "--set", "factors.ranks=[3]",
    "--set", "factors.positions=20",
)  # fmt: skip


@pytest.fixture(scope="session")
def settings():
    """Arguments by which its factors were found."""
    return SETTINGS


@pytest.fixture(scope="session")
def factored(indexed, run, made_once):
    """The atlas of the project with three factors of one layer, and its site."""

    def make(folder):
        shutil.copytree(indexed, folder / "tiny")
        for command in (
            ("factors", folder / "tiny", *SETTINGS, "--trust-code"),
            ("site", folder / "tiny"),
        ):
            result = run(*command)
            assert result.returncode == 0, result.stderr

    return made_once("factored", make) / "tiny"


@pytest.fixture(scope="session")
def explained(factored, pictures, run, made_once):
    """A copy of the atlas with factors, a picture explained by them, and its site."""

    def make(folder):
        root = folder / "tiny"
        shutil.copytree(factored, root)
        picture = min(pictures.rglob("*.png"))
        for command in (("explain", root, picture, "--trust-code"), ("site", root)):
            result = run(*command)
            assert result.returncode == 0, result.stderr

    return made_once("explained by factors", make) / "tiny"
