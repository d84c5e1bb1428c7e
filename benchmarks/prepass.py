"""Measure the pre-pass beside zennit-crp and beside the bare passes of the network.

    python benchmarks/prepass.py [--pictures 64] [--warm 160] [--batch 16] [--only bfloat16]

VGG16 with random weights at 224 px, all 13 convolutions, activation and relevance, on the same
JPEGs of ImageNet's usual size in one run, in folders of 20 classes. Each row runs in a process of
its own, so that its peak memory is its own, after a warm-up on a few pictures. The rows of
zennit-crp and of the pre-pass include decoding and ranking; the bare passes have their pictures
in memory already. zennit-crp runs as in its tutorial: `FeatureVisualization.run` over torchvision's
`ImageFolder` in its order, both modes, statistics of the classes, results saved and collected.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from atlas import pipeline
from atlas.cli import memory
from atlas.data import open_source
from atlas.demo.world import draw
from atlas.prepass import checkpoint
from atlas.prepass.measuring import Checkpoints, measure_channels
from atlas.prepass.tally import Tally
from atlas.prepass.topk import EMPTY, TopK
from atlas.recipe import Recipe, parse
from atlas.relevance.engine import CPU_BLOCK

K = 40
LAYERS = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
CLASSES = 20
SIZE = (500, 375)
BEGUN = "benchmark"


def recipe(
    folder: Path, batch: int, settings: dict[str, Any], name: str = "torchvision/vgg16"
) -> Recipe:
    """Return the recipe that all rows follow, with other `settings` of the pre-pass."""
    weights = {} if name.startswith("demo/") else {"weights": "random"}
    tables = {
        "name": "bench",
        "model": {"name": name, "device": "auto", **weights},
        "data": {"source": f"folder:{folder}"},
        "prepass": {"k": K, "batch_size": batch, **settings},
    }
    return parse(tables, "benchmark")


def zennit_crp(folder: Path, batch: int) -> Callable[[], None]:
    """Run FeatureVisualization, which ranks both modes, as its tutorial does."""
    from crp.attribution import CondAttribution
    from crp.concepts import ChannelConcept
    from crp.visualization import FeatureVisualization
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2
    from zennit.composites import EpsilonPlusFlat

    network = pipeline.Inputs(recipe(folder, batch, {})).network
    for part in network.module.modules():
        part.inplace = False  # zennit's hooks keep what would be overwritten
    view = network.preprocessing
    steps = [
        v2.Resize(view.resize), v2.CenterCrop(view.crop), v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
    ]  # fmt: skip
    dataset = ImageFolder(folder, v2.Compose(steps))
    layers = {f"features.{number}": ChannelConcept() for number in LAYERS}

    def run() -> None:
        with tempfile.TemporaryDirectory() as path:
            visualization = FeatureVisualization(
                CondAttribution(network.module), dataset, layers,
                v2.Normalize(view.mean, view.std), path=path, device=network.device,
            )  # fmt: skip
            visualization.run(EpsilonPlusFlat(), 0, len(dataset), batch_size=batch)

    return run


@dataclass(frozen=True)
class Pass:
    """The pre-pass as `atlas index` runs it."""

    opened: pipeline.Inputs

    def __call__(self, folder: Path, begun: Path | None = None) -> Tally:
        """Run it on a folder, from a checkpoint if there is one."""
        network, asked = self.opened.network, self.opened.recipe
        checkpoints = None if begun is None else Checkpoints(begun, BEGUN)
        return measure_channels(
            open_source(replace(asked.data, source=f"folder:{folder}")),
            range(network.outputs), network.outputs, self.opened.engine, network.preprocessing,
            asked.activation, asked.relevance, asked.prepass, network.device, checkpoints,
            seed=asked.seed,
        )  # fmt: skip


def ours(folder: Path, batch: int, **settings: Any) -> Pass:
    """Return the pre-pass with other `settings`, in a process prepared as the command is."""
    memory.keep_pages()
    return Pass(pipeline.Inputs(recipe(folder, batch, settings)))


def bare(
    folder: Path, batch: int, backward: bool, dtype: torch.dtype = torch.float32
) -> Callable[[], None]:
    """Run one forward pass, or two and one backward to the first layer's output; nothing else."""
    opened = pipeline.Inputs(recipe(folder, batch, {}))
    network = opened.network
    views = [network.preprocessing.view(record.picture()) for record in opened.source.records()]
    pictures = network.preprocessing.tensor(views).to(dtype)
    for part in network.module.modules():
        part.inplace = False  # a leaf of the backward pass would be overwritten
    module = network.module.to(memory_format=torch.channels_last, dtype=dtype)
    size = batch if network.device.type == "cuda" else CPU_BLOCK

    def run() -> None:
        for part in pictures.split(size):
            block = part.to(network.device).contiguous(memory_format=torch.channels_last)
            with torch.no_grad():
                module(block)
            if backward:
                first = module.features[0](block).detach().requires_grad_()
                logits = module.classifier(module.features[1:](first).flatten(1))
                logits.amax(dim=1).sum().backward()
        if network.device.type == "cuda":
            torch.cuda.synchronize()

    return run


