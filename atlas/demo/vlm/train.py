"""Train the demo's VLM from a seed: `python -m atlas.demo.vlm.train --out DIR`.

First the vision tower learns what patches show. Then it is frozen, and projector and language
model learn to put into words what they see in single patches, as LLaVA's do with captions, and
then to answer: what do these patches share, and does this patch show that? At last the tower
learns to see patches as dark as an atlas's, and the others to count among as many as are shown.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from atlas.demo.vlm import crops, language, tower, training
from atlas.demo.vlm.crops import SEED
from atlas.demo.vlm.language import Exercise
from atlas.demo.vlm.lessons import Lessons

PICTURES = 24_000
TOWER_STEPS, TOWER_BATCH, TOWER_RATE = 2_600, 256, 1.5e-3

BANK = 48_000
"""Patches that the language model learns from at first."""
CAPTION_STEPS, CAPTIONS, CAPTION_RATE = 1_500, 96, 2e-3
STEPS, RATE = 2_200, 1.5e-3
MORE_STEPS, MORE_RATE = 900, 1e-3
_ALIGNED = 128  # patches of a step
_CAPTIONS = 16  # of a step, so that they are not forgotten
# Weights beside that of captions. Most tokens of a naming answer are the same in all answers.
_NAMING, _FITTING = 8.0, 2.0


@dataclass(frozen=True)
class _Mix:
    """Exercises of a step."""

    until: int  # the step at which the next mix begins
    sheets: int
    questions: int
    simple: float  # share of questions about the colour alone
    aligned: float = 0.0  # weight of the alignment of what is seen and words


_MIXES = (
    _Mix(500, 20, 64, 0.0),
    _Mix(700, 12, 120, 0.7),
    _Mix(900, 12, 120, 0.7, aligned=8.0),
    _Mix(STEPS + MORE_STEPS, 16, 96, 0.1, aligned=8.0),
)
# Comparing a word with a picture is learnt late, and sooner where there is only one kind of word.

_FEW, _MOST = 4, 9  # patches on a sheet
_NAME = 9  # tokens in which an answer's name is written

SHARPER_STEPS, SHARPER_RATE = 1_000, 7e-4
_SPARSE = 0.65  # share of patches that are bright in a few spots, as an atlas's are
_PART = 0.15  # of an object must be seen for the tower to learn its shape

LAST_BANK = 72_000
LAST_STEPS, LAST_RATE = 2_200, 1e-3
_ALL = 16  # references on most of the sheets
_COUNTING, _RATING, _ALIGNING = 8.0, 4.0, 4.0


class Pupil:
    """The LLaVA whose projector and language model learn; its tower is put in ready."""

    def __init__(self) -> None:
        self.words = language.tokenizer()
        torch.manual_seed(SEED)
        self.llava = language.model(len(self.words))
        model = self.llava.model
        self.parts = nn.ModuleList([model.multi_modal_projector, model.language_model])

    def set_tower(self, net: tower.Tower) -> None:
        """Put in a tower."""
        self.llava.model.vision_tower.load_state_dict(net.eval().vision.state_dict())

    def loss(self, lessons: Lessons, exercises: Sequence[Exercise]) -> Tensor:
        """Return the loss of exercises."""
        return language.loss(self.llava, self.words, lessons.features, exercises)

    def alignment(self, lessons: Lessons, random: np.random.Generator) -> Tensor:
        """Return how badly what is seen in some patches lies along the words for it."""
        rows = torch.from_numpy(random.integers(len(lessons.bank.size), size=_ALIGNED))
        values = torch.from_numpy(lessons.bank.values)[rows]
        return language.alignment(self.llava, self.words, lessons.features[rows], values)

    def right(self, lessons: Lessons, exercises: Sequence[Exercise], tokens: int) -> float:
        """Return the share of answers whose first `tokens` tokens are right."""
        hits: list[bool] = []
        for start in range(0, len(exercises), 50):
            part = exercises[start : start + 50]
            hits += language.right(self.llava, self.words, lessons.features, part, tokens)
        return float(np.mean(hits))


def train_tower(out: Path, pictures: crops.DrawnPictures, steps: int) -> tower.Tower:
    """Train the vision tower, or go on."""
    torch.manual_seed(SEED)
    net = tower.Tower()
    held_out = tower.batch(crops.world(SEED + 1, 1_000), 2_000, crops.generator(0))

    def loss(step: int) -> Tensor:
        return tower.loss(net, tower.batch(pictures, TOWER_BATCH, crops.generator(step)))

    def check() -> dict[str, float]:
        return tower.accuracy(net, held_out)

    training.run(training.TrainingRun("tower", net, loss, check, steps, TOWER_RATE), out)
    return net


def sharpen_tower(out: Path, net: tower.Tower, pictures: crops.DrawnPictures, steps: int) -> None:
    """Train the tower on patches as dark as the atlas's, and on smaller parts of shapes."""
    net.train()
    held_out = tower.batch(crops.world(SEED + 1, 1_000), 2_000, crops.generator(0), _SPARSE)

    def loss(step: int) -> Tensor:
        random = crops.generator(1_000_000 + step)
        return tower.loss(net, tower.batch(pictures, TOWER_BATCH, random, _SPARSE), _PART)

    def check() -> dict[str, float]:
        return tower.accuracy(net, held_out)

    training.run(training.TrainingRun("sharper", net, loss, check, steps, SHARPER_RATE), out)


