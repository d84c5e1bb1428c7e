"""One model in the process, at a server, in several processes, and by files: the same records."""

import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from atlas import pipeline, prompts, vlm
from atlas.demo.vlm import FOLDER
from atlas.errors import UserError
from atlas.patches.views import References, view
from atlas.recipe import recorded
from atlas.store import names, open_store
from atlas.vlm.files import Exchange
from tests.trust.conftest import command
from tests.vlm.comparing import assert_same, finish, said, scored


def kill_when(started: list[str], path: Path, lines: int) -> None:
    """Start a command, and kill it when a file has so many lines."""
    process = subprocess.Popen(started, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if path.exists() and path.read_text().count("\n") >= lines:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_server_that_is_asked_again_after_a_kill(atlas_copy, in_process, model, served):
    path = atlas_copy.root / "names.jsonl"
    started = [sys.executable, "-m", "atlas", "name", str(atlas_copy.root)]
    # One question at a time, so that there is time between two writings.
    kill_when([*started, "--set", f"naming.vlm={served}", "--set", "naming.batch_size=1"], path, 1)
    before = len(names.read(atlas_copy))
    assert 0 < before < len(said(in_process))
    model.asked.clear()
    finish(atlas_copy, f"naming.vlm={served}")
    assert_same(atlas_copy, in_process)
    words = sum("logprobs" not in body for body in model.asked)
    assert words <= len(said(in_process)) - before + 8  # and retries, but nothing twice
    facts = {"model": "demo/vlm", "owned_by": "tests", "max_model_len": 512,
             "software": "uvicorn", "system_fingerprint": "fp-1"}  # fmt: skip
    for record in names.read(atlas_copy):
        assert record.details["server"].items() <= facts.items()
        assert record.by == "demo/vlm"
    assert all(score["server"]["owned_by"] == "tests" for score in scored(atlas_copy))
    model.asked.clear()
    finish(atlas_copy, f"naming.vlm={served}")  # all is known
    finish(atlas_copy)  # in the process, too
    assert not model.asked
    assert_same(atlas_copy, in_process)


def test_files_in_parts_in_any_order_partly_and_twice(
    atlas_copy, in_process, model, tmp_path, capsys
):
    dice = random.Random(0)
    for run, stage in enumerate((pipeline.name, pipeline.score)):
        rounds = 0
        while True:
            questions = tmp_path / f"q{run}-{rounds}.jsonl"
            exchange = Exchange(questions, part_mb=0.2)
            stage(atlas_copy, recorded(atlas_copy.manifest()), exchange=exchange)
            if not exchange.open:
                break
            assert len(exchange.written) > 1 or exchange.open < 20
            assert all(path.stat().st_size <= 0.2e6 for path in exchange.written)
            lines = []
            for path in exchange.written:
                model.answer(path, path.with_suffix(".out"))
                lines += path.with_suffix(".out").read_text().splitlines(keepends=True)
            assert len(lines) == exchange.open
            dice.shuffle(lines)
            most = tmp_path / "answers.jsonl"
            some = len(lines) if rounds else len(lines) // 2
            most.write_text("".join(lines[:some]))
            for _ in range(2):
                again = Exchange(None, [most])
                stage(atlas_copy, recorded(atlas_copy.manifest()), exchange=again)
            assert "answers were known already" in capsys.readouterr().err
            assert not list(tmp_path.glob(".*"))
            rounds += 1
        assert rounds >= 2
        assert not exchange.written
    assert_same(atlas_copy, in_process)
    assert all(r.details["server"]["models"] == ["demo/vlm"] for r in names.read(atlas_copy))


def test_a_run_takes_what_files_have_left_open(atlas_copy, in_process, model, tmp_path):
    recipe = recorded(atlas_copy.manifest())
    exchange = Exchange(tmp_path / "q.jsonl")
    pipeline.name(atlas_copy, recipe, exchange=exchange)
    half = tmp_path / "half.jsonl"
    half.write_text("".join((tmp_path / "q.jsonl").read_text().splitlines(keepends=True)[:9]))
    model.answer(half, tmp_path / "a.jsonl")
    pipeline.name(atlas_copy, recipe, exchange=Exchange(None, [tmp_path / "a.jsonl"]))
    assert 0 < len(names.read(atlas_copy)) <= 9
    finish(atlas_copy)
    assert_same(atlas_copy, in_process)


def test_several_processes_share_the_questions(atlas_copy, in_process):
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    started = [*launch, "-m", "atlas", "name", str(atlas_copy.root)]
    done = subprocess.run(started, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("named") == 1
    assert said(atlas_copy) == said(in_process)


def test_the_server_of_transformers(atlas_copy, small, tmp_path):
    """It tells no probabilities, so that yes is counted in samples."""
    port = free_port()
    started = [str(Path(sys.executable).with_name("transformers")), "serve", str(FOLDER),
               "--port", str(port), "--device", "cpu"]  # fmt: skip
    address = f"server:http://127.0.0.1:{port}/v1#{FOLDER}"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(started, stdout=log, stderr=log)
    try:
        loading = vlm.Loading(address, max_tokens=60, batch_size=4)
        served = reached(loading, process)
        here = vlm.load(vlm.Loading(vlm.DEMO, max_tokens=60))
        recipe = recorded(atlas_copy.manifest(), [f"naming.vlm={address}", "naming.senses=false"])
        pipeline.name(atlas_copy, recipe)
        other = open_store(shutil.copytree(small, tmp_path / "other"))
        recipe = recorded(other.manifest(), [f"naming.vlm={FOLDER}", "naming.senses=false"])
        pipeline.name(other, recipe)
        assert said(atlas_copy) == said(other)
        question = next(requests(atlas_copy))
        [share] = served.yes([question])
        assert isinstance(share, vlm.SampledChance)
        assert share == round(here.yes([question])[0])  # it answers greedily whatever is asked
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def reached(loading: vlm.Loading, process: subprocess.Popen) -> vlm.Vlm:
    """Return the model at a server as soon as that has started."""
    end = time.monotonic() + 120
    while True:
        try:
            return vlm.load(loading)
        except UserError:
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.3)


def requests(store):
    """Yield questions whether a patch fits a name."""
    references = References(store)
    text = prompts.fitting("fits-brief", "dimmed", "circle").text
    for row in references.of("planted", 0, "relevance"):
        yield vlm.Request([view(references.patch(row), "dimmed", 48)], text)


def test_questions_are_refused_where_nobody_is_asked(atlas_copy, tmp_path):
    there = tmp_path / "q.jsonl"
    there.write_text("mine\n")
    for arguments, text in (
        (["--questions", there], "is there already"),
        (["--questions", tmp_path / "no" / "q.jsonl"], "no directory"),
        (["--questions", tmp_path / "q2.jsonl", "--set", "naming.method=labels"], "asks no model"),
        (["--questions", tmp_path / "q2.jsonl", "--set", "naming.vlm=server:http://h/v1"],
         "#MODEL"),
        (["--answers", tmp_path / "none.jsonl"], "cannot be read"),
    ):  # fmt: skip
        done = command("name", atlas_copy.root, *arguments)
        assert done.status == 2
        [line] = [one for one in done.err.splitlines() if one.startswith("atlas:")]
        assert text in line
    assert there.read_text() == "mine\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["atlas", "q.jsonl"]
    assert not (atlas_copy.root / "names.jsonl").exists()


def test_the_command_says_what_to_do(atlas_copy, tmp_path, run, model):
    done = run("name", atlas_copy.root, "--questions", tmp_path / "q.jsonl", "--part-mb", 1)
    assert done.returncode == 0, done.stderr
    questions = sorted(tmp_path.glob("q*.jsonl"))
    assert f"25 questions are in {', '.join(map(str, questions))}: have them" in done.stdout
    first = json.loads(questions[0].read_text().splitlines()[0])
    assert len(first["custom_id"]) <= 64  # what services take
    model.answer(questions[0], tmp_path / "a.jsonl")
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('{"custom_id": "words-unknown", "response": {"body": {"choices": [{"message":')
    done = run("name", atlas_copy.root, "--answers", tmp_path / "a.jsonl")
    assert done.returncode == 0, done.stderr
    assert "1 lines are no answers" in done.stderr
