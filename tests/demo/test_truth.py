"""Meanings are read from what lies under the patches."""

import numpy as np
import pytest

from atlas.demo.truth import base_rates, meaning, shown
from atlas.demo.world import draw


def test_a_patch_beside_the_object_shows_the_background_only() -> None:
    picture = draw(1, 0)
    rows, columns = np.nonzero(picture.mask)
    y, x = int(rows.mean()), int(columns.mean())
    assert shown(picture) == picture.attributes
    assert "background" not in shown(picture, (x - 2, y - 2, x + 3, y + 3))
    corners = [(0, 0, 8, 8), (104, 0, 112, 8), (0, 104, 8, 112), (104, 104, 112, 112)]
    free = [(x0, y0, x1, y1) for x0, y0, x1, y1 in corners if not picture.mask[y0:y1, x0:x1].any()]
    assert free
    assert shown(picture, free[0]) == {"background": picture.attributes["background"]}


def test_a_patch_may_reach_beyond_the_picture() -> None:
    picture = draw(1, 0)
    assert shown(picture, (-50, -50, 200, 200)) == picture.attributes
    assert shown(picture, (-50, -50, -10, -10)) == {}


def test_the_shared_value_is_the_meaning() -> None:
    world = [draw(1, index).attributes for index in range(200)]
    rates = base_rates(world)
    assert sum(rates["colour", value] for value in {p["colour"] for p in world}) == pytest.approx(1)
    red = [p for p in world if p["colour"] == "red"][:8]
    found = meaning(red, rates)
    assert (found.kind, found.value, found.purity, found.clear) == ("colour", "red", 1.0, True)
    assert found.base_rate == rates["colour", "red"]
    assert not meaning(world[:16], rates).clear


def test_a_value_that_all_pictures_have_means_nothing() -> None:
    one = draw(1, 0).attributes
    assert not meaning([one], base_rates([one])).clear
