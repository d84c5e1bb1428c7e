"""Where positions along rows and columns of a tensor stand in the picture, and what they see."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Axis:
    """What the positions along rows, or along columns, of a tensor see of the picture."""

    start: float
    """What the first position sees begins here, in pixels; in its middle the position stands."""
    size: float
    """So many pixels each position sees."""
    stride: float
    """So many pixels further the next position sees."""
    count: int
    """Number of positions; 1 where all elements of the tensor see the same."""
    step: int
    """The way from one position to the next, in elements of the tensor in reading order. A reshape
    changes nothing here, so that rows and columns flattened into one are found again."""
    whole: bool = False
    """Whether each sees, besides, something of the whole picture: through a gate, a norm."""
    lost: bool = False
    """Whether positions were lost on the way, so that nothing is known of what they see."""

    def dim(self, shape: Sequence[int]) -> int | None:
        """Return the dimension of a tensor of `shape` that has these positions, if one has."""
        for dim, length in enumerate(shape):
            if length == self.count > 1 and math.prod(shape[dim + 1 :]) == self.step:
                return dim
        return None

    def along(self, dim: int, shape: Sequence[int]) -> "Axis":
        """Return the same, if not all see the same, as dimension `dim` of a tensor of `shape`."""
        if self.count == 1:
            return self
        if shape[dim] == 1:
            return replace(self, stride=0, count=1, step=0)
        return replace(self, count=shape[dim], step=math.prod(shape[dim + 1 :]))

    def window(self, kernel: int, stride: float, padding: float, dilation: int) -> "Axis":
        """Return what the outputs of a sliding window over these positions see."""
        return replace(
            self,
            start=self.start - padding * self.stride,
            size=self.size + (kernel - 1) * dilation * self.stride,
            stride=self.stride * stride,
        )

    def resampled(self, first: float, step: float, reach: float) -> "Axis":
        """Return what outputs see that lie between these positions.

        Parameters
        ----------
        first : float
            Where the first output lies, counted in these positions.
        step : float
            How many positions further the next lies.
        reach : float
            From how many positions around it an output is made.
        """
        size = self.size + (reach - 1) * self.stride
        middle = self.start + self.size / 2 + first * self.stride
        return replace(self, start=middle - size / 2, size=size, stride=self.stride * step)


Sight = tuple[Axis, Axis]
"""What the elements of a tensor see: by rows and by columns."""


class LostError(Exception):
    """A rule does not know where the positions went."""


def united(sights: Sequence[Sight], everything: Sight) -> Sight:
    """Return what elements see that are made of elements at the same positions."""
    rows, columns = (
        _united(parts, whole)
        for parts, whole in zip(zip(*sights, strict=True), everything, strict=True)
    )
    return rows, columns


def _united(parts: Sequence[Axis], whole: Axis) -> Axis:
    """Return what positions see that see all that `parts` see.

    Parts without positions (a gate, a mean over the picture) do not move them.
    """
    placed = [part for part in parts if part.count > 1]
    if any(part.lost for part in parts):
        return replace(whole, lost=True)
    if len({(part.count, part.step) for part in placed}) > 1:
        return replace(whole, lost=True)
    chosen = placed or list(parts)
    finest = min(chosen, key=lambda part: part.size)
    start = min(part.start for part in chosen)
    stop = max(part.start + part.size for part in chosen)
    apart = max(abs(part.stride - finest.stride) for part in chosen) * finest.count
    beyond = len(chosen) < len(parts) or any(part.whole for part in parts)
    return replace(finest, start=start - apart, size=stop - start + 2 * apart, whole=beyond)
