"""Figures keep type as type and have pictures at 300 dpi."""

import base64
import re
import shutil
import sys
import zlib
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import atlas
from atlas.publishing.figure import TILES, WIDTHS
from atlas.store import Store

SVG = "{http://www.w3.org/2000/svg}"
WILD = "a $x^2$ <b> & {c} \\alpha"


@pytest.fixture(scope="module")
def explained(named, run, tmp_path_factory) -> tuple[Path, str]:
    """An atlas with an explanation and its id, and with a wild name."""
    root = tmp_path_factory.mktemp("explained")
    shutil.copytree(named, root / "demo")
    a = atlas.open(root / "demo")
    a["planted:3"].references()[0].picture().save(root / "one.png")
    result = run("explain", root / "demo", root / "one.png")
    assert result.returncode == 0, result.stderr
    names = a.channels["name"].to_pylist()
    names[a["planted:4"].row] = WILD
    Store(root / "demo").extend_table("channels", {"name": names})
    return root / "demo", Path(result.stdout.split()[-1]).name


def images_of(svg: ElementTree.Element) -> list[tuple[Image.Image, float]]:
    """The pictures in an SVG, and how many inches each is wide."""
    found = []
    for element in svg.iter(f"{SVG}image"):
        data = element.get("{http://www.w3.org/1999/xlink}href").split(",", 1)[1]
        [scale] = re.findall(r"matrix\(([\d.]+)", element.get("transform", "matrix(1"))[:1]
        inches = float(element.get("width")) * float(scale) / 72
        found.append((Image.open(BytesIO(base64.b64decode(data))), inches))
    return found


@pytest.mark.parametrize("width", ["one", "two"])
def test_svg(explained, tmp_path, width):
    a = atlas.open(explained[0])
    caption = a.figure("planted:3", "planted:4", out=tmp_path / "f.svg", width=width)
    svg = ElementTree.parse(tmp_path / "f.svg").getroot()
    assert float(svg.get("width").removesuffix("pt")) / 72 == pytest.approx(WIDTHS[width], abs=0.01)
    texts = ["".join(element.itertext()).strip() for element in svg.iter(f"{SVG}text")]
    assert [text for text in texts if text] == ["planted:3 “star”", f"planted:4 “{WILD}”"]
    images = images_of(svg)
    assert len(images) == sum(
        len(a[c].references()[: TILES[width]]) for c in ("planted:3", "planted:4")
    )
    for picture, inches in images:
        assert picture.width / inches == pytest.approx(300, rel=0.02)
    first = a["planted:3"].references()[0].patch()
    side = images[0][0].width
    expected = np.asarray(first.resize((side, side), Image.Resampling.LANCZOS), int)
    drawn = np.asarray(images[0][0].convert("RGB"), int)
    # An SVG of matplotlib holds pictures upside down and turns them.
    assert min(np.abs(d - expected).mean() for d in (drawn, drawn[::-1])) < 1
    assert caption.startswith(f"Channels planted:3 “star”; planted:4 “{WILD}” of demo/vgg.")
    assert f"{a.id}-channels-planted-3" in caption


def test_pdf_has_type_and_pictures(explained, tmp_path):
    a = atlas.open(explained[0])
    a.figure("planted:3", out=tmp_path / "f.pdf", width="one", mode="activation")
    data = (tmp_path / "f.pdf").read_bytes()
    assert b"/Type3" not in data
    assert b"/FontFile2" in data
    widths = [int(w) for w in re.findall(rb"/Subtype /Image.{0,200}?/Width (\d+)", data, re.DOTALL)]
    widths += [
        int(w) for w in re.findall(rb"/Width (\d+).{0,200}?/Subtype /Image", data, re.DOTALL)
    ]
    side = (WIDTHS["one"] - 4 * 0.03) / 5
    assert widths and set(widths) == {round(side * 300)}
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+)", data)
    assert float(box[1]) / 72 == pytest.approx(WIDTHS["one"], abs=0.01)
    streams = re.findall(rb"stream\r?\n(.*?)endstream", data, re.DOTALL)
    contents = b"".join(decompressed(stream) for stream in streams)
    assert b"Tf" in contents and (b"Tj" in contents or b"TJ" in contents)


def decompressed(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


def test_the_same_figure_is_the_same_bytes(explained, tmp_path):
    a = atlas.open(explained[0])
    for kind in ("pdf", "svg", "png"):
        paths = [tmp_path / f"{n}.{kind}" for n in range(2)]
        for path in paths:
            a.figure("planted:3", out=path)
        assert paths[0].read_bytes() == paths[1].read_bytes(), kind


def test_an_explanation_from_the_shell(explained, run, tmp_path):
    root, slug = explained
    result = run("figure", root, "--explanation", slug, "--out", tmp_path / "e.png")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Explanation of one.png as “")
    assert slug in result.stdout
    with Image.open(tmp_path / "e.png") as drawn:
        assert drawn.width == pytest.approx(WIDTHS["two"] * 300, abs=2)
        assert drawn.info["dpi"][0] == pytest.approx(300, abs=0.1)


BAD = {
    "address": (["planted:77", "--out", "f.pdf"], "planted:24, planted:23, planted:22"),
    "nothing": (["--out", "f.pdf"], "give addresses of channels"),
    "both": (["planted:3", "--explanation", "x", "--out", "f.pdf"], "give addresses of channels"),
    "explanation": (["--explanation", "nope", "--out", "f.pdf"], "no explanation 'nope'"),
    "ending": (["planted:3", "--out", "f.eps"], ".pdf, .svg, .png"),
    "no file": (["planted:3"], "--out"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_questions_end_in_one_line(named, run, tmp_path, arguments, message):
    result = run("figure", named, *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_it_says_what_to_install(named, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(atlas.UserError, match=r"concept-atlas\[figure\]"):
        atlas.open(named).figure("planted:3", out=tmp_path / "f.pdf")


def test_the_contact_sheet(named, run, tmp_path):
    result = run("show", named, "planted:3", "--sheet", tmp_path / "s.png", "--json")
    assert result.returncode == 0, result.stderr
    a = atlas.open(named)
    first = a["planted:3"].references("activation")[0].patch()
    tile = np.asarray(first.resize((112, 112), Image.Resampling.LANCZOS), int)
    with Image.open(tmp_path / "s.png") as drawn:
        sheet = np.asarray(drawn.convert("RGB"), int)
    # Under the head and one line of type, at the left.
    assert (sheet[58 : 58 + 112, 6 : 6 + 112] == tile).all()
    result = run("show", named, "planted:3", "--sheet", tmp_path / "s.gif")
    assert result.returncode == 2
    assert ".png" in result.stderr
