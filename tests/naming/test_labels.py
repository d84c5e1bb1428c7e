"""Names from labels on a small atlas of the demo, whose planted layer is known."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import false_discovery_control

from atlas import pipeline
from atlas.demo.network import PLANTED
from atlas.errors import UserError
from atlas.pipeline.trust import border
from atlas.recipe import load, recorded
from atlas.store import names, open_store


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    """The layer of planted values, on pictures of which each value has a few dozen."""
    out = tmp_path_factory.mktemp("labels") / "atlas"
    few = ["data.limit=240", "prepass.k=16", "prepass.modes=['activation']"]
    pipeline.index(load("demo", ["model.layers=['planted']", *few]), out)
    return out


@pytest.fixture
def copy(atlas, tmp_path):
    return shutil.copytree(atlas, tmp_path / "atlas")


def name(root, *settings):
    """Name by labels; return what counts of each planted value."""
    store = open_store(root)
    recipe = recorded(store.manifest(), ["naming.method=labels", *settings])
    pipeline.name(store, recipe)
    return {PLANTED[record.channel]: record for record in names.read(store)}


def test_values_are_named_and_grounds_are_not(copy, tmp_path):
    file = tmp_path / "families.json"
    warm = {colour: [] for colour in ("red", "orange")}
    for label in open_store(copy).table("classes")["name"].to_pylist():
        if label.split()[0] in warm:
            warm[label.split()[0]].append(label)
    file.write_text(json.dumps({"fiery": {"crimson": warm["red"], "amber": warm["orange"]}}))
    records = name(copy, f"data.hierarchy={file}")
    assert records["shape:star"].name == "star"
    own = [at for at in PLANTED if at.partition(":")[2] in (records[at].name or "")]
    assert len(own) >= 15  # of 19 that labels know
    assert records["colour:red"].name == "crimson"  # the superclass stands before the word
    assert not any(records[at].name for at in PLANTED if at.startswith("background:"))
    details = [record.details for record in records.values()]
    # The false discovery rate is that over all channels, of p values whose AUC would do.
    p = [one["p"] if one["auc"] >= 0.85 else 1 for one in details]
    assert np.allclose([one["q"] for one in details], false_discovery_control(p))
    for record in records.values():
        one = record.details
        assert (record.status == "named") == (one["q"] <= 0.05 and one["auc"] >= 0.85)
        assert 5 <= one["positive"] < one["pictures"]
        assert abs(2 * one["tested"] - open_store(copy).table("images").num_rows) <= 1
    clouds = records["background:clouds"]
    assert clouds.status == "no clear concept"
    assert clouds.raw.startswith(f"no label fits it; best: {clouds.details['formula']}, AUC 0.")
    assert records["shape:star"].raw.startswith("star, AUC ")
    kept = {at: record for at, record in records.items() if record.name}
    table = open_store(copy).table("channels").to_pydict()
    assert sum(one is not None for one in table["name"]) == len(kept)


def test_the_same_is_not_done_twice_and_another_hierarchy_is_not_the_same(copy, tmp_path):
    name(copy)
    count = len(names.read(open_store(copy)))
    name(copy)
    assert len(names.read(open_store(copy))) == count == len(PLANTED)
    file = tmp_path / "families.csv"
    classes = open_store(copy).table("classes")["name"].to_pylist()
    file.write_text("".join(f"{one},reddish\n" for one in classes if one.startswith("red ")))
    assert name(copy, f"data.hierarchy={file}")["colour:red"].name == "reddish"
    assert len(names.read(open_store(copy))) == 2 * count


def test_shuffled_labels_name_nothing(copy):
    table = pq.read_table(copy / "images.parquet")
    labels = table["label"].to_pylist()
    place = table.column_names.index("label")
    dealt = np.random.default_rng(0).permutation(labels).tolist()
    field = table.schema.field("label")
    shuffled = table.set_column(place, field, pa.array(dealt, field.type))
    pq.write_table(shuffled, copy / "images.parquet")
    assert not any(record.name for record in name(copy).values())


def test_a_hierarchy_that_came_with_an_atlas_is_not_opened(copy, tmp_path):
    (tmp_path / "secret.csv").write_text("a,b\n")
    store = open_store(copy)
    recipe = recorded(store.manifest(), [f"data.hierarchy={tmp_path / 'secret.csv'}"])
    recipe = recorded({"recipe": recipe.as_dict()}, ["naming.method=labels"])
    with pytest.raises(UserError, match=r"outside the atlas, data\.hierarchy"):
        pipeline.name(store, recipe, border(store, ["naming.method=labels"]))
