"""The world is the same everywhere, and its pixels are what its attributes say."""

import colorsys
from collections import Counter
from hashlib import sha256

import numpy as np
import pytest

from atlas.demo.world import ATTRIBUTES, CLASSES, DrawnPicture, class_index, draw

PINNED = {
    (0, 0, 112): "261cf0a62aa4663a",
    (0, 1, 112): "17e8a4c85bb22ddd",
    (0, 2, 112): "7cc02449970f475f",
    (1, 7, 112): "a74d5fe8c459c49e",
    (1000, 3999, 112): "4a593f2301e88663",
    (5, 5, 96): "edfbba3477aff166",
    (5, 6, 224): "877f8dbe82ab6b8d",
}


@pytest.fixture(scope="module")
def pictures() -> list[DrawnPicture]:
    return [draw(3, index) for index in range(1_000)]


@pytest.mark.parametrize(("seed", "index", "size"), PINNED)
def test_pixels_are_pinned(seed: int, index: int, size: int) -> None:
    picture = draw(seed, index, size)
    pixels = picture.image.tobytes() + picture.mask.tobytes() + picture.distractors.tobytes()
    assert sha256(pixels).hexdigest()[:16] == PINNED[seed, index, size]


def test_any_picture_can_be_drawn_at_any_time() -> None:
    late = draw(5, 9).image
    for index in range(9):
        draw(5, index)
    assert np.array_equal(draw(5, 9).image, late)
    assert not np.array_equal(draw(6, 9).image, late)


def test_picture_has_the_promised_form(pictures: list[DrawnPicture]) -> None:
    picture = draw(0, 0, 96)
    assert picture.image.shape == (96, 96, 3)
    assert picture.image.dtype == np.uint8
    assert picture.mask.shape == (96, 96)
    assert picture.mask.dtype == np.bool_
    assert not (picture.mask & picture.distractors).any()
    assert any(picture.distractors.any() for picture in pictures)


def test_size_changes_the_grain_and_not_the_scene() -> None:
    small, large = draw(2, 4, 56), draw(2, 4, 224)
    assert small.attributes == large.attributes
    assert small.mask.mean() == pytest.approx(large.mask.mean(), rel=0.05)
    assert small.image.mean() == pytest.approx(large.image.mean(), rel=0.03)


def test_every_class_has_a_readable_name() -> None:
    assert len(set(CLASSES)) == len(CLASSES) == 240
    words = {"colour": "red", "texture": "striped", "shape": "star"}
    assert CLASSES[class_index(words)] == "red striped star"


def test_labels_name_the_attributes(pictures: list[DrawnPicture]) -> None:
    for picture in pictures:
        words = [picture.attributes[kind] for kind in ("colour", "texture", "shape")]
        assert CLASSES[picture.label] == " ".join(words)


def test_values_are_equally_frequent(pictures: list[DrawnPicture]) -> None:
    for kind, values in ATTRIBUTES.items():
        counts = Counter(picture.attributes[kind] for picture in pictures)
        expected = len(pictures) / len(values)
        for value in values:
            assert counts[value] == pytest.approx(expected, abs=4 * expected**0.5), value


def test_hue_within_the_mask_is_the_colour(pictures: list[DrawnPicture]) -> None:
    hues = {
        "red": 0, "orange": 28, "yellow": 50, "green": 118,
        "turquoise": 177, "blue": 223, "purple": 272, "pink": 330,
    }  # fmt: skip
    for picture in pictures:
        red, green, blue = picture.image[picture.mask].mean(axis=0) / 255.0
        hue = 360.0 * colorsys.rgb_to_hsv(red, green, blue)[0]
        nearest = min(hues, key=lambda name: abs((hue - hues[name] + 180.0) % 360.0 - 180.0))
        assert nearest == picture.attributes["colour"]


def test_backgrounds_are_muted(pictures: list[DrawnPicture]) -> None:
    for picture in pictures[:200]:
        mean = picture.image[~picture.mask].mean(axis=0)
        assert (mean.max() - mean.min()) / mean.max() < 0.3


def test_only_textures_vary_within_the_mask(pictures: list[DrawnPicture]) -> None:
    spread: dict[str, list[float]] = {value: [] for value in ATTRIBUTES["texture"]}
    level: dict[str, list[float]] = {value: [] for value in ATTRIBUTES["texture"]}
    for picture in pictures:
        luminance = picture.image[picture.mask] @ np.array([0.299, 0.587, 0.114])
        spread[picture.attributes["texture"]].append(float(luminance.std()))
        level[picture.attributes["texture"]].append(float(luminance.mean()))
    contrasts = {value: np.mean(spread[value]) for value in spread}
    plain = contrasts.pop("plain")
    assert min(contrasts.values()) > 1.8 * plain
    assert max(contrasts.values()) < 1.3 * min(contrasts.values())
    means = [np.mean(level[value]) for value in level]
    assert max(means) < 1.1 * min(means)


def test_shapes_have_like_areas(pictures: list[DrawnPicture]) -> None:
    areas = [
        np.mean([p.mask.mean() for p in pictures if p.attributes["shape"] == shape])
        for shape in ATTRIBUTES["shape"]
    ]
    assert min(areas) > 0.1
    assert max(areas) < 1.5 * min(areas)


def test_objects_are_where_the_position_says(pictures: list[DrawnPicture]) -> None:
    for picture in pictures:
        rows, columns = np.nonzero(picture.mask)
        x, y = columns.mean() - 55.5, rows.mean() - 55.5
        side = {"left": -x, "right": x, "top": -y, "bottom": y}
        position = picture.attributes["position"]
        if position == "centre":
            assert max(side.values()) < 15
        else:
            assert side[position] > 5


@pytest.mark.parametrize("kind", ["colour", "texture", "shape"])
def test_a_value_can_be_another_and_all_else_stays(kind: str) -> None:
    for index in range(12):
        before = draw(0, index)
        for value in ATTRIBUTES[kind]:
            after = draw(0, index, instead={kind: value})
            assert after.attributes == {**before.attributes, kind: value}
            if value == before.attributes[kind]:
                assert np.array_equal(after.image, before.image)
                continue
            assert not np.array_equal(after.image, before.image)
            around = np.ones_like(before.mask)
            ys, xs = np.nonzero(before.mask | after.mask)
            # The shadow and the edge reach beyond an object.
            rows, columns = (slice(max(at.min() - 12, 0), at.max() + 12) for at in (ys, xs))
            around[rows, columns] = False
            assert np.array_equal(after.image[around], before.image[around])
            if kind != "shape":
                assert np.array_equal(after.mask, before.mask)
