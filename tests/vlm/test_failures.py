"""Servers and files that fail: one clear line each, and nothing is lost."""

import json
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from atlas import pipeline, vlm
from atlas.errors import UserError
from atlas.recipe import recorded
from atlas.store import names
from atlas.vlm import chat, files, server
from atlas.vlm.kept import Answers, Kept
from tests.vlm.comparing import assert_same, finish


@contextmanager
def failing(answer, models=("m",)):
    """Serve what `answer(body)` returns: a status and a content; counts are of statuses."""
    counts = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.reply(200, {"data": [{"id": name} for name in models]})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            counts["key " + self.headers.get("Authorization", "")] += 1
            status, content = answer(body)
            counts[status] += 1
            self.reply(status, content)

        def reply(self, status, content):
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Retry-After", "0.01")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    try:
        yield f"server:http://127.0.0.1:{http.server_port}/v1", counts
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def completion(text, **choice):
    message = {"role": "assistant", "content": text}
    return {"choices": [{"message": message, "finish_reason": "stop", **choice}]}


def connect(name, **options):
    loading = vlm.Loading(name, batch_size=options.pop("batch_size", 4), max_tokens=5)
    return server.connect(loading, **{"tries_again": 2, "patience": 20, **options})


def ask(count, text="What?"):
    return [vlm.Request([Image.new("RGB", (4, 4), (n, 0, 0))], f"{text} {n}") for n in range(count)]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_what_passes_is_asked_again(status):
    seen = Counter()

    def answer(body):
        text = body["messages"][0]["content"][-1]["text"]
        seen[text] += 1
        return (status, {"error": "busy"}) if seen[text] < 3 else (200, completion(text))

    with failing(answer) as (name, counts):
        assert connect(name).ask(ask(3)) == ["What? 0", "What? 1", "What? 2"]
    assert counts[status] == 6


LASTING = {
    "429": ((429, {"error": "slow down"}), "answers 429"),
    "500": ((500, {"error": "broken"}), "answers 500"),
    "401": ((401, {"error": "who?"}), "ATLAS_VLM_KEY"),
    "404": ((404, {"error": "what?"}), "has no model 'm'"),
    "no json": ((200, b"<html>hello</html>"), "no chat completion"),
    "half json": ((200, b'{"choices": [{"mess'), "no chat completion"),
    "another form": ((200, {"answer": "red"}), "no chat completion"),
}


@pytest.mark.parametrize("kind", LASTING)
def test_what_stays_is_one_line_and_loses_no_answer(kind, tmp_path):
    wrong, line = LASTING[kind]
    ill = [False]

    def answer(body):
        text = body["messages"][0]["content"][-1]["text"]
        return wrong if ill[0] and text.endswith("4") else (200, completion(text))

    with failing(answer) as (name, counts):
        path = tmp_path / "answers.jsonl"
        model = Kept(connect(name, batch_size=1), Answers(path))
        ill[0] = True
        with pytest.raises(UserError, match=line) as raised:
            model.ask(ask(6))
        assert "\n" not in str(raised.value)
        assert "run the same command again" in str(raised.value)
        kept = len(Answers(path))
        assert kept >= 4  # those before it, and what was in flight
        ill[0] = False
        counts.clear()
        again = Kept(connect(name), Answers(path))
        assert again.ask(ask(6)) == [f"What? {n}" for n in range(6)]
    assert counts[200] == 6 - kept


def test_a_server_that_does_not_answer_is_not_waited_for():
    def answer(body):
        time.sleep(2)
        return 200, completion("late")

    with failing(answer) as (name, _), pytest.raises(UserError, match=r"within 0\.2 seconds"):
        connect(name, patience=0.2, tries_again=1).ask(ask(1))


def test_nobody_there_is_one_line():
    with failing(lambda body: (200, completion("x"))) as (name, _):
        model = connect(name, tries_again=0)
    with pytest.raises(UserError, match="no server answers at http"):
        connect(name)
    with pytest.raises(UserError, match="cannot be reached"):
        model.ask(ask(2))


