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

from atlas.demo import world
from atlas.explain import interventions
from atlas.explain.conditional import FusedPropagator, Measured, shares
from atlas.model import canonize, networks
from atlas.recipe import Model, Preprocessing
from atlas.relevance.engine import PREDICTED
from atlas.relevance.fused import FusedEngine
from atlas.relevance.rules import EPSILON, RULES

COMPOSITE = "epsilon_plus_flat"
SEED = 20_261_121
"""Of the fresh world; the demo's network and atlas have other ones."""

STEPS, DRAWS = 8, 5
TESTED = ("features.20", "features.30", "planted")
VGG_LAYERS, CHANNELS = ("features.14", "features.21", "features.28"), 8


def faithful(count: int) -> None:
    """Print conservation, and what ablation does in each order."""
    network = networks.load(Model(name="demo/vgg", device="cpu"), Preprocessing(), 0)
    module, side = network.module, network.preprocessing.crop
    layers = tuple(name for name, part in module.named_modules() if isinstance(part, nn.Conv2d))
    engine = FusedEngine(module, layers, COMPOSITE, canonize.canonizers(module), side)
    propagate = FusedPropagator(engine, module, layers)
    means = _means(module, network.preprocessing, layers)
    sums: dict[str, list[tuple[float, float]]] = {layer: [] for layer in layers}
    areas: dict[tuple[str, str], list[dict[str, tuple[float, float]]]] = {}
    for index in tqdm(range(count), desc="pictures"):
        view = network.preprocessing.view(_drawn(SEED, index, side))
        image = network.preprocessing.tensor([view])
        measured = propagate(image, PREDICTED)
        logit = float(measured.logits[measured.target])
        for layer, missing in _missing(module, engine, image, measured, layers).items():
            sums[layer].append((float(measured.relevance[layer].sum()) / logit, missing / logit))
        for layer in TESTED:
            for kind in ("zero", "mean"):
                fill = means[layer] if kind == "mean" else torch.zeros_like(means[layer])
                curve = interventions.channel_curve(
                    interventions.without_channels(module, layer, image, fill),
                    measured, layer, kind, STEPS, DRAWS, torch.Generator().manual_seed(index),
                )  # fmt: skip
                areas.setdefault((layer, kind), []).append({
                    one.order: (one.area_logit, one.area_probability) for one in curve.courses
                })  # fmt: skip
    _print_conservation(sums)
    _print_areas(areas)


def _missing(
    module: nn.Module,
    engine: FusedEngine,
    image: Tensor,
    measured: Measured,
    layers: Sequence[str],
) -> dict[str, float]:
    """Return what biases and stabilisers take of the logit above each layer, by the formula.

    A rule divides by z_j = sum_i z_ij + b_j + eps, so of R_j the part (b_j + eps) / z_j goes
    nowhere (Bach et al. 2015, eq. 59).
    """
    inputs: dict[nn.Module, Tensor] = {}
    parts = [*layers, "classifier"]
    handles = [
        module.get_submodule(name).register_forward_pre_hook(
            lambda part, given: inputs.__setitem__(part, given[0])
        )
        for name in parts
    ]
    with torch.no_grad():
        module(image)
    for handle in handles:
        handle.remove()
    # Above the planted layer: a linear layer without a bias and a mean over positions.
    logit = float(measured.logits[measured.target])
    linear = EPSILON / (logit + EPSILON) * logit
    pooled = inputs[module.get_submodule("classifier")][0]
    weight = module.get_submodule("classifier").weight[measured.target]
    arrives = weight * pooled * logit / (logit + EPSILON)
    mean = float((arrives * EPSILON / (pooled + EPSILON)).sum())
    missing = {layers[-1]: linear + mean}
    for lower, upper in zip(layers[-2::-1], layers[:0:-1], strict=True):
        part = module.get_submodule(upper)
        rule = engine._convolutions[part]
        z = rule.denominator(inputs[part])
        bias = rule._z_bias.view(1, -1, 1, 1)
        missing[lower] = missing[upper] + float((measured.relevance[upper] * (bias / z)[0]).sum())
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
            views = [preprocessing.view(_drawn(1, i, preprocessing.crop))
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
    canonize.prepare(module, image)
    positive = torchvision.models.vgg16(weights=None).eval().requires_grad_(False)
    positive.load_state_dict({k: v.clamp(min=0) for k, v in module.state_dict().items()})
    canonizers = canonize.canonizers(module)
    engine = FusedEngine(module, VGG_LAYERS, COMPOSITE, canonizers, 224)
    propagate = FusedPropagator(engine, module, VGG_LAYERS)
    measured = propagate(image, PREDICTED)
    chosen = {
        layer: shares(measured.relevance[layer]).abs().topk(CHANNELS).indices.tolist()
        for layer in VGG_LAYERS
    }
    maps: dict[str, Tensor] = {}

    def ours() -> None:
        found = propagate(image, PREDICTED)
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
    composite = RULES[COMPOSITE].composite(canonizers)

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
