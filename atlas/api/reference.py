"""References: the pictures that a channel answers to most."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from atlas.api import rich
from atlas.store import Mode
from atlas.store.pictures import read_picture


@dataclass(frozen=True)
class Reference:
    """One of the pictures that a channel answers to most."""

    mode: Mode
    """The score by which it was chosen."""
    rank: int
    """Place among the references of its mode, from 0, best first."""
    score: float
    """Its score, by the manifest's aggregation and normalisation of the mode."""
    key: str
    """Name of the picture in the data."""
    label: str | None
    """Name of its class, where the data has labels."""
    predicted: str
    """Name of the class that the network gives it."""
    peak: tuple[int, int]
    """Row and column of the peak unit on the layer's map."""
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 of the patch in pixels of the stored picture, half-open."""
    path: Path
    """The stored picture."""
    image: int
    """Row of images.parquet."""
    row: int
    """Row of references.parquet, masks.npy and the FAISS index."""
    sense: int | None
    """Which of the channel's senses it shows, where there are several."""

    def as_dict(self) -> dict[str, Any]:
        """Return what is known of it as a JSON value."""
        return {
            "mode": self.mode,
            "rank": self.rank,
            "score": self.score,
            "key": self.key,
            "label": self.label,
            "predicted": self.predicted,
            "peak": list(self.peak),
            "box": list(self.box),
            "sense": self.sense,
        }

    def picture(self) -> Image.Image:
        """Return the whole picture, cut and resized as for the network (WebP).

        Raises
        ------
        UserError
            The stored picture is missing or damaged.
        """
        return read_picture(self.path)

    def patch(self) -> Image.Image:
        """Return the patch."""
        return self.picture().crop(self.box)

    def _repr_html_(self) -> str:
        return rich.reference(self)
