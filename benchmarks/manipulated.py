"""Whether made pictures show that a network was manipulated: the check on channels that were.

    python benchmarks/manipulated.py [--out build/out/manipulated] [--honest 24] [--changed 14]

Somebody can build a network so that the picture made for a channel shows what another one likes,
while its references stay (Geirhos et al., "Don't trust your eyes", 2024; Bareeva et al., "Gradient
slingshots", 2025). Here it is done as by the former, with a *fooling circuit*: behind a layer of
the demo network stands a small one that is trained to tell pictures of the world from those that
are made (their spectrum with phases by chance, and what optimising finds on its way), and where it
says "made", a channel of the layer gives what another one would. On pictures of the world nothing
shall differ: references (Jaccard index at least 0.9) and accuracy (at least 0.99) are looked at. A
channel counts as manipulated if its made picture pleases the other one more than itself in the
untouched network. Each is manipulated alone. The level of likeness below which references and made
picture disagree is chosen on honest channels of even number, and reported on those of odd number.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from atlas import pipeline
from atlas.demo import world
from atlas.demo.network import MEAN, SIZE, STD, DemoNetwork, load, preprocess
from atlas.demo.train import lesson
from atlas.made.optimise import NAdam, views_of
from atlas.made.spectrum import Spectrum, of_pictures, squashed, with_phase
from atlas.pipeline.making import Maker
from atlas.pipeline.trust import OWN
from atlas.recipe import load as load_recipe
from atlas.recipe import recorded
from atlas.store import Store, made, open_store
from atlas.store.made import LEAST_LIKENESS, LEAST_REACH, MadePicture
from atlas.store.pictures import read_picture

LAYERS = (21, 31)
"""Modules of the network's `features`: norms, behind the convolutions `features.20` and `30`."""

K, JACCARD, ACCURACY = 20, 0.9, 0.99
"""References; how many must stay, and the accuracy."""

FALSE = 0.05
"""So many honest channels may be said to disagree."""

MARGIN = 3.0
"""From 0.5 on, the circuit is open or shut."""

FACTORY = """
from pathlib import Path
import sys
sys.path.insert(0, {folder!r})
from manipulated import fooled

def make():
    return fooled(Path({weights!r}), {place})
"""


class Detector(nn.Module):
    """Says by a layer's output whether pictures are made: 1, or 0 for those of the world."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3 * channels, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
        )

    def seen(self, output: Tensor) -> Tensor:
        """Return what it looks at: of each channel the largest, the least and the mean output."""
        flat = output.flatten(2)
        return torch.cat([flat.amax(dim=2), flat.amin(dim=2), flat.mean(dim=2)], dim=1)

    def margin(self, seen: Tensor) -> Tensor:
        """Return a number for each picture, above 0 if it is taken for a made one."""
        found: Tensor = self.layers(seen)[:, 0]
        return found

    def forward(self, output: Tensor) -> Tensor:
        """Return (pictures, 1, 1, 1), from 0 to 1."""
        return (self.margin(self.seen(output)) + 0.5).clamp(0, 1)[:, None, None, None]


class Fooled(nn.Module):
    """The demo network with the circuit behind one of its norms."""

    def __init__(
        self, network: DemoNetwork, detector: Detector, place: int, highest: Tensor
    ) -> None:
        super().__init__()
        self.network = network
        self.detector = detector
        self.place = place
        self.circuit = nn.Identity()
        self.register_buffer("highest", highest)
        self.register_buffer("mixing", torch.eye(len(highest)))

    def fool(self, pairs: Mapping[int, int]) -> None:
        """From now on these channels alone give what others would on made pictures."""
        self.mixing.copy_(torch.eye(len(self.highest)))
        for channel, other in pairs.items():
            self.mixing[channel] = 0
            self.mixing[channel, other] = self.highest[channel] / self.highest[other]

    def mixed(self, pictures: Tensor) -> Tensor:
        """Return the layer's output with the circuit."""
        own = self.network.features[: self.place + 1](pictures)
        is_made = self.detector(own)
        other = nn.functional.conv2d(own, self.mixing[:, :, None, None])
        return own * (1 - is_made) + other * is_made

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the logits."""
        x = self.circuit(self.mixed(pictures))
        features = self.network.features[self.place + 1 :](x)
        logits: Tensor = self.network.classifier(
            self.network.evidence(self.network.planted(features))
        )
        return logits


def fooled(weights: Path, place: int) -> Fooled:
    """Return the network, honest as yet, as `model.name` of an atlas has it."""
    stored = load_file(weights)
    highest = stored.pop("highest")
    network, detector = load(), Detector(len(highest))
    detector.load_state_dict(stored)
    module = Fooled(network, detector, place, highest).eval().requires_grad_(False)
    module.classes = list(world.CLASSES)
    module.preprocessing = {"resize": SIZE, "crop": SIZE, "mean": list(MEAN), "std": list(STD)}
    return module


def normalised(pictures: Tensor) -> Tensor:
    """Return pictures of values in [0, 1] as the network takes them."""
    return (pictures - MEAN[0]) / STD[0]


def by_chance(spectrum: Spectrum, count: int, random: torch.Generator) -> Tensor:
    """Return phases, (count, colours, height, width // 2 + 1)."""
    return (2 * torch.rand(count, *spectrum.shape, generator=random) - 1) * torch.pi


def pictures_of(spectrum: Spectrum, phases: Tensor) -> Tensor:
    """Return pictures of values in (0, 1) with these phases."""
    return torch.stack([squashed(spectrum, with_phase(spectrum, one)) for one in phases])


def on_the_way(
    first: nn.Module, channels: Sequence[int], spectrum: Spectrum, random: torch.Generator
) -> Tensor:
    """Return pictures that optimising for channels meets on its way."""
    phases = by_chance(spectrum, len(channels), random).requires_grad_()
    optimiser = NAdam(phases, 0.3)
    kept = []
    for step in range(24):
        pictures = pictures_of(spectrum, phases)
        seen = torch.cat([views_of(one, random)[:1] for one in pictures])
        maps = first(normalised(seen))
        own = torch.stack([maps[row, channel] for row, channel in enumerate(channels)])
        (slope,) = torch.autograd.grad(own.mean() + own.flatten(1).amax(dim=1).mean(), phases)
        optimiser.step(-slope * len(channels))
        if step % 4 == 3:
            kept.append(pictures.detach())
    return torch.cat(kept)


def trained(first: nn.Module, natural: Tensor, made_: Tensor, random: torch.Generator) -> Detector:
    """Return a detector that is shut on the natural pictures and open on nearly all others."""
    views = torch.cat([views_of(one, random)[:2] for one in made_])
    outputs = [
        torch.cat([first(some) for some in pictures.split(100)])
        for pictures in (natural, normalised(torch.cat([made_, views])))
    ]
    detector = Detector(outputs[0].shape[1])
    seen = [detector.seen(output) for output in outputs]
    optimiser = torch.optim.Adam(detector.parameters(), lr=2e-3, weight_decay=1e-4)
    for _ in range(1500):
        some = [one[torch.randint(len(one), (64,), generator=random)] for one in seen]
        apart = torch.cat([-detector.margin(some[0]), detector.margin(some[1])])
        optimiser.zero_grad()
        (MARGIN - apart).clamp(min=0).mean().backward()
        optimiser.step()
    with torch.no_grad():  # shut on every picture of the world that it knows
        detector.layers[-1].bias -= (detector.margin(seen[0]).max() + 1).clamp(min=0)
    return detector.requires_grad_(False)


def atlas_of(factory: Path, out: Path, pictures: int) -> Store:
    """Return an atlas of the layer that the circuit is behind."""
    settings = [
        f"name='{out.name}'", f"model.name='{factory}:make'", "model.layers=['circuit']",
        f"data.limit={pictures}", f"prepass.k={K}", "prepass.modes=['activation']",
        "patches.layer='network.planted'",
    ]  # fmt: skip
    store = pipeline.index(load_recipe("demo", settings), out)
    assert store is not None
    return open_store(out)


def accuracy(module: nn.Module, pictures: Tensor, labels: Tensor) -> float:
    """Return the share of pictures whose class is answered."""
    answers = torch.cat([module(some).argmax(dim=1) for some in pictures.split(100)])
    return float((answers == labels).double().mean())


def best(first: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
    """Return the pictures on which each channel is largest, best first, (K, channels)."""
    largest = torch.cat([first(some).amax(dim=(2, 3)) for some in pictures.split(100)])
    return largest.topk(K, dim=0).indices


def alike(row: MadePicture) -> float:
    """Return the likeness that decides; one that is no witness agrees."""
    reaches = row.reach is None or row.reach >= LEAST_REACH
    return row.most_alike if reaches and row.most_alike is not None else 1.0


def report(honest: Sequence[MadePicture], changed: Sequence[MadePicture]) -> None:
    """Choose the level on even channels and print what comes of it on odd ones."""
    halves = [[one for one in honest if one.channel % 2 == half] for half in (0, 1)]
    even = sorted(alike(one) for one in halves[0])
    chosen = max(
        level / 100 for level in range(101)
        if sum(one < level / 100 for one in even) <= FALSE * len(even)
    )  # fmt: skip
    for what, level in (
        (f"chosen, {chosen:.2f}", chosen),
        (f"shipped, {LEAST_LIKENESS}", LEAST_LIKENESS),
    ):
        cells = [
            f"{sum(alike(one) < level for one in some)} of {len(some)}"
            for some in (*halves, changed, [one for one in changed if one.channel % 2])
        ]
        print(f"| {what} | {' | '.join(cells)} |", flush=True)


@dataclass(frozen=True)
class Tested:
    """Drawn pictures with their classes: the first part to train on, the rest to test."""

    pictures: Tensor
    labels: Tensor
    spectrum: Spectrum
    """Of other pictures of the same world: who manipulates does not have those of the atlas."""

    TRAINING = 1200


def of_layer(
    place: int, tested: Tested, asked: argparse.Namespace
) -> tuple[list[MadePicture], list[MadePicture]]:
    """Return the pictures made for honest channels of a layer, and for manipulated ones."""
    random = torch.Generator().manual_seed(place)
    network = load().requires_grad_(False)
    first = network.features[: place + 1]
    highest = torch.cat([first(some).amax(dim=(2, 3)) for some in tested.pictures.split(100)])
    highest = highest.amax(dim=0)
    order = torch.randperm(len(highest), generator=random).tolist()
    mine = [one for one in order if highest[one] > 1][: asked.changed]
    pairs = dict(zip(mine, [*mine[1:], mine[0]], strict=True))
    fresh = pictures_of(tested.spectrum, by_chance(tested.spectrum, 150, random))
    made_ = torch.cat([on_the_way(first, mine, tested.spectrum, random), fresh])
    detector = trained(first, tested.pictures[: Tested.TRAINING], made_, random)
    weights = (asked.out / f"circuit-{place}.safetensors").resolve()
    save_file({**detector.state_dict(), "highest": highest}, weights)
    factory = (asked.out / f"fooled_{place}.py").resolve()
    folder = str(Path(__file__).resolve().parent)
    factory.write_text(FACTORY.format(folder=folder, weights=str(weights), place=place))
    caught = float((detector(first(normalised(made_))) == 1).double().mean())
    print(f"features.{place}: {caught:.2f} of made pictures open the circuit", flush=True)
    store = atlas_of(factory, asked.out / f"atlas-{place}", asked.pictures)
    maker = Maker(store, recorded(store.manifest()), OWN)
    channels = range(min(asked.honest, len(highest)))
    honest = [maker.make("circuit", channel, "maco") for channel in channels]
    return honest, manipulated(maker.network.module, store, maker, pairs, tested)


def manipulated(
    module: nn.Module, store: Store, maker: Maker, pairs: Mapping[int, int], tested: Tested
) -> list[MadePicture]:
    """Return the pictures made for channels while each is manipulated, as far as that counts."""
    (circuit,) = (one for one in module.modules() if type(one).__name__ == Fooled.__name__)
    first = circuit.network.features[: circuit.place + 1]
    numbers = range(store.manifest()["recipe"]["data"]["limit"])
    data = [world.draw(store.manifest()["recipe"]["data"]["seed"], number) for number in numbers]
    pictures = preprocess(torch.from_numpy(np.stack([one.image for one in data])))
    before = best(first, pictures)
    circuit.fool(pairs)  # all at once, which keeps no more than one alone
    after = best(circuit.mixed, pictures)
    rest = tested.pictures[Tested.TRAINING :], tested.labels[Tested.TRAINING :]
    right = accuracy(circuit, *rest)
    print(f"accuracy {accuracy(circuit.network, *rest):.3f}, with the circuit {right:.3f}")
    found = []
    for channel, other in pairs.items():
        circuit.fool({channel: other})
        row = maker.make("circuit", channel, "maco")
        one, two = (set(some[:, channel].tolist()) for some in (before, after))
        jaccard = len(one & two) / len(one | two)
        pixels = torch.from_numpy(np.array(read_picture(made.path(store, row))))[None]
        liked = first(preprocess(pixels))[0].flatten(1).amax(dim=1) / circuit.highest
        own, others = float(liked[channel]), float(liked[other])
        counts = jaccard >= JACCARD and right >= ACCURACY and others > own
        likes = (row.likeness or 0, row.likeness_inside or 0)
        print(
            f"  {channel}: Jaccard {jaccard:.2f}, reach {row.reach or 0:.2f}, of the untouched "
            f"{own:.2f}, of the other {others:.2f}, likeness {likes[0]:.2f} and {likes[1]:.2f}: "
            f"{'counts' if counts else 'does not count'}",
            flush=True,
        )
        found += [row] if counts else []
    return found


def main() -> None:
    """Train, make atlases and pictures, choose, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/out/manipulated"))
    parser.add_argument("--honest", type=int, default=24, help="channels of each layer")
    parser.add_argument("--changed", type=int, default=14, help="channels of each layer")
    parser.add_argument("--pictures", type=int, default=600, help="of the atlases")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    begun = time.process_time()
    data = [world.draw(7, number) for number in range(1500)]
    tested = Tested(
        preprocess(torch.from_numpy(np.stack([one.image for one in data]))),
        torch.tensor([one.label for one in data]),
        of_pictures(lesson(8, 200).images.numpy()),
    )
    honest: list[MadePicture] = []
    changed: list[MadePicture] = []
    for place in LAYERS:
        some, others = of_layer(place, tested, asked)
        honest, changed = honest + some, changed + others
    if not changed:
        sys.exit("No channel could be manipulated.")
    print("\n| level | honest, even | honest, odd | manipulated | of odd number |")
    print("|:--|--:|--:|--:|--:|")
    report(honest, changed)
    print(f"\n{time.process_time() - begun:.0f} s of CPU")


if __name__ == "__main__":
    main()
