"""What came of a made picture: how far it reaches, how selective it is, whether references agree.

Made pictures are processed differently from natural ones (Geirhos et al., "Don't trust your eyes",
2024), and a network can be tuned so that they show whatever somebody wants while references stay
(Bareeva et al., "Manipulating feature visualizations with gradient slingshots", 2025). So they are
compared with the references: by the encoder of patches, which plays no part in the making, and by
the inputs that drive the channel (`atlas.made.inputs`).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from atlas.patches.encoders import Encoder
from atlas.patches.pooling import pooled
from atlas.patches.vectors import load_of, of_rows
from atlas.relevance.engine import PREDICTED, Engine, measure
from atlas.store import Mode, Store

Numbers = npt.NDArray[np.float64]

REFERENCES = 8
"""Best references by activation whose inputs are compared."""

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
    """int64 (channels, REFERENCES): rows of the stored pictures that activate each most, best
    first, and `NO_REFERENCE` behind the last."""


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
    ranks = references["rank"].to_numpy()[rows]
    first = (ranks < REFERENCES) & (references["mode"].to_numpy()[rows] == "activation")
    best = np.full((len(highest), REFERENCES), NO_REFERENCE)
    best[channels[first], ranks[first]] = images[first]
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
