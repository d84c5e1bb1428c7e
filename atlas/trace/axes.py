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
    lost: str = ""
    """The operation by which positions were lost, so that nothing is known of what they see."""

    def dim(self, shape: Sequence[int]) -> int | None:
        """Return the dimension of a tensor of `shape` that has these positions, if one has."""
        for dim, length in enumerate(shape):
            if length == self.count > 1 and math.prod(shape[dim + 1 :]) == self.step:
                return dim
        return None

    def within(self, shape: Sequence[int]) -> int | None:
        """Return the dimension that holds these positions, maybe with others, as flattened maps."""
        for dim, length in enumerate(shape):
            own = math.prod(shape[dim + 1 :])
            if self.step % own == 0 and own * length >= self.count * self.step > 0:
                return dim
        return None

    def coarse(self, shape: Sequence[int]) -> tuple[int, "Axis"] | None:
        """Return the dimension that holds these positions in groups of neighbours, with these.

        So are rows cut in two, which shall become channels (space to depth).
        """
        for dim, length in enumerate(shape):
            own = math.prod(shape[dim + 1 :])
            if 0 < self.step < own < self.count * self.step <= own * length:
                group, rest = divmod(own, self.step)
                if rest or self.count % group:
                    return None
                grouped = self.window(group, group, 0, 1)
                return dim, replace(grouped, count=self.count // group, step=own)
        return None

    def fine(self, shape: Sequence[int]) -> "Axis":
        """Return the positions along the dimension that has these as groups of neighbours."""
        dim = self.within(shape) if self.count > 1 else None
        if dim is None or shape[dim] == self.count:
            return self
        own = math.prod(shape[dim + 1 :])
        group = self.step // own
        if group * self.count != shape[dim]:
            return self
        back = (group - 1) * self.stride / group
        return replace(
            self, start=self.start - max(back, 0), size=self.size + abs(back),
            stride=self.stride / group, count=shape[dim], step=own,
        )  # fmt: skip

    def pooled(self, whole: "Axis") -> bool:
        """Return whether all elements of the tensor are known to see the `whole` side."""
        covers = self.start <= 0 and self.start + self.size >= whole.size
        return self.count == 1 and not self.lost and (self.whole or covers)

    def along(self, dim: int, shape: Sequence[int]) -> "Axis":
        """Return the same, if not all see the same, as dimension `dim` of a tensor of `shape`."""
        if self.count == 1:
            return self
        if shape[dim] == 1:
            return replace(self, stride=0, count=1, step=0)
        return replace(self, count=shape[dim], step=math.prod(shape[dim + 1 :]))

    def window(self, kernel: int, stride: float, padding: float, dilation: int) -> "Axis":
        """Return what the outputs of a sliding window over these positions see."""
        reach = (kernel - 1) * dilation * self.stride
        return replace(
            self,
            start=self.start - padding * self.stride + min(reach, 0),
            size=self.size + abs(reach),
            stride=self.stride * stride,
        )

    def reversed(self) -> "Axis":
        """Return the same positions from the last to the first."""
        return replace(self, start=self.start + (self.count - 1) * self.stride, stride=-self.stride)

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
        size = self.size + (reach - 1) * abs(self.stride)
        middle = self.start + self.size / 2 + first * self.stride
        return replace(self, start=middle - size / 2, size=size, stride=self.stride * step)


Sight = tuple[Axis, Axis]
"""What the elements of a tensor see: by rows and by columns."""


APART = 0.75
"""Parts of a picture whose middles are further apart than this share of the largest, and than the
next position, are not seen as one."""


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
    if lost := next((part.lost for part in parts if part.lost), ""):
        return replace(whole, lost=lost)
    if len({(part.count, part.step) for part in placed}) > 1:
        raise LostError
    chosen = placed or list(parts)
    if _apart(placed):
        raise LostError("it joins parts of the picture that lie apart")
    finest = min(chosen, key=lambda part: part.size)
    start = min(part.start for part in chosen)
    stop = max(part.start + part.size for part in chosen)
    apart = max(abs(part.stride - finest.stride) for part in chosen) * finest.count
    beyond = len(chosen) < len(parts) or any(part.whole for part in parts)
    return replace(finest, start=start - apart, size=stop - start + 2 * apart, whole=beyond)


def _apart(placed: Sequence[Axis]) -> bool:
    """Return whether what single positions see, by these parts, has no one middle."""
    near = max((max(APART * part.size, abs(part.stride)) for part in placed), default=0)
    for at in (0, max((part.count for part in placed), default=1) - 1):
        middles = [part.start + part.size / 2 + at * part.stride for part in placed]
        if middles and max(middles) - min(middles) > near:
            return True
    return False
