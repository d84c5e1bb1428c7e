"""What came of a made picture: how far it reaches, how selective it is, whether references agree.

Made pictures are processed differently from natural ones (Geirhos et al., "Don't trust your eyes",
2024), and a network can be tuned so that they show whatever somebody wants while references stay
(Bareeva et al., "Manipulating feature visualizations with gradient slingshots", 2025). So they are
compared with the references, twice: by the encoder of patches, which plays no part in the making,
and by what else of the layer is active where the channel is most active. That a channel responds to
both, but by other inputs, shows there.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from atlas.patches.encoders import Encoder
from atlas.patches.pooling import pooled
from atlas.patches.vectors import load_of, of_rows
from atlas.relevance.engine import CPU_BLOCK, PREDICTED, Engine, measure
from atlas.store import Mode, Store

Numbers = npt.NDArray[np.float64]

OTHERS = 32
"""So many other channels of the layer, evenly spaced, are compared by their layer's outputs."""

REFERENCES = 8
"""Best references by activation of each that are run for it."""

NO_REFERENCE = -1
"""Instead of a picture: there is none."""


@dataclass(frozen=True)
class LayerNorms:
    """What pictures are compared with, of one layer or one basis of factors."""

    highest: Numbers
    """float64 (channels,): the largest output of each on any picture of the data."""
    vectors: Numbers
    """float64 (channels, dimension): mean vector of the patches of its references, of length 1; 0
    where it has none."""
    best: npt.NDArray[np.int64]
    """int64 (channels,): row of the stored picture that activates each most, or `NO_REFERENCE`."""


def layer_norms(part: Store, layer: str) -> LayerNorms:
    """Read what pictures for channels of a layer are compared with.

    Parameters
    ----------
    part : Store
        The atlas, or the part of one that has its factors.
    layer : str
        One of its layers or bases.
    """
    table = part.table("channels", ["layer", "act_max"])
    mine = np.array(table["layer"].to_pylist()) == layer
    highest = table["act_max"].to_numpy().astype(np.float64)[mine]
    references = part.table("references", ["layer", "channel", "mode", "rank", "image"])
    rows = np.flatnonzero(np.array(references["layer"].to_pylist()) == layer)
    channels, images = (references[name].to_numpy()[rows] for name in ("channel", "image"))
    first = (references["rank"].to_numpy() == 0) & (references["mode"].to_numpy() == "activation")
    best = np.full(len(highest), NO_REFERENCE)
    best[channels[first[rows]]] = images[first[rows]]
    index = load_of(part)
    sums = np.zeros((len(highest), index.d))
    if len(rows):
        np.add.at(sums, channels, of_rows(index, rows))
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return LayerNorms(highest, sums / np.where(lengths == 0, 1, lengths), best)


def layer_maps(engine: Engine, pictures: Tensor, layer: str) -> Tensor:
    """Return a layer's activation on pictures.

    Parameters
    ----------
    engine : Engine
        Of channels or of factors.
    pictures : Tensor
        (pictures, colours, height, width), preprocessed.
    layer : str
        A layer or a basis that the engine visits.

    Returns
    -------
    Tensor
        float32 (pictures, channels, height, width), on the CPU.
    """
    found: list[Tensor] = []

    def visit(_: slice, name: str, mode: Mode, maps: Tensor) -> None:
        if name == layer and mode == "activation":
            found.append(maps.float().cpu())

    targets = torch.full((len(pictures),), PREDICTED, device=pictures.device)
    measure(engine, pictures, targets, visit)
    return torch.cat(found)


def profile(maps: Tensor, highest: Numbers, channel: int) -> Numbers:
    """Return a layer's outputs where that of a channel is largest, as a vector of length 1.

    Parameters
    ----------
    maps : Tensor
        (channels, height, width), the layer's output on a picture.
    highest : array
        (channels,): the largest of each on any picture of the data, by which they are divided.
    channel : int
        The channel.

    Returns
    -------
    array
        float64 (channels,), 0 where an output is negative; all 0 if none is positive.
    """
    flat = maps.flatten(1)
    values = flat[:, flat[channel].argmax()].clamp(min=0).double().numpy()
    values = np.divide(values, highest, out=np.zeros(len(highest)), where=highest > 0)
    return _of_length_one(values)


