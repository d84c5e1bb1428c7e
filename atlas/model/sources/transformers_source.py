"""`hf:NAME` or `hf:FOLDER`: image classifiers of transformers, with their own preprocessing."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

from atlas import recipe
from atlas.errors import UserError, one_line
from atlas.model.preprocessing import complete
from atlas.model.sources.raw import (
    Raw,
    check_outputs,
    fill_from_file,
    offline_if_unreachable,
    random_label,
    slug,
)
from atlas.model.sources.timm_source import view_of_config

SQUEEZED = 384
"""From this size on ConvNeXt's processor squeezes pictures instead of cutting their middle out."""


def build(spec: recipe.Model, seed: int) -> Raw:
    """Build transformers' network and fill it.

    Raises
    ------
    UserError
        There is no such network, it is no trained image classifier, or it cannot be downloaded.
    """
    name = spec.name.removeprefix("hf:")
    folder = Path(name).expanduser()
    context: AbstractContextManager[None] = nullcontext()
    if folder.is_dir():
        source = str(folder)
        if spec.revision:
            raise UserError(f"{spec.name} is a folder: leave model.revision out")
    elif folder.is_file() or name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise UserError(f"model.name = {spec.name!r}: there is no folder {name}")
    else:
        source, context = name, offline_if_unreachable()
    options = {"revision": spec.revision} if spec.revision else {}
    with context:
        module, label = _classifier(source, spec, seed, options)
        view = _view(source, module, spec.name, options)
    last = folder.resolve().name if folder.is_dir() else name.rpartition("/")[2]
    return Raw(module, slug(last), label, _names(module.config), view)


def _classifier(
    source: str, spec: recipe.Model, seed: int, options: Mapping[str, Any]
) -> tuple[Any, str]:
    """Return transformers' network, filled, and what to call its weights."""
    # Slow to import.
    from transformers import AutoConfig, AutoModelForImageClassification  # noqa: PLC0415

    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
        if spec.weights == "default":
            check_outputs(spec, spec.name, config.num_labels)
            module, report = AutoModelForImageClassification.from_pretrained(
                source, config=config, use_safetensors=True, trust_remote_code=False,
                dtype=torch.float32, output_loading_info=True, **options,
            )  # fmt: skip
        else:
            config.num_labels = spec.num_classes or config.num_labels
            module = AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    except UserError:
        raise
    except Exception as error:  # of the Hub's client, of safetensors and of transformers' models
        raise UserError(
            f"{spec.name} cannot be loaded as an image classifier of transformers "
            f"({one_line(error)[:200]}): give a folder, or a name on the Hub that can be reached, "
            "with config.json and model.safetensors"
        ) from error
    if spec.weights == "random":
        return module, random_label(seed)
    if spec.weights != "default":
        return module, fill_from_file(module, spec)
    untrained = sorted([*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])])
    if untrained:
        more = f" (and {len(untrained) - 1} more)" if len(untrained) > 1 else ""
        raise UserError(
            f"{spec.name} is no trained classifier: its file has no {untrained[0]!r}{more}, "
            "which would be random"
        )
    return module, spec.revision or "as published"