@pytest.mark.parametrize(
    "name", ["server:", "server:ftp://h/v1", "server:h:80", "server:http://:8/", "server:http://[/"]
)
def test_what_is_no_address_is_refused(name):
    with pytest.raises(UserError, match="no address of a server"):
        vlm.load(vlm.Loading(name))


def test_a_password_stays_out_of_recipes():
    with pytest.raises(UserError, match="ATLAS_VLM_KEY"):
        vlm.load(vlm.Loading("server:http://me:secret@h/v1"))


def test_the_key_is_of_this_tool_alone(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "of-another-service")
    monkeypatch.setenv("OPENAI_ORG_ID", "of-another-service")
    with failing(lambda body: (200, completion("x"))) as (name, counts):
        connect(name).ask(ask(1))
        monkeypatch.setenv("ATLAS_VLM_KEY", "mine")
        connect(name).ask(ask(1))
    assert counts["key Bearer none"] == counts["key Bearer mine"] == 1
    assert not any("another" in key for key in map(str, counts))


def test_several_models_need_a_choice():
    def answer(body):
        return 200, completion(body["model"])

    with failing(answer, models=("a", "b")) as (name, _):
        with pytest.raises(UserError, match=r"a, b.*#MODEL"):
            connect(name)
        model = connect(f"{name}#b")
        assert (model.id, model.ask(ask(1))) == ("b", ["b"])


def test_a_question_that_is_refused_is_not_asked_for_ever(atlas_copy):
    """It is recorded as one that the model cannot take; the others get their names."""
    first = []

    def answer(body):
        text = [part["image_url"]["url"] for part in body["messages"][0]["content"][:-1]]
        first.append(text)
        if text == first[0]:
            return 400, {"error": "too many pictures"}
        return 200, completion('{"name": "red", "description": "Red.", "confidence": 1}')

    with failing(answer) as (name, _):
        recipe = recorded(atlas_copy.manifest(), [f"naming.vlm={name}"])
        pipeline.name(atlas_copy, recipe)
    records = names.read(atlas_copy)
    failed = [record for record in records if record.status == "unnamed"]
    assert len(failed) == 1 and "too many pictures" in failed[0].details["problem"]
    assert sum(record.name == "red" for record in records) == len(records) - 1 > 20


def test_a_server_that_refuses_everything_names_nothing(atlas_copy):
    with failing(lambda body: (400, {"error": "no pictures here"})) as (name, _):
        recipe = recorded(atlas_copy.manifest(), [f"naming.vlm={name}"])
        with pytest.raises(UserError, match=r"refuses every question .*no pictures here"):
            pipeline.name(atlas_copy, recipe)
    assert not names.read(atlas_copy)


def test_a_server_that_goes_away_loses_no_answer(atlas_copy, in_process, model):
    left = [37]

    def answer(body):
        left[0] -= 1
        return (200, model.complete(body)) if left[0] > 0 else (503, {"error": "gone"})

    with failing(answer, models=("demo/vlm",)) as (name, _):
        rounds = 0
        while True:
            rounds += 1
            try:
                finish(atlas_copy, f"naming.vlm={name}", "naming.batch_size=1")
                break
            except UserError as error:
                assert "answers 503" in str(error)
                left[0] = 120
            assert rounds < 9
    assert rounds > 2
    assert_same(atlas_copy, in_process)


def chance(*told):
    listed = [{"token": token, "logprob": value} for token, value in told]
    return {"content": [{**listed[0], "top_logprobs": listed}]}


def test_yes_is_weighed_by_the_first_word(monkeypatch):
    monkeypatch.setattr(server, "TRIES_AGAIN", 0)

    def answer(body):
        text = body["messages"][0]["content"][-1]["text"]
        told = {
            "Say yes.": [("yes", 0.0)],
            "half": [(" Yes", -1.0), ("no", -1.0), ("the", -0.1)],
            "three": [("▁yes", -1.0), ("Y", -1.0), (" yes", -1.0), ("No", -1.0)],
            "neither": [("The", -0.1), ("yesterday", -1.0)],
            "only no": [("no", -0.01)],
        }[text]
        return 200, completion(told[0][0], logprobs=chance(*told))

    with failing(answer) as (name, _):
        questions = [vlm.Request((), text) for text in ("half", "three", "neither", "only no")]
        assert connect(name).yes(questions) == pytest.approx([0.5, 0.75, 0.5, 0])


