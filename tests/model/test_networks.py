"""Networks by name, weights from every source, layers by glob."""

import io
import json
import urllib.error
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from atlas import recipe
from atlas.errors import UserError
from atlas.model import networks
from atlas.trace.layers import choose

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared/real"
REAL_WEIGHTS = REAL / "squeezenet1_1-imagenet.safetensors"
needs_real = pytest.mark.skipif(not REAL_WEIGHTS.exists(), reason="the real network is elsewhere")
NOTHING = recipe.Preprocessing()
SMALL = recipe.Preprocessing(resize=64, crop=64)  # for speed


def load(name="torchvision/squeezenet1_1", weights="random", preprocessing=SMALL, seed=0, **spec):
    return networks.load(
        recipe.Model(name=name, weights=str(weights), device="cpu", **spec), preprocessing, seed
    )


def message(*args, **kwargs):
    """Return what is reported to the user, which is always one line."""
    with pytest.raises(UserError) as caught:
        load(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def squeezenet():
    return load(preprocessing=NOTHING)


# Where networks come from -----------------------------------------------------------------


def test_random_weights_follow_the_seed(squeezenet):
    assert squeezenet.slug == "squeezenet1_1"
    assert squeezenet.weights == "random (seed 0)"
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    again, other = load(), load(seed=1)
    assert torch.equal(torch.rand(1), expected)  # nobody else's random numbers change
    assert again.weights_sha256 == squeezenet.weights_sha256 != other.weights_sha256


def test_a_network_is_ready(squeezenet):
    module = squeezenet.module
    assert not module.training
    assert not any(part.training for part in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert squeezenet.trace.output == squeezenet.head.logits
    assert (squeezenet.outputs, squeezenet.head.kind) == (1000, "logits")
    assert squeezenet.preprocessing.crop == 224
    assert squeezenet.classes[:2] == ("tench", "goldfish")


@needs_real
def test_real_weights_recognise_real_photographs():
    network = load(weights=REAL_WEIGHTS, preprocessing=NOTHING)
    assert network.weights == REAL_WEIGHTS.name
    photos = sorted((REAL / "photos").iterdir())[:24]
    views = [network.preprocessing.view(Image.open(photo)) for photo in photos]
    with torch.no_grad():
        best = network.module(network.preprocessing.tensor(views)).topk(5).indices
    hits = [
        photo.stem.partition("_")[2].replace("_", " ") in {network.classes[i] for i in top}
        for photo, top in zip(photos, best.tolist(), strict=True)
    ]
    assert sum(hits) >= 20


@pytest.fixture(scope="module")
def ten():
    """A state dict of squeezenet1_1 with ten outputs."""
    torch.manual_seed(3)
    return torchvision.models.squeezenet1_1(num_classes=10).state_dict()


def wrapped(content, path):
    save_file(content, path) if path.suffix == ".safetensors" else torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("plain.safetensors", lambda state: state),
        ("plain.pth", lambda state: state),
        ("nested.pt", lambda state: {"epoch": 3, "state_dict": state}),
        ("model.pth", lambda state: {"model": state, "args": {"lr": 0.1}}),
        ("parallel.pth", lambda state: {f"module.{k}": v for k, v in state.items()}),
        ("compiled.pth", lambda state: {"model": {f"_orig_mod.{k}": v for k, v in state.items()}}),
    ],
)
def test_state_dicts_in_the_wild_are_the_same_network(ten, tmp_path, name, wrap):
    network = load(weights=wrapped(wrap(ten), tmp_path / name), num_classes=10)
    assert network.weights == name
    for key, value in network.module.state_dict().items():
        assert torch.equal(value, ten[key])
    plain = load(weights=wrapped(ten, tmp_path / "again.safetensors"), num_classes=10)
    assert network.weights_sha256 == plain.weights_sha256
    assert network.classes is None  # a thousand names do not fit ten outputs
    assert network.preprocessing.resize == network.preprocessing.crop == 64


