"""Imagined channels: sheets of patches that look alike, whatever they share.

References of a real channel are alike in what the channel looks for, a corner or a rim, and share
attributes more or less by that. Sheets that are drawn by attributes alone lack this. Here a
channel is a direction in what the vision tower sees, with a liking for some attributes, and its
references are the patches that answer most, out of more or fewer. No channel of the demo network
takes part.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from atlas.demo.vlm.crops import KINDS, SIZES
from atlas.demo.vlm.sheets import REFERENCES, Bank

_EACH = 100  # channels with the same directions to choose from
_DIRECTIONS = (1, 2, 4, 8, 16, 32, 128)
_LIKED = 0.5  # chance that a channel likes patches for having an attribute in common
_MOST = 6.0  # largest liking, in standard deviations of the answers
_FEWEST = 60  # patches that references are the best of


@dataclass(frozen=True)
class _Sight:
    """Patches of about one size."""

    rows: npt.NDArray[np.int64]
    """int64 (n,), of the bank."""
    values: npt.NDArray[np.int64]
    """int64 (n, 4), as in the bank."""
    tokens: Tensor
    """float32 (n, 36, width), of covariance one over all of them."""


def channels(bank: Bank, features: Tensor, seed: int) -> npt.NDArray[np.int64]:
    """Return the references of imagined channels, best first.

    Parameters
    ----------
    bank : Bank
        The patches.
    features : Tensor
        (n, 36, width), what the tower sees in them.
    seed : int
        Seed of all chance.

    Returns
    -------
    ndarray
        int64 (channels, REFERENCES), rows of the bank, as many channels for each size of patches.
    """
    random = np.random.default_rng(seed)
    found = []
    for size in range(len(SIZES)):
        sight = _sight(bank, features, size)
        found += [_best(sight, count, random) for count in _DIRECTIONS]
    return np.concatenate(found)


def _sight(bank: Bank, features: Tensor, size: int) -> _Sight:
    rows = np.flatnonzero(np.abs(bank.size - size) <= 1)
    tokens = features[torch.from_numpy(rows)].float()
    flat = tokens.flatten(0, 1)
    flat = flat - flat.mean(0)
    values, vectors = torch.linalg.eigh(flat.T @ flat / len(flat))
    white = flat @ (vectors / values.clamp(min=1e-3 * float(values[-1])).sqrt())
    return _Sight(rows, bank.values[rows], white.unflatten(0, tokens.shape[:2]))


def _best(sight: _Sight, count: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the references of channels that look for a token, seen along `count` directions."""
    patches, places, width = sight.tokens.shape
    spans = torch.from_numpy(random.normal(size=(_EACH, width, count)).astype(np.float32))
    spans = torch.linalg.qr(spans).Q
    chosen = random.integers(patches, size=_EACH), random.integers(places, size=_EACH)
    sought = sight.tokens[torch.from_numpy(chosen[0]), torch.from_numpy(chosen[1])]
    weights = (spans @ (spans.mT @ sought[:, :, None]))[:, :, 0]
    answers = (sight.tokens.flatten(0, 1) @ weights.T).unflatten(0, (patches, places)).amax(1)
    answers = (answers - answers.mean(0)) / answers.std(0)
    liking = random.uniform(0, _MOST, (_EACH, len(KINDS))) * (
        random.random((_EACH, len(KINDS))) < _LIKED
    )
    same = (sight.values[:, None] == sight.values[chosen[0]]) & (sight.values[:, None] >= 0)
    likes = answers.numpy() + (same * liking).sum(2)
    result = []
    for column in likes.T:
        least = np.log(_FEWEST)
        pool = int(np.exp(random.uniform(least, np.log(patches))))
        among = random.permutation(patches)[:pool]
        best = among[np.argsort(-column[among], kind="stable")[:REFERENCES]]
        result.append(sight.rows[best])
    return np.stack(result)
