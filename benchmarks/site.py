"""How long a site takes: an atlas of VGG16's size, and plain MkDocs Material beside it.

The atlas is synthetic, but of real size: 4,224 channels in 13 layers, 40 references in each
mode, 1,000 classes, 100 explanations, names, senses, scores, questions and answers. Its
pictures are noise on patches of one colour.

    python benchmarks/site.py [--scale 1] [--keep DIR]
"""

import argparse
import gzip
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import psutil
import synthetic_atlas

from atlas.store import Store, bases, files, names
from atlas.store.names import NameRecord


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    seconds: float
    cpu: float  # seconds of all its processes
    memory: float  # most at once, of all its processes, in GiB

    def __str__(self) -> str:
        return f"{self.seconds:7.1f} s {self.cpu:7.1f} s CPU {self.memory:6.2f} GiB"


def timed(*arguments: object) -> Cost:
    """Run a command and return what it took."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(list(map(str, arguments)), stderr=subprocess.DEVNULL) as process:
        watched, peak = psutil.Process(process.pid), 0
        while process.poll() is None:
            try:
                family = [watched, *watched.children(recursive=True)]
                peak = max(peak, sum(one.memory_info().rss for one in family))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.1)
    if process.returncode:
        sys.exit(f"{arguments} failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.monotonic() - start, cpu, peak / 2**30)


def tree(site: Path) -> dict[str, int]:
    """Return every file and when it was written."""
    return {
        p.relative_to(site).as_posix(): p.stat().st_mtime_ns for p in site.rglob("*") if p.is_file()
    }


def rename(store: Store) -> None:
    """Give one channel another name, as `atlas rename` does."""
    table = store.table("channels").select(["layer", "channel"])
    row = table.to_pylist()[table.num_rows // 2]
    records = names.read(store)
    again = NameRecord(
        row["layer"],
        row["channel"],
        "person",
        "somebody",
        "named",
        synthetic_atlas.phrase(np.random.default_rng(), 3, 5),
    )
    names.append(store, [again], len(records))
    names.write_columns(store, "vlm")
    synthetic_atlas.update_checksums(store)


def plain(root: Path, pages: int, out: Path) -> tuple[Cost, float]:
    """Build some of the pages with MkDocs Material as it comes: all in the navigation."""
    shutil.rmtree(out, ignore_errors=True)
    chosen = sorted((root / "pages" / "channels").rglob("*.md"))[:pages]
    for path in (*chosen, root / "pages" / "index.md"):
        target = out / "docs" / path.relative_to(root / "pages")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    (out / "mkdocs.yml").write_text("site_name: plain\ntheme:\n  name: material\n")
    cost = timed(sys.executable, "-m", "mkdocs", "build", "-q", "-f", out / "mkdocs.yml")
    sizes = [path.stat().st_size for path in (out / "site" / "channels").rglob("*.html")]
    return cost, float(np.mean(sizes)) / 1000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="1 is VGG16")
    parser.add_argument("--keep", type=Path, help="directory to leave the atlas in")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.keep or Path(scratch) / "atlas"
        if not (root / "manifest.json").is_file():
            shutil.rmtree(root, ignore_errors=True)
            synthetic_atlas.make(root, arguments.scale)
        report(Store(root), Path(scratch))


def report(store: Store, scratch: Path) -> None:
    """Build the site in several ways, and print what each took."""
    root, site = store.root, store.root / "site"
    command = sys.executable, "-m", "atlas", "site", root
    for name in ("pages", "site"):
        shutil.rmtree(root / name, ignore_errors=True)
    alone = timed(*command)
    print_row("everything from nothing", alone)
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) / 2**20
    print(f"the site has {size:.0f} MiB", flush=True)
    # Strips of patches are made once; pages whenever names or templates change.
    forget_pages(root)
    print_row("all pages, strips of patches there", timed(*command))
    before = tree(site)
    rename(store)
    cost = timed(*command)
    after = tree(site)
    changed = [name for name in after if before.get(name) != after[name]]
    print_row(f"after a new name ({len(changed)} files change)", cost)
    print_row("after nothing", timed(*command))
    channels = [path.stat().st_size for path in (site / "channels").rglob("*.html")]
    mean, most = np.mean(channels) / 1000, max(channels) / 1000
    every = len(list(site.rglob("*.html")))
    print(f"{every} pages; of a channel {mean:.1f} kB, at most {most:.1f} kB", flush=True)
    data = (site / "assets" / "search-data.js").read_bytes()
    packed = len(gzip.compress(data)) / 1000
    print(f"search data: {packed:.0f} kB compressed, {len(data) / 1000:.0f} kB")
    print(f"search: {keystrokes(site)}", flush=True)
    for name in ("index.html", "channels/features.28/79.html", "classes/0.html", "map.html"):
        if (site / name).is_file():
            print(f"{name}: {loaded(site, name)}", flush=True)
    for count in (200, 400, 800):
        if count <= len(channels):
            cost, size = plain(root, count, scratch / "plain")
            print_row(f"plain MkDocs Material, {count} pages of {size:.0f} kB", cost)
    report_factors(store, alone)


def report_factors(store: Store, alone: Cost) -> None:
    """Build the site of the atlas with factors from nothing, and print what they add."""
    synthetic_atlas.add_factors(store)
    for name in ("pages", "site"):
        shutil.rmtree(store.root / name)
    cost = timed(sys.executable, "-m", "atlas", "site", store.root)
    shutil.rmtree(bases.place(store).root)  # what is kept can be measured again
    count = len(store.manifest()["layers"])
    print_row(f"from nothing with {count} x {synthetic_atlas.FACTORS} factors", cost)
    more, cpu = cost.seconds - alone.seconds, cost.cpu - alone.cpu
    print(f"factors add {more:.1f} s, {cpu:.1f} s CPU", flush=True)


def print_row(what: str, cost: Cost) -> None:
    """Print a row."""
    print(f"{what:48} {cost}", flush=True)


def forget_pages(root: Path) -> None:
    """Remove everything but the pictures."""
    (root / ".site.json").unlink(missing_ok=True)
    shutil.rmtree(root / "site", ignore_errors=True)
    for path in (root / "pages").rglob("*.md"):
        path.unlink()
    ledger = root / ".pages.json"
    if ledger.is_file():
        known = json.loads(ledger.read_text())
        kept = {key: value for key, value in known["pages"].items() if "." not in key}
        files.write_text(ledger, json.dumps({**known, "pages": kept}))


def loaded(site: Path, name: str) -> str:
    """Open a page in Chromium; return the bytes of its files, at first and scrolled to its end."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return "not measured, there is no Chromium"
    from playwright.sync_api import sync_playwright

    asked: set[Path] = set()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.on("request", lambda request: asked.add(Path(unquote(urlsplit(request.url).path))))
        page.goto((site / name).as_uri())
        page.wait_for_timeout(1000)
        first = sum(path.stat().st_size for path in asked)
        for top in range(0, page.evaluate("document.documentElement.scrollHeight"), 800):
            page.evaluate(f"scrollTo(0, {top})")
            page.wait_for_timeout(50)
        page.wait_for_timeout(500)
        browser.close()
    every = {path.suffix: 0 for path in asked}
    for path in asked:
        every[path.suffix] += path.stat().st_size
    kinds = ", ".join(f"{kind[1:]} {size / 1000:.0f}" for kind, size in sorted(every.items()))
    return f"{first / 1000:.0f} kB at first, {sum(every.values()) / 1000:.0f} in all ({kinds})"


def keystrokes(site: Path) -> str:
    """Type into the search in Chromium; return the longest time from a key to the results."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return "not measured, there is no Chromium"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto((site / "search.html").as_uri())
        times = page.evaluate(
            """() => {
                const box = document.getElementById("q");
                const times = [];
                for (const query of ["striped fur", "red wheel", "zebra", "28:79", "a", "e"]) {
                    for (let n = 1; n <= query.length; n++) {
                        box.value = query.slice(0, n);
                        const start = performance.now();
                        box.dispatchEvent(new Event("input"));
                        document.body.offsetHeight;
                        times.push(performance.now() - start);
                    }
                }
                return times;
            }"""
        )
        browser.close()
    return f"{len(times)} keystrokes, median {np.median(times):.0f} ms, at most {max(times):.0f} ms"


if __name__ == "__main__":
    main()
