"""The Python façade gives what stands in the tables."""

import doctest
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import atlas
import atlas.api.atlas
import atlas.api.contents
from atlas.store import Store


@pytest.fixture(scope="module")
def a(named) -> atlas.Atlas:
    return atlas.open(named)


def test_the_examples_run(named, tmp_path, monkeypatch):
    (tmp_path / "build" / "out").mkdir(parents=True)
    (tmp_path / "build" / "out" / "demo").symlink_to(named)
    monkeypatch.chdir(tmp_path)
    ran = 0
    for module in (atlas.api.atlas, atlas.api.contents):
        result = doctest.testmod(module, extraglobs={"atlas": atlas})
        assert result.failed == 0
        ran += result.attempted
    assert ran >= 15


def test_opening_reading_and_searching_need_no_torch(named):
    code = (
        f"import sys, atlas; a = atlas.open({str(named)!r})\n"
        "assert 'pyarrow.parquet' in sys.modules\n"
        "a['planted:3'].references()[0].patch(), a.search('star'), a.cite('planted:3'), list(a)\n"
        "heavy = {'torch', 'faiss', 'transformers', 'datasets', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_nothing_is_read_before_it_is_needed(named, tmp_path):
    (tmp_path / "manifest.json").write_bytes((named / "manifest.json").read_bytes())
    a = atlas.open(tmp_path)
    assert a.id.startswith("vgg-world-")
    assert a.layers[-1] == "planted"
    with pytest.raises(atlas.UserError, match=r"channels\.parquet is missing"):
        len(a)


def test_channels_are_the_rows_of_the_table(a):
    rows = a.channels.to_pylist()
    names = a.classes["name"].to_pylist()
    assert len(a) == len(rows)
    for channel, row in zip(a, rows, strict=True):
        assert channel == a[channel.address] == a[row["layer"], row["channel"]]
        assert (channel.name, channel.description) == (row["name"], row["description"])
        assert [sense.name for sense in channel.senses] == [s["name"] for s in row["senses"]]
        assert channel.confidence == row["name_confidence"]
        assert channel.scores["score_ap"] == row["score_ap"]
        assert channel.statistics["rel_mean"] == row["rel_mean"]
        shares = zip(row["top_classes"], row["top_class_shares"], strict=True)
        own = [(names[label], share) for label, share in shares if share > 0]
        assert [*channel.top_classes] == own
        json.dumps(channel.as_dict(), allow_nan=False)


def test_references_are_the_rows_of_the_table(a):
    table = a.references.to_pandas()
    images = a.images.to_pandas()
    labels = a.classes["name"].to_pylist()
    for channel in list(a)[::17]:
        mine = table[(table["layer"] == channel.layer) & (table["channel"] == channel.number)]
        for mode in a.modes:
            rows = mine[mine["mode"] == mode]
            references = channel.references(mode)
            assert [r.row for r in references] == rows.index.to_list()
            assert [r.rank for r in references] == list(range(len(rows)))
            assert [r.score for r in references] == rows["score"].to_list()
            assert [r.key for r in references] == images["key"].iloc[rows["image"]].to_list()
            assert [r.predicted for r in references] == [labels[p] for p in rows["predicted"]]
            assert [r.box for r in references] == list(
                rows[["x0", "y0", "x1", "y1"]].itertuples(index=False, name=None)
            )
    assert (a.channel_rows == [a.rows[f"{r.layer}:{r.channel}"] for r in table.itertuples()]).all()


def test_patches_are_cut_from_the_stored_pictures(a):
    reference = a["features.30", 5].references("activation")[0]
    with Image.open(reference.path) as stored:
        pixels = np.asarray(stored.convert("RGB"))
    x0, y0, x1, y1 = reference.box
    assert (np.asarray(reference.patch()) == pixels[y0:y1, x0:x1]).all()


def test_neighbours(a):
    row = a.channels.to_pylist()[70]
    found = a.channel(70).neighbours()
    assert [channel.row for channel, _ in found] == row["neighbours"]
    assert [cosine for _, cosine in found] == row["neighbour_similarities"]


def test_unknown_addresses_have_their_nearest(a):
    for address in ("features.30:64", ("features.30", 64), "features.3:3", "star", "planted:x"):
        with pytest.raises(atlas.UserError, match="the nearest are"):
            a[address]
    with pytest.raises(atlas.UserError, match="planted:24, planted:23, planted:22"):
        a["planted", 77]


def test_a_lost_picture_is_a_problem_that_the_user_can_mend(named, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(named, copy)
    reference = atlas.open(copy)["planted:3"].references()[0]
    reference.path.unlink()
    with pytest.raises(atlas.UserError, match="run `atlas build` again"):
        reference.patch()


def test_pictures_are_explained(named, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(named, copy)
    a = atlas.open(copy)
    reference = a["planted:3"].references()[0]
    reference.picture().save(tmp_path / "one.png")
    evidence = a.explain(tmp_path / "one.png")
    assert evidence.target.name == reference.predicted
    assert evidence.picture.name == "one.png"
    with pytest.raises(atlas.UserError, match="two"):
        a.explain(tmp_path / "two.png")


def test_an_atlas_of_before_names(indexed):
    a = atlas.open(indexed)
    channel = a["3:2"]
    assert (channel.name, channel.status, channel.senses, channel.scores) == (None, None, (), {})
    assert not a.named
    assert repr(a) == f"<Atlas {a.id}: 21 channels of 3 layers>"


def test_a_network_without_references(indexed, tmp_path):
    """Channels that never answered have none; the others keep theirs."""
    copy = tmp_path / "copy"
    shutil.copytree(indexed, copy)
    store = Store(copy)
    table = store.table("references").to_pandas()
    kept = table[table["channel"] != 2]
    store.write_table("references", {name: kept[name].to_list() for name in kept})
    a, before = atlas.open(copy), atlas.open(indexed)
    assert a["3:2"].references("activation") == []
    for mode in a.modes:
        scores = [[r.score for r in b["6:6"].references(mode)] for b in (a, before)]
        assert scores[0] == scores[1]
