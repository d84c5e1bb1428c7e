"""Explanations whose models run in the process, at a server, or by files: the same records."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from PIL import Image

from atlas import pipeline, vlm
from atlas.cli import main
from atlas.demo.world import draw
from atlas.explain.claims.making import claims
from atlas.explain.context import contextualise
from atlas.explain.narrative.compose import Writer, compose
from atlas.pipeline.models import by_files
from atlas.recipe import recorded
from atlas.store import ANSWERS, Store, evidence, narrative, open_store
from atlas.store.narrative import RULES
from atlas.vlm import Loading, language
from atlas.vlm.files import Exchange
from tests.explain.conftest import EVIDENCE
from tests.explain.test_narrative import HONEST, Judge, check
from tests.naming.conftest import TEXT, words
from tests.vlm.serving import Model, serving

FEW = ("concepts=3", "draws=1")
RECORDS = ("evidence.json", "claims.json", "narrative.json")


@pytest.fixture(scope="session")
def writer(tmp_path_factory) -> Path:
    """A language model without vision whose weights are random, and so are its choices."""
    folder = tmp_path_factory.mktemp("models") / "writer"
    tokenizer = words("<image>")
    torch.manual_seed(1)
    config = tf.LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=8192, **TEXT)
    tf.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def drawings(tmp_path_factory) -> list[Path]:
    """Two pictures of the demo's world that were not measured."""
    folder = tmp_path_factory.mktemp("drawings")
    for number in (100, 101):
        Image.fromarray(draw(0, number).image).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


@pytest.fixture
def named_copy(in_process, tmp_path) -> Store:
    return open_store(shutil.copytree(in_process.root, tmp_path / "atlas"))


def explain(store: Store, drawings, settings, exchange=None) -> list[Path]:
    recipe = recorded(store.manifest(), [f"explain.{one}" for one in settings])
    outcome = pipeline.explain(store, recipe, drawings, None, exchange=exchange)
    assert not outcome.failed
    return list(outcome.done)


def both(writer: Path) -> list[str]:
    return ["vlm=demo/vlm", f"writer={writer}", *FEW]


@pytest.fixture(scope="session")
def here(in_process, drawings, writer, made_once) -> Path:
    """Explanations whose models ran in the process. Tests must not change them."""

    def make(folder: Path) -> None:
        store = open_store(shutil.copytree(in_process.root, folder / "atlas"))
        explain(store, drawings, both(writer))

    return made_once("explained", make) / "atlas" / "explanations"


def assert_same(folders: list[Path], there: Path) -> None:
    """Compare explanations file by file."""
    for folder in folders:
        for name in RECORDS:
            assert (folder / name).read_text() == (there / folder.name / name).read_text()


def answer(paths: list[Path], models: dict[str, Model], into: Path) -> list[str]:
    """Answer files of questions, each by the one model that it is for; return the lines."""
    lines: list[str] = []
    for path in paths:
        [name] = {json.loads(line)["body"]["model"] for line in path.read_text().splitlines()}
        models[name].answer(path, into)
        lines += into.read_text().splitlines(keepends=True)
    return lines


@pytest.fixture(scope="session")
def models(writer) -> dict[str, Model]:
    loaded = (
        vlm.load(Loading(vlm.DEMO, max_tokens=80)),
        language.load(Loading(str(writer), max_tokens=2000)),
    )
    return {model.id: Model(model) for model in loaded}


def test_files_partly_in_any_order_and_twice(
    named_copy, here, drawings, writer, models, tmp_path, capsys, monkeypatch
):
    loads = pytest.fail
    monkeypatch.setattr(language, "load", loads)
    monkeypatch.setattr(vlm, "load", loads)
    dice = random.Random(0)
    rounds = 0
    while True:
        exchange = Exchange(tmp_path / f"q{rounds}.jsonl")
        folders = explain(named_copy, drawings, both(writer), exchange)
        if not exchange.open:
            break
        texts = [one for folder in folders for one in narrative.read(folder)]
        assert {one.writer for one in texts} <= ({RULES} if rounds < 2 else {RULES, "writer"})
        assert not any(one.refused for one in texts)
        lines = answer(exchange.written, models, tmp_path / "some.jsonl")
        assert len(lines) == exchange.open
        dice.shuffle(lines)
        some = len(lines) if rounds else len(lines) // 2
        (tmp_path / "some.jsonl").write_text("".join(lines[:some]))
        for _ in range(2):
            explain(named_copy, drawings, both(writer), Exchange(None, [tmp_path / "some.jsonl"]))
        assert f"{some} answers were known already" in capsys.readouterr().err
        rounds += 1
    assert rounds == 3  # half of what is seen, the other half, and what is chosen of it
    assert_same(folders, here)
    assert evidence.read(folders[0]).context


