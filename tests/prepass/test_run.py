"""The pre-pass: reading in order, and the same bytes after any interruption."""

import multiprocessing
import random
import time
from itertools import pairwise
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from atlas import pipeline
from atlas.data import open_source
from atlas.errors import UserError
from atlas.model.preprocessing import Preprocessor
from atlas.prepass import checkpoint, reader, shards
from atlas.prepass.reader import batches
from atlas.prepass.shards import Read
from atlas.recipe import Data, load
from atlas.store import COLUMNS

HALF = (0.5, 0.5, 0.5)
VIEW = Preprocessor(24, 24, HALF, HALF)
TABLES = [f"{name}.parquet" for name in COLUMNS if name != "samples"]  # of factors alone


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """150 pictures, the brightness of each is its number; number 7 and 90 are damaged."""
    folder = tmp_path_factory.mktemp("many") / "pictures"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for number in range(150):
        pixels = noise.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        pixels[:] = pixels // 2 + number // 2
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    for number in (7, 90):
        (folder / f"{number:03}.png").write_bytes(b"damaged")
    return folder


@pytest.mark.parametrize("streaming", [False, True], ids=["random access", "stream"])
@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("start", [0, 40])
def test_batches_hold_every_sample_once_and_in_order(many, workers, start, streaming, monkeypatch):
    source = open_source(Data(source=f"folder:{many}"))
    if streaming:
        monkeypatch.setattr(type(source), "random_access", False)
    done = {0: Read(start, finished=False)}
    read = list(batches(source, VIEW, 16, done, workers=workers))
    expected = [number for number in range(start, 150) if number not in (7, 90)]
    assert [index for batch in read for index in batch.indices] == expected
    assert [index for batch in read for index, _, _ in batch.skips] == [
        number for number in (7, 90) if number >= start
    ]
    assert sum(batch.size for batch in read) == 150 - start
    assert [batch.size for batch in read[:-1]] == [16] * (len(read) - 1)
    for batch in read:
        for index, key, view in zip(batch.indices, batch.keys, batch.views, strict=True):
            assert key == f"{index:03}.png"
            picture = Image.open(many / key)
            np.testing.assert_array_equal(view.numpy(), np.asarray(VIEW.view(picture)))


def test_what_goes_wrong_in_a_worker_is_one_line(many, monkeypatch):
    source = open_source(Data(source=f"folder:{many}"))

    def lost(self, indices):
        raise UserError("the data is gone")

    monkeypatch.setattr(type(source), "fetch", lost)
    with pytest.raises(UserError, match=r"^the data is gone$"):
        list(batches(source, VIEW, 16, workers=2))


def test_a_worker_that_dies_is_noticed(many, monkeypatch):
    import os
    import signal

    source = open_source(Data(source=f"folder:{many}"))
    parent = os.getpid()

    def die(self, indices):
        assert os.getpid() != parent
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(type(source), "fetch", die)
    with pytest.raises(UserError, match=r"run the same command again"):
        list(batches(source, VIEW, 16, workers=1))


def test_a_worker_that_stalls_is_noticed(many, monkeypatch):
    source = open_source(Data(source=f"folder:{many}"))
    monkeypatch.setattr(reader, "STALL", 1)
    monkeypatch.setattr(type(source), "fetch", lambda self, indices: time.sleep(60))
    with pytest.raises(UserError, match=r"timed out.*run the same command again"):
        list(batches(source, VIEW, 16, workers=1))


def in_shards(pictures: Path, folder: Path) -> Path:
    """Put the pictures into Parquet files of unequal lengths, one of them empty."""
    folder.mkdir()
    kinds = datasets.Features(image=datasets.Image(), label=datasets.Value("int64"))
    files = sorted(pictures.iterdir())
    cells = [{"bytes": file.read_bytes(), "path": None} for file in files]
    bounds = [0, 40, 40, 56, 117, len(files)]
    for shard, (first, stop) in enumerate(pairwise(bounds)):
        labels = [number % 3 for number in range(first, stop)]
        data = {"image": cells[first:stop], "label": labels}
        rows = datasets.Dataset.from_dict(data, features=kinds)
        rows.to_parquet(folder / f"train-{shard:05}-of-{len(bounds) - 1:05}.parquet")
    return folder


def tables(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in [*TABLES, "masks.npy", "patches.faiss"]}


@pytest.mark.parametrize(("stream", "kills"), [(False, 12), (True, 6)])
def test_killed_at_random_points_the_tables_are_the_same_bytes(
    project, many, stream, kills, tmp_path
):
    source = f"hf:{in_shards(many, tmp_path / 'data')}" if stream else f"folder:{many}"
    overrides = [
        f"data.source={source}", "prepass.batch_size=2", "prepass.checkpoint_images=4",
    ]  # fmt: skip
    recipe = load(str(project / "tiny.toml"), overrides)
    begin = time.monotonic()
    pipeline.index(recipe, tmp_path / "whole")
    seconds = time.monotonic() - begin

    # Children of a server that has imported everything begin at once, without our threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["atlas.pipeline"])
    moments = random.Random(0)
    out = tmp_path / "killed"
    killed, resumed, done = 0, 0, 0
    while killed < kills:
        if stream:  # which is dealt otherwise in every run
            workers = f"prepass.workers={2 * (killed % 4 == 0)}"
            recipe = load(str(project / "tiny.toml"), [*overrides, workers])
        process = context.Process(target=pipeline.index, args=(recipe, out))
        process.start()
        if killed % 2:  # in the middle of the pass: some time after a new checkpoint
            before = changed(out / checkpoint.NAME)
            while changed(out / checkpoint.NAME) == before and process.is_alive():
                time.sleep(0.001)
            process.join(moments.uniform(0, 0.1))
        else:  # anywhere
            process.join(moments.uniform(0.2, 0.2 + seconds / 4))
        if process.exitcode is None:
            process.kill()
            process.join()
            killed += 1
        else:  # it had come to the end: begin again elsewhere, until there were enough
            assert process.exitcode == 0
            assert tables(out) == tables(tmp_path / "whole")
            out = tmp_path / f"killed{killed}"
            done = 0
        found = checkpoint.load(out / checkpoint.NAME, inputs(recipe), torch.device("cpu"))
        if found is not None:
            resumed += shards.samples(found[0]) > done > 0
            done = shards.samples(found[0])
    pipeline.index(recipe, out)
    assert tables(out) == tables(tmp_path / "whole")
    assert resumed >= kills // 8  # a later run went on from where an earlier one was killed


