"""Networks whose input is no square or has one channel, from the data to the site."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import atlas
from atlas.model.preprocessing import Preprocessor

WIDE = """
import torch
from torch import nn


class Bright(nn.Module):
    \"\"\"Its channel 0 answers to bright spots, wherever they are.\"\"\"

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.spots = nn.Conv2d(3, 4, 5, padding=2)
        self.deep = nn.Conv2d(4, 5, 3, padding=1, stride=2)
        self.wide = nn.Conv2d(5, 3, (3, 31), padding=(1, 15))
        self.last = nn.Linear(3 * 24 * 32, 2)
        with torch.no_grad():
            self.spots.weight[0] = 1.0
            self.spots.bias[0] = 0.0
            self.deep.weight[0] = 0.0
            self.deep.weight[0, 0] = 1.0

    def forward(self, x):
        x = torch.relu(self.spots(x))
        x = torch.relu(self.deep(x))
        return self.last(torch.relu(self.wide(x)).flatten(1))


def make():
    network = Bright()
    network.classes = ["left", "right"]
    network.preprocessing = dict(crop=(48, 64), mean=[0.0] * 3, std=[1.0] * 3)
    return network
"""

GREY = """
import torch
from torch import nn


def make():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(6 * 49, 2),
    )
    network.classes = ["left", "right"]
    return network
