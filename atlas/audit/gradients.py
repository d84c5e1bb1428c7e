"""Maps by gradients: integrated gradients, and the family of Grad-CAM.

Grad-CAM and its variants weigh the channels of one layer by the gradients of the answer. Their
maps have the resolution of that layer and are interpolated to that of the picture (bilinear).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from atlas.audit.audited import Audited
from atlas.relevance import changed

STEPS = 32
"""Points between grey and the picture at which gradients are taken."""

NOISY = 10
"""Noisy copies of a picture for Smooth Grad-CAM++."""

NOISE = 0.15
"""Standard deviation of that noise, as a part of the range of the picture's values."""

TINY = 1e-6
"""Keeps what Grad-CAM++ divides by from 0, as in the implementation of Gildenblat."""

Weights = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From a layer's output (B, channels, h, w), and the gradients there, their squares and their
cubes, to the weight of each channel, (B, channels)."""


def integrated(audited: Audited, images: Tensor, targets: Tensor) -> Tensor:
    """Return integrated gradients of the logit from grey on, summed over the colours.

    The picture minus grey, times the mean gradient on the straight line between both, by
    Gauss-Legendre quadrature at `STEPS` points (Sundararajan et al. 2017; captum's default). The
    sum of a map is the picture's logit less that of grey.
    """
    places, weights = np.polynomial.legendre.leggauss(STEPS)
    total = torch.zeros_like(images)
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        total += float(weight) * audited.gradients(images * float(place), targets)
    return (images * total).sum(dim=1)


def cam(audited: Audited, layer: str, weights: Weights, images: Tensor, targets: Tensor) -> Tensor:
    """Return a map of the family of Grad-CAM at the resolution of the picture."""
    output, gradients = at_layer(audited, layer, images, targets)
    found = weights(output, gradients, gradients**2, gradients**3)
    return spread(weighed(output, found), images)


def smooth(audited: Audited, layer: str, seed: int, images: Tensor, targets: Tensor) -> Tensor:
    """Return Smooth Grad-CAM++ (Omeiza et al. 2019) at the resolution of the picture.

    As Grad-CAM++, with the gradients, their squares and their cubes each averaged over noisy copies
    of the picture; the output of the layer is that of the picture itself.
    """
    generator = torch.Generator().manual_seed(seed)
    range_ = images.amax((1, 2, 3), keepdim=True) - images.amin((1, 2, 3), keepdim=True)
    output, _ = at_layer(audited, layer, images, targets)
    powers = [torch.zeros_like(output) for _ in range(3)]
    for _ in range(NOISY):
        noise = torch.randn(images.shape[1:], generator=generator).to(images)
        _, gradients = at_layer(audited, layer, images + NOISE * range_ * noise, targets)
        for power, mean in enumerate(powers, 1):
            mean.add_(gradients**power / NOISY)
    return spread(weighed(output, plus_plus(output, *powers)), images)


def at_layer(
    audited: Audited, layer: str, images: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Return a layer's output and the gradients of the logit there, (B, channels, h, w) each."""
    seen: list[Tensor] = []

    def change(output: Tensor) -> Tensor:
        seen.append(output.detach().clone().requires_grad_())
        return seen[0]

    with torch.enable_grad():
        logits = changed.differentiable(audited.model, images, layer, change)
        chosen = logits.gather(1, targets[:, None]).sum()
        (gradients,) = torch.autograd.grad(chosen, seen[0])
    return seen[0].detach(), gradients


def plain(output: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """Return the weights of Grad-CAM (Selvaraju et al. 2017): the mean gradients."""
    return first.mean(dim=(2, 3))


def plus_plus(output: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """Return the weights of Grad-CAM++ (Chattopadhyay et al. 2018, equations 10 and 19)."""
    sums = output.sum(dim=(2, 3), keepdim=True)
    divisor = 2 * second + sums * third + TINY
    alpha = torch.where(first != 0, second / divisor, 0.0)
    return (alpha * first.clamp(min=0)).sum(dim=(2, 3))


def weighed(output: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum of a layer's channels where it is above 0, (B, h, w)."""
    return torch.einsum("nchw,nc->nhw", output, weights).clamp(min=0)


def spread(maps: Tensor, images: Tensor) -> Tensor:
    """Interpolate maps (B, h, w) to the size of the pictures."""
    size = images.shape[-2:]
    return F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]
