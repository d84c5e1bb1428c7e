"""What the network sees of a picture, and as which numbers."""

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from atlas import recipe
from atlas.errors import UserError
from atlas.model.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    LONGEST_RATIO,
    Preprocessor,
    complete,
)
from atlas.recipe import parse

NOTHING = recipe.Preprocessing()
MODEL = {"name": "x", "model": {"name": "demo/vgg"}, "data": {"source": "demo:world"}}


def noise(width, height, mode="RGB"):
    values = np.random.default_rng(width * 10_000 + height).integers(0, 256, (height, width, 3))
    return Image.fromarray(values.astype(np.uint8)).convert(mode)


def of_weights(name):
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    view = Preprocessor(
        resize=preset.resize_size[0],
        crop=preset.crop_size[0],
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation=preset.interpolation.value,
    )
    return preset, view


@pytest.mark.parametrize(
    "name", ["vgg16", "resnet50", "efficientnet_b1", "convnext_tiny", "regnet_y_400mf"]
)
@pytest.mark.parametrize("size", [(500, 375), (375, 501), (64, 48), (224, 224), (1000, 70)])
def test_equals_torchvision_bit_for_bit(name, size):
    preset, ours = of_weights(name)
    picture = noise(*size)
    assert torch.equal(ours.tensor([ours.view(picture)])[0], preset(picture))


@settings(max_examples=30, deadline=None)
@given(width=st.integers(1, 400), height=st.integers(1, 400), resize=st.integers(8, 80))
def test_every_size_gives_the_square(width, height, resize):
    ours = Preprocessor(resize, max(1, resize - 7), IMAGENET_MEAN, IMAGENET_STD)
    picture = noise(width, height)
    view = ours.view(picture)
    assert (view.size, view.mode) == ((ours.crop, ours.crop), "RGB")
    if max(width, height) <= LONGEST_RATIO * min(width, height):
        _, preset = (
            None,
            torchvision.transforms._presets.ImageClassification(
                crop_size=ours.crop, resize_size=ours.resize
            ),
        )
        assert torch.equal(ours.tensor([view])[0], preset(picture))


@pytest.mark.parametrize("size", [(3000, 100), (100, 3000)])
def test_long_pictures_look_as_if_resized_whole(size):
    _, ours = of_weights("vgg16")
    picture = noise(*size)
    short = [round(side * 256 / 100) for side in size]
    left, top = ((side - 224) // 2 for side in short)
    whole = picture.resize(short, Image.Resampling.BILINEAR)
    whole = whole.crop((left, top, left + 224, top + 224))
    difference = np.asarray(whole).astype(int) - np.asarray(ours.view(picture)).astype(int)
    assert np.abs(difference).max() <= 1


def test_a_line_of_pixels_needs_no_gigantic_picture(monkeypatch):
    areas = []
    resize = Image.Image.resize

    def measured(self, size, *args, **kwargs):
        areas.append(size[0] * size[1])
        return resize(self, size, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "resize", measured)
    _, ours = of_weights("vgg16")
    assert ours.view(Image.new("RGB", (60_000, 1), "red")).getpixel((0, 0)) == (255, 0, 0)
    assert max(areas) <= 256 * 256 * LONGEST_RATIO


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "1", "LA"])
def test_other_modes_become_rgb(mode):
    _, ours = of_weights("vgg16")
    assert ours.view(noise(300, 300, mode)).mode == "RGB"


def test_batches_are_float32_in_order():
    ours = Preprocessor(8, 8, (0.5, 0.5, 0.5), (0.5, 0.25, 1.0))
    black, red = Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), "red")
    batch = ours.tensor([black, red])
    assert (batch.shape, batch.dtype) == ((2, 3, 8, 8), torch.float32)
    assert batch[:, :, 0, 0].tolist() == [[-1, -2, -0.5], [1, -2, -0.5]]


def test_the_recipe_wins_field_by_field():
    _, default = of_weights("vgg16")
    asked = recipe.Preprocessing(crop=200, mean=(0.1, 0.2, 0.3))
    got = complete(asked, default, "net")
    assert (got.resize, got.crop, got.mean, got.std) == (256, 200, (0.1, 0.2, 0.3), IMAGENET_STD)


@pytest.mark.parametrize(
    ("asked", "default", "message"),
    [
        (NOTHING, {"crop": 32, "mean": IMAGENET_MEAN}, "set preprocessing.std"),
        (NOTHING, {"crp": 32}, "'crp'; known: resize, crop"),
        (recipe.Preprocessing(crop=300), of_weights("vgg16")[1], "crop = 300 exceeds"),
        (NOTHING, {"crop": 32, "mean": (0.5, 0.5), "std": 0.5}, "mean = .*: write three numbers"),
        (NOTHING, {"crop": 32, "mean": "grey", "std": 0.5}, "mean = 'grey': write three numbers"),
        (NOTHING, {"crop": 32, "mean": float("nan"), "std": 0.5}, "mean = nan: write three"),
        (NOTHING, {"crop": 32, "mean": 0.5, "std": (1, 1, 1)}, "mean has 1 and .*std 3 numbers"),
        (NOTHING, {"crop": 32.5, "mean": 0.5, "std": 0.5}, "crop = 32.5: write a whole number"),
        (NOTHING, {"crop": (8, 8, 3), "mean": 0.5, "std": 0.5}, "crop = .*: write a whole"),
        (NOTHING, {"crop": (8, 0), "mean": 0.5, "std": 0.5}, "crop = .*: write a whole number"),
        (NOTHING, {"crop": (8, 40), "resize": 32, "mean": 0.5, "std": 0.5}, r"\[8, 40\] exceeds"),
        (NOTHING, {"crop": 32, "mean": IMAGENET_MEAN, "std": (1, 1, 0)}, "has a zero"),
        (
            NOTHING,
            {"crop": 8, "mean": IMAGENET_MEAN, "std": IMAGENET_STD, "interpolation": "best"},
            "interpolation 'best' is not one of",
        ),
    ],
)
def test_problems_are_reported(asked, default, message):
    with pytest.raises(UserError, match=message) as caught:
        complete(asked, default, "net")
    assert "\n" not in str(caught.value)


