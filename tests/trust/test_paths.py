"""Paths and links of an atlas from elsewhere: inside the atlas, or refused."""

import json
import os
import shutil
import threading
import urllib.error
import urllib.request
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PATHS = (
    "../outside/secret.txt", "{outside}/secret.txt", "images/../../outside/secret.txt",
    "..\\outside\\secret.txt", "images/aa/x\0.webp", "~/secret.txt", "file:///{outside}/secret.txt",
    "C:/secret.webp", "", ".", "images", "manifest.json",
)  # fmt: skip

READERS = {
    "show": ["show", "ATLAS", "planted:3", "--sheet", "OUT/sheet.png"],
    "figure": ["figure", "ATLAS", "planted:3", "--out", "OUT/figure.png"],
    "figure of an explanation": ["figure", "ATLAS", "--explanation", "ID", "--out", "OUT/f.png"],
    "hf": ["export", "ATLAS", "OUT/hf"],
    "hf thumbs": ["export", "ATLAS", "OUT/hf", "--set", "site.images=thumbs"],
    "csv": ["export", "ATLAS", "OUT/csv", "--format", "csv"],
    "crp": ["export", "ATLAS", "OUT/crp", "--format", "crp"],
    "milan": ["export", "ATLAS", "OUT/milan", "--format", "milan"],
    "diff": ["diff", "ATLAS", "HONEST", "--out", "OUT/diff"],
    "cite": ["cite", "ATLAS", "--explanation", "ID"],
    "verify": ["verify", "ATLAS"],
    "rename": ["rename", "ATLAS", "planted:3", "red", "--by", "Ada"],
    "site": ["site", "ATLAS"],
}


@pytest.fixture
def everything(place, honest, atlas_command, tmp_path):
    """Run every command that reads an atlas; none may fail otherwise than in one line."""
    id_ = next((honest / "explanations").iterdir()).name
    out = tmp_path / "made"

    def run(*names: str) -> list[int]:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        statuses = []
        for name in names or READERS:
            filled = [
                part.replace("ATLAS", str(place.atlas)).replace("HONEST", str(honest))
                .replace("OUT", str(out)).replace("ID", id_)
                for part in READERS[name]
            ]  # fmt: skip
            ended = atlas_command(*filled)
            assert ended.status in (0, 1, 2), name
            assert "Traceback" not in ended.err
            statuses.append(ended.status)
            place.unread(out)
            for made in ("pages", "site"):
                place.unread(place.atlas / made)
        place.untouched()
        return statuses

    return run


def set_column(path: Path, name: str, values: list) -> None:
    table = pq.read_table(path)
    column = pa.array(values, table.schema.field(name).type)
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, column), path)


@pytest.mark.parametrize("path", PATHS)
def test_a_picture_outside_is_read_by_nothing(place, everything, path):
    table = place.atlas / "images.parquet"
    count = pq.read_metadata(table).num_rows
    set_column(table, "path", [path.format(outside=place.outside)] * count)
    statuses = everything()
    assert set(statuses) <= {1, 2} | ({0} if len(READERS) > 3 else set())
    assert statuses[0] == statuses[3] == statuses[-1] == 2


@pytest.mark.parametrize("path", PATHS)
def test_a_heat_map_outside_is_published_by_nothing(place, everything, path):
    for file in place.atlas.glob("explanations/*/evidence.json"):
        value = json.loads(file.read_text())
        for concept in value["concepts"]:
            concept["map"] = path.format(outside=place.outside)
        file.write_text(json.dumps(value))
    assert everything("site", "figure of an explanation", "cite")[0] == 2


@pytest.mark.parametrize("id_", ["../../outside/folder", "{outside}", "a/b", "..", "", "x" * 400])
def test_nothing_is_written_where_an_id_points(place, everything, id_):
    path = place.atlas / "manifest.json"
    value = json.loads(path.read_text())
    value["id"] = id_.format(outside=place.outside)
    path.write_text(json.dumps(value))
    assert set(everything()) <= {1, 2}


@pytest.mark.parametrize("layer", ["../../outside/folder", "..", "/etc/x", "a\0b", ".hidden"])
def test_nothing_is_written_where_a_layer_points(place, everything, layer, tmp_path):
    for name in ("channels", "references"):
        path = place.atlas / f"{name}.parquet"
        old = pq.read_table(path)["layer"].to_pylist()
        set_column(path, "layer", [layer if one == "planted" else one for one in old])
    path = place.atlas / "manifest.json"
    path.write_text(
        json.dumps(json.loads(path.read_text().replace('"planted"', json.dumps(layer))))
    )
    before = {one.name for one in tmp_path.iterdir()} | {"made"}
    everything("crp", "milan", "diff", "csv", "hf")
    assert {one.name for one in tmp_path.iterdir()} == before
    assert {one.name for one in (tmp_path / "made").iterdir()} <= {
        "crp",
        "milan",
        "diff",
        "csv",
        "hf",
    }


