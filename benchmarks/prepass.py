"""Measure the pre-pass beside zennit-crp and beside the bare passes of the network.

    python benchmarks/prepass.py [--pictures 32] [--batch 16]

VGG16 with random weights at 224 px, all 13 convolutions, activation and relevance, on the same
drawn pictures in one run. Each row runs in a process of its own, so that its peak memory is
its own; the time is that of the pass alone, after a warm-up.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from atlas import pipeline, prepass
from atlas.demo.world import draw
from atlas.recipe import Recipe, parse

K = 40
LAYERS = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]


def recipe(folder: Path, batch: int) -> Recipe:
    """Return the recipe that all rows follow."""
    tables = {
        "name": "bench",
        "model": {"name": "torchvision/vgg16", "weights": "random", "device": "cpu"},
        "data": {"source": f"folder:{folder}"},
        "relevance": {"target": "predicted"},
        "prepass": {"k": K, "batch_size": batch},
    }
    return parse(tables, "benchmark")


def inputs(folder: Path, batch: int) -> tuple[pipeline.Inputs, torch.Tensor]:
    """Return the opened recipe and all pictures as the network takes them."""
    opened = pipeline.Inputs(recipe(folder, batch))
    views = [
        opened.network.preprocessing.view(record.picture()) for record in opened.source.records()
    ]
    return opened, opened.network.preprocessing.tensor(views)


def zennit_crp(folder: Path, batch: int) -> Callable[[], None]:
    """Run FeatureVisualization, which ranks both modes."""
    from crp.attribution import CondAttribution
    from crp.concepts import ChannelConcept
    from crp.visualization import FeatureVisualization
    from zennit.composites import EpsilonPlusFlat

    opened, pictures = inputs(folder, batch)
    with torch.no_grad():
        module = opened.network.module
        targets = torch.cat([module(part) for part in pictures.split(batch)]).argmax(1).tolist()
    dataset = list(zip(pictures, targets, strict=True))
    layers = {f"features.{number}": ChannelConcept() for number in LAYERS}

    def run() -> None:
        with tempfile.TemporaryDirectory() as path:
            visualization = FeatureVisualization(
                CondAttribution(module), dataset, layers, path=path, device="cpu"
            )
            visualization.run(EpsilonPlusFlat(), 0, len(dataset), batch_size=batch)

    return run


def ours(folder: Path, batch: int) -> Callable[[], None]:
    """Run the pre-pass as `atlas index` does, decoding included."""
    opened, _ = inputs(folder, batch)
    network, asked = opened.network, opened.recipe
    return partial(
        prepass.run, opened.source, range(network.outputs), network.outputs, opened.engine,
        network.preprocessing, asked.activation, asked.relevance, asked.prepass, network.device,
    )  # fmt: skip


def bare(folder: Path, batch: int, backward: bool) -> Callable[[], None]:
    """Run one forward pass, or two and one backward to the first layer's output; nothing else."""
    opened, pictures = inputs(folder, batch)
    module = opened.network.module.to(memory_format=torch.channels_last)
    pictures = pictures.contiguous(memory_format=torch.channels_last)

    def run() -> None:
        for part in pictures.split(8):
            with torch.no_grad():
                module(part)
            if backward:
                first = module.features[0](part).detach().requires_grad_()
                logits = module.classifier(module.features[1:](first).flatten(1))
                logits.amax(dim=1).sum().backward()

    return run


ROWS: dict[str, Callable[[Path, int], Callable[[], None]]] = {
    "zennit-crp, FeatureVisualization": zennit_crp,
    "pre-pass": ours,
    "bare forward": partial(bare, backward=False),
    "bare: two forwards, one backward": partial(bare, backward=True),
}


def measure(name: str, folder: Path, batch: int) -> dict[str, float]:
    """Return images/s and peak memory in GB of a row, after one warm-up."""
    run = ROWS[name](folder, batch)
    run()
    begin = time.perf_counter()
    run()
    seconds = time.perf_counter() - begin
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"rate": len(list(folder.iterdir())) / seconds, "memory": memory}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        print(json.dumps(measure(arguments.row, arguments.folder, arguments.batch)))
        return
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path) / "pictures"
        folder.mkdir()
        for number in range(arguments.pictures):
            picture = Image.fromarray(draw(0, number, 256).image)
            picture.save(folder / f"{number:04}.jpg", quality=90)
        results = {}
        for name in ROWS:
            command = [sys.executable, __file__, "--row", name, "--folder", str(folder)]
            command += ["--batch", str(arguments.batch)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results[name] = json.loads(output.splitlines()[-1])
    slowest = results["zennit-crp, FeatureVisualization"]["rate"]
    print(f"{arguments.pictures} pictures, batch {arguments.batch}, {os.cpu_count()} CPUs,"
          f" torch {torch.__version__}\n")  # fmt: skip
    print("| | images/s | times zennit-crp | peak memory GB |\n|:--|--:|--:|--:|")
    for name, result in results.items():
        print(
            f"| {name} | {result['rate']:.2f} | {result['rate'] / slowest:.1f} "
            f"| {result['memory']:.1f} |"
        )


if __name__ == "__main__":
    main()