def test_without_probabilities_yes_is_counted(caplog):
    def answer(body):
        assert "logprobs" not in body or body["messages"][0]["content"][0]["text"] == "Say yes."
        return 200, completion({0: "Yes.", 1: "yes, it", 2: "No", 3: "well"}.get(
            body.get("seed", 9), "no."))  # fmt: skip

    with failing(answer) as (name, _):
        [share] = connect(name).yes([vlm.Request((), "Is it?")])
    assert isinstance(share, vlm.SampledChance)
    assert share == pytest.approx(2 / 7)  # of seven that say either
    assert "does not give how probable" in caplog.text


def test_a_question_is_known_by_what_it_shows():
    request = vlm.Request([Image.new("RGB", (4, 4))], "What?")
    decoding = {"greedy": True, "max_tokens": 5}
    known = chat.identity(request, "words", "m", None, decoding)
    same = vlm.Request([Image.new("RGBA", (4, 4), (0, 0, 0, 255))], "What?")
    assert chat.identity(same, "words", "m", None, dict(reversed(decoding.items()))) == known
    changed = [
        (vlm.Request([Image.new("RGB", (2, 8))], "What?"), "words", "m", None, decoding),
        (vlm.Request([], "What?"), "words", "m", None, decoding),
        (vlm.Request(request.images, "What"), "words", "m", None, decoding),
        (request, "yes", "m", None, decoding),
        (request, "words", "n", None, decoding),
        (request, "words", "m", "abc", decoding),
        (request, "words", "m", None, {**decoding, "max_tokens": 6}),
    ]
    names_ = {chat.identity(*one) for one in changed}
    assert len(names_ | {known}) == len(changed) + 1


FILES = {
    "nonsense": (b"\x00\xff\n[1]\n{}\n", "3 lines are no answers"),
    "error": ({"custom_id": "a", "response": None, "error": {"message": "out of money"}},
              "1 questions were not answered (a: out of money)"),
    "status": ({"custom_id": "a", "response": {"status_code": 500, "body": {}}}, "status 500"),
    "empty body": ({"custom_id": "a", "response": {"status_code": 200, "body": {}}}, "no choices"),
    "null": ({"custom_id": "a", "response": {"status_code": 200, "body": None}}, "no choices"),
    "number": ({"custom_id": 7, "response": {}}, "custom_id is no text"),
    "deep": (b'{"custom_id": ' + b"[" * 100_000 + b"\n", "no answers"),
    "unknown": ({"custom_id": "words-x", "response": {"body": completion("red")}},
                "1 answers are to no open question"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_lines_of_no_use_are_told_and_skipped(kind, tmp_path, capsys, atlas_copy):
    content, line = FILES[kind]
    path = tmp_path / "a.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    exchange = files.Exchange(None, [path])
    pipeline.name(atlas_copy, recorded(atlas_copy.manifest()), exchange=exchange)
    assert line in capsys.readouterr().err
    assert exchange.open == 25
    assert not names.read(atlas_copy)


def test_files_that_hold_no_answers_are_refused(tmp_path):
    path = tmp_path / "q.jsonl"
    for content, line in (
        (json.dumps({"custom_id": "a", "method": "POST", "body": {}}), "questions and no answers"),
        ("\n", "is empty"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=line):
            files.read(path)


def test_kept_answers_of_a_foreign_atlas_are_read_as_what_they_are(tmp_path):
    path = tmp_path / "answers.jsonl"
    lines = [
        {"id": "yes-1", "yes": 0.5, "sampled": True},
        {"id": "yes-2", "yes": 7},
        {"id": "yes-3", "yes": True},
        {"id": ["x"], "text": "x"},
        {"id": "words-1", "text": "red", "cut_off": True},
        {"id": "words-2", "text": 3},
        {"text": "no id"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    known = Answers(path)
    assert isinstance(known.get("yes-1"), vlm.SampledChance)
    assert isinstance(known.get("words-1"), vlm.CutOff)
    assert not any(name in known for name in ("yes-2", "yes-3", "words-2"))
