"""A network as its source hands it over, and weights from a file of one's own."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from atlas import recipe
from atlas.errors import UserError
from atlas.model import weights
from atlas.model.preprocessing import Preprocessor


@dataclass(frozen=True)
class Raw:
    """A network as it comes: filled with weights, but not prepared."""

    module: nn.Module
    slug: str
    weights: str
    """What the weights are, in words."""
    classes: Sequence[str] | None
    """Names of the outputs; none where ready-made names are those of other outputs."""
    preprocessing: Preprocessor | Mapping[str, Any]
    """What the network brings along: all of it, or some."""
    code_sha256: str = ""
    """Hash of a user's own code, with the arguments that it was called with; else empty."""


def random_label(seed: int) -> str:
    """Return what is said of weights drawn from `seed`."""
    return f"random (seed {seed})"


def slug(name: str) -> str:
    """Return `name` short and safe in file names."""
    return re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")


def fill_from_file(
    module: nn.Module,
    spec: recipe.Model,
    known: Sequence[str] = ("default", "random"),
    rename: Callable[[weights.State], weights.State] = dict,
) -> str:
    """Fill `module` from the file that `spec.weights` names and return what to call that.

    `known` are the other values that `spec.weights` could have had, for the message.

    Raises
    ------
    UserError
        It is no file of weights, or none of this network's.
    """
    path = Path(spec.weights)
    if path.suffix.lower() not in weights.ENDINGS:
        raise UserError(
            f"model.weights = {spec.weights!r}: choose {', '.join(known)}, "
            f"or a file that ends in {', '.join(weights.ENDINGS)}"
        )
    weights.fill(module, path, spec.entry, rename)
    return path.name


def check_outputs(spec: recipe.Model, label: str, outputs: int) -> None:
    """Raise if other outputs are asked for than the ready-made weights `label` have."""
    if spec.num_classes not in (None, outputs):
        raise UserError(
            f"{spec.name}: {label} has {outputs} outputs: leave model.num_classes "
            "out, or give a state dict of your own in model.weights"
        )


def offline_if_unreachable() -> AbstractContextManager[None]:
    """Return a context in which the Hub is left alone if it does not answer within seconds."""
    from atlas.data import access  # noqa: PLC0415 (slow to import)

    return access.offline_if_unreachable()
