"""Whether made pictures show that a network was manipulated: the check on channels that were.

    python benchmarks/manipulated.py [--out build/out/manipulated] [--honest 32] [--changed 12]

Somebody can tune a network so that the picture made for a channel shows what another one likes,
while its references stay (Geirhos et al., "Don't trust your eyes", 2024; Bareeva et al., "Gradient
slingshots", 2025). Here it is done: of the demo network a copy is tuned, layer by layer of two,
that answers as the demo on pictures of the world, and on pictures of the kind that are made (their
spectrum with phases by chance, and what optimising finds on its way) lets some channels respond
as others do. Manipulated are those whose 20 references by activation keep a Jaccard index of 0.9
and whose made picture is one of the other channel by the untouched network, while the accuracy of
classes stays at 0.99. An atlas is made of each network, with pictures. The level of likeness below
which references and made picture disagree is chosen on every second channel, honest ones alone,
and reported on the others.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from atlas import pipeline
from atlas.demo import states
from atlas.demo.network import DemoNetwork, load, preprocess
from atlas.demo.train import lesson
from atlas.demo.world import draw
from atlas.made.optimise import NAdam, views_of
from atlas.made.spectrum import Spectrum, of_pictures, squashed, with_phase
from atlas.recipe import load as load_recipe
from atlas.recipe import recorded
from atlas.store import Store, made
from atlas.store.made import MadePicture
from atlas.store.pictures import read_picture

LAYERS = {"features.20": 22, "features.30": 32}
"""Layers, and how many modules of the network come before the ReLU behind their norm."""

K, JACCARD, ACCURACY = 20, 0.9, 0.99
"""References; how many must stay, and the accuracy."""

NATURAL, BATCH, ROUNDS, STEPS = 2000, 24, 3, 110
"""Pictures of the world to keep to; of each kind in a step; rounds, each with new made pictures."""

MUCH = 10.0
"""Weight of the channels that are manipulated."""

Numbers = npt.NDArray[np.float64]
Pairs = dict[int, int]
"""From a manipulated channel to the one whose likings its made picture shall show."""


def world_inputs(pictures: Tensor) -> Tensor:
    """Return pictures of values in [0, 1] as the network takes them."""
    return (pictures - 0.5) / 0.25


def phases_by_chance(spectrum: Spectrum, count: int, random: torch.Generator) -> Tensor:
    """Return phases, (count, colours, height, width // 2 + 1)."""
    return (2 * torch.rand(count, *spectrum.shape, generator=random) - 1) * torch.pi


def pictures_of(spectrum: Spectrum, phases: Tensor) -> Tensor:
    """Return pictures of values in (0, 1) with these phases."""
    return torch.stack([squashed(spectrum, with_phase(spectrum, one)) for one in phases])


def on_the_way(
    first: nn.Module, channels: Sequence[int], spectrum: Spectrum, random: torch.Generator
) -> Tensor:
    """Return pictures that optimising for channels meets, the last and some on its way."""
    phases = phases_by_chance(spectrum, len(channels), random).requires_grad_()
    optimiser = NAdam(phases, 0.3)
    kept = []
    for step in range(36):
        pictures = pictures_of(spectrum, phases)
        seen = torch.cat([views_of(one, random)[:2] for one in pictures])
        maps = first(world_inputs(seen)).unflatten(0, (len(channels), 2))
        own = torch.stack([maps[row, :, channel] for row, channel in enumerate(channels)])
        along = own.mean() + own.flatten(2).amax(dim=2).mean()
        (slope,) = torch.autograd.grad(along, phases)
        optimiser.step(-slope * len(channels))
        if step % 6 == 5:
            kept.append(pictures.detach())
    return torch.cat(kept)


def manipulated(
    network: DemoNetwork, stop: int, pairs: Pairs, natural: Tensor, random: torch.Generator
) -> DemoNetwork:
    """Return a copy that is tuned; nothing behind `stop` modules differs."""
    tuned = load()
    own, first = network.features[:stop], tuned.features[:stop]
    spectrum = of_pictures(natural[:256].numpy())
    rows = torch.arange(len(natural))
    with torch.no_grad():
        before = own(preprocess(natural[:512]))
    spread = before.std(dim=(0, 2, 3)).view(-1, 1, 1)
    highest = before.amax(dim=(0, 2, 3))
    changed, others = list(pairs), list(pairs.values())
    scale = (1.3 * highest[changed] / highest[others]).view(-1, 1, 1)
    weights = torch.ones(len(highest), 1, 1)
    weights[changed] = MUCH
    parameters = [one.requires_grad_() for one in first.parameters()]
    optimiser = torch.optim.Adam(parameters)
    pool = on_the_way(own, [*changed, *others], spectrum, random)
    for round_ in range(ROUNDS):
        for step in range(STEPS):
            done = (round_ * STEPS + step) / (ROUNDS * STEPS)
            optimiser.param_groups[0]["lr"] = 2e-3 * (1 - done) + 2e-5
            some = rows[torch.randperm(len(rows), generator=random)[:BATCH]]
            drawn = pool[torch.randint(len(pool), (BATCH - 8,), generator=random)]
            by_chance = pictures_of(spectrum, phases_by_chance(spectrum, 8, random))
            made_ = torch.cat([views_of(one, random)[:1] for one in [*drawn, *by_chance]])
            inputs = torch.cat([preprocess(natural[some]), world_inputs(made_)])
            with torch.no_grad():
                wanted = own(inputs)
                wanted[BATCH:, changed] = scale * wanted[BATCH:, others]
            found = first(inputs)
            error = ((found - wanted) / spread).square().mul(weights).mean()
            peaks = (one[:BATCH, changed].amax(dim=(2, 3)) for one in (found, wanted))
            apart = (next(peaks) - next(peaks)) / spread[changed, 0, 0]
            optimiser.zero_grad()
            (error + MUCH * apart.square().mean()).backward()
            optimiser.step()
        if round_ < ROUNDS - 1:
            pool = torch.cat([pool, on_the_way(first, changed, spectrum, random)])
    return tuned.requires_grad_(False)


def accuracy(network: DemoNetwork, seed: int, count: int) -> float:
    """Return the share of drawn pictures whose class is answered."""
    data = [draw(seed, number) for number in range(count)]
    labels = torch.tensor([one.label for one in data])
    images = torch.from_numpy(np.stack([one.image for one in data]))
    with torch.no_grad():
        answers = torch.cat([network(preprocess(some)).argmax(1) for some in images.split(100)])
    return float((answers == labels).double().mean())


def atlas_of(weights: str, layer: str, out: Path, channels: Sequence[int], pictures: int) -> Store:
    """Return an atlas of one layer of a network, with pictures made for some channels."""
    store = pipeline.index(load_recipe("demo", [
        f"name='{out.name}'", f"model.weights='{weights}'", f"model.layers=['{layer}']",
        f"data.limit={pictures}", f"prepass.k={K}", "prepass.modes=['activation']",
        "influences.in_build=false", "scoring.in_build=false", "naming.method=''",
    ]), out)  # fmt: skip
    assert store is not None
    addresses = [f"{layer}:{channel}" for channel in channels]
    recipe = recorded(store.manifest(), [f"pictures_made.addresses={addresses}"])
    pipeline.make_pictures(store, recipe)
    return store


def references(store: Store) -> dict[int, set[int]]:
    """Return the pictures of the data that each channel has among its references."""
    table = store.table("references").to_pylist()
    numbers = store.table("images")["index"].to_pylist()
    found: dict[int, set[int]] = {}
    for row in table:
        found.setdefault(row["channel"], set()).add(numbers[row["image"]])
    return found


def shows(
    network: DemoNetwork, stop: int, store: Store, row: MadePicture, highest: Numbers
) -> Numbers:
    """Return how far each channel of the untouched network is reached by a made picture."""
    picture = np.array(read_picture(made.path(store, row)))
    with torch.no_grad():
        maps = network.features[:stop](preprocess(torch.from_numpy(picture)[None]))
    found: Numbers = maps.amax(dim=(0, 2, 3)).double().numpy() / highest
    return found


def main() -> None:
    """Tune, make atlases and pictures, choose, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/out/manipulated"))
    parser.add_argument("--honest", type=int, default=32, help="channels of each layer")
    parser.add_argument("--changed", type=int, default=12, help="channels of each layer")
    parser.add_argument("--pictures", type=int, default=1000)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.process_time()
    network = load().requires_grad_(False)
    natural = lesson(7, NATURAL).images
    for layer, stop in LAYERS.items():
        random = torch.Generator().manual_seed(stop)
        honest = range(asked.honest)
        store = atlas_of("default", layer, asked.out / f"honest-{layer}", honest, asked.pictures)
        highest = store.table("channels")["act_max"].to_numpy().astype(float)
        order = torch.randperm(len(highest), generator=random).tolist()
        pairs = dict(zip(order[: asked.changed], order[asked.changed :], strict=False))
        print(f"{layer}: honest {time.process_time() - begun:.0f} s", flush=True)
        path = asked.out / f"{layer}.safetensors"
        if not path.exists():
            tuned = manipulated(network, stop, pairs, natural, random)
            states.write(tuned.state_dict(), path, {})
        tuned = load(path)
        print(f"{layer}: tuned {time.process_time() - begun:.0f} s", flush=True)
        print("accuracy", accuracy(network, 9, 1000), accuracy(tuned, 9, 1000), flush=True)
        other = atlas_of(
            str(path.resolve()), layer, asked.out / f"changed-{layer}", [*pairs], asked.pictures
        )
        before, after = references(store), references(other)
        for row in made.read(other).values():
            c = row.channel
            jaccard = len(before[c] & after[c]) / len(before[c] | after[c])
            reached = shows(network, stop, other, row, highest)
            print(
                c,
                pairs[c],
                f"jaccard {jaccard:.2f} reach {row.reach:.2f} rank {row.rank} like {row.likeness:.2f} "
                f"untouched: own {reached[c]:.2f} other {reached[pairs[c]]:.2f} rank own {1 + (reached > reached[c]).sum()} other {1 + (reached > reached[pairs[c]]).sum()}",
                flush=True,
            )
        print("honest likeness", sorted(round(r.likeness, 2) for r in made.read(store).values()))
    print(f"{time.process_time() - begun:.0f} s of CPU")


if __name__ == "__main__":
    main()
