"""How well factors of the demo network's last block are its planted values.

    python benchmarks/factors.py [--seed SEED]

The factors are found as `atlas factors` finds them, without being given their number, on one
world; everything else is measured on pictures of another world. Prints: which of the 25 planted
values one factor singles out (average precision), beside the channels, principal components,
clusters, random directions and sparse autoencoders; which values of a class are among its five most
relevant factors; how much of a factor's map lies in the object, beside its coefficients scaled up
to the picture as CRAFT shows them; what taking factors away does; and how far ways to weigh factors
agree.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn import functional as F

from atlas.data import open_source
from atlas.demo.network import PLANTED, SIZE, load, preprocess
from atlas.demo.world import CLASSES, DrawnPicture, draw
from atlas.explain.conditional import propagate
from atlas.factors import completeness, finding, importance, maps, sampling
from atlas.factors.finding import LayerSample
from atlas.factors.layers import Range
from atlas.factors.ranks import ALIKE
from atlas.model import networks
from atlas.recipe import Factors
from atlas.recipe import load as load_recipe
from atlas.relevance.engine import ActivationEngine
from atlas.relevance.plan import plan
from atlas.relevance.tape import Instrumented, instrument
from atlas.store.bases import Basis
from atlas.store.factorgraph import edges
from atlas.trace.record import record

LAYER = "features.40"
UNSEEN, TABLE, IN_MAPS, IN_ORDERS, PER_CLASS = 77, 700, 40, 12, 12
IN_GRAPH = 12
GRAPH_CLASSES = [
    f"{colour} {texture} {shape}"
    for colour in ("red", "orange", "green", "blue", "pink", "purple", "yellow", "turquoise")
    for texture, shape in (("striped", "circle"), ("checked", "star"), ("zigzag", "cross"))
]
"""Classes whose edges with factors are looked at."""
SIZES = (25, 40, 64)
"""Of autoencoders that are compared."""
FOUND = 0.8
"""Average precision from which on a direction singles a value out."""

Array = npt.NDArray[np.float64]


def truths(pictures: list[DrawnPicture]) -> Array:
    """Return for each picture and planted value whether it has it, (pictures, 25)."""
    pairs = [planted.split(":") for planted in PLANTED]
    return np.array([[one.attributes[kind] == value for kind, value in pairs] for one in pictures])


def precisions(scores: Array, truth: Array) -> Array:
    """Return the average precision of each direction (rows) for each planted value (columns)."""
    return np.array([
        [average_precision_score(truth[:, column], row) for column in range(truth.shape[1])]
        for row in scores.T
    ])  # fmt: skip


def outputs(model: Instrumented, pictures: list[DrawnPicture]) -> Tensor:
    """Return the rectified output of the layer, (pictures, channels, height, width)."""
    found: list[Tensor] = []
    engine = ActivationEngine(model)
    for start in range(0, len(pictures), 50):
        some = np.stack([one.image for one in pictures[start : start + 50]])
        engine(
            preprocess(torch.from_numpy(some)), torch.zeros(len(some), dtype=torch.int64),
            lambda _layer, _mode, output: found.append(output.clamp(min=0)),
        )  # fmt: skip
    return torch.cat(found)


def autoencoders(model: Instrumented, drawn: LayerSample, views: Tensor, seed: int) -> list[Basis]:
    """Train sparse autoencoders of some sizes, and print how well they stand for the layer."""
    found = []
    for size in SIZES:
        begun = time.perf_counter()
        basis = finding.by_autoencoder(drawn, size, Factors.active, seed, torch.device("cpu"))
        seconds = time.perf_counter() - begun
        basis = finding.tested(basis, model, views, seed)
        assert basis.stability is not None, "trained here"
        again = int((basis.stability >= ALIKE).sum())
        print(f"{basis.name}, found in {seconds:.0f} s; {again} of {size} come again; explained ")
        print(f"  {basis.facts['explained']}, {basis.facts['complete']}, {basis.facts['deletion']}")
        found.append(basis)
    return found


def table(bases: list[Basis], positions: Array, output: Tensor, truth: Array) -> None:
    """Print how many planted values each kind of direction singles out."""
    basis = bases[0]
    count, channels = basis.directions.shape
    rows = positions.reshape(-1, channels)
    random = np.random.default_rng(0)
    components = PCA(count, random_state=0).fit(rows)
    clusters = KMeans(count, n_init=3, random_state=0).fit(rows)
    drawn = random.standard_normal((count, channels))
    spread = output.permute(0, 2, 3, 1).numpy()
    centred = spread - components.mean_

    def strongest(directions: Array, of: Array = spread) -> Array:
        return np.asarray((of @ directions.T).max(axis=(1, 2)))

    def nearest() -> Array:
        distance = ((spread[..., None, :] - clusters.cluster_centers_) ** 2).sum(axis=-1)
        return np.asarray(-distance.min(axis=(1, 2)))

    kinds: list[tuple[str, Callable[[], Array]]] = [
        *(
            (f"factors ({one.method}{len(one.directions)})", partial(strength, one, output))
            for one in bases
        ),
        ("principal components", lambda: strongest(components.components_, centred)),
        ("their other ends", lambda: strongest(-components.components_, centred)),
        ("k-means centres", nearest),
        ("random directions", lambda: strongest(drawn)),
        (f"single channels ({channels})", lambda: output.amax((2, 3)).numpy()),
    ]
    print(f"\nPlanted values that a direction singles out (AP >= {FOUND}), unseen world")
    print(f"  {'directions':<26}{'values of 25':>14}{'of one value':>14}{'of':>5}")
    for name, scores in kinds:
        found = precisions(scores(), truth)
        clear = found >= FOUND
        values, single = clear.any(axis=0).sum(), (clear.sum(axis=1) == 1).sum()
        print(f"  {name:<26}{values:>14}{single:>14}{len(found):>5}")


def strength(basis: Basis, output: Tensor) -> Array:
    """Return the largest coefficient of each factor in each picture, (pictures, factors)."""
    return maps.of_activation(output, basis).amax((2, 3)).double().numpy()


def meanings(basis: Basis, output: Tensor, truth: Array) -> list[str]:
    """Return the planted value of each factor, empty where it singles none out."""
    found = precisions(strength(basis, output), truth)
    best = found.argmax(axis=1)
    return [PLANTED[n] if found[row, n] >= FOUND else "" for row, n in enumerate(best)]


def classes(model: Instrumented, basis: Basis, means: list[str], seed: int) -> None:
    """Print which values of 24 classes are among their five most relevant factors."""
    chosen = range(0, len(CLASSES), len(CLASSES) // 24)
    hits, backgrounds, count = 0, 0, 0
    wanted = {label: [] for label in list(chosen)[:24]}
    number = 0
    while any(len(some) < PER_CLASS for some in wanted.values()):
        one = draw(seed, 10_000 + number)
        number += 1
        if one.label in wanted and len(wanted[one.label]) < PER_CLASS:
            wanted[one.label].append(one)
    for label, some in wanted.items():
        images = preprocess(torch.from_numpy(np.stack([one.image for one in some])))
        sums, _, _ = completeness.relevances(model, images, basis, [label] * len(some))
        share = (sums / sums.abs().sum(dim=1, keepdim=True)).mean(dim=0)
        best = [means[n] for n in share.topk(5).indices.tolist()]
        words = zip(("colour", "texture", "shape"), CLASSES[label].split(), strict=True)
        hits += sum(f"{kind}:{value}" in best for kind, value in words)
        backgrounds += sum(value.startswith("background") for value in best[:3])
        count += 3
    print(f"\n24 classes, {PER_CLASS} pictures each: {hits / count:.3f} of their colours, textures")
    print(f"  and shapes are among their five most relevant factors; {backgrounds} backgrounds")
    print("  are among the three most relevant")


def located(model: Instrumented, basis: Basis, pictures: list[DrawnPicture]) -> None:
    """Print how much of the maps of the three most relevant factors lies in the object."""
    rows = []
    errors, residuals, seconds = [], [], []
    for one in pictures:
        image = preprocess(torch.from_numpy(one.image[None]))
        measured = propagate(model, image, one.label)
        output, relevance = measured.activation[LAYER][None], measured.relevance[LAYER][None]
        begun = time.perf_counter()
        found = maps.of_activation(output, basis)
        parts = maps.parts(relevance, output, found, basis, range(len(basis.directions)))
        rest = relevance - parts.sum(dim=0)
        heat = measured.send(LAYER, torch.cat([parts, rest[None]]), []).heat
        seconds.append(time.perf_counter() - begun)
        errors.append(float((heat.sum(dim=0) - measured.heat).abs().max()))
        residuals.append(float(rest.sum() / relevance.sum()))
        scaled = F.interpolate(found, size=(SIZE, SIZE), mode="bilinear")[0]
        mask = torch.from_numpy(one.mask)
        for factor in parts.sum(dim=(1, 2, 3, 4)).topk(3).indices.tolist():
            rows.append([
                value
                for kind in (heat[factor].clamp(min=0), scaled[factor])
                for value in (inside(kind, mask), overlap(kind, mask))
            ])  # fmt: skip
    mean = np.mean(rows, axis=0)
    print(f"\nMaps of the three most relevant factors, {len(pictures)} pictures")
    print(f"  {'map':<26}{'mass inside':>14}{'IoU':>8}")
    print(f"  {'relevance sent down':<26}{mean[0]:>14.3f}{mean[1]:>8.3f}")
    print(f"  {'coefficients scaled up':<26}{mean[2]:>14.3f}{mean[3]:>8.3f}")
    print(f"  maps and residual differ from the layer's map by at most {max(errors):.1e};")
    print(f"  the residual is {np.mean(residuals):.3f} of the relevance; ", end="")
    print(f"{np.mean(seconds):.2f} s a picture for all maps")


def inside(heat: Tensor, mask: Tensor) -> float:
    """Return the part of a map that lies in the object."""
    return float(heat[mask].sum() / heat.sum().clamp(min=1e-12))


def overlap(heat: Tensor, mask: Tensor) -> float:
    """Return intersection over union of the object and of as many of the highest pixels.

    The map is smoothed first: between the dots in which relevance arrives an object does not end.
    """
    smooth = F.avg_pool2d(heat[None, None], 9, 1, 4, count_include_pad=False)[0, 0]
    count = int(mask.sum())
    highest = torch.zeros_like(mask).flatten()
    highest[smooth.flatten().topk(count).indices] = True
    both = highest.view_as(mask) & mask
    return float(both.sum() / (2 * count - both.sum()))


def graphed(model: Instrumented, basis: Basis, means: list[str]) -> None:
    """Print the edges of factors and classes where red objects always lie on bricks."""
    labels = [CLASSES.index(name) for name in GRAPH_CLASSES]
    for title, allowed in (
        ("as drawn", lambda _: True),
        ("red if and only if on bricks", lambda one: _red(one) == _on_bricks(one)),
    ):
        chosen: dict[int, list[DrawnPicture]] = {label: [] for label in labels}
        number = 0
        while any(len(some) < IN_GRAPH for some in chosen.values()):
            one = draw(UNSEEN + 1, number)
            number += 1
            if one.label in chosen and len(chosen[one.label]) < IN_GRAPH and allowed(one):
                chosen[one.label].append(one)
        shares, fired = [], []
        for label, some in chosen.items():
            images = preprocess(torch.from_numpy(np.stack([one.image for one in some])))
            sums, found, _ = completeness.relevances(model, images, basis, [label] * len(some))
            largest = found.amax(dim=(2, 3))
            for into, values in ((shares, sums), (fired, largest)):
                part = values / values.abs().sum(dim=1, keepdim=True).clamp(min=1e-10)
                into.append(part.mean(dim=0).double().numpy())
        kinds = Counter(
            (edge.kind, means[edge.factor].partition(":")[0])
            for edge in edges(labels, [IN_GRAPH] * len(labels), np.stack(shares), np.stack(fired))
        )
        print(f"\n{len(labels)} classes, {IN_GRAPH} pictures each, {title}: edges by kind")
        for (kind, of), count in sorted(kinds.items()):
            print(f"  {kind:<18}{of or 'no one value':<14}{count:>4}")


def _red(one: DrawnPicture) -> bool:
    return one.attributes["colour"] == "red"


def _on_bricks(one: DrawnPicture) -> bool:
    return one.attributes["background"] == "bricks"


def weighed(model: Instrumented, basis: Basis, pictures: list[DrawnPicture]) -> None:
    """Print what taking factors away does, and how far ways to weigh them agree."""
    count = len(basis.directions)
    images = preprocess(torch.from_numpy(np.stack([one.image for one in pictures])))
    sums, found, targets = completeness.relevances(model, images, basis)
    generator = torch.Generator().manual_seed(0)
    kept: dict[str, list[float]] = {}
    worst, agree = [], []
    for number, image in enumerate(images):
        of = importance.answer(model, image[None], basis, found[number][None], targets[number])
        gradient = importance.by_gradient(of, count)
        many = importance.by_variance(of, count, number, 2048)
        few = importance.by_variance(of, count, number)
        worst.append(float(np.abs(few - many).max()))
        orders = {
            "relevance": sums[number],
            "gradient x coefficient": gradient,
            "occlusion": importance.by_occlusion(of, count),
            f"Sobol ({importance.DESIGNS} designs)": torch.from_numpy(few),
        }
        best = {name: set(values.topk(3).indices.tolist()) for name, values in orders.items()}
        agree.append([len(best["relevance"] & some) / 3 for some in best.values()])
        for name, values in orders.items():
            order = values.argsort(descending=True)[:3].tolist()
            course = importance.deletion(of, order, count)
            kept.setdefault(name, []).append(course[-1] / course[0])
        scales = torch.ones(completeness.DRAWS + 1, count)
        for drawn in scales[1:]:
            drawn[torch.randperm(count, generator=generator)[:3]] = 0
        logits = importance.scaled(of, scales)
        kept.setdefault("random", []).append(float(logits[1:].mean() / logits[0]))
    print(f"\nWithout the three most important factors, {len(pictures)} pictures")
    print(f"  {'by':<26}{'part of the logit':>18}{'shared with relevance':>23}")
    shared = [f"{value:.3f}" for value in np.mean(agree, axis=0)]
    for (name, values), both in zip(kept.items(), [*shared, ""], strict=True):
        print(f"  {name:<26}{np.mean(values):>18.3f}{both:>23}")
    print(f"  Sobol indices of {importance.DESIGNS} designs differ from those of 2,048 by at most ")
    print(f"  {np.max(worst):.3f} (mean of the largest of each picture {np.mean(worst):.3f})")


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    recipe = load_recipe("demo")
    network = networks.load(recipe.model, recipe.preprocessing, recipe.seed)
    module = load()
    rules = plan(record(module, torch.zeros(1, 3, SIZE, SIZE)), recipe.relevance.composite)
    model = instrument(module, rules, [LAYER])
    begun = time.perf_counter()
    settings = recipe.factors
    sampled = sampling.sample(
        open_source(recipe.data), network.preprocessing, ActivationEngine(model),
        {LAYER: Range()}, settings.pictures, settings.positions, arguments.seed,
        torch.device("cpu"), 96,
    )  # fmt: skip
    positions = sampled.positions[LAYER]
    drawn = LayerSample(LAYER, positions, Range())
    basis = finding.by_nmf(drawn, (), arguments.seed)
    basis = finding.tested(basis, model, sampled.views, arguments.seed)
    print(f"{basis.name}, found in {time.perf_counter() - begun:.0f} s; ranks tried, worst pair:")
    tried = [f"{one['rank']} {one['worst']:.2f}" for one in basis.facts["ranks"]]
    print(f"  {', '.join(tried)}; of all pictures {basis.stability.min():.3f}")
    print(f"  explained {basis.facts['explained']}, {basis.facts['complete']}")
    pictures = [draw(UNSEEN, number) for number in range(TABLE)]
    output, truth = outputs(model, pictures), truths(pictures)
    sparse = autoencoders(model, drawn, sampled.views, arguments.seed)
    table([basis, *sparse], positions.astype(np.float64), output, truth)
    means = meanings(basis, output, truth)
    classes(model, basis, means, UNSEEN)
    graphed(model, basis, means)
    located(model, basis, pictures[:IN_MAPS])
    weighed(model, basis, pictures[:IN_ORDERS])


if __name__ == "__main__":
    main()
