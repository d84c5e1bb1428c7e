"""Where networks come from: a library, the demo, or a user's own code; one module a source."""

import importlib
from collections.abc import Callable

import torch

from atlas import recipe
from atlas.errors import UserError
from atlas.model.sources.raw import Raw

__all__ = ["Raw", "build"]

SOURCES = {
    "torchvision/": "torchvision_source",
    "timm/": "timm_source",
    "hf:": "transformers_source",
    "pypi/": "pypi_source",
    "demo/": "demo_source",
}
"""What a network's name begins with, and the module that builds it; all others are of factories."""


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
        return _builder(SOURCES.get(prefix, "factory"))(spec, seed)


def _builder(source: str) -> Callable[[recipe.Model, int], Raw]:
    """Return who builds the networks of a source; torchvision alone takes a second to import."""
    build: Callable[[recipe.Model, int], Raw]
    build = importlib.import_module(f"{__name__}.{source}").build
    return build


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
