"""Streams in shards: dealt without overlap or loss, and the same tables however they are dealt."""

import io
import os
import subprocess
import sys
import tarfile
from itertools import pairwise
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from atlas import pipeline
from atlas.data import open_source
from atlas.model.preprocessing import Preprocessor
from atlas.prepass.reader import batches
from atlas.prepass.shards import LONGEST, Read, both
from atlas.recipe import Data, load
from atlas.store import COLUMNS

LENGTHS = [10, 0, 8, 13, 9]
VIEW = Preprocessor(24, 24, (0.5,) * 3, (0.5,) * 3)
TABLES = [f"{name}.parquet" for name in COLUMNS if name != "samples"]  # of factors alone


def picture(number: int) -> bytes:
    """Of noise that the number decides; number 12 and 25 are damaged."""
    pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()[: 50 if number in (12, 25) else None]


def parquet(folder: Path) -> Path:
    kinds = datasets.Features(image=datasets.Image(), label=datasets.Value("int64"))
    for shard, numbers in enumerate(ranges()):
        cells = [{"bytes": picture(number), "path": None} for number in numbers]
        data = {"image": cells, "label": [number % 3 for number in numbers]}
        rows = datasets.Dataset.from_dict(data, features=kinds)
        rows.to_parquet(folder / f"train-{shard:05}-of-{len(LENGTHS):05}.parquet")
    return folder


def tars(folder: Path) -> Path:
    for shard, numbers in enumerate(ranges()):
        with tarfile.open(folder / f"train-{shard:05}.tar", "w") as tar:
            for number in numbers:
                label = str(number % 3).encode()
                for ending, content in (("png", picture(number)), ("cls", label)):
                    info = tarfile.TarInfo(f"some/{number - numbers[0]:04}.{ending}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    return folder


def ranges() -> list[range]:
    ends = np.cumsum([0, *LENGTHS]).tolist()
    return [range(*pair) for pair in pairwise(ends)]


@pytest.fixture(params=[parquet, tars])
def folder(request, tmp_path) -> Path:
    (tmp_path / "data").mkdir()
    return request.param(tmp_path / "data")


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_every_sample_is_read_once_in_the_same_batches(folder, workers, processes):
    source = open_source(Data(f"hf:{folder}"))
    assert source.shards == len(LENGTHS)
    begun = {0: Read(4, finished=False), 2: Read(8, finished=True)}
    parts, done = [], begun
    for process in range(processes):
        part = list(batches(source, VIEW, 4, begun, (process, processes), workers))
        parts.append(part)
        for batch in part:
            done = both(done, {batch.shard: batch.read})
    assert done == {shard: Read(length, finished=True) for shard, length in enumerate(LENGTHS)}

    found = sorted((batch.indices, batch.labels, batch.skips) for part in parts for batch in part)
    left = [(0, 4, 8), (0, 8, 10), *((3, n, min(n + 4, 13)) for n in (0, 4, 8, 12))]
    left += [(4, 0, 4), (4, 4, 8), (4, 8, 9)]
    expected = [
        [n for n in range(first, stop) if ranges()[shard][n] not in (12, 25)]
        for shard, first, stop in left
    ]
    got = [[n % LONGEST for n in indices] for indices, _, _ in found if indices]
    assert got == expected
    for indices, labels, _ in found:
        numbers = [ranges()[index // LONGEST][index % LONGEST] for index in indices]
        assert labels == [number % 3 for number in numbers]
    skipped = [index for _, _, skips in found for index, _, _ in skips]
    assert skipped == [3 * LONGEST + 25 - 18]

    if max(1, workers) * processes <= 4:  # as many as there are unfinished shards
        owned = [{batch.shard for batch in part} for part in parts]
        assert sum(len(shards) for shards in owned) == 4
    else:
        assert all(len(part) > 1 for part in parts)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_limited_stream_is_read_from_its_start(folder, workers):
    source = open_source(Data(f"hf:{folder}", limit=25))
    read = list(batches(source, VIEW, 4, workers=workers))
    assert [index for batch in read for index in batch.indices] == [*range(12), *range(13, 25)]
    assert [batch.labels for batch in read][:2] == [[0, 1, 2, 0], [1, 2, 0, 1]]


def tables(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in [*TABLES, "masks.npy", "patches.faiss"]}


@pytest.fixture
def whole(project, folder, tmp_path) -> dict[str, bytes]:
    """The tables of the data set read whole, without a stream."""
    overrides = [f"data.source=hf:{folder}", "data.streaming=false", "prepass.batch_size=4"]
    pipeline.index(load(str(project / "tiny.toml"), overrides), tmp_path / "whole")
    return tables(tmp_path / "whole")


@pytest.mark.parametrize(("workers", "too_many"), [(0, False), (2, False), (6, True)])
def test_tables_are_the_same_bytes_however_the_shards_are_dealt(
    project, folder, whole, tmp_path, workers, too_many, capfd
):
    overrides = [f"data.source=hf:{folder}", "prepass.batch_size=4", f"prepass.workers={workers}"]
    overrides += ["data.labels=from 0"]  # which labels a stream of tars has nobody knows
    pipeline.index(load(str(project / "tiny.toml"), overrides), tmp_path / "stream")
    assert tables(tmp_path / "stream") == whole
    says = "6 processes read, and the data has 5 shards that can be read alone"
    assert (says in capfd.readouterr().err) == too_many


@pytest.mark.parametrize("folder", [tars], indirect=True)
def test_two_processes_share_the_shards(project, folder, whole, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--master_port", str(31500 + os.getpid() % 1000), "-m", "atlas", "index"]
    command += [str(project / "tiny.toml"), "--out", str(tmp_path / "two")]
    command += ["--set", f"data.source=hf:{folder}", "--set", "prepass.batch_size=4"]
    command += ["--set", "data.labels=from 0"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    assert "processes read" not in result.stderr
    assert tables(tmp_path / "two") == whole
