"""The built site in a real browser, from the file system."""

import re
import shutil
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from atlas.store import MODES

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
KINDS = (
    "index.html",
    "about.html",
    "layers/index.html",
    "layers/features.28.html",
    "channels/features.28/1.html",
    "classes/index.html",
    "classes/8.html",
)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    if CHROMIUM is None:
        pytest.skip("there is no chromium (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser) -> Iterator:
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    yield context.new_page()
    context.close()


def address(toy_atlas, name: str) -> str:
    return (toy_atlas.root / "site" / name).resolve().as_uri()


@pytest.mark.parametrize("name", KINDS)
def test_pages_load_whole_without_a_request_elsewhere(browser, toy_atlas, name):
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="dark")
    page = context.new_page()
    requests, problems = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("requestfailed", lambda request: problems.append(request.url))
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message) or dialog.dismiss())
    page.goto(address(toy_atlas, name))
    page.wait_for_timeout(100)
    assert not problems
    assert not [url for url in requests if not url.startswith(("file:", "data:"))]
    # On a phone nothing sticks out sideways.
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.body.dataset.mdColorScheme") == "slate"
    context.close()


def shown(page, selector: str) -> int:
    return page.locator(selector).filter(visible=True).count()


def background(page, pseudo: str) -> str:
    script = f"e => getComputedStyle(e, '{pseudo}').content"
    return page.locator(".references.relevance li > b").first.evaluate(script)


def pictures(page) -> list[float]:
    """Return how much wider than its frame each picture is, once all of them have come."""
    return page.evaluate(
        """async () => {
            const shown = [...document.querySelectorAll(".references.relevance li > b > img")];
            await Promise.all(shown.map((image) => image.decode()));
            return shown.map((image) => image.clientWidth / image.parentElement.clientWidth);
        }"""
    )


def test_both_rows_stand_side_by_side_and_switches_choose_the_view(page, toy_atlas, toy):
    page.goto(address(toy_atlas, "channels/features.28/1.html"))
    assert shown(page, ".references.relevance li") == toy.k
    assert shown(page, ".references.activation li") == toy.k
    tops = [page.locator(f".references.{mode} li").first.bounding_box() for mode in MODES]
    assert tops[0]["y"] == tops[1]["y"] < tops[0]["y"] + tops[0]["width"] < 350
    page.locator("label[for=as-concept]").click()
    page.keyboard.press("ArrowLeft")  # radio buttons: the switch, not the previous page
    assert page.locator("#as-patch").is_checked()
    assert page.url.endswith("channels/features.28/1.html")

    assert pictures(page) == pytest.approx([48 / 12] * toy.k, rel=0.02)  # patches of 12 pixels
    assert background(page, "::after") == "none"
    page.get_by_text("concept only").click()
    assert background(page, "::after") == '""'  # the overlay
    page.get_by_text("whole picture").click()
    assert pictures(page) == [1] * toy.k

    page.goto(address(toy_atlas, "channels/features.28/2.html"))  # the choice stays
    assert pictures(page) == [1] * toy.k


def small(picture: Image.Image) -> np.ndarray:
    """Return a picture as 6 x 6 colours."""
    scaled = picture.convert("RGB").resize((6, 6), Image.Resampling.BOX)
    return np.asarray(scaled, np.float32)


@pytest.mark.parametrize("mode", ["relevance", "activation"])
@pytest.mark.parametrize("view", ["patch", "concept only"])
def test_patches_show_their_own_part_of_their_pictures(browser, toy_atlas, toy, mode, view):
    context = browser.new_context(color_scheme="dark")  # the mask overlay is black, as in its file
    page = context.new_page()
    page.goto(address(toy_atlas, "channels/features.28/1.html"))
    page.add_style_tag(content=".atlas .references li::before { display: none }")
    page.get_by_text(view, exact=True).click()

    folder = toy_atlas.root / "pages" / "channels" / "features.28"
    paths = toy_atlas.table("images")["path"].to_pylist()
    tiles = []
    for row in toy_atlas.table("references").to_pylist():
        if (row["layer"], row["channel"], row["mode"]) == ("features.28", 1, mode):
            box = (row["x0"], row["y0"], row["x1"], row["y1"])
            with Image.open(toy_atlas.root / paths[row["image"]]) as picture:
                tile = picture.convert("RGB").resize((120, 120), Image.Resampling.BICUBIC, box=box)
            tiles.append(np.asarray(tile, np.float32))
    with Image.open(next(folder.glob("1v-*.webp"))) as overlays:  # relevance, then activation
        covers = np.asarray(overlays)[:, :, 3].reshape(2, toy.k, 18, 18)[int(mode == "activation")]
    expected = []
    for tile, cover in zip(tiles, covers, strict=True):
        overlay = Image.fromarray(cover[1:17, 1:17]).resize(
            tile.shape[:2], Image.Resampling.BILINEAR
        )
        seen = 1 - np.asarray(overlay, np.float32)[:, :, None] / 255 if view != "patch" else 1
        expected.append(small(Image.fromarray((tile * seen).astype(np.uint8))))
    patches = page.locator(f".references.{mode} li > b")
    for place in range(toy.k):
        shot = small(Image.open(BytesIO(patches.nth(place).screenshot())))
        distances = [np.abs(shot - picture).mean() for picture in expected]
        assert np.argmin(distances) == place, distances
        assert min(distances) < 10, distances
    context.close()


def test_arrow_keys_walk_through_the_channels(page, toy_atlas):
    page.goto(address(toy_atlas, "channels/features.28/1.html"))
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/channels/features.28/2.html")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/channels/features.28/1.html")


def test_few_classes_are_listed_with_a_way_to_all(page, toy_atlas):
    page.goto((toy_atlas.root / "site/search.html").as_uri())
    names = page.evaluate("conceptAtlas.seen.map((label) => conceptAtlas.labels[label])")
    count = sum(bool(re.search(r"\ba", name.lower())) for name in names)
    assert count > 4
    page.locator("#q").fill("a")
    assert page.locator(".hits .label").count() == 4
    page.get_by_role("button", name=f"All {count} classes").click()
    assert page.locator(".hits .label").count() == count
    assert page.evaluate("document.activeElement.textContent").startswith("Class")


def test_without_scripts_the_switches_work_too(browser, toy_atlas, toy):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address(toy_atlas, "channels/features.28/1.html"))
    assert shown(page, ".references.activation li") == toy.k
    page.get_by_text("whole picture").click()
    pictures = page.locator(".references.activation li b img")
    assert pictures.first.evaluate("e => e.clientWidth / e.parentElement.clientWidth") == 1
    context.close()
