"""Searching finds what the demo's pictures are known to show."""

import json
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import atlas
from atlas.lookup import WordSearch
from atlas.store import Store

# What people type, and the planted attribute value that they mean.
QUERIES = {
    "red": "red", "Reds": "red", "orange": "orange", "YELLOW": "yellow", "green": "green",
    "turqoise": "turquoise", "turquois": "turquoise", "blue": "blue", "bleu": "blue",
    "purple": "purple", "puprle": "purple", "pink": "pink", "pinks": "pink",
    "star": "star", "stars": "star", "satr": "star", "heart": "heart", "hearts": "heart",
    "haert": "heart", "circles": "circle", "cirlce": "circle", "triangle": "triangle",
    "trianlges": "triangle", "a square": "square", "squares": "square", "crosses": "cross",
    "plain": "plain", "stripes": "striped", "stripe": "striped", "stripped": "striped",
    "striping": "striped", "dots": "dotted", "doted": "dotted", "checks": "checked",
    "checkd": "checked", "zigzags": "zigzag", "zig zag": "zigzag", "ZIGZAG!": "zigzag",
}  # fmt: skip


@pytest.fixture(scope="module")
def a(named) -> atlas.Atlas:
    return atlas.open(named)


def test_the_channels_that_were_asked_for_are_found(a):
    meant = defaultdict(set)
    for channel in a:
        for name in [channel.name, *(sense.name for sense in channel.senses)]:
            meant[name].add(channel.address)
    recalls = {}
    for query, value in QUERIES.items():
        expected = meant[value]
        assert expected, value
        found = {hit.channel.address for hit in a.search(query, n=10)}
        recalls[query] = len(found & expected) / min(10, len(expected))
    assert len(recalls) >= 30
    assert np.mean(list(recalls.values())) >= 0.9, recalls
    assert min(recalls.values()) > 0.5, recalls


def test_the_address_then_names_then_senses_and_words(a):
    [first] = a.search("planted:3")
    assert (first.kind, first.channel.address) == ("address", "planted:3")
    hits = a.search("star", n=200)
    kinds = [hit.kind for hit in hits]
    assert kinds == sorted(kinds, key=["name", "words"].index)
    assert {"name", "words"} == set(kinds)
    assert all((hit.kind == "name") == bool({"name", "senses"} & {*hit.found}) for hit in hits)
    for hit in a.search("red striped star", n=5):
        assert (hit.kind, hit.found[0]) in {("words", "name"), ("words", "senses")}
    assert {hit.kind for hit in a.search("strped")} == {"near"}


def test_what_a_hit_says_is_where_the_words_stand(a):
    for hit in a.search("dotted", n=300):
        texts = {
            "name": hit.channel.name or "",
            "senses": " ".join(sense.name for sense in hit.channel.senses),
            "description": hit.channel.description or "",
            "classes": " ".join(name for name, share in hit.channel.top_classes[:5] if share > 0),
        }
        assert {field for field, text in texts.items() if "dotted" in text} == set(hit.found)


@pytest.mark.parametrize("query", ["red star", "stars", "pink striped", "checked square heart"])
def test_what_is_called_so_has_all_words_in_one_name(worlds, query):
    a = atlas.open(worlds["demo"])
    words = query.removesuffix("s").split()
    expected = [
        channel.address
        for channel in a
        if any(
            {*words} <= {*re.findall(r"\w+", name)}
            for name in [channel.name or "", *(sense.name for sense in channel.senses)]
        )
    ]
    assert [channel.address for channel in WordSearch(a).called(query)] == expected
    assert bool(expected) == (query != "checked square heart")


def test_words_that_stand_apart_are_not_said_to_stand_in_the_name(worlds):
    """Each of two words stands somewhere in the texts of a channel, in none of them both."""
    a = atlas.open(worlds["demo"])
    hits = a.search("red star", n=500)
    assert {field for hit in hits if hit.channel.name == "star" for field in hit.together} == {
        "classes"
    }
    apart = [hit for hit in a.search("heart bricks", n=500) if len(hit.found) > 1]
    assert apart
    for hit in apart:
        senses = [sense.name for sense in hit.channel.senses]
        for field, texts in (("name", [hit.channel.name or ""]), ("senses", senses)):
            both = any({"heart", "bricks"} <= {*re.findall(r"\w+", text)} for text in texts)
            assert (field in hit.together) == both


