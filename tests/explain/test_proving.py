"""Texts of explanations that do not follow from their numbers are found."""

import json
import shutil

import pytest

from atlas.errors import UserError
from atlas.explain.proving import check_texts, prover
from atlas.pipeline.building import forget_unproved
from atlas.store import evidence, open_store
from tests.explain.test_pages import folders


@pytest.fixture
def copy(built_pages, tmp_path):
    return shutil.copytree(built_pages, tmp_path / "tiny")


def edit(root, file, change):
    """Change the JSON file of the first explanation."""
    path = folders(root)[0] / file
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def sentences(value):
    return value["narratives"][0]["sentences"]


def falsified(value):
    sentences(value)[0]["text"] = "It is a cat."


def other_number(value):
    one = next(one for one in sentences(value) if "%" in one["text"])
    one["text"] = one["text"].replace("%", "% points")


def unsaid(value):
    del sentences(value)[0]


def without_claims(value):
    sentences(value)[0]["claims"] = []


def other_claim(value):
    first, second, *_ = sentences(value)
    first["claims"] = second["claims"]


def several_kinds(value):
    first, second, *_ = sentences(value)
    first["text"] = f"{first['text'][:-1]}; ."
    first["claims"] += second["claims"]
    first["evidence"] = list(dict.fromkeys(first["evidence"] + second["evidence"]))
    del sentences(value)[1]


def other_row(value):
    value["table"][0]["share"] += 0.01


def other_slot(value):
    wording = next(iter(value["claims"][0]["wordings"].values()))
    wording["text"] = f"Surely, {wording['text']}"


def no_claim(value):
    del value["claims"][-1]


def other_probability(value):
    value["prediction"][0]["probability"] /= 2


def no_channel(value):
    first = value["concepts"][0]
    first["channel"], first["address"] = 9999, f"{first['layer']}:9999"


EDITS = [
    *[("narrative.json", one) for one in
      (falsified, other_number, unsaid, without_claims, other_claim, several_kinds, other_row)],
    ("claims.json", other_slot), ("claims.json", no_claim),
    ("evidence.json", other_probability), ("evidence.json", no_channel),
]  # fmt: skip


def test_what_was_written_follows(copy):
    assert [one.passed for one in check_texts(open_store(copy))] == [True]


@pytest.mark.parametrize(("file", "change"), EDITS, ids=lambda one: getattr(one, "__name__", ""))
def test_an_edited_explanation_is_found(copy, file, change):
    edit(copy, file, change)
    store = open_store(copy)
    (one,) = check_texts(store)
    assert not one.passed
    assert folders(copy)[0].name in one.text
    folder = folders(copy)[0]
    with pytest.raises(UserError, match="explain the picture again, or delete it"):
        prover(store)(evidence.read(folder), folder)


def test_verify_says_it_and_no_site_is_made(copy, run):
    edit(copy, "narrative.json", falsified)
    verified, made = run("verify", copy), run("site", copy)
    assert (verified.returncode, made.returncode) == (1, 2)
    assert "is not what its claims say" in verified.stdout
    assert "is not what its claims say" in made.stderr


def test_a_build_explains_again_what_does_not_follow(copy):
    store = open_store(copy)
    manifest = store.manifest()
    done = {**manifest["stages"], "explanations": "done"}
    store.write_manifest({**manifest, "stages": done})
    forget_unproved(store)
    assert store.manifest()["stages"] == done
    edit(copy, "evidence.json", lambda value: value.update(version=1))
    forget_unproved(store)
    assert store.manifest()["stages"] == manifest["stages"]
