"""Whether relevance is conserved, whether its order stands the test, and what heat maps cost.

    python benchmarks/explaining.py faithful --pictures 200
    python benchmarks/explaining.py speed --repeats 3

`faithful` takes pictures of a demo world that nobody has seen. `speed` takes VGG16 with random
weights, three layers with eight channels each, and measures side by side.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
import torchvision
from crp.attribution import CondAttribution
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm
from zennit.composites import EpsilonPlusFlat

from atlas.demo import world
from atlas.explain import interventions
from atlas.explain.conditional import propagate, shares
from atlas.model import networks
from atlas.recipe import Model, Preprocessing
from atlas.relevance.engine import PREDICTED, initial_relevance
from atlas.relevance.plan import plan
from atlas.relevance.tape import Instrumented, follow, instrument, path_to
from atlas.trace.record import record

COMPOSITE = "epsilon_plus_flat"
SEED = 20_261_121
"""Of the fresh world; the demo's network and atlas have other ones."""

STEPS, DRAWS = 8, 5
TESTED = ("features.20", "features.30", "planted")
VGG_LAYERS, CHANNELS = ("features.14", "features.21", "features.28"), 8


def faithful(count: int) -> None:
    """Print conservation, and what ablation does in each order."""
    network = networks.load(Model(name="demo/vgg", device="cpu"), Preprocessing(), 0)
    module, shape = network.module, network.preprocessing.shape
    layers = tuple(name for name, part in module.named_modules() if isinstance(part, nn.Conv2d))
    model = instrument(module, plan(network.trace, COMPOSITE), layers)
    means = _means(module, network.preprocessing, layers)
    sums: dict[str, list[tuple[float, float]]] = {layer: [] for layer in layers}
    areas: dict[tuple[str, str], list[dict[str, tuple[float, float]]]] = {}
    for index in tqdm(range(count), desc="pictures"):
        view = network.preprocessing.view(_drawn(SEED, index, shape[1]))
        image = network.preprocessing.tensor([view])
        measured = propagate(model, image, PREDICTED)
        logit = float(measured.logits[measured.target])
        for layer, missing in _missing(model, image, measured.target).items():
            sums[layer].append((float(measured.relevance[layer].sum()) / logit, missing / logit))
        for layer in TESTED:
            for kind in ("zero", "mean"):
                fill = means[layer] if kind == "mean" else torch.zeros_like(means[layer])
                curve = interventions.channel_curve(
                    interventions.without_channels(model, layer, image, fill),
                    measured, layer, kind, STEPS, DRAWS, torch.Generator().manual_seed(index),
                )  # fmt: skip
                areas.setdefault((layer, kind), []).append({
                    one.order: (one.area_logit, one.area_probability) for one in curve.courses
                })  # fmt: skip
    _print_conservation(sums)
    _print_areas(areas)


def _missing(model: Instrumented, image: Tensor, target: int) -> dict[str, float]:
    """Return what biases and stabilisers take of the logit above each layer, by the formula.

    A rule divides by z_j = sum_i z_ij + b_j + eps, so of R_j the part (b_j + eps) / z_j goes
    nowhere (Bach et al. 2015, eq. 59).
    """
    tape = follow(model, image, path_to(model.plan, model.layers.values()), lambda *_: None)
    missing: dict[str, float] = {}
    total = 0.0

    def audit(number: int, outputs: object, inputs: object, taken: float) -> None:
        nonlocal total
        total += taken

    explained = tape.logits[:, target : target + 1]
    tape.back(
        initial_relevance(tape, torch.tensor([target]), explained),
        lambda layer, _: missing.__setitem__(layer, total),
        audit=audit,
    )
    return missing


def _means(module: nn.Module, preprocessing, layers: Sequence[str]) -> dict[str, Tensor]:
    """Return each channel's mean output over 256 pictures of the atlas's world."""
    found = {layer: [] for layer in layers}
    handles = [
        module.get_submodule(layer).register_forward_hook(
            lambda _m, _i, output, layer=layer: found[layer].append(output.mean((2, 3)))
        )
        for layer in layers
    ]
    with torch.no_grad():
        for start in range(0, 256, 32):
            views = [preprocessing.view(_drawn(1, i, preprocessing.shape[1]))
                     for i in range(start, start + 32)]  # fmt: skip
            module(preprocessing.tensor(views))
    for handle in handles:
        handle.remove()
    return {layer: torch.cat(parts).mean(dim=0) for layer, parts in found.items()}


def _drawn(seed: int, index: int, side: int) -> Image.Image:
    return Image.fromarray(world.draw(seed, index, side).image)


def _print_conservation(sums: dict[str, list[tuple[float, float]]]) -> None:
    print("\n| layer | sum of relevance / logit | taken by biases and stabilisers | largest gap |")
    print("|:--|--:|--:|--:|")
    for layer, rows in sums.items():
        arrives = statistics.mean(one for one, _ in rows)
        taken = statistics.mean(other for _, other in rows)
        gap = max(abs(1 - one - other) for one, other in rows)
        print(f"| {layer} | {arrives:.4f} | {taken:.4f} | {gap:.1e} |")


