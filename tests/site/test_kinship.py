"""Maps of classes whose pictures rest on few channels."""

from types import SimpleNamespace

import numpy as np
import pytest

from atlas.site.kinship import Kinship


def catalogue(images, channels, scores):
    layer = SimpleNamespace(depth=1.0)
    return SimpleNamespace(
        channels=[SimpleNamespace(layer=layer, row=row) for row in range(4)],
        by_relevance=np.ones(len(images), bool),
        images_of=np.array(images),
        channel_of=np.array(channels),
        scores=np.array(scores, np.float32),
    )


@pytest.mark.parametrize("channels", [[2, 2, 2], [0, 1, 2], [1, 1, 3]])
def test_a_map_has_every_picture_however_few_channels_they_rest_on(channels):
    kinship = Kinship(catalogue([5, 6, 7], channels, [0.5, 0.25, 0.125]))
    spots = kinship.map([5, 6, 7])
    assert [spot.image for spot in spots] == [5, 6, 7]
    assert all(0 <= at <= 100 for spot in spots for at in (spot.x, spot.y))
    assert len({(spot.x, spot.y) for spot in spots}) == 3
    assert [spot.channel.row for spot in spots] == channels
