"""Boxes stand around the peak, inside the picture, and hold what they promise."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.patches import localise
from atlas.trace.sights import ReceptiveField


def field(size: int, stride: int, start: int) -> ReceptiveField:
    return ReceptiveField((size, size), (stride, stride), (start, start))


@st.composite
def cases(draw):
    side = draw(st.integers(32, 128))
    units = draw(st.integers(2, 14))
    stride = max(1, side // units)
    size = draw(st.integers(1, 3 * side))
    seen = field(size, stride, draw(st.integers(-size, 0)))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    maps = torch.from_numpy(random.standard_normal((5, units, units)).astype(np.float32))
    peaks = torch.from_numpy(random.integers(0, units, (5, 2)))
    return maps, peaks, seen, (side, draw(st.integers(32, 128)))


@given(cases())
@settings(deadline=None)
def test_boxes_are_squares_inside_the_picture_unless_that_is_too_small(case):
    maps, peaks, seen, (height, width) = case
    for x0, y0, x1, y1 in localise.boxes(maps, peaks, seen, (height, width)).tolist():
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        side = max(x1 - x0, y1 - y0)
        assert side >= round(min(height, width) / 8)
        assert (x1 - x0, y1 - y0) == (min(side, width), min(side, height))


def test_a_small_receptive_field_is_the_box_itself():
    """A 16 px field on a 96 px picture: the box is what the unit can see."""
    seen = field(16, 4, -6)
    maps = torch.ones(3, 24, 24)
    peaks = torch.tensor([[5, 9], [0, 0], [23, 23]])
    boxes = localise.boxes(maps, peaks, seen, (96, 96)).tolist()
    y, x = -6 + 4 * 5, -6 + 4 * 9
    assert boxes[0] == [x, y, x + 16, y + 16]
    assert boxes[1] == [0, 0, 16, 16]  # moved inside, not cut
    assert boxes[2] == [80, 80, 96, 96]


def test_a_large_field_is_narrowed_to_where_half_of_the_map_lies():
    seen = field(200, 8, -96)  # sees the whole 64 px picture from everywhere
    map_ = torch.zeros(8, 8)
    map_[2, 5] = 10.0
    map_[7, 0] = 3.0
    spread = torch.ones(8, 8)
    peaks = torch.tensor([[2, 5], [4, 4]])
    (x0, y0, x1, y1), whole = localise.boxes(
        torch.stack([map_, spread]), peaks, seen, (64, 64)
    ).tolist()
    assert x1 - x0 == 3 * 8  # one unit and one stride more on each side
    centre = (5 * 8 + 4, 2 * 8 + 4)
    assert x0 < centre[0] < x1
    assert y0 < centre[1] < y1
    # 5 x 5 of 64 units do not hold half; 7 x 7 do.
    assert whole[2] - whole[0] == (2 * 3 + 3) * 8 or whole[2] - whole[0] == 64


def test_a_layer_without_positions_has_the_whole_picture():
    """A linear layer: one unit, which sees everything."""
    seen = field(64, 0, 0)
    maps = torch.tensor([[[2.0]], [[-1.0]]])
    boxes = localise.boxes(maps, torch.zeros(2, 2, dtype=torch.int64), seen, (64, 64))
    assert boxes.tolist() == [[0, 0, 64, 64]] * 2
    assert (localise.masks(maps[:1], boxes[:1], seen, (64, 64)) == 255).all()


@given(cases())
@settings(deadline=None)
def test_masks_are_the_map_read_off_at_the_places_of_the_box(case):
    """Against bilinear interpolation written out with NumPy."""
    maps, peaks, seen, size = case
    boxes = localise.boxes(maps, peaks, seen, size)
    masks = localise.masks(maps, boxes, seen, size).numpy()
    for map_, (x0, y0, x1, y1), mask in zip(maps.numpy(), boxes.tolist(), masks, strict=True):
        positive = np.maximum(map_, 0) if map_.max() > 0 else map_ - map_.min()

        def units(low, high, count):
            pixels = low + (high - low) * (np.arange(16) + 0.5) / 16
            centre = seen.start[0] + seen.size[0] / 2
            return np.clip((pixels - centre) / seen.stride[0], 0, count - 1)

        rows, columns = units(y0, y1, len(map_)), units(x0, x1, len(map_))
        expected = np.empty((16, 16))
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                top, left = int(row), int(column)
                low, right = min(top + 1, len(map_) - 1), min(left + 1, len(map_) - 1)
                b, a = row - top, column - left
                expected[i, j] = (
                    positive[top, left] * (1 - a) * (1 - b) + positive[top, right] * a * (1 - b)
                    + positive[low, left] * (1 - a) * b + positive[low, right] * a * b
                )  # fmt: skip
        if expected.max() > 1e-3:
            np.testing.assert_allclose(mask, expected / expected.max() * 255, atol=1.5)
