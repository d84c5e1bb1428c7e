"""Maps that know nothing of the network: what any measure gives for nothing."""

import hashlib

import torch
from torch import Tensor
from torch.nn import functional as F


def chance(images: Tensor, targets: Tensor) -> Tensor:
    """Return noise from 0 to 1, other noise for any other picture."""
    maps = []
    for image in images:
        content = image.detach().float().cpu().contiguous().numpy().tobytes()
        digest = hashlib.blake2b(content, digest_size=7).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest))
        maps.append(torch.rand(image.shape[-2:], generator=generator).to(image))
    return torch.stack(maps)


def centre(images: Tensor, targets: Tensor) -> Tensor:
    """Return how near each pixel is to the centre: 1 there, 0 in the corners."""
    sides = [torch.linspace(-1, 1, side).to(images) for side in images.shape[-2:]]
    distance = (sides[0][:, None] ** 2 + sides[1] ** 2).sqrt() / 2**0.5
    return (1 - distance).expand(len(images), -1, -1)


def edges(images: Tensor, targets: Tensor) -> Tensor:
    """Return the length of the gradient of the picture's brightness (Sobel's filters).

    Adebayo et al. (2018) found that many maps look like it whatever the network has learned.
    """
    grey = F.pad(images.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]).to(images)
    filters = torch.stack([across, across.T])[:, None]
    return F.conv2d(grey, filters).square().sum(dim=1).sqrt()
