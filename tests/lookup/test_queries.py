"""The table of queries, through Python and through the script of the site, in a real browser."""

import random
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

import atlas
from atlas.searching.analyser import words
from atlas.site import search
from atlas.site.catalogue import Catalogue
from atlas.store import open_store
from tests.lookup.queries import TABLE, Query

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TEMPLATES = Path(__file__).parents[2] / "site_templates"


@pytest.fixture(scope="module")
def atlases(worlds) -> dict[str, atlas.Atlas]:
    return {name: atlas.open(path) for name, path in worlds.items()}


@pytest.fixture(scope="module")
def pages(worlds) -> Iterator[dict[str, object]]:
    """For each world an empty page with the site's scripts and data."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = {}
        for name, path in worlds.items():
            page = opened[name] = browser.new_page()
            data = search.script(Catalogue(open_store(path)), lambda _: None, [])
            page.add_script_tag(content=search.rules() + data)
            page.add_script_tag(path=TEMPLATES / "find.js")
            page.evaluate("window.finder = new ConceptFinder(conceptAtlas)")
        yield opened
        browser.close()


def asked(a: atlas.Atlas, text: str) -> tuple[list[atlas.Hit], str]:
    """Return what is found, and what is said about it."""
    try:
        hits = a.search(text, n=5000)
    except atlas.UserError as error:
        return [], str(error)
    return hits, hits[0].remark if hits else ""


def wrong(row: Query, hits: list[atlas.Hit], said: str) -> list[str]:
    """Return which conditions of a row do not hold."""
    names = [hit.channel.name for hit in hits]
    found = {*names, *(hit.channel.address for hit in hits)}
    faults = []
    if row.nothing != (not hits) and not (row.says and not hits):
        faults.append(f"{len(hits)} hits")
    if row.first:
        first = {names[0], hits[0].channel.address} if hits else set()
        if not first & {*row.first.split("|")}:
            faults.append(f"first {first}")
    faults += [f"lacks {one}" for one in row.must.split("|") if one and one not in found]
    faults += [f"has {one}" for one in row.never.split("|") if one and one in found]
    ordered = [one.strip() for one in row.order.split(">") if one]
    if missing := [one for one in ordered if one not in names]:
        faults.append(f"lacks {missing}")
    elif sorted(ordered, key=names.index) != ordered:
        faults.append("the order is another")
    if row.says not in said:
        faults.append(f"says {said!r}")
    return faults


def called(row: Query) -> str:
    return f"{row.world} {row.text[:20]}{' (held back)' * row.held_out}"


@pytest.mark.parametrize("row", TABLE, ids=called)
def test_what_is_asked_is_found(atlases, row):
    assert wrong(row, *asked(atlases[row.world], row.text)) == []


@pytest.mark.parametrize("query", ["red star", "blue heart", "zigzag triangle", "rain red"])
def test_all_words_stand_in_the_names_and_one_class(atlases, query):
    hits, _ = asked(atlases["demo"], query)
    assert len(hits) > 3
    names = 0
    for hit in hits:
        channel = hit.channel
        own = [channel.name or "", *(sense.name for sense in channel.senses)]
        texts = " ".join([*own, channel.description or "", channel.layer])
        classes = [name for name, share in channel.top_classes[:5]]
        assert any(
            all(word in f"{texts} {one}" for word in query.split()) for one in ("", *classes)
        )
        if hit.label:
            assert hit.label in classes
            assert all(word in f"{texts} {hit.label}" for word in query.split())
            names += 1
    assert names or query == "rain red"


FIND = """(queries) => queries.map((query) => {
    const answer = window.finder.search(query);
    return {
        rows: answer.channels.map(({ at }) => at),
        labels: answer.channels.map(({ label }) =>
            label === null || label === undefined ? null : window.finder.index.texts[label]),
        nearest: Object.fromEntries(answer.nearest),
        classes: answer.classes,
        problem: answer.problem,
    };
})"""


def in_page(pages, rows: list[Query]) -> list[dict]:
    """Return what the script of the site finds for each row of the table."""
    found = {}
    for world, page in pages.items():
        queries = [row.text for row in rows if row.world == world]
        answers = page.evaluate(FIND, queries)
        found |= {(world, query): one for query, one in zip(queries, answers, strict=True)}
    return [found[row.world, row.text] for row in rows]


def test_the_page_finds_the_same_in_the_same_order(atlases, pages):
    for row, answer in zip(TABLE, in_page(pages, TABLE), strict=True):
        hits, said = asked(atlases[row.world], row.text)
        assert answer["rows"] == [hit.channel.row for hit in hits], row
        assert answer["labels"] == [hit.label for hit in hits], row
        if hits:
            assert answer["nearest"] == {w: list(near) for w, near in hits[0].nearest.items()}, row
        elif row.text.strip():
            assert bool(answer["problem"]) == bool(said), row
            assert row.says in answer["problem"] or row.says == "", row


@pytest.mark.parametrize(
    ("text", "state"),
    [("one-sided", "one-sided"), ("Tested", "tested"), ("“not asked”", None)],
)  # fmt: skip
def test_states_of_names_are_found(atlases, pages, text, state):
    """Those of the best score first."""
    hits = atlases["demo"].search(text, n=1000)
    every = [channel for channel in atlases["demo"] if channel.state == state]
    assert len(every) > 3
    assert {hit.channel.address for hit in hits} == {channel.address for channel in every}
    scores = [round(100 * (hit.channel.scores.get("score_ap") or 0)) for hit in hits]
    assert scores == sorted(scores, reverse=True)
    (answer,) = pages["demo"].evaluate(FIND, [text])
    assert answer["rows"] == [hit.channel.row for hit in hits]


def test_the_page_finds_the_same_in_one_layer(atlases, pages):
    find = """(query) => window.finder.search(
        query, (at) => conceptAtlas.numbers.length - at <= 25).channels.map(({ at }) => at)"""
    for query in ("red star", "star", "blue zigzag heart", "channel 3", "layer 13"):
        hits = atlases["demo"].search(query, n=500, layer="planted")
        assert pages["demo"].evaluate(find, query) == [hit.channel.row for hit in hits], query


def test_classes_are_ranked_as_channels_are(atlases, pages):
    """Where each channel is called as its class, and no name is there twice."""
    a = atlases["imagenet"]
    names = [channel.name for channel in a]
    rows = [row for row in TABLE if row.world == "imagenet" and ":" not in row.first]
    compared = 0
    for row, answer in zip(rows, in_page(pages, rows), strict=True):
        hits, _ = asked(a, row.text)
        if hits and not hits[0].lacking and all("name" in hit.found for hit in hits):
            assert answer["classes"] == [hit.channel.row for hit in hits], row
            assert len({names[row] for row in answer["classes"]}) == len(answer["classes"])
            compared += 1
    assert compared >= 30


def letters(draw: random.Random) -> str:
    """Draw a text of characters that this Python knows, from one part of Unicode."""
    first = draw.choice([0, 0, 0x80, 0x300, 0x370, 0x590, 0x900, 0xE00, 0x1E00, 0x2000, 0x3000,
                         0x4E00, 0xAC00, 0xFF00, 0x1F300, 0x20000])  # fmt: skip
    drawn = [chr(first + draw.randrange(0x180)) for _ in range(draw.randrange(1, 12))]
    return "".join(one for one in drawn if unicodedata.category(one) not in ("Cn", "Cs"))


def test_the_page_finds_the_words_of_any_text(pages):
    draw = random.Random(0)
    texts = [letters(draw) + draw.choice(["", " ", "-", "s"]) + letters(draw) for _ in range(3000)]
    split = "(texts) => texts.map((text) => window.finder.analyser.words(text))"
    for text, found in zip(texts, pages["demo"].evaluate(split, texts), strict=True):
        assert found == words(text), ascii(text)


@pytest.mark.parametrize("world", ["demo", "imagenet"])
def test_the_page_finds_the_same_for_any_query(atlases, pages, world):
    """Words of names and of the table, cut, joined, misspelt and mixed."""
    draw = random.Random(1)
    names = [channel.name for channel in atlases[world] if channel.name]
    known = [word for text in (*names, *(row.text[:50] for row in TABLE)) for word in text.split()]

    def changed(word: str) -> str:
        at = draw.randrange(len(word))
        return draw.choice(
            [word, word, word[: at + 1], word[:at] + word[at + 1 :], word + "s", word.upper(),
             word[:at] + draw.choice("aeinrst") + word[at:], word[at:], word + draw.choice(known)]
        )  # fmt: skip

    asked_for = [
        draw.choice([" ", " ", "-", ""]).join(changed(draw.choice(known)) for _ in range(count))
        for count in draw.choices((1, 2, 3), k=150)
    ]
    layers = [*atlases[world].layers, "40", "4", "13", "conv2", "features", "ebene"]
    asked_for += [
        draw.choice(["", "layer", "Layer "]) + draw.choice(layers)
        + draw.choice([":", "/", " #", "[", " ", ", ", " channel ", " unit", ""])
        + str(draw.randrange(120)) + draw.choice(["", "", "]", " of layer 3"])
        for _ in range(100)
    ]  # fmt: skip
    rows = [Query(world, text) for text in asked_for]
    for row, answer in zip(rows, in_page({world: pages[world]}, rows), strict=True):
        hits, _ = asked(atlases[world], row.text)
        assert answer["rows"] == [hit.channel.row for hit in hits], row.text
        assert answer["labels"] == [hit.label for hit in hits], row.text
