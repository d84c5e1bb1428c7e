"""Train the demo's VLM from a seed: `python -m atlas.demo.vlm.train --out DIR`.

First the vision tower learns what patches show. Then it is frozen, and projector and language
model learn to put into words what they see in single patches, as LLaVA's do with captions, and at
last to answer: what do these patches share, and does this patch show that?
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from atlas.demo.vlm import course, crops, language, sheets, tower
from atlas.demo.vlm.language import Exercise

SEED = 5
"""Of the world that is trained on; the next one is held out. Nothing else draws from them."""

PICTURES = 24_000
TOWER_STEPS, TOWER_BATCH, TOWER_RATE = 2_600, 256, 1.5e-3

BANK = 48_000
"""Patches that the language model learns from."""
CAPTION_STEPS, CAPTIONS, CAPTION_RATE = 1_500, 96, 2e-3
STEPS, RATE = 2_200, 1.5e-3
MORE_STEPS, MORE_RATE = 900, 1e-3
_ALIGNED = 128  # patches of a step
_CAPTIONS = 16  # of a step, so that they are not forgotten
_NAMING, _FITTING = 8.0, 2.0


# Weights beside that of captions. Most tokens of a naming answer are the same in all answers.
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
_NAME = 9  # tokens in which an answer's name is told


def train_tower(out: Path, pictures: crops.World, steps: int) -> tower.Tower:
    """Train the vision tower, or go on."""
    torch.manual_seed(SEED)
    net = tower.Tower()
    held_out = tower.batch(crops.world(SEED + 1, 1_000), 2_000, _generator(0))

    def loss(step: int) -> Tensor:
        return tower.loss(net, tower.batch(pictures, TOWER_BATCH, _generator(step)))

    def check() -> dict[str, float]:
        return tower.accuracy(net, held_out)

    course.run(course.Course("tower", net, loss, check, steps, TOWER_RATE), out)
    return net


class Lessons:
    """Patches with what the tower sees in them, and exercises about them."""

    def __init__(self, net: tower.Tower, pictures: crops.World, count: int, seed: int) -> None:
        features, values, sizes = [], [], []
        random = _generator(seed)
        for _ in range(0, count, TOWER_BATCH):
            cut = tower.batch(pictures, TOWER_BATCH, random)
            with torch.inference_mode():
                features.append(net.tokens(cut.tiles).half())
            values.append(_shown(cut))
            sizes.append(torch.searchsorted(torch.tensor(crops.SIZES), cut.size))
        self.features = torch.cat(features)
        self.bank = sheets.Bank(torch.cat(values).numpy(), torch.cat(sizes).numpy())
        self._sheets = sheets.Sheets(self.bank)

    def naming(self, count: int, shown: int, random: np.random.Generator) -> list[Exercise]:
        """Draw sheets of `shown` patches and their names."""
        drawn = [self._sheets.draw(random) for _ in range(count)]
        return [
            Exercise(
                sheet.rows[:shown].tolist(),
                language.ask_shared(shown),
                sheets.answer(sheet.concept, sheet.purity),
            )
            for sheet in drawn
        ]

    def captions(self, count: int, random: np.random.Generator) -> list[Exercise]:
        """Draw patches and all that they show."""
        exercises = []
        for row in random.integers(len(self.bank.size), size=count).tolist():
            seen = sheets.seen(self.bank, row)
            exercises.append(Exercise([row], language.ASK_SHOWN, sheets.name_of(seen) or "nothing"))
        return exercises

    def fitting(
        self, count: int, random: np.random.Generator, simple: float = 0.0
    ) -> list[Exercise]:
        """Draw patches and questions whether they show something."""
        exercises = []
        for row in random.integers(len(self.bank.size), size=count).tolist():
            name, fits = sheets.question(self.bank, row, random, simple)
            exercises.append(Exercise([row], language.ask_fits(name), "yes" if fits else "no"))
        return exercises


def _shown(cut: crops.Crops) -> Tensor:
    """Return the values that patches show, -1 for what is not there: as atlas.demo.truth says."""
    share = cut.cover.mean((1, 2))
    values = cut.values.clone()
    values[share < 0.02, :3] = -1
    values[share > 0.98, 3] = -1
    return values


def train_language(
    out: Path,
    net: tower.Tower,
    pictures: crops.World,
    caption_steps: int,
    steps: int,
    more_steps: int,
) -> None:
    """Train projector and language model on top of the frozen tower, or go on; write the model."""
    net.eval()
    lessons = Lessons(net, pictures, BANK, SEED)
    fresh = Lessons(net, crops.world(SEED + 1, 2_000), 8_000, SEED + 1)
    words = language.tokenizer()
    torch.manual_seed(SEED)
    llava = language.model(len(words))
    llava.model.vision_tower.load_state_dict(net.vision.state_dict())
    parts = nn.ModuleList([llava.model.multi_modal_projector, llava.model.language_model])
    random = np.random.default_rng(0)
    captions, names = fresh.captions(600, random), fresh.naming(300, _MOST, random)
    fits = fresh.fitting(600, random)

    def teach(exercises: Sequence[Exercise]) -> Tensor:
        return language.loss(llava, words, lessons.features, exercises)

    def align(random: np.random.Generator) -> Tensor:
        rows = torch.from_numpy(random.integers(len(lessons.bank.size), size=_ALIGNED))
        values = torch.from_numpy(lessons.bank.values)[rows]
        return language.alignment(llava, words, lessons.features[rows], values)

    def caption_loss(step: int) -> Tensor:
        return teach(lessons.captions(CAPTIONS, np.random.default_rng([SEED, 1, step])))

    def loss(step: int) -> Tensor:
        random = np.random.default_rng([SEED, step])
        mix = next((mix for mix in _MIXES if step < mix.until), _MIXES[-1])
        shown = _MOST if random.random() < 0.3 else int(random.integers(_FEW, _MOST))
        return (
            _NAMING * teach(lessons.naming(mix.sheets, shown, random))
            + _FITTING * teach(lessons.fitting(mix.questions, random, mix.simple))
            + teach(lessons.captions(_CAPTIONS, random))
            + (mix.aligned * align(random) if mix.aligned else 0.0)
        )

    def right(exercises: Sequence[Exercise], tokens: int) -> float:
        hits: list[bool] = []
        for start in range(0, len(exercises), 50):
            part = exercises[start : start + 50]
            hits += language.right(llava, words, fresh.features, part, tokens)
        return float(np.mean(hits))

    def check() -> dict[str, float]:
        return {
            "captions": right(captions, _NAME),
            "names": right(names, _NAME),
            "fits": right(fits, 1),
        }

    first = course.Course("captions", parts, caption_loss, check, caption_steps, CAPTION_RATE)
    course.run(first, out)
    course.run(course.Course("language", parts, loss, check, steps, RATE), out)

    def more(step: int) -> Tensor:
        return loss(steps + step)

    course.run(course.Course("more", parts, more, check, more_steps, MORE_RATE), out)
    language.save(llava, language.processor(words), out / "model")


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(SEED * 1_000_003 + seed)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for state, log and model")
    parser.add_argument("--tower-steps", type=int, default=TOWER_STEPS)
    parser.add_argument("--caption-steps", type=int, default=CAPTION_STEPS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--more-steps", type=int, default=MORE_STEPS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pictures = crops.world(SEED, PICTURES)
    net = train_tower(arguments.out, pictures, arguments.tower_steps)
    train_language(
        arguments.out,
        net,
        pictures,
        arguments.caption_steps,
        arguments.steps,
        arguments.more_steps,
    )


if __name__ == "__main__":
    main()
