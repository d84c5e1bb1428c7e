import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from atlas import site
from atlas.errors import UserError
from atlas.site import text
from atlas.store import Store, files


def pages(store: Store) -> list[Path]:
    return sorted((store.root / "site").rglob("*.html"))


def test_every_page_has_its_fixed_address(toy_atlas, toy):
    root = toy_atlas.root / "site"
    expected = {"index.html", "about.html", "layers/index.html", "classes/index.html"}
    expected |= {"404.html", "search.html", "guide.html", "data.html", "cite.html"}
    expected |= {"trust.html", "concepts/index.html", "compare.html", "picture.html", "map.html"}
    expected |= {f"layers/{text.slug(layer)}.html" for layer in toy.layers}
    expected |= {
        f"channels/{text.slug(n)}/{c}.html" for n, count in toy.layers.items() for c in range(count)
    }
    expected |= {f"classes/{label}.html" for label in range(len(toy.names) - 1)}
    assert {path.relative_to(root).as_posix() for path in pages(toy_atlas)} == expected
    assert text.slug("features.28") == "features.28"


def test_no_link_is_dead_and_no_picture_is_missing(toy_atlas, crawl):
    root = (toy_atlas.root / "site").resolve()
    count = 0
    for path in pages(toy_atlas):
        for target in crawl.targets(crawl.parse(path)):
            file = crawl.resolve(path, target)
            if file is None:
                continue
            count += 1
            assert file.is_file(), f"{path.relative_to(root)}: {target}"
            assert file.is_relative_to(root), f"{path}: {target} leads out of the site"
    assert count > 1000


def test_pages_are_well_formed_with_title_description_and_unique_ids(toy_atlas, crawl):
    for path in pages(toy_atlas):
        page = crawl.parse(path)
        assert page.title.strip(), path
        assert page.meta.get("description", "").strip(), path
        assert len(page.ids) == len(set(page.ids)), path
        assert not page.unclosed, (path, page.unclosed)
        assert len(page.all("h1")) == 1, path


def test_every_picture_has_a_size_a_text_and_loads_late(toy_atlas, crawl):
    for path in pages(toy_atlas):
        for image in crawl.parse(path).all("img"):
            if image["src"].endswith("logo.svg"):
                continue
            assert image["loading"] == "lazy", (path, image)
            assert image["width"].isdigit() and image["height"].isdigit(), (path, image)
            assert "alt" in image, (path, image)


def test_nothing_is_loaded_from_elsewhere(toy_atlas, crawl):
    loads = ("script", "img", "source", "iframe", "embed", "object", "audio", "video")
    for path in pages(toy_atlas):
        page = crawl.parse(path)
        for tag, attributes in page.tags:
            used = [attributes.get("src"), attributes.get("data"), attributes.get("srcset")]
            if tag == "link":
                used.append(attributes.get("href"))
            if tag in (*loads, "link"):
                elsewhere = [u for u in used if u and re.match(r"(https?:)?//", u)]
                assert not elsewhere, (path, tag, elsewhere)
    ours = list((toy_atlas.root / "site" / "assets").glob("atlas.*"))
    assert {path.suffix for path in ours} == {".css", ".js"}
    for path in (toy_atlas.root / "site").rglob("*.css"):
        urls = re.findall(r"url\(\s*['\"]?([^'\")]*)", path.read_text("utf-8"))
        assert not [url for url in urls if not url.startswith(("data:", "#"))], path
    for path in ours:
        assert not re.search(r"https?://", path.read_text("utf-8")), path


def test_hostile_names_are_text(toy_atlas, crawl, toy):
    root = toy_atlas.root / "site"
    for path in pages(toy_atlas):
        page = crawl.parse(path)
        for tag, attributes in page.tags:
            assert not [name for name in attributes if name.startswith("on")], (path, tag)
            for name in ("href", "src"):
                assert not (attributes.get(name) or "").lower().startswith("javascript:"), path
        scripts = path.read_text("utf-8").count("alert(1)</script>")
        assert scripts == 0, path
        assert "49" not in page.title, path
    for label, name in enumerate(toy.names[:-1]):
        page = crawl.parse(root / "classes" / f"{label}.html")
        assert text.plain(name) in " ".join(page.text.split()), label
        assert page.title.startswith(text.neutral(text.plain(name), 20)[:10]), page.title
        tables = [table.get("class") for table in page.all("table")]
        assert tables == ["class-matrix", "figures separations"][: len(tables)], label
        assert len(page.all("pre")) == 1, label  # the citation
        assert not page.all("strong"), label
    about = crawl.parse(root / "about.html")
    assert "folder:{{ 7*7 }}" in about.text
    assert "<script>alert(1)</script>.jpg" in about.text


