"""Answers that can only choose from a numbered menu."""

import random
import re

import pytest
import torch
from jsonschema import validate

from atlas import vlm
from atlas.explain.narrative import plans
from atlas.vlm import menu
from tests.naming.conftest import words
from tests.vlm.test_failures import completion, connect, failing

MOST = 12


def answers(count: int) -> list[str]:
    """Draw answers to a menu of 12."""
    picks = random.Random(0)
    found = []
    for _ in range(count):
        numbers = picks.sample(range(1, MOST + 1), picks.randint(1, MOST))
        text = str(numbers[0])
        for number in numbers[1:]:
            text += picks.choice([", ", ",", "+", " "]) + str(number)
        found.append(text)
    return found


def test_every_answer_can_be_given_and_is_read_as_it_was_meant():
    for answer in answers(200):
        assert all(menu.goes_on(answer[:end], MOST) for end in range(len(answer) + 1))
        assert menu.complete(answer, MOST)
        plan, strange = plans.read(answer, MOST)
        assert sorted(n for group in plan for n in group) == sorted(
            int(number) for number in re.findall(r"\d+", answer)
        )
        assert not strange


@pytest.mark.parametrize("text", ["0", "13", "01", "3, 3,", "1+1 ", "2 13", "a", "1.", "1, 200"])
def test_what_is_not_in_the_menu_cannot_be_said(text):
    assert not menu.goes_on(text, MOST)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_a_network_prefers_its_answer_is_a_plan(seed):
    tokenizer = words("<image>")
    menus = menu.Menus(tokenizer)
    assert menus.usable
    torch.manual_seed(seed)
    prompt = [5, 6, 7]
    tokens, allowed = [*prompt], menus.allowed(MOST, len(prompt))
    while tokens[-1] != tokenizer.eos_token_id:
        logits = torch.randn(len(tokenizer))
        tokens.append(max(allowed(0, torch.tensor(tokens)), key=lambda one: float(logits[one])))
    said = tokenizer.decode(tokens[len(prompt) : -1])
    assert menu.complete(said, MOST)


def test_a_tokenizer_without_digits_is_not_held_to_them():
    class Letters:
        eos_token_id = 0

        def __len__(self):
            return 3

        def convert_ids_to_tokens(self, ids):
            return ["<s>", "a", None]

    assert not menu.Menus(Letters()).usable


def test_a_server_gets_a_schema_and_is_asked_without_where_it_refuses():
    asked = []

    def answer(body):
        asked.append(body)
        if "response_format" in body:
            return 400, {"error": {"message": "no such field"}}
        return 200, completion("3, 1")

    with failing(answer) as (name, _):
        assert connect(name).ask([vlm.Request((), "Which?", menu=4)]) == ["3, 1"]
    schema = asked[0]["response_format"]["json_schema"]["schema"]
    validate({"plan": [[3], [1, 4]]}, schema)
    assert plans.read('{"plan": [[3], [1, 4]]}', 4) == (((3,), (1, 4)), 0)
    assert len(asked) == 2
