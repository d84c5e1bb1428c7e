"""From patches to vectors in one space that all layers share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from atlas.errors import UserError, one_line
from atlas.model.preprocessing import Preprocessing

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
    module: nn.Module, layer: str, preprocessing: Preprocessing, device: torch.device
) -> Encoder:
    """Return the network's own representation: what goes into `layer`, averaged over positions.

    Parameters
    ----------
    module : nn.Module
        The network.
    layer : str
        A layer's name; empty means the last one with weights, so that the vector is the
        penultimate representation.
    preprocessing : Preprocessing
        Of the network's input.
    device : torch.device
        Where the network is.
    """
    name = layer or last_weighted(module)
    try:
        target = module.get_submodule(name)
    except AttributeError as error:
        raise UserError(f"patches.layer = {layer!r}: the network has no such layer") from error
    side = _side(module, preprocessing.crop, device)

    def encode(pictures: Sequence[Image.Image]) -> Vectors:
        resized = [picture.resize((side, side), Image.Resampling.BICUBIC) for picture in pictures]
        captured: list[Tensor] = []
        handle = target.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
        try:
            with torch.inference_mode():
                module(preprocessing.tensor(resized).to(device))
        finally:
            handle.remove()
        if not captured or not isinstance(captured[0], Tensor):
            raise UserError(
                f"patches.layer = {name!r}: the network gives it no tensor; choose another layer"
            )
        vectors = captured[0].flatten(2).mean(dim=2) if captured[0].ndim == 4 else captured[0]
        return _unit(vectors.flatten(1))

    return Encoder(f"input of {name} at {side} px", encode)


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

    options: dict[str, Any] = {"revision": revision} if revision else {}
    try:
        processor = AutoImageProcessor.from_pretrained(name, **options)
        model = AutoModel.from_pretrained(name, use_safetensors=True, **options)
    except (OSError, ValueError, ImportError) as error:
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


def last_weighted(module: nn.Module) -> str:
    """Return the name of the last Linear or Conv2d."""
    kinds = (nn.Linear, nn.Conv2d)
    names = [name for name, layer in module.named_modules() if isinstance(layer, kinds)]
    if not names:
        raise UserError("the network has no Linear or Conv2d layer: set patches.layer")
    return str(names[-1])


def _side(module: nn.Module, crop: int, device: torch.device) -> int:
    """Return the side at which patches go in: half the usual one if the network takes that."""
    if crop <= SMALL_INPUT:
        return crop
    try:
        with torch.inference_mode():
            module(torch.zeros(2, 3, crop // 2, crop // 2, device=device))
    except RuntimeError:  # a fully connected layer that fits one size only
        return crop
    return crop // 2


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