def test_conditions(a):
    assert {hit.channel.layer for hit in a.search("red", 50, layer="planted")} == {"planted"}
    for hit in a.search("red", 50, label="red dotted star"):
        assert "red dotted star" in dict(hit.channel.top_classes)
    number = a.class_names.index("red dotted star")
    same = [h.channel.address for h in a.search("red", 50, label=str(number))]
    assert same == [h.channel.address for h in a.search("red", 50, label="red dotted star")]
    every, good = (a.search("red", 999, min_score=least) for least in (None, 0.9))
    assert good
    assert good == [h for h in every if (h.channel.scores["score_ap"] or 0) >= 0.9]
    assert len(good) < len(every)


@pytest.mark.parametrize(
    "query", ['"', 'red" OR "blue', "red AND", "name:red*", "(((", "NEAR(a b)"]
)
def test_operators_of_the_index_are_words(a, query):
    words = [word for word in query.replace('"', " ").split() if word.strip('()"*')]
    if not words:
        with pytest.raises(atlas.UserError, match="no words"):
            a.search(query)
    else:
        assert isinstance(a.search(query), list)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40))
def test_no_text_breaks_the_index(a, query):
    try:
        assert isinstance(a.search(query, n=2), list)
    except atlas.UserError as error:
        assert "no words" in str(error) or "no channel" in str(error)


def test_nonsense_finds_nothing(a):
    assert a.search("qqqqqqqq") == []


def test_a_patch_finds_its_channels(a):
    """Cut out, it lacks what is around it; its own channel still comes long before the middle."""
    rows = np.random.default_rng(0).choice(a.references.num_rows, 20, replace=False)
    places = []
    for row in rows:
        hits = a.search_picture(a.reference(int(row)).patch(), n=len(a))
        places += [n for n, hit in enumerate(hits) if hit.channel.row == a.channel_rows[row]]
        assert [h.similarity for h in hits] == sorted((h.similarity for h in hits), reverse=True)
    assert len(places) == 20
    assert np.mean(places) < len(a) / 4


def test_similarity_is_the_mean_of_the_best_patches(a):
    """By a plain product of all vectors, which the demo's exact index keeps."""
    picture = a.reference(1234).picture()
    vectors = a._index.reconstruct_n(0, a._index.ntotal)
    cosines = vectors @ a._encoder.encode([picture])[0]
    means = {}
    for row, channel in enumerate(a):
        mine = np.sort(cosines[a.channel_rows == row])[::-1][:3]
        if len(mine) == 3:
            means[channel.address] = mine.mean()
    best = sorted(means, key=means.get, reverse=True)[:10]
    hits = a.search_picture(picture, n=10)
    assert [hit.similarity for hit in hits] == pytest.approx([means[b] for b in best], abs=1e-5)
    layer = a.search_picture(picture, n=30, layer="planted")
    assert {hit.channel.layer for hit in layer} == {"planted"}
    assert len(layer) == 25


def test_lookup_by_picture_from_the_shell(a, named, run, tmp_path):
    a["planted", 3].references()[0].patch().save(tmp_path / "patch.png")
    result = run("lookup", named, "--image", tmp_path / "patch.png", "-n", 3, "--json")
    assert result.returncode == 0, result.stderr
    hits = json.loads(result.stdout)
    assert len(hits) == 3
    assert hits[0]["kind"] == "picture"
    assert hits[0]["similarity"] > 0.7
    assert hits[0]["references"][0]["key"].startswith("world/1/")


