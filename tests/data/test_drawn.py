"""`demo:world` as a source."""

import pickle

import numpy as np
import pytest

from atlas.data import open_source
from atlas.demo import world
from atlas.errors import UserError
from atlas.recipe import Data


def test_records_are_the_pictures_of_the_world():
    source = open_source(Data("demo:world", seed=3, limit=4))
    assert (source.name, source.count, source.classes) == ("world", 4, world.CLASSES)
    records = pickle.loads(pickle.dumps(list(source.records(1))))
    assert [r.key for r in records] == ["world/3/1", "world/3/2", "world/3/3"]
    for record in records:
        truth = world.draw(3, record.index)
        assert record.label == truth.label
        assert np.array_equal(np.asarray(record.picture()), truth.image)


def test_fetch_and_defaults():
    source = open_source(Data("demo:world"))
    assert source.count == 4000
    assert [r.key for r in source.fetch([3999, 7, 7])] == ["world/0/7", "world/0/3999"]
    with pytest.raises(UserError, match="4000 samples"):
        list(source.fetch([4000]))
    assert source.describe()["revision"] == "seed 0"


def test_negative_seed():
    with pytest.raises(UserError, match="negative"):
        open_source(Data("demo:world", seed=-1))
