"""Views show what the mask has, and nothing else in colour."""

import numpy as np
import pytest
from PIL import Image

from atlas.patches.views import _BOX, Patch, view


@pytest.fixture
def patch(tmp_path):
    """A green picture, of which the right half of a box is meant."""
    Image.new("RGB", (96, 64), (0, 200, 0)).save(tmp_path / "p.webp", lossless=True)
    mask = np.zeros((16, 16), np.uint8)
    mask[:, 8:] = 255
    return Patch(tmp_path / "p.webp", (40, 10, 72, 42), mask)


def test_outlined_is_a_third_larger_than_the_mask_and_grey_around_it(patch):
    shown = np.asarray(view(patch, "outlined", 120)).astype(int)
    assert shown.shape == (120, 120, 3)
    line = (shown == _BOX).all(axis=2)
    grey = np.ptp(shown, axis=2) == 0
    coloured = ~line & ~grey
    rows, columns = np.nonzero(coloured | line)
    # The mask is 16 x 32 pixels, so the view shows 42.7 of them, at 2.8 times their size.
    assert np.ptp(rows) + 1 == pytest.approx(90, abs=4)
    assert np.ptp(columns) + 1 == pytest.approx(45, abs=4)
    assert rows.mean() == pytest.approx(60, abs=3)
    assert columns.mean() == pytest.approx(60, abs=3)
    assert (shown[coloured] == (0, 200, 0)).all(axis=1).mean() > 0.99
    inside = np.zeros_like(line)
    inside[rows.min() + 4 : rows.max() - 3, columns.min() + 4 : columns.max() - 3] = True
    assert not line[inside].any()  # thin
    assert line.sum() > 200
    assert coloured[inside].all()


def test_an_outline_stays_in_the_picture(patch):
    everything = Patch(patch.path, (0, 0, 96, 64), np.full((16, 16), 255, np.uint8))
    shown = np.asarray(view(everything, "outlined", 64)).astype(int)
    assert (shown[32, 32] == (0, 200, 0)).all()
    nothing = Patch(patch.path, (0, 0, 96, 64), np.zeros((16, 16), np.uint8))
    assert view(nothing, "outlined", 64).size == (64, 64)
