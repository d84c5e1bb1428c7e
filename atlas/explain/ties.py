"""Which class a network answers, and between how many it cannot decide.

Where several classes have the highest logit alike, none of them is the answer: which comes first is
a matter of numbers of classes, and of how sums are rounded.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

TIE = 1e-5
"""Logits tie within so much of the picture's largest |logit|. Sums of some thousand products in 32
bits differ by about a millionth of it with the order they are added in; and two classes so near
have probabilities that differ by a hundred-thousandth of the logit, which nobody reads."""


def slack(logits: Tensor) -> Tensor:
    """Return by how much the logits of ties may differ, (..., 1), from logits (..., classes)."""
    return TIE * logits.abs().amax(dim=-1, keepdim=True)


def tops(logits: Tensor, own: int) -> list[tuple[int, int]]:
    """Return the class of each picture's highest logit, and how many classes tie for it.

    Parameters
    ----------
    logits : Tensor
        (N, classes).
    own : int
        Which class stands for a tie that it is part of; for others the first does.
    """
    tied = logits >= logits.amax(dim=1, keepdim=True) - slack(logits)
    best = torch.where(tied[:, own], own, tied.int().argmax(dim=1))
    return list(zip(best.tolist(), tied.sum(dim=1).tolist(), strict=True))


def places(logits: Tensor) -> list[tuple[int, int]]:
    """Return for each class of one picture its place, from 1, and how many classes tie with it.

    Parameters
    ----------
    logits : Tensor
        (classes,). Those that tie share the place of the first.
    """
    near = float(slack(logits))
    ordered = logits.sort().values
    below = torch.searchsorted(ordered, logits - near)
    above = torch.searchsorted(ordered, logits + near, right=True)
    return list(zip((len(logits) - above + 1).tolist(), (above - below).tolist(), strict=True))


def lead(logits: Tensor, label: int, others: Sequence[int] | None = None) -> Tensor:
    """Return by how much a class is ahead of the best of the others; 0 where they tie.

    Parameters
    ----------
    logits : Tensor
        (N, classes).
    label : int
        The class.
    others : sequence of int, optional
        Which others; all unless given.
    """
    rivals = logits.clone()
    rivals[:, label] = -torch.inf
    best = rivals.amax(dim=1) if others is None else rivals[:, [*others]].amax(dim=1)
    ahead = logits[:, label] - best
    return torch.where(ahead.abs() <= slack(logits)[:, 0], 0.0, ahead)
