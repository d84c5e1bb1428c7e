"""Networks by name: built, filled with weights, and made ready to be looked into."""

import difflib
import fnmatch
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from atlas import recipe
from atlas.errors import UserError, one_line
from atlas.model import canonize, sources, weights
from atlas.model.preprocessing import Preprocessing, complete
from atlas.model.receptive import Tracker


@dataclass(frozen=True)
class Network:
    """A classifier ready for the pre-pass."""

    module: nn.Module
    """In eval mode, without parameter gradients, nothing in place, batch norms merged, on
    `device`. Takes float32 of shape (B, 3, crop, crop), returns logits of shape (B, classes)."""
    name: str
    """As in the recipe: `torchvision/vgg16`."""
    slug: str
    """Short and safe in file names: `vgg16`."""
    weights: str
    """What they are: `IMAGENET1K_V1`, a file name, `random (seed 0)`."""
    weights_sha256: str
    """Of the state dict's content as loaded; see `atlas.model.weights.fingerprint`."""
    outputs: int
    """How many."""
    classes: tuple[str, ...] | None
    """Names of the outputs in order, if they are known."""
    preprocessing: Preprocessing
    """How a picture becomes the input."""
    device: torch.device


def load(spec: recipe.Model, preprocessing: recipe.Preprocessing, seed: int) -> Network:
    """Build the network that a recipe names.

    Parameters
    ----------
    spec : recipe.Model
        `torchvision/NAME` (a classification CNN), `demo/vgg`, or `FILE.py:FACTORY`: a
        function without arguments that returns a `torch.nn.Module`. That file is run. The
        module may carry `classes` (names of its outputs) and `preprocessing` (a dict with
        any of resize, crop, mean, std, interpolation).
    preprocessing : recipe.Preprocessing
        What it sets wins over what the model brings along.
    seed : int
        Of random weights.

    Raises
    ------
    UserError
        Names, weights, classes, preprocessing or device do not fit, with what to do.
    """
    device = _device(spec.device)
    raw = sources.build(spec, seed)
    view = complete(preprocessing, raw.preprocessing, spec.name)
    sha256 = weights.fingerprint(raw.module)
    module = raw.module.eval().to(device)
    outputs = _outputs(module, view, device, spec.name)
    if spec.num_classes not in (None, outputs):
        raise UserError(
            f"{spec.name} has {outputs} outputs, but model.num_classes = {spec.num_classes}"
        )
    canonize.prepare(module, _picture(view.crop, device))
    return Network(
        module=module,
        name=spec.name,
        slug=raw.slug,
        weights=raw.weights,
        weights_sha256=sha256,
        outputs=outputs,
        classes=_classes(spec.classes, raw.classes, outputs),
        preprocessing=view,
        device=device,
    )


