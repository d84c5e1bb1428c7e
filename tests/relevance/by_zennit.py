"""Relevance as zennit has it: the oracle for networks that its canonizers know.

zennit gives rules to modules, and needs to know of residual sums and of norms block by block
(`zennit.torchvision`). On such networks it is what engines are judged against.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from zennit.canonizers import Canonizer, SequentialMergeBatchNorm
from zennit.composites import LAYER_MAP_BASE, SpecialFirstLayerMapComposite
from zennit.core import Composite
from zennit.rules import AlphaBeta, Epsilon, Flat, Gamma, ZPlus
from zennit.torchvision import ResNetCanonizer
from zennit.types import Convolution, Linear

from atlas.relevance.engine import PREDICTED, Visit, to_maps

CONVOLUTIONS = {
    "plus": ZPlus,
    "gamma": Gamma,
    "epsilon": Epsilon,
    "alpha2_beta1": AlphaBeta,
}


def composite(name: str, canonizers: Sequence[Canonizer] = ()) -> Composite:
    """Return the rules of a recipe's composite, such as `epsilon_gamma_flat`, from zennit."""
    stem, flat = name.removesuffix("_flat"), name.endswith("_flat")
    rule = CONVOLUTIONS[stem.removeprefix("epsilon_")]
    layers = [*LAYER_MAP_BASE, (Convolution, rule()), (nn.Linear, Epsilon())]
    first = [(Linear, Flat())] if flat else []
    return SpecialFirstLayerMapComposite(layers, first, canonizers=list(canonizers))


def canonizers(module: nn.Module) -> list[Canonizer]:
    """Return what zennit needs to know of a network of torchvision."""
    if "ResNet" in type(module).__name__:
        return [ResNetCanonizer()]
    normed = any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())
    return [SequentialMergeBatchNorm()] if normed else []


def fit(module: nn.Module) -> nn.Module:
    """Return a copy that zennit's hooks can be put on: nothing in place, and no gradients.

    zennit's merged norms still divide by the root of 1 + eps, here by 1.
    """
    module = copy.deepcopy(module).eval().requires_grad_(False)
    for part in module.modules():
        if getattr(part, "inplace", False) is True:
            part.inplace = False
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_var += part.eps - 1e-14
            part.eps = 1e-14
    return module


class ZennitEngine:
    """See `atlas.relevance.engine.Engine`; a layer's relevance is what arrives at its output."""

    def __init__(self, module: nn.Module, layers: Sequence[str], name: str) -> None:
        self._module = fit(module)
        self._composite = composite(name, canonizers(self._module))
        self._layers = layers

    def __call__(self, images: Tensor, targets: Tensor, visit: Visit) -> Tensor:
        """See `Engine`."""
        with self._composite.context(self._module) as module:
            # After the composite's hooks: the output must be the one that carries relevance.
            handles = [
                module.get_submodule(name).register_forward_hook(_visitor(name, visit))
                for name in self._layers
            ]
            try:
                with torch.enable_grad():
                    logits: Tensor = module(images.detach().requires_grad_())
                chosen = torch.where(targets == PREDICTED, logits.argmax(dim=1), targets)
                initial = torch.zeros_like(logits)
                initial.scatter_(1, chosen[:, None], logits.detach().gather(1, chosen[:, None]))
                torch.autograd.backward(logits, initial)
            finally:
                for handle in handles:
                    handle.remove()
        return logits.detach()


def _visitor(name: str, visit: Visit):
    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        visit(name, "activation", to_maps(output.detach()))
        output.register_hook(lambda relevance: visit(name, "relevance", to_maps(relevance)))

    return hook