def test_a_channel_page_shows_both_sets_with_ranks_scores_and_texts(toy_atlas, crawl, toy):
    page = crawl.parse(toy_atlas.root / "site" / "channels" / "features.28" / "1.html")
    labels = [a["alt"] for a in page.all("img") if a["alt"].startswith("patch ")]
    assert len(labels) == 2 * toy.k
    assert labels == 2 * [f"patch {rank}" for rank in range(1, toy.k + 1)]
    relevance, activation = page.text.partition("What sets it off")[::2]
    assert "2.1\u00a0%" in relevance.partition("What it is used for")[2]
    assert "0.0210" in activation
    assert "Σ |relevance| over the 4 channels of features.28" in page.text
    relations = {a.get("rel"): a["href"] for a in page.all("a")}
    assert relations["prev"] == "../../channels/features.28/0.html"
    assert relations["next"] == "../../channels/features.28/2.html"
    assert relations["up"] == "../../layers/features.28.html"
    inactive = crawl.parse(toy_atlas.root / "site" / "channels" / "features.28" / "3.html")
    assert "no references" in inactive.text


def test_a_channel_page_shows_its_correlated_channels_and_its_histogram(toy_atlas, crawl):
    page = crawl.parse(toy_atlas.root / "site" / "channels" / "features.28" / "1.html")
    names = [a["href"] for a in page.all("a") if a.get("class") == "channel-card"]
    lower = [name for name in names if "/features.0/" in name]
    assert len(lower) >= 3 and any("we" in name for name in names)
    assert "features.0, the layer before" in page.text
    drawing = next(a for a in page.all("svg") if "Histogram" in (a.get("aria-label") or ""))
    assert drawing["aria-label"].endswith("from 2.00 to 5.00; most often between 3.00 and 3.50")
    assert "21\u00a0% have no positive output" in page.text  # 5 of 24 pictures
    marks = [a for a in page.all("path") if a.get("class") == "mark"]
    assert marks == []  # the last reference, at 0.0042, is in no bin


def test_a_channel_without_relevance_claims_no_class_and_no_correlated_channel(tmp_path, toy):
    store = toy.make(tmp_path / "atlas")
    channels = store.table("channels").to_pydict()
    classes = store.table("classes").to_pydict()
    for name in ("act_density", "rel_mean", "rel_abs_mean"):
        channels[name][0] = 0.0
    channels["top_class_shares"][0] = [0.0] * len(channels["top_classes"][0])
    channels["together_correlations"][0] = [0.104, 0.096]
    for shares in classes["shares"]:
        shares[0] = 0.0
    changed = ("act_density", "rel_mean", "rel_abs_mean", "top_class_shares")
    columns = {name: channels[name] for name in (*changed, "together_correlations")}
    store.extend_table("channels", columns)
    store.extend_table("classes", {"shares": classes["shares"]})
    site.render(store)

    page = store.root.joinpath("pages/channels/features.0/0.md").read_text()
    assert "Never active" in page and "Never relevant" in page
    assert "<h2>Classes</h2>" not in page and "Mean |share|" not in page
    together = page.partition("<h2>Channels that are active together</h2>")[2].partition("<h2>")[0]
    first, second = (channels["channel"][row] for row in channels["together"][0])
    assert f"features.0/{first}.html" in together and f"features.0/{second}.html" not in together
    for path in store.root.glob("pages/classes/[0-9]*.md"):
        top_channels = path.read_text().partition("<h2>Top channels</h2>")[2]
        assert "features.0/1.html" in top_channels and "features.0/0.html" not in top_channels
    other = store.root.joinpath("pages/channels/features.0/1.md").read_text()
    assert "Never" not in other and "<h2>Classes</h2>" in other and "Mean |share|" in other