def train_language(
    out: Path, net: tower.Tower, pictures: crops.DrawnPictures, pupil: Pupil, steps: Sequence[int]
) -> None:
    """Train projector and language model on captions and questions, or go on."""
    pupil.set_tower(net)
    lessons = Lessons(net, pictures, BANK, SEED)
    fresh = Lessons(net, crops.world(SEED + 1, 2_000), 8_000, SEED + 1)
    random = np.random.default_rng(0)
    captions, names = fresh.captions(600, random), fresh.naming(300, _MOST, random)
    fits = fresh.fitting(600, random)

    def caption_loss(step: int) -> Tensor:
        random = np.random.default_rng([SEED, 1, step])
        return pupil.loss(lessons, lessons.captions(CAPTIONS, random))

    def loss(step: int) -> Tensor:
        random = np.random.default_rng([SEED, step])
        mix = next((mix for mix in _MIXES if step < mix.until), _MIXES[-1])
        shown = _MOST if random.random() < 0.3 else int(random.integers(_FEW, _MOST))
        return (
            _NAMING * pupil.loss(lessons, lessons.naming(mix.sheets, shown, random))
            + _FITTING * pupil.loss(lessons, lessons.fitting(mix.questions, random, mix.simple))
            + pupil.loss(lessons, lessons.captions(_CAPTIONS, random))
            + (mix.aligned * pupil.alignment(lessons, random) if mix.aligned else 0.0)
        )

    def more(step: int) -> Tensor:
        return loss(steps[1] + step)

    def check() -> dict[str, float]:
        return {
            "captions": pupil.right(fresh, captions, _NAME),
            "names": pupil.right(fresh, names, _NAME),
            "fits": pupil.right(fresh, fits, 1),
        }

    losses = {"captions": caption_loss, "language": loss, "more": more}
    rates = CAPTION_RATE, RATE, MORE_RATE
    for (name, what), count, rate in zip(losses.items(), steps, rates, strict=True):
        training.run(training.TrainingRun(name, pupil.parts, what, check, count, rate), out)


def finish_language(
    out: Path, net: tower.Tower, pictures: crops.DrawnPictures, pupil: Pupil, steps: int
) -> None:
    """Train projector and language model with the sharper tower, or go on."""
    pupil.set_tower(net)
    lessons = Lessons(net, pictures, LAST_BANK, SEED, _SPARSE)
    fresh = Lessons(net, crops.world(SEED + 1, 2_000), 8_000, SEED + 1, _SPARSE)
    random = np.random.default_rng(0)
    captions, names = fresh.captions(400, random), fresh.counting(200, _ALL, random)
    fewer, fits = fresh.counting(200, _MOST, random), fresh.fitting(600, random)

    def teach(exercises: Sequence[Exercise]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):  # half as long again without
            return pupil.loss(lessons, exercises)

    def loss(step: int) -> Tensor:
        random = np.random.default_rng([SEED, 2, step])
        shown = _ALL if random.random() < 0.6 else int(random.integers(_FEW, _ALL))
        return (
            _ALIGNING * pupil.alignment(lessons, random)
            + _COUNTING * teach(lessons.counting(16, shown, random))
            + _RATING * teach(lessons.rating(128, random))
            + teach(lessons.captions(8, random))
        )

    def check() -> dict[str, float]:
        return {
            "captions": pupil.right(fresh, captions, _NAME),
            "names16": pupil.right(fresh, names, _NAME),
            "names9": pupil.right(fresh, fewer, _NAME),
            "fits": pupil.right(fresh, fits, 1),
        }

    training.run(training.TrainingRun("last", pupil.parts, loss, check, steps, LAST_RATE), out)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for state, log and model")
    parser.add_argument("--tower-steps", type=int, default=TOWER_STEPS)
    parser.add_argument("--caption-steps", type=int, default=CAPTION_STEPS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--more-steps", type=int, default=MORE_STEPS)
    parser.add_argument("--sharper-steps", type=int, default=SHARPER_STEPS)
    parser.add_argument("--last-steps", type=int, default=LAST_STEPS)
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    pictures = crops.world(SEED, PICTURES)
    net, pupil = train_tower(out, pictures, arguments.tower_steps), Pupil()
    steps = arguments.caption_steps, arguments.steps, arguments.more_steps
    train_language(out, net, pictures, pupil, steps)
    sharpen_tower(out, net, pictures, arguments.sharper_steps)
    finish_language(out, net, pictures, pupil, arguments.last_steps)
    language.save(pupil.llava, language.processor(pupil.words), out / "model")


if __name__ == "__main__":
    main()
