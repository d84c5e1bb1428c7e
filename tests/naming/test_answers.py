"""What is made of answers: a corpus of shapes, and what holds for every answer."""

import json
import time

import pytest

from atlas import prompts, vlm
from atlas.errors import UserError
from atlas.naming.answers import parse
from atlas.vlm import CutOff, Loading
from tests.naming.held_back import HELD_BACK
from tests.naming.outcomes import EXAMPLES, GOOD, PROMPT
from tests.naming.shapes import SHAPES

THOUGHT = '<think>Perhaps {"name": "zebra", "confidence": 0.3}.</think>\n'

COMPLETE = {
    "plain": GOOD,
    "indented": json.dumps(json.loads(GOOD), indent=2),
    "fenced": f"```json\n{GOOD}\n```",
    "python": str(json.loads(GOOD)),
    "thought": THOUGHT + GOOD,
    "echo": f"{EXAMPLES[0]}\n{GOOD}",
    "nested": f'{{"answer": {GOOD}}}',
    "without braces": GOOD.strip("{}"),
    "escaped": GOOD.replace('"', '\\"'),
    "XML": "<name>red stripes</name><description>Stripes.</description>",
}


def label(shape) -> str:
    return repr(str(shape[0])[:40]).replace("::", ": :")


@pytest.mark.parametrize("shape", SHAPES, ids=label)
def test_every_shape_of_the_corpus_is_understood(shape):
    raw, right = shape
    assert right.fits(parse(raw)), parse(raw)


@pytest.mark.parametrize("shape", HELD_BACK, ids=label)
def test_shapes_that_the_parser_was_not_made_for_are_understood(shape):
    raw, right = shape
    assert right.fits(parse(raw)), parse(raw)


def test_the_corpus_is_large_and_none_stands_in_it_twice():
    raws = [str(raw) for raw, _ in (*SHAPES, *HELD_BACK)]
    assert len(set(raws)) == len(raws) >= 390
    assert len(HELD_BACK) == 130


@pytest.mark.parametrize("kind", COMPLETE)
def test_an_answer_cut_off_anywhere_is_never_half_a_name(kind):
    whole = COMPLETE[kind]
    assert parse(whole).name == "red stripes"
    for end in range(len(whole)):
        answer = parse(whole[:end])
        assert answer.name in (None, "red stripes"), whole[:end]
        assert answer.status != "no clear concept"


def test_what_repeats_itself_until_it_is_cut_off_has_answered():
    for known in (GOOD, *EXAMPLES):
        for end in range(len(known)):
            assert parse(CutOff(f"{GOOD}\n{known[:end]}")).name == "red stripes"
    assert parse(f'{GOOD}\nNo: {{"name": "zeb').problem == "cut off before its end"


def test_a_cut_object_is_reported_as_cut_off():
    for text in (GOOD, str(json.loads(GOOD))):
        for end in range(1, len(text)):
            assert parse(text[:end]).problem == "cut off before its end", text[:end]


@pytest.mark.parametrize(
    "kind", ["name: {}", "**Name:** {}\n**Description:** Stripes.", "- name = {}"]
)
def test_lines_that_lacked_room_are_no_name(kind):
    text = kind.format("red stripes")
    assert parse(text).name == "red stripes"
    for end in range(1, len(text)):
        assert parse(CutOff(text[:end])).problem == "cut off before its end"


def test_examples_are_those_of_the_question_that_was_asked():
    other = 'Answer like {"name": "red stripes", "description": "Stripes of red on white."}'
    assert parse(GOOD).status == "named"
    assert parse(GOOD, other).problem == "it repeats the question"
    assert parse(EXAMPLES[0], other).name == "dogs running on grass"
    brief = prompts.naming("brief", "dimmed", "separate", 9, 0).text
    assert parse(f"{brief}\n{GOOD}", brief).name == "red stripes"
    assert parse(brief, brief).problem == "no name in it"


@pytest.mark.parametrize(
    "unit",
    ['{"name": "', "{a: b, ", '{"a": [', "{", "<think>", "_ ", "{/*", '"', "\n", "`", '"name": "x'],
)
def test_long_answers_are_read_in_bounded_time(unit):
    start = time.process_time()
    for tail in ("", "}", GOOD):
        parse(unit * (50_000 // len(unit)) + tail)
    assert time.process_time() - start < 8


def test_a_model_tells_which_answers_lacked_room(llava_folder):
    short = vlm.load(Loading(llava_folder, max_tokens=3))
    request = vlm.Request([], PROMPT[:40])
    [answer] = short.ask([request])
    assert isinstance(answer, CutOff)
    ids = short._processor.tokenizer.encode(answer, add_special_tokens=False)
    first = short._model.generation_config
    first.eos_token_id = [first.eos_token_id, *ids]
    assert not isinstance(short.ask([request])[0], CutOff)


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta", ""])
def test_a_device_that_is_not_there_is_reported_in_one_line(device, llava_folder):
    with pytest.raises(UserError, match=r"naming.device = .* try auto or cpu") as reported:
        vlm.load(Loading(llava_folder, device=device))
    assert "\n" not in str(reported.value)
