"""Heat maps as pictures: what speaks for the target is warm, what speaks against it is cold."""

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

FOR = (255, 96, 0)
AGAINST = (0, 112, 255)
"""Red, green and blue; distinguished with every kind of colour vision."""

CLIPPED = 99.5
"""Percentile of |relevance| that is drawn opaque."""

OPAQUE = 0.85


def overlay(heat: Tensor) -> Image.Image:
    """Return a heat map (height, width) as a see-through picture to be laid over another."""
    values: npt.NDArray[np.float64] = heat.detach().double().cpu().numpy()
    scale = np.percentile(np.abs(values), CLIPPED) or np.abs(values).max() or 1.0
    strength = np.sqrt(np.clip(np.abs(values) / scale, 0, 1))  # weak places can be seen as well
    pixels = np.empty((*values.shape, 4), np.uint8)
    pixels[..., :3] = np.where((values < 0)[..., None], AGAINST, FOR)
    pixels[..., 3] = np.rint(255 * OPAQUE * strength)
    return Image.fromarray(pixels, "RGBA")


def over(picture: Image.Image, heat: Tensor) -> Image.Image:
    """Return a picture with a heat map of its size drawn on it."""
    drawn = picture.convert("RGBA")
    drawn.alpha_composite(overlay(heat))
    return drawn.convert("RGB")
