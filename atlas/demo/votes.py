"""Auxiliary heads that teach single channels to mean single things.

A network trained for its classes alone spreads what it knows over mixtures of channels, and
most of the channels that are clear then mean the same few salient things. So, while training, the
channels of a layer are split into groups, one for each attribute and one that is left alone.
Within a group every channel *votes*: it hands its response (the maximum of its raw map, by
which references are ranked as well) to the values of the attribute, in proportions that
are learnt. The penalties ask that a channel make up its mind, and that the values get
like numbers of channels. Channels are dropped at random, so that each has to be of use alone.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from atlas.demo.world import ATTRIBUTES

KINDS: tuple[str, ...] = ("shape", "texture", "colour", "background")
"""The attributes that the network learns, in the order of the columns of its targets."""

SHARES: Mapping[int, Mapping[str, float]] = {
    1: {"colour": 0.4, "texture": 0.3},
    2: {"colour": 0.25, "texture": 0.25, "background": 0.25},
    3: {"shape": 0.3, "colour": 0.15, "texture": 0.15, "background": 0.15},
    4: {"shape": 0.3, "colour": 0.18, "texture": 0.14, "background": 0.14},
}
"""By block (from 0): the share of its channels that votes on each attribute; the rest is free."""

_DROPPED = 0.3
_DECIDED, _EVEN = 0.1, 1.0
_SHARPNESS = 3.0


class VoteHead(nn.Module):
    """The votes of one group of channels on one attribute.

    Parameters
    ----------
    channels : int
        How many channels the group has.
    kind : str
        The attribute they vote on.
    """

    def __init__(self, channels: int, kind: str) -> None:
        super().__init__()
        values = len(ATTRIBUTES[kind])
        self.norm = nn.BatchNorm1d(channels, affine=False)
        self.drop = nn.Dropout(_DROPPED)
        self.leaning = nn.Parameter(torch.randn(channels, values))
        self.log_scale = nn.Parameter(torch.tensor(0.0))
        self.bias = nn.Parameter(torch.zeros(values))

    def forward(self, responses: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the values and the penalty on how the votes are spread.

        Parameters
        ----------
        responses : Tensor
            (N, channels): the maximum of each channel's raw map.

        Returns
        -------
        logits : Tensor
            (N, values).
        penalty : Tensor
            A scalar, in nats.
        """
        share = (_SHARPNESS * self.leaning).softmax(dim=1)
        votes = self.drop(self.norm(responses)) @ share
        # The sum of n votes of variance 1 for each value grows with the root of n.
        per_value = (share.shape[0] / share.shape[1]) ** 0.5
        logits = votes * (self.log_scale.exp() / per_value) + self.bias
        undecided = _entropy(share).mean()
        uneven = torch.tensor(float(share.shape[1])).log() - _entropy(share.mean(dim=0))
        return logits, _DECIDED * undecided + _EVEN * uneven


def _entropy(share: Tensor) -> Tensor:
    return -(share * (share + 1e-9).log()).sum(dim=-1)


class VoteHeads(nn.Module):
    """All heads of a network's convolutions.

    Parameters
    ----------
    widths : tuple of tuple of int
        Channels of the convolutions, block by block.
    """

    def __init__(self, widths: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        self.groups: list[tuple[int, str, int, int]] = []  # convolution, kind, first, last + 1
        heads: list[nn.Module] = []
        convolution = 0
        for block, block_widths in enumerate(widths):
            for width in block_widths:
                start = 0
                for kind, share in SHARES.get(block, {}).items():
                    count = round(share * width)
                    self.groups.append((convolution, kind, start, start + count))
                    heads.append(VoteHead(count, kind))
                    start += count
                convolution += 1
        self.heads = nn.ModuleList(heads)

    def forward(self, responses: list[Tensor], targets: Tensor) -> Tensor:
        """Return the mean loss of the heads, a scalar.

        Parameters
        ----------
        responses : list of Tensor
            For each convolution, (N, channels): the maxima of the raw maps.
        targets : Tensor
            int64, (N, 4): the number of each of `KINDS`' values.
        """
        losses = []
        for (convolution, kind, start, end), head in zip(self.groups, self.heads, strict=True):
            logits, penalty = head(responses[convolution][:, start:end])
            loss = nn.functional.cross_entropy(logits, targets[:, KINDS.index(kind)])
            losses.append(loss + penalty)
        return torch.stack(losses).mean()
