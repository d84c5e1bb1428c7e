"""Benchmarks that need what is not here end in one line, and what they run is run small."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_gpu_script_says_that_there_is_none():
    result = script("gpu.py")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1 and "no GPU was found" in result.stderr
    assert result.stdout == ""


def test_the_gpu_script_runs_small():
    result = script("gpu.py", "--smoke")
    assert result.returncode == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0].strip("| ") for row in rows if not row.startswith("| |")] == [
        "vgg, float32", "stage", "prepass", "pictures", "patches", "weights",
    ]  # fmt: skip


def test_without_photographs_the_whole_build_says_what_to_give(tmp_path):
    result = script("whole.py", "--only", "photographs")
    assert result.returncode == 1 and "--photos DIR" in result.stderr
    result = script("whole.py", "--only", "photographs", "--photos", tmp_path)
    assert result.returncode == 1 and "has 0 JPEGs" in result.stderr
    assert "Traceback" not in result.stderr


def test_scores_of_drawn_names_are_right_on_average():
    result = script("naming.py", "--drawn", "--channels", 40)
    assert result.returncode == 0, result.stderr
    rows = {
        cells[0]: cells[1:]
        for line in result.stdout.splitlines()
        if len(cells := line.strip("| ").split(" | ")) > 3
    }
    error, hold = (float(rows["exactly"][column]) for column in (2, 5))
    assert abs(error) < 0.08 and hold >= 0.85  # of forty, with room for chance
    truth, broad, above = (float(cell) for cell in rows["broad"][1:4])
    assert broad < 0.3 and truth < 0.1 and above >= 0.97
