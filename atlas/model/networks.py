"""Networks by name: built, filled with weights, and made ready to be looked into."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from atlas import recipe
from atlas.errors import UserError, one_line
from atlas.model import calling, first, sources, unwrap, weights
from atlas.model import classes as names_of_outputs
from atlas.model.preprocessing import Preprocessor, complete
from atlas.trace.head import Head, find_head
from atlas.trace.record import Trace, record


@dataclass(frozen=True)
class Network:
    """A classifier ready for the pre-pass."""

    module: nn.Module
    """The user's own, in eval mode, without parameter gradients, on `device`. Takes float32 of
    shape (B, channels, height, width)."""
    trace: Trace
    """What it does with a picture."""
    head: Head
    """Where its logits are."""
    name: str
    """As in the recipe: `torchvision/vgg16`."""
    slug: str
    """Short and safe in file names: `vgg16`."""
    weights: str
    """What they are: `IMAGENET1K_V1`, a file name, `random (seed 0)`."""
    weights_sha256: str
    """Hash of the state dict's content as loaded; see `atlas.model.weights.fingerprint`."""
    outputs: int
    """How many classes."""
    classes: tuple[str, ...] | None
    """Names of the outputs in order, if they are known."""
    preprocessing: Preprocessor
    """How a picture becomes the input."""
    device: torch.device
    code_sha256: str = ""
    """Hash of the source of a user's own factory and its arguments; empty for other networks."""


def load(spec: recipe.Model, preprocessing: recipe.Preprocessing, seed: int) -> Network:
    """Build the network that a recipe names.

    Parameters
    ----------
    spec : recipe.Model
        What it may name is in `recipe.Model`. The code of a factory is run; its module may
        carry `classes` (names of its outputs) and `preprocessing` (a dict with any of resize,
        crop, mean, std, interpolation).
    preprocessing : recipe.Preprocessing
        What it sets wins over what the model brings along.
    seed : int
        Seed of random weights.

    Raises
    ------
    UserError
        Names, weights, classes, preprocessing or device do not fit, with what to do.
    """
    device = _device(spec.device)
    raw = sources.build(spec, seed)
    view = complete(preprocessing, raw.preprocessing, spec.name)
    module = unwrap.settled(raw.module, spec.name)
    sha256 = weights.fingerprint(module)
    damaged = [name for name, one in module.named_parameters() if not one.isfinite().all()]
    if damaged:
        raise UserError(
            f"{spec.name}: the weights {damaged[0]} are no finite numbers: are they damaged, or in "
            "half precision where they do not fit?"
        )
    module = module.to(device)
    twin = first.Twin(module)
    calling.outputs(module, view, device, spec.output, spec.name)
    first.refuse_first_call(module, twin, calling.noise(view, device), spec.name)
    del twin
    try:
        trace = record(module.requires_grad_(False), calling.noise(view, device))
        head = find_head(trace)
    except UserError as error:
        raise UserError(f"{spec.name}: {error}") from error
    outputs = head.classes
    if spec.num_classes not in (None, outputs):
        raise UserError(
            f"{spec.name} has {outputs} outputs, but model.num_classes = {spec.num_classes}"
        )
    return Network(
        module=module,
        trace=trace,
        head=head,
        name=spec.name,
        slug=raw.slug,
        weights=raw.weights,
        weights_sha256=sha256,
        outputs=outputs,
        classes=_classes(spec, raw.classes, head),
        preprocessing=view,
        device=device,
        code_sha256=raw.code_sha256,
    )


def _device(name: str) -> torch.device:
    """Return the device of this name, on which float32 is from now on computed as such.

    cuDNN rounds the numbers that convolutions multiply to 10 bits (TF32) unless it is forbidden: a
    picture's answer then depends on how many others are beside it, and relevance is off by 1e-3.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
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


def _classes(spec: recipe.Model, known: Sequence[str] | None, head: Head) -> tuple[str, ...] | None:
    """Return the names of the outputs: from the recipe's file, else those that it carries."""
    names = names_of_outputs.read(spec.classes) if spec.classes else known
    if names is None or len(names) == head.classes:
        return None if names is None else tuple(names)
    two = " (its one output decides between two classes)" if head.outputs == 1 else ""
    theirs = f"{len(names)} names, but the network {head.classes} outputs{two}"
    if spec.classes:
        raise UserError(f"model.classes = {spec.classes!r} has {theirs}")
    raise UserError(
        f"{spec.name}: the network's own list of its classes has {theirs}: correct it, or give a "
        "name for each output in a file (--set model.classes=FILE)"
    )
