"""A build says which stage it is at, and how long the rest will take as far as that is known."""

import json
import time

import pytest

from atlas.pipeline.steps import LASTS, Steps
from atlas.prepass.progress import Progress

NAMES = ("prepass", "pictures", "patches", "names", "site")


def test_stages_are_numbered_and_what_is_left_is_a_part_of_the_pass(capsys, tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    steps = Steps(NAMES, str(tmp_path / "log"))
    for name, seconds in zip(NAMES, (1000.0, 10.0, 5.0, 5.0, 5.0), strict=True):
        with steps.step(name):
            clock[0] += seconds
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "stage 1 of 5: prepass"
    assert 1000 * (LASTS["pictures"] + LASTS["patches"] + LASTS["site"]) == pytest.approx(1800)
    assert lines[1] == "stage 2 of 5: pictures (about 30:00 left in all, without names)"
    assert lines[4] == "stage 5 of 5: site (about 03:20 left in all)"
    logged = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(line["stage"], line["number"], line["of"], line["seconds"]) for line in logged] == [
        ("prepass", 1, 5, 1000.0), ("pictures", 2, 5, 10.0), ("patches", 3, 5, 5.0),
        ("names", 4, 5, 5.0), ("site", 5, 5, 5.0),
    ]  # fmt: skip
    assert all(line["finished"] for line in logged)


def test_a_stage_that_is_broken_off_is_not_finished(tmp_path):
    steps = Steps(NAMES, str(tmp_path / "log"))
    with pytest.raises(KeyboardInterrupt), steps.step("names"):
        raise KeyboardInterrupt
    assert json.loads((tmp_path / "log").read_text())["finished"] is False


def test_the_bar_of_the_pass_says_when_all_stages_will_be_done(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with Progress("pre-pass", 100, 0, None, silent=False, later=1.5) as progress:
        clock[0] = 60.0
        progress.update(20, 0.0)  # 3 seconds a picture: 240 for the others, 450 for what follows
        progress._bar.refresh()
    assert "all stages: 11:30 left" in capsys.readouterr().err


def test_a_build_goes_through_its_stages(project, run, tmp_path):
    log = tmp_path / "log"
    result = run(
        "index", project / "tiny.toml", "--out", tmp_path / "atlas", "--set",
        f"prepass.progress={log}",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    said = [line for line in result.stderr.splitlines() if line.startswith("stage ")]
    assert [line.split(" (")[0] for line in said] == [
        "stage 1 of 4: prepass", "stage 2 of 4: pictures", "stage 3 of 4: patches",
        "stage 4 of 4: weights",
    ]  # fmt: skip
    stages = [json.loads(line) for line in log.read_text().splitlines()]
    assert [one["stage"] for one in stages if "seconds" in one] == [
        "prepass",
        "pictures",
        "patches",
        "weights",
    ]
