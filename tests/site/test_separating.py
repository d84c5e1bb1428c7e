"""What separates two classes, against shares made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from atlas.site.entries import ClassEntry
from atlas.site.separating import Separations


def catalogue(shares, *, factors: bool):
    """Two layers of three channels, and three factors of the first where there are some."""
    layers = [
        SimpleNamespace(basis=basis, depth=depth, position=n, rows=tuple(range(3 * n, 3 * n + 3)))
        for n, (basis, depth) in enumerate([(None, 0.5), (None, 1.0), ("nmf", 0.5)][: 2 + factors])
    ]
    return SimpleNamespace(
        layers=layers, channels=list(range(9)),
        shares={label: np.array(row, np.float32) for label, row in shares.items()},
    )  # fmt: skip


ONE, OTHER, UNKNOWN = (ClassEntry(n, f"class {n}", 5) for n in range(3))
SHARES = {
    0: [0.9, 0, 0, 0.60, 0.10, 0.295, 0.5, 0.3, 0.1],
    1: [0, 0.9, 0, 0.10, 0.45, 0.300, 0.1, 0.55, 0.1],
}


def listed(pairs):
    return [
        ([(c.channel, round(c.here, 3), round(c.there, 3)) for c in side])
        for pair in pairs
        for side in (pair.own, pair.others)
    ]


def test_channels_of_the_last_layer_where_there_are_no_factors():
    found = Separations(catalogue(SHARES, factors=False)).of(ONE, [OTHER])
    assert listed(found) == [[(3, 0.6, 0.1)], [(4, 0.1, 0.45)]]
    assert found[0].other is OTHER


def test_factors_where_there_are_some():
    found = Separations(catalogue(SHARES, factors=True)).of(ONE, [OTHER])
    assert listed(found) == [[(6, 0.5, 0.1)], [(7, 0.3, 0.55)]]
    back = Separations(catalogue(SHARES, factors=True)).of(OTHER, [ONE])
    assert listed(back) == [[(7, 0.55, 0.3)], [(6, 0.1, 0.5)]]


@pytest.mark.parametrize("shares", [
    {0: SHARES[0]},
    {},
    {0: SHARES[0], 1: SHARES[0]},
    {0: SHARES[0], 1: [*SHARES[0][:6], 0.495, 0.305, 0.1]},
])  # fmt: skip
def test_nothing_is_said_where_nothing_is_known_or_hardly_anything_differs(shares):
    assert not Separations(catalogue(shares, factors=True)).of(ONE, [OTHER, UNKNOWN])
    assert Separations(SimpleNamespace(layers=[], shares=shares)).layer is None