def _view(source: str, module: nn.Module, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the network's image processor does to pictures, as far as it has one."""
    from transformers import AutoImageProcessor  # noqa: PLC0415

    try:
        processor = AutoImageProcessor.from_pretrained(source, trust_remote_code=False, **options)
    except Exception:  # none, or one that needs code of its own; the recipe can say it all
        return {}
    if hasattr(processor, "data_config"):  # timm's networks on the Hub
        return view_of_config(processor.data_config, name)
    view = _geometry(processor) | _numbers(processor, getattr(module.config, "num_channels", 3))
    if len(view.get("mean", ())) == 3 and "crop" in view:
        _compare(processor, view, name)
    return view


def _geometry(processor: Any) -> dict[str, Any]:
    """Return resize, crop and interpolation of an image processor, empty where it says none."""
    shortest = _part(getattr(processor, "size", None), "shortest_edge")
    whole = _pair(getattr(processor, "size", None))
    cuts = getattr(processor, "do_center_crop", False)
    cut = _pair(getattr(processor, "crop_size", None)) if cuts else None
    part = getattr(processor, "crop_pct", None)
    if shortest is not None:
        squeezes = cut is None and shortest >= SQUEEZED
        resize = int(shortest / part) if part and not squeezes else shortest
        cut = cut or (shortest, shortest)
    elif whole or cut:
        resize = max(whole or cut or ())
        cut = cut or whole
    if cut is None:
        return {}
    resize = max(resize, *cut) if getattr(processor, "do_resize", True) else max(cut)
    resample = getattr(processor, "resample", None)
    filters = {} if resample is None else {"interpolation": _filter(resample)}
    return {"resize": resize, "crop": cut[0] if cut[0] == cut[1] else cut, **filters}


def _numbers(processor: Any, channels: int) -> dict[str, Any]:
    """Return mean and standard deviation for pixels in [0, 1]."""
    scale = 255.0 * processor.rescale_factor if getattr(processor, "do_rescale", True) else 255.0
    offset = 1.0 if getattr(processor, "rescale_offset", False) else 0.0
    mean, std = [0.0] * channels, [1.0] * channels
    if getattr(processor, "do_normalize", True):
        mean = _each(processor.image_mean, channels)
        std = _each(processor.image_std, channels)
    if getattr(processor, "include_top", False):  # EfficientNet's divides once more
        again = _each(processor.image_std, channels)
        std = [one * other for one, other in zip(std, again, strict=True)]
    return {
        "mean": tuple((value + offset) / scale for value in mean),
        "std": tuple(value / scale for value in std),
    }


def _compare(processor: Any, view: Mapping[str, Any], name: str) -> None:
    """Say so if the image processor makes other numbers of a picture than an atlas does."""
    ramp = np.linspace(0, 255, 640)
    bands = [np.tile(ramp, (480, 1)), np.tile(ramp[::-1], (480, 1)), np.tile(ramp[:480, None], 640)]
    picture = Image.fromarray(np.stack(bands, axis=-1).astype(np.uint8))
    ours = complete(recipe.Preprocessing(), view, name)
    pixels = ours.tensor([ours.view(picture)])
    try:
        theirs = torch.as_tensor(processor(images=picture, return_tensors="pt")["pixel_values"])
    except Exception as error:  # of whatever the processor uses
        problem = f"its image processor fails ({one_line(error)[:100]})"
    else:
        if theirs.shape == pixels.shape:
            spread = float(pixels.max() - pixels.min())
            if float((theirs - pixels).abs().max()) < 0.05 * spread:
                return
        problem = "its image processor squeezes, frames or recolours pictures"
    tqdm.write(
        f"{name}: {problem}; here the shorter side is resized to {ours.resize} and the middle "
        f"({view['crop']}) cut out: see [preprocessing]",
        sys.stderr,
    )


def _each(value: Any, channels: int) -> list[float]:
    """Return one number for each channel from a number, or from a list of one or three."""
    values = [float(one) for one in value] if isinstance(value, Sequence) else [float(value)]
    return values[:1] * channels if len(set(values)) == 1 else values


def _part(size: Any, key: str) -> int | None:
    """Return one length of a size, which is a mapping, an object or a number."""
    if isinstance(size, int):
        return size if key in ("height", "width") else None
    value = size.get(key) if isinstance(size, Mapping) else getattr(size, key, None)
    return None if value is None else int(value)


def _pair(size: Any) -> tuple[int, int] | None:
    """Return height and width of a size, if it has both."""
    height, width = _part(size, "height"), _part(size, "width")
    return None if height is None or width is None else (height, width)


def _filter(resample: Any) -> str:
    """Return our name of a filter that is Pillow's number or torchvision's constant."""
    value = getattr(resample, "value", resample)
    return value if isinstance(value, str) else Image.Resampling(int(value)).name.lower()


def _names(config: Any) -> list[str] | None:
    """Return the names of the outputs, unless they are transformers' placeholders."""
    names = [str(config.id2label.get(number)) for number in range(config.num_labels)]
    return None if any(name == f"LABEL_{at}" for at, name in enumerate(names)) else names