def test_resize_defaults_to_crop():
    view = complete(NOTHING, {"crop": 32, "mean": IMAGENET_MEAN, "std": IMAGENET_STD}, "net")
    assert (view.resize, view.interpolation) == (32, "bilinear")
    view = complete(NOTHING, {"crop": [48, 64], "mean": 0.5, "std": [0.25]}, "net")
    assert (view.resize, view.size, view.shape) == ((48, 64), (48, 64), (1, 48, 64))
    assert complete(NOTHING, {"crop": [48, 48], "mean": 0.5, "std": 1}, "net").crop == 48


@pytest.mark.parametrize("size", [(60, 52), (52, 160), (48, 64), (3000, 10)])
@pytest.mark.parametrize("filter_", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_rectangles_equal_torchvision_bit_for_bit(size, filter_):
    picture = noise(*size)
    transforms = torchvision.transforms
    mode = transforms.InterpolationMode(filter_)
    exact = Preprocessor((50, 70), (48, 64), (0.0,) * 3, (1.0,) * 3, filter_)
    whole = transforms.Resize((50, 70), mode)(picture)
    expected = transforms.PILToTensor()(transforms.CenterCrop((48, 64))(whole)) / 255
    assert torch.equal(exact.tensor([exact.view(picture)])[0], expected)
    if max(size) <= LONGEST_RATIO * min(size):
        shorter = Preprocessor(70, (48, 64), (0.0,) * 3, (1.0,) * 3, filter_)
        whole = transforms.Resize(70, mode)(picture)
        expected = transforms.PILToTensor()(transforms.CenterCrop((48, 64))(whole)) / 255
        assert torch.equal(shorter.tensor([shorter.view(picture)])[0], expected)


def test_one_channel_means_grey_pictures():
    grey = Preprocessor(28, 28, (0.25,), (0.5,))
    values = np.random.default_rng(0).integers(0, 256, (28, 28)).astype(np.uint8)
    picture = Image.fromarray(values)
    view = grey.view(picture.convert("RGB"))  # as decoded
    assert (view.mode, view.size) == ("L", (28, 28))
    batch = grey.tensor([view, picture.convert("RGB")])  # the second as it is stored
    expected = (torch.from_numpy(values) / 255 - 0.25) / 0.5
    assert batch.shape == (2, 1, 28, 28)
    assert torch.equal(batch[0, 0], expected)
    assert torch.equal(batch[1], batch[0])


def test_the_recipe_has_sizes_filters_and_levels():
    asked = parse({"preprocessing": {"crop": [48, 64], "resize": 80, "mean": 0.5, "std": [1],
                   "interpolation": "lanczos"}, **MODEL}, "x").preprocessing  # fmt: skip
    assert (asked.crop, asked.resize, asked.mean, asked.std) == ((48, 64), 80, (0.5,), (1.0,))
    view = complete(asked, {}, "net")
    assert (view.size, view.mode, view.interpolation) == ((48, 64), "L", "lanczos")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("crop", "wide", "write a whole number of pixels, or [height, width]"),
        ("crop", [1, 2, 3], "write a whole number of pixels, or [height, width]"),
        ("crop", [7], "write a whole number of pixels, or [height, width]"),
        ("resize", True, "write a whole number of pixels, or [height, width]"),
        ("resize", -1, "write a whole number of pixels, or [height, width]"),
        ("mean", [0.5, 0.5], "write three numbers (red, green, blue), or one for grey pictures"),
        ("interpolation", "box", "'nearest', 'bilinear', 'bicubic' or 'lanczos'"),
    ],
)
def test_what_the_recipe_cannot_mean_is_one_line(key, value, says):
    with pytest.raises(UserError) as caught:
        parse({"preprocessing": {key: value}, **MODEL}, "x")
    assert f"preprocessing.{key} = {value!r}: " in str(caught.value)
    assert says in str(caught.value)


def test_what_names_of_stored_pictures_are_made_of_stays():
    """Another text would store every picture of every atlas anew, under another name."""
    preprocessing = Preprocessor((8, 9), 8, (0.5,), (0.25,), "bicubic")
    assert preprocessing.describe() == (
        "Preprocessing(resize=(8, 9), crop=8, mean=(0.5,), std=(0.25,), interpolation='bicubic')"
    )
