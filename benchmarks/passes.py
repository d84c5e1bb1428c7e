"""Time the relevance of all convolutions in parts of two forwards and one backward.

    python benchmarks/passes.py [NAME ...] [--rounds 5]

Both are measured in turns in one process, on the same block of pictures in memory; the best round
of each counts. The bare passes are of the network as its maker wrote it, channels_last, in eval
mode, without gradients of its weights.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from atlas.model import networks
from atlas.recipe import Model, Preprocessing
from atlas.relevance.engine import CPU_BLOCK, PREDICTED, RelevanceEngine
from atlas.relevance.plan import plan
from atlas.relevance.tape import instrument
from atlas.trace import layers

NETWORKS = (
    "torchvision/vgg16", "torchvision/resnet50", "torchvision/mobilenet_v2",
    "pypi/efficientnet-lite0", "torchvision/densenet121",
)  # fmt: skip


def bare(module: nn.Module, images: Tensor) -> None:
    """Go forward twice and back once."""
    with torch.no_grad():
        module(images)
    pixels = images.clone(memory_format=torch.preserve_format).requires_grad_()
    module(pixels).amax(dim=1).sum().backward()


def seconds(run: Callable[[], object]) -> float:
    """Return how long `run` takes."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def measure(name: str, rounds: int) -> tuple[int, float, float]:
    """Return how many layers were measured, and the seconds of both."""
    weights = "default" if name.startswith("pypi/") else "random"
    network = networks.load(Model(name=name, weights=weights), Preprocessing(), 0)
    rules = plan(network.trace, "epsilon_plus_flat")
    chosen = layers.choose(network.trace, (), rules.reached).names
    engine = RelevanceEngine(instrument(network.module, rules, chosen))
    shape = network.preprocessing.shape
    images = torch.randn(CPU_BLOCK, *shape, device=network.device)
    images = images.contiguous(memory_format=torch.channels_last)
    targets = torch.full((CPU_BLOCK,), PREDICTED, device=network.device)

    def ours() -> None:
        engine(images, targets, lambda *_: None)

    def theirs() -> None:
        bare(network.module, images)

    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    mine, other = (min(column) for column in zip(*pairs, strict=True))
    return len(chosen), mine, other


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print("| network | layers | relevance, s | two forwards and a backward, s | ratio |")
    print("|:--|--:|--:|--:|--:|")
    for name in arguments.names:
        count, mine, other = measure(name, arguments.rounds)
        row = f"| {name} | {count} | {mine:.2f} | {other:.2f} | {mine / other:.2f} |"
        print(row, flush=True)


if __name__ == "__main__":
    main()