def test_every_part_of_the_weights_counts_in_the_hash(ten, tmp_path):
    hashes = set()
    for change in (0, 1e-7):
        state = {name: value.clone() for name, value in ten.items()}
        state["classifier.1.bias"][3] += change
        path = wrapped(state, tmp_path / "a.safetensors")
        hashes.add(load(weights=path, num_classes=10).weights_sha256)
    assert len(hashes) == 2


class Payload:
    """Would run code if it were unpickled."""

    def __reduce__(self):
        return (Path("unpickled").touch, ())


def test_nothing_is_unpickled(ten, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": ten, "extra": Payload()}, "evil.pth")
    assert "could run code" in message(weights="evil.pth", num_classes=10)
    assert not Path("unpickled").exists()


def test_damaged_and_foreign_files_are_reported(ten, tmp_path):
    whole = wrapped(ten, tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    buffer = io.BytesIO()
    torch.save(ten, buffer)
    (tmp_path / "half.pth").write_bytes(buffer.getvalue()[: len(whole) // 2])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "folder.pth").mkdir()
    for name in ("half.safetensors", "half.pth", "empty.pth", "text.pth", "folder.pth", "no.pth"):
        assert name in message(weights=tmp_path / name, num_classes=10)
    assert "ends in .safetensors" in message(weights="weights.onnx")
    torch.save([1, 2], tmp_path / "list.pth")
    assert "holds no state dict" in message(weights=tmp_path / "list.pth")


def test_state_dicts_that_do_not_fit_are_reported(ten, tmp_path):
    path = wrapped(ten, tmp_path / "ten.safetensors")
    reported = message(weights=path)
    assert "'classifier.1.weight' has shape (10, 512, 1, 1), the network's (1000," in reported
    assert "(and 1 more)" in reported
    assert "--set model.num_classes=10" in reported
    missing = {name: value for name, value in ten.items() if name != "features.0.bias"}
    reported = message(weights=wrapped(missing, tmp_path / "m.safetensors"), num_classes=10)
    assert "'features.0.bias' is missing; " in reported
    extra = ten | {"head.bias": torch.zeros(2)}
    reported = message(weights=wrapped(extra, tmp_path / "e.safetensors"), num_classes=10)
    assert "'head.bias' is not a part of the network; " in reported
    assert "features.0.weight" in message("torchvision/alexnet", path, num_classes=10)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def fail(url, dst, hash_prefix=None, progress=True):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    return tmp_path


@pytest.mark.parametrize("weights", ["default", "IMAGENET1K_V1"])
def test_without_a_network_the_user_learns_what_to_do(offline, capsys, weights):
    reported = message("torchvision/squeezenet1_1", weights)
    assert "Name or service not known" in reported
    assert "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth" in reported
    assert "--set model.weights=FILE" in reported
    assert capsys.readouterr().out == ""  # stdout belongs to --json


def test_a_wrong_hash_and_a_damaged_cache_are_reported(offline, monkeypatch):
    def garbled(url, dst, hash_prefix=None, progress=True):
        raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "00")')

    monkeypatch.setattr(torch.hub, "download_url_to_file", garbled)
    assert 'expected "b8a52dc0"' in message("torchvision/squeezenet1_1", "default")
    cached = offline / "hub/checkpoints/squeezenet1_1-b8a52dc0.pth"
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.write_bytes(b"half a file")
    reported = message("torchvision/squeezenet1_1", "default")
    assert str(cached) in reported
    assert "delete it" in reported


def test_downloaded_weights_are_named_and_used(offline, monkeypatch):
    torch.manual_seed(4)
    state = torchvision.models.densenet121().state_dict()
    old = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value
        for name, value in state.items()
    }  # as torchvision's own file spells them
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda url, dst, *args, **kwargs: torch.save(old, dst)
    )
    network = load("torchvision/densenet121", "default")
    assert network.weights == "IMAGENET1K_V1"
    weight = "features.denseblock1.denselayer2.norm1.weight"
    assert torch.equal(network.module.state_dict()[weight], state[weight])


@pytest.mark.parametrize(
    ("name", "reported"),
    [
        ("torchvision/vgg61", "did you mean vgg1"),
        ("torchvision/fasterrcnn_resnet50_fpn", "does not classify"),
        ("torchvision/fcn_resnet50", "did you mean"),
        ("torchvision/vit_b_16", "is a transformer"),
        ("torchvision/swin_t", "is a transformer"),
        ("torchvision/maxvit_t", "is a transformer"),
        ("torchvision/", "has no network"),
        ("vgg16", "write torchvision/NAME"),
    ],
)
def test_names_that_are_no_cnn_are_reported(name, reported):
    assert reported in message(name)


def test_weights_and_outputs_that_do_not_go_together_are_reported():
    assert "has no classes" in message("torchvision/vgg16", "IMAGENET1K_FEATURES")
    assert "leave model.num_classes out" in message(
        "torchvision/resnet18", "default", num_classes=7
    )
    reported = message("torchvision/resnet18", "IMAGENET1K_V7")
    assert "choose default, random, IMAGENET1K_V1, or a file" in reported
    assert "try auto or cpu" in _reported_of_device("cuda:99")
    assert "try auto or cpu" in _reported_of_device("toaster")
    assert "try auto or cpu" in _reported_of_device("meta")


def test_an_accelerator_without_float64_is_not_taken_by_itself(monkeypatch):
    """Sums are made in float64, which Apple's GPUs lack."""
    mps = torch.device("mps")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: mps)
    model = recipe.Model(name="torchvision/squeezenet1_1", weights="random")
    assert networks.load(model, NOTHING, 0).device == torch.device("cpu")


