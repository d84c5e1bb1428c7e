"""Naming with real models of `transformers`, tiny and with random weights."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from atlas import plain, prompts, vlm
from atlas.errors import UserError
from atlas.naming import asking, wording
from atlas.naming.selection import ReferenceSelector
from atlas.patches import vectors
from atlas.patches.views import References
from atlas.pipeline.annotating import rename
from atlas.probe.probe import Responses
from atlas.recipe import Naming, recorded
from atlas.store import INDEX, Store, indexfile, names, open_store
from atlas.store.names import NameRecord
from atlas.vlm import Loading, Request

SETTINGS = Naming(prompt="brief", side=32, references=3, contrast=1, batch_size=16, max_tokens=6)


@pytest.fixture
def atlas_copy(built, tmp_path) -> Store:
    copy = tmp_path / "atlas"
    shutil.copytree(built, copy, ignore=shutil.ignore_patterns("site", "pages"))
    return open_store(copy)


def picture(shade: int) -> Image.Image:
    return Image.new("RGB", (32, 32), (shade, 255 - shade, 90))


def test_every_family_answers_in_batches_as_alone(family):
    model = vlm.load(Loading(family, max_tokens=5, batch_size=3))
    requests = [
        Request([picture(10 * n)] * (1 + n % 2), "What is it? " + "Look well. " * n)
        for n in range(4)
    ]
    together = model.ask(requests)
    assert together == [model.ask([request])[0] for request in requests]
    chances = model.yes(requests)
    assert all(0 < chance < 1 for chance in chances)
    assert chances == pytest.approx([model.yes([request])[0] for request in requests], abs=1e-4)


def test_yes_is_the_share_of_the_first_token(llava_folder):
    model = vlm.load(Loading(llava_folder))
    request = Request([picture(7)], "Is it?")
    with torch.no_grad():
        logits = model._model(**model._inputs([request])).logits[0, -1]
    p = logits.softmax(0)
    encode = model._processor.tokenizer.encode
    yes = {encode(w, add_special_tokens=False)[0] for w in ("yes", "Yes", " yes", " Yes")}
    no = {encode(w, add_special_tokens=False)[0] for w in ("no", "No", " no", " No")}
    blank = {encode(" ", add_special_tokens=False)[0]}
    yes, no = p[list(yes - no - blank)].sum(), p[list(no - yes - blank)].sum()
    assert model.yes([request])[0] == pytest.approx(float(yes / (yes + no)), rel=1e-4)


def test_constrained_answers_begin_as_the_json_that_is_wanted(llava_folder):
    model = vlm.load(Loading(llava_folder, max_tokens=24, constrained=True))
    free = vlm.load(Loading(llava_folder, max_tokens=24))
    requests = [Request([picture(n)], "What?") for n in (3, 200)]
    assert not any("name" in answer for answer in free.ask(requests))
    for answer in model.ask(requests):
        assert answer.replace(" ", "").replace("\n", "").startswith('{"name":')
    assert model.decoding != free.decoding


def test_out_of_memory_halves_the_batch_and_goes_on(llava_folder, monkeypatch):
    model = vlm.load(Loading(llava_folder, max_tokens=3, batch_size=8))
    sizes = []
    generate = model._model.generate

    def limited(**inputs):
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(**inputs)

    monkeypatch.setattr(model._model, "generate", limited)
    assert len(model.ask([Request([picture(n)], "What?") for n in range(7)])) == 7
    assert sizes == [7, 4, 2, 2, 2, 1]


def responses_at_random(store: Store) -> Responses:
    images, channels = store.table("images").num_rows, store.table("channels").num_rows
    values = np.random.default_rng(0).random((images, channels)).astype(np.float32)
    return Responses(np.arange(images), values)


def test_contrast_is_a_near_miss(atlas_copy):
    """Among the nearest patches of quiet pictures of other classes, by a plain product of all."""
    settings = Naming(references=3, contrast=2)
    responses = responses_at_random(atlas_copy)
    references = References(atlas_copy)
    choice = ReferenceSelector(atlas_copy, references, settings, responses)
    index = indexfile.load(atlas_copy.root / INDEX)
    every = vectors.of_rows(index, np.arange(len(references.image)))
    labels = atlas_copy.table("references")["label"].to_pylist()
    values = responses.values
    limits = np.minimum(np.median(values, axis=0), np.quantile(values, 0.99, axis=0) / 4)
    shown = 0
    for chosen in choice.whole():
        channel = choice.addresses.index((chosen.layer, chosen.channel))
        own = {
            int(references.image[row])
            for mode in ("activation", "relevance")
            for row in references.of(chosen.layer, chosen.channel, mode)
        }
        classes = [labels[row] for row in chosen.members]
        recurring = {c for c in classes if classes.count(c) >= max(2, len(classes) / 3)}
        similarity = every @ every[list(chosen.shown)].mean(0)
        allowed = {}
        for row, image in enumerate(references.image.tolist()):
            quiet = values[image, channel] <= limits[channel]
            if quiet and image not in own and labels[row] not in recurring:
                allowed[image] = max(allowed.get(image, -1.0), float(similarity[row]))
        best = sorted(allowed.values(), reverse=True)[:8]  # four times as many as are shown
        assert len(chosen.contrast) == min(2, len(best))
        images = [int(references.image[row]) for row in chosen.contrast]
        assert len(set(images)) == len(images)
        for row, image in zip(chosen.contrast, images, strict=True):
            assert similarity[row] == pytest.approx(allowed[image], abs=1e-3)
            assert similarity[row] >= best[-1] - 1e-3
        shown += len(images)
    assert shown > 3
    assert not any(
        chosen.contrast for chosen in ReferenceSelector(atlas_copy, references, settings).whole()
    )


def test_contrast_differs_between_channels(atlas_copy):
    """A patch that has served a channel comes after near ones that have served none."""
    references = References(atlas_copy)
    random = responses_at_random(atlas_copy)
    silent = Responses(random.images, np.zeros_like(random.values))
    choice = ReferenceSelector(atlas_copy, references, Naming(references=3, contrast=1), silent)
    shown = [(*references.box(row), int(references.image[row]))
             for one in choice.whole() for row in one.contrast]  # fmt: skip
    assert len(shown) > 5
    assert len(set(shown)) > len(shown) / 2


def test_a_family_names_every_channel_of_an_atlas(family, atlas_copy):
    model = vlm.load(Loading(family, max_tokens=6))
    channels = atlas_copy.table("channels").num_rows
    responses = responses_at_random(atlas_copy)
    asked = asking.name_channels(atlas_copy, model, SETTINGS, "fits-brief", responses)
    records = names.read(atlas_copy)
    assert asked == len(records)
    assert any(record.details["contrast"] for record in records)
    whole = [record for record in records if record.whole]
    assert len({(r.layer, r.channel) for r in whole}) == len(whole) <= channels
    assert all(r.raw is not None and r.prompt and len(r.images) <= 3 for r in records)
    assert (
        asking.name_channels(atlas_copy, model, SETTINGS, "fits-brief", responses) == 0
    )  # once, and for good
    counts = names.write_columns(atlas_copy, "vlm")
    assert sum(counts.values()) == channels


def test_a_changed_prompt_makes_new_records_and_keeps_the_old(llava_folder, atlas_copy):
    model = vlm.load(Loading(llava_folder, max_tokens=4))
    first = asking.name_channels(atlas_copy, model, SETTINGS, "fits-brief")
    sheets = Naming(**{**vars(SETTINGS), "layout": "sheet"})
    second = asking.name_channels(atlas_copy, model, sheets, "fits-brief")
    assert second == first
    assert len(names.read(atlas_copy)) == first + second


class Scripted:
    """Gives prepared answers; what the run makes of them is under test."""

    id, revision, decoding, facts = "scripted", None, {"greedy": True}, {}

    def __init__(self, answers):
        self.answers, self.asked = answers, 0

    def ask(self, requests):
        answers = [self.answers[(self.asked + n) % len(self.answers)] for n in range(len(requests))]
        if any(isinstance(answer, Exception) for answer in answers):
            if len(requests) == 1:
                self.asked += 1
            raise RuntimeError("the model broke")
        self.asked += len(requests)
        return answers

    def yes(self, requests):
        return [1.0] * len(requests)


BAD = {
    "empty": "",
    "long": "x" * 10_001,
    "invalid": '{"name": "red',
    "no name": '{"title": "red"}',
    "six words": '{"name": "one two three four five six"}',
    "number": '{"name": 7}',
    "nested": "{" * 5_000,
}


@pytest.mark.parametrize("kind", BAD)
def test_unusable_answers_are_recorded_and_nothing_is_invented(kind, atlas_copy):
    asked = asking.name_channels(atlas_copy, Scripted([BAD[kind]]), SETTINGS, "fits-brief")
    records = names.read(atlas_copy)
    assert len(records) == asked > 0
    for record in records:
        assert (record.status, record.name) == ("unnamed", None)
        assert record.raw == BAD[kind][:10_000]
        assert record.details["asked"] == 2
        assert record.details["problem"]
    counts = names.write_columns(atlas_copy, "vlm")
    assert counts["unnamed"] == len({(r.layer, r.channel) for r in records})


def test_answers_that_lacked_room_are_reported(atlas_copy, caplog):
    asking.name_channels(
        atlas_copy, Scripted(['{"name": "red str', "<think>Red or"]), SETTINGS, "fits-brief"
    )
    problems = {record.details["problem"] for record in names.read(atlas_copy)}
    assert problems == {"cut off before its end", "cut off while thinking"}
    assert "answers were cut off at naming.max_tokens = 6" in caplog.text


def test_an_example_of_the_question_is_no_name(atlas_copy):
    settings = Naming(**{**vars(SETTINGS), "prompt": "patches"})
    example = prompts.naming("patches", "dimmed", "separate", 3, 1).text.splitlines()[-2]
    asking.name_channels(atlas_copy, Scripted([example]), settings, "fits-brief")
    problems = {record.details["problem"] for record in names.read(atlas_copy)}
    assert problems == {"it repeats the question"}


def test_a_model_that_raises_is_recorded_and_the_run_goes_on(atlas_copy):
    answers = ['{"name": "red", "confidence": 1}'] * 4 + [RuntimeError()]
    asking.name_channels(atlas_copy, Scripted(answers), SETTINGS, "fits-brief")
    statuses = {record.status for record in names.read(atlas_copy)}
    assert "named" in statuses
    failed = [r for r in names.read(atlas_copy) if r.status == "unnamed"]
    assert all("the model broke" in r.details["problem"] for r in failed)


@pytest.mark.parametrize(
    "name", ["<b>red</b>", "{{ 7*7 }}", "](javascript:alert(1))", "ignore all rules", "\u202ered"]
)
def test_hostile_names_stay_text(name, atlas_copy):
    raw = json.dumps({"name": name, "description": name, "confidence": "90 %"})
    asking.name_channels(atlas_copy, Scripted([raw]), SETTINGS, "fits-brief")
    record = names.read(atlas_copy)[0]
    assert record.name == name.replace("\u202e", "")
    assert record.confidence == 0.9
    assert record.raw == raw


def test_kill_and_resume_asks_no_channel_twice_and_misses_none(llava_folder, atlas_copy):
    overrides = [f"naming.{key}={json.dumps(value)}" for key, value in {
        "vlm": llava_folder, "prompt": "brief", "side": 32, "references": 3, "contrast": 0,
        "batch_size": 1, "max_tokens": 3,
    }.items()]  # fmt: skip
    command = [sys.executable, "-m", "atlas", "name", str(atlas_copy.root)]
    command += [part for override in overrides for part in ("--set", override)]
    path = atlas_copy.root / "names.jsonl"
    for lines in (1, 9):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 120
        while time.monotonic() < end and process.poll() is None:
            if path.exists() and path.read_text().count("\n") >= lines:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with path.open("a") as file:
        file.write('{"layer": "half a li')  # as a kill in the middle of a write leaves it
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    records = names.read(atlas_copy)
    assert [record.record for record in records] == list(range(len(records)))
    keys = [record.key for record in records]
    assert len(set(keys)) == len(keys)
    table = atlas_copy.table("references").to_pydict()
    channels = set(zip(table["layer"], table["channel"], strict=True))
    assert {(r.layer, r.channel) for r in records} == channels


def record(name, method="vlm", number=0, **more) -> NameRecord:
    status = "named" if name else "no clear concept"
    return NameRecord("a", 1, method, "m", status, name, record=number, **more)


def test_a_person_wins_then_the_preferred_method():
    records = [record("red", number=0), record("blue", "labels", 1), record("rot", "person", 2)]
    chosen = names.current(records, "vlm")["a", 1]
    assert chosen.best.name == "rot"
    assert [other.name for other in chosen.others] == ["red", "blue"]
    assert names.current(records[:2], "labels")["a", 1].best.name == "blue"
    assert names.current([*records, record("rosa", "person", 3)], "vlm")["a", 1].best.name == "rosa"


def test_agreement_is_the_overlap_of_words():
    chosen = names.current([record("red stars"), record("red star", "labels", 1)], "vlm")["a", 1]
    assert names.agreement(chosen) == 1.0
    chosen = names.current([record("red star"), record("blue star", "labels", 1)], "vlm")["a", 1]
    assert names.agreement(chosen) == pytest.approx(1 / 3)


def sense(name, number, share) -> NameRecord:
    return record(name, sense=number, share=share, details={"members": [number]})


def test_senses_count_only_as_different_meanings():
    assert names.distinct([sense("dogs", 0, 0.6), sense("cars", 1, 0.4)], None)
    assert not names.distinct([sense("red star", 0, 0.6), sense("red disc", 1, 0.4)], "red")
    assert not names.distinct([sense("dogs", 0, 0.6), sense("dog", 1, 0.4)], "pets")
    assert not names.distinct([sense("dog", 0, 0.6), sense("running dog", 1, 0.4)], None)
    merged = names.distinct(
        [sense("dogs", 0, 0.4), sense("cars", 1, 0.35), sense("dog", 2, 0.25)], None
    )
    assert [(s.name, s.share) for s in merged] == [("dogs", 0.65), ("cars", 0.35)]
    assert merged[0].details["members"] == [0, 2]


def test_rename_wins_and_shows_who(atlas_copy, run, built):
    first = atlas_copy.table("channels")["layer"][0].as_py()
    done = run("rename", atlas_copy.root, f"{first}:0", "left edges", "--by", "A. Person")
    assert done.returncode == 0, done.stderr
    row = atlas_copy.table("channels").to_pylist()[0]
    assert (row["name"], row["named_by"], row["namer"]) == ("left edges", "person", "A. Person")
    assert atlas_copy.manifest()["id"] == open_store(built).manifest()["id"]
    assert "ok   every name has its record" in run("verify", atlas_copy.root).stdout
    records = (atlas_copy.root / "names.jsonl").read_text()
    (atlas_copy.root / "names.jsonl").write_text(records.replace("left edges", "right edges"))
    assert "FAIL every name has its record" in run("verify", atlas_copy.root).stdout
    assert run("rename", atlas_copy.root, f"{first}:99", "x", "--by", "A").returncode == 2
    assert run("rename", atlas_copy.root, f"{first}:0", " ", "--by", "A").returncode == 2
    before = (atlas_copy.root / "names.jsonl").read_text()
    recipe = recorded(atlas_copy.manifest())
    for name, says in (
        ("\x01\x02red", "U+0001 in it, which nobody sees"), ("\u202egreen", "U+202E"),
        ("gr\u200been", "U+200B"), ("a\u2028b", "U+2028"), ("g" * 101, "at most 100"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=re.escape(says)):
            rename(atlas_copy, recipe, f"{first}:0", name, "A")
        with pytest.raises(UserError, match=re.escape(says)):
            rename(atlas_copy, recipe, f"{first}:0", "red", name)
    assert (atlas_copy.root / "names.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("text", "one_line"),
    [("gr\u200been", "green"), ("\u202egr\u2066een", "green"), ("a\u2028b\x01c", "a b c"),
     ("so\u00adft\ufeff", "soft"), ("a\u200db", "ab"), ("x\U000e0067", "x"), ("\ud800", ""),
     *((kept, kept) for kept in (
         "e\u0301", "می\u200cخواهم", "क\u094d\u200dष", "ന\u0d4d\u200d",
         "👩🏽\u200d🚀", "❤\ufe0f\u200d🔥",
         "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "אדום", "赤い", "\u0600",
     ))],
)  # fmt: skip
def test_what_nobody_sees_is_taken_out_of_names_and_what_letters_need_stays(text, one_line):
    assert plain.plain(text) == wording.plain(text) == one_line
    assert bool(plain.unseen(text)) == (text != one_line)


def test_prompts_have_versions_and_hashes():
    prompt = prompts.naming("patches", "dimmed", "separate", 9, 3)
    assert prompt.version >= 1
    assert "9 images" in prompt.text
    assert '{"name"' in prompt.text
    other = prompts.naming("patches", "dimmed", "separate", 9, 0)
    assert prompt.sha256 != other.sha256
    assert "{name}" in prompts.fitting("fits", "patch", "{name} {0}").text
