"""The demo network: VGG16 at about an eighth of its width, with a planted last layer.

The thirteen convolutions stand where torchvision's `vgg16_bn` has them (`features.0` to
`features.40`). Two things differ: the last max pooling is left out, so that the maps which
the planted layer reads keep 7 x 7 positions, and the head is one that can be read. The
layer `planted` has one channel for each value of the attributes; it is a linear probe of the
frozen features. The layer `classifier` adds the three channels that make up a class, and its
weights are zeros and ones: a softmax over these sums is the product of the softmaxes over
shapes, textures and colours.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from atlas.demo.world import ATTRIBUTES, CLASSES

SIZE = 112
"""Width and height of the input in pixels."""
MEAN = (0.5, 0.5, 0.5)
"""Mean of each colour channel to take off, after scaling pixels to [0, 1]."""
STD = (0.25, 0.25, 0.25)
"""What to divide each colour channel by after that."""

WIDTHS: tuple[tuple[int, ...], ...] = (
    (8, 8),
    (16, 16),
    (32, 32, 32),
    (64, 64, 64),
    (96, 96, 96),
)
"""Channels of the convolutions, block by block."""

PLANTED: tuple[str, ...] = tuple(
    f"{kind}:{value}"
    for kind in ("shape", "texture", "colour", "background")
    for value in ATTRIBUTES[kind]
)
"""What each channel of the layer `planted` stands for, as "attribute:value"."""

WEIGHTS = Path(__file__).with_name("weights.safetensors")
"""The weights that come with the package."""


class DemoNetwork(nn.Module):
    """The demo network with random weights.

    Takes float32 pictures of shape (N, 3, SIZE, SIZE), normalised with `MEAN` and `STD`, and
    returns one logit for each of `CLASSES`, shape (N, 240).
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for number, block in enumerate(WIDTHS):
            if number:
                layers.append(nn.MaxPool2d(2))
            for width in block:
                layers += [
                    nn.Conv2d(before, width, kernel_size=3, padding=1),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                ]
                before = width
        self.features = nn.Sequential(*layers)
        self.planted = nn.Conv2d(before, len(PLANTED), kernel_size=1)
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(len(PLANTED), len(CLASSES), bias=False)
        self.classifier.weight.data.copy_(_class_sums())
        self.classifier.weight.requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the class logits of normalised pictures."""
        evidence = self.evidence(self.planted(self.features(pictures)))
        logits: Tensor = self.classifier(evidence)
        return logits

    def evidence(self, planted: Tensor) -> Tensor:
        """Return the evidence for each planted value, (N, 25), from the planted maps.

        It is never negative, so that the logit of a class is a sum of what speaks for it, and
        so is its relevance.
        """
        evidence: Tensor = self.flatten(self.avgpool(self.relu(planted)))
        return evidence


def _class_sums() -> Tensor:
    """Return the zeros and ones that add up each class's planted channels."""
    weight = torch.zeros(len(CLASSES), len(PLANTED))
    for label, name in enumerate(CLASSES):
        for kind, value in zip(("colour", "texture", "shape"), name.split(), strict=True):
            weight[label, PLANTED.index(f"{kind}:{value}")] = 1.0
    return weight


def load(path: Path = WEIGHTS) -> DemoNetwork:
    """Return the trained network, ready to be used (in eval mode).

    Parameters
    ----------
    path : Path
        A safetensors file that `atlas.demo.train` has written.
    """
    network = DemoNetwork()
    network.load_state_dict(load_file(path))
    return network.eval()


def preprocess(images: Tensor) -> Tensor:
    """Return pictures as the network takes them.

    Parameters
    ----------
    images : Tensor
        uint8, (N, H, W, 3), with H = W = `SIZE`.

    Returns
    -------
    Tensor
        float32, (N, 3, H, W), in channels-last memory format.
    """
    scaled = images.permute(0, 3, 1, 2).to(torch.float32) / 255.0
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (scaled - mean) / std