def test_words_need_no_torch(named):
    code = (
        "import sys; from atlas.cli import main\n"
        f"try: main(['lookup', {str(named)!r}, 'stars', '--json'])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'faiss', 'transformers', 'datasets', 'matplotlib', 'mkdocs'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)[0]["name"] == "star"


def test_the_table_for_people(named, run):
    result = run("lookup", named, "striped", "-n", 2)
    assert result.returncode == 0
    lines = [line for line in result.stdout.splitlines() if line.strip()]
    assert lines[0].split()[:2] == ["channel", "name"]
    assert len([line for line in lines if "striped" in line and ":" in line]) == 2
    assert result.stderr == ""


def test_what_was_taken_for_a_word_is_said_aloud(a, named, run):
    hits = a.search("triangel qqqqqqqq", n=3)
    assert {hit.kind for hit in hits} == {"near"}
    assert dict(hits[0].nearest) == {"triangel": ("triangle",), "qqqqqqqq": ()}
    result = run("lookup", named, "triangel", "-n", 1, "--json")
    assert result.stderr.strip() == "nothing for “triangel”; nearest: triangle"
    [hit] = json.loads(result.stdout)
    assert (hit["name"], hit["nearest"]) == ("triangle", {"triangel": ["triangle"]})
    result = run("lookup", named, "qqqqqqqq")
    assert (result.stdout, result.stderr.strip()) == ("", "nothing for “qqqqqqqq”")


def test_an_atlas_without_names_is_searched_by_classes(indexed, run):
    result = run("lookup", indexed, "discs", "--json")
    assert result.returncode == 0
    assert "No channel has a name yet" in result.stderr
    hits = json.loads(result.stdout)
    assert hits
    assert all(hit["found"] == ["classes"] for hit in hits)


def spoiled(indexed, tmp_path, **changes) -> Path:
    copy = tmp_path / "spoiled"
    shutil.copytree(indexed, copy, ignore=shutil.ignore_patterns("site", "pages"))
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, **changes}))
    return copy


BAD = {
    "unknown": (["0:99"], "no channel '0:99'"),
    "spelt wrongly": (["featurs.3:4"], "the nearest are"),
    "empty": ([""], "no words"),
    "blank": (["  ", "!"], "no words"),
    "nothing": ([], "no words"),
    "layer": (["disc", "--layer", "9"], "no layer '9'"),
    "class": (["disc", "--class", "sqare"], "'square'"),
    "score": (["disc", "--min-score", "0.5"], "atlas score"),
    "both": (["disc", "--image", "x.png"], "not both"),
    "picture": (["--image", "missing.png"], "no such file"),
    "long": (["disc " * 300], "too many words"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_questions_end_in_one_line(indexed, run, arguments, message):
    result = run("lookup", indexed, *arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


def test_the_three_nearest_addresses(indexed, run):
    result = run("show", indexed, "0:99")
    assert result.returncode == 2
    assert result.stderr.rstrip().endswith("the nearest are 0:5, 0:4, 0:3")


def test_bad_atlases_end_in_one_line(indexed, run, tmp_path):
    cases = {
        "no directory": tmp_path / "nowhere",
        "newer": spoiled(indexed, tmp_path / "a", schema_version=99),
        "not finished": spoiled(indexed, tmp_path / "b", stages={"prepass": "x"}),
        "damaged": spoiled(indexed, tmp_path / "c"),
        "is missing": spoiled(indexed, tmp_path / "d"),
        "not the manifest": spoiled(indexed, tmp_path / "e"),
    }
    (cases["damaged"] / "channels.parquet").write_bytes(b"PAR1 nothing")
    (cases["is missing"] / "channels.parquet").unlink()
    (cases["not the manifest"] / "manifest.json").write_text("[]")
    for message, path in cases.items():
        result = run("lookup", path, "disc")
        assert result.returncode == 2, message
        assert message in result.stderr, result.stderr
        assert len(result.stderr.splitlines()) == 1
    (cases["newer"] / "manifest.json").unlink()
    assert run("lookup", cases["newer"], "disc").returncode == 2


def test_a_damaged_index_ends_in_one_line(indexed, run, tmp_path):
    path = spoiled(indexed, tmp_path)
    (path / "patches.faiss").write_bytes(b"nothing")
    Image.new("RGB", (9, 9)).save(tmp_path / "grey.png")
    result = run("lookup", path, "--image", tmp_path / "grey.png")
    assert result.returncode == 2
    assert "patches.faiss is missing or damaged" in result.stderr


def test_names_are_untrusted(indexed, run, tmp_path):
    path = spoiled(indexed, tmp_path)
    store = Store(path)
    count = store.table("channels").num_rows
    names = [
        "[red]evil[/red] \x1b[31m",
        "a\x02b\x03c",
        "\udc80".encode("utf-8", "replace").decode(),
    ]
    names += [None] * (count - 3)
    store.extend_table("channels", {"name": names, "name_status": ["named"] * count})
    result = run("lookup", path, "evil")
    assert result.returncode == 0
    assert "[red]evil[/red]" in result.stdout
    assert "\x1b" not in result.stdout
    assert json.loads(run("lookup", path, "evil", "--json").stdout)[0]["name"] == names[0]
