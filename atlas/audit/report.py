"""From maps and measures to figures: means over pictures with their intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from atlas.audit import measures
from atlas.audit.audited import Audited
from atlas.audit.maps import Mapper
from atlas.store.audit import MEASURES, Figure, Measure

RESAMPLES = 2000
"""How often the bootstrap draws pictures anew."""

FEWEST = 5
"""With fewer pictures there is no interval."""

PASSES = 20_000
"""For sensitivity, which needs a map of each changed picture, a kind of map gets so many passes
through the network: costly maps are measured on fewer pictures."""

AT_LEAST = 2
"""On so many pictures the sensitivity of a kind of map is measured, whatever it costs."""

_Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pictured:
    """A picture that is audited."""

    image: Tensor
    """(1, colours, height, width), preprocessed."""
    inside: Tensor | None
    """Where the object is, booleans (height, width), in a drawn world."""


def figures(
    audited: Audited,
    maps: Mapping[str, Mapper],
    pictures: Sequence[Pictured],
    spread: Tensor,
    seed: int,
) -> list[Figure]:
    """Measure maps of the network's answers to pictures.

    Parameters
    ----------
    audited : Audited
        The network; the output that maps are about is its answer to the picture.
    maps : mapping
        By name.
    pictures : sequence of Pictured
        At least one.
    spread : Tensor
        (colours,): by what pixels from 0 to 1 are divided in preprocessing.
    seed : int
        Of the squares of infidelity, the changes of sensitivity, and the bootstrap.

    Returns
    -------
    list of Figure
        By map, and by measure.
    """
    values: dict[tuple[str, Measure], list[float]] = {}
    progress = tqdm(total=len(pictures) * len(maps), desc="audit", unit=" maps")
    for number, picture in enumerate(pictures):
        target = audited.answer(picture.image)
        masks = measures.squares((picture.image.shape[-2], picture.image.shape[-1]), seed + number)
        masks = masks.to(picture.image)
        fallen = measures.falls(audited, picture.image, target, masks)
        for name, mapper in maps.items():
            map_ = mapper.of(picture.image, target)[0].detach()
            found = _of_one(audited, picture, target, map_)
            found["infidelity"] = measures.infidelity(map_, masks, fallen)
            if number < _for_sensitivity(mapper, len(pictures)):
                found["sensitivity"] = measures.sensitivity(
                    mapper.of, picture.image, target, map_, spread, seed + number
                )
            for measure, value in found.items():
                values.setdefault((name, measure), []).append(value)
            progress.update()
    progress.close()
    return [
        _figure(name, measure, np.array(values[name, measure]), seed)
        for name in maps
        for measure in MEASURES
        if (name, measure) in values
    ]


def _of_one(
    audited: Audited, picture: Pictured, target: Tensor, map_: Tensor
) -> dict[Measure, float]:
    """Return what is measured of one map alone."""
    found: dict[Measure, float] = {}
    for measure in ("deletion", "insertion"):
        inserted = measure == "insertion"
        curve = measures.heights(audited, picture.image, target, map_, inserted=inserted)
        found[measure] = measures.area(curve)
    if picture.inside is not None:
        found["mass"] = measures.mass(map_, picture.inside)
        found["rank"] = measures.rank(map_, picture.inside)
    return found


def _for_sensitivity(mapper: Mapper, pictures: int) -> int:
    """Return on how many pictures the sensitivity of a kind of map is measured."""
    affordable = PASSES // max(1, mapper.passes * measures.DRAWS)
    return min(pictures, max(AT_LEAST, affordable))


def _figure(name: str, measure: Measure, values: _Values, seed: int) -> Figure:
    """Return the mean with the ends of its interval (bootstrap of percentiles, Efron 1979)."""
    mean, low, high = float(values.mean()), None, None
    if len(values) >= FEWEST:
        rows = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
        low, high = (float(end) for end in np.quantile(values[rows].mean(axis=1), (0.025, 0.975)))
    return Figure(name, measure, mean, low, high, len(values))


def object_share(pictures: Sequence[Pictured]) -> float | None:
    """Return the mean share of a picture that its object covers; None where no truth is known."""
    known = [one.inside.double().mean() for one in pictures if one.inside is not None]
    return float(torch.stack(known).mean()) if known else None
