"""From pictures to maps of features in one space that all layers share.

A picture is encoded once, as a whole; the vectors of its patches are means of the map over where
they lie (`atlas.patches.pooling`).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from atlas.errors import UserError, one_line
from atlas.model.preprocessing import Preprocessor
from atlas.patches.pooling import Vectors, pooled
from atlas.relevance.plan import plan
from atlas.relevance.tape import Instrumented, follow
from atlas.trace.following import Value
from atlas.trace.kinds import KINDS
from atlas.trace.record import Trace

Pictures = Sequence[Image.Image]


@dataclass(frozen=True)
class Encoder:
    """Turns pictures into maps of features.

    Attributes
    ----------
    name : str
        What it is, for the manifest.
    size : (int, int)
        Height and width of the pictures that it takes: those of the stored ones.
    maps : callable
        From RGB pictures of `size` to float32 (pictures, dimension, rows, columns) on the CPU,
        whose places lie evenly over the picture.
    """

    name: str
    size: tuple[int, int]
    maps: Callable[[Pictures], Tensor]

    def encode(self, pictures: Pictures) -> Vectors:
        """Return the vectors of pictures that come from elsewhere, to compare patches with.

        A picture smaller than the stored ones is taken as a piece cut out of one: it lies, at its
        own scale, in the middle of a canvas of its mean colour. A larger one is scaled to fit.

        Parameters
        ----------
        pictures : sequence of PIL.Image.Image
            RGB, of any size.

        Returns
        -------
        array
            float32 (pictures, dimension), rows of length one.
        """
        placed = [_on_canvas(picture, self.size) for picture in pictures]
        maps = self.maps([canvas for canvas, _ in placed])
        found = [
            pooled(maps[number : number + 1], torch.tensor([box]), torch.ones(1, 1, 1), self.size)
            for number, (_, box) in enumerate(placed)
        ]
        vectors: Vectors = torch.cat(found).numpy()
        return vectors


def network_encoder(
    module: nn.Module, layer: str, trace: Trace, preprocessing: Preprocessor, device: torch.device
) -> Encoder:
    """Return the network's own representation: the last map on the way to what `layer` reads.

    Parameters
    ----------
    module : nn.Module
        The network, in float32.
    layer : str
        A layer's name; empty means the last one with weights.
    trace : Trace
        What the network does with a picture.
    preprocessing : Preprocessor
        Of the network's input.
    device : torch.device
        Where the network is.

    Raises
    ------
    UserError
        The network has no such layer, or no map before it.
    """
    name = layer or last_weighted(trace)
    value = _last_map(trace, name)
    instrumented = Instrumented(module, plan(trace, None), {name: value})

    def maps(pictures: Pictures) -> Tensor:
        seen: list[Tensor] = []
        keep: Callable[[str, Tensor], None] = lambda _, made: seen.append(made.clone())  # noqa: E731
        follow(instrumented, preprocessing.tensor(pictures).to(device), frozenset(), keep)
        return seen[0].float().cpu()

    return Encoder(f"last map before {name}", preprocessing.size, maps)


def transformers_encoder(
    name: str, revision: str, size: tuple[int, int], device: torch.device
) -> Encoder:
    """Return an image encoder of `transformers`: CLIP, SigLIP, DINOv2, ViT, ConvNeXt and the like.

    Its map has the last hidden state of each piece (token) of the picture.

    Parameters
    ----------
    name, revision : str
        A local folder, or a name on the Hub with its revision.
    size : (int, int)
        Height and width of the stored pictures. They are scaled to the encoder's own input.
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
        height, width = _input(processor)
    except Exception as error:  # it raises anything on what it does not understand
        raise UserError(
            f"patches.encoder = {name!r} cannot be loaded ({one_line(error)[:200]}): give a local "
            "folder or a name on the Hub that can be reached, or encoder = 'model'"
        ) from error
    tower = getattr(model, "vision_model", model)  # of CLIP and SigLIP
    tower.eval().to(device)

    def maps(pictures: Pictures) -> Tensor:
        scaled = [picture.resize((width, height), Image.Resampling.BICUBIC) for picture in pictures]
        inputs = processor(
            images=scaled, return_tensors="pt", do_resize=False, do_center_crop=False
        ).to(device)
        with torch.inference_mode():
            return _placed(tower(**inputs).last_hidden_state, tower.config, name, height, width)

    return Encoder(f"map of {name}{f'@{revision}' if revision else ''}", size, maps)


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


