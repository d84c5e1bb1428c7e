"""The theme's style sheets are cut down without a change of any page."""

import shutil
from importlib.resources import files as resources
from pathlib import Path

import pytest

from atlas.site.theme_styles import classes, pruned

CSS = """
@charset "UTF-8";
:root{--used:1px;--through:var(--far);--far:2px;--unused:url("data:a;b{},c");--own:3px}
.here,.gone{margin:var(--used)}.gone .here{color:red}.here:not(.gone)>p{padding:var(--through)}
.here:is(.gone,.other) p{color:green}
@media print{.gone{color:red}}@media screen{.here{color:blue}.gone{color:red}}
[data-md-color-primary=red]{color:red}[data-md-color-primary=teal]{color:teal}
@keyframes turn{from{top:0}to{top:1px}}
""".replace("\n", "")


def test_rules_that_can_apply_are_kept():
    page = '<body data-md-color-primary="teal"><p class="here there">'
    sheets = {"main": CSS, "more": ":root{--unused:1px;--far:1px}.gone{top:var(--unused)}"}
    kept = pruned(sheets, [page], ["a{top:var(--own)}"])
    assert kept["more"] == ":root{--far:1px}"  # which the other one uses
    assert kept["main"] == (
        '@charset "UTF-8";:root{--used:1px;--through:var(--far);--far:2px;--own:3px}'
        ".here{margin:var(--used)}.here:not(.gone)>p{padding:var(--through)}"
        ".here:is(.gone,.other) p{color:green}@media screen{.here{color:blue}}"
        "[data-md-color-primary=teal]{color:teal}@keyframes turn{from{top:0}to{top:1px}}"
    )


def test_classes_of_pages_templates_and_scripts_are_known():
    sources = [
        '<p class="one{{ " two" if x }} three">', "<p class=four>", 'x.className = "five six";',
        'x.classList.add("seven")',
    ]  # fmt: skip
    assert classes(sources) >= {"one", "two", "three", "four", "five", "six", "seven"}


STYLES = """() => [...document.querySelectorAll("body, body *")].map((one) => {
    const { x, y, width, height } = one.getBoundingClientRect();
    const look = getComputedStyle(one);
    return [one.tagName, x, y, width, height, look.color, look.backgroundColor, look.font,
            look.borderTopWidth, look.visibility];
})"""


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_no_page_looks_different_from_the_whole_theme(toy_atlas, tmp_path, width, scheme):
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    site, whole = toy_atlas.root / "site", tmp_path / "whole"
    shutil.copytree(site, whole)
    own = Path(str(resources("material") / "templates" / "assets" / "stylesheets"))
    for sheet in (site / "assets" / "stylesheets").glob("*.css"):
        original = own / sheet.name
        assert sheet.stat().st_size < original.stat().st_size / 3
        shutil.copyfile(original, whole / "assets" / "stylesheets" / sheet.name)
    pages = (
        "index",
        "channels/features.28/1",
        "layers/features.28",
        "classes/8",
        "trust",
        "search",
    )
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        for name in (f"{one}.html" for one in pages):
            looks = []
            for root in (site, whole):
                page.goto((root / name).resolve().as_uri())
                looks.append(page.evaluate(STYLES))
            assert looks[0] == looks[1], name
        browser.close()