def layer_profiles(
    part: Store,
    layer: str,
    channels: Iterable[int],
    highest: Numbers,
    maps: Callable[[Sequence[int]], Tensor],
) -> dict[int, Numbers]:
    """Return the mean profiles of channels over their best references by activation.

    Parameters
    ----------
    part : Store
        The atlas, or the part of one that has its factors.
    layer : str
        One of its layers or bases.
    channels : iterable of int
        Some of its channels; those without such references get no profile.
    highest : array
        As in `profile`.
    maps : callable
        From a few rows of images.parquet to the layer's output (images, channels, height, width).
    """
    table = part.table("references", ["layer", "channel", "mode", "rank", "image"]).to_pydict()
    wanted, found = set(channels), defaultdict(list)
    of: dict[int, list[int]] = defaultdict(list)
    for name, channel, mode, rank, image in zip(*table.values(), strict=True):
        if (name, mode) == (layer, "activation") and channel in wanted and rank < REFERENCES:
            of[image].append(channel)
    images = sorted(of)
    for start in range(0, len(images), CPU_BLOCK):
        some = images[start : start + CPU_BLOCK]
        for image, output in zip(some, maps(some), strict=True):
            for channel in of[image]:
                found[channel].append(profile(output, highest, channel))
    return {channel: _of_length_one(np.mean(one, axis=0)) for channel, one in found.items()}


def compared_with(count: int, channel: int) -> set[int]:
    """Return a channel and those of its layer's `count` that it is compared with by profiles."""
    return {channel, *np.linspace(0, count - 1, min(count, OTHERS), dtype=int).tolist()}


def likeness_inside(made: Numbers, profiles: Mapping[int, Numbers], channel: int) -> float | None:
    """Return the share of the other channels whose profiles are less like that of a made picture.

    The channel's own output is left out of all, since it is large on any picture made for it.

    Parameters
    ----------
    made : array
        (channels,): the profile at the channel's peak on the picture.
    profiles : mapping
        Those of the references of the channel and of others.
    channel : int
        The one that the picture was made for.
    """
    if channel not in profiles or len(profiles) == 1:
        return None
    own = _without(made, channel)
    similar = {other: float(_without(one, channel) @ own) for other, one in profiles.items()}
    mine = similar.pop(channel)
    return sum(one < mine for one in similar.values()) / len(similar)


def _without(values: Numbers, channel: int) -> Numbers:
    return _of_length_one(np.delete(values, channel))


def _of_length_one(values: Numbers) -> Numbers:
    found: Numbers = values / (np.linalg.norm(values) or 1.0)
    return found


def reach_and_rank(largest: Numbers, highest: Numbers, channel: int) -> tuple[float | None, int]:
    """Return how far a picture reaches, and the place of its channel in the layer by that.

    Parameters
    ----------
    largest, highest : array
        (channels,): the largest output of each channel on the picture, and on those of the data.
    channel : int
        The one that it was made for.

    Returns
    -------
    float or None
        The one divided by the other; None for a channel that no picture of the data activates.
    int
        1 if no other channel reaches further.
    """
    parts = np.divide(largest, highest, out=np.full(len(largest), -np.inf), where=highest > 0)
    if not highest[channel] > 0:
        return None, 1
    return float(parts[channel]), 1 + int((parts > parts[channel]).sum())


def likeness(
    encoder: Encoder, picture: Image.Image, place: Tensor, vectors: Numbers, channel: int
) -> float | None:
    """Return the share of the other channels whose references are less like a picture.

    Parameters
    ----------
    encoder : Encoder
        Of the atlas's patches.
    picture : PIL.Image.Image
        What was made.
    place : Tensor
        (height, width): the channel's map on it. Where that is strong, the picture counts.
    vectors : array
        (channels, dimension), of `LayerNorms`.
    channel : int
        The one that it was made for.
    """
    others = [n for n in np.flatnonzero(vectors.any(axis=1)).tolist() if n != channel]
    if not others or not vectors[channel].any():
        return None
    width, height = picture.size
    box = torch.tensor([[0, 0, width, height]])
    maps = encoder.maps([picture])
    mine = pooled(maps, box, place.clamp(min=0)[None], (height, width))[0].double().numpy()
    similar = vectors @ mine
    return float((similar[others] < similar[channel]).mean())
