"""Where in a picture a word is, on drawn pictures whose objects are known to the pixel."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from atlas import pipeline
from atlas.demo.world import draw
from atlas.errors import UserError
from atlas.recipe import recorded
from atlas.store import open_store


@pytest.fixture(scope="module")
def striped(tmp_path_factory):
    """A picture of a striped object that was not measured, its file and its truth."""
    one = next(p for p in (draw(9, n) for n in range(100)) if p.attributes["texture"] == "striped")
    path = tmp_path_factory.mktemp("drawn") / "one.png"
    Image.fromarray(one.image).save(path)
    return path, one


def word_map(named, path, word, out):
    store = open_store(named)
    return pipeline.word_maps(store, recorded(store.manifest()), [path], word, out)[0]


def test_a_word_is_where_the_object_is(named, striped, tmp_path):
    path, truth = striped
    found = word_map(named, path, "striped", tmp_path)
    warm = found.heat.clamp(min=0)
    inside = float(warm[torch.from_numpy(truth.mask)].sum() / warm.sum())
    assert inside > 0.75 > 2 * truth.mask.mean()
    assert found.shares["planted"] > 0.15
    assert np.asarray(Image.open(found.drawn)).shape == (112, 112, 3)


def test_of_a_word_that_is_not_there_less_relevance_is_found(named, striped, tmp_path):
    path, _ = striped
    there, absent = (word_map(named, path, word, tmp_path) for word in ("striped", "dotted"))
    assert absent.shares["planted"] == pytest.approx(0, abs=0.02)
    assert there.heat.sum() > 2 * absent.heat.sum()


def test_all_words_of_the_last_layer_add_up_to_its_relevance(named, striped, tmp_path):
    path, truth = striped
    words = [truth.attributes[kind] for kind in ("texture", "colour", "shape")]
    found = [word_map(named, path, word, tmp_path).shares["planted"] for word in words]
    assert sum(found) == pytest.approx(1, abs=0.02)


def test_the_command_draws_it_and_says_where(named, striped, run, tmp_path):
    path, _ = striped
    result = run("explain", named, path, "--word", "striped", "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    drawn = re.match(r"(.*\.png): share of the relevance: .*planted \d+%", result.stdout)
    assert Image.open(drawn[1]).size == (112, 112)


def test_a_word_that_nothing_is_called_is_said(named, striped, tmp_path):
    with pytest.raises(UserError, match=r"no channel or factor of .* is called 'elephant'"):
        word_map(named, striped[0], "elephant", tmp_path)
