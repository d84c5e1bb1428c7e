"""Networks followed and instrumented, for tests."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from atlas.relevance.engine import Engine
from atlas.relevance.plan import plan
from atlas.relevance.tape import Instrumented, follow, instrument, path_to
from atlas.trace.following import PICTURE
from atlas.trace.layers import choose
from atlas.trace.record import record

COMPOSITE = "epsilon_plus_flat"


class Network(nn.Module):
    """A function of the picture as a network; `parts` are its layers by name."""

    def __init__(self, function, **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x):
        return self.function(self, x)


def instrumented(
    module: nn.Module,
    shape: Sequence[int],
    layers: Sequence[str] | None = None,
    composite: str | None = COMPOSITE,
) -> Instrumented:
    """Follow a network on noise and give its operations their rules.

    Parameters
    ----------
    module : nn.Module
        Put into eval mode.
    shape : sequence of int
        (colours, height, width) of its pictures.
    layers : sequence of str
        All its convolutions unless given.
    composite : str or None
        Its rules.
    """
    module = module.eval().requires_grad_(False)
    dtype = next((p.dtype for p in module.parameters()), torch.float32)
    generator = torch.Generator().manual_seed(4)
    trace = record(module, torch.randn(1, *shape, generator=generator).to(dtype))
    rules = plan(trace, composite, dtype)
    names = layers
    if names is None:
        names = choose(trace, (), rules.reached if composite else None).names
    return instrument(module, rules, names, dtype)


def maps_of(engine: Engine, images: Tensor, targets: Tensor):
    """Return all maps by (layer, mode), and the logits."""
    found: dict[tuple[str, str], Tensor] = {}
    logits = engine(images, targets, lambda *key: found.__setitem__(key[:2], key[2].clone()))
    return found, logits


def at_picture(model: Instrumented, images: Tensor, relevance: Tensor | None = None):
    """Return the relevance of every pixel, and the logits that it starts from.

    Unless given, relevance starts as all the logits.
    """
    tape = follow(model, images, path_to(model.plan, [PICTURE]), lambda layer, output: None)
    start = tape.logits if relevance is None else relevance
    return tape.back({model.plan.head.logits: start})[PICTURE], tape.logits