LINKS = (
    "manifest.json", "channels.parquet", "images.parquet", "masks.npy", "patches.faiss",
    "names.jsonl", "scores.jsonl", "mkdocs.yml", ".lock", ".pages.json", ".site.json",
    ".manifest.partial.json", ".channels.partial.parquet",
)  # fmt: skip

FOLDERS = ("images", "explanations", "pages", "site", "theme", ".site.partial")


@pytest.mark.parametrize("name", [*LINKS, *FOLDERS])
def test_a_link_that_leads_out_is_followed_by_nothing(place, everything, name):
    path = place.atlas / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    target = place.outside / ("folder" if name in FOLDERS else "secret.txt")
    path.symlink_to(target)
    assert set(everything()) == {2}


@pytest.mark.parametrize(
    "inside",
    [
        "pages/channels",
        "pages/assets",
        "site/channels",
        "site/assets",
        "images/zz",
        "explanations/a",
    ],
)
def test_a_link_further_inside_is_followed_by_nothing(place, everything, inside):
    path = place.atlas / inside
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(place.outside / "folder")
    everything("site", "verify", "hf")


def test_links_of_files_are_not_written_through(place, everything):
    for name in ("pages/index.md", "pages/assets/.atlas.partial.css", "site/index.html"):
        path = place.atlas / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(place.outside / "secret.txt")
    everything("site", "verify")


def test_a_picture_that_is_a_link_is_not_published(place, everything):
    first = sorted(place.atlas.glob("images/*/*.webp"))[0]
    first.unlink()
    first.symlink_to(place.outside / "folder" / "secret.webp")
    assert set(everything("hf", "site")) == {2}


def test_a_heat_map_that_is_a_link_is_not_published(place, everything):
    first = sorted(place.atlas.glob("explanations/*/*.webp"))[0]
    first.unlink()
    first.symlink_to(place.outside / "folder" / "secret.webp")
    assert everything("site") == [2]


@pytest.mark.parametrize("name", ["evidence.json", "claims.json", "narrative.json"])
def test_what_an_explanation_says_is_not_read_through_a_link(place, everything, tmp_path, name):
    """Not even where the file outside is one that could be read."""
    folder = next((place.atlas / "explanations").iterdir())
    there = tmp_path / name
    there.write_bytes((folder / name).read_bytes())
    (folder / name).unlink()
    (folder / name).symlink_to(there)
    assert set(everything("site", "verify", "cite")) == {2}


@pytest.mark.parametrize("name", ["bands.parquet", "names.jsonl", "explanations/ID/evidence.json"])
def test_a_pipe_is_not_waited_for(place, everything, name):
    id_ = next((place.atlas / "explanations").iterdir()).name
    path = place.atlas / name.replace("ID", id_)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    assert set(everything("show", "verify", "csv", "site")) == {2}


def test_an_atlas_may_itself_be_behind_a_link(place, atlas_command, tmp_path):
    (tmp_path / "link").symlink_to(place.atlas)
    assert atlas_command("show", tmp_path / "link", "planted:3").status == 0


def test_templates_pages_and_ledgers_of_others_are_not_used(place, atlas_command, tmp_path):
    """Jinja runs what templates say, and a page that is `unchanged` would be kept."""
    assert atlas_command("site", place.atlas).status == 0
    foreign = tmp_path / "foreign"
    shutil.copytree(place.atlas, foreign)  # as an archive is unpacked: with another inode
    mark = tmp_path / "mark"
    theme = foreign / "theme" / "partials"
    theme.mkdir(parents=True)
    run = f"{{{{ config.__init__.__globals__['os'].system('touch {mark}') }}}}"
    (theme / "footer.html").write_text(run)
    (foreign / "theme" / "main.html").write_text(run)
    page = foreign / "pages" / "channels" / "planted" / "3.md"
    text = page.read_bytes()
    page.write_bytes(b"<script>evil()</script>" + text[23:])  # of the same size
    html = foreign / "site" / "channels" / "planted" / "3.html"
    html.write_bytes(b"<script>evil()</script>" + html.read_bytes()[23:])
    script = foreign / "site" / "assets" / "atlas.js"
    known = script.stat()
    script.unlink()
    script.write_bytes(b"evil();".ljust(known.st_size))
    os.utime(script, ns=(known.st_atime_ns, known.st_mtime_ns))
    assert atlas_command("site", foreign).status == 0
    assert not mark.exists()
    for path in (page, html, script):
        assert b"evil" not in path.read_bytes(), path


def test_a_site_serves_nothing_from_outside(place, tmp_path):
    from atlas.publishing.serve import Handler

    site = place.atlas / "site"
    site.mkdir()
    (site / "index.html").write_text("<p>page</p>")
    (site / "out").symlink_to(place.outside)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    try:
        assert b"page" in urllib.request.urlopen(f"{base}/index.html").read()
        for path in (
            "out/secret.txt",
            "out/",
            "../outside/secret.txt",
            "%2e%2e/outside/secret.txt",
        ):
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(f"{base}/{path}")
    finally:
        server.shutdown()
        server.server_close()
