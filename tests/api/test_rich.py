"""What notebooks show: pictures inside, every text escaped, small, no script."""

import ast
import base64
import json
import re
import shutil
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

import atlas
from atlas.api.results import Hits
from atlas.store import Store

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"

TAGS = {
    *("div", "span", "b", "code", "br", "img"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {"style", "title", "src", "width", "height", "alt", "scope"}

MOST = 200_000
"""Characters of anything that is shown."""


class Reader(HTMLParser):
    """Reads HTML; it fails at what could run, load something, or was not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.pictures, self.open = "", [], []
        self.feed(html)
        self.close()
        assert self.open == []
        assert len(html) < MOST

    def handle_starttag(self, tag, attributes):
        assert tag in TAGS, tag
        for name, value in attributes:
            assert name in ATTRIBUTES, name
            assert name != "style" or not re.search(r"url|expression|position", value)
        if tag == "img":
            given = dict(attributes)
            head, _, data = given["src"].partition(",")
            assert head == "data:image/webp;base64"
            picture = Image.open(BytesIO(base64.b64decode(data, validate=True)))
            self.pictures.append(picture)
            self.text += given["title"]
            assert given["alt"]
        elif tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        pytest.fail(f"a comment: {data}")


def shown(thing) -> Reader:
    return Reader(thing._repr_html_())


@pytest.fixture(scope="module")
def wild(indexed, hostile, tmp_path_factory) -> Path:
    """An atlas with names and classes that look like HTML."""
    path = shutil.copytree(indexed, tmp_path_factory.mktemp("wild") / "atlas")
    store = Store(path)
    count = store.table("channels").num_rows
    names = [hostile[row % len(hostile)] for row in range(count)]
    columns = {
        "name": names,
        "description": names[::-1],
        "name_status": ["named"] * count,
        "named_by": ["person", *["vlm"] * (count - 1)],
        "namer": ["<i>somebody</i>"] * count,
    }
    store.extend_table("channels", columns)
    store.extend_table("classes", {"name": [hostile[0], hostile[1], hostile[3]]})
    return path


def one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def test_names_are_text(wild, hostile):
    a = atlas.open(wild)
    for channel in a:
        page = shown(channel)
        assert one_line(channel.name)[:290] in one_line(page.text)
        assert one_line(channel.description)[:290] in one_line(page.text)
        assert channel.address in page.text
        for reference in channel.references()[:1]:
            assert one_line(reference.predicted) in one_line(shown(reference).text)
    shown(a)
    found = a.search("alert", n=5)
    assert found and "<script>alert(1)</script>" in shown(found).text


def test_a_name_is_not_shown_without_its_state(wild, named):
    first, second = list(atlas.open(wild))[:2]
    assert "(by a person)" in shown(first).text
    assert "(untested)" in shown(second).text
    star = atlas.open(named)["planted:3"]
    score = star.scores["score_ap"]
    assert f"({star.state}, average precision {score:.2f})" in shown(star).text


def mean_colour(picture: Image.Image) -> tuple[int, int, int]:
    return picture.convert("RGB").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))


def test_both_rows_of_patches_are_those_of_the_channel(named):
    channel = atlas.open(named)["planted:3"]
    page = shown(channel)
    patches = [r.patch() for mode in ("relevance", "activation") for r in channel.references(mode)]
    assert len(page.pictures) == len(patches) == 16
    assert "used for (by relevance)" in page.text and "fires for (by activation)" in page.text
    for small, patch in zip(page.pictures, patches, strict=True):
        assert max(small.size) <= max(88, *patch.size)
        wanted, got = (
            p.convert("RGB").resize((1, 1), Image.Resampling.BOX) for p in (patch, small)
        )
        difference = zip(wanted.getpixel((0, 0)), got.getpixel((0, 0)), strict=True)
        assert all(abs(one - other) < 16 for one, other in difference)


def test_a_reference_shows_the_picture_and_its_patch(named):
    reference = atlas.open(named)["planted:3"].references()[0]
    page = shown(reference)
    assert [max(picture.size) <= 176 for picture in page.pictures] == [True, True]
    assert "relevance, rank 0" in page.text and reference.key in page.text


def test_what_is_found_is_a_list_and_a_table(named):
    a = atlas.open(named)
    hits = a.search("star", n=40)
    assert isinstance(hits, list) and len(hits) > 12
    page = shown(hits)
    assert hits[0].channel.address in page.text
    assert f"and {len(hits) - 12} more channels" in page.text
    assert "nearest: star" in shown(a.search("starr", n=1)).text
    assert shown(Hits()).text == "Nothing was found."


def test_missing_pictures_are_said_to_be_missing(named, tmp_path):
    copy = shutil.copytree(named, tmp_path / "copy")
    a = atlas.open(copy)
    channel = a["planted:3"]
    channel.references()[0].path.unlink()
    page = shown(channel)
    assert page.text.count("picture missing") >= 1
    assert "picture missing" in shown(channel.references()[0]).text


def cells() -> list[str]:
    every = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    assert all(cell["outputs"] == [] for cell in every if cell["cell_type"] == "code")
    return ["".join(cell["source"]) for cell in every if cell["cell_type"] == "code"]


def test_the_notebook_runs(named, tmp_path, monkeypatch, capsys):
    shutil.copytree(named, tmp_path / "build" / "out" / "demo")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    values = []
    for cell in cells():
        tree = ast.parse(cell)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, str(NOTEBOOK), "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names)
            values.append(value)
    ours = [value for value in values if type(value).__module__.startswith("atlas.")]
    kinds = [type(value).__name__ for value in ours]
    assert kinds == ["Atlas", "Channel", "Reference", "Hits", "Hits", "Explained"]
    pages = [shown(value) for value in ours]
    assert all(page.pictures for page in pages)
    explained = ours[-1]
    assert explained.target.name in pages[-1].text
    assert f"{explained.concepts[0].share:+.1%}" in pages[-1].text
    assert explained == names["a"].explanation(explained.id)
    with pytest.raises(atlas.UserError, match=f"there are {explained.id}"):
        names["a"].explanation("other")
    out = capsys.readouterr().out
    assert "@misc{" in out and explained.of_layer("planted")[0].name in out
