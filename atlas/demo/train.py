"""Train the demo network from a seed: `python -m atlas.demo.train --out DIR`.

First the convolutions learn, with the planted layer on top and the auxiliary heads of
`atlas.demo.votes` at their sides. Then they are frozen and the planted layer alone is fitted
again, as a linear probe that must also say *where* it sees its value. Every epoch is saved
as a whole, and a run that was interrupted goes on to the same weights.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from atlas.demo import states
from atlas.demo.network import PLANTED, SIZE, WEIGHTS, WIDTHS, DemoNetwork, preprocess
from atlas.demo.votes import KINDS, VoteHeads
from atlas.demo.world import ATTRIBUTES, draw

_PROBE_RATE, _PLACE = 5e-2, 5.0  # of the probe: learning rate, weight of the places
_CELLS = 7  # positions of the planted maps along each side
_VALUES = [len(ATTRIBUTES[kind]) for kind in KINDS]


@dataclass(frozen=True)
class Settings:
    """All that the weights depend on.

    Attributes
    ----------
    seed : int
        Seed of the world that is trained on and of all chance in the training.
    pictures, batch : int
        How many pictures are drawn, and how many go into one step.
    epochs, probe_epochs : int
        Passes over the pictures in the first part of the training and in the second.
    rate : float
        Largest learning rate of the first part.
    votes : float
        Weight of the auxiliary heads beside the loss of the planted layer.
    leak : float
        Weight of the positive biases, which relevance is lost to.
    """

    seed: int = 0
    pictures: int = 10_000
    batch: int = 64
    epochs: int = 9
    probe_epochs: int = 24
    rate: float = 4e-3
    votes: float = 3.0
    leak: float = 3.0


@dataclass(frozen=True)
class Lesson:
    """Drawn pictures with their truth.

    Attributes
    ----------
    images : Tensor
        uint8, (N, SIZE, SIZE, 3).
    targets : Tensor
        int64, (N, 4): the number of each of `KINDS`' values.
    cover : Tensor
        float32, (N, 7, 7): the share of each cell that the object covers.
    """

    images: Tensor
    targets: Tensor
    cover: Tensor


def lesson(seed: int, count: int, first: int = 0) -> Lesson:
    """Draw pictures `first` to `first + count - 1` of a world."""
    images = np.empty((count, SIZE, SIZE, 3), dtype=np.uint8)
    targets = np.empty((count, len(KINDS)), dtype=np.int64)
    cover = np.empty((count, _CELLS, _CELLS), dtype=np.float32)
    cell = SIZE // _CELLS
    for row in range(count):
        picture = draw(seed, first + row, SIZE)
        images[row] = picture.image
        targets[row] = [ATTRIBUTES[kind].index(picture.attributes[kind]) for kind in KINDS]
        cover[row] = picture.mask.reshape(_CELLS, cell, _CELLS, cell).mean(axis=(1, 3))
    return Lesson(torch.from_numpy(images), torch.from_numpy(targets), torch.from_numpy(cover))


def responses(network: DemoNetwork, pictures: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return the maxima of all raw convolution maps, and the last features.

    Parameters
    ----------
    network : DemoNetwork
        In the mode it is to be run in.
    pictures : Tensor
        float32, (N, 3, SIZE, SIZE), normalised.

    Returns
    -------
    maxima : list of Tensor
        (N, channels) for each of the thirteen convolutions.
    features : Tensor
        (N, 96, 7, 7).
    """
    maxima = []
    x = pictures
    for layer in network.features:
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            maxima.append(x.amax(dim=(2, 3)))
    return maxima, x