HALF = torch.bfloat16
ROWS: dict[str, Callable[[Path, int], Callable[[], object]]] = {
    "zennit-crp, FeatureVisualization": zennit_crp,
    "pre-pass, float32": ours,
    "pre-pass, float32, compiled": partial(ours, compile=True),
    "pre-pass, bfloat16": partial(ours, dtype="bfloat16"),
    "pre-pass, bfloat16, compiled": partial(ours, dtype="bfloat16", compile=True),
    "activation only, float32": partial(ours, modes=["activation"]),
    "activation only, float32, compiled": partial(ours, modes=["activation"], compile=True),
    "activation only, bfloat16, compiled": partial(
        ours, modes=["activation"], dtype="bfloat16", compile=True
    ),
    "bare forward, float32": partial(bare, backward=False),
    "bare forward, bfloat16": partial(bare, backward=False, dtype=HALF),
    "two bare forwards, one backward, float32": partial(bare, backward=True),
    "two bare forwards, one backward, bfloat16": partial(bare, backward=True, dtype=HALF),
}
GPU_ROWS: dict[str, Callable[[Path, int], Callable[[], object]]] = {
    "pre-pass, float16": partial(ours, dtype="float16"),
}


def rows() -> dict[str, Callable[[Path, int], Callable[[], object]]]:
    """Return what is measured here: float16 has no fast convolutions on a CPU."""
    return {**ROWS, **(GPU_ROWS if torch.cuda.is_available() else {})}


def measure(name: str, home: Path, batch: int, kept: Path) -> dict[str, float]:
    """Return images/s and peak memory in GB of a row, after a warm-up on other pictures.

    The reservoirs of a pre-pass are filled in the warm-up and then cut to the best picture, so
    that 1 in 200 pictures enters one of them; with k = 40, of ImageNet's 1 in 3,000 does.
    """
    make = rows()[name]
    few, many = home / "few", home / "many"
    if isinstance(warm := make(many, batch), Pass):
        tally = warm(many)
        kept.write_bytes(checkpoint.pack(tally, {}))
        begun = home / "begun.safetensors"
        checkpoint.save(begun, BEGUN, {}, best_only(tally))
        run = partial(warm, few, begun)
    else:
        make(home / "one", batch)()
        run = make(few, batch)
    begin = time.perf_counter()
    run()
    seconds = time.perf_counter() - begin
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    device = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0
    return {"rate": count(few) / seconds, "memory": memory, "device": device}


def best_only(tally: Tally) -> Tally:
    """Return the tally with one place in every reservoir."""
    layers = {}
    for name, layer in tally.layers.items():
        top = {
            mode: TopK(places.scores[:, :1], places.indices[:, :1], places.peaks[:, :1])
            for mode, places in layer.top.items()
        }
        layers[name] = replace(layer, top=top)
    return replace(tally, k=1, layers=layers)


def count(folder: Path) -> int:
    """Return the pictures in a folder."""
    return sum(1 for _ in folder.glob("*/*"))


