"""Citations go through the parsers that people's tools use."""

import json
import os
import re
import shutil
from pathlib import Path

import bibtexparser
import pytest
from citeproc import Citation, CitationItem, CitationStylesBibliography, CitationStylesStyle
from citeproc import formatter as formatters
from citeproc.source.json import CiteProcJSON
from pybtex.database import parse_string

import atlas
from atlas.store import Store
from atlas.store.names import NameRecord, append

WILD = 'wild {names} \\ 100 % of $x_1$ & "quotes" #~^ <b> @ Ünïcode 漢字 | \x07'
AUTHORS = ("Doe, Jane", "Müller-Lüdenscheidt, Ada", "Institute of Cats and Dogs")

STYLE = """<?xml version="1.0" encoding="utf-8"?>
<style xmlns="http://purl.org/net/xbiblio/csl" class="in-text" version="1.0">
  <info><title>t</title><id>t</id><updated>2026-01-01T00:00:00+00:00</updated></info>
  <citation><layout><text variable="title"/></layout></citation>
  <bibliography><layout suffix=".">
    <names variable="author"><name and="text" delimiter=", "/></names>
    <date variable="issued" prefix=" (" suffix="). "><date-part name="year"/></date>
    <text variable="title" suffix=". "/><text variable="container-title" suffix=". "/>
    <text variable="publisher" suffix=". "/><text variable="URL"/>
  </layout></bibliography>
</style>
"""


@pytest.fixture(scope="module")
def cited(indexed, tmp_path_factory) -> Path:
    """An atlas with authors, an address, a wild name, a VLM and an explanation."""
    path = tmp_path_factory.mktemp("cited") / "tiny"
    shutil.copytree(indexed, path)
    store = Store(path)
    manifest = store.manifest()
    manifest["recipe"]["cite"] = {
        "title": "An atlas of {tiny} & 100 % networks",
        "authors": list(AUTHORS),
        "date": "2026-03-07",
        "url": "https://example.org/tiny/",
        "doi": "10.5281/zenodo.1",
    }
    store.write_manifest(manifest)
    count = store.table("channels").num_rows
    columns = {
        "name": [WILD, "stripe", *[None] * (count - 2)],
        "name_status": ["named", "named", *["unnamed"] * (count - 2)],
        "named_by": ["vlm"] * count,
        "namer": ["llava/tiny"] * count,
    }
    store.extend_table("channels", columns)
    record = NameRecord("0", 0, "vlm", "llava/tiny", "named", WILD, revision="abc123")
    append(store, [record], 0)
    folder = path / "explanations" / "zebra-1"
    folder.mkdir(parents=True)
    evidence = {"target": {"name": "stripe"}, "picture": {"name": "zebra.png"}}
    (folder / "evidence.json").write_text(json.dumps(evidence))
    return path


@pytest.fixture(scope="module")
def a(cited) -> atlas.Atlas:
    return atlas.open(cited)


WHAT = {
    "atlas": {},
    "channel": {"address": "0:0"},
    "channel without a name": {"address": "3:5"},
    "class": {"label": "stripe"},
    "explanation": {"explanation": "zebra-1"},
}


@pytest.mark.parametrize("what", WHAT.values(), ids=WHAT)
def test_bibtex_parses_as_what_it_says(a, what):
    text = a.cite(**what)
    database = parse_string(text, "bibtex")  # pybtex raises on any error of syntax
    [entry] = database.entries.values()
    [csl] = json.loads(a.cite(**what, format="csl-json"))
    assert entry.key == csl["id"]
    people = [str(person) for person in entry.persons["author"]]
    assert [person.strip("{}") for person in people] == list(AUTHORS)
    assert (entry.fields["year"], entry.fields["month"]) == ("2026", "3")
    assert entry.fields["url"] == csl["URL"]
    assert csl["URL"].startswith("https://example.org/tiny/")
    assert csl["URL"].endswith(f".html?v={a.id[-8:]}")
    weights = a.manifest["model"]["weights_sha256"]
    assert weights in entry.fields["note"]
    assert a.id in entry.fields["note"].replace(r"\_", "_")
    assert entry.fields["version"] == a.id[-8:]
    library = bibtexparser.parse_string(text)
    assert not library.failed_blocks
    assert library.entries[0].key == entry.key


def test_wild_names_come_back_from_latex(a):
    from pylatexenc.latex2text import LatexNodes2Text

    [entry] = parse_string(a.cite("0:0"), "bibtex").entries.values()
    unknown_to_pylatexenc = {
        r"\textbraceleft{}": "⟦", r"\textbraceright{}": "⟧", r"\textless{}": "⟨",
        r"\textgreater{}": "⟩", r"\textbar{}": "¦", r"\textasciicircum{}": "ˆ",
    }  # fmt: skip
    latex = entry.fields["title"]
    for macro, character in unknown_to_pylatexenc.items():
        latex = latex.replace(macro, character)
    title = LatexNodes2Text().latex_to_text(latex)
    plain = " ".join(WILD.replace("\x07", " ").split())
    meant = f"Channel 0:0 “{plain}”. In: An atlas of {{tiny}} & 100 % networks"
    assert meant.translate(str.maketrans("{}<>|^", "⟦⟧⟨⟩¦ˆ")) == title