def _last_map(trace: Trace, layer: str) -> Value:
    """Return the last value with several places on the way to what a layer reads.

    Where there is none, it is the layer's own output.
    """
    reads = [one for one in trace.operations if one.place == layer and one.inputs]
    if not reads:
        known = layer in trace.modules
        raise UserError(
            f"patches.layer = {layer!r}: the network "
            + ("gives it no tensor; choose another layer" if known else "has no such layer")
        )
    before: set[Value] = set()
    new = set(reads[0].inputs)
    while new:
        before |= new
        makers = [trace.of(value) for value in new if value.operation >= 0]
        new = {value for one in makers for value in one.inputs} - before
    # Modules' outputs are known to have rows and columns last; so have values of their shape.
    maps = {
        known.value: known.shape
        for known in trace.layers.values()
        if known.value is not None and known.shape[2:] > (1, 1)
    }
    earlier = before & maps.keys()
    own = trace.layers[layer].value
    if not earlier and own in maps:
        return own
    if not earlier:
        raise UserError(
            f"patches.layer = {layer!r}: no map of several places comes before it; choose a later "
            "layer, or an encoder of transformers (patches.encoder)"
        )
    shape = maps[max(earlier)]
    made = {value for value in before if value.operation >= 0}
    return max(value for value in made if trace.of(value).outputs[value.output] == shape)


def _input(processor: Any) -> tuple[int, int]:
    """Return height and width of what an encoder takes."""
    cut = getattr(processor, "crop_size", None) if getattr(processor, "do_center_crop", 0) else None
    size: Mapping[str, int] = dict(cut or processor.size)
    if "shortest_edge" in size:
        return size["shortest_edge"], size["shortest_edge"]
    return size["height"], size["width"]


def _placed(hidden: Tensor, config: Any, name: str, height: int, width: int) -> Tensor:
    """Return hidden states as maps: those of tokens without the ones that have no place."""
    if hidden.ndim == 4:  # of a convolutional encoder
        return hidden.float().cpu()
    piece = getattr(config, "patch_size", None)
    rows, columns = (height // piece, width // piece) if isinstance(piece, int) else (0, 0)
    if not 0 < rows * columns <= hidden.shape[1]:
        raise UserError(
            f"patches.encoder = {name!r} has no vectors for the places of a picture: choose "
            "another, such as one of CLIP, SigLIP or DINOv2, or encoder = 'model'"
        )
    tokens = hidden[:, hidden.shape[1] - rows * columns :].transpose(1, 2)
    return tokens.reshape(*tokens.shape[:2], rows, columns).float().cpu()


def _on_canvas(
    picture: Image.Image, size: tuple[int, int]
) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """Lay a picture on a canvas of `size`; return that and where it lies (x0, y0, x1, y1)."""
    height, width = size
    scale = min(height / picture.height, width / picture.width, 1.0)
    across, down = (max(round(side * scale), 1) for side in picture.size)
    scaled = picture.resize((across, down), Image.Resampling.BICUBIC)
    mean = scaled.resize((1, 1), Image.Resampling.BOX)
    canvas = mean.resize((width, height), Image.Resampling.NEAREST)
    left, top = (width - across) // 2, (height - down) // 2
    canvas.paste(scaled, (left, top))
    return canvas, (left, top, left + across, top + down)
