"""Pictures of each class with their shares of factors, and the strategies made of them."""

from collections import Counter

import numpy as np
import pytest
from sklearn.decomposition import PCA

from atlas import pipeline
from atlas.factors import completeness
from atlas.recipe import recorded
from atlas.relevance.plan import plan
from atlas.relevance.tape import instrument
from atlas.site import strategies
from atlas.site.catalogue import Catalogue
from atlas.store import bases, open_store
from atlas.store.joined import joined


@pytest.fixture(scope="module")
def part(factored):
    return bases.factors(open_store(factored))


def test_samples_are_the_shares_of_their_pictures(factored, part):
    (basis,) = bases.read(part)
    recipe = recorded(open_store(factored).manifest())
    inputs = pipeline.Inputs(recipe)
    rows = part.table("samples").to_pylist()
    assert len(rows) == part.manifest()["images"]["seen"]  # fewer than are wanted of each class
    network = inputs.network
    model = instrument(
        network.module, plan(network.trace, recipe.relevance.composite), [basis.layer]
    )
    some = rows[::4]
    pictures = [record.picture() for record in inputs.source.fetch([r["index"] for r in some])]
    images = network.preprocessing.tensor([network.preprocessing.view(one) for one in pictures])
    sums, _, _ = completeness.relevances(model, images, basis, [row["target"] for row in some])
    expected = sums / sums.abs().sum(dim=1, keepdim=True)
    np.testing.assert_allclose([row["shares"] for row in some], expected, atol=1e-5)


def test_strategies_are_counted_as_by_hand(factored, part):
    catalogue = Catalogue(joined(open_store(factored)))
    rows = part.table("samples").to_pylist()
    seen = 0
    for label in catalogue.seen:
        mine = [row for row in rows if row["target"] == label.label]
        found = strategies.Strategies(catalogue).of(label)
        if len(mine) < strategies.FEWEST_PICTURES:
            assert found is None
            continue
        best = [int(np.argmax(row["shares"])) for row in mine]
        counts = {n: c for n, c in Counter(best).items() if c >= strategies.LEADS}
        assert {one.factor.channel: one.pictures for one in found.strategies} == counts
        assert [one.letter for one in found.strategies] == list("ABCDEFGH"[: len(counts)])
        for one in found.strategies:
            of = [row for row, n in zip(mine, best, strict=True) if n == one.factor.channel]
            right = [row["predicted"] == row["label"] for row in of if row["label"] is not None]
            assert one.prevalence == pytest.approx(len(of) / len(mine))
            assert one.reliability == (pytest.approx(np.mean(right)) if right else None)
            seen += 1
        assert [point.factor.channel for point in found.points] == best
        page = (factored / "site" / label.link).read_text("utf-8")
        assert page.count("most relevant in <b>") == len(counts)
        for point in found.points:
            assert 0 <= point.x <= strategies.WIDTH
            assert 0 <= point.y <= strategies.HEIGHT
    assert seen >= 2


def test_the_drawing_is_the_first_two_principal_components():
    random = np.random.default_rng(0)
    shares = random.random((20, 2)) @ random.random((2, 6))  # all its variance lies in two
    places, shown = strategies._flat(shares)
    assert shown == pytest.approx(1)
    expected = PCA(2).fit_transform(shares)
    one, other = (
        np.linalg.norm(a[:, None] - a[None], axis=2) for a in (np.array(places), expected)
    )
    scale = one.max() / other.max()
    np.testing.assert_allclose(one, scale * other, atol=0.3)  # places are rounded
    same, _ = strategies._flat(np.ones((5, 3)))
    assert len(set(same)) == 1
