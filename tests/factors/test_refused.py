"""Factors that were found stay where others are refused, with the names that people gave them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import atlas
from atlas.recipe import recorded
from atlas.store import bases, files, open_store

SIZE = 6


def autoencoder(path, channels, scale, bias):
    """Write one of `SIZE` factors that is made of chance numbers."""
    weights = np.random.default_rng(1).standard_normal((SIZE, channels)).astype(np.float32)
    save_file(
        {
            "encoder.weight": scale * weights,
            "encoder.bias": np.full(SIZE, bias, np.float32),
            "W_dec": weights,
        },
        path,
    )


def content(root):
    """Return the digest of every file, but for the lock."""
    every = (path for path in root.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(root).as_posix(): files.sha256(path) for path in every}


@pytest.mark.parametrize(("scale", "bias"), [(1.0, -1e6), (1e6, 0.0)], ids=["silent", "too large"])
def test_a_refused_autoencoder_leaves_the_factors_that_were_there(
    factored, settings, run, tmp_path, scale, bias
):
    root = shutil.copytree(factored, tmp_path / "tiny")
    (basis,) = bases.read(bases.factors(open_store(root)))
    assert run("rename", root, f"{basis.name}:1", "my word", "--by", "me").returncode == 0
    before = content(root / "factors")
    autoencoder(tmp_path / "sae.safetensors", basis.directions.shape[1], scale, bias)
    trained = ("factors.method=sae", f"factors.trained={tmp_path / 'sae.safetensors'}")
    more = [part for one in (*trained, "factors.active=2") for part in ("--set", one)]
    refused = run("factors", root, *settings, *more, "--trust-code")
    assert refused.returncode == 2
    assert "says less than nothing of the output" in refused.stderr
    assert len(refused.stderr.strip().splitlines()[-1]) < 600
    assert content(root / "factors") == before
    assert atlas.open(root)[f"{basis.name}:1"].name == "my word"
    assert not list(root.glob(".factors*"))


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("data.limit=5", "data.limit: not as when"),
        ("data.source=folder:{less}", "data: not as when"),
        ("prepass.k=3", "k: not as when"),
        ("activation.aggregate=sum", "activation: not as when"),
    ],
)
def test_factors_are_of_what_the_channels_were_measured_on(
    factored, settings, run, tmp_path, setting, says
):
    root = shutil.copytree(factored, tmp_path / "tiny")
    source = recorded(open_store(root).manifest()).data.source.removeprefix("folder:")
    less = shutil.copytree(source, tmp_path / Path(source).name)  # a picture less
    next(path for path in sorted(less.rglob("*")) if path.suffix == ".png").unlink()
    before = content(root)
    refused = run("factors", root, *settings, "--set", setting.format(less=less), "--trust-code")
    assert refused.returncode == 2, refused.stderr
    assert says in refused.stderr
    assert content(root) == before