def test_a_histogram_is_drawn_to_scale():
    from atlas.site import charts

    drawn = charts.histogram([1, 1.25, 1.5, 1.75, 2], [5, 10, 0, 1], 32, 1.625)
    assert drawn.path == "M0 30V15.0h25.00V0.0h25.00V30.0h25.00V27.0h25.00V30z"
    assert (drawn.low, drawn.high, drawn.most) == (1, 2, (1.25, 1.5))
    assert drawn.inactive == 0.5
    assert drawn.mark == 62.5
    assert charts.histogram([1, 2], [3], 3, 2.0).mark == 100
    assert charts.histogram([], [], 3, None) is None


def test_thumbnail_strips_show_the_first_patches(toy_atlas):
    store = toy_atlas
    strip = next((store.root / "pages/channels/features.0").glob("0s-*.webp"))
    with Image.open(strip) as opened:
        row = opened.convert("RGB")
    tile = row.height
    assert row.width == 4 * tile
    references = store.table("references").to_pylist()
    chosen = [
        row
        for row in references
        if (row["layer"], row["channel"], row["mode"]) == ("features.0", 0, "relevance")
    ]
    paths = store.table("images")["path"].to_pylist()
    for one in chosen[:4]:
        box = (one["x0"], one["y0"], one["x1"], one["y1"])
        with Image.open(store.root / paths[one["image"]]) as picture:
            patch = picture.convert("RGB").resize((8, 8), Image.Resampling.BOX, box=box)
        place = (one["rank"] * tile, 0, (one["rank"] + 1) * tile, tile)
        shown = row.resize((8, 8), Image.Resampling.BOX, box=place)
        differences = [abs(a - b) for a, b in zip(patch.tobytes(), shown.tobytes(), strict=True)]
        assert sum(differences) / len(differences) < 8, one["rank"]


def test_a_thumbnail_strip_of_few_patches_shows_nothing_beside_them(tmp_path, toy):
    store = toy.make(tmp_path / "atlas")
    table, masks = store.table("references"), store.array("masks.npy")
    kept = table.filter(table["rank"].to_numpy() < 2)
    store.write_table(
        "references", {name: kept[name].combine_chunks() for name in kept.schema.names}
    )
    store.write_array("masks.npy", masks[table["rank"].to_numpy() < 2])
    site.render(store)
    with Image.open(next((store.root / "pages/channels/features.0").glob("0s-*.webp"))) as strip:
        opacity = strip.getchannel("A")
    assert opacity.crop((0, 0, 128, 64)).getextrema() == (255, 255)
    assert opacity.crop((128, 0, 256, 64)).getextrema() == (0, 0)


def test_a_second_rendering_touches_nothing_and_a_change_only_what_it_concerns(tmp_path, toy):
    store = toy.make(tmp_path / "atlas")
    site.render(store)

    def state() -> dict[str, int]:
        files = [path for path in store.root.joinpath("pages").rglob("*") if path.is_file()]
        return {path.as_posix(): path.stat().st_mtime_ns for path in files}

    before = state()
    site.render(store)
    assert state() == before

    sheet = next(store.root.joinpath("pages/channels/features.0").glob("1s-*.webp"))
    sheet.write_bytes(sheet.read_bytes()[:50])  # as a power cut leaves it
    store.root.joinpath("pages/channels/features.0/99.md").write_text("of an earlier atlas")
    table = store.table("channels").to_pydict()
    table["act_max"][0] = 12345.0
    store.extend_table("channels", {"act_max": table["act_max"]})
    site.render(store)
    after = state()
    changed = {path for path in after if before.get(path) != after[path]}
    names = {Path(path).relative_to(store.root / "pages").as_posix() for path in changed}
    assert names == {
        "channels/features.0/0.md",
        "api/v1/channels/features.0/0.json",
        "api/v1/tables/channels.csv",
        "api/v1/tables/channels.parquet",
        sheet.relative_to(store.root / "pages").as_posix(),
    }
    assert before.keys() == after.keys()


def test_pictures_are_not_copied_where_links_work(toy_atlas):
    assert (toy_atlas.root / "pages/i/0.webp").stat().st_nlink > 1


def test_an_atlas_without_patches_is_refused_in_one_line(tmp_path, toy):
    store = toy.make(tmp_path / "atlas")
    table = store.table("references")
    kept = {name: table[name].combine_chunks() for name in table.column_names if name != "x0"}
    store.write_table("references", kept)
    with pytest.raises(UserError, match="atlas build") as caught:
        site.render(store)
    assert "\n" not in str(caught.value)


