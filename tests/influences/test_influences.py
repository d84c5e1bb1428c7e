"""What is taken out of pictures, and how far activations drop by it."""

import json
import runpy
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import atlas
from atlas import pipeline, site
from atlas.demo.world import draw
from atlas.influences.changes import CHANGES, PIECES
from atlas.influences.measuring import chosen_references, relative_to_layer
from atlas.recipe import recorded
from atlas.store import KINDS_OF_CHANGE, open_store
from atlas.store.influence import worth_a_word
from atlas.store.pictures import read_picture
from atlas.store.verify import check


@pytest.fixture(scope="module")
def picture():
    return Image.fromarray(draw(4, 2).image)


def changed(picture, kind):
    return np.array(CHANGES[kind](picture, np.random.default_rng(0)))


def test_the_changes_are_the_columns():
    assert tuple(CHANGES) == KINDS_OF_CHANGE


def test_hue_is_turned_and_nothing_else(picture):
    turned = Image.fromarray(changed(picture, "hue"))
    before, after = (np.array(one.convert("HSV")).astype(int) for one in (picture, turned))
    coloured = (before[..., 1] > 100) & (before[..., 2] > 100)
    turn = (after[..., 0] - before[..., 0])[coloured] % 256
    assert np.abs(turn - 128).max() <= 3
    assert np.abs(after - before)[..., 1:][coloured].max() <= 4


def test_saturation_and_contrast_are_taken_away(picture):
    pixels = np.array(picture).astype(float)
    spread = pixels.max(axis=2) - pixels.min(axis=2)
    less = changed(picture, "saturation").astype(float)
    assert np.ptp(less, axis=2) == pytest.approx(0.3 * spread, abs=1.5)
    flat = changed(picture, "contrast").astype(float)
    assert flat.std() == pytest.approx(0.45 * pixels.std(), rel=0.1)
    assert np.ptp(flat, axis=2) == pytest.approx(0.45 * spread, abs=1.5)


def test_pixels_of_tiles_and_pieces_change_places(picture):
    pixels = np.array(picture)
    grain = changed(picture, "texture")
    assert not np.array_equal(grain, pixels)
    for y in range(0, 112, 4):
        for x in range(0, 112, 4):
            tiles = [one[y : y + 4, x : x + 4].reshape(16, 3).tolist() for one in (pixels, grain)]
            assert sorted(tiles[0]) == sorted(tiles[1])
    moved = changed(picture, "shape")
    side = 112 // PIECES
    places = [slice(n * side, (n + 1) * side) for n in range(PIECES)]
    pieces = [[one[y, x].tobytes() for y in places for x in places] for one in (pixels, moved)]
    assert sorted(pieces[0]) == sorted(pieces[1])
    assert all(a != b for a, b in zip(*pieces, strict=True))


@pytest.mark.parametrize("size", [(9, 7), (32, 32), (3, 5)])
def test_small_pictures_can_be_changed(size):
    random = np.random.default_rng(0)
    small = Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8))
    for kind in CHANGES:
        assert changed(small, kind).shape == (*size, 3)


def test_drops_are_compared_with_those_of_the_layer():
    layers = np.array(["a"] * 5 + ["b"] * 2)
    values = np.array([0.1, 0.2, 0.3, 0.5, np.nan, 0.4, 0.4])
    spread = 1.4826 * 0.1 + 0.05  # deviations from 0.25: 0.15, 0.05, 0.05, 0.25
    found = relative_to_layer(values, layers)
    assert found[:4] == pytest.approx((values[:4] - 0.25) / spread)
    assert np.isnan(found[4])
    assert found[5:].tolist() == [0, 0]


def test_only_what_was_validated_is_said():
    high = dict.fromkeys(KINDS_OF_CHANGE, 3.0)
    assert worth_a_word(dict.fromkeys(KINDS_OF_CHANGE, 0.9), high) == ["hue", "shape"]
    assert worth_a_word(dict.fromkeys(KINDS_OF_CHANGE, 0.4), high) == []
    assert worth_a_word({}, high) == worth_a_word(None, None) == []


@pytest.fixture(scope="module")
def influenced(built, tmp_path_factory):
    """The atlas of the project with influences, and its pages."""
    folder = tmp_path_factory.mktemp("influenced") / "tiny"
    shutil.copytree(built, folder)
    store = open_store(folder)
    pipeline.influence(store, recorded(store.manifest()))
    site.render(store)
    return folder


def test_influences_are_drops_on_references(influenced, project):
    module = runpy.run_path(str(project / "network.py"))["make"]()
    store = open_store(influenced)
    table = store.table("channels").to_pylist()
    rows = {(row["layer"], row["channel"]): row for row in table}
    chosen = chosen_references(store, 6)
    paths = store.pictures()
    mine = [row for row, one in enumerate(table) if one["layer"] == "3"]
    sums = np.zeros((len(table), 6))
    for image, channels in chosen.items():
        random = np.random.default_rng([0, image])
        before = read_picture(paths[image])
        versions = [before, *(change(before, random) for change in CHANGES.values())]
        pixels = torch.from_numpy(np.stack(versions)).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            peaks = module[:4]((pixels - 0.5) / 0.25).amax(dim=(2, 3)).clamp(min=0)
        for row in {*channels} & {*mine}:
            sums[row] += peaks[:, table[row]["channel"]].numpy()
    for row in mine:
        found = rows["3", table[row]["channel"]]["influence"]
        if sums[row, 0] == 0:
            assert found is None
        else:
            expected = 1 - sums[row, 1:] / sums[row, 0]
            assert [found[kind] for kind in CHANGES] == pytest.approx(expected, abs=1e-4)
    references = store.table("references").to_pylist()
    for row in mine:  # all channels got as many as they have, at most six
        has = [one for one in references if one["mode"] == "activation"
               and (one["layer"], one["channel"]) == ("3", table[row]["channel"])]  # fmt: skip
        assert sum(row in channels for channels in chosen.values()) >= min(6, len(has))
    channel = atlas.open(influenced)["3:1"]
    assert channel.influence == rows["3", 1]["influence"]
    assert set(channel.reacts_to) <= {"hue", "shape"}
    api = json.loads((influenced / "pages/api/v1/channels/3/1.json").read_text("utf-8"))
    assert api["influence_relative"] == rows["3", 1]["influence_relative"]
    assert "What it reacts to" in (influenced / "pages/channels/3/1.md").read_text("utf-8")


def test_what_is_measured_is_not_measured_again(influenced, run):
    again = run("influences", influenced, "--trust-code")
    assert again.returncode == 0, again.stderr
    assert again.stdout == "All is measured.\n"
    outcomes = {one.text: one.passed for one in check(open_store(influenced))}
    assert outcomes["tables, arrays and index are what the manifest says"]
    assert outcomes["tables have their columns"]
    refused = run("influences", influenced, "--set", "influences.references=0", "--trust-code")
    assert refused.returncode == 2
    assert "influences.references" in refused.stderr
