"""Where networks come from: torchvision, the demo, or a user's own file."""

import difflib
import http.client
import importlib.util
import pickle
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from atlas import recipe
from atlas.errors import UserError, one_line
from atlas.model import weights
from atlas.model.preprocessing import Preprocessing
from atlas.store import files

TRANSFORMERS = ("vision_transformer", "swin_transformer", "maxvit")
"""torchvision's modules of transformers: their few Conv2d cut pictures into tokens."""

IN_MINUS_ONE_TO_ONE = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

OWN_RANGE = {"googlenet": IN_MINUS_ONE_TO_ONE, "inception_v3": IN_MINUS_ONE_TO_ONE}
"""Networks that torchvision lets turn ImageNet's normalisation into theirs (`transform_input`).

Here it is theirs in the first place: the numbers are the same, and relevance reaches the
input without passing arithmetic that belongs to no layer.
"""


@dataclass(frozen=True)
class Raw:
    """A network as it comes: filled with weights, but not prepared."""

    module: nn.Module
    slug: str
    weights: str
    """What the weights are, in words."""
    classes: Sequence[str] | None
    preprocessing: Preprocessing | Mapping[str, Any]
    """What the network brings along: all of it, or some."""


def build(spec: recipe.Model, seed: int) -> Raw:
    """Build the network `spec.name` and fill it; random weights are drawn from `seed`.

    Raises
    ------
    UserError
        The name, the weights or the user's own file has a problem.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if spec.name.startswith("torchvision/"):
            return _from_torchvision(spec, seed)
        if spec.name == "demo/vgg":
            return _from_demo(spec, seed)
        if ".py:" in spec.name:
            return _from_factory(spec)
    raise UserError(
        f"model.name = {spec.name!r}: write torchvision/NAME, demo/vgg or path/to/file.py:FACTORY"
    )


def _from_torchvision(spec: recipe.Model, seed: int) -> Raw:
    name = spec.name.removeprefix("torchvision/")
    _check_name(name)
    known = torchvision.models.get_model_weights(name)
    member = known.DEFAULT
    asked = spec.weights.rpartition(".")[2]  # also VGG16_Weights.IMAGENET1K_V1
    from_url = spec.weights == "default" or asked in known.__members__
    if from_url and spec.weights != "default":
        member = known[asked]
    categories = member.meta["categories"]
    if categories is None:
        raise UserError(f"{spec.name}: {member.name} has no classes, from which relevance starts")
    outputs = spec.num_classes or len(categories)
    if from_url and outputs != len(categories):
        raise UserError(
            f"{spec.name}: {member.name} has {len(categories)} outputs: leave model.num_classes "
            "out, or give a state dict of your own in model.weights"
        )

    options: dict[str, Any] = {"num_classes": outputs}
    if name in OWN_RANGE:  # the auxiliary heads serve training only
        options |= {"aux_logits": False, "init_weights": spec.weights == "random"}
    module = torchvision.models.get_model(name, weights=None, **options)
    if spec.weights == "random":
        label = f"random (seed {seed})"
    elif from_url:
        label = member.name
        weights.put(module, _current_names(_download(member, spec.name), name), label)
    elif Path(spec.weights).suffix.lower() in weights.ENDINGS:
        label = Path(spec.weights).name
        state = _current_names(weights.read(Path(spec.weights)), name)
        weights.put(module, state, f"weights {spec.weights}")
    else:
        names = ", ".join(["default", "random", *(one.name for one in known)])
        raise UserError(
            f"model.weights = {spec.weights!r}: choose {names}, "
            f"or a file that ends in {', '.join(weights.ENDINGS)}"
        )
    preset = member.transforms()
    view = {
        "resize": preset.resize_size[0],
        "crop": preset.crop_size[0],
        "mean": tuple(preset.mean),
        "std": tuple(preset.std),
        "interpolation": preset.interpolation.value,
    }
    return Raw(module, name, label, categories, view | OWN_RANGE.get(name, {}))


def _check_name(name: str) -> None:
    """Raise unless torchvision has a classification CNN called `name`."""
    classifiers = {
        one: torchvision.models.get_model_builder(one).__module__.rpartition(".")[2]
        for one in torchvision.models.list_models(module=torchvision.models)
    }
    networks = [one for one, module in classifiers.items() if module not in TRANSFORMERS]
    if name in networks:
        return
    if name in classifiers:
        raise UserError(
            f"torchvision/{name} is a transformer, and an atlas is of convolutions: choose a CNN, "
            "as torchvision/resnet50"
        )
    close = difflib.get_close_matches(name, networks, n=3, cutoff=0.3)
    problem = "has no network"
    if name in torchvision.models.list_models():
        problem = "does not classify pictures with"
    hint = f"did you mean {' or '.join(close)}?" if close else "as torchvision/vgg16"
    raise UserError(f"torchvision {problem} {name!r}; {hint}")


def _download(member: torchvision.models.WeightsEnum, name: str) -> dict[str, Tensor]:
    """Return torchvision's weights, from its cache or its server, and never unpickled."""
    cached = Path(torch.hub.get_dir()) / "checkpoints" / member.url.rpartition("/")[2]
    promised = re.search(r"-([0-9a-f]{8,})\.", cached.name)
    if promised and cached.is_file() and not files.sha256(cached).startswith(promised[1]):
        raise UserError(f"{cached} is damaged: delete it, and it is downloaded anew")
    try:
        with redirect_stdout(sys.stderr):  # torch announces downloads there
            state: dict[str, Tensor] = member.get_state_dict(
                check_hash=True, weights_only=True, map_location="cpu"
            )
    except (
        OSError,
        RuntimeError,
        EOFError,
        http.client.HTTPException,
        pickle.UnpicklingError,
    ) as error:
        raise UserError(
            f"the weights of {name} could not be downloaded from {member.url} "
            f"({one_line(error)[:120]}): fetch that file elsewhere and give it as "
            "--set model.weights=FILE"
        ) from error
    return state


