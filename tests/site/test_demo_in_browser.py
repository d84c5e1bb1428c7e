"""The real site in a real browser, from the file system, without a network."""

import base64
import functools
import http.server
import io
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from atlas.store import MODES, open_store

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SVG = "{http://www.w3.org/2000/svg}"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser) -> Iterator[object]:
    """A page that fails the test when a script does or a dialogue opens."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(f"a dialogue: {dialog.message}"))
    page.on(
        "console",
        lambda message: problems.append(message.text) if message.type == "error" else None,
    )
    yield page
    context.close()
    assert problems == []


@pytest.fixture(scope="module")
def site(planted) -> str:
    return (planted / "site").resolve().as_uri() + "/"


def shown(page, selector: str) -> int:
    return page.locator(f"{selector} >> visible=true").count()


def test_search_finds_as_one_types(page, site):
    page.goto(site + "search.html")
    box = page.locator("#q")
    box.type("strip")
    assert "striped thing 4" in page.locator(".hits.channels").inner_text()
    assert page.locator(".found").inner_text().startswith(str(shown(page, ".hits .channel-card")))
    box.type("ed thing 4")
    assert "striped thing 4" in page.locator(".hits .channel-card").first.inner_text()
    box.fill("striped things")  # one word in the plural
    assert "striped thing 4" in page.locator(".hits.channels").inner_text()
    box.fill("left half")  # a sense
    assert "0:2" in page.locator(".hits.channels").inner_text()
    box.fill("etc")  # a class
    assert "../../etc" in page.locator(".hits .label").first.inner_text()
    box.fill("qqqqqqqq")
    assert page.locator(".found").inner_text() == "nothing for “qqqqqqqq” · 0 channels"
    box.fill("!!!")
    assert page.locator(".found").inner_text() == "the query has no words · 0 channels"


def test_an_address_jumps(page, site):
    page.goto(site + "search.html")
    page.locator("#q").type("3:5")
    page.keyboard.press("Enter")
    page.wait_for_url("**/channels/3/5.html")


@pytest.mark.parametrize("query", ["channel 5", "layer 2", "3"])
def test_layers_and_numbers_of_channels_are_found(page, site, query):
    """Three layers: 0, 3 and 6."""
    page.goto(site + "search.html")
    page.locator("#q").fill(query)
    hits = [hit.get_attribute("href") for hit in page.locator(".hits.channels a").all()]
    cards = page.locator(".hits.pages .label").all_inner_texts()
    if query == "channel 5":
        assert [hit.split("channels/")[1] for hit in hits] == ["0/5.html", "3/5.html", "6/5.html"]
        assert cards == []
    else:
        assert {hit.split("/")[-2] for hit in hits[:8]} == {"3"}
        assert cards[0].split() == ["Layer", "3"]
        page.locator(".hits.pages .label").first.click()
        page.wait_for_url("**/layers/3.html")


def test_what_was_taken_for_a_word_is_said_aloud(page, site):
    page.goto(site + "search.html")
    page.locator("#q").fill("stirped")
    found = page.locator(".found").inner_text()
    assert found.startswith("nothing for “stirped”; nearest: striped · ")
    assert "striped thing" in page.locator(".hits .channel-card").first.inner_text()


def test_back_brings_the_search_back(page, site):
    page.goto(site + "search.html")
    page.locator("#q").fill("striped")
    layer = page.get_by_role("combobox", name="Layer", exact=True)
    layer.select_option("3")
    before = page.locator(".hits.channels").inner_text()
    address = page.url
    page.locator(".hits .channel-card").first.click()
    page.wait_for_url("**/channels/3/*.html")
    page.go_back()
    page.locator(".hits .channel-card").first.wait_for()
    assert (page.locator("#q").input_value(), layer.input_value()) == ("striped", "3")
    assert page.locator(".hits.channels").inner_text() == before
    page.goto("about:blank")
    page.goto(address)  # the same from elsewhere
    assert page.locator(".hits.channels").inner_text() == before
    page.locator("#q").fill("")
    layer.select_option("")
    assert page.url == site + "search.html"


def test_facets_narrow_the_search(page, site):
    page.goto(site + "search.html")
    layer = page.get_by_role("combobox", name="Layer", exact=True)
    layer.select_option(label="6")
    assert shown(page, ".hits .channel-card") == 7
    layer.select_option("")
    page.get_by_label("Name").select_option(label="by a person")
    assert "seen by Ada" in page.locator(".hits.channels").inner_text()
    assert shown(page, ".hits .channel-card") == 1


def test_explanations_are_found_by_what_they_speak_of(page, explained):
    page.goto((explained / "site" / "search.html").resolve().as_uri())
    page.get_by_label("Find").select_option("explanations")
    every = shown(page, ".hits .label")
    assert every >= 1 and shown(page, ".hits .channel-card") == 0
    assert page.locator(".found").inner_text().startswith(str(every))
    said = page.locator(".hits .label bdi").first.inner_text()
    page.get_by_label("Find").select_option("")
    page.locator("#q").fill(said)
    assert said in page.locator(".hits .label", has_text="Explanation").first.inner_text()
    page.locator(".hits .label", has_text="Explanation").first.click()
    page.wait_for_url("**/explanations/*.html")
    assert said in page.locator("h1").inner_text()


def test_hostile_names_are_text_in_the_search(page, site, hostile):
    page.goto(site + "search.html")
    for name in hostile:
        page.locator("#q").fill(" ".join(name.split())[:12])
        assert page.locator(".hits script, .hits img[onerror]").count() == 0
    page.locator("#q").fill("<script>")
    assert "<script>alert(1)</script>" in page.locator(".hits.channels").inner_text()


def test_the_channel_grid_is_filtered_and_sorted_without_a_reload(page, site):
    page.goto(site + "layers/0.html")
    page.evaluate("window.same = true")
    assert shown(page, ".channel-grid .channel-card") == 6
    page.get_by_label("Word").fill("seen by")
    assert shown(page, ".channel-grid .channel-card") == 1
    assert "1 of 6" in page.locator(".grid-filter output").inner_text()
    page.get_by_label("Word").fill("")
    page.get_by_label("Average precision at least").fill("0.35")
    assert shown(page, ".channel-grid .channel-card") == 1
    page.get_by_label("Average precision at least").fill("")
    page.get_by_label("Sort by").select_option("a")
    density = [float(card.get_attribute("data-a")) for card in page.locator(".channel-card").all()]
    assert density == sorted(density, reverse=True)
    assert len({*density}) > 1
    page.get_by_label("Sort by").select_option("place")
    assert page.locator(".channel-card").first.get_attribute("href").endswith("0/0.html")
    assert page.evaluate("window.same")


def test_a_wall_is_filtered_as_the_search_finds(page, site):
    page.goto(site + "layers/0.html")
    word, status = page.get_by_label("Word"), page.locator(".grid-filter output")
    word.fill("4")  # the channel of this number, and no printed figure that has one
    assert shown(page, ".channel-card") == 1
    assert page.locator(".channel-card >> visible=true").get_attribute("href").endswith("0/4.html")
    word.fill("striped things")  # one word in the plural
    names = page.locator(".channel-card >> visible=true").all_inner_texts()
    assert names and all("striped thing" in name for name in names)
    word.fill("stripped thign 4")
    assert "nearest: thing" in status.inner_text()


def test_a_walls_view_is_in_its_address(page, site):
    page.goto(site + "layers/0.html")
    page.get_by_label("Word").fill("thing")
    page.get_by_label("Sort by").select_option("r")
    page.get_by_label("other way round").check()
    before = page.locator(".channel-card >> visible=true").all_inner_texts()
    assert {"word=thing", "sort=r", "turn=1"} == {*page.url.partition("?")[2].split("&")}
    page.locator(".channel-card >> visible=true").first.click()
    page.go_back()
    assert page.get_by_label("Word").input_value() == "thing"
    assert page.locator(".channel-card >> visible=true").all_inner_texts() == before
    shares = [
        float(c.get_attribute("data-r"))
        for c in page.locator(".channel-card >> visible=true").all()
    ]
    assert shares == sorted(shares)


def test_a_wall_is_sorted_by_likeness(page, site):
    page.goto(site + "layers/3.html")
    assert page.evaluate("window.conceptLikeness") is None  # not before somebody asks
    by_address = [card.get_attribute("href") for card in page.locator(".channel-card").all()]
    page.get_by_label("Sort by").select_option("likeness")
    page.wait_for_function("window.conceptLikeness")
    ranks = page.evaluate("window.conceptLikeness")
    first = int(page.locator(".grid-filter").get_attribute("data-likeness"))
    mine = ranks[first : first + len(by_address)]
    assert first == 6 and sorted(mine) == list(range(len(by_address))) != mine
    order = [card.get_attribute("href") for card in page.locator(".channel-card").all()]
    assert order == [by_address[mine.index(rank)] for rank in range(len(mine))]
    assert page.url.endswith("?sort=like")
    page.reload()
    page.wait_for_function("window.conceptLikeness")
    again = [card.get_attribute("href") for card in page.locator(".channel-card").all()]
    assert again == order


def saved_figure(page) -> ElementTree.Element:
    """Click for the figure of a channel and return it."""
    with page.expect_download() as download:
        page.get_by_role("button", name="figure").click()
    assert download.value.suggested_filename == "0-2.svg"
    assert page.locator(".head [role=status]").inner_text().startswith("Saved as 0-2.svg")
    return ElementTree.parse(download.value.path()).getroot()


def test_a_channels_pictures_are_saved_as_a_figure(browser, planted):
    """Over HTTP, where a page may read its pictures: they are inside, cut as they are shown."""
    store = open_store(planted)
    paths = store.table("images")["path"].to_pylist()
    rows = [
        row
        for row in store.table("references").to_pylist()
        if (row["layer"], row["channel"]) == ("0", 2)
    ]
    with served(planted / "site") as address:
        page = browser.new_page()
        page.goto(f"{address}/channels/0/2.html")
        root = saved_figure(page)
        page.get_by_text("concept only").click()
        masked = saved_figure(page)
        page.close()
    images = root.findall(f"{SVG}image")
    modes = [sorted(r["rank"] for r in rows if r["mode"] == mode)[:9] for mode in MODES]
    assert len(images) == sum(map(len, modes)) > 3
    assert len(masked.findall(f"{SVG}image")) == 2 * len(images)
    said = [text.text for text in root.findall(f"{SVG}text")]
    assert said[0].startswith("0:2") and store.manifest()["id"] in said[-1]
    best = next(r for r in rows if (r["mode"], r["rank"]) == ("relevance", 0))
    box = [best[side] for side in ("x0", "y0", "x1", "y1")]
    shown = Image.open(io.BytesIO(base64.b64decode(images[0].get("href").partition(",")[2])))
    with Image.open(store.root / paths[best["image"]]) as picture:
        expected = picture.convert("RGB").crop(box).resize((8, 8), Image.Resampling.BOX)
    shown = shown.convert("RGB").resize((8, 8), Image.Resampling.BOX)
    off = np.abs(np.asarray(shown, float) - np.asarray(expected, float)).mean()
    assert off < 8  # of 255: it was compressed, and cut to whole pixels


def test_a_figure_from_the_file_system_has_links_to_its_pictures(page, site):
    page.goto(site + "channels/0/2.html")
    root = saved_figure(page)
    links = [image.get("href") for image in root.iter(f"{SVG}image")]
    assert len(links) > 3 and all(link.startswith(site) for link in links)
    assert "links" in page.locator(".head [role=status]").inner_text()


def test_a_lost_address_leads_to_the_search(page, site):
    page.goto(site + "404.html")
    assert page.get_by_text("Search").get_attribute("href").endswith("/search.html")
    assert page.locator("h1").inner_text() == "There is no such page"


@pytest.mark.parametrize("name", ["index.html", "channels/0/2.html", "classes/0.html"])
def test_what_every_page_loads_is_little(page, site, planted, name):
    """Beside pictures: a home page may have 300 kB, that of a channel 450 kB with 400 of pictures.

    `benchmarks/site.py` prints what pages of an atlas of VGG16's size load.
    """
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site + name)
    sizes = {url: (planted / "site" / url.removeprefix(site)).stat().st_size for url in asked}
    own = {url: size for url, size in sizes.items() if not url.endswith(".webp")}
    assert sum(own.values()) < 110_000, own
    assert any(url.endswith(".css") for url in own) and any(url.endswith(".js") for url in own)


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_moves_while_a_page_loads(browser, site, explained, width):
    context = browser.new_context(viewport={"width": width, "height": 844})
    page = context.new_page()
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver((list) => list.getEntries().forEach("
        "(one) => { window.shift += one.value; })).observe({type: 'layout-shift', buffered: true});"
    )
    for name in ("index.html", "classes/index.html", "layers/0.html", "channels/0/4.html",
                 "classes/0.html", "search.html", "trust.html", "concepts/index.html",
                 "concepts/striped.html", "map.html", "picture.html?picture=3",
                 "compare.html?a=0:2"):  # fmt: skip
        page.goto(site + name)
        page.wait_for_timeout(150)
        assert page.evaluate("window.shift") < 0.02, name
    context.close()


def test_switches_show_other_views(page, site):
    page.goto(site + "channels/0/2.html")
    assert shown(page, ".references.relevance") == shown(page, ".references.activation") == 1
    picture = page.locator(".references.activation li b img").first
    size = "e => e.clientWidth / e.parentElement.clientWidth"
    assert picture.evaluate(size) > 1
    page.get_by_text("whole picture").click()
    assert picture.evaluate(size) == 1
    page.reload()  # switches are remembered, also from the file system
    assert picture.evaluate(size) == 1
    every = shown(page, ".references.relevance li")
    page.locator("label[for=sense-0]").click()
    left = shown(page, ".references.relevance li")
    page.locator("label[for=sense-1]").click()
    assert 0 < left < every
    assert left + shown(page, ".references.relevance li") == every


def test_two_channels_stand_side_by_side_with_those_that_were_kept(page, site):
    page.goto(site + "channels/0/2.html")
    page.get_by_text("☆ keep").click()
    page.get_by_role("link", name="compare", exact=True).click()
    page.wait_for_url("**/compare.html?a=0:2&kept=0:2")
    page.get_by_label("Other").fill("striped thing 4")
    page.get_by_role("button", name="Compare").click()
    assert page.url.endswith("compare.html?a=0:2&b=0:4&kept=0:2")
    one, other = (page.frame_locator("iframe").nth(n) for n in (0, 1))
    assert "striped thing 4" in other.locator("h1").inner_text()
    assert one.locator(".references li").first.is_visible()
    assert not one.locator(".md-header").is_visible()
    page.get_by_label("One").fill("qqqqqqqqq")
    page.get_by_role("button", name="Compare").click()
    assert "“qqqqqqqqq”" in page.locator("[role=status]").inner_text()
    page.get_by_role("button", name="left").click()
    assert page.get_by_label("One").input_value() == "0:2"


def test_a_patch_leads_to_its_picture_and_back_to_the_channel(page, site):
    page.goto(site + "channels/0/2.html")
    page.locator(".references.relevance li b").first.press("Enter")
    page.wait_for_url("**/picture.html?picture=*")
    link = page.locator(".hits a[href$='channels/0/2.html']")
    link.focus()
    box, stage = (page.locator(name).bounding_box() for name in (".box", ".stage"))
    assert 0 < box["width"] <= stage["width"] + 4
    page.goto(site + "picture.html?picture=99999")
    assert "There is no picture 99999" in page.locator("[role=status]").inner_text()


def test_the_map_is_filtered_and_walked_by_keyboard(page, site):
    page.goto(site + "map.html?q=striped+thing+4")
    status = page.locator(".map-controls output")
    assert status.inner_text() == "1 of 21 channels"
    canvas = page.locator(".channel-map canvas")
    canvas.focus()
    for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"):
        page.keyboard.press(key)
    assert "striped thing 4, 0:4" in status.inner_text()
    page.keyboard.press("Enter")
    page.wait_for_url("**/channels/0/4.html")
    page.goto(site + "map.html")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    first = status.inner_text()
    page.keyboard.press("ArrowLeft")
    assert ":" in first and ":" in status.inner_text()
    page.locator("select[name=by]").select_option("state")
    assert "tested" in page.locator(".map-key").inner_text()
    assert page.url.endswith("map.html?by=state")


def test_the_keyboard_reaches_everything(page, site):
    page.goto(site + "channels/0/2.html")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/channels/0/3.html")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/channels/0/2.html")
    page.keyboard.press("/")
    page.wait_for_url("**/search.html")
    page.keyboard.type("striped")
    page.keyboard.press("ArrowDown")
    focused = page.evaluate("document.activeElement.className")
    assert focused.startswith("channel-card")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/channels/**")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"as-patch", "BUTTON", "A", "SUMMARY"} <= reached


def test_the_first_stop_of_the_keyboard_leads_past_the_navigation(page, site):
    page.goto(site + "channels/0/4.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#content') !== null")


def test_on_paper_there_is_what_can_be_read_and_no_control(page, site):
    page.emulate_media(media="print")
    for name, controls in (
        ("channels/0/2.html", ".switches, .keep"),
        ("layers/0.html", ".grid-filter"),
    ):
        page.goto(site + name)
        assert shown(page, f":is({controls}, .md-header)") == 0
        uncut = "e => getComputedStyle(e).breakInside"
        row = page.locator(".references li, .channel-card").first
        assert row.evaluate(uncut) == "avoid"


def test_dark_mode_follows_the_system(browser, site):
    grounds = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(site + "index.html")
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        grounds[scheme] = [int(part) for part in colour[4:-1].split(",")[:3]]
        page.locator(".scheme").click()
        page.reload()
        other = {"light": "slate", "dark": "default"}[scheme]
        assert page.evaluate("document.body.dataset.mdColorScheme") == other
        page.close()
    assert min(grounds["light"]) > 200
    assert max(grounds["dark"]) < 60


def test_a_citation_is_copied(browser, planted):
    """Over HTTP, where the clipboard can be read back."""
    with served(planted / "site") as address:
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.goto(f"{address}/channels/0/4.html")
        page.get_by_role("button", name="Copy BibTeX").click()
        page.get_by_text("Copied.").wait_for()
        copied = page.evaluate("navigator.clipboard.readText()")
        context.close()
    assert copied.startswith("@misc{")
    assert "striped thing 4" in copied


def test_a_citation_of_another_version_is_noted(page, site):
    page.goto(site + "channels/0/4.html?v=01234567")
    assert "version 01234567" in page.locator(".other-version").inner_text()
    version = page.locator(".atlas").get_attribute("data-version")
    page.goto(site + f"channels/0/4.html?v={version}")
    assert page.locator(".other-version").count() == 0


def test_a_random_channel_is_some_channel(page, site):
    page.goto(site + "index.html")
    page.get_by_text("Random channel").click()
    page.wait_for_url("**/channels/**")
    page.goto(site + "index.html")  # its search has no data until somebody turns to it
    assert page.evaluate("window.conceptAtlas") is None
    page.locator("#q").press_sequentially("striped thing 4")
    page.locator(".hits .channel-card", has_text="striped thing 4").first.wait_for()
    page.goto(site + "layers/3.html")
    page.get_by_text("Random channel").click()
    page.wait_for_url("**/channels/3/*.html")


@pytest.mark.parametrize("below", ["", "some/path/"])
def test_no_request_leaves_the_site(browser, planted, tmp_path, below):
    """Nor does any fail, on a server and below a path of it."""
    root = tmp_path / "root"
    shutil.copytree(planted / "site", root / below)
    asked, failed = [], []
    with served(root) as address:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("response", lambda r: failed.append(r.url) if r.status >= 400 else None)
        for name in PAGES[:: 2 if below else 1]:
            page.goto(f"{address}/{below}{name}")
            page.wait_for_load_state("networkidle")
        page.close()
    outside = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert outside == []
    assert [url for url in failed if not url.endswith("favicon.ico")] == []


PAGES = (
    *("index.html", "search.html?q=striped", "layers/index.html", "layers/0.html"),
    *("channels/0/2.html", "classes/index.html", "classes/0.html", "about.html"),
    *("guide.html", "data.html", "cite.html", "trust.html"),
    *("concepts/index.html", "concepts/striped.html", "picture.html?picture=3", "map.html"),
    "compare.html?a=0:2&b=striped thing 4",
)


def violations(page) -> list[list[str]]:
    """Return what axe finds serious on a page, with the first places of each."""
    from axe_playwright_python.sync_playwright import Axe

    page.wait_for_timeout(150)
    return [
        [f"{n['html'][:160]} {n['failureSummary']}" for n in violation["nodes"]][:2]
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, site, explained, scheme):
    page = browser.new_page(color_scheme=scheme)
    folder = (explained / "site").resolve()
    pictures = [
        f"{folder.as_uri()}/explanations/{p.name}" for p in folder.glob("explanations/*.html")
    ]
    assert len(pictures) == 3  # two, and the page that lists them
    searches = [f"{folder.as_uri()}/search.html?q={word}" for word in ("disc", "0:1")]
    found = {}
    for address in (*(site + name for name in PAGES), *pictures, *searches):
        page.goto(address)
        if serious := violations(page):
            found[address] = serious
    page.close()
    assert found == {}


MANY_LAYERS = """() => {
  const row = document.querySelector(".network");
  for (let n = 0; row && n < 40; n++) row.append(row.firstElementChild.cloneNode(true));
}"""


@pytest.mark.parametrize("width", [320, 360, 1920])
def test_nothing_is_wider_than_the_screen(browser, site, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    for name in PAGES:
        page.goto(site + name)
        page.evaluate(MANY_LAYERS)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, name
    page.close()


class served:  # noqa: N801 (a context manager)
    """Serve a folder on this machine."""

    def __init__(self, root: Path) -> None:
        handler = functools.partial(_Quiet, directory=str(root))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass
