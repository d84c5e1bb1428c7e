"""Whether maps stay the same when a network is trained anew: MeGe and ReCo (Fel et al. 2022).

    python benchmarks/stability.py [--pictures 40] [--epochs 6]

Four demo networks begin with its weights under much noise, each with its own, and are trained
shortly, each without one of four folds: so they err at times.
Each picture of a fold is explained by the network that has not seen it and by the three that have.
The distance of two maps is sqrt(1 - |Spearman's correlation|). *MeGe*, 1 / (1 + mean distance)
where both networks are right: 1 for maps that do not depend on the training. *ReCo*: how well the
distance separates pairs of networks that agree from pairs that do not, the largest TPR + TNR - 1:
0 for maps that do not show on what networks disagree. Maps of another picture are the controls:
they say what chance gives. Intervals are bootstraps over pictures.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import rankdata
from torch import Tensor

from atlas.audit.audited import Audited
from atlas.audit.maps import available
from atlas.demo.network import SIZE, DemoNetwork, load, preprocess
from atlas.demo.train import Lesson, Settings, Trainer, lesson
from atlas.demo.votes import KINDS
from atlas.demo.world import ATTRIBUTES, CLASSES, class_index
from atlas.relevance.engine import RelevanceEngine
from atlas.relevance.plan import plan
from atlas.relevance.tape import instrument
from atlas.trace.record import record

FOLDS, OF_A_FOLD, SEED = 4, 300, 31
"""Networks; pictures of a fold; the world."""

NOISE = 0.7
"""Standard deviation of what is added to the weights of a convolution, in parts of theirs."""

LAYER = "relu"
OWN = ("lrp", "grad-cam", "integrated-gradients", "occlusion")
MAPS = (*OWN, "edges", "random")

RESAMPLES = 300
"""How often pictures are drawn anew for an interval."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """Two networks and what they say of a picture."""

    picture: int
    agree: bool
    """Both are right; else one is, and the other says something else."""
    distance: float
    """Between their maps."""


@dataclass(frozen=True)
class Answered:
    """What a network says of pictures, and why."""

    maps: dict[str, Array]
    """By kind, (pictures, height, width)."""
    answers: npt.NDArray[np.int64]
    truth: npt.NDArray[np.int64]
    seconds: float
    """Of CPU time."""


def distance(one: Array, other: Array) -> float:
    """Return sqrt(1 - |Spearman's correlation|) of two maps of the same size, from 0 to 1."""
    ranks = [rankdata(map_.ravel()) for map_ in (one, other)]
    if any(np.ptp(rank) == 0 for rank in ranks):  # a map without differences agrees with none
        return 1.0
    return float(np.sqrt(max(0.0, 1 - abs(np.corrcoef(*ranks)[0, 1]))))


def mege(pairs: Sequence[Pair]) -> float:
    """Return 1 / (1 + mean distance of agreeing pairs), from 0.5 to 1."""
    return float(1 / (1 + np.mean([one.distance for one in pairs if one.agree])))


def reco(pairs: Sequence[Pair]) -> float:
    """Return the largest TPR + TNR - 1 over all thresholds of the distance, from 0 to 1.

    A pair is taken for an agreeing one if its distance is at most the threshold. The paper tries
    21 thresholds; here each distance is one, so that nothing lies between two.
    """
    same = np.sort([one.distance for one in pairs if one.agree])
    other = np.sort([one.distance for one in pairs if not one.agree])
    every = np.concatenate([same, other])
    near = (np.searchsorted(one, every, side="right") / len(one) for one in (same, other))
    return max(0.0, float((next(near) - next(near)).max()))


def interval(
    measure: Callable[[Sequence[Pair]], float], pairs: Sequence[Pair]
) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a measure: pictures are drawn anew (bootstrap)."""
    of: dict[int, list[Pair]] = {}
    for one in pairs:
        of.setdefault(one.picture, []).append(one)
    random = np.random.default_rng(SEED)
    found = []
    for _ in range(RESAMPLES):
        rows = random.choice(list(of), len(of))
        again = [one for row in rows.tolist() for one in of[row]]
        if len({one.agree for one in again}) == 2:
            found.append(measure(again))
    low, high = np.quantile(found, (0.025, 0.975)).tolist()
    return low, high


def trained(data: Lesson, rows: Tensor, epochs: int, number: int) -> DemoNetwork:
    """Return a network that begins with the demo's weights under noise of its own, and trains.

    From nothing, networks need a thousand steps until they name a class rightly at all.
    """
    settings = Settings(seed=SEED, pictures=len(rows), epochs=epochs, probe_epochs=epochs)
    trainer = Trainer(settings)
    trainer.network.load_state_dict(load().state_dict())
    generator = torch.Generator().manual_seed(number)
    with torch.no_grad():
        for weight in trainer.network.parameters():
            if weight.ndim == 4:  # of convolutions
                noise = torch.randn(weight.shape, generator=generator)
                weight.add_(NOISE * weight.std() * noise)
    own = Lesson(data.images[rows], data.targets[rows], data.cover[rows])
    while trainer.epoch < trainer.epochs:
        trainer.run_epoch(own)
    return trainer.network.eval().requires_grad_(False)


def labels(data: Lesson) -> Tensor:
    """Return the class of each picture."""
    found = [
        class_index({
            kind: ATTRIBUTES[kind][value] for kind, value in zip(KINDS, row, strict=True)
        })
        for row in data.targets.tolist()
    ]  # fmt: skip
    return torch.tensor(found)


def explained(
    network: DemoNetwork, images: Tensor
) -> tuple[dict[str, Array], npt.NDArray[np.int64]]:
    """Return each kind of map of a network's answers to pictures, and the answers."""
    trace = record(network, torch.zeros(1, 3, SIZE, SIZE))
    model = instrument(network, plan(trace, "epsilon_plus_flat"), [LAYER])
    audited = Audited(model)
    every = available(audited, (SIZE, SIZE), LAYER, RelevanceEngine(model, pixels=True), {})
    inputs = preprocess(images)
    answers = torch.cat([audited.answer(some) for some in torch.split(inputs, 32)])
    return (
        {name: every[name].of(inputs, answers).double().numpy() for name in MAPS},
        answers.numpy(),
    )


def compared(
    maps: Sequence[Array], answers: Sequence[Array], truth: Array, folds: Array, shift: int
) -> list[Pair]:
    """Return the distances between the network that has not seen a picture and the others.

    Parameters
    ----------
    maps, answers : sequence of array
        For each network (pictures, height, width), and (pictures,).
    truth, folds : array
        (pictures,): the class, and the network that has not seen the picture.
    shift : int
        The other network's map is of the picture so many places further: 0 for the same one.
    """
    found = []
    for row, unseen in enumerate(folds):
        for seen in range(len(maps)):
            said = answers[unseen][row], answers[seen][row]
            if seen == unseen or truth[row] not in said:
                continue
            apart = distance(maps[unseen][row], maps[seen][(row + shift) % len(truth)])
            found.append(Pair(row, bool(said[0] == said[1]), apart))
    return found


def one_network(number: int, pictures: int, epochs: int) -> Answered:
    """Train the network that does not see one fold, and explain pictures by it."""
    begun = time.process_time()
    torch.set_num_threads(1)
    data = lesson(SEED, FOLDS * OF_A_FOLD)
    rows = torch.where(torch.arange(len(data.images)) % FOLDS != number)[0]
    network = trained(data, rows, epochs, number)
    found, answers = explained(network, data.images[: FOLDS * pictures])
    return Answered(found, answers, labels(data)[: FOLDS * pictures].numpy(),
                    time.process_time() - begun)  # fmt: skip


def main() -> None:
    """Train, explain, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=int, default=40, help="explained ones of each fold")
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(FOLDS) as pool:
        given = [(number, arguments.pictures, arguments.epochs) for number in range(FOLDS)]
        networks = pool.starmap(one_network, given)
    truth = networks[0].truth
    folds = np.arange(len(truth)) % FOLDS
    for number, one in enumerate(networks):
        right = one.answers == truth
        print(
            f"network {number}: right about {right[folds != number].mean():.2f} of what it has "
            f"seen, {right[folds == number].mean():.2f} of what it has not ({len(CLASSES)} classes)"
        )
    answers = [one.answers for one in networks]
    print("\n| map | MeGe | ReCo | agreeing pairs | disagreeing |\n|:--|--:|--:|--:|--:|")
    for title, name, shift in [(name, name, 0) for name in MAPS] + [
        (f"{name} of another picture", name, 1) for name in OWN
    ]:
        pairs = compared([one.maps[name] for one in networks], answers, truth, folds, shift)
        agreeing = sum(one.agree for one in pairs)
        if agreeing in (0, len(pairs)):
            sys.exit("The networks never agree, or always: give other --epochs.")
        cells = [
            "{:.3f} ({:.3f} to {:.3f})".format(measure(pairs), *interval(measure, pairs))
            for measure in (mege, reco)
        ]
        print(f"| {title} | {' | '.join(cells)} | {agreeing} | {len(pairs) - agreeing} |")
    print(f"\n{sum(one.seconds for one in networks):.0f} s of CPU")


if __name__ == "__main__":
    main()
