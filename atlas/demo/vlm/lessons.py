"""Lessons for the language model: patches with what the tower sees in them, and exercises."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from atlas.demo.vlm import crops, imagined, language, sheets, tower
from atlas.demo.vlm.language import Exercise

_BATCH = 256  # patches that the tower looks at together


class Lessons:
    """Exercises about patches that are cut once.

    Parameters
    ----------
    net : Tower
        What sees the patches.
    pictures : DrawnPictures
        What they are cut from.
    count, seed : int
        How many, and of all their chance.
    sparse : float
        Share of them that are bright in a few spots only. With any, channels are imagined too.
    """

    def __init__(
        self,
        net: tower.Tower,
        pictures: crops.DrawnPictures,
        count: int,
        seed: int,
        sparse: float = 0.0,
    ) -> None:
        features, values, sizes = [], [], []
        random = crops.generator(seed)
        for _ in range(0, count, _BATCH):
            cut = tower.batch(pictures, _BATCH, random, sparse)
            with torch.inference_mode():
                features.append(net.tokens(cut.tiles).half())
            values.append(_shown(cut))
            sizes.append(torch.searchsorted(torch.tensor(crops.SIZES), cut.size))
        self.features = torch.cat(features)
        self.bank = sheets.Bank(torch.cat(values).numpy(), torch.cat(sizes).numpy())
        self._sheets = sheets.SheetSampler(self.bank)
        self.channels: npt.NDArray[np.int64] | None = None
        if sparse:
            self.channels = imagined.channels(self.bank, self.features, seed)

    def naming(self, count: int, shown: int, random: np.random.Generator) -> list[Exercise]:
        """Draw sheets of `shown` patches, and the names of the references they are chosen from."""
        drawn = [self._sheets.draw(random) for _ in range(count)]
        return [
            Exercise(
                sheet.rows[:shown].tolist(),
                language.ask_shared(shown),
                sheets.answer(sheet.concept, sheet.purity),
            )
            for sheet in drawn
        ]

    def counting(self, count: int, shown: int, random: np.random.Generator) -> list[Exercise]:
        """Draw sheets, every second of an imagined channel, named by the `shown` patches alone."""
        exercises = []
        for number in range(count):
            if self.channels is not None and number % 2:
                rows = self.channels[random.integers(len(self.channels))]
            else:
                rows = self._sheets.draw(random).rows
            sheet = sheets.make_sheet(self.bank, rows[:shown])
            answer = sheets.answer(sheet.concept, sheet.purity)
            exercises.append(Exercise(sheet.rows.tolist(), language.ask_shared(shown), answer))
        return exercises

    def captions(self, count: int, random: np.random.Generator) -> list[Exercise]:
        """Draw patches and all that they show."""
        exercises = []
        for row in random.integers(len(self.bank.size), size=count).tolist():
            seen = sheets.seen(self.bank, row)
            exercises.append(
                Exercise([row], language.ASK_SHOWN, sheets.concept_name(seen) or "nothing")
            )
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

    def rating(self, count: int, random: np.random.Generator) -> list[Exercise]:
        """Draw patches and questions how well they fit a name."""
        exercises = []
        for row in random.integers(len(self.bank.size), size=count).tolist():
            name, fits = sheets.rated(self.bank, row, random)
            answer = "yes" if random.random() < fits else "no"
            exercises.append(Exercise([row], language.ask_fits(name), answer))
        return exercises


def _shown(cut: crops.Crops) -> Tensor:
    """Return the values that patches show, -1 for what is not there: as atlas.demo.truth says."""
    share = cut.cover.mean((1, 2))
    values = cut.values.clone()
    values[share < 0.02, :3] = -1
    values[share > 0.98, 3] = -1
    return values
