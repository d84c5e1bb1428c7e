"""Where networks come from: a library, the demo, or a user's own code; one module a source."""

from collections.abc import Callable

import torch

from atlas import recipe
from atlas.errors import UserError
from atlas.model.sources import (
    demo_source,
    factory,
    pypi_source,
    timm_source,
    torchvision_source,
    transformers_source,
)
from atlas.model.sources.raw import Raw

__all__ = ["Raw", "build"]

SOURCES: dict[str, Callable[[recipe.Model, int], Raw]] = {
    "torchvision/": torchvision_source.build,
    "timm/": timm_source.build,
    "hf:": transformers_source.build,
    "pypi/": pypi_source.build,
    "demo/": demo_source.build,
}
"""What a network's name begins with, and who builds it; all other names are of factories."""


def build(spec: recipe.Model, seed: int) -> Raw:
    """Build the network `spec.name` and fill it; random weights are drawn from `seed`.

    Raises
    ------
    UserError
        The name, the weights or the user's own code has a problem.
    """
    prefix = next((one for one in SOURCES if spec.name.startswith(one)), "")
    if not prefix and ":" not in spec.name:
        raise UserError(
            f"model.name = {spec.name!r}: write torchvision/NAME, timm/NAME, hf:NAME, "
            "pypi/efficientnet-lite0, demo/vgg or path/to/file.py:FACTORY"
        )
    _check_keys(spec, prefix)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SOURCES.get(prefix, factory.build)(spec, seed)


def _check_keys(spec: recipe.Model, prefix: str) -> None:
    """Raise if a key is set that would do nothing for this network."""
    if spec.arguments and prefix:
        raise UserError(
            f"{spec.name} takes no model.arguments: they are for path/to/file.py:FACTORY"
        )
    if spec.revision and prefix != "hf:":
        raise UserError(f"{spec.name} has no revisions: model.revision is for hf:NAME")
    if spec.entry and spec.weights in ("default", "random"):
        raise UserError("model.entry names a part of a file: give that file in model.weights")
