"""Making a picture that a channel or factor would like, by gradients through the network."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from atlas.errors import UserError
from atlas.made.spectrum import (
    Spectrum,
    squashed,
    unsquashed,
    with_mean_waves,
    with_phase,
    with_waves,
)
from atlas.relevance import changed
from atlas.relevance.engine import to_maps
from atlas.relevance.tape import Instrumented
from atlas.store.made import Kind

CROPS = 4
"""Views of the picture a step, so that no single pixel counts."""

SIDES = (0.5, 1.0)
"""Sides of views, in parts of the picture's."""

NOISE = 0.04
"""Deviation of normal noise, and bound of even noise, that views get; values are in [0, 1]."""

RATES = {"maco": 0.3, "fourier": 0.05, "accentuated": 0.05}
"""Steps of the optimiser: in radians, in parts of a wave, and in parts of a mean wave."""

START = 0.01
"""Deviation of free waves in the beginning."""

NEARNESS = 1.0
"""What a mean squared change of the decorrelated colours by 1, which is their variance, costs of
an activation in parts of the highest on any picture of the data (Hamblin et al. 2024)."""


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


@dataclass(frozen=True)
class Goal:
    """What pictures are made for: a direction of a layer's output."""

    model: Instrumented
    """The network."""
    layer: str
    """One of its layers."""
    direction: Tensor
    """float32 (channels,): 1 at a channel and 0 elsewhere, or the direction of a factor."""
    scale: float = 1.0
    """The activation that counts as 1 beside what a picture's change costs."""

    def along(self, views: Tensor) -> Tensor:
        """Return how much it likes pictures, as the network takes them, with the gradient.

        Of the output along the direction, the mean over positions and the largest, both as means
        over views. The mean alone hardly moves channels that are silent at most positions; the
        largest alone leaves much of the picture as it was.
        """
        output = layer_output(self.model, views, self.layer).float()
        maps = torch.tensordot(output.movedim(1, -1), self.direction.to(output.device), dims=1)
        liked: Tensor = maps.mean() + maps.flatten(1).amax(dim=1).mean()
        return liked / self.scale


def make_picture(
    goal: Goal,
    normalised: Callable[[Tensor], Tensor],
    spectrum: Spectrum,
    steps: int,
    seed: int,
    kind: Kind = "maco",
    start: Tensor | None = None,
) -> Tensor:
    """Make a picture that a direction of a layer's output would like.

    Parameters
    ----------
    goal : Goal
        The direction.
    normalised : callable
        From pictures (pictures, colours, height, width) of values in [0, 1] to the network's input.
    spectrum : Spectrum
        That of the picture; with `fourier` the size and the colours alone are taken from it.
    steps : int
        Steps of the optimiser, NAdam.
    seed : int
        Of the phases, the views and the noise.
    kind : str
        `maco`: the phases are optimised, the spectrum stays. `fourier`: both are. `accentuated`:
        waves are added to a picture, which stays near what it was.
    start : Tensor, optional
        That picture: (colours, height, width), values in [0, 1].

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
    free, apart = _beginning(kind, spectrum, random, start)
    first = apart(free)
    free.requires_grad_()
    optimiser = NAdam(free, RATES[kind])
    for _ in range(steps):
        now = apart(free)
        along = goal.along(normalised(views_of(squashed(spectrum, now), random)))
        if not along.requires_grad or not along.isfinite():
            raise UserError(
                f"no picture can be made for {goal.layer}: no gradient comes from it to the picture"
            )
        cost = -along
        if kind == "accentuated":
            cost = cost + NEARNESS * (now - first).square().mean().to(cost.device)
        (slope,) = torch.autograd.grad(cost, free)
        optimiser.step(slope)
    return squashed(spectrum, apart(free.detach())).clone()


def _beginning(
    kind: Kind, spectrum: Spectrum, random: torch.Generator, start: Tensor | None
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return what is optimised, as it begins, and how decorrelated colours come of it."""
    if start is not None:
        begun = unsquashed(spectrum, start)
        waves = torch.zeros(2, *spectrum.shape)
        return waves, lambda waves: begun + with_mean_waves(spectrum, waves)
    if kind == "maco":
        phase = (2 * torch.rand(spectrum.shape, generator=random) - 1) * torch.pi
        return phase, lambda phase: with_phase(spectrum, phase)
    waves = START * torch.randn((2, *spectrum.shape), generator=random)
    return waves, lambda waves: with_waves(spectrum, waves)


def views_of(picture: Tensor, random: torch.Generator) -> Tensor:
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


def layer_output(model: Instrumented, views: Tensor, layer: str) -> Tensor:
    """Return a layer's output with its norm, with its gradient; what lies behind is not run.

    Parameters
    ----------
    model : Instrumented
        The network, with the layer.
    views : Tensor
        (pictures, colours, height, width), preprocessed.
    layer : str
        Its name.

    Returns
    -------
    Tensor
        (pictures, channels, rows, columns).
    """
    found: list[Tensor] = []

    def keep(output: Tensor) -> Tensor:
        found.append(output)
        raise _Reached

    try:
        with torch.enable_grad():
            changed.differentiable(model, views, layer, keep)
    except _Reached:
        pass
    return to_maps(found[0])