def _reported_of_device(device):
    with pytest.raises(UserError) as caught:
        networks.load(
            recipe.Model(name="torchvision/squeezenet1_1", weights="random", device=device),
            NOTHING,
            0,
        )
    return str(caught.value)


def test_class_names_come_from_the_file(tmp_path):
    (tmp_path / "names.txt").write_text("cat\n\n  dog \nÄffchen\n", "utf-8")
    (tmp_path / "names.json").write_text(json.dumps(["cat", "dog", "Äffchen"]), "utf-8")
    for file in ("names.txt", "names.json"):
        network = load(num_classes=3, classes=str(tmp_path / file))
        assert network.classes == ("cat", "dog", "Äffchen")
    reported = message(num_classes=4, classes=str(tmp_path / "names.txt"))
    assert "has 3 names, but the network 4 outputs" in reported


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_with_a_range_of_their_own_see_the_same(name, tmp_path):
    """With torchvision's `transform_input` and auxiliary heads, and without: same logits."""
    torch.manual_seed(1)
    theirs = torchvision.models.get_model(
        name, transform_input=True, init_weights=False, aux_logits=True
    ).eval()
    path = wrapped(theirs.state_dict(), tmp_path / "w.safetensors")
    network = load(f"torchvision/{name}", path, recipe.Preprocessing(resize=96, crop=96))
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms(
        crop_size=96, resize_size=96
    )
    picture = Image.effect_noise((400, 360), 80).convert("RGB")
    view = network.preprocessing.view(picture)
    with torch.no_grad():
        expected = theirs(preset(picture)[None])
        logits = network.module(network.preprocessing.tensor([view]))
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


FACTORY = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.head = nn.Linear(4, 2)
        self.classes = ["yes", "no"]
        self.preprocessing = {"crop": 24, "mean": (0, 0, 0), "std": (1, 1, 1)}

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))

def small():
    return Small()

def plain():
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

def no_classifier():
    return nn.Conv2d(3, 2, 3)

def fails():
    raise RuntimeError("the disk\\nis full")

def returns_text():
    return "network"
