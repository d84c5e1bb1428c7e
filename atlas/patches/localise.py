"""Where in a picture a channel's concept lies: the box of its patch and the mask inside it.

A unit can see at most its receptive field. Where that is small, it is the box, and the mask is the
channel's map in it. In deep layers the field is most of the picture and then says nothing. What the
channel means there is where two things meet: its map (of activation or of relevance), which is
coarse and blurred by all that lies below it, and the relevance of the picture's pixels, which is
fine but the same for all channels. The mask is the geometric mean of both, and the box the smallest
square that holds most of that, of what the peak unit sees. Without relevance it is the root of the
map alone.

Both ways of going on, measured on pictures whose content is known, stand in
benchmarks/RESULTS.md.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from atlas.trace.sights import ReceptiveField

SMALLEST = 1 / 8
"""A patch has at least this share of the picture's shorter side, so that it can be seen."""

LARGE = 1 / 2
"""Receptive fields above this share of the picture's longer side are narrowed by the map."""

HELD = 0.9
"""Share of the strength that the box of a unit with a large field holds."""

CELLS = 28
"""Into so many cells the longer side of a picture is cut to find that box."""

BLUR = 1 / 8
"""Relevance of pixels is averaged, twice, over squares of this share of the longer side: between
the dots in which it arrives, a concept does not end."""

MASK_SIDE = 16
"""Masks have this many rows and columns over the patch box."""


def points(field: ReceptiveField, units: tuple[int, ...]) -> bool:
    """Say whether a unit's place in a map of (rows, columns) says where in the picture it looks.

    Where positions were lost, every unit is taken to see the whole picture.
    """
    return all(step or count == 1 for step, count in zip(field.stride, units, strict=True))


def is_large(field: ReceptiveField, size: tuple[int, int]) -> bool:
    """Say whether units see so much of a picture of `size` that their field says nothing."""
    return max(field.size) > LARGE * max(size)


def boxes(
    maps: Tensor,
    peaks: Tensor,
    field: ReceptiveField,
    size: tuple[int, int],
    heat: Tensor | None = None,
) -> Tensor:
    """Return the patch box of each map.

    Parameters
    ----------
    maps : Tensor
        (n, height, width), one channel's map in one picture each.
    peaks : Tensor
        int64 (n, 2), row and column of the peak unit.
    field : ReceptiveField
        Of the layer.
    size : (int, int)
        Height and width of the picture, in pixels.
    heat : Tensor or None
        (n, rows, columns), from `heat_of`, of the picture of each map; None without relevance.

    Returns
    -------
    Tensor
        int64 (n, 4): x0, y0, x1, y1 in pixels, half-open, inside the picture; square, unless that
        is wider or higher than the picture. Small fields lie around the peak unit's centre.
    """
    picture, extent = torch.tensor(size), max(field.size)
    several = maps.shape[1:].numel() > 1  # one unit alone cannot say where
    if is_large(field, size) and several and points(field, maps.shape[1:]):
        sides, twice = _holding(maps, peaks, field, size, heat)
    else:
        sides = torch.full((len(maps),), float(extent), dtype=torch.float64)
        # Twice the centre of the unit's field, clipped: centres may fall between two pixels.
        start, stride, seen = (
            torch.tensor(pair, dtype=torch.float64)
            for pair in (field.start, field.stride, field.size)
        )
        twice = 2 * (start + stride * peaks) + seen
    whole = sides.ceil().long()
    sides = torch.minimum(whole.clamp(min=round(SMALLEST * min(size)))[:, None], picture)
    twice = torch.minimum(twice.round().long().clamp(min=0), 2 * picture)
    low = torch.div(twice - sides, 2, rounding_mode="floor")
    low = torch.minimum(low.clamp(min=0), picture - sides)
    return torch.cat([low.flip(1), (low + sides).flip(1)], dim=1)