def test_a_picture_outside_the_atlas_is_refused(tmp_path, toy):
    store = toy.make(tmp_path / "atlas")
    paths = store.table("images")["path"].to_pylist()
    store.extend_table("images", {"path": ["../../etc/passwd", *paths[1:]]})
    with pytest.raises(UserError, match="etc/passwd"):
        site.render(store)


def test_a_failing_build_is_one_line_and_leaves_the_old_site(tmp_path, toy):
    store = toy.make(tmp_path / "atlas")
    site.render(store)
    old = store.root / "site"
    old.mkdir()
    (old / "index.html").write_text("old")
    page = store.root / "pages" / "about.md"
    page.write_text(page.read_text() + "\n[dead](nowhere.md)\n")
    with pytest.raises(UserError, match=r"nowhere\.md") as caught:
        site.build(store)
    assert "\n" not in str(caught.value)
    assert (old / "index.html").read_text() == "old"
    assert not list(store.root.glob(".site*"))


def test_the_configuration_works_from_any_directory(toy_atlas, tmp_path):
    configuration = yaml.safe_load((toy_atlas.root / "mkdocs.yml").read_text("utf-8"))
    assert configuration["docs_dir"] == "pages"
    assert configuration["plugins"] == []
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    command += [
        "--config-file",
        str(toy_atlas.root / "mkdocs.yml"),
        "--site-dir",
        str(tmp_path / "out"),
    ]
    subprocess.run(command, check=True, cwd=tmp_path)
    assert (tmp_path / "out" / "channels" / "features.0" / "0.html").is_file()


def test_zensical_builds_the_same_pages(toy_atlas, tmp_path, crawl):
    zensical = Path(sys.executable).with_name("zensical")
    if not zensical.exists():
        pytest.skip("zensical is not installed")
    copy = tmp_path / "atlas"
    shutil.copytree(toy_atlas.root / "pages", copy / "pages")
    shutil.copytree(toy_atlas.root / "theme", copy / "theme")
    shutil.copy(toy_atlas.root / "mkdocs.yml", copy)
    subprocess.run([zensical, "build"], check=True, cwd=copy, capture_output=True)
    ours = {path.relative_to(toy_atlas.root / "site") for path in pages(toy_atlas)}
    theirs = {path.relative_to(copy / "site") for path in (copy / "site").rglob("*.html")}
    assert ours <= theirs
    for name in ("channels/features.28/1.html", "classes/1.html", "classes/9.html"):
        mine, other = crawl.parse(toy_atlas.root / "site" / name), crawl.parse(copy / "site" / name)
        for page in (mine, other):
            page.tags = [(t, a) for t, a in page.tags if t == "b" or a.get("loading")]
        assert mine.tags == other.tags
        assert mine.title.split(" - ")[0] == other.title.split(" - ")[0]


def test_many_whole_pictures_on_a_page_are_small_ones(toy, tmp_path):
    store = toy.make(tmp_path / "atlas")
    images = store.table("images").to_pydict()
    for number in range(4):  # larger than what is shown of them, and not square
        path = store.root / images["path"][number]
        Image.open(path).resize((300, 200)).save(path)
        images["sha256"][number] = files.sha256(path)
        images["width"][number], images["height"][number] = 300, 200
    store.write_table("images", images)
    site.render(store)
    small = {int(p.name.partition("-")[0]): p for p in (store.root / "pages" / "t").iterdir()}
    assert sorted(small) == [0, 1, 2, 3]
    assert {Image.open(path).size for path in small.values()} == {(128, 85)}
    page = (store.root / "pages" / "classes" / "0.md").read_text("utf-8")
    assert f'src="../t/{small[0].name}" width="128" height="85"' in page
    assert "../i/0.webp" not in page
    Image.new("RGB", (300, 200), "red").save(store.root / images["path"][0])
    images["sha256"][0] = files.sha256(store.root / images["path"][0])
    store.write_table("images", images)
    site.render(store)
    assert not small[0].exists() and small[1].exists()
    again = next((store.root / "pages" / "t").glob("0-*.webp"))
    assert Image.open(again).convert("RGB").getpixel((9, 9))[0] > 240
