"""Pages of factors in a real browser: as steady, narrow and readable to all as the others."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

WATCH = (
    "window.shift = 0; new PerformanceObserver((list) => list.getEntries().forEach("
    "(one) => { window.shift += one.value; })).observe({type: 'layout-shift', buffered: true});"
)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_pages_of_factors_stand_still_and_can_be_read_by_all(factored):
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    site = (factored / "site").resolve().as_uri()
    wrong = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.add_init_script(WATCH)
        for name in ("graph.html", "layers/3~2fnmf3.html", "channels/3~2fnmf3/0.html",
                     "classes/0.html"):  # fmt: skip
            page.goto(f"{site}/{name}")
            page.wait_for_timeout(150)
            found = [
                f"{violation['id']} {violation['nodes'][0]['html'][:160]}"
                for violation in Axe().run(page).response["violations"]
                if violation["impact"] in ("serious", "critical")
            ]
            if page.evaluate("window.shift") >= 0.02:
                found.append("it moves")
            if page.evaluate("document.documentElement.scrollWidth") > 390:
                found.append("it is wider than the screen")
            if found:
                wrong[name] = found
        browser.close()
    assert wrong == {}
