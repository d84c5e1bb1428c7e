"""Classes among each other: maps of their pictures, what they are taken for, kinds of them."""

from types import SimpleNamespace

import numpy as np
import pytest

from atlas.site.class_similarity import MAP_COLUMNS, MAP_ROWS, ClassSimilarity
from atlas.site.entries import ClassEntry
from atlas.site.kinds import kinds


def catalogue(images, channels, scores):
    layer = SimpleNamespace(position=0, basis=None)
    return SimpleNamespace(
        layers=[layer],
        channels=[SimpleNamespace(layer=layer, row=row) for row in range(4)],
        by_relevance=np.ones(len(images), bool),
        images_of=np.array(images),
        channel_of=np.array(channels),
        scores=np.array(scores, np.float32),
    )


@pytest.mark.parametrize("channels", [[2, 2, 2], [0, 1, 2], [1, 1, 3]])
def test_a_map_has_every_picture_however_few_channels_they_rest_on(channels):
    similarity = ClassSimilarity(catalogue([5, 6, 7], channels, [0.5, 0.25, 0.125]))
    points = similarity.picture_map([5, 6, 7])
    assert [point.image for point in points] == [5, 6, 7]
    assert all(1 <= p.column <= MAP_COLUMNS and 1 <= p.row <= MAP_ROWS for p in points)
    assert len({(point.column, point.row) for point in points}) == 3
    assert [point.channel.row for point in points] == channels


def test_what_a_class_is_taken_for_is_counted_among_its_pictures():
    images = {"label": [0, 0, 0, 0, 1, None], "predicted": [0, 1, 1, 2, 1, 0]}
    labels = {n: SimpleNamespace(label=n) for n in range(3)}
    similarity = ClassSimilarity(SimpleNamespace(images=images, labels=labels))
    found = similarity.recognised(labels[0])
    assert (found.pictures, found.right, found.share) == (4, 1, 0.25)
    assert [(label.label, count) for label, count in found.taken_for] == [(1, 2), (2, 1)]
    assert similarity.recognised(labels[2]).share == -1


def test_kinds_of_classes_are_those_of_wordnet():
    from torchvision.models._meta import _IMAGENET_CATEGORIES as NAMES

    classes = [ClassEntry(number, name, 1) for number, name in enumerate(NAMES)]
    found = kinds(classes, list(NAMES))
    assert {"retriever", "dog"} <= {*found[NAMES.index("golden retriever")]}
    assert "dog" not in found[NAMES.index("airliner")]
    assert kinds(classes[:3], ["a", "b", "c"]) == {0: [], 1: [], 2: []}
