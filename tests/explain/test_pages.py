"""The pages of explanations: every number is in the evidence, and they work without a mouse."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from atlas import pipeline, site
from atlas.errors import UserError
from atlas.recipe import load, recorded
from atlas.store import Store, narrative, open_store
from tests.explain.truth import value

REAL = Path(__file__).parents[3] / "shared/real"
EXPLAINED = 10

VOID = {"img", "input", "link", "meta", "br", "hr", "wbr"}


class Text(HTMLParser):
    """What a page says: its text, and the texts for those who do not see it."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self._open: list[str] = []
        self._inside = 0
        self._skipped = 0

    def handle_starttag(self, tag, attributes):
        values = {key: value or "" for key, value in attributes}
        if self._inside or "atlas explanation" in values.get("class", ""):
            self.tags.append((tag, values))
            self.parts += [values[key] for key in ("alt", "aria-label") if key in values]
            if tag not in VOID:
                self._inside += 1
                self._skipped += bool(self._skipped or tag in ("pre", "code", "nav", "script"))

    def handle_endtag(self, tag):
        if self._inside and tag not in VOID:
            self._inside -= 1
            self._skipped -= bool(self._skipped)

    def handle_data(self, data):
        if self._inside and not self._skipped:
            self.parts.append(data)


def read(path: Path) -> Text:
    text = Text()
    text.feed(path.read_text("utf-8"))
    return text