"""

RECIPE = """
[model]
name = "{root}/network.py:make"
device = "cpu"
[data]
source = "folder:{root}/pictures"
[explain]
concepts = 2
draws = 1
[prepass]
k = 4
{more}
"""

GREY_INPUT = """
[preprocessing]
crop = 28
interpolation = "bicubic"
mean = 0.5
std = [0.25]
"""


def planted(folder, width, height, mode):
    """Put twelve dark pictures with one bright spot each; return its centre by key."""
    random = np.random.default_rng(0)
    centres = {}
    for number in range(12):
        kind = ("left", "right")[number % 2]
        pixels = random.integers(0, 40, (height, width, 3)).astype(np.uint8)
        x = int(random.integers(4, width // 2 - 4)) + (width // 2 if kind == "right" else 0)
        y = int(random.integers(4, height - 4))
        pixels[y - 3 : y + 3, x - 3 : x + 3] = 255
        (folder / kind).mkdir(parents=True, exist_ok=True)
        key = f"{kind}/{number:02}.png"
        Image.fromarray(pixels).convert(mode).save(folder / key)
        centres[key] = x, y
    return centres


def build(root, network, size, mode, more, run):
    centres = planted(root / "pictures", *size, mode)
    (root / "network.py").write_text(network)
    (root / "recipe.toml").write_text(RECIPE.format(root=root.as_posix(), more=more))
    out = root / "out"
    done = run("index", root / "recipe.toml", "--out", out)
    assert done.returncode == 0, done.stderr
    done = run(
        "explain",
        out,
        root / "pictures/left/00.png",
        root / "pictures/right/01.png",
        "--trust-code",
    )
    assert done.returncode == 0, done.stderr
    done = run("build", root / "recipe.toml", "--out", out)
    assert done.returncode == 0, done.stderr
    done = run("verify", out)
    assert done.returncode == 0, done.stdout + done.stderr
    return atlas.open(out, trust_code=True), out, centres


@pytest.fixture(scope="module")
def wide(tmp_path_factory, run):
    """48 rows, 64 columns."""
    return build(tmp_path_factory.mktemp("wide"), WIDE, (64, 48), "RGB", "", run)


@pytest.fixture(scope="module")
def grey(tmp_path_factory, run):
    """One channel, 28 x 28."""
    return build(tmp_path_factory.mktemp("grey"), GREY, (28, 28), "L", GREY_INPUT, run)


def test_stored_pictures_have_the_size_of_the_input(wide, grey):
    for (_, out, _), size in ((wide, (64, 48)), (grey, (28, 28))):
        rows = atlas.open(out, trust_code=True).images.to_pylist()
        assert {(row["width"], row["height"]) for row in rows} == {size}
        for row in rows:
            with Image.open(out / row["path"]) as picture:
                assert picture.size == size


def test_boxes_lie_inside_a_wide_picture_and_around_the_spot(wide):
    a, _, centres = wide
    images = a.images.to_pylist()
    for row in a.references.to_pylist():
        across, down = row["x1"] - row["x0"], row["y1"] - row["y0"]
        assert 0 <= row["x0"] < row["x1"] <= 64
        assert 0 <= row["y0"] < row["y1"] <= 48
        assert across == down or (down == 48 and across > 48)
    spots = [r for r in a.references.to_pylist() if r["channel"] == 0]
    spots = [r for r in spots if r["layer"] in ("spots", "deep") and r["mode"] == "activation"]
    assert len(spots) == 8
    for row in spots:
        x, y = centres[images[row["image"]]["key"]]
        assert row["x0"] <= x < row["x1"]
        assert row["y0"] <= y < row["y1"]
    wide_boxes = {row["x1"] - row["x0"] for row in a.references.to_pylist()}
    assert max(wide_boxes) > 16  # of the layer that sees 65 columns


def test_masks_are_strong_at_the_spot(wide):
    a, out, centres = wide
    masks, images = np.load(out / "masks.npy"), a.images.to_pylist()
    for number, row in enumerate(a.references.to_pylist()):
        if (row["layer"], row["channel"], row["mode"]) != ("deep", 0, "activation"):
            continue
        x, y = centres[images[row["image"]]["key"]]
        across = 16 * (x - row["x0"]) // (row["x1"] - row["x0"])
        down = 16 * (y - row["y0"]) // (row["y1"] - row["y0"])
        assert masks[number][down, across] > 128


def test_explanations_have_the_proportions_of_the_input(wide, grey):
    for (_, out, _), (width, height) in ((wide, (64, 48)), (grey, (28, 28))):
        folders = sorted((out / "explanations").iterdir())
        assert len(folders) == 2
        for folder in folders:
            evidence = json.loads((folder / "evidence.json").read_text())
            expected = width if width == height else [height, width]
            assert evidence["picture"]["side"] == expected
            for name in ("picture.webp", "heat.webp", evidence["concepts"][0]["map"]):
                with Image.open(folder / name) as picture:
                    assert picture.size == (width, height)
            for concept in evidence["concepts"]:
                x0, y0, x1, y1 = concept["field"]
                assert 0 <= x0 < x1 <= width
                assert 0 <= y0 < y1 <= height
            name = f"{folder.name}.html"
            page = (out / "site" / "explanations" / name).read_text()
            assert f'width="{width}" height="{height}"' in page


def test_pages_show_whole_pictures_undistorted(wide, grey):
    (_, out, _), (_, square, _) = wide, grey
    page = (out / "site" / "channels" / "spots" / "0.html").read_text()
    assert "--r:1.3333" in page
    assert "width=64 height=48" in page
    about = (out / "site" / "about.html").read_text()
    assert "resized to 64 × 48 pixels (bilinear), central 64 × 48" in about
    assert "--r:" not in (square / "site" / "channels" / "0" / "0.html").read_text()
    about = (square / "site" / "about.html").read_text()
    assert "shorter side to 28 pixels (bicubic), central square of 28" in about
    assert "(grey)" in about


def test_searching_by_picture_works(wide, grey):
    for a, _, _ in (wide, grey):
        hits = a.search_picture(Image.new("RGB", (50, 90), "white"), n=2)
        assert len(hits) == 2


def test_grey_scores_are_those_of_the_network_on_grey_pictures(grey):
    """The best activation of a channel, computed from the files anew."""
    a, out, _ = grey
    scope: dict = {}
    exec((out.parent / "network.py").read_text(), scope)
    view = Preprocessor(28, 28, (0.5,), (0.25,), "bicubic")
    files = sorted((out.parent / "pictures").rglob("*.png"))
    values = np.stack([np.asarray(Image.open(file), np.float32) for file in files])
    batch = torch.from_numpy((values / 255 - 0.5) / 0.25)[:, None]
    assert torch.allclose(view.tensor([view.view(Image.open(f)) for f in files]), batch, atol=1e-6)
    with torch.no_grad():
        best = scope["make"]()[0](batch).amax(dim=(0, 2, 3))
    rows = a.references.to_pylist()
    for channel in range(4):
        first = next(
            row["score"] for row in rows
            if (row["layer"], row["channel"], row["mode"]) == ("0", channel, "activation")
        )  # fmt: skip
        assert first == pytest.approx(float(best[channel]), rel=1e-5)
