"""What makes a pre-pass quicker, run as users run it: precision, compiling, activation alone."""

import json
from pathlib import Path

import numpy as np
import pytest

from atlas.prepass.progress import Progress
from atlas.store import open_store


def index(run, project, out: Path, *overrides: str) -> Path:
    pairs = [part for override in overrides for part in ("--set", override)]
    result = run("index", project / "tiny.toml", "--out", out, *pairs)
    assert result.returncode == 0, result.stderr
    return out


def references(out: Path, mode: str) -> dict[tuple[str, int], set[int]]:
    """The pictures of each channel's references, by their place in the data."""
    store = open_store(out)
    place = store.table("images")["index"].to_pylist()
    found: dict[tuple[str, int], set[int]] = {}
    for row in store.table("references").to_pylist():
        if row["mode"] == mode:
            found.setdefault((row["layer"], row["channel"]), set()).add(place[row["image"]])
    return found


def agreement(a: Path, b: Path, mode: str) -> float:
    mine, other = references(a, mode), references(b, mode)
    return float(np.mean([len(mine[c] & other.get(c, set())) / len(mine[c]) for c in mine]))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_finds_nearly_the_same_references(run, project, built, tmp_path, dtype):
    out = index(run, project, tmp_path / dtype, f"prepass.dtype={dtype}")
    assert open_store(out).manifest()["dtype"] == dtype
    assert open_store(out).manifest()["id"] != open_store(built).manifest()["id"]
    for mode in ("activation", "relevance"):
        # The network has random weights, and many pictures are nearly equal to its channels.
        assert agreement(built, out, mode) > 0.8


def test_compiling_changes_nothing_but_last_digits(run, project, built, tmp_path):
    out = index(run, project, tmp_path / "compiled", "prepass.compile=true")
    for mode in ("activation", "relevance"):
        assert agreement(built, out, mode) == 1.0
    means = [
        np.array(open_store(path).table("channels")["act_mean"].to_pylist())
        for path in (built, out)
    ]
    assert np.allclose(*means, rtol=1e-4)


def test_activation_alone_finds_the_same_by_activation(run, project, built, tmp_path):
    out = index(run, project, tmp_path / "alone", 'prepass.modes=["activation"]')
    assert references(out, "activation") == references(built, "activation")
    assert references(out, "relevance") == {}
    channels = open_store(out).table("channels")
    assert channels["rel_mean"].null_count == len(channels)


def test_progress_is_told_in_json_lines(run, project, tmp_path):
    file = tmp_path / "progress.jsonl"
    index(run, project, tmp_path / "out", f"prepass.progress={file.as_posix()}")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines = [line for line in lines if "done" in line]  # the others are of whole stages
    assert lines[-1]["done"] == 30
    assert lines[-1]["finished"]
    assert all(0 <= line["waiting"] <= 1 for line in lines)


def test_what_was_measured_was_not_waited_for(tmp_path, monkeypatch):
    """Also on the first batch, before which everything is waiting."""
    now = [100.0]
    monkeypatch.setattr("atlas.prepass.progress.time.monotonic", lambda: now[0])
    with Progress("pre-pass", 20, 0, tmp_path / "log", silent=False) as progress:
        now[0] += 12  # two to read a batch, ten to measure it
        progress.update(10, 2.0)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [round(line["waiting"], 3) for line in lines] == [0.167, 0.167]
