"""The vision tower of the demo's VLM: a CLIP vision transformer, trained on what patches show.

Real towers are trained on captions. This one learns to name the attributes of the object in a
patch, and, which makes it learn shapes many times sooner, to say for every pixel how much of it
the object covers. Afterwards only the transformer is kept.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModel

from atlas.demo.vlm.crops import KINDS, SIZES, TILE, Crops, DrawnPictures, cut
from atlas.demo.world import ATTRIBUTES

PATCH = 8
CONFIG = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "image_size": TILE,
    "patch_size": PATCH,
}
MEAN, STD = 0.45, 0.25
"""Mean and spread of all colour channels, for the normalisation of pictures."""

_PER_TILE = TILE // PATCH
_FINE = 4  # positions along each side of a token at which the cover is predicted
_COVER = 3.0  # weight of the covers beside the attributes


@dataclass(frozen=True)
class Predicted:
    """What the heads say about patches: logits."""

    values: list[Tensor]  # (n, number of values) for each of KINDS
    cover: Tensor  # (n, _PER_TILE * _FINE, _PER_TILE * _FINE)


class Tower(nn.Module):
    """The transformer with the heads that it is trained by."""

    def __init__(self) -> None:
        super().__init__()
        self.vision = CLIPVisionModel(CLIPVisionConfig(**CONFIG, attn_implementation="sdpa"))
        width = CONFIG["hidden_size"]
        self.norm = nn.LayerNorm(width)
        self.values = nn.ModuleList(
            nn.Sequential(
                nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, len(ATTRIBUTES[kind]))
            )
            for kind in KINDS
        )
        self.cover = nn.Linear(width, _FINE**2)

    def tokens(self, tiles: Tensor) -> Tensor:
        """Return what LLaVA takes of the patches: (n, 36, width), of the layer before the last."""
        return self._hidden(tiles)[:, 1:]

    def _hidden(self, tiles: Tensor) -> Tensor:
        pixels = (tiles - MEAN) / STD
        hidden: Tensor = self.vision(pixels, output_hidden_states=True).hidden_states[-1]
        return hidden

    def forward(self, tiles: Tensor) -> Predicted:
        """Predict what patches show."""
        hidden = self.norm(self._hidden(tiles))
        tokens = hidden[:, 1:]
        pooled = torch.cat([tokens.mean(1), tokens.amax(1)], 1)
        cover = self.cover(tokens).unflatten(1, (_PER_TILE, _PER_TILE)).unflatten(3, (_FINE, _FINE))
        return Predicted(
            [head(pooled) for head in self.values],
            cover.transpose(2, 3).flatten(1, 2).flatten(2, 3),
        )


def visible(crops: Crops, part: float = 0.4) -> Tensor:
    """Return whether each of `KINDS` can be seen in the patches: bool, (n, 4).

    The shape counts as seen where more than `part` of the object is in the patch.
    """
    share = crops.cover.mean((1, 2))
    some = share > 0.05
    return torch.stack([some, some, crops.whole > part, share < 0.85], 1)


def loss(tower: Tower, crops: Crops, part: float = 0.4) -> Tensor:
    """Return the training loss of a batch; `part` is that of `visible`."""
    predicted = tower(crops.tiles)
    seen = visible(crops, part)
    total = torch.zeros(())
    for column, logits in enumerate(predicted.values):
        each = F.cross_entropy(logits.float(), crops.values[:, column], reduction="none")
        total = total + (each * seen[:, column]).sum() / len(seen)
    goal = F.avg_pool2d(crops.cover[:, None], PATCH // _FINE)[:, 0]
    return total + _COVER * F.binary_cross_entropy_with_logits(predicted.cover.float(), goal)


def batch(
    pictures: DrawnPictures, count: int, random: torch.Generator, sparse: float = 0.0
) -> Crops:
    """Cut `count` patches of random sizes from random pictures; `sparse` is that of `cut`."""
    rows = torch.randint(len(pictures.images), (count,), generator=random)
    size = torch.tensor(SIZES)[torch.randint(len(SIZES), (count,), generator=random)]
    return cut(pictures, rows, size, random, sparse)


@torch.inference_mode()
def accuracy(tower: Tower, crops: Crops) -> dict[str, float]:
    """Return how often each attribute is predicted right where it can be seen."""
    predicted, seen = tower(crops.tiles), visible(crops)
    right = torch.stack([logits.argmax(1) for logits in predicted.values], 1) == crops.values
    return {
        kind: float(right[:, column][seen[:, column]].float().mean())
        for column, kind in enumerate(KINDS)
    }
