"""What an atlas answers, as notebooks show it: channels that were found, and an explanation."""

from dataclasses import dataclass, fields
from pathlib import Path

from PIL import Image

from atlas.api import rich
from atlas.lookup import Hit
from atlas.store import evidence
from atlas.store.evidence import Evidence
from atlas.store.pictures import load_picture


class Hits(list[Hit]):
    """Channels that were found, best first: a list, which notebooks show as a table."""

    def _repr_html_(self) -> str:
        return rich.hits(self)


@dataclass(frozen=True, kw_only=True, repr=False)
class Explained(Evidence):
    """An explanation: its evidence, and the folder with its pictures and texts."""

    folder: Path
    """Its folder in the atlas's `explanations`."""

    def __repr__(self) -> str:
        target = self.target
        return f"<Explanation {self.id}: {target.name}, probability {target.probability:.3f}>"

    def _repr_html_(self) -> str:
        return rich.explanation(self)

    def open(self, name: str) -> Image.Image:
        """Return one of its pictures: `picture.webp`, `heat.webp`, or the map of a concept.

        Raises
        ------
        UserError
            There is no such picture, or it is damaged.
        """
        path = self.folder / Path(name).name
        return load_picture(path, path)


def explained(folder: Path) -> Explained:
    """Read the explanation in a folder.

    Raises
    ------
    UserError
        There is none, or it is damaged.
    """
    found = evidence.read(folder)
    return Explained(**{one.name: getattr(found, one.name) for one in fields(found)}, folder=folder)
