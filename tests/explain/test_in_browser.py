"""An explanation's page in a real browser, from the file system, by mouse and by keyboard."""

import shutil
from collections.abc import Iterator

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

SHOWN = """() => document.querySelector('.stage .overlay').src.split('/').pop()"""


@pytest.fixture(scope="module")
def address(built_pages) -> str:
    return next((built_pages / "site/explanations").glob("0*.html")).resolve().as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    if CHROMIUM is None:
        pytest.skip("there is no chromium (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(params=[True, False], ids=["with scripts", "without scripts"])
def page(browser, address, request) -> Iterator:
    context = browser.new_context(
        viewport={"width": 1280, "height": 1000}, java_script_enabled=request.param
    )
    page = context.new_page()
    page.problems = []
    page.on("requestfailed", lambda failed: page.problems.append(failed.url))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda asked: page.problems.append(asked.url)
            if not asked.url.startswith(("file:", "data:")) else None)  # fmt: skip
    page.scripted = request.param
    page.goto(address)
    yield page
    assert not page.problems
    context.close()


def test_the_keyboard_switches_between_texts(page):
    assert page.locator(".narrative.everyone").is_visible()
    assert not page.locator(".narrative.expert").is_visible()
    page.focus("#for-everyone")
    page.keyboard.press("ArrowRight")
    assert page.locator(".narrative.expert").is_visible()
    assert not page.locator(".narrative.everyone").is_visible()


def test_a_sentence_shows_its_evidence_under_the_mouse_and_with_the_keyboard(page):
    sentence = page.locator(".narrative.everyone .sentence").first
    proof = sentence.locator(".proof")
    assert not proof.is_visible()
    sentence.hover()
    assert proof.is_visible()
    assert "prediction.1 probability" in proof.inner_text()
    page.mouse.move(2, 2)
    assert not proof.is_visible()
    sentence.focus()
    assert proof.is_visible()


def test_hovering_a_concept_in_the_text_shows_its_map(page):
    if not page.scripted:
        pytest.skip("needs scripts; the cards show the maps without")
    concept = page.locator(".narrative.everyone a.concept").first
    wanted = concept.get_attribute("data-map")
    concept.hover()
    assert page.evaluate(SHOWN) == f"{wanted}.webp"
    page.mouse.move(2, 2)
    assert page.evaluate(SHOWN) == "heat.webp"
    concept.focus()
    assert page.evaluate(SHOWN) == f"{wanted}.webp"


@pytest.mark.parametrize("media", ["screen", "print"])
def test_each_card_shows_its_map_without_a_switch(page, media):
    page.emulate_media(media=media)
    cards = page.locator(".concepts li")
    for n in range(cards.count()):
        assert cards.nth(n).locator(".overlay").is_visible()
        assert "→" in cards.nth(n).locator(".change").inner_text()


def test_nothing_is_wider_than_a_telephone(page):
    page.set_viewport_size({"width": 360, "height": 700})
    for audience in ("everyone", "expert"):
        page.locator(f"label[for=for-{audience}]").click()
        for sentence in page.locator(f".narrative.{audience} .sentence").all():
            sentence.focus()
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