def _current_names(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return `state` with today's names, and without the heads that serve training only."""
    if name.startswith("densenet"):  # torchvision's files still say norm.1 for norm1
        old = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
        return {old.sub(r"\1\2", key): value for key, value in state.items()}
    if name in OWN_RANGE:
        heads = ("aux1.", "aux2.", "AuxLogits.")
        return {key: value for key, value in state.items() if not key.startswith(heads)}
    return dict(state)


def _from_demo(spec: recipe.Model, seed: int) -> Raw:
    # Only here, so that an atlas of another network needs nothing of the demo.
    from atlas.demo import network, world  # noqa: PLC0415

    if spec.weights == "default":
        module, label = network.load(), network.WEIGHTS.name
    else:
        module = network.DemoNetwork()
        label = f"random (seed {seed})"
        if spec.weights != "random":
            label = Path(spec.weights).name
            weights.put(module, weights.read(Path(spec.weights)), f"weights {spec.weights}")
    view = {"crop": network.SIZE, "mean": network.MEAN, "std": network.STD}
    return Raw(module, "vgg", label, world.CLASSES, view)


def _from_factory(spec: recipe.Model) -> Raw:
    """Run the user's own file and call the function in it that makes the network."""
    file, _, function = spec.name.rpartition(":")
    path = Path(file)
    if spec.weights == "random":
        raise UserError(f"{spec.name} makes its own weights: leave model.weights out, or a file")
    if not path.is_file():
        raise UserError(f"model.name = {spec.name!r}: there is no file {file}")
    factory = _imported(path, function)
    try:
        module = factory()
    except Exception as error:  # whatever a user's own code raises
        raise UserError(f"{spec.name} failed: {type(error).__name__}: {one_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise UserError(f"{spec.name} returned {type(module).__name__}, expected a torch.nn.Module")
    label = "as made by the factory"
    if spec.weights != "default":
        label = Path(spec.weights).name
        weights.put(module, weights.read(Path(spec.weights)), f"weights {spec.weights}")
    classes, view = getattr(module, "classes", None), getattr(module, "preprocessing", {})
    if not isinstance(view, Mapping):
        raise UserError(f"{spec.name}: the module's `preprocessing` is not a dict")
    slug = re.sub(r"[^a-z0-9_]+", "-", f"{path.stem}-{function}".lower()).strip("-")
    return Raw(module, slug, label, _names(classes, spec.name), view)


def _imported(path: Path, function: str) -> Callable[[], Any]:
    """Return `function` of the Python file `path`, which is run for it."""
    name = f"atlas_user_{path.stem}"
    loading = importlib.util.spec_from_file_location(name, path)
    assert loading is not None
    assert loading.loader is not None
    code = importlib.util.module_from_spec(loading)
    sys.modules[name] = code  # dataclasses and pickles look their module up there
    try:
        loading.loader.exec_module(code)
    except Exception as error:  # whatever a user's own code raises
        raise UserError(
            f"{path} cannot be run: {type(error).__name__}: {one_line(error)}"
        ) from error
    factory = getattr(code, function, None)
    if not callable(factory):
        own = [key for key, value in vars(code).items() if getattr(value, "__module__", "") == name]
        close = difflib.get_close_matches(function, own, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UserError(f"{path} has no function {function!r}{hint}")
    result: Callable[[], Any] = factory
    return result


def _names(classes: object, name: str) -> list[str] | None:
    """Return the names of the outputs that a user's module carries, if it does."""
    if classes is None:
        return None
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise UserError(f"{name}: the module's `classes` is no list of names")
    return [str(one) for one in classes]
