"""From a folder of pictures to an atlas, as a user builds it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from atlas.store import COLUMNS, MEASURED
from atlas.store.directory import REASONED

TABLES = [f"{name}.parquet" for name in COLUMNS if name != "samples"]  # of factors alone


def tables(out):
    return {name: (out / name).read_bytes() for name in [*TABLES, "masks.npy", "patches.faiss"]}


def test_the_site_and_every_table_are_there(built):
    assert (built / "site" / "index.html").is_file()
    for name, columns in MEASURED.items():
        if name == "samples":  # of factors alone
            continue
        wanted = [column for column in columns if column != "fired"]  # of factors alone
        if name == "channels":  # with those of the weights; influences are measured if asked for
            wanted += [one for one in REASONED["channels"] if not one.startswith("influence")]
        assert pq.read_table(built / f"{name}.parquet").column_names == wanted
    manifest = json.loads((built / "manifest.json").read_text())
    assert manifest["id"].startswith("network-make-pictures-")
    assert manifest["images"] | {"skips": []} == {
        "seen": 30, "labelled": 30, "skipped": 0, "skips": [], "reasons": {}, "left_out": {},
        "correct": manifest["images"]["correct"],
    }  # fmt: skip


def test_verify_finds_nothing_wrong(built, run):
    result = run("verify", built)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "FAIL" not in result.stdout


@pytest.mark.parametrize("size", [1, 7, 30])
def test_tables_are_the_same_bytes_whatever_the_batch_size(project, built, run, tmp_path, size):
    out = tmp_path / "again"
    result = run(
        "index", project / "tiny.toml", "--out", out, "--set", f"prepass.batch_size={size}"
    )
    assert result.returncode == 0, result.stderr
    assert tables(out) == tables(built)


def test_statistics_are_those_of_plain_numpy(project, built):
    """Means, maxima and density, computed from the network with nothing of the pre-pass."""
    maps, _ = activations(project, "0")
    table = pq.read_table(built / "channels.parquet").to_pydict()
    assert table["layer"][:6] == ["0"] * 6
    np.testing.assert_allclose(table["act_mean"][:6], maps.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(table["act_max"][:6], maps.max((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(table["act_density"][:6], (maps > 0).mean((0, 2, 3)), atol=1e-4)


def test_references_are_those_of_a_plain_sort(project, built):
    maps, paths = activations(project, "3")
    scores = maps.max(axis=(2, 3))
    table = pq.read_table(built / "references.parquet").to_pandas()
    keys = pq.read_table(built / "images.parquet")["key"].to_pylist()
    table = table[(table["layer"] == "3") & (table["mode"] == "activation")]
    for channel in range(scores.shape[1]):
        best = np.argsort(-scores[:, channel], kind="stable")[:5]
        rows = table[table["channel"] == channel]
        assert [keys[image] for image in rows["image"]] == [paths[index] for index in best]
        for (_, row), index in zip(rows.iterrows(), best, strict=True):
            assert row["score"] == pytest.approx(scores[index, channel], rel=1e-5)
            assert maps[index, channel, row["y"], row["x"]] == maps[index, channel].max()


def activations(project, layer):
    """Maps of a layer for all pictures in order of their keys, and the keys."""
    import torch

    from atlas.model import networks
    from atlas.recipe import load

    recipe = load(str(project / "tiny.toml"))
    network = networks.load(recipe.model, recipe.preprocessing, 0)
    root = project / "pictures"
    paths = sorted(root.glob("*/*.png"))
    views = [network.preprocessing.view(Image.open(path).convert("RGB")) for path in paths]
    with torch.no_grad():
        maps = network.module[: int(layer) + 1](network.preprocessing.tensor(views)).numpy()
    return maps, [path.relative_to(root).as_posix() for path in paths]


def test_shares_of_a_layer_add_up_to_one(built):
    """|share| sums to one over a layer in every picture, so its mean does."""
    table = pq.read_table(built / "channels.parquet").to_pandas()
    sums = table.groupby("layer")["rel_abs_mean"].sum()
    np.testing.assert_allclose(sums, 1, atol=1e-5)


def test_class_means_weighted_by_count_are_the_overall_mean(built):
    classes = pq.read_table(built / "classes.parquet").to_pydict()
    counts, shares = np.array(classes["count"]), np.array(classes["shares"])
    overall = pq.read_table(built / "channels.parquet")["rel_mean"].to_numpy()
    np.testing.assert_allclose(counts @ shares / counts.sum(), overall, atol=1e-6)


def test_a_second_build_does_nothing_again(project, built, run, tmp_path):
    out = shutil.copytree(built, tmp_path / "copy")
    before = (out / "references.parquet").stat().st_mtime_ns
    result = run("build", project / "tiny.toml", "--out", out)
    assert result.returncode == 0, result.stderr
    assert (out / "references.parquet").stat().st_mtime_ns == before
    assert "pre-pass" not in result.stderr


def test_a_changed_recipe_is_measured_anew(project, built, run, tmp_path):
    out = shutil.copytree(built, tmp_path / "copy")
    result = run("build", project / "tiny.toml", "--out", out, "--set", "prepass.k=2")
    assert result.returncode == 0, result.stderr
    assert pq.read_table(out / "references.parquet")["rank"].to_numpy().max() == 1
    assert run("verify", out).returncode == 0


@pytest.mark.parametrize("lost", ["channels.parquet", "images/*/*.webp", "masks.npy"])
def test_a_lost_file_is_made_again(project, indexed, run, tmp_path, lost):
    out = shutil.copytree(indexed, tmp_path / "copy")
    next(out.glob(lost)).unlink()
    result = run("index", project / "tiny.toml", "--out", out)
    assert result.returncode == 0, result.stderr
    assert ("pre-pass" in result.stderr) == (lost in TABLES)
    assert tables(out) == tables(indexed)
    assert len(list(out.rglob("*.webp"))) == len(list(indexed.rglob("*.webp")))


@pytest.mark.parametrize(
    "moment", ["manifest.json", "channels.parquet", "where.safetensors", "masks.npy", "pages"]
)
def test_a_killed_build_goes_on_and_ends_the_same(project, built, run, tmp_path, moment):
    """kill -9 as soon as a certain file is there; then the same command again."""
    out = tmp_path / "killed"
    command = [
        sys.executable,
        "-m",
        "atlas",
        "build",
        str(project / "tiny.toml"),
        "--out",
        str(out),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out / moment).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.wait()
    result = run("build", project / "tiny.toml", "--out", out)
    assert result.returncode == 0, result.stderr
    assert tables(out) == tables(built)
    assert run("verify", out).returncode == 0
    assert not list(out.rglob("*.partial*"))
    assert not list(out.glob("*.safetensors"))


def test_names_of_another_network_are_kept_and_skipped(project, built, run, tmp_path):
    """Its channels have the same addresses; with other data they are the same channels."""
    out = shutil.copytree(built, tmp_path / "copy")
    assert run("rename", out, "0:1", "left edges", "--by", "A. Person").returncode == 0
    (project / "other.py").write_text((project / "network.py").read_text().replace("(3)", "(4)"))

    def index(change: str) -> None:
        result = run("index", project / "tiny.toml", "--out", out, "--set", change)
        assert result.returncode == 0, result.stderr

    def called() -> list[str | None]:
        """Return the names of all channels, after another one has got one."""
        assert run("rename", out, "0:0", "dots", "--by", "A. Person").returncode == 0
        return pq.read_table(out / "channels.parquet")["name"].to_pylist()

    index("prepass.k=4")
    assert called()[:2] == ["dots", "left edges"]
    index(f"model.name={project / 'other.py'}:make")
    assert "name" not in pq.read_table(out / "channels.parquet").column_names
    assert called()[:2] == ["dots", None]
    assert "left edges" in (out / "names.jsonl").read_text()
    index("prepass.k=6")
    assert called()[:2] == ["dots", "left edges"]


def test_ctrl_c_is_one_line_and_status_130(project, tmp_path):
    out = tmp_path / "interrupted"
    command = [
        sys.executable,
        "-m",
        "atlas",
        "build",
        str(project / "tiny.toml"),
        "--out",
        str(out),
    ]
    # Shells let what runs in the background ignore the signal, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    while not (out / ".lock").exists() and process.poll() is None:  # most is still to be done
        time.sleep(0.002)
    stderr = None
    while stderr is None:  # as impatient people press it
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            _, stderr = process.communicate(timeout=0.5)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert stderr.count("run the same command again") == 1


def test_two_builds_at_once_do_not_mix(project, run, tmp_path):
    from filelock import FileLock

    out = tmp_path / "busy"
    out.mkdir()
    with FileLock(out / ".lock"):
        result = run("index", project / "tiny.toml", "--out", out)
    assert result.returncode == 2
    assert "another process is building" in result.stderr


def test_damaged_pictures_are_skipped_counted_and_named(project, run, tmp_path):
    data = shutil.copytree(project / "pictures", tmp_path / "pictures")
    whole = (data / "disc" / "000.png").read_bytes()
    (data / "disc" / "900.png").write_bytes(whole[: len(whole) // 2])
    (data / "disc" / "901.jpg").write_bytes(b"")
    (data / "disc" / "902.jpg").write_bytes(b"<html>not a picture</html>")
    Image.new("CMYK", (50, 50), (0, 255, 255, 0)).save(data / "disc" / "903.jpg")
    Image.new("I;16", (50, 50), 40000).save(data / "disc" / "904.png")
    Image.new("1", (20000, 20000)).save(data / "disc" / "905.png")  # 400 megapixels in 50 kB
    for name in ("README", "list.csv"):
        (data / name).write_text("no picture")
    out = tmp_path / "out"
    command = [
        "index", project / "tiny.toml", "--out", out, "--set", f"data.source=folder:{data}"
    ]  # fmt: skip
    result = run(*command)
    assert result.returncode == 2
    assert "pictures could not be read: " in result.stderr
    assert "--set data.most_skipped=0." in result.stderr
    result = run(*command, "--set", "data.most_skipped=0.5")
    assert result.returncode == 0, result.stderr
    last = result.stderr.strip().splitlines()[-2:]
    assert last[0].startswith("4 pictures could not be read and are not in the atlas: 1 ")
    assert last[1] == "Left out beside the data: 1 .csv, 1 without an ending."
    images = json.loads((out / "manifest.json").read_text())["images"]
    assert images["seen"] == 32
    assert images["skipped"] == 4
    assert [skip["key"] for skip in images["skips"]] == [
        f"disc/{name}" for name in ("900.png", "901.jpg", "902.jpg", "905.png")
    ]
    assert all(skip["reason"] for skip in images["skips"])
    assert sum(images["reasons"].values()) == 4
    assert images["left_out"] == {".csv": 1, "without an ending": 1}


def test_only_damaged_pictures_is_an_error(project, run, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jpg").write_bytes(b"no")
    result = run(
        "index", project / "tiny.toml", "--out", tmp_path / "out",
        "--set", f"data.source=folder:{tmp_path / 'data'}",
    )  # fmt: skip
    assert_one_line(result, "no picture of the data could be read")


def assert_one_line(result, *expected):
    """Exit status 2 and one line on stderr, no traceback."""
    assert result.returncode == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("atlas: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    for text in expected:
        assert text in lines[0]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("prepass.kk=3", "there is no 'prepass.kk'"),
        ("prepass.k=0", "--set prepass.k=0: prepass.k = 0"),
        ("factors.ranks=[1]", "--set factors.ranks=[1]: factors.ranks.0 = 1"),
        ("explain.maps=lrp", "write a list"),
        ("seed=-1", "seed = -1"),
        ("seed=9223372036854775808", "seed = 9223372036854775808"),
        ("data.source=folder:/does/not/exist", "/does/not/exist"),
        ("model.layers=['nope']", "nope"),
        ("model.name=torchvision/vgg17", "vgg16"),
        ("relevance.composite=lrp", "epsilon_plus_flat"),
        ("patches.layer=nope", "patches.layer"),
    ],
)
def test_bad_recipes_end_in_one_line(project, run, tmp_path, override, expected):
    result = run("index", project / "tiny.toml", "--out", tmp_path / "out", "--set", override)
    assert_one_line(result, expected)


def test_an_atlas_does_not_lie_in_its_data(project, run):
    out = project / "pictures" / "out"
    assert_one_line(run("index", project / "tiny.toml", "--out", out), "choose another --out")
    assert not out.exists()


def test_a_network_without_any_answer_is_reported(project, run, tmp_path):
    (tmp_path / "dead.py").write_text(
        "from torch import nn\n\n\ndef make():\n"
        "    last = nn.Linear(4, 3)\n"
        "    pool = nn.AdaptiveAvgPool2d(1)\n"
        "    network = nn.Sequential(nn.Conv2d(3, 4, 3), pool, nn.Flatten(), last)\n"
        "    for value in network[0].parameters():\n        nn.init.zeros_(value)\n"
        "    network.preprocessing = dict(resize=32, crop=32, mean=[0.5] * 3, std=[0.25] * 3)\n"
        "    return network\n"
    )
    name = f"model.name={tmp_path / 'dead.py'}:make"
    result = run("index", project / "tiny.toml", "--out", tmp_path / "out", "--set", name)
    assert_one_line(result, "no channel answers")


def test_missing_recipe_and_missing_atlas(run, tmp_path):
    assert_one_line(run("build", tmp_path / "none.toml"), "demo")
    assert_one_line(run("site", tmp_path / "none"), "none")
    assert_one_line(run("verify", tmp_path), "manifest.json")
    assert_one_line(run("serve", tmp_path), "manifest.json")
    assert_one_line(run("biuld"), "biuld")


def test_an_atlas_of_a_newer_version_is_refused(built, run, tmp_path):
    out = shutil.copytree(built, tmp_path / "copy")
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 99}))
    assert_one_line(run("site", out), "newer")


def test_a_full_disk_is_one_line(built, project, run, tmp_path):
    """images/ is a link to a directory on a file system of 64 kB."""
    out = tmp_path / "out"
    out.mkdir()
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small file system needs the right to mount one")
    try:
        (out / "images").symlink_to(small)
        result = run("index", project / "tiny.toml", "--out", out)
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert_one_line(result, "the disk is full")
    (out / "images").unlink()
    result = run("index", project / "tiny.toml", "--out", out)
    assert result.returncode == 0, result.stderr
    assert tables(out) == tables(built)


@pytest.mark.parametrize(
    "damage", ["references.parquet", "masks.npy", "patches.faiss", "picture", "page"]
)
def test_verify_finds_damage(built, run, tmp_path, damage):
    out = shutil.copytree(built, tmp_path / "copy")
    if damage == "picture":
        next((out / "images").glob("*/*.webp")).write_bytes(b"x")
    elif damage == "page":
        next((out / "site" / "channels").glob("*/*.html")).unlink()
    else:
        content = bytearray((out / damage).read_bytes())
        content[len(content) // 2] ^= 1
        (out / damage).write_bytes(content)
    result = run("verify", out)
    assert result.returncode == 1
    assert "FAIL" in result.stdout
    assert "Traceback" not in result.stderr


LAYERS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self._first = nn.Conv2d(3, 6, 3, padding=1)
        self.nul = nn.Conv2d(6, 6, 3, padding=1)
        self.Part = nn.Conv2d(6, 6, 3, padding=1)
        self.part = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        for layer in (self._first, self.nul, self.Part, self.part):
            x = torch.relu(layer(x))
        return self.head(x.mean(dim=(2, 3)))


def make():
    torch.manual_seed(3)
    network = Net()
    network.classes = ["disc", "square", "stripe"]
    network.preprocessing = dict(resize=24, crop=24, mean=[0.5] * 3, std=[0.25] * 3)
    return network
"""


