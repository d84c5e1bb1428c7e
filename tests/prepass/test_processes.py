"""Two processes find what one finds, and what they had done survives when one dies."""

import os
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.prepass import checkpoint, classpictures, tally
from atlas.prepass.batchtally import BatchTally
from atlas.prepass.tally import Tally
from atlas.recipe import Activation, Relevance
from atlas.store import COLUMNS

TABLES = [f"{name}.parquet" for name in COLUMNS if name != "samples"]  # of factors alone


def tables(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in [*TABLES, "masks.npy", "patches.faiss"]}


def command(project: Path, out: Path, *overrides: str) -> list[str]:
    settings = [word for override in overrides for word in ("--set", override)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    launcher += ["--master_port", str(29500 + os.getpid() % 1000)]
    recipe = ["index", str(project / "tiny.toml"), "--out", str(out)]
    return [*launcher, "-m", "atlas", *recipe, *settings]


@pytest.mark.parametrize("size", [4, 7, 40])
def test_two_processes_make_the_same_bytes_as_one(project, built, tmp_path, size):
    result = subprocess.run(
        command(project, tmp_path / "two", f"prepass.batch_size={size}"),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
    assert "pre-pass (2 processes)" in result.stderr
    assert tables(tmp_path / "two") == tables(built)


def test_accelerate_launches_it_too(project, built, tmp_path):
    line = command(project, tmp_path / "two")
    port = str(30500 + os.getpid() % 1000)
    launcher = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
    ]  # fmt: skip
    if not torch.cuda.is_available():
        # On CPUs accelerate starts one process, whatever it is asked for: torchrun is for that.
        launcher = [sys.executable, "-m", "accelerate.commands.launch", "--cpu"]
    launcher += ["--main_process_port", port, *line[line.index("-m", 3) :]]
    result = subprocess.run(launcher, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    assert tables(tmp_path / "two") == tables(built)


@pytest.mark.parametrize("victim", [0, 1])
def test_one_of_two_is_killed_and_the_run_goes_on_later(project, built, tmp_path, victim):
    out = tmp_path / "two"
    line = command(project, out, "prepass.batch_size=2", "prepass.checkpoint_images=4")
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    state = out / checkpoint.NAME
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    assert state.exists()
    kill(process.pid, victim)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode != 0, stderr
    result = subprocess.run(line, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    assert tables(out) == tables(built)


def kill(launcher: int, rank: int) -> None:
    for child in psutil.Process(launcher).children(recursive=True):
        if child.environ().get("RANK") == str(rank):
            child.kill()


@given(st.lists(st.booleans(), min_size=6, max_size=6), st.integers(0, 100))
@settings(deadline=None, max_examples=25)
def test_merged_and_repacked_tallies_are_those_of_all_pictures(sides, seed):
    """Random maps of six pictures, dealt to two tallies; against one tally of all.

    Two of the pictures are of one class, of which one is kept.
    """
    torch.manual_seed(seed)
    maps = {mode: torch.randn(6, 4, 3, 3).relu() - 0.3 for mode in ("activation", "relevance")}
    logits = torch.randn(6, 5)

    def add(state: Tally, rows: list[int]) -> None:
        if not rows:
            return
        keys = [f"{row}.png" for row in rows]
        batch = BatchTally(state, Activation(), Relevance(), torch.tensor(rows), keys, rows)
        for mode, some in maps.items():
            batch.visit(slice(0, len(rows)), "layer", mode, some[rows])
        batch.finish([row % 5 for row in rows], torch.tensor(rows) % 5, logits[rows])

    whole, *parts = (Tally(3, 5, per_band=2, seed=seed, fired_by_class=True) for _ in range(3))
    add(whole, list(range(6)))
    for part, side in zip(parts, (True, False), strict=True):
        add(part, [row for row in range(6) if sides[row] == side])
        tally.skip(part, 10 + side, f"{side}.png", "damaged")
        tally.skip(whole, 10 + side, f"{side}.png", "damaged")
    with patch.object(classpictures, "PER_CLASS", 1):
        unpacked, facts = checkpoint.unpack(
            checkpoint.pack(tally.merge(*parts), {"done": 6}), torch.device("cpu")
        )
        assert facts["done"] == 6
        assert unpacked.seen == whole.seen
        assert [one.target for one in unpacked.samples] == [0, 1, 2, 3, 4]
        unpacked.seen = whole.seen  # the same, perhaps in another order
        assert checkpoint.pack(unpacked, {}) == checkpoint.pack(whole, {})
