"""Random numbers that are the same on every machine and with every numpy.

Only the raw 64-bit words of PCG64 are used, because numpy promises their stream for ever,
which it does not for the methods of `Generator`. Everything made from them here uses
IEEE-exact arithmetic.
"""

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.floating]
"""A map over a picture's pixels, float32, (H, W)."""


class Dice:
    """A stream of random numbers that belongs to one (seed, index) pair.

    Parameters
    ----------
    seed, index : int
        Non-negative; every pair has a stream of its own.
    """

    def __init__(self, seed: int, index: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, index]))

    def unit(self) -> float:
        """Return a number in [0, 1), a multiple of 2**-53."""
        return (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def between(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return low + (high - low) * self.unit()

    def sign(self) -> float:
        """Return -1.0 or 1.0."""
        return -1.0 if self.unit() < 0.5 else 1.0

    def below(self, n: int) -> int:
        """Return an integer in [0, n)."""
        return int(self.unit() * n)

    def table(self, *shape: int) -> Plane:
        """Return an array of numbers in [0, 1)."""
        count = 1
        for length in shape:
            count *= length
        words = np.asarray(self._bits.random_raw(count), dtype=np.uint64)
        # 24 bits are what a float32 holds exactly.
        units = (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
        return units.reshape(shape)

    def turn(self, limit: float) -> tuple[float, float]:
        """Return the cosine and sine of a random angle without calling either.

        Parameters
        ----------
        limit : float
            Tangent of half the largest angle: 1 allows -90 to 90 degrees.
        """
        t = self.between(-limit, limit)
        return (1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t)
