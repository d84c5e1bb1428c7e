"""What a GPU does with the pre-pass, the patches and the index, in eight minutes.

    python benchmarks/gpu.py [--minutes 8] [--batch 64]

It needs one GPU and nothing else: networks have random weights, pictures are drawn (JPEGs of
500 x 375 pixels, each under many names). VGG16 and ResNet-50 with all convolutions, activation and
relevance, k = 40, in float32 and bfloat16, compiled or not, each after a warm-up, as long as a part
of the time allows; `FeatureVisualization` of zennit-crp on VGG16 in the same run; and a whole
`atlas index` of VGG16. Rows include reading, decoding, scoring and ranking. "GPU computes" is the
share of the time in which a kernel ran, as nvidia-smi samples it; "waiting" that in which no
picture was ready: what is limited by decoding shows there. Rows that no time is left for are named.

    python benchmarks/gpu.py --smoke

runs the same code in a minute on the CPU: the demo network, a few pictures, without zennit-crp. Its
figures mean nothing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from prepass import SIZE, draw_pictures, recipe, zennit_crp

from atlas import pipeline
from atlas.data import open_source
from atlas.prepass.measuring import measure_channels
from atlas.recipe import Recipe
from atlas.store import Store

DRAWN = 256
NAMES = 32
"""Under so many names each drawn picture lies in the folder."""

NETWORKS = ("torchvision/vgg16", "torchvision/resnet50")
KINDS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"dtype": "bfloat16"},
    "float32, compiled": {"compile": True},
    "bfloat16, compiled": {"dtype": "bfloat16", "compile": True},
}
SECONDS = 12.0
"""How long a row is timed, about."""

INDEXED = 2000
"""Pictures of the whole `atlas index`."""

FINISHING = 90.0
"""Seconds kept for the rows of zennit-crp and of the whole index."""


@dataclass(frozen=True)
class Row:
    """What was measured of one way."""

    pictures: int
    seconds: float
    busy: float | None
    """Share of the time in which the GPU computed; None where nothing samples it."""
    waiting: float | None
    """Share of the time in which no picture was ready."""
    memory: float
    """Largest memory of the GPU, in GB."""


@contextmanager
def sampled() -> Iterator[list[float]]:
    """Collect the GPU's utilisation, from 0 to 1, five times a second within this context."""
    samples: list[float] = []
    card = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or "0"
    command = ["nvidia-smi", "-i", card, "--query-gpu=utilization.gpu", "-lms", "200"]
    command.append("--format=csv,noheader,nounits")
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    except OSError:  # no such program
        yield samples
        return

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip().isdigit():
                samples.append(int(line) / 100)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        process.terminate()
        process.wait()
        thread.join()


def several(folder: Path, drawn: int, names: int) -> None:
    """Draw pictures in folders by class, and link each under several names."""
    draw_pictures(folder, 0, drawn)
    for path in sorted(folder.glob("*/*.jpg")):
        for number in range(1, names):
            os.link(path, path.with_stem(f"{path.stem}-{number:02}"))


def asked_for(folder: Path, batch: int, network: str, settings: dict[str, Any]) -> Recipe:
    """Return the recipe of a row: its relevance is that of the predicted class."""
    asked = recipe(folder, batch, {**settings, "workers": workers()}, network)
    return replace(asked, relevance=replace(asked.relevance, target="predicted"))


def prepass(asked: Recipe, pictures: int, opened: pipeline.Inputs, log: Path) -> Row:
    """Run the pre-pass over so many of the pictures."""
    log.unlink(missing_ok=True)
    network = opened.network
    reset()
    with sampled() as samples:
        begin = time.perf_counter()
        measure_channels(
            open_source(replace(asked.data, limit=pictures)), range(network.outputs),
            network.outputs, opened.engine, network.preprocessing, asked.activation,
            asked.relevance, replace(asked.prepass, progress=str(log)), network.device,
            seed=asked.seed,
        )  # fmt: skip
        finish()
        seconds = time.perf_counter() - begin
    last = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    return Row(pictures, seconds, mean(samples), last["waiting"], memory())


def timed(asked: Recipe, most: int, log: Path, seconds: float) -> Row:
    """Warm up on a few pictures and then measure for about so many seconds."""
    opened = pipeline.Inputs(asked)
    few = min(most, 2 * asked.prepass.batch_size)
    prepass(asked, few, opened, log)  # compiles, and finds how convolutions are quickest
    second = prepass(asked, min(most, 4 * few), opened, log)
    batch = asked.prepass.batch_size
    wanted = int(second.pictures / second.seconds * seconds) // batch * batch
    return prepass(asked, min(most, max(few, wanted)), opened, log)


def reset() -> None:
    """Forget the largest memory so far."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()


def finish() -> None:
    """Wait for the GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def memory() -> float:
    """Return the largest memory of the GPU since `reset`, in GB."""
    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0


def mean(samples: list[float]) -> float | None:
    """Return the mean of what was sampled, if anything was."""
    return statistics.mean(samples) if samples else None


