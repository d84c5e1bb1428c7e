"""Maps of classes whose pictures rest on few channels."""

from types import SimpleNamespace

import numpy as np
import pytest

from atlas.site.class_similarity import MAP_COLUMNS, MAP_ROWS, ClassSimilarity


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