def test_layers_whose_names_file_systems_do_not_tell_apart(project, run, tmp_path):
    """In a directory with brackets in its name."""
    work = tmp_path / "work [1]"
    work.mkdir()
    (work / "net.py").write_text(LAYERS)
    shutil.copytree(project / "pictures", work / "pictures [a]")
    recipe = work / "net.toml"
    recipe.write_text(
        f'[model]\nname = "{work.as_posix()}/net.py:make"\ndevice = "cpu"\n'
        f'[data]\nsource = "folder:{work.as_posix()}/pictures [a]"\n[prepass]\nk = 3\n'
    )
    out = work / "out"
    result = run("build", recipe, "--out", out)
    assert result.returncode == 0, result.stderr
    pages = {path.relative_to(out / "site").as_posix() for path in (out / "site").rglob("*.html")}
    for layer in ("_first", "~6eul", "~50art", "part"):
        assert {f"layers/{layer}.html", f"channels/{layer}/1.html"} <= pages
    assert len({page.lower() for page in pages}) == len(pages)
    assert (out / "site" / ".nojekyll").is_file()
    assert json.loads(run("show", out, "Part:1", "--json").stdout)["permalink"] == (
        "channels/~50art/1.html"
    )
    assert run("verify", out).returncode == 0
    picture = next((work / "pictures [a]").rglob("*.png"))
    assert run("explain", out, picture, "--trust-code").returncode == 0


