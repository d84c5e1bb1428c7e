"""`atlas explain --to CLASS`: from the command line to the page."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from atlas import pipeline, site
from atlas.cli import main
from atlas.errors import UserError
from atlas.explain.claims.making import claims as made_of
from atlas.recipe import recorded
from atlas.store import Store, claims, evidence, narrative, open_store
from atlas.store.counterfactual import ConceptChanges, ConceptStep, Counterfactual
from tests.explain.test_claims import sentences, written
from tests.explain.test_pages import folders, numbers_without_evidence, read


@pytest.fixture(scope="module")
def asked(named, pictures, tmp_path_factory) -> Path:
    """An atlas whose pictures are taken for two classes, by its table at least, with its pages.

    One explanation asks for a class that has pictures, one for a class that has none.
    """
    root = tmp_path_factory.mktemp("asked") / "tiny"
    shutil.copytree(named, root)
    shutil.rmtree(root / "explanations", ignore_errors=True)
    store = Store(root)
    count = store.rows("images")
    store.extend_table("images", {"predicted": [0 if row % 5 == 1 else 2 for row in range(count)]})
    paths = sorted(pictures.rglob("*.png"))[:1]
    for label in ("disc", " SQUARE "):
        outcome = pipeline.explain(store, recorded(store.manifest()), paths, None, to=label)
        assert not outcome.failed
    site.render(store)
    return root


def found(root: Path) -> dict[str, evidence.Evidence]:
    """Return the explanations by the class that is asked for."""
    every = [evidence.read(folder) for folder in folders(root)]
    return {one.counterfactual.name: one for one in every if one.counterfactual}


def test_what_it_would_take_is_in_the_evidence(asked):
    disc = found(asked)["disc"].counterfactual
    assert (disc.label, disc.pictures) == (0, 4)
    stored = open_store(asked).table("images").to_pylist()
    assert stored[disc.source.image]["predicted"] == 0
    assert stored[disc.source.image]["key"] == disc.source.key
    for changes in disc.changes:
        assert 0 < changes.count == len(changes.steps) <= changes.among
        assert len({step.address for step in changes.steps}) == changes.count
    contrast = found(asked)["disc"].contrast
    assert contrast.name == "disc"  # and not the second answer


def test_without_a_picture_to_copy_the_rest_is_said(asked):
    square = found(asked)["square"]
    assert square.counterfactual.become is None
    assert square.counterfactual.leave.steps
    for text in narrative.read(asked / "explanations" / square.id):
        assert "unstored" in [id_ for one in text.sentences for id_ in one.claims]


def test_both_texts_say_it_and_keep_to_their_lengths(asked):
    disc = found(asked)["disc"]
    for text in narrative.read(asked / "explanations" / disc.id):
        said = {id_ for one in text.sentences for id_ in one.claims}
        assert said & {"becomes", "misses"}
        count = sum(len(one.text.split()) for one in text.sentences)
        assert count <= {"everyone": 110, "expert": 250}[text.audience]


def test_the_page_draws_it_and_every_number_is_in_the_evidence(asked):
    for name, one in found(asked).items():
        page = asked / f"pages/explanations/{one.id}.md"
        assert not numbers_without_evidence(page, asked / "explanations" / one.id)
        html = page.read_text("utf-8")
        assert "What it would take for another answer" in html
        tags = read(page).tags
        steps = [*one.counterfactual.steps]
        bars = [values for _, values in tags if values.get("class") == "change"]
        assert len(bars) == len(one.concepts) + len(steps)
        for step in steps:
            assert f">{step.layer}<wbr>:{step.channel}<" in html
        assert ("copied from picture" in html) == (name == "disc")
        rows, _ = open_store(asked).manifest()["maps"][one.counterfactual.layer]
        down = one.counterfactual.source.down if name == "disc" else 0
        assert (f"its maps moved {abs(down)} of {rows} rows" in html) == bool(down)
        assert len(copied_from(tags)) == (name == "disc")


def copied_from(tags) -> list[str]:
    """Return the pictures on a page from which maps were copied."""
    images = [values for tag, values in tags if tag == "img"]
    return [one["src"] for one in images if ", which the network takes for" in one["alt"]]


def test_the_list_tells_two_explanations_of_one_picture_apart(asked):
    page = (asked / "pages/explanations/index.md").read_text("utf-8")
    assert "stripe, not disc" in page
    assert "stripe, not square" in page


def test_pictures_that_are_not_published_are_not_shown(asked, tmp_path):
    root = tmp_path / "tiny"
    shutil.copytree(asked, root)
    store = open_store(root)
    manifest = store.manifest()
    manifest["recipe"]["site"]["images"] = "none"
    store.write_manifest(manifest)
    site.render(store)
    disc = found(root)["disc"]
    page = root / f"pages/explanations/{disc.id}.md"
    assert f"copied from picture {disc.counterfactual.source.image}" in page.read_text("utf-8")
    assert not copied_from(read(page).tags)


def test_another_class_has_an_explanation_of_its_own(asked, pictures):
    """And the same one comes twice as the same bytes."""
    folder = next(f for f in folders(asked) if evidence.read(f).id == found(asked)["disc"].id)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len({one.id for one in found(asked).values()}) == 2
    store, paths = open_store(asked), sorted(pictures.rglob("*.png"))[:1]
    again = pipeline.explain(store, recorded(store.manifest()), paths, None, to=":0").done[0]
    assert again == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(("arguments", "says"), [
    (("--to", "disk"), "no class 'disk'"),
    (("--to", "disc", "--word", "x"), "leave --to out"),
])  # fmt: skip
def test_what_cannot_be_asked_is_one_line(named, pictures, capsys, arguments, says):
    path = min(pictures.rglob("*.png"))
    with pytest.raises(SystemExit) as left:
        main(["explain", str(named), str(path), "--trust-code", *arguments], standalone_mode=False)
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_the_answer_itself_is_no_other_class(named, pictures, capsys):
    path = min(pictures.rglob("*.png"))
    with pytest.raises(SystemExit) as left:
        main(["explain", str(named), str(path), "--trust-code", "--to", "2"], standalone_mode=False)
    assert left.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "is not explained" in line]
    assert len(lines) == 1
    assert "the network takes it for 'stripe': ask for another class" in lines[0]


@pytest.mark.parametrize(
    "what",
    ["steps", "answer", "layer", "address", "concept", "other concept", "source", "id", "twice",
     "pictures", "among", "more than all"],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(asked, tmp_path, what):
    disc = found(asked)["disc"]
    shutil.copytree(asked / "explanations" / disc.id, tmp_path / "one")
    path = tmp_path / "one" / evidence.FILE
    values = json.loads(path.read_text())
    other = values["counterfactual"]
    step = other["leave"]["steps"][0]
    if what == "steps":
        other["leave"]["count"] += 1
    elif what == "answer":
        other["leave"]["reached"] = not other["leave"]["reached"]
    elif what == "layer":
        other["layer"] = "elsewhere"
    elif what == "address":
        step["address"] = "elsewhere:3"
    elif what == "concept":
        step["concept"] = "c999"
    elif what == "other concept":
        ids = [one["id"] for one in values["concepts"] if one["address"] != step["address"]]
        step["concept"] = ids[0]
    elif what == "among":
        other["leave"]["among"] = 999
    elif what == "more than all":
        step["probability"] = step["own"] = 0.6
    elif what == "source":
        other["source"] = None
    elif what == "twice":
        other["leave"]["steps"].append(step)
        other["leave"]["count"] += 1
    elif what == "pictures":
        other["pictures"] = 0
    else:
        other["become"]["id"] = "leave"
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match="does not fit together"):
        evidence.read(tmp_path / "one")


def test_a_probability_is_at_most_one(asked, tmp_path):
    disc = found(asked)["disc"]
    shutil.copytree(asked / "explanations" / disc.id, tmp_path / "one")
    path = tmp_path / "one" / evidence.FILE
    values = json.loads(path.read_text())
    values["counterfactual"]["leave"]["steps"][0]["probability"] = 1.7
    path.write_text(json.dumps(values))
    with pytest.raises(UserError):
        evidence.read(tmp_path / "one")


def test_a_picture_that_is_not_there_is_refused(asked, tmp_path):
    root = tmp_path / "tiny"
    shutil.copytree(asked, root)
    path = root / "explanations" / found(root)["disc"].id / evidence.FILE
    values = json.loads(path.read_text())
    values["counterfactual"]["source"]["image"] = 10_000
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match="picture 10000, which is not in the atlas"):
        site.render(open_store(root))


def test_one_concept_that_decides_is_not_said_twice(example):
    """That the answer is another one without it has a claim of its own."""
    known = example.concepts[2]  # without it the answer is another one
    step = ConceptStep(
        known.address, known.layer, known.channel, known.name, known.id, 0.4, 0.412, 1, "tiger", 1
    )
    leave = ConceptChanges("leave", (step,), 1, True, True, 9, 9)
    other = Counterfactual("counterfactual", known.layer, 1, "tiger", 0.0412, leave, None, None, 0)
    asked_for = replace(example, counterfactual=other)
    made = {one.kind: one for one in made_of(written(asked_for))}
    assert made["leaves"].obligatory == ()
    assert made["changes"].wordings
    beside = replace(step, address=f"{known.layer}:9", channel=9, name=None, concept=None)
    leave = replace(leave, steps=(step, beside), count=2, fewest=False)
    two = replace(example, counterfactual=replace(other, leave=leave))
    assert {one.kind: one for one in made_of(written(two))}["leaves"].obligatory == claims.AUDIENCES
    said = sentences(written(two))["leaves"]
    assert said == (
        "Without “pointed ears” and features.28:9, the network would no longer say “tabby cat”, "
        "but “tiger”."
    )