"""


@pytest.fixture
def factory(tmp_path):
    path = tmp_path / "My net.py"
    path.write_text(FACTORY)
    return path


def test_a_users_own_network(factory, tmp_path):
    network = load(f"{factory}:small", "default", NOTHING)
    assert (network.slug, network.classes) == ("my-net-small", ("yes", "no"))
    assert (network.preprocessing.resize, network.preprocessing.crop) == (24, 24)
    assert isinstance(network.module.body[1], nn.BatchNorm2d)  # it is his as it is
    assert [one.name for one in network.trace.operations] == [
        "conv2d", "batch_norm", "relu", "mean", "linear",
    ]  # fmt: skip
    again = load(f"{factory}:small", "default", NOTHING, seed=0)
    assert again.weights_sha256 == network.weights_sha256
    state = {
        **network.module.state_dict(),
        "body.1.weight": torch.ones(4),
        "body.1.bias": torch.zeros(4),
        "body.1.running_mean": torch.zeros(4),
        "body.1.running_var": torch.ones(4),
    }
    own = load(f"{factory}:small", wrapped(state, tmp_path / "own.safetensors"))
    assert own.weights == "own.safetensors"


def test_a_users_own_network_without_preprocessing_needs_the_recipes(factory):
    assert "set preprocessing.crop" in message(f"{factory}:plain", "default", NOTHING)
    asked = recipe.Preprocessing(crop=16, mean=(0, 0, 0), std=(1, 1, 1))
    assert load(f"{factory}:plain", "default", asked).preprocessing.crop == 16


@pytest.mark.parametrize(
    ("function", "reported"),
    [
        ("fails", "fails failed: RuntimeError: the disk is full"),
        ("returns_text", "returned str, expected a torch.nn.Module"),
        ("smal", "has no function 'smal'; did you mean 'small'?"),
    ],
)
def test_problems_in_a_users_own_file_are_reported(factory, function, reported):
    assert reported in message(f"{factory}:{function}", "default")


def test_more_problems_in_a_users_own_file(factory):
    asked = recipe.Preprocessing(crop=2, mean=(0, 0, 0), std=(1, 1, 1))
    assert "does not take a picture of 2 x 2" in message(f"{factory}:plain", "default", asked)
    asked = recipe.Preprocessing(crop=8, mean=(0, 0, 0), std=(1, 1, 1))
    assert "is no classifier" in message(f"{factory}:no_classifier", "default", asked)
    assert "has 2 outputs, but model.num_classes = 3" in message(
        f"{factory}:small", "default", num_classes=3
    )
    assert "makes its own weights" in message(f"{factory}:small", "random")
    for names in ('["yes"]', '["yes", "no", "maybe"]'):
        factory.write_text(FACTORY.replace('["yes", "no"]', names))
        reported = message(f"{factory}:small", "default")
        assert f"has {names.count(',') + 1} names, but the network 2 outputs: " in reported
        assert "--set model.classes=FILE" in reported
    factory.write_text(FACTORY)
    assert "there is no file" in message(f"{factory}x.py:small", "default")
    factory.write_text("import nothing_like_it")
    assert "ModuleNotFoundError" in message(f"{factory}:small", "default")


def test_the_demo_network():
    from atlas.demo import network as demo
    from atlas.demo.world import CLASSES

    network = load("demo/vgg", "default", NOTHING)
    assert (network.slug, network.classes) == ("vgg", tuple(CLASSES))
    assert network.preprocessing.crop == demo.SIZE
    pictures = torch.randn(2, 3, demo.SIZE, demo.SIZE)
    with torch.no_grad():
        expected = demo.load()(pictures)
        torch.testing.assert_close(network.module(pictures), expected, rtol=1e-3, atol=1e-3)
    layers = choose(network.trace).names
    assert (layers[0], layers[-1], len(layers)) == ("features.0", "planted", 14)
    assert load("demo/vgg", "random").weights_sha256 != network.weights_sha256


def test_float32_is_not_rounded_to_ten_bits_on_a_gpu():
    torch.backends.cudnn.allow_tf32 = True
    load()
    assert not torch.backends.cudnn.allow_tf32
