"""Train the demo's VLM from a seed: `python -m atlas.demo.vlm.train --out DIR`.

First the vision tower learns what patches show. Then it is frozen, and projector and language
model learn to put into words what they see in single patches, as LLaVA's do with captions, and at
last to answer: what do these patches share, and does this patch show that?
"""

import argparse
from collections.abc import Sequence
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
STEPS, SHEETS, QUESTIONS, RATE = 2_600, 20, 40, 1.5e-3
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

    def fitting(self, count: int, random: np.random.Generator) -> list[Exercise]:
        """Draw patches and questions whether they show something."""
        exercises = []
        for row in random.integers(len(self.bank.size), size=count).tolist():
            name, fits = sheets.question(self.bank, row, random)
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
    out: Path, net: tower.Tower, pictures: crops.World, caption_steps: int, steps: int
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
    features = lessons.features

    def caption_loss(step: int) -> Tensor:
        random = np.random.default_rng([SEED, 1, step])
        return language.loss(llava, words, features, lessons.captions(CAPTIONS, random))

    def loss(step: int) -> Tensor:
        random = np.random.default_rng([SEED, step])
        shown = _MOST if random.random() < 0.5 else int(random.integers(_FEW, _MOST))
        return (
            language.loss(llava, words, features, lessons.naming(SHEETS, shown, random))
            + language.loss(llava, words, features, lessons.fitting(QUESTIONS, random))
            + language.loss(llava, words, features, lessons.captions(QUESTIONS // 2, random))
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
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pictures = crops.world(SEED, PICTURES)
    net = train_tower(arguments.out, pictures, arguments.tower_steps)
    train_language(arguments.out, net, pictures, arguments.caption_steps, arguments.steps)


if __name__ == "__main__":
    main()
