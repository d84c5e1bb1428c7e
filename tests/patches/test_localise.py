"""Boxes stand around the peak, inside the picture, and hold what they promise."""

import numpy as np
import pytest
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


def test_a_large_field_is_narrowed_to_where_most_of_the_strength_lies():
    """Against all squares of whole cells, tried one by one."""
    seen = field(200, 8, -96)  # sees the whole 112 px picture from everywhere
    random = np.random.default_rng(0)
    maps = torch.from_numpy(random.random((6, 14, 14)).astype(np.float32) ** 8)
    maps[0] = 0
    maps[0, 2, 5] = 10.0
    peaks = torch.full((6, 2), 7)  # which see all
    found = localise.boxes(maps, peaks, seen, (112, 112)).tolist()
    places = torch.linspace(2, 110, 28)  # middles of 28 cells
    unit = (places - (-96 + 100)) / 8
    for map_, (x0, y0, x1, y1) in zip(maps.numpy(), found, strict=True):
        low = np.clip(np.floor(unit.numpy()), 0, 13).astype(int)
        high, part = np.minimum(low + 1, 13), np.clip(unit.numpy(), 0, 13) - low
        lines = map_[low] * (1 - part)[:, None] + map_[high] * part[:, None]
        strength = np.sqrt(lines[:, low] * (1 - part) + lines[:, high] * part)
        side = next(
            side
            for side in range(4, 29)
            if max(
                strength[y : y + side, x : x + side].sum()
                for y in range(29 - side)
                for x in range(29 - side)
            )
            >= localise.HELD * strength.sum()
        )
        assert x1 - x0 == y1 - y0 == max(4 * side, 14)
        held = strength[y0 // 4 : y1 // 4, x0 // 4 : x1 // 4].sum() / strength.sum()
        assert held >= localise.HELD - 0.06  # boxes are moved by less than a cell into the picture
    x0, y0, x1, y1 = found[0]
    assert x0 < 5 * 8 + 4 < x1
    assert y0 < 2 * 8 + 4 < y1


@pytest.mark.parametrize("relevance", [None, 0.0, 1.0])
def test_a_box_lies_in_what_the_peak_unit_sees(relevance):
    """Though more of the channel, or of what speaks for the answer, is elsewhere."""
    seen = field(60, 8, -26)
    maps = torch.zeros(2, 14, 14)
    maps[:, 9:, 9:] = 0.9
    maps[0, 2, 3] = maps[1, 11, 1] = 1.0
    heat = None
    if relevance is not None:  # only at the other end, or nowhere
        heat = torch.zeros(2, 28, 28)
        heat[:, 20:, 20:] = relevance
    found = localise.boxes(maps, torch.tensor([[2, 3], [11, 1]]), seen, (112, 112), heat)
    for (x0, y0, x1, y1), (y, x) in zip(found.tolist(), ((20, 28), (92, 12)), strict=True):
        assert x - 30 <= x0 <= x <= x1 <= x + 30
        assert max(y - 30, 0) <= y0 <= y <= y1 <= y + 30


def test_relevance_of_the_pixels_says_where_in_a_coarse_map():
    seen = field(200, 28, -86)
    maps = torch.ones(1, 4, 4)
    relevance = torch.zeros(1, 3, 112, 112)
    relevance[..., 60:80, 20:40] = 1.0
    relevance[..., 0:30, 80:110] = -5.0  # what speaks against the answer
    heat = localise.heat_of(relevance)
    assert heat.shape == (1, 28, 28)
    [box] = localise.boxes(maps, torch.zeros(1, 2).long(), seen, (112, 112), heat).tolist()
    for found, lowest, highest in zip(box, (5, 45, 40, 80), (20, 60, 55, 95), strict=True):
        assert lowest <= found <= highest
    everywhere = torch.tensor([[0, 0, 112, 112]])
    mask = localise.masks(maps, everywhere, seen, (112, 112), heat)[0].numpy()
    assert mask[9:11, 3:6].min() > 150
    assert mask[:, 10:].max() < 10
    # Where nothing speaks for the answer, the map alone counts.
    none = torch.zeros(1, 28, 28)
    assert (localise.masks(maps, everywhere, seen, (112, 112), none) == 255).all()


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
        large = max(seen.size) > max(size) / 2

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
            share = expected / expected.max()
            np.testing.assert_allclose(mask, 255 * (np.sqrt(share) if large else share), atol=1.5)