def masks(
    maps: Tensor,
    boxes: Tensor,
    field: ReceptiveField,
    size: tuple[int, int],
    heat: Tensor | None = None,
) -> Tensor:
    """Return how strongly the concept is there inside each box, from 0 to 255.

    Parameters
    ----------
    maps : Tensor
        (n, height, width).
    boxes : Tensor
        int64 (n, 4), as from `boxes`.
    field : ReceptiveField
        Of the layer: it says where on the picture a unit stands.
    size : (int, int)
        Height and width of the picture, in pixels.
    heat : Tensor or None
        As for `boxes`.

    Returns
    -------
    Tensor
        uint8 (n, 16, 16), bilinear between units; 255 is the strongest place in the box, and
        all of it where a unit's place says nothing.
    """
    if not points(field, maps.shape[1:]):
        return torch.full((len(maps), MASK_SIDE, MASK_SIDE), 255, dtype=torch.uint8)
    steps = (torch.arange(MASK_SIDE, dtype=torch.float64) + 0.5) / MASK_SIDE
    low, high = boxes[:, :2, None].double(), boxes[:, 2:, None].double()
    columns, rows = (low + (high - low) * steps).unbind(1)
    if is_large(field, size):
        inside = _strength(maps, rows, columns, field, size, heat)
    else:
        inside = _at(_positive(maps), rows, columns, field)
    strongest = inside.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    return (inside / strongest * 255).round().to(torch.uint8)


