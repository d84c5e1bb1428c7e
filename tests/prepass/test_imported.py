"""What zennit-crp has found becomes an atlas, and an atlas becomes what zennit-crp reads."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from crp.attribution import CondAttribution
from crp.concepts import ChannelConcept
from crp.helper import load_maximization
from crp.visualization import FeatureVisualization
from PIL import Image
from torch import nn
from torchvision.datasets import ImageFolder
from zennit.composites import EpsilonPlusFlat

from atlas.formats import crp_folder, milan_folder
from atlas.store import open_store

LAYERS = ["0", "3", "6"]
RULES = ["activation.aggregate=sum", "activation.normalize=true"]  # zennit-crp's defaults


@pytest.fixture(scope="module")
def found(project, tmp_path_factory):
    """The folder that FeatureVisualization writes about the test network and its pictures."""
    names = {}
    exec((project / "network.py").read_text(), names)
    module = names["make"]().eval()

    def view(picture: Image.Image) -> torch.Tensor:
        from atlas.model.preprocessing import Preprocessor

        rules = Preprocessor(48, 48, (0.5,) * 3, (0.25,) * 3)
        return rules.tensor([rules.view(picture.convert("RGB"))])[0]

    dataset = ImageFolder(project / "pictures", view)
    path = tmp_path_factory.mktemp("crp")
    visualization = FeatureVisualization(
        CondAttribution(module),
        dataset,
        {layer: ChannelConcept() for layer in LAYERS},
        path=str(path),
        device="cpu",
    )
    assert all(isinstance(module.get_submodule(layer), nn.Conv2d) for layer in LAYERS)
    visualization.run(EpsilonPlusFlat(), 0, len(dataset), batch_size=10)
    return path


@pytest.fixture(scope="module")
def taken(project, found, run, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "taken"
    settings = [*RULES, f"prepass.results={found}"]
    result = run(
        "index", project / "tiny.toml", "--out", out, *[w for s in settings for w in ("--set", s)]
    )
    assert result.returncode == 0, result.stderr
    return out


def test_taken_references_are_those_of_our_own_pass(project, taken, run, tmp_path):
    settings = [word for rule in RULES for word in ("--set", rule)]
    result = run("index", project / "tiny.toml", "--out", tmp_path / "own", *settings)
    assert result.returncode == 0, result.stderr
    keys = ["layer", "channel", "mode", "rank"]
    own, theirs = (
        pq.read_table(root / "references.parquet").to_pandas().set_index(keys)
        for root in (tmp_path / "own", taken)
    )
    assert own.index.equals(theirs.index)
    np.testing.assert_allclose(own["score"], theirs["score"], rtol=1e-4, atol=1e-7)
    distinct = ~own["score"].round(6).duplicated(keep=False)
    assert distinct.mean() > 0.9
    keys = [
        pq.read_table(root / "images.parquet")["key"].to_pylist()
        for root in (tmp_path / "own", taken)
    ]
    for name in ("label", "predicted", "y", "x", "x0", "y1"):
        assert (own[name][distinct] == theirs[name][distinct]).all(), name
    own_keys, their_keys = (
        frame["image"].map(dict(enumerate(key)))
        for frame, key in zip((own, theirs), keys, strict=True)
    )
    assert (own_keys[distinct] == their_keys[distinct]).all()


def test_what_was_not_measured_is_null(taken):
    channels = pq.read_table(taken / "channels.parquet")
    assert channels["act_mean"].null_count == channels["rel_mean"].null_count == len(channels)


def test_zennit_crp_reads_what_we_write(built, tmp_path):
    store = open_store(built)
    folders = crp_folder.write(store, tmp_path)
    assert [folder.name for folder in folders] == ["ActMax_max_unnormed", "RelMax_sum_normed"]
    references = store.table("references").to_pandas()
    samples = store.table("images")["index"].to_numpy()
    width = json.loads((built / "manifest.json").read_text())["maps"]["3"][1]
    for folder, mode in zip(folders, ("activation", "relevance"), strict=True):
        of_mode = references[(references["layer"] == "3") & (references["mode"] == mode)]
        data, scores, units = load_maximization(folder, "3")
        for channel in range(8):
            rows = of_mode[of_mode["channel"] == channel]
            count = len(rows)
            assert data[:count, channel].tolist() == samples[rows["image"]].tolist()
            np.testing.assert_array_equal(scores[:count, channel], rows["score"])
            assert (units[:count, channel] == rows["y"] * width + rows["x"]).all()
            assert (scores[count:, channel] == 0).all()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "are not all there"),
        (lambda path: path.write_bytes(b"no array"), "cannot be read"),
        (lambda path: np.save(path, np.zeros((2, 3))), "not three arrays of one shape"),
        (lambda path: np.save(path, np.full((30, 8), 10**6)), "units that the layer's map"),
    ],
)
def test_a_damaged_folder_is_told_in_one_line(project, found, run, tmp_path, damage, said):
    import shutil

    copy = tmp_path / "crp"
    shutil.copytree(found, copy)
    damage(copy / "RelMax_sum_normed" / "3_rf.npy")
    settings = [*RULES, f"prepass.results={copy}"]
    result = run(
        "index", project / "tiny.toml", "--out", tmp_path / "out",
        *[word for setting in settings for word in ("--set", setting)],
    )  # fmt: skip
    assert result.returncode == 2
    assert said in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_exemplars_for_milan_are_the_references(built, tmp_path):
    store = open_store(built)
    milan_folder.write(store, tmp_path, "relevance")
    references = store.table("references").to_pandas()
    paths = store.table("images")["path"].to_pylist()
    masks = store.array("masks.npy")
    images = np.load(tmp_path / "3" / "images.npy")
    active = np.load(tmp_path / "3" / "masks.npy")
    assert images.shape == (8, 5, 3, 48, 48)
    assert active.shape == (8, 5, 1, 48, 48)
    rows = references[(references["layer"] == "3") & (references["mode"] == "relevance")]
    for row in rows.itertuples():
        with Image.open(built / paths[row.image]) as picture:
            expected = np.asarray(picture.convert("RGB"))
        np.testing.assert_array_equal(images[row.channel, row.rank].transpose(1, 2, 0), expected)
        mask = active[row.channel, row.rank, 0]
        outside = mask.copy()
        outside[row.y0 : row.y1, row.x0 : row.x1] = 0
        assert not outside.any()
        assert mask.any() == (masks[row.Index].max() >= milan_folder.ACTIVE)
