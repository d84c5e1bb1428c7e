"""`timm/NAME`: timm's image classifiers, with their own data configuration."""

import difflib
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

from torch import nn
from torchvision.models import ResNet18_Weights
from tqdm import tqdm

from atlas import recipe
from atlas.errors import UserError, one_line
from atlas.model.sources.raw import (
    Raw,
    check_outputs,
    fill_from_file,
    offline_if_unreachable,
    random_label,
    slug,
)


def build(spec: recipe.Model, seed: int) -> Raw:
    """Build timm's network and fill it.

    Raises
    ------
    UserError
        timm is missing or has no such classifier, or the weights have a problem.
    """
    try:
        import timm  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise UserError(
            f"{spec.name} needs timm: install it with pip install 'concept-atlas[timm]'"
        ) from error
    name = spec.name.removeprefix("timm/")
    _check_name(name)
    config = timm.get_pretrained_cfg(name)
    own_outputs = config.num_classes if config else 0
    if not (spec.num_classes or own_outputs):
        raise UserError(
            f"{spec.name} has weights without a classifier, from which relevance starts: choose "
            "another tag, or set model.num_classes and model.weights"
        )
    if spec.weights == "default":
        check_outputs(spec, name, own_outputs)
        if not config.has_weights:
            raise UserError(
                f'timm has no weights for {name}: set model.weights to "random" or a file'
            )
        module, label = _pretrained(name, config, spec.name), config.tag or name
    else:
        options = {"num_classes": spec.num_classes} if spec.num_classes else {}
        module = timm.create_model(name, **options)
        label = random_label(seed) if spec.weights == "random" else fill_from_file(module, spec)
    view = view_of_config(timm.data.resolve_model_data_config(module), spec.name)
    architecture, _, _ = name.partition(".")
    names = _classes(config) if spec.num_classes in (None, own_outputs) else None
    return Raw(module, slug(architecture), label, names, view)


def view_of_config(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what timm's data configuration says of pictures, in our words."""
    _, height, width = config["input_size"]
    resize = [math.floor(side / config["crop_pct"]) for side in (height, width)]
    if config["crop_mode"] != "center":
        does = "squeezes" if config["crop_mode"] == "squash" else "frames"
        tqdm.write(
            f"{name} {does} whole pictures; here their middle is cut out, after the shorter side "
            f"was resized to {max(resize)}: see [preprocessing]",
            sys.stderr,
        )
    return {
        "resize": max(resize),
        "crop": height if height == width else (height, width),
        "mean": tuple(config["mean"]),
        "std": tuple(config["std"]),
        "interpolation": config["interpolation"],
    }


def _check_name(name: str) -> None:
    """Raise unless timm has the architecture, and weights with the tag if there is one."""
    import timm  # noqa: PLC0415

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.3)
        hint = f"did you mean {' or '.join(close)}?" if close else "as timm/resnet50"
        raise UserError(f"timm has no network {architecture!r}; {hint}")
    tags = [
        one.partition(".")[2] for one in timm.list_models(f"{architecture}.*", include_tags=True)
    ]
    if tag and tag not in tags:
        known = ", ".join(one for one in tags if one) or "none: leave it out"
        raise UserError(f"timm/{architecture} has no weights {tag!r}; known: {known}")


def _pretrained(name: str, config: Any, asked: str) -> nn.Module:
    """Return timm's network with timm's weights, which are safetensors or tensors alone."""
    import timm  # noqa: PLC0415

    where = config.url
    if config.hf_hub_id:
        file = config.hf_hub_filename or "model.safetensors"
        where = f"https://huggingface.co/{config.hf_hub_id}/resolve/main/{file}"
    try:
        with offline_if_unreachable(), redirect_stdout(sys.stderr):
            module: nn.Module = timm.create_model(name, pretrained=True)
    except Exception as error:  # of the Hub's client, of torch.hub and of whatever they use
        raise UserError(
            f"the weights of {asked} could not be downloaded ({one_line(error)[:120]}): fetch "
            f"{where} elsewhere and give it as --set model.weights=FILE"
        ) from error
    return module


def _classes(config: Any) -> Sequence[str] | None:
    """Return the names of the outputs of timm's own weights, as far as they are ImageNet's.

    In ImageNet-1k's order, which is that of the WordNet ids, names are torchvision's. The larger
    ImageNets have many names several times, so that theirs come with their WordNet ids.
    """
    from timm.data import ImageNetInfo, infer_imagenet_subset  # noqa: PLC0415

    if config is None or not config.has_weights:
        return None
    if config.label_names:
        return [str(one) for one in config.label_names]
    if config.num_classes == 1000:
        categories: list[str] = ResNet18_Weights.DEFAULT.meta["categories"]
        return categories
    subset = infer_imagenet_subset({"num_classes": config.num_classes})
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    return [f"{one} {info.label_name_to_description(one)}" for one in info.label_names()]