def heat_of(relevance: Tensor) -> Tensor:
    """Return how much speaks for the answer in each part of a picture.

    Parameters
    ----------
    relevance : Tensor
        (n, colours, height, width): of the pixels.

    Returns
    -------
    Tensor
        float32 (n, rows, columns), even parts of the picture, at most `CELLS` a side: the positive
        relevance, averaged as `BLUR` says.
    """
    found = relevance.float().sum(dim=1, keepdim=True).clamp(min=0)
    width = 2 * round(BLUR * max(found.shape[2:]) / 2) + 1
    for _ in range(2):
        edges = F.pad(found, (width // 2,) * 4, mode="replicate")
        found = F.avg_pool2d(F.avg_pool2d(edges, (width, 1), 1), (1, width), 1)
    height, across = found.shape[2:]
    return F.adaptive_avg_pool2d(found, _cells((height, across)))[:, 0]


def _cells(size: tuple[int, int]) -> tuple[int, int]:
    """Return in how many rows and columns of cells, about square, a picture is cut."""
    rows, columns = (max(round(side * CELLS / max(size)), 1) for side in size)
    return min(rows, size[0]), min(columns, size[1])


def _holding(
    maps: Tensor,
    peaks: Tensor,
    field: ReceptiveField,
    size: tuple[int, int],
    heat: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return sides, and twice the centres, of the smallest squares that hold `HELD`.

    They are squares of whole cells; of those of one size it is the one that holds most. What the
    peak unit cannot see does not count.
    """
    count, cells = len(maps), _cells(size)
    places = [
        ((torch.arange(n, dtype=torch.float64) + 0.5) * side / n).expand(count, -1)
        for n, side in zip(cells, size, strict=True)
    ]
    sees = _sees(peaks, field, places)
    strength = _strength(maps, places[0], places[1], field, size, heat) * sees
    if heat is not None:  # there may be nothing there that speaks for the answer
        alone = _strength(maps, places[0], places[1], field, size, None) * sees
        strength = torch.where(strength.amax(dim=(1, 2), keepdim=True) > 0, strength, alone)
    sums = F.pad(strength.cumsum(1).cumsum(2), (1, 0, 1, 0))
    wanted = HELD * sums[:, -1, -1]
    side = torch.full((count,), max(cells))
    corner = torch.zeros(count, 2, dtype=torch.int64)
    # A square holds what a smaller one in it does, so that halving finds the smallest.
    tasks = [(torch.arange(count), max(1, round(SMALLEST * CELLS)), max(cells))]
    while tasks:
        left, low, high = tasks.pop()
        if low == high or not len(left):
            continue
        tried = (low + high) // 2
        down, across = min(tried, cells[0]), min(tried, cells[1])
        part = sums[left]
        below, above = part[:, down:], part[:, : cells[0] + 1 - down]
        held = below[:, :, across:] - above[:, :, across:]
        held -= below[:, :, :-across]
        held += above[:, :, :-across]
        best, place = held.flatten(1).max(dim=1)
        enough = best >= wanted[left]
        row = torch.div(place, held.shape[2], rounding_mode="floor")
        corner[left[enough]] = torch.stack([row, place % held.shape[2]], dim=1)[enough]
        side[left[enough]] = tried
        tasks += [(left[enough], low, tried), (left[~enough], tried + 1, high)]
    cell = torch.tensor([side_ / n for side_, n in zip(size, cells, strict=True)]).double()
    extent = torch.minimum(side[:, None], torch.tensor(cells))
    return side * max(size) / CELLS, (2 * corner + extent) * cell


def _sees(peaks: Tensor, field: ReceptiveField, places: Sequence[Tensor]) -> Tensor:
    """Return which places (n, rows), (n, columns) peak units see: bool (n, rows, columns)."""
    seen = []
    for axis, at in enumerate(places):
        low = field.start[axis] + field.stride[axis] * peaks[:, axis, None]
        seen.append((at >= low) & (at <= low + field.size[axis]))
    return seen[0][:, :, None] & seen[1][:, None, :]


def _strength(
    maps: Tensor,
    rows: Tensor,
    columns: Tensor,
    field: ReceptiveField,
    size: tuple[int, int],
    heat: Tensor | None,
) -> Tensor:
    """Return how strongly the concept is at some places: float64, as `_at`."""
    positive = _positive(maps)
    found = _at(positive / positive.amax(dim=(1, 2), keepdim=True).clamp(min=1e-30),
                rows, columns, field)  # fmt: skip
    if heat is not None and bool((heat > 0).any()):
        cell = tuple(side / n for side, n in zip(size, heat.shape[1:], strict=True))
        even = ReceptiveField(cell, cell, (0.0, 0.0))  # type: ignore[arg-type]
        highest = heat.amax(dim=(1, 2), keepdim=True).clamp(min=1e-30)
        both = found * _at(heat / highest, rows, columns, even)
        met = both.amax(dim=(1, 2), keepdim=True) > 0  # elsewhere nothing speaks for the answer
        found = torch.where(met, both, found)
    return found.double().sqrt()


def _at(maps: Tensor, rows: Tensor, columns: Tensor, field: ReceptiveField) -> Tensor:
    """Read maps off at places of the picture, bilinear between units.

    Parameters
    ----------
    maps : Tensor
        (n, height, width).
    rows, columns : Tensor
        (n, a) and (n, b), in pixels.

    Returns
    -------
    Tensor
        (n, a, b).
    """
    grid = []
    for axis, places in ((1, columns), (0, rows)):
        units = maps.shape[1 + axis]
        start, stride, extent = (pair[axis] for pair in (field.start, field.stride, field.size))
        unit = (places - (start + extent / 2)) / (stride or 1)  # 0 where every unit sees the same
        grid.append((2 * unit + 1) / units - 1)  # grid_sample's coordinates
    across, down = grid[0].shape[1], grid[1].shape[1]
    where = torch.stack(
        [grid[0][:, None, :].expand(-1, down, -1), grid[1][:, :, None].expand(-1, -1, across)], -1
    ).to(maps)
    return F.grid_sample(
        maps[:, None], where, mode="bilinear", padding_mode="border", align_corners=False
    )[:, 0]


def _positive(maps: Tensor) -> Tensor:
    """Return what speaks for the concept: the positive part, or how little it is negative."""
    lowest = maps.amin(dim=(1, 2), keepdim=True)
    silent = maps.amax(dim=(1, 2), keepdim=True) <= 0
    return torch.where(silent, maps - lowest, maps.clamp(min=0))
