"""`torchvision/NAME`: torchvision's classification CNNs."""

import difflib
import http.client
import pickle
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

from atlas import recipe
from atlas.errors import UserError, one_line
from atlas.model import weights
from atlas.model.sources.raw import Raw, check_outputs, fill_from_file, random_label
from atlas.store import files

TRANSFORMERS = ("vision_transformer", "swin_transformer", "maxvit")
"""torchvision's modules of transformers: their few Conv2d cut pictures into tokens."""

IN_MINUS_ONE_TO_ONE = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

OWN_RANGE = {"googlenet": IN_MINUS_ONE_TO_ONE, "inception_v3": IN_MINUS_ONE_TO_ONE}
"""Networks that torchvision lets turn ImageNet's normalisation into theirs (`transform_input`).

Here it is theirs in the first place: the numbers are the same, and relevance reaches the
input without passing arithmetic that belongs to no layer.
"""


def build(spec: recipe.Model, seed: int) -> Raw:
    """Build torchvision's network and fill it.

    Raises
    ------
    UserError
        torchvision has no such CNN, or the weights have a problem.
    """
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
    if from_url:
        check_outputs(spec, member.name, len(categories))

    options: dict[str, Any] = {"num_classes": outputs}
    if name in OWN_RANGE:  # the auxiliary heads serve training only
        options |= {"aux_logits": False, "init_weights": spec.weights == "random"}
    module = torchvision.models.get_model(name, weights=None, **options)
    if spec.weights == "random":
        label = random_label(seed)
    elif from_url:
        label = member.name
        weights.put(module, _current_names(_download(member, spec.name), name), label)
    else:
        choices = ["default", "random", *(one.name for one in known)]
        label = fill_from_file(module, spec, choices, lambda state: _current_names(state, name))
    preset = member.transforms()
    view = {
        "resize": preset.resize_size[0],
        "crop": preset.crop_size[0],
        "mean": tuple(preset.mean),
        "std": tuple(preset.std),
        "interpolation": preset.interpolation.value,
    }
    names = categories if outputs == len(categories) else None
    return Raw(module, name, label, names, view | OWN_RANGE.get(name, {}))


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


def _current_names(state: weights.State, name: str) -> weights.State:
    """Return `state` with today's names, and without the heads that serve training only."""
    if name.startswith("densenet"):  # torchvision's files still say norm.1 for norm1
        old = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
        return {old.sub(r"\1\2", key): value for key, value in state.items()}
    if name in OWN_RANGE:
        heads = ("aux1.", "aux2.", "AuxLogits.")
        return {key: value for key, value in state.items() if not key.startswith(heads)}
    return dict(state)
