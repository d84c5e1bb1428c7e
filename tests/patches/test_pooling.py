"""A patch's vector is the mean of the map over its box, as strongly as its mask is there."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.patches.pooling import pooled


@st.composite
def cases(draw):
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    height, width = draw(st.integers(20, 60)), draw(st.integers(20, 60))
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    maps = random.random((1, 4, rows, columns)).astype(np.float32)
    x, y = (np.sort(random.choice(side + 1, (3, 2)), axis=1) for side in (width, height))
    boxes = np.stack([x[:, 0], y[:, 0], x[:, 1] + 1, y[:, 1] + 1], axis=1)
    boxes = np.minimum(boxes, [width, height, width, height])
    boxes[:, :2] = np.minimum(boxes[:, :2], boxes[:, 2:] - 1)
    masks = random.integers(0, 256, (3, 16, 16)).astype(np.uint8)
    return maps, boxes, masks, (height, width)


@given(cases())
@settings(deadline=None, max_examples=40)
def test_against_a_sum_over_many_small_pieces_of_the_picture(case):
    """Each piece has the strength of its cell and the vector of its place."""
    maps, boxes, masks, (height, width) = case
    found = pooled(*(torch.from_numpy(one) for one in (maps, boxes, masks)), (height, width))
    for (x0, y0, x1, y1), mask, vector in zip(boxes.tolist(), masks, found.numpy(), strict=True):
        steps = (np.arange(16 * 32) + 0.5) / (16 * 32)
        y, x = (y1 - y0) * steps, (x1 - x0) * steps
        strengths = np.kron(mask.astype(float), np.ones((32, 32)))
        rows = ((y + y0) * maps.shape[2] / height).astype(int)
        columns = ((x + x0) * maps.shape[3] / width).astype(int)
        expected = (maps[0][:, rows][:, :, columns] * strengths).sum((1, 2)) / strengths.sum()
        expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(vector, expected, atol=0.02)


def test_a_patch_without_a_mask_counts_all_of_its_box():
    maps = torch.randn(1, 5, 4, 4)
    box = torch.tensor([[8, 0, 16, 8]])
    nowhere, everywhere = torch.zeros(1, 16, 16), torch.ones(1, 16, 16)
    found = pooled(maps, box, nowhere, (16, 16))
    torch.testing.assert_close(found, pooled(maps, box, everywhere, (16, 16)))
    mean = maps[0, :, :2, 2:].mean((1, 2))
    torch.testing.assert_close(found[0], mean / mean.norm())


def test_the_others_of_a_picture_change_nothing():
    maps, boxes = torch.randn(1, 64, 7, 7), torch.tensor([[0, 0, 30, 30]] * 9)
    masks = torch.randint(0, 256, (9, 16, 16))
    alone = pooled(maps, boxes[:1], masks[:1], (56, 56))
    torch.testing.assert_close(pooled(maps, boxes, masks, (56, 56))[:1], alone)
