"""`demo:world`: the pictures of the demo world, drawn when they are asked for."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from PIL import Image

from atlas.data.source import Description, LeftOut, Record, ascending
from atlas.demo import world
from atlas.errors import UserError

FINGERPRINTED = 8
"""Pictures that the fingerprint is made from."""

COUNT = 4000
"""Number of pictures where the recipe does not limit it."""


@dataclass(frozen=True)
class DemoWorld:
    """The first `count` pictures of the demo world with `seed`.

    See `atlas.data.source.Source`.
    """

    seed: int
    count: int

    @property
    def name(self) -> str:
        """The demo world is called "world"."""
        return "world"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels."""
        return world.CLASSES

    @property
    def label_numbers(self) -> tuple[int, ...]:
        """There are none: labels have names."""
        return ()

    @property
    def random_access(self) -> bool:
        """Every picture is drawn by itself."""
        return True

    @property
    def left_out(self) -> LeftOut:
        """Nothing: pictures are drawn."""
        return LeftOut(taken=self.count)

    @property
    def remarks(self) -> tuple[str, ...]:
        """There are none."""
        return ()

    def describe(self) -> Description:
        """Return what identifies the data; its seed stands in `revision`."""
        return {
            "source": "demo:world",
            "split": None,
            "config": None,
            "revision": f"seed {self.seed}",
            "fingerprint": self._fingerprint(),
        }

    def _fingerprint(self) -> str:
        """Return a hash of the first pictures: another way of drawing is another world."""
        digest = hashlib.sha256(str(self.count).encode())
        for index in range(min(self.count, FINGERPRINTED)):
            digest.update(world.draw(self.seed, index).image.tobytes())
        return digest.hexdigest()

    def records(self, start: int = 0) -> Iterator[Record]:
        """Yield the samples from ordinal `start` on."""
        return self._records(range(start, self.count))

    def fetch(self, indices: Iterable[int]) -> Iterator[Record]:
        """Yield the samples with these ordinals, each once, ascending."""
        return self._records(ascending(indices, self.count))

    def _records(self, indices: Iterable[int]) -> Iterator[Record]:
        for index in indices:
            # Only the drawing knows the label, so it is kept and not made a second time.
            drawn = world.draw(self.seed, index)
            key = f"world/{self.seed}/{index}"
            yield Record(index, key, drawn.label, partial(Image.fromarray, drawn.image))


def open_world(seed: int, limit: int | None) -> DemoWorld:
    """Return the demo world with `limit` pictures, or `COUNT`.

    Raises
    ------
    UserError
        The seed is negative.
    """
    if seed < 0:
        raise UserError(f"data.seed = {seed}: the demo world has no negative seeds")
    return DemoWorld(seed, limit or COUNT)
