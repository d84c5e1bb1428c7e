"""How a picture becomes the network's input: geometry first, numbers second.

The two are apart because the atlas shows, stores and measures boxes on what the
network saw, which is the picture after the geometry and before the numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image

from atlas import recipe
from atlas.errors import UserError

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

LONGEST_RATIO = 16
"""Pictures longer than this many times their width are not resized as a whole."""


@dataclass(frozen=True)
class Preprocessing:
    """What is done to every picture; all of it decides what the network measures."""

    resize: int
    """Length of the shorter side after resizing, in pixels."""
    crop: int
    """Side of the central square, in pixels; at most `resize`."""
    mean: tuple[float, float, float]
    """Subtracted from red, green and blue, which are in [0, 1]."""
    std: tuple[float, float, float]
    """What red, green and blue are divided by."""
    interpolation: Interpolation = "bilinear"
    """Filter of the resizing, with antialiasing."""

    def view(self, image: Image.Image) -> Image.Image:
        """Return what the network sees of `image`: 8-bit RGB, `crop` x `crop` pixels.

        The shorter side is resized to `resize` and the central square cut out, with the
        roundings of torchvision's presets. Very long pictures are resized only where
        the square will be, so that the work does not grow with their length.
        """
        image = image if image.mode == "RGB" else image.convert("RGB")
        width, height = image.size
        shorter = min(width, height)
        wide = int(self.resize * width / shorter)
        high = int(self.resize * height / shorter)
        left, top = round((wide - self.crop) / 2), round((high - self.crop) / 2)
        resample = Image.Resampling[self.interpolation.upper()]
        if max(width, height) <= LONGEST_RATIO * shorter:
            resized = image.resize((wide, high), resample)
            return resized.crop((left, top, left + self.crop, top + self.crop))
        across, down = width / wide, height / high
        box = (left * across, top * down, (left + self.crop) * across, (top + self.crop) * down)
        return image.resize((self.crop, self.crop), resample, box=box)

    def tensor(self, views: Sequence[Image.Image]) -> torch.Tensor:
        """Return `views` (each from `view`) as float32 of shape (B, 3, crop, crop), normalised."""
        return self.normalize(torch.from_numpy(np.stack([np.asarray(view) for view in views])))

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return views as uint8 (B, crop, crop, 3) as the network's input, on their device."""
        values = pixels.permute(0, 3, 1, 2).contiguous().to(torch.float32).div_(255)
        mean = torch.tensor(self.mean, device=values.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=values.device).view(3, 1, 1)
        return values.sub_(mean).div_(std)


def complete(
    asked: recipe.Preprocessing, default: Preprocessing | Mapping[str, Any], name: str
) -> Preprocessing:
    """Return what the recipe asks for, completed with what the model brings along.

    Parameters
    ----------
    asked : recipe.Preprocessing
        The recipe's table; None in a field means that the model decides.
    default : Preprocessing or mapping
        What the model brings along: all fields, or any of them by name.
    name : str
        The model, for messages.

    Raises
    ------
    UserError
        A field is set by neither, does not fit its type, or `crop` exceeds `resize`.
    """
    known = [field.name for field in fields(Preprocessing)]
    if isinstance(default, Preprocessing):
        default = {key: getattr(default, key) for key in known}
    if unknown := sorted(set(default) - set(known)):
        raise UserError(f"{name}: its preprocessing has {unknown[0]!r}; known: {', '.join(known)}")
    values = dict(default)
    for key in known:
        if (value := getattr(asked, key, None)) is not None:
            values[key] = value
    values.setdefault("resize", values.get("crop"))
    for key in ("crop", "mean", "std"):
        if values.get(key) is None:
            raise UserError(
                f"{name} does not say how pictures become its input: set preprocessing.{key}"
            )
    return _checked(values, name)


def _checked(values: Mapping[str, Any], name: str) -> Preprocessing:
    """Build a `Preprocessing` from values that a user's own file may have set."""
    try:
        red, green, blue = (float(part) for part in values["mean"])
        by_red, by_green, by_blue = (float(part) for part in values["std"])
        result = Preprocessing(
            resize=int(values["resize"]),
            crop=int(values["crop"]),
            mean=(red, green, blue),
            std=(by_red, by_green, by_blue),
            interpolation=values.get("interpolation", "bilinear"),
        )
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{name}: preprocessing needs whole numbers for resize and crop, "
            "and three numbers each for mean and std"
        ) from error
    if result.interpolation not in get_args(Interpolation):
        raise UserError(
            f"{name}: interpolation {result.interpolation!r} is not one of "
            f"{', '.join(get_args(Interpolation))}"
        )
    if not all(result.std):
        raise UserError(f"{name}: preprocessing.std has a zero, by which nothing can be divided")
    if not 0 < result.crop <= result.resize:
        raise UserError(
            f"{name}: preprocessing.crop = {result.crop} exceeds preprocessing.resize = "
            f"{result.resize}: set both, resize at least as large as crop"
        )
    return result
