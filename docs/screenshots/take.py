"""Take pictures of the pages of an atlas in Chromium: light, dark, and as wide as a phone.

python docs/screenshots/take.py build/out/demo docs/screenshots
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

PAGES = {
    "home": "index.html",
    "layer": "layers/features.40.html",
    "channel": "channels/features.40/49.html",
    "class": "classes/1.html",
    "search": "search.html?q=heart",
    "map": "map.html",
    "trust": "trust.html",
}

KINDS = {
    "light": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}


def main(atlas: Path, out: Path) -> None:
    """Write NAME-KIND.webp for each page of `atlas` into `out`."""
    site = atlas.resolve() / "site"
    explanations = sorted(site.glob("explanations/*.html"))
    explained = [p.name for p in explanations if p.name != "index.html"]
    pages = dict(PAGES)
    if explained:
        pages["explanation"] = f"explanations/{explained[0]}"
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for kind, settings in KINDS.items():
            context = browser.new_context(**settings)
            for name, address in pages.items():
                page = context.new_page()
                page.goto(f"{site.as_uri()}/{address}")
                page.wait_for_timeout(500)
                picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
                picture.save(out / f"{name}-{kind}.webp", quality=82, method=6)
                page.close()
            context.close()
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
