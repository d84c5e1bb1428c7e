"""From patches to vectors in one space that all layers share."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from atlas.errors import UserError, one_line
from atlas.model.preprocessing import Preprocessor
from atlas.trace.kinds import KINDS
from atlas.trace.record import Trace

Vectors = npt.NDArray[np.float32]

SMALL_INPUT = 128
"""Networks with a larger input see patches at half its side: patches are blown up anyway,
and it costs a quarter."""


@dataclass(frozen=True)
class Encoder:
    """Turns patches into vectors.

    Attributes
    ----------
    name : str
        What it is, for the manifest.
    encode : callable
        From a sequence of RGB pictures of any size to float32 (pictures, dimension), each
        row of length one.
    """

    name: str
    encode: Callable[[Sequence[Image.Image]], Vectors]


def network_encoder(
    module: nn.Module, layer: str, trace: Trace, preprocessing: Preprocessor, device: torch.device
) -> Encoder:
    """Return the network's own representation: what goes into `layer`, averaged over positions.

    Parameters
    ----------
    module : nn.Module
        The network.
    layer : str
        A layer's name; empty means the last one with weights, so that the vector is the
        penultimate representation.
    trace : Trace
        What the network does with a picture.
    preprocessing : Preprocessor
        Of the network's input.
    device : torch.device
        Where the network is.
    """
    name = layer or last_weighted(trace)
    try:
        target = module.get_submodule(name)
    except AttributeError as error:
        raise UserError(f"patches.layer = {layer!r}: the network has no such layer") from error
    height, width = _size(module, preprocessing, device)

    def encode(pictures: Sequence[Image.Image]) -> Vectors:
        resized = [
            picture.resize((width, height), Image.Resampling.BICUBIC) for picture in pictures
        ]
        captured: list[Tensor] = []

        def keep(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            given = (one for one in (*inputs, *named.values()) if isinstance(one, Tensor))
            captured.extend(one.clone() for one in given)  # it may be overwritten later

        handle = target.register_forward_pre_hook(keep, with_kwargs=True)
        try:
            with torch.inference_mode():
                module(preprocessing.tensor(resized).to(device))
        finally:
            handle.remove()
        if not captured:
            raise UserError(
                f"patches.layer = {name!r}: the network gives it no tensor; choose another layer"
            )
        vectors = captured[0].flatten(2).mean(dim=2) if captured[0].ndim == 4 else captured[0]
        return _unit(vectors.flatten(1))

    size = f"{height}" if height == width else f"{height} x {width}"
    return Encoder(f"input of {name} at {size} px", encode)


def transformers_encoder(name: str, revision: str, device: torch.device) -> Encoder:
    """Return an image encoder of `transformers`: CLIP, SigLIP, DINOv2, ViT and the like.

    Parameters
    ----------
    name, revision : str
        A local folder, or a name on the Hub with its revision.
    device : torch.device
        Where it runs.

    Raises
    ------
    UserError
        It cannot be loaded, or does not encode pictures.
    """
    from transformers import AutoImageProcessor, AutoModel  # noqa: PLC0415 (slow to import)

    options: dict[str, Any] = {"trust_remote_code": False}  # unless told, it asks the user
    options |= {"revision": revision} if revision else {}
    from atlas.data.access import offline_if_unreachable  # noqa: PLC0415 (slow to import)

    local = Path(name).expanduser().is_dir()
    try:
        with nullcontext() if local else offline_if_unreachable():
            processor = AutoImageProcessor.from_pretrained(name, **options)
            model = AutoModel.from_pretrained(name, use_safetensors=True, **options)
    except Exception as error:  # it raises anything on what it does not understand
        raise UserError(
            f"patches.encoder = {name!r} cannot be loaded ({one_line(error)[:200]}): give a local "
            "folder or a name on the Hub that can be reached, or encoder = 'model'"
        ) from error
    model.eval().to(device)

    def encode(pictures: Sequence[Image.Image]) -> Vectors:
        inputs = processor(images=list(pictures), return_tensors="pt").to(device)
        with torch.inference_mode():
            if hasattr(model, "get_image_features"):
                output = model.get_image_features(**inputs)
            else:
                output = model(**inputs)
        return _unit(_pooled(output))

    return Encoder(f"{name}@{revision}" if revision else name, encode)


def last_weighted(trace: Trace) -> str:
    """Return the name of the last layer that weighs its inputs."""
    names = [
        operation.place
        for operation in trace.operations
        if operation.place and KINDS.get(operation.name) in ("convolution", "linear", "matrix")
    ]
    if not names:
        raise UserError("the network has no layer with weights: set patches.layer")
    return names[-1]


def _size(module: nn.Module, preprocessing: Preprocessor, device: torch.device) -> tuple[int, int]:
    """Return height and width at which patches go in.

    Patches are squares. So is this where the network takes a square of its shorter side, and
    half of that if it is large; else it is the usual size of the input.
    """
    channels, *usual = preprocessing.shape
    side = min(usual)
    for tried in (side // 2, side) if side > SMALL_INPUT else (side,):
        if usual == [tried, tried]:
            break
        try:
            with torch.inference_mode():
                module(torch.zeros(2, channels, tried, tried, device=device))
        except RuntimeError:  # a fully connected layer that fits one size only
            continue
        return tried, tried
    return preprocessing.size


def _pooled(output: Any) -> Tensor:
    """Find the one vector for each picture in what a transformers model returns."""
    if isinstance(output, Tensor):
        return output
    pooled: Tensor | None = getattr(output, "pooler_output", None)
    if pooled is not None:
        return pooled.flatten(1)
    first: Tensor = output.last_hidden_state[:, 0]
    return first


def _unit(vectors: Tensor) -> Vectors:
    unit = torch.nn.functional.normalize(vectors.float(), dim=1)
    return np.ascontiguousarray(unit.cpu().numpy())
