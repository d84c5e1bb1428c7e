"""Factors of a whole atlas: made by the command, and served by what serves channels."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

import atlas
from atlas import pipeline
from atlas.errors import UserError
from atlas.recipe import recorded
from atlas.relevance.engine import measure
from atlas.store import Store, bases, open_store
from atlas.store.joined import joined
from atlas.store.verify import check

LAYER, BASIS = "3", "3/nmf3"


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_atlas_itself_stays_as_it_was(indexed, factored):
    before, after = open_store(indexed), open_store(factored)
    assert after.manifest()["id"] == before.manifest()["id"]
    assert after.manifest()["files"] == before.manifest()["files"] == after.checksums()
    part = bases.factors(after)
    assert part.manifest()["id"] != after.manifest()["id"]
    assert all(result.passed for result in check(after)), [*check(after)]


def test_another_run_makes_the_same_bytes_a_second_one_nothing(
    indexed, factored, run, settings, tmp_path
):
    shutil.copytree(indexed, tmp_path / "tiny")
    smaller = ("--set", "prepass.batch_size=5")
    first = run("factors", tmp_path / "tiny", *settings, *smaller, "--trust-code")
    assert first.returncode == 0, first.stderr
    assert re.search(r"3/nmf3: 3 factors hold \d+% of the output of 3", first.stdout)
    for name in ("channels", "references", "bands", "images", "classes"):
        made, other = (
            root / "factors" / f"{name}.parquet" for root in (tmp_path / "tiny", factored)
        )
        assert made.read_bytes() == other.read_bytes()
    directions = files_of(tmp_path / "tiny" / "factors" / "directions")
    assert directions == files_of(factored / "factors" / "directions")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "tiny" / "factors").glob("*.p*")}
    second = run("factors", tmp_path / "tiny", *settings, *smaller, "--trust-code")
    assert second.stdout == first.stdout
    assert "pre-pass" not in second.stderr
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_a_measured_factor_is_what_scipy_makes_of_the_layers_output(factored):
    store = open_store(factored)
    part = bases.factors(store)
    (basis,) = bases.read(part)
    inputs = pipeline.Inputs(recorded(store.manifest()))
    outputs = []
    views = [
        inputs.network.preprocessing.view(record.picture()) for record in inputs.source.records()
    ]
    images = inputs.network.preprocessing.tensor(views)

    def visit(_, layer, mode, maps):
        if (layer, mode) == (LAYER, "activation"):
            outputs.append(maps.clamp(min=0))

    measure(inputs.activations, images, torch.zeros(len(images), dtype=torch.int64), visit)
    rows = torch.cat(outputs).permute(0, 2, 3, 1).double().numpy()
    directions = basis.directions.T.astype(float)
    found = np.array([
        [nnls(directions, place)[0] for place in picture.reshape(-1, picture.shape[-1])[::1]]
        for picture in rows[:12]
    ])  # fmt: skip
    highest = found.max(axis=1)
    table = part.table("channels")
    assert (highest.max(axis=0) <= np.array(table["act_max"]) + 1e-4).all()
    index = part.table("images")["index"].to_pylist()
    scores = {
        (row["channel"], index[row["image"]]): row["score"]
        for row in part.table("references").to_pylist()
        if row["mode"] == "activation"
    }
    compared = 0
    for (factor, picture), score in scores.items():
        if picture < len(highest):
            assert score == pytest.approx(highest[picture, factor], rel=1e-3, abs=1e-4)
            compared += 1
    assert compared >= 3


def test_python_sees_factors_as_it_sees_channels(factored, indexed):
    whole, before = (atlas.open(root, trust_code=True) for root in (factored, indexed))
    assert len(whole) == len(before) + 3
    assert whole.layers == [*before.layers, BASIS]
    factor = whole[BASIS, 1]
    assert factor is not None
    assert factor.address == f"{BASIS}:1"
    assert whole[f"{BASIS}:1"] == factor
    references = factor.references("activation")
    assert len(references) == 5
    assert references[0].score == pytest.approx(factor.statistics["act_max"])
    assert references[0].patch().size[0] > 0
    mine = bases.factors(open_store(factored)).table("references").to_pylist()
    key = {
        row["image"]: row["key"] for row in Store(factored / "factors").table("images").to_pylist()
    }
    expected = [
        key[row["image"]]
        for row in mine
        if (row["channel"], row["mode"]) == (1, "activation")
    ]  # fmt: skip
    assert [reference.key for reference in references] == expected
    assert all(other.layer == BASIS for other, _ in factor.neighbours())
    # What is said of channels is as it was.
    for old, new in zip(before, whole, strict=False):
        assert old.as_dict() == new.as_dict()
        assert [one.as_dict() for one in old.references()] == [
            one.as_dict() for one in new.references()
        ]
    assert {hit.channel.address for hit in whole.search(f"{BASIS}:2")} == {f"{BASIS}:2"}
    shares = whole.classes["shares"][0].as_py()
    assert len(shares) == len(whole)
    found = whole.search_picture(references[0].picture(), n=len(whole))
    assert BASIS in {hit.channel.layer for hit in found}


def test_pages_of_factors_say_what_they_hold(factored):
    site = factored / "site"
    page = (site / "channels" / "3~2fnmf3" / "0.html").read_text("utf-8")
    assert "Factor 1 of 3 of layer 3" in page
    facts = bases.read(bases.factors(open_store(factored)))[0].facts
    assert "These 3 factors hold" in page
    assert "is in no factor" in page
    assert f"of {facts['complete']['pictures']} pictures" in page
    assert "The channels that it is made of" in page
    linked = re.search(r"\.\./3/(\d+)\.html", page.split("made of</h2>")[1])
    channel = (site / "channels" / "3" / f"{linked[1]}.html").read_text("utf-8")
    assert "The factors that it is part of" in channel
    assert "3~2fnmf3/0.html" in channel
    assert "layers/3~2fnmf3.html" in (site / "layers" / "3.html").read_text("utf-8").replace(
        "../", ""
    )
    assert "factors)" in (site / "classes" / "0.html").read_text("utf-8")
    said = json.loads((site / "api/v1/channels/3~2fnmf3/0.json").read_text("utf-8"))
    assert said["address"] == f"{BASIS}:0"


def test_factors_of_an_atlas_that_was_measured_anew_are_not_its_own(factored, tmp_path):
    root = tmp_path / "tiny"
    shutil.copytree(factored, root)
    manifest = open_store(root).manifest()
    open_store(root).write_manifest({**manifest, "id": manifest["id"][:-8] + "00000000"})
    assert bases.factors(open_store(root)) is None
    assert joined(open_store(root)) == open_store(root)


def test_damage_is_found(factored, tmp_path):
    root = tmp_path / "tiny"
    shutil.copytree(factored, root)
    (file,) = (root / "factors" / "directions").iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    wrong = [result.text for result in check(open_store(root)) if not result.passed]
    assert wrong == ["factors: directions are what the manifest says: 3/nmf3 has changed"]
    with pytest.raises(UserError, match="not the one that manifest"):
        bases.read(bases.factors(open_store(root)))
    file.write_bytes(b"nothing")
    with pytest.raises(UserError, match="is damaged"):
        bases.read(bases.factors(open_store(root)))


def test_a_foreign_atlas_with_other_facts_is_refused(factored, tmp_path):
    root = tmp_path / "tiny"
    shutil.copytree(factored, root)
    part = bases.factors(open_store(root))
    (basis,) = bases.read(part)
    for facts in (
        {"explained": "<script>"},
        {"complete": {"pictures": 3}},
        {"deletion": {"tested": -1, "taken": 1, "without_relevant": None, "without_random": None}},
    ):
        bases.write(part, replace(basis, facts={**basis.facts, **facts}))
        part.write_manifest({**part.manifest(), "directions": bases.checksums(part)})
        with pytest.raises(UserError, match="is damaged"):
            bases.read(part)
    for wrong in ("energy", "directions"):
        bases.write(part, replace(basis, **{wrong: -np.full((3, 4), np.nan, np.float32)}))
        part.write_manifest({**part.manifest(), "directions": bases.checksums(part)})
        with pytest.raises(UserError, match="is damaged"):
            bases.read(part)


def test_directions_that_lie_elsewhere_are_not_followed(factored, tmp_path):
    root = tmp_path / "tiny"
    shutil.copytree(factored, root)
    (file,) = (root / "factors" / "directions").iterdir()
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="names a file outside"):
        open_store(root)


def test_a_layer_with_signed_output_is_refused_in_one_line(indexed, run, tmp_path):
    shutil.copytree(indexed, tmp_path / "tiny")
    result = run(
        "factors", tmp_path / "tiny", "--set", 'factors.layers=["nowhere"]', "--trust-code"
    )
    assert result.returncode == 2
    assert "the atlas has no layer 'nowhere' to factorise" in result.stderr
    assert "Traceback" not in result.stderr


def test_it_is_measured_what_factors_react_to(factored, tmp_path):
    folder = tmp_path / "tiny"
    shutil.copytree(factored, folder)
    store = open_store(folder)
    recipe = recorded(store.manifest(), ["influences.references=2"])
    measured = pipeline.influence(store, recipe)
    assert measured == len(joined(store).table("channels"))
    contents = atlas.open(folder)
    factors = [contents[BASIS, number] for number in range(3)]
    assert any(factor.influence for factor in factors)
    part = bases.factors(store)
    rows = part.table("channels").to_pylist()
    assert [factor.influence or None for factor in factors] == [row["influence"] for row in rows]
    assert all(-20 < drop <= 1 for one in factors for drop in one.influence.values())
    assert not factors[0].made_of()
    assert part.manifest()["files"] == part.checksums()
    few = recorded(store.manifest(), ["pictures_made.steps=4"])
    picture = pipeline.make_one(store, few, f"{BASIS}:1")
    assert atlas.open(folder)[BASIS, 1].made == [picture]
    assert (folder / "factors" / picture.name).is_file()
    basis = bases.read(part)[0]
    assert picture.rank <= len(basis.directions)
    assert picture.activation >= 0  # a coefficient
