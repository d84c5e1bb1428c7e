"""What a run looks at before it measures, as a user meets it."""

import json

import pyarrow.parquet as pq
import pytest

from atlas import pipeline
from atlas.errors import UserError
from atlas.recipe import load
from atlas.store import open_store
from atlas.store.verify import check

HEAD = """
import torch
from torch import nn
from torch.nn import functional as F


class Network(nn.Module):
    classes = ["disc", "square", "stripe"]
    preprocessing = dict(resize=48, crop=48, mean=[0.5] * 3, std=[0.25] * 3)

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.one = nn.Conv2d(3, 6, 3, padding=1)
        self.two = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.gate = nn.Conv2d(8, 8, 1)
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)
        self.last = nn.Linear(8, 3)

    def features(self, x):
        return self.two(F.relu(self.one(x)))

    def forward(self, x):
        x = F.relu(self.features(x))
        {body}
        return {end}


def make():
    return Network().eval()
"""
RECIPE = """
name = "checked"
[model]
name = "{root}/network.py:make"
device = "cpu"
[data]
source = "folder:{pictures}"
[prepass]
k = 3
batch_size = 8
"""
PLAIN = "self.last(x.mean((2, 3)))"


@pytest.fixture
def attempt(tmp_path, pictures):
    """Index (or build) with a network whose forward has this body and end."""

    def call(body="", end=PLAIN, *settings, command="index"):
        code = HEAD.format(body=body or "pass", end=end)
        (tmp_path / "network.py").write_text(code)
        recipe = tmp_path / "recipe.toml"
        recipe.write_text(RECIPE.format(root=tmp_path.as_posix(), pictures=pictures.as_posix()))
        return getattr(pipeline, command)(load(str(recipe), settings), tmp_path / "atlas")

    return call


def manifest(tmp_path):
    return json.loads((tmp_path / "atlas" / "manifest.json").read_text())


@pytest.mark.parametrize(
    ("body", "end", "says"),
    [
        ("x = F.dropout(x, 0.5)", PLAIN, "dropout is left on"),
        ("x = self.norm(x)", PLAIN, "the pictures beside it"),
        ("x = x * torch.rand(())", PLAIN, "numbers that change with the picture, or by chance"),
        ("x = torch.from_numpy(x.numpy())", PLAIN, "takes values out of the tensors of torch"),
        ("x = torch.fft.fft2(x).real", PLAIN, "the operation 'real' has no rule"),
        ("q = x.flatten(2); x = (q @ q.transpose(1, 2)) @ q; x = x[..., None]", PLAIN, "attention"),
        ("x = x if x.max() > 1.3 else x * 2", PLAIN, "decides by the values of a picture"),
        ("x = x * (2.0 if x.max() > 1.3 else 3.0)", PLAIN, "decides by the values of a picture"),
        ("x = x + torch.cat([x[:1], x[:-1]])", PLAIN, "the pictures beside it"),
        ("x[:, 0] = 0", PLAIN, "a part of a tensor is overwritten"),
    ],
)
def test_what_cannot_be_believed_is_refused_in_one_line(attempt, body, end, says):
    with pytest.raises(UserError) as refused:
        attempt(body, end)
    assert says in str(refused.value)
    assert "network.py:make" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_going_on_marks_every_page(attempt, tmp_path):
    attempt("x = self.norm(x)", PLAIN, "relevance.unchecked=true", command="build")
    assert "alone" in {one["name"] for one in manifest(tmp_path)["checks"] if not one["passed"]}
    pages = list((tmp_path / "atlas" / "site" / "channels").rglob("*.html"))
    assert pages
    assert all("the pictures beside it" in page.read_text() for page in pages)


def test_a_changed_forward_with_the_same_weights_is_measured_anew(attempt, tmp_path):
    attempt()
    before = manifest(tmp_path)
    attempt("x = x * torch.sigmoid(self.gate(x))")
    after = manifest(tmp_path)
    assert after["model"]["weights_sha256"] == before["model"]["weights_sha256"]
    assert after["id"] != before["id"]
    attempt("x = x * torch.sigmoid(self.gate(x))")
    assert manifest(tmp_path)["id"] == after["id"]


def test_gates_are_left_out_with_a_line(attempt, tmp_path, capsys):
    attempt("x = x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))")
    assert "1 convolution is left out" in capsys.readouterr().err
    assert manifest(tmp_path)["layers"] == ["one", "two"]


