"""The map: who is near in the atlas is near on it."""

import numpy as np

from atlas.site.map_layout import layout, likeness


def groups(count: int, size: int) -> tuple[list[list[int]], list[list[float]]]:
    """Return channels in groups: each has its nearest in its own group, and one outside."""
    random = np.random.default_rng(1)
    nearest, similarities = [], []
    for row in range(count * size):
        own = [r for r in range(row // size * size, (row // size + 1) * size) if r != row]
        others = [*random.permutation(own)[:8].tolist(), int(random.integers(count * size))]
        nearest.append(others)
        similarities.append([*sorted(random.uniform(0.7, 0.95, 8), reverse=True), 0.2])
    return nearest, similarities


def test_groups_lie_together():
    nearest, similarities = groups(12, 20)
    places = layout(nearest, similarities)
    assert places.shape == (240, 2)
    assert places.min() >= 0 and places.max() <= 1
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    own = np.arange(240) // 20
    closest = np.argsort(distances, axis=1)[:, 1:11]
    assert (own[closest] == own[:, None]).mean() > 0.8  # by chance 0.08
    assert (layout(nearest, similarities) == places).all()


def test_channels_without_neighbours_have_places_too():
    assert np.isfinite(layout([[], [], [], []], [[], [], [], []])).all()
    nearest, similarities = groups(3, 20)
    nearest[7], similarities[7] = [], []
    assert np.isfinite(layout(nearest, similarities)).all()


def test_neighbours_in_the_order_of_likeness_are_neighbours_on_the_map():
    """Every place of a grid once, and a step leads to a place beside it: a Hilbert curve."""
    grid = np.stack(np.meshgrid(np.arange(16), np.arange(16)), axis=-1).reshape(-1, 2)
    ranks = likeness((grid + 0.5) / 16)
    assert sorted(ranks) == list(range(256))
    steps = np.abs(np.diff(grid[np.argsort(ranks)], axis=0)).sum(axis=1)
    assert (steps == 1).all()
    assert sorted(likeness(np.ones((3, 2)))) == [0, 1, 2]  # at the edge, and in one place