def test_a_run_goes_on_from_files_and_files_from_a_run(
    named_copy, here, drawings, writer, models, tmp_path
):
    exchange = Exchange(tmp_path / "q.jsonl")
    explain(named_copy, drawings, both(writer), exchange)
    lines = answer(exchange.written, models, tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text("".join(lines[:3]))
    explain(named_copy, drawings[:1], both(writer), Exchange(None, [tmp_path / "a.jsonl"]))
    known = len((named_copy.root / ANSWERS).read_text().splitlines())
    assert known  # and the run asks for the others alone
    assert_same(explain(named_copy, drawings, both(writer)), here)
    asked = len((named_copy.root / ANSWERS).read_text().splitlines()) - known
    assert asked == exchange.open - known + 2 * len(drawings)
    again = Exchange(tmp_path / "q2.jsonl")
    assert_same(explain(named_copy, drawings, both(writer), again), here)
    assert not again.open and not again.written


def test_a_server_without_vision_writes(named_copy, here, drawings, models):
    with serving(models["demo/vlm"]) as seeing, serving(models["writer"]) as writing:
        settings = [f"vlm={seeing}", f"writer={writing}", *FEW]
        folders = explain(named_copy, drawings, settings)
        assert_same(folders, here)
        models["writer"].asked.clear()
        assert_same(explain(named_copy, drawings, settings), here)
    assert not models["writer"].asked


def test_answers_of_no_use_are_one_line_each(
    named_copy, drawings, writer, models, tmp_path, capsys
):
    exchange = Exchange(tmp_path / "q.jsonl")
    settings = both(writer)
    explain(named_copy, drawings[:1], settings, exchange)
    lines = answer(exchange.written, models, tmp_path / "a.jsonl")
    path = tmp_path / "b.jsonl"
    unknown = {"custom_id": "words-x", "response": {"body": {}}}
    capsys.readouterr()
    for content, chosen, line in (
        (lines, (drawings[1:], settings), f"{len(lines)} answers are to no open question of these"),
        (lines, (drawings[:1], ["writer=other"]), f"{len(lines)} answers are to no open question"),
        ([lines[0][:50]], (drawings[:1], settings), "1 lines are no answers"),
        ([json.dumps(unknown)], (drawings[:1], settings), "1 questions were not answered"),
    ):
        path.write_text("".join(content))
        one = Exchange(None, [path])
        [folder] = explain(named_copy, *chosen, one)
        said = capsys.readouterr().err
        assert line in said
        assert sum("answers" in text or "answered" in text for text in said.splitlines()) == 1
        assert one.open
        assert all(text.writer == RULES for text in narrative.read(folder))
    assert not (named_copy.root / ANSWERS).exists()


def test_the_command(named_copy, drawings, tmp_path, capsys):
    started = ["explain", str(named_copy.root), str(drawings[0])]
    path = tmp_path / "q.jsonl"
    for setting, line in (
        ("explain.seed=1", "there are no questions: name one"),
        ("explain.writer=server:http://h/v1", "--set explain.writer='server:URL#MODEL'"),
    ):
        with pytest.raises(SystemExit):
            main([*started, "--questions", str(path), "--set", setting], standalone_mode=False)
        said = capsys.readouterr()
        assert line in said.err
        assert not said.out and not list(tmp_path.glob("q*"))
    arguments = [*started, "--questions", str(path), "--set", "explain.writer=a-model"]
    main(arguments, standalone_mode=False)
    folder, said = capsys.readouterr().out.splitlines()
    assert narrative.read(Path(folder))[0].writer == RULES
    assert said.startswith(f"2 questions are in {path}: have them answered")


def test_other_words_stand_when_the_judge_has_answered(tmp_path):
    """The plan, then other words, then what the judge says of them: three files."""
    made = claims(EVIDENCE)
    number = [c.id for c in made if "everyone" in c.wordings].index("changes:c3") + 1
    expected = compose(made, Writer(Talking(number), Judge(0.0)))

    def said(body: dict[str, Any]) -> dict[str, Any]:
        choice: dict[str, Any] = {"message": {"content": HONEST}}
        if "response_format" in body:
            choice["message"]["content"] = json.dumps({"plan": [[number]]})
        if body.get("logprobs"):
            choice["message"]["content"] = "no"
            choice["logprobs"] = {"content": [{"token": "no", "logprob": -0.1}]}
        return {"choices": [choice]}

    texts = []
    paths: list[Path] = []
    for turn in range(4):
        exchange = Exchange(tmp_path / f"q{turn}.jsonl", paths)
        with by_files(Store(tmp_path), exchange) as model_of:
            model = model_of(Loading("someone"))
            texts.append(compose(made, Writer(model, model)))
        check_open(made, texts[-1])
        paths = [answered(path, said) for path in exchange.written]
    assert not exchange.written
    assert [text.writer for text in texts[0]] == [RULES, RULES]
    for kind in range(1, 4):
        assert [text.writer for text in texts[kind]] == ["someone", "someone"]
        rephrased = any(one.rephrased for text in texts[kind] for one in text.sentences)
        assert rephrased == (kind == 3)
    assert texts[3] == expected


def check_open(made, texts) -> None:
    """What is not answered yet leaves no trace, and true sentences."""
    check(made, [text for text in texts if not any(one.rephrased for one in text.sentences)])
    assert not any("judge" in reason for text in texts for reason in text.refused)


def answered(path: Path, said: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    """Answer a file of questions by a function; return the file of answers."""
    into = path.with_suffix(".out")
    questions = [json.loads(line) for line in path.read_text().splitlines()]
    answers = [
        {"custom_id": one["custom_id"], "response": {"body": said(one["body"])}}
        for one in questions
    ]
    into.write_text("".join(json.dumps(one) + "\n" for one in answers))
    return into


class Talking:
    """A model that chooses one number, and has the same other words for everything."""

    id = "someone"

    def __init__(self, number: int) -> None:
        self.number = number

    def ask(self, requests):
        return [str(self.number) if request.menu else HONEST for request in requests]


class Failing:
    """A model that cannot take any question."""

    id = "failing"

    def ask(self, requests):
        return [vlm.Failed("No: at most 3 images, 1 of 2 tokens") for _ in requests]


def test_why_a_model_fails_is_no_answer():
    made = claims(EVIDENCE)
    for text in compose(made, Writer(Failing())):
        assert text.writer == RULES
        assert text.refused == ("the model failed: No: at most 3 images, 1 of 2 tokens",)
    view = Image.new("RGB", (8, 8))
    found = contextualise(view, EVIDENCE.concepts, torch.zeros(len(EVIDENCE.concepts), 8, 8),
                          Failing())  # fmt: skip
    assert found
    assert all(one is not None and (one.shows, one.text) == (None, "") for one in found)
