"""The table of bands says what the network does, and an atlas without it is one all the same."""

import csv
import json
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import atlas
from atlas import pipeline
from atlas.pipeline.inputs import Inputs, fingerprint
from atlas.recipe import load
from atlas.relevance.engine import PREDICTED, measure
from atlas.store import BANDS, open_store
from atlas.store.verify import check


@pytest.fixture(scope="module")
def outputs(project) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """For each layer and picture the largest output of every channel, and where it is."""
    inputs = Inputs(load(str(project / "tiny.toml"), ()))
    found: dict[str, dict] = {}
    for record in inputs.source.records():
        view = inputs.network.preprocessing.tensor(
            [inputs.network.preprocessing.view(record.picture())]
        )

        def visit(_part, layer, _mode, maps, key=record.key):
            flat = maps[0].flatten(1)
            peaks = np.stack(np.unravel_index(flat.argmax(1).numpy(), maps.shape[2:]), axis=1)
            found.setdefault(layer, {})[key] = flat.amax(1).numpy(), peaks

        measure(inputs.activations, view, torch.tensor([PREDICTED]), visit)
    return found


def test_rows_are_what_the_network_does(indexed, outputs):
    store = open_store(indexed)
    images = store.table("images").to_pylist()
    rows = store.table("bands").to_pylist()
    sums: Counter = Counter()
    for row in rows:
        key = images[row["image"]]["key"]
        largest, peaks = outputs[row["layer"]][key]
        assert row["activation"] == pytest.approx(largest[row["channel"]], rel=1e-5, abs=1e-6)
        if row["activation"] > 0:
            assert (row["y"], row["x"]) == tuple(peaks[row["channel"]])
        assert (row["band"] == "silent") <= (row["activation"] <= 0)
        sums[row["layer"], row["channel"], row["band"] == "random"] += row["weight"]
    channels = store.table("channels").select(["layer", "channel"]).to_pylist()
    addresses = {(c["layer"], c["channel"], sampled) for c in channels for sampled in (False, True)}
    assert sums == {address: pytest.approx(30) for address in addresses}
    most = Counter((row["layer"], row["channel"], row["band"]) for row in rows)
    assert max(most.values()) <= 6
    for layer, number, _ in addresses:
        mine = [row for row in rows if (row["layer"], row["channel"]) == (layer, number)]
        bands = [BANDS.index(row["band"]) for row in mine]
        assert bands == sorted(bands)
        ends = {}
        for row in mine:
            low, high = ends.get(row["band"], (np.inf, -np.inf))
            ends[row["band"]] = min(low, row["activation"]), max(high, row["activation"])
        parts = [ends[band] for band in BANDS[:-1] if band in ends]
        assert all(upper[0] > lower[1] for upper, lower in pairwise(parts))
    random = {row["image"] for row in rows if row["band"] == "random"}
    assert len(random) == 6  # the same for every channel


def test_referenced_pictures_come_first(indexed):
    store = open_store(indexed)
    referenced = set(store.table("references")["image"].to_pylist())
    banded = set(store.table("bands")["image"].to_pylist())
    assert referenced == set(range(len(referenced)))
    assert referenced | banded == set(range(store.table("images").num_rows))
    indices = store.table("images")["index"].to_pylist()
    for part in (indices[: len(referenced)], indices[len(referenced) :]):
        assert part == sorted(part)


def test_channels_have_their_bands(indexed, run):
    a = atlas.open(indexed)
    rows = a.bands.to_pylist()
    for channel in (a[next(iter(a.rows))], a[list(a.rows)[-1]]):
        mine = [r for r in rows if (r["layer"], r["channel"]) == (channel.layer, channel.number)]
        flat = [one for several in channel.bands().values() for one in several]
        assert [(one.band, one.activation, one.weight, one.image, *one.peak) for one in flat] == [
            tuple(r[name] for name in ("band", "activation", "weight", "image", "y", "x"))
            for r in mine
        ]
        assert list(channel.bands()) == [name for name in BANDS if name in channel.bands()]
    assert flat[0].picture().size == (48, 48)
    shown = json.loads(run("show", indexed, channel.address, "--json").stdout)
    assert shown["bands"] == [one.as_dict() for one in flat]


@pytest.fixture
def older(indexed, tmp_path) -> Path:
    """An atlas as it was made before there were bands."""
    store = open_store(shutil.copytree(indexed, tmp_path / "older"))
    store.table_path("bands").unlink()
    manifest = store.manifest()
    del manifest["bands"], manifest["files"]["bands.parquet"]
    store.write_manifest(manifest)
    return store.root


def problems(root: Path) -> list[str]:
    """What `verify` finds, but for the site that these atlases do not have."""
    return [
        one.text for one in check(open_store(root)) if not one.passed and "site" not in one.text
    ]


def test_older_atlases_open_verify_export_and_stay(older, project, run, tmp_path):
    assert problems(older) == []
    a = atlas.open(older)
    assert a.bands.num_rows == 0
    assert next(iter(a)).bands() == {}
    result = run("export", older, tmp_path / "csv", "--format", "csv")
    assert result.returncode == 0, result.stderr
    with (tmp_path / "csv" / "bands.csv").open(encoding="utf-8-sig") as file:
        assert len(list(csv.reader(file))) == 1
    before = {path: path.stat().st_mtime_ns for path in older.rglob("*.parquet")}
    assert pipeline.index(load(str(project / "tiny.toml"), ()), older) is not None
    assert {path: path.stat().st_mtime_ns for path in older.rglob("*.parquet")} == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[1:], "add up"),
        (lambda rows: [{**rows[0], "weight": -1.0}, *rows[1:]], "below 0"),
        (lambda rows: [{**rows[0], "band": "best"}, *rows[1:]], "band = 'best'"),
        (lambda rows: [{**rows[0], "image": 10**6}, *rows[1:]], "image has values"),
        (lambda rows: rows[::-1], "order of the channels"),
        (lambda rows: rows[:1] * 7 + rows[1:], "more than 6"),
    ],
)
def test_what_is_wrong_with_bands_is_found(indexed, tmp_path, change, said):
    store = open_store(shutil.copytree(indexed, tmp_path / "changed"))
    rows = change(store.table("bands").to_pylist())
    store.write_table("bands", {name: [row[name] for row in rows] for name in rows[0]})
    store.write_manifest({**store.manifest(), "files": store.checksums()})
    assert any(said in text for text in problems(store.root))


def test_none_are_kept_where_none_are_asked_for(project, tmp_path):
    recipe = load(str(project / "tiny.toml"), ["prepass.bands=0"])
    store = pipeline.index(recipe, tmp_path / "none")
    assert store.table("bands").num_rows == 0
    assert problems(store.root) == []
    referenced = set(store.table("references")["image"].to_pylist())
    assert store.table("images").num_rows == len(referenced)


def test_ids_are_those_of_before_unless_the_recipe_says_otherwise(project):
    def inputs(*overrides: str) -> Inputs:
        return Inputs(load(str(project / "tiny.toml"), overrides))

    usual = inputs()
    before = {**usual.measured(), "limit": usual.recipe.data.limit, **usual._meanings()}
    assert "bands" not in before
    assert usual.atlas_id().endswith(fingerprint(before)[:8])
    ids = [usual.atlas_id(), *(inputs(f"prepass.bands={n}").atlas_id() for n in (0, 2, 6))]
    assert ids[3] == ids[0] and len(set(ids)) == 3
