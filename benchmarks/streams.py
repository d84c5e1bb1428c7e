"""Measure what reading a stream costs, dealt by shards and by batches.

    python benchmarks/streams.py [--shards 8] [--each 200]

JPEGs of 500 x 375 pixels with noise (80 KB each) in Parquet files and in tar shards. Each row
reads, decodes and crops all of them in a process of its own with some workers; nothing is
measured of them. Seconds are those of all processes on the CPU. "By batches" is what happens
where there are fewer shards than readers: every worker reads all shards and decodes every n-th
batch.
"""

import argparse
import io
import json
import resource
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import datasets
import numpy as np
from PIL import Image

from atlas.data import open_source
from atlas.model.preprocessing import Preprocessor
from atlas.prepass import reader
from atlas.recipe import Data

BATCH = 32
WORKERS = (1, 2, 4)
VIEW = Preprocessor(256, 224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def picture(number: int) -> bytes:
    """Return a JPEG: soft spots with noise."""
    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), np.int16)
    pixels = np.clip(pixels + random.integers(-30, 31, pixels.shape), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=87)
    return file.getvalue()


def make(home: Path, shards: int, each: int) -> None:
    """Write the shards in both formats."""
    datasets.disable_progress_bars()
    kinds = datasets.Features(image=datasets.Image(), label=datasets.Value("int64"))
    for name in ("parquet", "tar"):
        (home / name).mkdir()
    for shard in range(shards):
        numbers = range(shard * each, (shard + 1) * each)
        cells = [{"bytes": picture(number), "path": None} for number in numbers]
        rows = datasets.Dataset.from_dict({"image": cells, "label": list(numbers)}, features=kinds)
        rows.to_parquet(home / "parquet" / f"train-{shard:05}-of-{shards:05}.parquet")
        with tarfile.open(home / "tar" / f"train-{shard:05}.tar", "w") as tar:
            for number, cell in zip(numbers, cells, strict=True):
                for ending, content in (("jpg", cell["bytes"]), ("cls", str(number).encode())):
                    info = tarfile.TarInfo(f"{number:07}.{ending}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))


def read_bytes() -> int:
    """Return the bytes that this process and its ended children have read."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


def cpu_seconds() -> float:
    """Return the seconds that this process and its ended children have computed."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measure(folder: Path, workers: int, by_shards: bool) -> dict[str, float]:
    """Read everything once."""
    if not by_shards:
        reader.by_shards = lambda *_: False
    source = open_source(Data(f"hf:{folder}"))
    bytes_before, seconds_before = read_bytes(), cpu_seconds()
    pictures = sum(len(b.keys) for b in reader.batches(source, VIEW, BATCH, workers=workers))
    seconds = cpu_seconds() - seconds_before
    return {"pictures": pictures, "seconds": seconds, "bytes": read_bytes() - bytes_before}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--each", type=int, default=200)
    parser.add_argument("--row", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        folder, workers, by_shards = arguments.row
        print(json.dumps(measure(Path(folder), int(workers), by_shards == "shards")))
        return
    with tempfile.TemporaryDirectory() as path:
        home = Path(path)
        make(home, arguments.shards, arguments.each)
        heads = ("format", "workers", "MB by batches", "MB by shards", "CPU s by batches")
        print(f"| {' | '.join(heads)} | CPU s by shards |")
        print("|:--|--:|--:|--:|--:|--:|")
        for name in ("parquet", "tar"):
            size = sum(file.stat().st_size for file in (home / name).iterdir()) / 1e6
            for workers in WORKERS:
                found = {}
                for dealt in ("batches", "shards"):
                    command = [sys.executable, "-W", "ignore", __file__, "--row", str(home / name)]
                    command += [str(workers), dealt]
                    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
                    found[dealt] = json.loads(output)
                    assert found[dealt]["pictures"] == arguments.shards * arguments.each
                megabytes = [f"{result['bytes'] / 1e6:.0f}" for result in found.values()]
                seconds = [f"{result['seconds']:.1f}" for result in found.values()]
                print(f"| {name} ({size:.0f} MB) | {workers} | {' | '.join(megabytes + seconds)} |")


if __name__ == "__main__":
    main()