def damage(content: bytes, kind: int) -> bytes:
    """One of ten ways in which JPEG files are found broken."""
    middle = len(content) // 2
    return [
        b"",
        content[:2],
        content[:100],
        content[:middle],
        content[:-200],
        bytes(len(content)),
        b"\0" * 20 + content[20:],
        b"<html><body>404 Not Found</body></html>",
        content[:2] + b"\xff\xff" * 40,
        content[:400] + bytes(len(content) - 400),
    ][kind]


def test_a_thousand_jpegs_of_which_twenty_are_damaged(project, tmp_path):
    """Just these are listed; everything else is as if they had never been there."""
    from atlas.demo.world import draw

    sizes = np.random.default_rng(0)
    whole, mixed = tmp_path / "whole", tmp_path / "mixed"
    whole.mkdir()
    mixed.mkdir()
    broken = set(range(25, 1000, 50))
    for number in range(1000):
        width, height = (int(side) for side in sizes.integers(20, 320, 2))
        picture = Image.fromarray(draw(5, number).image).resize((width, height))
        name = f"{number:04}.{('jpg', 'JPEG')[number % 2]}"
        modes = ("RGB", "RGB", "L", "CMYK")
        picture.convert(modes[number % 4]).save(mixed / name, "JPEG", quality=90)
        content = (mixed / name).read_bytes()
        if number in broken:
            (mixed / name).write_bytes(damage(content, number // 50 % 10))
        else:
            (whole / name).write_bytes(content)

    stores = {}
    for folder in (whole, mixed):
        overrides = [f"data.source=folder:{folder}", "prepass.batch_size=32", "prepass.workers=2"]
        recipe = load(str(project / "tiny.toml"), overrides)
        stores[folder] = pipeline.index(recipe, tmp_path / f"out-{folder.name}")
    images = stores[mixed].manifest()["images"]
    assert (images["seen"], images["skipped"]) == (980, 20)
    assert [int(skip["key"][:4]) for skip in images["skips"]] == sorted(broken)
    assert stores[whole].manifest()["images"]["skipped"] == 0
    for name in ("channels", "classes", "references", "bands"):
        assert stores[mixed].table(name).equals(stores[whole].table(name)), name
    keys = [store.table("images")["key"].to_pylist() for store in stores.values()]
    assert keys[0] == keys[1]


def changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def inputs(recipe) -> str:
    return pipeline.Inputs(recipe).atlas_id()


def test_a_checkpoint_of_something_else_is_not_used(project, many, tmp_path):
    overrides = [f"data.source=folder:{many}", "prepass.checkpoint_images=4"]
    recipe = load(str(project / "tiny.toml"), overrides)
    cpu = torch.device("cpu")
    assert checkpoint.load(tmp_path / checkpoint.NAME, inputs(recipe), cpu) is None
    (tmp_path / checkpoint.NAME).write_bytes(b"\x10\0\0\0\0\0\0\0not a checkpoint")
    assert checkpoint.load(tmp_path / checkpoint.NAME, inputs(recipe), cpu) is None


def test_a_gpu_that_is_too_small_is_told_and_smaller_batches_go_on(project, tmp_path, monkeypatch):
    def index(*overrides: str):
        overrides = (*overrides, "prepass.checkpoint_images=1")
        return pipeline.index(load(str(project / "tiny.toml"), overrides), tmp_path / "atlas")

    real, calls = pipeline.Inputs(load(str(project / "tiny.toml"), ())).engine, []

    def engine(images, targets, visit):
        calls.append(len(images))
        if len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(images, targets, visit)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.Inputs, "engine", staticmethod(engine))
        with pytest.raises(UserError, match=r"memory is too small for 8 .* prepass\.batch_size"):
            index("prepass.batch_size=8")
    whole = pipeline.index(load(str(project / "tiny.toml"), ()), tmp_path / "whole")
    again = index("prepass.batch_size=4")
    for name in TABLES:
        assert (again.root / name).read_bytes() == (whole.root / name).read_bytes()


def test_what_labels_mean_is_part_of_what_was_measured(project, tmp_path):
    """Names of the outputs and the column of labels decide whose relevance a picture counts for."""
    names = tmp_path / "names.txt"

    def atlas(*overrides: str) -> str:
        return inputs(load(str(project / "tiny.toml"), overrides))

    names.write_text("disc\nsquare\nstripe")
    first = atlas(f"model.classes={names}")
    names.write_text("square\ndisc\nstripe")
    found = [atlas(), first, atlas(f"model.classes={names}"), atlas("data.label_column=fine")]
    assert len(set(found)) == len(found)
