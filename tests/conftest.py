"""A small project to build: a network in a Python file, a folder of pictures, a recipe."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Tests never reach for the network, and never by accident.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
# Small networks gain nothing from threads, and threads that wait for each other on a busy
# machine cost tenfold.
os.environ["OMP_NUM_THREADS"] = "1"

NETWORK = """
import torch
from torch import nn


def make():
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 7, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(28, 3),
    )
    network.classes = ["disc", "square", "stripe"]
    network.preprocessing = dict(resize=48, crop=48, mean=[0.5] * 3, std=[0.25] * 3)
    return network
"""

RECIPE = """
name = "tiny"
[model]
name = "{root}/network.py:make"
device = "cpu"
[data]
source = "folder:{root}/pictures"
[prepass]
k = 5
batch_size = 8
"""

COUNT = 30


def draw(kind: str, random: np.random.Generator) -> Image.Image:
    """A disc, a square or a stripe in random colours, 60 x 52 pixels."""
    y, x = np.mgrid[:52, :60]
    cy, cx = random.integers(15, 37, 2)
    size = random.integers(6, 14)
    inside = {
        "disc": (y - cy) ** 2 + (x - cx) ** 2 < size**2,
        "square": np.maximum(abs(y - cy), abs(x - cx)) < size,
        "stripe": abs(y - x - cy + cx) < size // 2,
    }[kind]
    pixels = np.where(inside[..., None], *random.integers(0, 256, (2, 3)))
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A folder with a class folder for each kind, 30 pictures in all."""
    folder = tmp_path_factory.mktemp("data") / "pictures"
    random = np.random.default_rng(0)
    for number in range(COUNT):
        kind = ("disc", "square", "stripe")[number % 3]
        (folder / kind).mkdir(parents=True, exist_ok=True)
        draw(kind, random).save(folder / kind / f"{number:03}.png")
    return folder


@pytest.fixture(scope="session")
def project(pictures) -> Path:
    """A directory with network.py, pictures/ and tiny.toml."""
    root = pictures.parent
    (root / "network.py").write_text(NETWORK)
    (root / "tiny.toml").write_text(RECIPE.format(root=root.as_posix()))
    return root


@pytest.fixture(scope="session")
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `atlas` as a user does; `run("build", ...)`."""

    def call(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "atlas", *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)

    return call


@pytest.fixture(scope="session")
def built(project, run, tmp_path_factory) -> Path:
    """The atlas of the project, with its site. Tests must not change it."""
    out = tmp_path_factory.mktemp("built") / "tiny"
    result = run("build", project / "tiny.toml", "--out", out)
    assert result.returncode == 0, result.stderr
    return out
