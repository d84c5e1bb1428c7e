"""The spectrum of the atlas's own pictures, and pictures that have it.

After MACO ("Unlocking feature visualization for deeper networks with magnitude constrained
optimization", Fel et al. 2023), with three differences: the spectrum is that of the stored
pictures, so nothing is downloaded; colours are decorrelated by their own covariance; phases start
evenly over the circle and are antisymmetric, so that a picture has exactly that spectrum.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

DARKEST = 1 / 255
"""Before the inverse of the squash, values are kept this far from 0 and 1, where it is infinite."""

LEAST_VARIANCE = 1e-4
"""Added to the variance of colours, for pictures that have no colour at all."""


@dataclass(frozen=True)
class Spectrum:
    """What pictures have in common.

    A picture of values p in (0, 1) is p = squash(M z + m), squash(t) = 1 / (1 + exp(-t)), with z
    its decorrelated colours.
    """

    magnitude: Tensor
    """float32 (colours, height, width // 2 + 1): mean of |rfft2(z)|, 0 at frequency 0, so scaled
    that a picture with this spectrum has variance 1."""
    mixing: Tensor
    """float32 (colours, colours): M, the root of the covariance of the unsquashed values."""
    mean: Tensor
    """float32 (colours,): m, their mean."""
    width: int
    """Width of a picture in pixels."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Colours, height and number of horizontal frequencies."""
        return tuple(self.magnitude.shape)


def of_pictures(pictures: Iterable[npt.NDArray[np.uint8]]) -> Spectrum:
    """Return the spectrum of pictures.

    Parameters
    ----------
    pictures : iterable of array
        uint8 (height, width, colours), all of one shape, at least one.
    """
    raw = torch.from_numpy(np.stack(list(pictures))).permute(0, 3, 1, 2).float() / 255
    values = raw.clamp(DARKEST, 1 - DARKEST).logit()
    colours, height, width = values.shape[1:]
    flat = values.permute(1, 0, 2, 3).reshape(colours, -1)
    mean = flat.mean(dim=1)
    centred = flat - mean[:, None]
    covariance = centred @ centred.T / flat.shape[1]
    sizes, directions = torch.linalg.eigh(covariance + LEAST_VARIANCE * torch.eye(colours))
    mixing = directions * sizes.clamp(min=LEAST_VARIANCE).sqrt()
    apart = torch.linalg.solve(mixing, centred).reshape(colours, -1, height, width)
    magnitude = torch.fft.rfft2(apart).abs().mean(dim=1)
    magnitude[:, 0, 0] = 0
    variance = _variance(magnitude, width)
    return Spectrum(magnitude / variance.clamp(min=1e-12).sqrt(), mixing, mean, width)


def _variance(magnitude: Tensor, width: int) -> Tensor:
    """Return the variance of pictures with these magnitudes, by Parseval's theorem."""
    columns = torch.full((magnitude.shape[2],), 2.0)
    columns[0] = 1
    if width % 2 == 0:
        columns[-1] = 1  # it stands for itself; the others also for their negatives
    pixels = magnitude.shape[1] * width
    return (magnitude**2 * columns).sum() / (magnitude.shape[0] * pixels**2)


def antisymmetric(phase: Tensor, width: int) -> Tensor:
    """Return phases whose picture is real: phase(-f) = -phase(f), where both are stored.

    Parameters
    ----------
    phase : Tensor
        (colours, height, width // 2 + 1).
    width : int
        Of the picture.
    """
    own = [0, phase.shape[2] - 1] if width % 2 == 0 else [0]
    changed = phase.clone()
    for column in own:
        one = phase[:, :, column]
        changed[:, :, column] = (one - one.flip(1).roll(1, dims=1)) / 2**0.5
    return changed


def with_phase(spectrum: Spectrum, phase: Tensor) -> Tensor:
    """Return decorrelated colours (colours, height, width) with the spectrum and these phases."""
    waves = torch.polar(spectrum.magnitude, antisymmetric(phase, spectrum.width))
    made: Tensor = torch.fft.irfft2(waves, s=(spectrum.shape[1], spectrum.width))
    return made


def with_waves(spectrum: Spectrum, waves: Tensor) -> Tensor:
    """Return decorrelated colours of free waves, scaled to variance 1.

    The control: magnitudes are optimised as well, and only begin as 1 / frequency (Olah et al.,
    "Feature visualization", 2017).

    Parameters
    ----------
    spectrum : Spectrum
        What says how large pictures are, and how colours are mixed.
    waves : Tensor
        (2, colours, height, width // 2 + 1): real and imaginary parts before they are scaled.
    """
    height, width = spectrum.shape[1], spectrum.width
    rows = torch.fft.fftfreq(height)[:, None]
    columns = torch.fft.rfftfreq(width)[None]
    scale = 1 / (rows**2 + columns**2).sqrt().clamp(min=1 / max(height, width))
    made: Tensor = torch.fft.irfft2(torch.complex(*waves) * scale, s=(height, width))
    return (made - made.mean()) / made.std().clamp(min=1e-6)


def squashed(spectrum: Spectrum, apart: Tensor) -> Tensor:
    """Return a picture of values in (0, 1) from decorrelated colours (colours, height, width)."""
    mixed = torch.einsum("ab,bhw->ahw", spectrum.mixing, apart)
    return (mixed + spectrum.mean[:, None, None]).sigmoid()


def unsquashed(spectrum: Spectrum, picture: Tensor) -> Tensor:
    """Return the decorrelated colours of a picture of values in [0, 1]; `squashed` the other way.

    Values nearer to 0 or 1 than `DARKEST` become those.
    """
    values = picture.clamp(DARKEST, 1 - DARKEST).logit() - spectrum.mean[:, None, None]
    apart: Tensor = torch.linalg.solve(spectrum.mixing, values.flatten(1))
    return apart.reshape(picture.shape)


def with_mean_waves(spectrum: Spectrum, waves: Tensor) -> Tensor:
    """Return decorrelated colours of waves in parts of the mean magnitude at their frequency.

    So that a step of the optimiser changes each frequency by as much as pictures have of it; else
    high frequencies win (Hamblin et al. 2024 divide gradients by a power of the frequency).

    Parameters
    ----------
    spectrum : Spectrum
        The magnitudes.
    waves : Tensor
        (2, colours, height, width // 2 + 1): real and imaginary parts.
    """
    size = spectrum.shape[1], spectrum.width
    made: Tensor = torch.fft.irfft2(torch.complex(*waves) * spectrum.magnitude, s=size)
    return made