def test_shared_convolutions_are_left_out_with_a_line(attempt, tmp_path, capsys):
    attempt("x = self.gate(self.gate(x).relu()).relu()", command="build")
    line = (
        "1 convolution is left out, since it is used more than once for a picture, so it has no "
        "one map: gate"
    )
    assert line in capsys.readouterr().err
    assert manifest(tmp_path)["layers"] == ["one", "two"]
    assert line in {one["says"] for one in manifest(tmp_path)["checks"]}
    assert line in (tmp_path / "atlas" / "site" / "about.html").read_text()


def test_a_layer_that_never_answers_is_marked_as_not_known(attempt, tmp_path, capsys):
    """Where its units stand could not be measured; that does not read as passed."""
    attempt("self.gate.weight.data.zero_(); x = x + self.gate(x)", command="build")
    assert (
        "not known: units of gate answer neither to the first pictures" in capsys.readouterr().err
    )
    (found,) = (one for one in manifest(tmp_path)["checks"] if one["name"] == "placed")
    assert found["passed"] is None
    assert "<b>Not known:</b>" in (tmp_path / "atlas" / "site" / "about.html").read_text()
    assert [one.text for one in check(open_store(tmp_path / "atlas")) if not one.passed] == []


def test_flipped_maps_are_right_and_turned_ones_have_whole_pictures(attempt, tmp_path, capsys):
    attempt("x = self.gate(x.flip(3)).relu()", PLAIN, command="build")
    stride = manifest(tmp_path)["receptive_fields"]["gate"]["stride"]
    assert stride[0] > 0 > stride[1]
    assert [one.text for one in check(open_store(tmp_path / "atlas")) if not one.passed] == []
    attempt("x = self.gate(torch.rot90(x, 1, (2, 3))).relu()", PLAIN, command="build")
    line = "where in a picture units of gate look is not known, since positions are lost in rot90"
    assert line in capsys.readouterr().err
    assert line in (tmp_path / "atlas" / "site" / "about.html").read_text()
    rows = pq.read_table(tmp_path / "atlas" / "references.parquet").to_pylist()
    boxes = {(one["x0"], one["y0"], one["x1"], one["y1"]) for one in rows if one["layer"] == "gate"}
    assert boxes == {(0, 0, 48, 48)}


def test_views_in_the_batch_are_no_pictures(attempt, tmp_path, capsys):
    """Layers of such a part are left out, or refused by name; the others stay, in both modes."""
    folded = "x = self.gate(torch.cat([x, x.flip(3)])).relu(); x = x[: len(x) // 2]"
    for modes in (["activation"], ["activation", "relevance"]):
        attempt(folded, PLAIN, f"prepass.modes={modes}")
        assert "gives 2 for one picture" in capsys.readouterr().err
        assert manifest(tmp_path)["layers"] == ["one", "two"]
        with pytest.raises(UserError, match="layer 'gate' has no maps: it gives 2 for one picture"):
            attempt(folded, PLAIN, f"prepass.modes={modes}", "model.layers=['gate']")


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (f"{PLAIN}.log_softmax(1)", "before it"),
        (f"{PLAIN}.softmax(1)", "before it"),
        (f"{PLAIN}.sigmoid()", "before them"),
    ],
)
def test_relevance_starts_before_what_is_made_of_logits(attempt, tmp_path, end, kind):
    tables = []
    for one in (PLAIN, end):
        attempt("", one)
        tables.append(pq.read_table(tmp_path / "atlas" / "references.parquet"))
    said = {one["name"]: one["says"] for one in manifest(tmp_path)["checks"]}
    assert kind in said["start"]
    columns = ["layer", "channel", "mode", "rank", "score", "image", "y", "x"]
    assert tables[0].select(columns) == tables[1].select(columns)


def test_labels_that_are_shifted_by_one_are_refused(tmp_path):
    from atlas.demo import world

    count = len(world.CLASSES)
    lines = [f"{name},{(number + 1) % count}" for number, name in enumerate(world.CLASSES)]
    (tmp_path / "labels.csv").write_text("\n".join(["label,output", *lines]))
    (tmp_path / "recipe.toml").write_text(
        'name = "shifted"\n[model]\nname = "demo/vgg"\nlayers = ["features.40"]\ndevice = "cpu"\n'
        f'[data]\nsource = "demo:world"\nlimit = 60\nlabels = "{tmp_path}/labels.csv"\n'
    )
    with pytest.raises(UserError, match="shifted by one"):
        pipeline.index(load(str(tmp_path / "recipe.toml"), ()), tmp_path / "atlas")
