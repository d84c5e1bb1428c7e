"""How a picture becomes the network's input: geometry first, numbers second.

The two are apart because the atlas shows, stores and measures boxes on what the
network saw, which is the picture after the geometry and before the numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from atlas import recipe
from atlas.errors import UserError
from atlas.recipe.kinds import Extent, Interpolation, extent, levels

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

LONGEST_RATIO = 16
"""Pictures longer than this many times their width are not resized as a whole."""


@dataclass(frozen=True)
class Preprocessor:
    """What is done to every picture; all of it decides what the network measures."""

    resize: Extent
    """Length of the shorter side after resizing, in pixels; or height and width, whatever the
    proportions of the picture."""
    crop: Extent
    """Side of the central square, in pixels, or height and width; at most `resize`."""
    mean: tuple[float, ...]
    """Subtracted from red, green and blue, which are in [0, 1]; or from grey, if it is one."""
    std: tuple[float, ...]
    """What red, green and blue, or grey, are divided by."""
    interpolation: Interpolation = "bilinear"
    """Filter of the resizing, with antialiasing."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the network sees."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels (3 or 1), height and width of the network's input."""
        return len(self.mean), *self.size

    @property
    def mode(self) -> str:
        """Pillow's mode of what the network sees: RGB, or L where it takes one channel."""
        return "RGB" if len(self.mean) == 3 else "L"

    def describe(self) -> str:
        """Return all that decides the pixels, as text that stays what it is: names are made of it.

        >>> Preprocessor(8, 8, (0.5,), (0.25,)).describe()
        "Preprocessing(resize=8, crop=8, mean=(0.5,), std=(0.25,), interpolation='bilinear')"
        """
        facts = (f"{one.name}={getattr(self, one.name)!r}" for one in fields(self))
        return f"Preprocessing({', '.join(facts)})"

    def view(self, image: Image.Image) -> Image.Image:
        """Return what the network sees of `image`: 8 bits, in `mode`, of `size`.

        The picture is resized and its centre cut out, with the roundings of torchvision's
        presets. Very long pictures are resized only where the centre will be, so that the
        work does not grow with their length.
        """
        image = image if image.mode == self.mode else image.convert(self.mode)
        width, height = image.size
        across, down = self._resized(width, height)
        rows, columns = self.size
        left, top = round((across - columns) / 2), round((down - rows) / 2)
        resample = Image.Resampling[self.interpolation.upper()]
        longest = LONGEST_RATIO * min(width, height)
        if max(width, height) <= longest or isinstance(self.resize, tuple):
            resized = image.resize((across, down), resample)
            return resized.crop((left, top, left + columns, top + rows))
        x, y = width / across, height / down
        box = (left * x, top * y, (left + columns) * x, (top + rows) * y)
        return image.resize((columns, rows), resample, box=box)

    def pixels(self, view: Image.Image) -> npt.NDArray[np.uint8]:
        """Return a view, or a stored one, as uint8 (height, width, channels)."""
        view = view if view.mode == self.mode else view.convert(self.mode)  # stored ones are RGB
        return np.asarray(view).reshape(view.height, view.width, len(self.mean))

    def tensor(self, views: Sequence[Image.Image]) -> torch.Tensor:
        """Return `views` of one size as float32 of shape (B, channels, height, width), normalised.

        Parameters
        ----------
        views : sequence of PIL.Image.Image
            Each from `view`, or such a picture after it was stored.
        """
        return self.normalize(torch.from_numpy(np.stack([self.pixels(view) for view in views])))

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return uint8 (B, height, width, channels) as the network's input, on their device."""
        values = pixels.permute(0, 3, 1, 2).contiguous().to(torch.float32).div_(255)
        mean = torch.tensor(self.mean, device=values.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=values.device).view(-1, 1, 1)
        return values.sub_(mean).div_(std)

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of a picture after resizing."""
        if isinstance(self.resize, tuple):
            return self.resize[1], self.resize[0]
        shorter = min(width, height)
        return int(self.resize * width / shorter), int(self.resize * height / shorter)


def complete(
    asked: recipe.Preprocessing, default: Preprocessor | Mapping[str, Any], name: str
) -> Preprocessor:
    """Return what the recipe asks for, completed with what the model brings along.

    Parameters
    ----------
    asked : recipe.Preprocessing
        The recipe's table; None in a field means that the model decides.
    default : Preprocessor or mapping
        What the model brings along: all fields, or any of them by name.
    name : str
        The model, for messages.

    Raises
    ------
    UserError
        A field is set by neither, does not fit its type, or `crop` exceeds `resize`.
    """
    known = [field.name for field in fields(Preprocessor)]
    if isinstance(default, Preprocessor):
        default = {key: getattr(default, key) for key in known}
    if unknown := sorted(set(default) - set(known)):
        raise UserError(f"{name}: its preprocessing has {unknown[0]!r}; known: {', '.join(known)}")
    values = dict(default)
    for key in known:
        if (value := getattr(asked, key)) is not None:
            values[key] = value
    values.setdefault("resize", values.get("crop"))
    for key in ("crop", "mean", "std"):
        if values.get(key) is None:
            raise UserError(
                f"{name} does not say how pictures become its input: set preprocessing.{key}"
            )
    return _checked(values, name)


def _checked(values: Mapping[str, Any], name: str) -> Preprocessor:
    """Build a `Preprocessor` from values that a user's own file may have set."""
    kinds = {"crop": extent, "resize": extent, "mean": levels, "std": levels}
    found: dict[str, Any] = {"interpolation": values.get("interpolation") or "bilinear"}
    for key, kind in kinds.items():
        try:
            found[key] = kind(values[key])
        except ValueError as error:
            raise UserError(f"{name}: preprocessing.{key} = {values[key]!r}: {error}") from error
    if isinstance(found["crop"], tuple) and len(set(found["crop"])) == 1:
        found["crop"] = found["crop"][0]  # a square is a square: it makes the same atlas
    result = Preprocessor(**found)
    if result.interpolation not in get_args(Interpolation):
        raise UserError(
            f"{name}: interpolation {result.interpolation!r} is not one of "
            f"{', '.join(get_args(Interpolation))}"
        )
    if len(result.mean) != len(result.std):
        raise UserError(
            f"{name}: preprocessing.mean has {len(result.mean)} and preprocessing.std "
            f"{len(result.std)} numbers: set both, to three (colours) or one (grey)"
        )
    if not all(result.std):
        raise UserError(f"{name}: preprocessing.std has a zero, by which nothing can be divided")
    resized = (result.resize,) * 2 if isinstance(result.resize, int) else result.resize
    if any(kept > there for kept, there in zip(result.size, resized, strict=True)):
        raise UserError(
            f"{name}: preprocessing.crop = {_shown(result.crop)} exceeds preprocessing.resize = "
            f"{_shown(result.resize)}: set both, resize at least as large as crop"
        )
    return result


def _shown(value: Extent) -> str:
    return str(value) if isinstance(value, int) else str(list(value))
