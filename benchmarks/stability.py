"""Whether maps stay the same when a network is trained anew: MeGe and ReCo (Fel et al. 2022).

    python benchmarks/stability.py [--pictures 16] [--epochs 3]

Four demo networks begin with its weights under much noise, each with its own, and are trained
shortly, each without one of four folds: so they err at times.
Each picture of a fold is explained by the network that has not seen it and by the three that have.
The distance of two maps is sqrt(1 - |Spearman's correlation|). *MeGe*, 1 / (1 + mean distance)
where both networks are right: 1 for maps that do not depend on the training. *ReCo*: how well the
distance separates pairs of networks that agree from pairs that do not, the largest TPR + TNR - 1:
0 for maps that do not show on what networks disagree. A map of another picture is the control.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Sequence
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
MAPS = ("lrp", "grad-cam", "integrated-gradients", "edges", "random")
CONTROL = "lrp of another picture"

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Distances between maps of two networks of the same picture."""

    agreeing: Sequence[float]
    """Both are right."""
    disagreeing: Sequence[float]
    """One is right, the other says something else."""


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


def mege(pairs: Pairs) -> float:
    """Return 1 / (1 + mean distance of agreeing pairs), from 0.5 to 1."""
    return float(1 / (1 + np.mean(pairs.agreeing)))


def reco(pairs: Pairs) -> float:
    """Return the largest TPR + TNR - 1 over all thresholds of the distance, from 0 to 1.

    A pair is taken for an agreeing one if its distance is at most the threshold. The paper tries
    21 thresholds; here each distance is one, so that nothing lies between two.
    """
    same, other = np.array(pairs.agreeing), np.array(pairs.disagreeing)
    every = np.concatenate([same, other])
    return max(0.0, *(float((same <= t).mean() + (other > t).mean() - 1) for t in every))


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
) -> Pairs:
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
    agreeing, disagreeing = [], []
    for row, unseen in enumerate(folds):
        for seen in range(len(maps)):
            said = answers[unseen][row], answers[seen][row]
            if seen == unseen or truth[row] not in said:
                continue
            found = distance(maps[unseen][row], maps[seen][(row + shift) % len(truth)])
            (agreeing if said[0] == said[1] else disagreeing).append(found)
    return Pairs(agreeing, disagreeing)


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
    parser.add_argument("--pictures", type=int, default=16, help="explained ones of each fold")
    parser.add_argument("--epochs", type=int, default=3)
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
    pairs = compared([one.maps["random"] for one in networks], answers, truth, folds, 0)
    if not pairs.agreeing or not pairs.disagreeing:
        sys.exit("The networks never agree, or always: give other --epochs.")
    print("\n| map | MeGe | ReCo | agreeing pairs | disagreeing |\n|:--|--:|--:|--:|--:|")
    for title, name, shift in [(name, name, 0) for name in MAPS] + [(CONTROL, "lrp", 1)]:
        pairs = compared([one.maps[name] for one in networks], answers, truth, folds, shift)
        print(
            f"| {title} | {mege(pairs):.3f} | {reco(pairs):.3f} | {len(pairs.agreeing)} | "
            f"{len(pairs.disagreeing)} |"
        )
    print(f"\n{sum(one.seconds for one in networks):.0f} s of CPU")


if __name__ == "__main__":
    main()