def select_layers(
    module: nn.Module, patterns: Sequence[str] = (), size: int = 224
) -> tuple[str, ...]:
    """Return the names of the layers that `patterns` mean, in order of the forward pass.

    Parameters
    ----------
    module : nn.Module
        A prepared classifier.
    patterns : sequence of str
        Names (`features.28`) or globs (`features.*`); none means every Conv2d. A glob means
        the Conv2d layers that it matches, or what else it matches if there are none; a name
        means just that layer.
    size : int
        Side of the input in pixels, for the forward pass that finds the order.

    Raises
    ------
    UserError
        A name is unknown, a glob matches nothing, or a layer has no channels: it is not
        called, is called more than once for a picture, or its output is neither
        (B, C, H, W) nor (B, C).
    """
    known = [name for name, _ in module.named_modules() if name]
    order = _called(module, size)
    usable = [name for name, problem in order.items() if not problem]
    kinds = dict(module.named_modules())
    convolutions = tuple(name for name in usable if isinstance(kinds[name], nn.Conv2d))
    if not patterns:
        if not convolutions:
            raise UserError("the network has no Conv2d that it uses once: set model.layers")
        return convolutions
    chosen: set[str] = set()
    for pattern in patterns:
        if pattern in known:
            if problem := order.get(pattern, "is not used when the network classifies a picture"):
                raise UserError(f"layer {pattern!r} {problem}: choose another in model.layers")
            chosen.add(pattern)
        elif not any(sign in pattern for sign in "*?["):
            close = difflib.get_close_matches(pattern, known, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known: {_some(known)}"
            raise UserError(f"the network has no layer {pattern!r}; {hint}")
        elif matches := fnmatch.filter(convolutions, pattern) or fnmatch.filter(usable, pattern):
            chosen.update(matches)
        else:
            raise UserError(f"no layer matches {pattern!r}; known: {_some(usable)}")
    return tuple(name for name in usable if name in chosen)


@torch.no_grad()
def _called(module: nn.Module, size: int) -> dict[str, str]:
    """Return the called layers in order, each with what speaks against it ("" if nothing)."""
    result: dict[str, str] = {}

    def hook(part: nn.Module, inputs: tuple[object, ...], output: object, name: str) -> None:
        if name in result:
            result[name] = "is used more than once for a picture, so it has no one map"
        elif not isinstance(output, Tensor) or output.ndim not in (2, 4):
            result[name] = "has no maps: its output is neither (B, C, H, W) nor (B, C)"
        elif not tracker.is_map(output):
            result[name] = "has no maps: rows and columns are not the last dimensions"
        else:
            result[name] = ""

    handles = [
        part.register_forward_hook(functools.partial(hook, name=name))
        for name, part in module.named_modules()
        if name
    ]
    device = next((value.device for value in module.parameters()), torch.device("cpu"))
    picture = _picture(size, device)
    tracker = Tracker(picture)
    try:
        with tracker:
            module(picture)
    finally:
        for handle in handles:
            handle.remove()
    return result


def _some(names: Sequence[str]) -> str:
    """Return a few of many names for a message."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _picture(size: int, device: torch.device) -> Tensor:
    """Return noise as a normalised picture of shape (1, 3, size, size), always the same."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 3, size, size, generator=generator).to(device)


def _device(name: str) -> torch.device:
    if name == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return torch.device("cpu") if found is None or _lack(found) else found
    try:
        device = torch.device(name)
    except RuntimeError as error:
        lack = one_line(error)
    else:
        lack = _lack(device)
    if lack:
        raise UserError(
            f"model.device = {name!r} cannot be used here ({lack[:80]}): try auto or cpu"
        )
    return device


def _lack(device: torch.device) -> str:
    """Return why sums cannot be made on a device; empty if they can."""
    try:
        torch.zeros(1, dtype=torch.float64, device=device).item()  # MPS has none, meta no values
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        return one_line(error)
    return ""


def _outputs(module: nn.Module, view: Preprocessing, device: torch.device, name: str) -> int:
    """Return the number of classes, after checking that the network is a classifier."""
    try:
        with torch.no_grad():
            logits = module(_picture(view.crop, device))
    except Exception as error:  # whatever a user's own network raises
        raise UserError(
            f"{name} does not take a picture of {view.crop} x {view.crop} pixels: "
            f"{one_line(error)[:200]}; see preprocessing.crop"
        ) from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != 1:
        kind = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(f"{name} is no classifier: for one picture it returns {kind}, not (1, N)")
    return logits.shape[1]


def _classes(file: str, known: Sequence[str] | None, outputs: int) -> tuple[str, ...] | None:
    """Return the names of the outputs: from the recipe's file, else as known if they fit."""
    if not file:
        return tuple(known) if known is not None and len(known) == outputs else None
    try:
        text = Path(file).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"model.classes = {file!r} cannot be read: {one_line(error)}") from error
    names: Any = [line.strip() for line in text.splitlines() if line.strip()]
    if text.lstrip().startswith("["):
        try:
            names = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"model.classes = {file!r} is not JSON: {one_line(error)}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"model.classes = {file!r}: expected a JSON list of names, or one a line")
    if len(names) != outputs:
        raise UserError(
            f"model.classes = {file!r} has {len(names)} names, but the network {outputs} outputs"
        )
    return tuple(names)
