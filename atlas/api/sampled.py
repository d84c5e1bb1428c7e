"""Pictures that are kept of the whole range of a channel's activation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from atlas.store.pictures import read_picture


@dataclass(frozen=True)
class Sampled:
    """One of the pictures that are kept of a band of a channel's activation over all pictures."""

    band: str
    """Its part of the range: `top` (about as many pictures as there are references); above about
    `99.9`, `99`, `90` or `50` percent of all pictures and below the band before; `low`, with less,
    but a positive output; `silent`, without one. Or `random`: one of a sample of all pictures,
    which is the same for every channel."""
    activation: float
    """The channel's largest output in it."""
    weight: float
    """How many pictures of the data it stands for: means weighted by it are estimates for all.
    Pictures of a band from which none was kept count to the one below, or above."""
    key: str
    """Name of the picture in the data."""
    label: str | None
    """Name of its class, where the data has labels."""
    predicted: str
    """Name of the class that the network gives it."""
    peak: tuple[int, int]
    """Row and column of the peak unit on the layer's map."""
    path: Path
    """The stored picture."""
    image: int
    """Row of images.parquet."""

    def as_dict(self) -> dict[str, Any]:
        """Return what is known of it as a JSON value."""
        return {
            "band": self.band,
            "activation": self.activation,
            "weight": self.weight,
            "key": self.key,
            "label": self.label,
            "predicted": self.predicted,
            "peak": list(self.peak),
        }

    def picture(self) -> Image.Image:
        """Return the whole picture, cut and resized as for the network (WebP).

        Raises
        ------
        UserError
            The stored picture is missing or damaged.
        """
        return read_picture(self.path)