def test_a_model_that_cannot_be_had_is_reported_before_the_pass_and_in_seconds(project, tmp_path):
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9"}
    environment = {k: v for k, v in environment.items() if not k.startswith("HF_HUB_OFFLINE")}
    command = [
        sys.executable, "-m", "atlas", "index", str(project / "tiny.toml"), "--out", "out",
        "--set", "patches.encoder=nobody/nothing",
    ]  # fmt: skip
    begin = time.monotonic()
    result = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=300
    )
    assert time.monotonic() - begin < 60
    assert result.returncode == 2
    assert "patches.encoder = 'nobody/nothing' cannot be loaded" in result.stderr
    assert "pre-pass" not in result.stderr
    assert "Retrying" not in result.stderr


SILENT = """
import torch
from torch import nn


class Network(nn.Module):
    classes = ["disc", "square", "stripe"]
    preprocessing = dict(resize=24, crop=24, mean=[0.5] * 3, std=[0.25] * 3)

    def __init__(self):
        super().__init__()
        self.first, self.silent = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)
        self.last = nn.Linear(4, 3)
        nn.init.zeros_(self.silent.weight)
        nn.init.zeros_(self.silent.bias)

    def forward(self, x):
        x = self.first(x).relu()
        return self.last((x + self.silent(x).relu()).mean((2, 3)))
"""


def test_a_layer_that_is_silent_on_all_pictures_has_pages_without_patches(project, run, tmp_path):
    """As the last convolutions of residual blocks are whose norm begins at zero."""
    (tmp_path / "silent.py").write_text(SILENT)
    out = tmp_path / "out"
    result = run(
        "build", project / "tiny.toml", "--out", out,
        "--set", f"model.name={tmp_path.as_posix()}/silent.py:Network",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    layers = pq.read_table(out / "references.parquet")["layer"].to_pylist()
    assert set(layers) == {"first"}
    assert (out / "site" / "channels" / "silent" / "0.html").is_file()
    result = run("verify", out)
    assert result.returncode == 0, result.stdout