def agreement(kept: Path, exact: Path, best: int) -> dict[str, float]:
    """Return by mode how much of the `best` pictures of a channel two passes have in common."""
    cpu = torch.device("cpu")
    some, all_ = (checkpoint.unpack(path.read_bytes(), cpu)[0] for path in (kept, exact))
    shares = {}
    for mode in some.modes:
        common = places = 0
        for name, layer in some.layers.items():
            one = layer.top[mode].indices[:, :best].tolist()
            two = all_.layers[name].top[mode].indices[:, :best].tolist()
            for mine, theirs in zip(one, two, strict=True):
                common += len({*mine} & {*theirs} - {EMPTY})
                places += len({*theirs} - {EMPTY})
        shares[mode] = common / places
    return shares


def draw_pictures(folder: Path, first: int, stop: int) -> None:
    """Save drawn pictures with noise, of 80 KB each, in folders by class."""
    for number in range(first, stop):
        drawn = Image.fromarray(draw(0, number).image).resize(SIZE, Image.Resampling.BICUBIC)
        noise = np.random.default_rng(number).integers(-30, 31, (*SIZE[::-1], 3))
        pixels = np.clip(np.asarray(drawn) + noise, 0, 255).astype(np.uint8)
        path = folder / f"{number % CLASSES:02}" / f"{number:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=88)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=64, help="timed")
    parser.add_argument("--warm", type=int, default=160, help="before, and for the agreement")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--only", action="append", default=[], help="rows with this in their name")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        home = arguments.folder
        kept = home / f"{list(rows()).index(arguments.row)}.tally"
        print(json.dumps(measure(arguments.row, home, arguments.batch, kept)))
        return
    with tempfile.TemporaryDirectory() as path:
        home = Path(path)
        timed = arguments.pictures
        draw_pictures(home / "few", 0, timed)
        draw_pictures(home / "one", 0, arguments.batch)
        draw_pictures(home / "many", timed, timed + arguments.warm)
        chosen = [n for n in rows() if not arguments.only or any(o in n for o in arguments.only)]
        results = {}
        for name in chosen:
            command = [sys.executable, __file__, "--row", name, "--folder", str(home)]
            command += ["--batch", str(arguments.batch)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            results[name] = json.loads(output.splitlines()[-1])
        report(results, home, arguments)


def report(results: dict[str, dict[str, float]], home: Path, arguments: argparse.Namespace) -> None:
    """Print the measured rates, their ratios, and what the rows have in common with float32."""
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPUs"
    print(f"{arguments.pictures} pictures, batch {arguments.batch}, {where}, "
          f"torch {torch.__version__}\nJPEGs of {SIZE[0]} x {SIZE[1]} of {CLASSES} classes in "
          "ImageFolder's order; zennit-crp saves after 500 batches, its default\n")  # fmt: skip
    slowest = results.get("zennit-crp, FeatureVisualization", {}).get("rate", math.nan)
    heads = ["", "images/s", "times zennit-crp", "of the bare passes", "peak GB", "GPU GB"]
    heads += [f"same {what} of top {n}" for n in (K, 10) for what in ("activation", "relevance")]
    print(f"| {' | '.join(heads)} |\n|:--|{'--:|' * (len(heads) - 1)}")
    order = list(rows())
    exact = home / f"{order.index('pre-pass, float32')}.tally"
    for name, result in results.items():
        kind = "bfloat16" if "bfloat16" in name else "float32"
        passes = "bare forward" if "only" in name else "two bare forwards, one backward"
        floor = results.get(f"{passes}, {kind}", {}).get("rate", math.nan)
        cells = [name, f"{result['rate']:.2f}", f"{result['rate'] / slowest:.1f}"]
        cells += [f"{result['rate'] / floor:.2f}" if "bare" not in name else ""]
        cells += [f"{result['memory']:.1f}", f"{result['device']:.1f}"]
        kept = home / f"{order.index(name)}.tally"
        for best in (K, 10):
            found = agreement(kept, exact, best) if kept.exists() and exact.exists() else {}
            modes = ("activation", "relevance")
            cells += [f"{found[mode]:.3f}" if mode in found else "" for mode in modes]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