def say(name: str, row: Row, than: float | None = None) -> None:
    """Print a row of the table at once: what comes later may not come at all."""
    rate = row.pictures / row.seconds
    shares = ["" if one is None else f"{one:.0%}" for one in (row.busy, row.waiting)]
    cells = [name, f"{row.pictures}", f"{rate:.1f}", *shares, f"{row.memory:.1f}"]
    cells.append("" if than is None else f"{rate / than:.1f}")
    print(f"| {' | '.join(cells)} |", flush=True)


def whole_index(folder: Path, batch: int, network: str, pictures: int, k: int, home: Path) -> None:
    """Print how long each stage of an `atlas index` takes."""
    log = home / "index.progress"
    asked = asked_for(folder, batch, network, {"progress": str(log), "k": k})
    asked = replace(asked, data=replace(asked.data, limit=pictures))
    reset()
    with sampled() as samples:
        pipeline.index(asked, home / "atlas")
    store = Store(home / "atlas")
    references, images = store.table("references").num_rows, store.table("images").num_rows
    of = {"prepass": (pictures, "pictures"), "pictures": (images, "pictures stored"),
          "patches": (references, "references"),
          "weights": (store.rows("channels"), "channels")}  # fmt: skip
    print(f"\n`atlas index`, {network}, {pictures} pictures, k = {k}, float32\n")
    print("| stage | seconds | of | a second |\n|:--|--:|--:|--:|")
    for line in map(json.loads, log.read_text(encoding="utf-8").splitlines()):
        if "number" in line:
            count, what = of[line["stage"]]
            seconds = line["seconds"]
            print(f"| {line['stage']} | {seconds:.1f} | {count} {what} | {count / seconds:.0f} |")
    busy = mean(samples)
    said = "" if busy is None else f"; the GPU computes {busy:.0%} of the time"
    print(f"\nlargest memory of the GPU {memory():.1f} GB{said}", flush=True)


def workers() -> int:
    """Return how many processes read, beside a GPU."""
    return min(16, os.cpu_count() or 1) if torch.cuda.is_available() else 0


def main() -> None:
    """Print the tables."""
    begin = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--smoke", action="store_true", help="a minute on the CPU, without meaning")
    arguments = parser.parse_args()
    smoke, batch = arguments.smoke, 8 if arguments.smoke else arguments.batch
    if not smoke and not torch.cuda.is_available():
        sys.exit("no GPU was found here: run this where torch.cuda.is_available(), or with --smoke")
    networks = ("demo/vgg",) if smoke else NETWORKS
    kinds = {"float32": KINDS["float32"]} if smoke else KINDS
    drawn, names, seconds = (16, 2, 1.0) if smoke else (DRAWN, NAMES, SECONDS)
    end = begin + 60 * arguments.minutes - FINISHING

    with tempfile.TemporaryDirectory() as path:
        home = Path(path)
        several(home / "data", drawn, names)
        where = "CPU, smoke test" if smoke else torch.cuda.get_device_name()
        print(f"{where}, {os.cpu_count()} CPUs, torch {torch.__version__}; batch {batch}, "
              f"JPEGs of {SIZE[0]} x {SIZE[1]}, {workers()} processes read\n\n"
              "| | pictures | images/s | GPU computes | waiting | GPU GB | times zennit-crp |\n"
              "|:--|--:|--:|--:|--:|--:|--:|", flush=True)  # fmt: skip
        rate = None if smoke else of_zennit_crp(home, batch)
        for network in networks:
            for kind, settings in kinds.items():
                name = f"{network.partition('/')[2]}, {kind}"
                if time.monotonic() > end - SECONDS:
                    print(f"| {name} | not measured: the time was up |", flush=True)
                    continue
                asked = asked_for(home / "data", batch, network, settings)
                row = timed(asked, drawn * names, home / "log", seconds)
                say(name, row, rate if network == NETWORKS[0] else None)
                torch.cuda.empty_cache()
        count, k = (drawn, 1) if smoke else (INDEXED, 8)
        whole_index(home / "data", batch, networks[0], count, k, home)
    print(f"\n{time.monotonic() - begin:.0f} seconds in all")


def of_zennit_crp(home: Path, batch: int) -> float:
    """Print the row of zennit-crp and return its images/s."""
    few, one = home / "few", home / "one"
    draw_pictures(few, 0, 4 * batch)
    draw_pictures(one, 0, batch)
    zennit_crp(one, batch)()
    run = zennit_crp(few, batch)
    reset()
    with sampled() as samples:
        begin = time.perf_counter()
        run()
        finish()
        seconds = time.perf_counter() - begin
    row = Row(4 * batch, seconds, mean(samples), None, memory())
    say("zennit-crp, FeatureVisualization, vgg16, float32", row, row.pictures / row.seconds)
    torch.cuda.empty_cache()
    return row.pictures / row.seconds


if __name__ == "__main__":
    main()
