"""Finding channels by a picture: those whose patches look like it, by the atlas's own encoder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from atlas.api.contents import Contents
from atlas.data.images import BadImage, decode
from atlas.errors import UserError
from atlas.lookup.conditions import Conditions
from atlas.lookup.hit import Hit

FIRST = 1000
"""References that a search looks at; eightfold ones where too few channels are among them."""

BEST = 3
"""A channel is as similar as its so many most similar patches are on average. One alone would
say little: most patches belong to many channels."""

SHOWN = 5
"""Patches of each channel that a hit has."""

Encode = Callable[[Sequence[Image.Image]], npt.NDArray[np.float32]]


def search(
    contents: Contents,
    index: Any,
    encode: Encode,
    picture: Image.Image,
    n: int,
    conditions: Conditions,
) -> list[Hit]:
    """Find the channels whose patches look like a picture.

    Parameters
    ----------
    contents : Contents
        The atlas.
    index : faiss.Index
        Its patches.faiss.
    encode : callable
        The encoder that made the index.
    picture : PIL.Image.Image
        Any size; it is scaled to the encoder's square, as patches are.
    n : int
        How many channels to return at most.
    conditions : Conditions
        Which channels may be found.

    Returns
    -------
    list of Hit
        By falling similarity: the mean cosine of the channel's `BEST` most similar patches;
        ones beyond those that the search saw count as much as the last that it saw.
    """
    allowed = conditions.allowed(contents)
    vector = encode([picture])
    total, wanted = int(index.ntotal), FIRST
    while True:
        similarities, rows = index.search(vector, min(wanted, total))
        hits = _hits(contents, similarities[0], rows[0], n, allowed)
        if len(hits) == n or wanted >= total:
            return hits
        wanted *= 8


def _hits(
    contents: Contents,
    similarities: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    n: int,
    allowed: npt.NDArray[np.bool_],
) -> list[Hit]:
    similarities, rows = similarities[rows >= 0], rows[rows >= 0]
    if not len(rows):
        return []
    channels = contents.channel_rows[rows]
    # Rows arrive by falling similarity; a stable sort by channel keeps that order in each.
    order = np.argsort(channels, kind="stable")
    found, starts = np.unique(channels[order], return_index=True)
    groups = np.split(order, starts[1:])
    least = float(similarities[-1])
    means = np.array([_mean(similarities[group[:BEST]], least) for group in groups])
    hits: list[Hit] = []
    for place in np.lexsort((found, -means)):
        if len(hits) == n:
            break
        if allowed[found[place]]:
            channel = contents.channel(int(found[place]))
            shown = tuple(contents.reference(int(row)) for row in rows[groups[place][:SHOWN]])
            similarity = float(np.clip(means[place], -1, 1))
            hits.append(Hit(channel, "picture", similarity=similarity, references=shown))
    return hits


def _mean(similarities: npt.NDArray[np.float32], least: float) -> float:
    return (float(similarities.sum()) + least * (BEST - len(similarities))) / BEST


def read(path: Path) -> Image.Image:
    """Read the picture to search for.

    Raises
    ------
    UserError
        It cannot be read.
    """
    try:
        return decode(path)
    except BadImage as error:
        raise UserError(f"{path}: {error}: give a picture file") from error