@pytest.mark.parametrize("what", WHAT.values(), ids=WHAT)
def test_csl_goes_through_citeproc(a, what, tmp_path):
    (tmp_path / "style.csl").write_text(STYLE)
    items = json.loads(a.cite(**what, format="csl-json"))
    style = CitationStylesStyle(str(tmp_path / "style.csl"), validate=False)
    bibliography = CitationStylesBibliography(style, CiteProcJSON(items), formatters.plain)
    bibliography.register(Citation([CitationItem(items[0]["id"])]))
    [text] = map(str, bibliography.bibliography())
    assert "Jane Doe" in text and "Institute of Cats and Dogs" in text
    assert "(2026)" in text
    assert items[0]["title"] in text
    assert items[0]["URL"] in text


def test_names_come_with_model_and_revision(a):
    assert "; name by llava/tiny at abc123." in a.cite("0:0", format="text")
    assert "; names by llava/tiny at abc123." in a.cite(format="text")
    assert " by " not in a.cite("3:5", format="text").replace("concept-atlas", "")
    assert "; name by llava/tiny." in a.cite("0:1", format="text")  # the file has no record of it


def test_keys_stay_when_a_channel_is_renamed(a, cited, tmp_path):
    copy = tmp_path / "renamed"
    shutil.copytree(cited, copy)
    store = Store(copy)
    names = ["other", *store.table("channels")["name"].to_pylist()[1:]]
    store.extend_table("channels", {"name": names})
    before, after = a.cite("0:0"), atlas.open(copy).cite("0:0")
    assert before != after
    assert before.split(",")[0] == after.split(",")[0] == f"@misc{{{a.id}-channels-0-0"


def test_without_a_table_cite_the_address_inside_the_site_is_given(indexed):
    a = atlas.open(indexed)
    [entry] = parse_string(a.cite("0:0"), "bibtex").entries.values()
    assert "url" not in entry.fields
    assert entry.fields["howpublished"] == f"channels/0/0.html?v={a.id[-8:]}"
    [csl] = json.loads(a.cite("0:0", format="csl-json"))
    assert "URL" not in csl and "author" not in csl
    assert len(csl["issued"]["date-parts"][0]) == 3


def test_the_command_prints_the_same(a, cited, run):
    assert run("cite", cited, "0:0").stdout == a.cite("0:0").encode().decode()
    result = run("cite", cited, "--class", "2", "--format", "text")
    assert result.stdout == a.cite(label="stripe", format="text")
    assert run("cite", cited, "--explanation", "zebra-1").stdout == a.cite(explanation="zebra-1")


BAD = {
    "channel": (["0:99"], "the nearest are 0:5, 0:4, 0:3"),
    "class": (["--class", "strype"], "the nearest are 'stripe'"),
    "explanation": (["--explanation", "zebra"], "zebra-1"),
    "path": (["--explanation", "../explanations/zebra-1"], "no explanation"),
    "two things": (["0:1", "--class", "stripe"], "one thing at a time"),
    "format": (["--format", "ris"], "ris"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_questions_end_in_one_line(cited, run, arguments, message):
    result = run("cite", cited, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


@pytest.mark.parametrize("bad", ["cite.date='yesterday'", "cite.url='example.org'", "cite.year=1"])
def test_the_recipe_is_checked(bad, project):
    from atlas.recipe import load

    with pytest.raises(atlas.UserError, match=r"cite\."):
        load(str(project / "tiny.toml"), [bad])


def test_the_year_is_that_of_the_measurement_whenever_the_files_were_copied(indexed, tmp_path, run):
    out = shutil.copytree(indexed, tmp_path / "copy")
    manifest = json.loads((out / "manifest.json").read_text())
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", manifest["measured"])
    (out / "manifest.json").write_text(json.dumps({**manifest, "measured": "2019-02-03"}))
    os.utime(out / "images.parquet", (1, 1))
    assert "year = {2019},\n  month = {2}" in run("cite", out).stdout
    del manifest["measured"]  # an atlas of before
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert "(n.d.)" in run("cite", out, "--format", "text").stdout
    assert "year" not in run("cite", out).stdout
    assert "issued" not in json.loads(run("cite", out, "--format", "csl-json").stdout)[0]


def test_a_class_that_shares_its_name_is_cited_by_number(indexed, tmp_path, run):
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = shutil.copytree(indexed, tmp_path / "copy")
    table = pq.read_table(out / "classes.parquet")
    place = table.column_names.index("name")
    table = table.set_column(place, "name", pa.array(["crane", "crane", "0"]))
    pq.write_table(table, out / "classes.parquet")
    result = run("cite", out, "--class", "crane")
    assert result.returncode == 2
    assert "several classes are named 'crane': give one of :0" in result.stderr
    assert "classes/1.html" in run("cite", out, "--class", ":1").stdout
    assert "classes/2.html" in run("cite", out, "--class", "0").stdout  # by name first
    found = json.loads(run("lookup", out, "crane", "--class", ":1", "--json").stdout)
    assert found or found == []
