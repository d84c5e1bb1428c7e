"""An atlas with factors of a sparse autoencoder: served by what serves all others."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

import atlas
from atlas import pipeline
from atlas.diff import compare
from atlas.errors import UserError
from atlas.export import export
from atlas.factors import sae
from atlas.pipeline.trust import border
from atlas.recipe import recorded
from atlas.store import bases, open_store
from atlas.store.verify import check

LAYER, BASIS = "3", "3/sae5"
SETTINGS = (
    f'factors.layers=["{LAYER}"]', "factors.method=sae", "factors.active=2", "factors.ranks=[5]",
    "factors.positions=20",
)  # fmt: skip


def make(root, *settings):
    store = open_store(root)
    return pipeline.factorise(store, recorded(store.manifest(), (*SETTINGS, *settings)))


@pytest.fixture(scope="module")
def sparse(indexed, tmp_path_factory):
    """The atlas of the project with five factors of an autoencoder."""
    root = tmp_path_factory.mktemp("sparse") / "tiny"
    shutil.copytree(indexed, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sae, "STEPS", 100)
        make(root)
    return root


def test_it_is_found_cited_exported_compared_and_verified(sparse, tmp_path):
    a = atlas.open(sparse, trust_code=True)
    factor = a[BASIS, 3]
    assert factor.address == f"{BASIS}:3"
    assert len(factor.references("activation")) > 0
    assert {hit.channel.address for hit in a.search(f"{BASIS}:3")} == {f"{BASIS}:3"}
    assert "Factor" in a.cite(f"{BASIS}:3")
    assert "channels/3~2fsae5/3.html" in a.cite(f"{BASIS}:3", format="csl-json")
    whole = [result for result in check(open_store(sparse)) if not result.passed]
    assert [one.text.partition(":")[0] for one in whole] == [
        "every link of the site leads somewhere"  # none was made
    ]
    export(a, tmp_path / "hf", "hf")
    export(a, tmp_path / "csv", "csv")
    assert f"{BASIS}:3" in (tmp_path / "csv" / "channels.csv").read_text("utf-8")
    described = json.loads((tmp_path / "hf" / "croissant.json").read_text("utf-8"))
    assert {"channels", "samples"} <= {one["name"] for one in described["recordSet"]}
    pairs = [pair for pair in compare(a, a).channels if pair.first.startswith(BASIS)]
    assert len(pairs) == 5
    assert all(pair.change == pytest.approx(0, abs=1e-6) for pair in pairs)


def test_at_most_so_many_are_active_and_coefficients_are_the_encoders(sparse):
    part = bases.factors(open_store(sparse))
    (basis,) = bases.read(part)
    assert basis.encoder.active == 2
    assert basis.stability.shape == (5,)
    assert basis.facts["complete"]["pictures"] > 0
    density = np.array(part.table("channels")["act_density"])
    assert density.sum() <= 2 + 1e-6  # of each position at most two
    with pytest.raises(UserError, match="is damaged"):
        damaged(part, basis, active=9)
    with pytest.raises(UserError, match="is damaged"):
        damaged(part, basis, bias=basis.encoder.bias[:3])


def damaged(part, basis, **changed):
    """Write a basis with another encoder in another place, and read it there."""
    from dataclasses import replace

    other = bases.Store(part.root.parent / "other")
    bases.write(other, replace(basis, encoder=replace(basis.encoder, **changed)))
    bases._read(bases.path(other, basis.name), basis.name)


def test_one_that_was_trained_elsewhere_is_taken_and_guarded(indexed, sparse, tmp_path):
    root, file = tmp_path / "tiny", tmp_path / "sae.safetensors"
    shutil.copytree(indexed, root)
    (basis,) = bases.read(bases.factors(open_store(sparse)))
    save_file(
        {"encoder.weight": basis.encoder.weights / 3, "encoder.bias": basis.encoder.bias / 3,
         "W_dec": 3 * basis.directions},
        file,
    )  # fmt: skip
    (own,) = bases.read(make(root, f"factors.trained={file}"))
    assert own.stability is None
    assert own.facts["trained"] == "sae.safetensors"
    order = np.abs(own.directions @ basis.directions.T).argmax(axis=1)
    np.testing.assert_allclose(own.directions, basis.directions[order], atol=1e-6)
    np.testing.assert_allclose(own.encoder.lengths, 3, rtol=1e-5)
    store = open_store(root)
    recipe = recorded(store.manifest(), (*SETTINGS, f"factors.trained={file}"))
    with pytest.raises(UserError, match=r"outside the atlas, factors\.trained"):
        pipeline.factorise(store, recipe, border(store, ("model.name=", "data.source=")))
    with pytest.raises(UserError, match="is an autoencoder of one layer"):
        make(root, f"factors.trained={file}", "factors.method=nmf")
    with pytest.raises(UserError, match="there are only 5 factors"):
        make(root, "factors.active=6")