def leaves(value):
    """All numbers and all texts of a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, (int, float, str)) and not isinstance(value, bool):
        yield value


def numbers_without_evidence(page: Path, folder: Path) -> list[str]:
    """The numbers of a page that are no number of evidence.json to the digits written."""
    found = json.loads((folder / "evidence.json").read_text())
    claims = json.loads((folder / "claims.json").read_text())["claims"]
    values = [value for value in leaves(found) if not isinstance(value, str)]
    for claim in claims:  # what is reckoned: one minus some shares, how many concepts
        for slot in (s for wording in claim["wordings"].values() for s in wording["slots"]):
            if " − " in slot["source"] or slot["source"] == "concepts all":
                values.append(value(slot["source"], found))
    values += [len(curve["courses"][0]["logit"]) - 1 for curve in found["curves"]]  # steps
    if found.get("counterfactual"):  # how many rows and columns its maps have
        maps = json.loads((folder.parents[1] / "manifest.json").read_text())["maps"]
        values += maps[found["counterfactual"]["layer"]]
    texts = {value for value in leaves(found) if isinstance(value, str) and re.search(r"\d", value)}
    values += [float(text) for text in texts if text.isdecimal()]  # layers that are called so
    body = re.sub(r"\s+", " ", " ".join(read(page).parts))
    for text in sorted((t for t in texts if not t.isdecimal()), key=len, reverse=True):
        body = re.sub(rf"(?<![\w.]){re.escape(text)}(?![\w]|\.\d)", " ", body)
    wrong = []
    for match in re.finditer(r"[−-]?(\d[\d,]*(?:\.\d+)?)(e[−-]\d+)?\s*(%?)", body):
        digits = match[1].replace(",", "")
        number = float(digits + (match[2] or "").replace("−", "-"))
        places = len(digits.partition(".")[2])
        scale = 10.0 ** float((match[2] or "e0")[1:].replace("−", "-"))
        room = 0.5 * scale * 10.0**-places * (1 + 1e-4) + 1e-12
        wanted = [abs(value) * (100 if match[3] else 1) for value in values]
        bounds = match[3] and number in (99.9, 0.1)  # "more than", "less than"
        if not bounds and not any(abs(value - number) <= room for value in wanted):
            wrong.append(body[max(0, match.start() - 30) : match.end() + 10])
    return wrong


def folders(root: Path) -> list[Path]:
    return sorted((root / "explanations").iterdir())


def test_every_number_is_in_the_evidence(built_pages):
    for folder in folders(built_pages):
        page = built_pages / f"site/explanations/{folder.name}.html"
        assert len(re.findall(r"\d", " ".join(read(page).parts))) > 200
        assert not numbers_without_evidence(page, folder)


def test_a_number_that_is_not_there_would_be_found(built_pages, tmp_path):
    folder = folders(built_pages)[0]
    text = (built_pages / f"site/explanations/{folder.name}.html").read_text()
    wrong = tmp_path / "page.html"
    wrong.write_text(text.replace("<h2>The evidence</h2>", "<h2>It is 83.47 %</h2>"))
    assert len(numbers_without_evidence(wrong, folder)) == 1


def test_pictures_have_texts_and_every_link_leads_somewhere(built_pages):
    for folder in folders(built_pages):
        page = built_pages / f"site/explanations/{folder.name}.html"
        tags = read(page).tags
        images = [values for tag, values in tags if tag == "img"]
        assert len({values["alt"] for values in images}) > 0.7 * len(images)
        assert all(values["alt"] for values in images)
        for tag, values in tags:
            for target in (values.get("src"), values.get("href")):
                if target and not target.startswith("#") and tag != "use":
                    path = (page.parent / target.partition("#")[0].partition("?")[0]).resolve()
                    assert path.is_file(), target
        ids = [values["id"] for _, values in tags if "id" in values]
        assert len(ids) == len(set(ids))
        for _, values in tags:
            if "for" in values:
                assert values["for"] in ids


def test_evidence_is_published_as_it_is(built_pages):
    for folder in folders(built_pages):
        for name in ("evidence.json", "claims.json", "narrative.json"):
            published = built_pages / "site/explanations" / folder.name / name
            assert published.read_bytes() == (folder / name).read_bytes()
    index = (built_pages / "site/explanations/index.html").read_text()
    assert all(f"{folder.name}.html" in index for folder in folders(built_pages))


def test_every_sentence_shows_what_it_rests_on(built_pages):
    for folder in folders(built_pages):
        page = built_pages / f"site/explanations/{folder.name}.html"
        tags = read(page).tags
        ids = {values["id"] for _, values in tags if "id" in values}
        found = [values for _, values in tags if values.get("class") == "sentence"]
        narratives = json.loads((folder / "narrative.json").read_text())["narratives"]
        assert len(found) == sum(len(one["sentences"]) for one in narratives) > 6
        for sentence in found:
            assert sentence["tabindex"] == "0"
            assert sentence["aria-describedby"] in ids
            assert sentence["data-evidence"]
        text = page.read_text()
        assert "<code>prediction.1 probability</code>" in text


def test_each_card_has_its_own_heat_map_and_says_what_changes(built_pages):
    folder = folders(built_pages)[0]
    tags = read(built_pages / f"site/explanations/{folder.name}.html").tags
    found = json.loads((folder / "evidence.json").read_text())
    maps = [values["src"] for tag, values in tags
            if tag == "img" and values.get("class") == "overlay"]  # fmt: skip
    assert [Path(one).name for one in maps][1:] == [
        one["map"] for layer in reversed(found["layers"]) for one in found["concepts"]
        if one["layer"] == layer["layer"]
    ]  # fmt: skip
    assert len([1 for _, values in tags if values.get("class") == "change"]) == len(maps) - 1


def test_an_explanation_of_another_version_is_refused(built_pages, tmp_path):
    root = tmp_path / "tiny"
    shutil.copytree(built_pages, root)
    path = folders(root)[0] / "evidence.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 1}))
    with pytest.raises(UserError, match="explain the picture again"):
        site.render(open_store(root))


@pytest.mark.parametrize("what", ["gone", "damaged", "of another"])
def test_claims_that_do_not_belong_to_the_text_are_refused(built_pages, tmp_path, what):
    root = tmp_path / "tiny"
    shutil.copytree(built_pages, root)
    path = folders(root)[0] / "claims.json"
    if what == "gone":
        path.unlink()
    elif what == "damaged":
        path.write_text("{")
    else:
        path.write_text(json.dumps({"version": 1, "claims": []}))
    with pytest.raises(UserError, match="explain the picture again") as refused:
        site.render(open_store(root))
    assert "\n" not in str(refused.value)


def test_an_atlas_without_explanations_has_no_such_pages(built):
    assert not (built / "site/explanations").exists()


def test_explanations_by_another_atlas_are_passed_over(built_pages, tmp_path):
    root = tmp_path / "tiny"
    shutil.copytree(built_pages, root)
    folder = folders(root)[0]
    found = json.loads((folder / "evidence.json").read_text())
    (folder / "evidence.json").write_text(json.dumps({**found, "atlas": "other-atlas-00000000"}))
    site.render(open_store(root))
    assert not (root / f"pages/explanations/{folder.name}.md").exists()
    assert (root / f"pages/explanations/{folders(root)[1].name}.md").exists()


def test_names_that_are_html_stay_text(named, pictures, tmp_path):
    root = tmp_path / "tiny"
    shutil.copytree(named, root)
    store = Store(root)
    rows = store.table("channels").num_rows
    evil = "<img src=x onerror=alert(1)> “](javascript:1)” {{ 7*7 }}"
    store.extend_table("channels", {"name": [evil] * rows, "description": ["<script>"] * rows})
    shutil.rmtree(root / "explanations", ignore_errors=True)
    source = tmp_path / "<b>&.png"
    shutil.copy(sorted(pictures.rglob("*.png"))[0], source)
    outcome = pipeline.explain(store, recorded(store.manifest()), [source], None)
    site.render(store)
    page = (root / f"pages/explanations/{outcome.done[0].name}.md").read_text()
    assert "onerror" in page
    assert "<img src=x" not in page
    assert "<script>" not in page
    assert "<b>&" not in page.partition("---\n")[2]
    assert "{{" not in page


@pytest.mark.skipif(not REAL.is_dir(), reason=f"needs {REAL}")
def test_ten_photographs(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted((REAL / "photos").iterdir())[: 3 * EXPLAINED]:
        shutil.copy(path, photos)
    recipe = load("photos", [
        f"data.source=folder:{photos}",
        f"model.weights={REAL / 'squeezenet1_1-imagenet.safetensors'}",
        "model.layers=['features.9.squeeze','features.12.squeeze']",
        f"model.classes={REAL / 'classes.json'}",
        "model.device=cpu", "prepass.k=6",
    ])  # fmt: skip
    root = tmp_path / "atlas"
    store = pipeline.index(recipe, root)
    assert store is not None
    paths = sorted(photos.iterdir())[::3]
    outcome = pipeline.explain(store, recorded(store.manifest(), ["explain.draws=1"]), paths, None)
    assert len(outcome.done) == EXPLAINED
    for folder in outcome.done:
        everyone, expert = (
            " ".join(one.text for one in text.sentences) for text in narrative.read(folder)
        )
        assert 60 <= len(everyone.split()) <= 110, everyone
        assert 120 <= len(expert.split()) <= 250, expert
    site.render(store)
    site.build(store)
    for folder in outcome.done:
        page = root / f"site/explanations/{folder.name}.html"
        assert not numbers_without_evidence(page, folder)
