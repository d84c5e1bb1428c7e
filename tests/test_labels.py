"""Labels and outputs as a user meets them: reported, kept, or refused in one line."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from atlas import pipeline
from atlas.errors import UserError
from atlas.recipe import load

NAMELESS = """
import torch
from torch import nn


def make():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, OUTPUTS)
    )
    network.preprocessing = dict(crop=24, mean=[0.5] * 3, std=[0.25] * 3)
    return network
"""


@pytest.fixture
def index(project, tmp_path):
    """Index a folder of the project with a network that has so many outputs and no names."""

    def run(source, outputs, *overrides, out="out"):
        (tmp_path / "network.py").write_text(NAMELESS.replace("OUTPUTS", str(outputs)))
        name = f"model.name={tmp_path / 'network.py'}:make"
        recipe = load(str(project / "tiny.toml"), [name, f"data.source={source}", *overrides])
        return pipeline.index(recipe, tmp_path / out)

    return run


@pytest.fixture
def some(pictures, tmp_path):
    """Two class folders with three pictures each."""
    for kind in ("disc", "stripe"):
        (tmp_path / "some" / kind).mkdir(parents=True)
        for file in sorted((pictures / kind).iterdir())[:3]:
            shutil.copy(file, tmp_path / "some" / kind)
    return f"folder:{tmp_path / 'some'}"


def test_a_folder_of_some_classes_and_a_network_without_names(index, some, tmp_path, capfd):
    with pytest.raises(UserError, match=r"2 labels \('disc', 'stripe'\), the network 1000 outputs"):
        index(some, 1000)
    store = index(some, 1000, "relevance.target=predicted")
    assert "labels: none met an output of the network; the data has 2" in capfd.readouterr().err
    assert set(store.table("images")["label"].to_pylist()) == {None}
    assert store.manifest()["images"]["labelled"] == 0
    file = tmp_path / "labels.json"
    file.write_text(json.dumps({"disc": 7, "stripe": 3}))
    store = index(some, 1000, f"data.labels={file}")
    assert "labels: 2 of 2 met an output of the network, by labels.json" in capfd.readouterr().err
    rows = store.table("images").to_pylist()
    assert {(row["key"].partition("/")[0], row["label"]) for row in rows} == {
        ("disc", 7), ("stripe", 3),
    }  # fmt: skip
    names = store.table("classes").to_pylist()
    assert {row["label"]: row["name"] for row in names if row["count"]} == {7: "disc", 3: "stripe"}
    assert store.manifest()["labels"] == "2 of 2 met an output of the network, by labels.json"


def test_another_file_of_labels_is_another_atlas(index, some, tmp_path):
    file, ids = tmp_path / "labels.json", []
    for outputs in ({"disc": 0, "stripe": 2}, {"disc": 1, "stripe": 2}, {"disc": 0, "stripe": 2}):
        file.write_text(json.dumps(outputs))
        ids.append(index(some, 3, f"data.labels={file}").manifest()["id"])
    assert ids[0] == ids[2] != ids[1]


def test_other_pictures_of_the_same_names_and_sizes_are_another_atlas(index, tmp_path):
    for kind, colour in (("a", "red"), ("b", "blue")):
        (tmp_path / "data" / kind).mkdir(parents=True)
        Image.new("RGB", (30, 30), colour).save(tmp_path / "data" / kind / "x.bmp")
    first = index(f"folder:{tmp_path / 'data'}", 2)
    kept = set(first.table("images")["path"].to_pylist())
    Image.new("RGB", (30, 30), "green").save(tmp_path / "data" / "a" / "x.bmp")
    second = index(f"folder:{tmp_path / 'data'}", 2)
    assert not kept & set(second.table("images")["path"].to_pylist())
    (tmp_path / "again").mkdir()
    third = index(f"folder:{tmp_path / 'data'}", 2, out="again/out")
    assert third.manifest()["id"] == second.manifest()["id"]


@pytest.mark.parametrize(
    ("labels", "outputs", "says"),
    [
        ([1, 2, 3, 1], 3, "data.labels='from 1'"),
        ([0, 1, 2, 0], 1000, "numbers 0 to 2, those of the outputs 0 to 999"),
        ([1.0, 2.0, None, 3.0], 3, "data.labels='from 1'"),
        ([0.5, 0.25, 0.1, 1.0], 2, "which is no label"),
        ([True, False, True, True], 3, "numbers 0 to 1, those of the outputs 0 to 2"),
        (["a", "b", "c", "a"], 2, "3 labels ('a', 'b', 'c'), the network 2 outputs"),
        (["1", "2", "10", "1"], 10, "3 labels|numbers 1 to 10, those of the outputs 0 to 9"),
    ],
)
def test_labels_of_a_table_that_nobody_can_place(index, tmp_path, labels, outputs, says):
    folder = table(tmp_path, labels)
    with pytest.raises(UserError) as caught:
        index(f"hf:{folder}", outputs)
    assert any(part in str(caught.value) for part in says.split("|"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 1, 2, 1], [0, 1, 2, 1]),
        ([0.0, 2.0, float("nan"), 1.0], [0, 2, None, 1]),
        (["x", "z", "y", None], [0, 2, 1, None]),
        ([-1, 0, 2, 1], [None, 0, 2, 1]),
    ],
)
@pytest.mark.parametrize("streaming", ["true", "false"])
def test_labels_of_a_table_that_are_outputs(index, tmp_path, labels, expected, streaming):
    folder = table(tmp_path, labels)
    store = index(f"hf:{folder}", 3, f"data.streaming={streaming}", "prepass.k=4")
    rows = sorted(store.table("images").to_pylist(), key=lambda row: row["index"])
    assert [row["label"] for row in rows] == expected


def table(root, labels):
    """Put four pictures with labels into a Parquet file."""
    folder = root / "table"
    folder.mkdir()
    cells = []
    for number in range(4):
        Image.new("RGB", (24, 24), (60 * number, 200 - 50 * number, 90)).save(root / "x.png")
        cells.append({"bytes": (root / "x.png").read_bytes(), "path": None})
    pq.write_table(pa.table({"image": cells, "label": labels}), folder / "train.parquet")
    return folder