def _print_areas(areas: dict[tuple[str, str], list[dict[str, tuple[float, float]]]]) -> None:
    orders = ("relevance", "activation", "random", "reverse")
    print(f"\n| layer, {STEPS} channels set to | " + " | ".join(f"by {o}" for o in orders)
          + " | below random | probability: below random |")  # fmt: skip
    print("|:--|" + "--:|" * 6)
    for (layer, kind), rows in areas.items():
        means = [statistics.mean(row[order][0] for row in rows) for order in orders]
        below = [
            statistics.mean(row["relevance"][which] < row["random"][which] for row in rows)
            for which in (0, 1)
        ]
        print(f"| {layer}, {kind} | " + " | ".join(f"{mean:.2f}" for mean in means)
              + " | " + " | ".join(f"{100 * one:.1f} %" for one in below) + " |")  # fmt: skip


def speed(repeats: int) -> None:
    """Print what 3 x 8 conditional heat maps cost in several ways."""
    torch.manual_seed(0)
    module = torchvision.models.vgg16(weights=None).eval().requires_grad_(False)
    image = torch.randn(1, 3, 224, 224)
    for part in module.modules():
        part.inplace = False  # for zennit's hooks, and gradients of the layers
    positive = torchvision.models.vgg16(weights=None).eval().requires_grad_(False)
    positive.load_state_dict({k: v.clamp(min=0) for k, v in module.state_dict().items()})
    model = instrument(module, plan(record(module, image), COMPOSITE), VGG_LAYERS)
    measured = propagate(model, image, PREDICTED)
    chosen = {
        layer: shares(measured.relevance[layer]).abs().topk(CHANNELS).indices.tolist()
        for layer in VGG_LAYERS
    }
    maps: dict[str, Tensor] = {}

    def ours() -> None:
        found = propagate(model, image, PREDICTED)
        maps["ours"] = torch.cat(
            [found.condition(layer, chosen[layer], ()).heat for layer in chosen]
        )

    def forward() -> None:
        with torch.no_grad():
            module(image)

    def positive_forward() -> None:
        with torch.no_grad():
            positive(image)

    logits, pixels, outputs = _recorded(module, image)
    initial = torch.zeros_like(logits)
    initial[0, int(logits.argmax())] = 1

    def backward() -> None:
        for _ in range(CHANNELS * len(VGG_LAYERS)):
            torch.autograd.grad(logits, pixels, initial, retain_graph=True)

    def backward_from_layers() -> None:
        for layer in VGG_LAYERS:
            ones = torch.ones_like(outputs[layer])
            for _ in range(CHANNELS):
                torch.autograd.grad(outputs[layer], pixels, ones, retain_graph=True)

    attribute = CondAttribution(module, no_param_grad=True)
    composite = EpsilonPlusFlat()

    def zennit_crp() -> None:
        heat = []
        for layer, channels in chosen.items():
            conditions = [{layer: [channel], "y": [measured.target]} for channel in channels]
            picture = image.clone().requires_grad_()
            heat.append(attribute(picture, conditions, composite).heatmap)
        maps["zennit-crp"] = torch.cat(heat).detach()

    ways: dict[str, Callable[[], None]] = {
        "ours: 24 conditional heat maps": ours,
        "one forward pass": forward,
        "one forward pass of positive parts": positive_forward,
        "24 backward passes, from the logits": backward,
        "24 backward passes, from the layers": backward_from_layers,
        "zennit-crp: the same maps": zennit_crp,
    }
    _print_times(_timed(ways, repeats))
    gap = (maps["ours"] - maps["zennit-crp"]).abs().amax((1, 2))
    relative = (gap / maps["zennit-crp"].abs().amax((1, 2))).max()
    print(f"\nLargest relative difference between the maps: {relative:.1e}")


def _recorded(module: nn.Module, image: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return logits, pixels and layer outputs with the graph of plain gradients."""
    outputs: dict[str, Tensor] = {}
    handles = [
        module.get_submodule(layer).register_forward_hook(
            lambda _m, _i, output, layer=layer: outputs.__setitem__(layer, output)
        )
        for layer in VGG_LAYERS
    ]
    pixels = image.clone().requires_grad_()
    logits = module(pixels)
    for handle in handles:
        handle.remove()
    return logits, pixels, outputs


def _timed(ways: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Return the median CPU seconds of each way, one after another in every round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in tqdm(range(repeats + 1), desc="rounds"):
        for name, run in ways.items():
            start = time.process_time()
            run()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def _print_times(took: dict[str, float]) -> None:
    print("\n| VGG16, 224 px, 3 layers x 8 channels | CPU seconds |\n|:--|--:|")
    for name, seconds in took.items():
        print(f"| {name} | {seconds:.2f} |")
    passes = took["one forward pass"] + took["one forward pass of positive parts"]
    mine = took["ours: 24 conditional heat maps"]
    for origin in ("logits", "layers"):
        ratio = mine / (passes + took[f"24 backward passes, from the {origin}"])
        print(f"| ours / (both forward and 24 backward passes, from the {origin}) | {ratio:.2f} |")
    print(f"| zennit-crp / ours | {took['zennit-crp: the same maps'] / mine:.1f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["faithful", "speed"])
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    if given.what == "faithful":
        faithful(given.pictures)
    else:
        speed(given.repeats)