def _planted_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the summed cross entropies of the attributes, from (N, 25) logits."""
    parts = torch.split(logits, _VALUES, dim=1)
    losses = [
        nn.functional.cross_entropy(part, targets[:, column]) for column, part in enumerate(parts)
    ]
    return torch.stack(losses).sum()


def _place_loss(planted: Tensor, data: Lesson, rows: Tensor) -> Tensor:
    """Return how badly the planted maps, (N, 25, 7, 7), say where their values are."""
    cover = data.cover[rows][:, None]
    columns = []
    for column, kind in enumerate(KINDS):
        one_hot = nn.functional.one_hot(data.targets[rows, column], _VALUES[column])
        present = one_hot.to(torch.float32)[:, :, None, None]
        columns.append(present * (1.0 - cover if kind == "background" else cover))
    return nn.functional.binary_cross_entropy_with_logits(planted, torch.cat(columns, dim=1))


def _leak(network: DemoNetwork) -> Tensor:
    """Return the mean positive bias of the convolutions once batch norm is merged into them.

    Relevance that reaches a bias goes no further down; the less there is of it, the more of the
    relevance of a class is found again in the pixels.
    """
    biases = []
    for convolution, norm in zip(network.features, list(network.features)[1:], strict=False):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            assert convolution.bias is not None
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            # The convolution's own bias is part of the running mean.
            shift = convolution.bias.detach() - norm.running_mean
            biases.append(torch.relu(norm.bias + shift * scale))
    return torch.cat(biases).mean()


def _last_features(network: DemoNetwork, data: Lesson, batch: int = 250) -> Tensor:
    """Return the last features of all pictures, (N, 96, 7, 7)."""
    with torch.no_grad():
        return torch.cat(
            [network.features(preprocess(images)) for images in torch.split(data.images, batch)]
        )


def _one_cycle(step: int, steps: int, top: float) -> float:
    """Return the learning rate: up to `top` in the first third, then down to nearly nothing."""
    share = step / max(steps, 1)
    if share < 0.3:
        return top * (0.04 + 0.96 * (0.5 - 0.5 * math.cos(math.pi * share / 0.3)))
    return top * (1e-4 + 0.5 + 0.5 * math.cos(math.pi * (share - 0.3) / 0.7))


def _batches(settings: Settings, epoch: int) -> Iterator[Tensor]:
    """Yield the rows of each step of an epoch, in an order that depends on the epoch alone."""
    generator = torch.Generator().manual_seed(settings.seed * 100_003 + epoch)
    order = torch.randperm(settings.pictures, generator=generator)
    for start in range(0, settings.pictures - settings.batch + 1, settings.batch):
        yield order[start : start + settings.batch]


class Trainer:
    """The state of a training run, which can be saved and taken up again."""

    def __init__(self, settings: Settings) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.epoch = 0
        self.frozen: Tensor | None = None  # what the probe is fitted on, once it is
        self.network = DemoNetwork().to(memory_format=torch.channels_last)
        self.votes = VoteHeads(WIDTHS)
        self.parts = nn.ModuleDict({"network": self.network, "votes": self.votes})
        self.optimizer = torch.optim.AdamW(
            [p for p in self.parts.parameters() if p.requires_grad], weight_decay=0.01
        )

    @property
    def epochs(self) -> int:
        """The number of epochs of both parts together."""
        return self.settings.epochs + self.settings.probe_epochs

    def run_epoch(self, data: Lesson) -> dict[str, float]:
        """Train one epoch; return its mean losses."""
        torch.manual_seed(self.settings.seed * 100_003 + self.epoch)  # for the dropout
        probing = self.epoch >= self.settings.epochs
        self.parts.train(not probing)
        if probing and self.frozen is None:
            self.frozen = _last_features(self.network, data)
        sums: dict[str, float] = {}
        steps = self.settings.pictures // self.settings.batch
        for number, rows in enumerate(_batches(self.settings, self.epoch)):
            if probing:
                done = (self.epoch - self.settings.epochs) * steps + number
                rate = _one_cycle(done, steps * self.settings.probe_epochs, _PROBE_RATE)
            else:
                done = self.epoch * steps + number
                rate = _one_cycle(done, steps * self.settings.epochs, self.settings.rate)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.zero_grad(set_to_none=True)
            losses = self._probe_losses(data, rows) if probing else self._losses(data, rows)
            torch.autograd.backward(torch.stack(list(losses.values())).sum())
            self.optimizer.step()
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0.0) + loss.item() / steps
        self.epoch += 1
        return sums

    def _losses(self, data: Lesson, rows: Tensor) -> dict[str, Tensor]:
        maxima, features = responses(self.network, preprocess(data.images[rows]))
        # Not rectified yet: a rectifier could fall silent for good before the features are there.
        logits = self.network.planted(features).mean(dim=(2, 3))
        return {
            "planted": _planted_loss(logits, data.targets[rows]),
            "votes": self.settings.votes * self.votes(maxima, data.targets[rows]),
            "leak": self.settings.leak * _leak(self.network),
        }

    def _probe_losses(self, data: Lesson, rows: Tensor) -> dict[str, Tensor]:
        assert self.frozen is not None
        planted = self.network.planted(self.frozen[rows])
        return {
            "planted": _planted_loss(self.network.evidence(planted), data.targets[rows]),
            "place": _PLACE * _place_loss(planted, data, rows),
        }

    def save(self, path: Path) -> None:
        """Save the whole state, so that there is never half a file."""
        about = {"epoch": str(self.epoch), "settings": json.dumps(asdict(self.settings))}
        states.save(self.parts, self.optimizer, path, about)

    def resume(self, path: Path) -> None:
        """Take up a saved state; the settings must be the same."""
        about = states.facts(path)
        if json.loads(about["settings"]) != asdict(self.settings):
            raise ValueError(f"{path} was made with other settings: {about['settings']}")
        states.restore(self.parts, self.optimizer, path)
        self.epoch = int(about["epoch"])


def accuracy(network: DemoNetwork, data: Lesson, batch: int = 250) -> dict[str, float]:
    """Return the share of pictures whose value of each attribute the planted layer gets right."""
    network.eval()
    right = torch.zeros(len(KINDS))
    with torch.inference_mode():
        for start in range(0, len(data.images), batch):
            features = network.features(preprocess(data.images[start : start + batch]))
            logits = network.evidence(network.planted(features))
            for column, part in enumerate(torch.split(logits, _VALUES, dim=1)):
                hits = part.argmax(dim=1) == data.targets[start : start + batch, column]
                right[column] += hits.sum()
    return {
        kind: round(float(hits) / len(data.images), 4)
        for kind, hits in zip(KINDS, right, strict=True)
    }


def train(settings: Settings, out: Path, stop_after: int | None = None) -> Path:
    """Train, or go on training, in a folder.

    Parameters
    ----------
    settings : Settings
        What to train.
    out : Path
        Gets `state.safetensors`, `log.jsonl` and at the end `weights.safetensors`.
    stop_after : int, optional
        Stop after this many epochs, as an interruption would.

    Returns
    -------
    Path
        Where the weights are (or will be, once all epochs are done).
    """
    out.mkdir(parents=True, exist_ok=True)
    state, log, weights = out / "state.safetensors", out / "log.jsonl", out / WEIGHTS.name
    trainer = Trainer(settings)
    if state.exists():
        trainer.resume(state)
    data = lesson(settings.seed, settings.pictures)
    held_out = lesson(settings.seed + 1, min(1_000, settings.pictures))
    last = trainer.epochs if stop_after is None else min(stop_after, trainer.epochs)
    while trainer.epoch < last:
        start = time.monotonic()
        losses = trainer.run_epoch(data)
        line = {
            "epoch": trainer.epoch,
            **{name: round(loss, 4) for name, loss in losses.items()},
            "held_out": accuracy(trainer.network, held_out),
            "seconds": round(time.monotonic() - start, 1),
        }
        trainer.save(state)
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        sys.stderr.write(json.dumps(line) + "\n")
    if trainer.epoch == trainer.epochs:
        about = {"settings": json.dumps(asdict(settings)), "planted": json.dumps(PLANTED)}
        states.write(trainer.network.state_dict(), weights, about)
    return weights


def main() -> None:
    """Read the command line and train."""
    defaults = Settings()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and log")
    for name, value in asdict(defaults).items():
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=type(value), default=value, help=f"(default: {value})")
    arguments = vars(parser.parse_args())
    out = arguments.pop("out")
    weights = train(Settings(**arguments), out)
    sys.stdout.write(f"{weights}\n")


if __name__ == "__main__":
    main()
