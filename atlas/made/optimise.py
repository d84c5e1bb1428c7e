"""Making a picture that a channel or factor would like, by gradients through the network."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atlas.errors import UserError
from atlas.made.spectrum import Spectrum, squashed, with_phase, with_waves
from atlas.store.made import Kind
from atlas.trace.following import tensors

CROPS = 4
"""Views of the picture a step, so that no single pixel counts."""

SIDES = (0.5, 1.0)
"""Sides of views, in parts of the picture's."""

NOISE = 0.04
"""Deviation of normal noise, and bound of even noise, that views get; values are in [0, 1]."""

RATES = {"maco": 0.3, "fourier": 0.05}
"""Steps of the optimiser: in radians, and in parts of a wave."""

START = 0.01
"""Deviation of free waves in the beginning."""


class NAdam:
    """Adam with Nesterov's momentum (Dozat, 2016), as `torch.optim.NAdam` with its defaults.

    That one imports torch's compiler, which takes seconds.

    Parameters
    ----------
    values : Tensor
        What is changed, in place.
    rate : float
        Size of a step.
    """

    FIRST, SECOND, DECAY, LEAST = 0.9, 0.999, 0.004, 1e-8

    def __init__(self, values: Tensor, rate: float) -> None:
        self._values = values
        self._rate = rate
        self._count = 0
        self._product = 1.0
        self._mean = torch.zeros_like(values)
        self._square = torch.zeros_like(values)

    @torch.no_grad()
    def step(self, slope: Tensor) -> None:
        """Go a step down, by the gradient of what is to become less."""
        self._count += 1
        now, after = (
            self.FIRST * (1 - 0.5 * 0.96 ** (count * self.DECAY))
            for count in (self._count, self._count + 1)
        )
        self._product *= now
        self._mean.lerp_(slope, 1 - self.FIRST)
        self._square.lerp_(slope * slope, 1 - self.SECOND)
        size = (self._square / (1 - self.SECOND**self._count)).sqrt() + self.LEAST
        ahead = after / (1 - self._product * after) * self._mean
        ahead += (1 - now) / (1 - self._product) * slope
        self._values -= self._rate * ahead / size


class _Reached(Exception):  # noqa: N818 - no error: what lies behind the layer is not needed
    """Ends a forward pass."""


def make_picture(
    module: nn.Module,
    normalised: Callable[[Tensor], Tensor],
    layer: str,
    direction: Tensor,
    spectrum: Spectrum,
    steps: int,
    seed: int,
    kind: Kind = "maco",
) -> Tensor:
    """Make a picture that a direction of a layer's output would like.

    Maximised is, of the output along the direction, the mean over positions and the largest, both
    as means over views. The mean alone hardly moves channels that are silent at most positions; the
    largest alone leaves much of the picture as it was.

    Parameters
    ----------
    module : nn.Module
        The network.
    normalised : callable
        From pictures (pictures, colours, height, width) of values in [0, 1] to the network's input.
    layer : str
        One of its modules.
    direction : Tensor
        float32 (channels,): 1 at a channel and 0 elsewhere, or the direction of a factor.
    spectrum : Spectrum
        That of the picture; with `fourier` the size and the colours alone are taken from it.
    steps : int
        Steps of the optimiser, NAdam.
    seed : int
        Of the phases, the views and the noise.
    kind : str
        `maco`: the phases are optimised, the spectrum stays. `fourier`: both are.

    Returns
    -------
    Tensor
        float32 (colours, height, width), values in (0, 1), on the CPU.

    Raises
    ------
    UserError
        No gradient comes from the layer to the picture, or the output is not finite.
    """
    random = torch.Generator().manual_seed(seed)
    if kind == "maco":
        free = (2 * torch.rand(spectrum.shape, generator=random) - 1) * torch.pi
    else:
        free = START * torch.randn((2, *spectrum.shape), generator=random)
    free.requires_grad_()
    apart = with_phase if kind == "maco" else with_waves
    optimiser = NAdam(free, RATES[kind])
    for _ in range(steps):
        views = _views(squashed(spectrum, apart(spectrum, free)), random)
        output = layer_output(module, normalised(views), layer).float()
        maps = torch.tensordot(output.movedim(1, -1), direction.to(output.device), dims=1)
        along = maps.mean() + maps.flatten(1).amax(dim=1).mean()
        if not along.requires_grad or not along.isfinite():
            raise UserError(
                f"no picture can be made for {layer}: no gradient comes from it to the picture"
            )
        (slope,) = torch.autograd.grad(along, free)
        optimiser.step(-slope)
    return squashed(spectrum, apart(spectrum, free.detach())).clone()


def _views(picture: Tensor, random: torch.Generator) -> Tensor:
    """Return pieces of a picture with noise, (CROPS, colours, height, width)."""
    low, high = SIDES
    sides = low + (high - low) * torch.rand(CROPS, generator=random)
    centres = (2 * torch.rand(CROPS, 2, generator=random) - 1) * (1 - sides[:, None])
    places = torch.zeros(CROPS, 2, 3)
    places[:, 0, 0] = places[:, 1, 1] = sides
    places[:, :, 2] = centres
    grid = F.affine_grid(places, [CROPS, *picture.shape], align_corners=False)
    views = F.grid_sample(
        picture.expand(CROPS, -1, -1, -1), grid, padding_mode="border", align_corners=False
    )
    normal = torch.randn(views.shape, generator=random)
    even = 2 * torch.rand(views.shape, generator=random) - 1
    return views + NOISE * (normal + even)


def layer_output(module: nn.Module, views: Tensor, layer: str) -> Tensor:
    """Return the output of a module of a network, with its gradient; what lies behind is not run.

    Raises
    ------
    UserError
        The module is not called.
    """
    found: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Any) -> None:
        found.append(next(tensors(output)))
        raise _Reached

    handle = module.get_submodule(layer).register_forward_hook(keep)
    try:
        with torch.enable_grad():
            module(views)
    except _Reached:
        pass
    finally:
        handle.remove()
    if not found:
        raise UserError(f"no picture can be made for {layer}: the network does not call it")
    return found[0]
