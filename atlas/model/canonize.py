"""Networks brought into the form that relevance propagation needs.

What can be changed for good without changing the network's outputs is changed for good
(`prepare`): nothing overwrites a tensor that a hook has saved, and each batch norm that
directly follows a convolution or a linear layer becomes part of it. What changes how a
network computes, and is for the backward pass only, is a list of zennit canonizers
(`canonizers`), which the relevance engine applies and removes.
"""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torchvision.models import convnext, efficientnet, mnasnet, mobilenetv2, mobilenetv3
from torchvision.models import regnet as regnets
from torchvision.ops.misc import SqueezeExcitation
from zennit.canonizers import AttributeCanonizer, Canonizer
from zennit.layer import Sum
from zennit.torchvision import ResNetBasicBlockCanonizer, ResNetBottleneckCanonizer

Linear = nn.Conv2d | nn.Linear

TOLERANCE = 1e-3
"""How far logits may move, relative to the largest, before a merge is taken back.

Merging in float32 moves them by about 1e-6; a wrong merge by about their own size.
"""


def prepare(module: nn.Module, picture: Tensor) -> None:
    """Change `module`, in eval mode, for good: nothing in place, batch norms merged.

    Parameters
    ----------
    module : nn.Module
        A classifier; its outputs stay the same within rounding.
    picture : Tensor
        An input of shape (1, 3, S, S) on the module's device, to see what follows what.
    """
    module.requires_grad_(False)
    merge_batch_norms(module, picture)
    keep_outputs(module, picture)


def canonizers(module: nn.Module) -> list[Canonizer]:
    """Return what has to be applied to `module` while relevance is propagated.

    - Residual additions of torchvision's blocks become a zennit `Sum`, which shares the
      relevance between its summands; plain autograd would give all of it to each.
    - Squeeze-and-excitation, layer scales and norms that could not be merged hand the
      relevance on unchanged to the features that they scale, and none to the factor.

    The list is empty for networks without such parts (VGG, AlexNet, SqueezeNet).
    """
    known = (ResNetBottleneckCanonizer(), ResNetBasicBlockCanonizer(), BlockCanonizer())
    parts = list(module.modules())
    return [one for one in known if any(one.attribute_map("", part) for part in parts)]


# Merging ----------------------------------------------------------------------------------


@torch.no_grad()
def merge_batch_norms(module: nn.Module, picture: Tensor) -> int:
    """Merge batch norms into the layers before them and put identities in their place.

    A pair is merged when, in a forward pass, the norm's input is the layer's output and
    nothing else reads that output. This looks at what happens, not at the order in which
    modules were registered, by which zennit's `SequentialMergeBatchNorm` would also merge
    across an addition or an activation that is no module. The logits are compared as well;
    if they moved, each pair is tried on its own.

    Returns
    -------
    int
        Number of batch norms merged; the others (before a convolution, as in DenseNet, or
        without running statistics) stay as they are.
    """
    pairs = _pairs(module, picture)
    if not pairs:
        return 0
    before = module(picture)
    undo = [_merge(module, *pair) for pair in pairs]
    if _same(before, module(picture)):
        return len(pairs)
    for take_back in undo:
        take_back()
    merged = 0
    for pair in pairs:
        take_back = _merge(module, *pair)
        if _same(before, module(picture)):
            merged += 1
        else:
            take_back()
    return merged


class _Readers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts how many operations read each tensor; keeps the tensors, so that ids are unique."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: list[Tensor] = []
        self.count: Counter[int] = Counter()

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        self.kept += read
        self.count.update({id(tensor) for tensor in read})
        return func(*args, **(kwargs or {}))


def _pairs(module: nn.Module, picture: Tensor) -> list[tuple[Linear, str]]:
    """Return each layer with the name of the batch norm that alone reads its output."""
    made: dict[int, Linear] = {}
    seen: list[tuple[int, str]] = []
    calls: Counter[nn.Module] = Counter()
    handles = []

    def after_layer(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        assert isinstance(layer, Linear)
        calls[layer] += 1
        readers.kept.append(output)
        if output.ndim == layer.weight.ndim:  # else the norm is not over the layer's channels
            made[id(output)] = layer

    def before_norm(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
            calls[norm] += 1
            seen.append((id(inputs[0]), name))

        return hook

    for name, part in module.named_modules():
        if isinstance(part, Linear) and not parametrize.is_parametrized(part):
            handles.append(part.register_forward_hook(after_layer))
        elif isinstance(part, _BatchNorm) and part.running_mean is not None:
            handles.append(part.register_forward_pre_hook(before_norm(name)))
    try:
        with _Readers() as readers:
            module(picture)
    finally:
        for handle in handles:
            handle.remove()
    return [
        (made[key], name)
        for key, name in seen
        if key in made
        and readers.count[key] == 1
        and calls[made[key]] == calls[module.get_submodule(name)] == 1
    ]


def _merge(module: nn.Module, layer: Linear, name: str) -> Callable[[], None]:
    """Merge the batch norm `name` into `layer`; return what takes it back."""
    norm = module.get_submodule(name)
    assert isinstance(norm, _BatchNorm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    old = layer.weight, layer.bias
    # Of a linear layer as of a convolution, the first dimension of the weight is the output.
    layer.weight, layer.bias = fuse_conv_bn_weights(
        layer.weight,
        layer.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    _replace(module, name, nn.Identity().eval())

    def take_back() -> None:
        layer.weight, layer.bias = old
        _replace(module, name, norm)

    return take_back


def _replace(module: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, part)


def _same(before: Tensor, after: Tensor) -> bool:
    largest = float(before.abs().max())
    return torch.allclose(after, before, rtol=0, atol=TOLERANCE * largest, equal_nan=True)


# Nothing in place -------------------------------------------------------------------------


@torch.no_grad()
def keep_outputs(module: nn.Module, picture: Tensor) -> None:
    """Let no part of `module` overwrite the output of another, which a hook may have saved.

    Modules with the switch are told to work out of place. What functions and operators
    overwrite (`F.relu(x, inplace=True)`, `x += y`) is found by the version counters of the
    tensors in a forward pass: from then on, the module that made such a tensor hands a
    copy on, after its hooks have seen the original.
    """
    for part in module.modules():
        if getattr(part, "inplace", False) is True:
            part.inplace = False  # type: ignore[assignment]
    while overwritten := _overwritten(module, picture):
        for part in overwritten:
            part.__class__ = _copying(type(part))  # type: ignore[arg-type]


def _overwritten(module: nn.Module, picture: Tensor) -> list[nn.Module]:
    """Return the modules that handed on a tensor which was overwritten afterwards.

    If several handed on the same tensor, it is the last: copying there helps them all.
    """
    handed_on: dict[tuple[int, int], tuple[nn.Module, Tensor]] = {}

    def hook(part: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if isinstance(output, Tensor):
            handed_on[id(output), output._version] = part, output

    handles = [part.register_forward_hook(hook) for part in module.modules() if part is not module]
    try:
        module(picture)
    finally:
        for handle in handles:
            handle.remove()
    return [
        part
        for (_, version), (part, output) in handed_on.items()
        if output._version != version and not hasattr(part, "hands_on_copies")
    ]


@functools.cache
def _copying(kind: type[nn.Module]) -> type[nn.Module]:
    """Return a subclass of `kind` whose modules hand on a copy of their output."""

    def call(self: nn.Module, *inputs: Tensor, **options: object) -> Tensor:
        output: Tensor = kind.__call__(self, *inputs, **options)
        return output.clone()

    members = {"__call__": call, "__module__": kind.__module__, "hands_on_copies": True}
    return type(kind.__name__, (kind,), members)


# Only while relevance is propagated -------------------------------------------------------


class BlockCanonizer(AttributeCanonizer):  # type: ignore[misc]
    """Gives torchvision's blocks, except ResNet's, a forward pass fit for relevance."""

    def __init__(self) -> None:
        super().__init__(self._attributes)

    @staticmethod
    def _attributes(name: str, part: nn.Module) -> dict[str, Any] | None:
        """Return what to set on `part`: None if nothing, else its forward and its sum."""
        for kinds, forward in _FORWARDS.items():
            if isinstance(part, kinds):
                return {"forward": forward.__get__(part), "canonizer_sum": Sum()}
        return None


def _sum(add: Callable[[Tensor], Tensor], one: Tensor, other: Tensor) -> Tensor:
    return add(torch.stack([one, other], dim=-1))


def _pass(features: Tensor, scaled: Tensor) -> Tensor:
    """Return the value of `scaled` with the gradient of `features`, so relevance passes."""
    return features + (scaled - features).detach()


def _mobilenet_v2(self: mobilenetv2.InvertedResidual, x: Tensor) -> Tensor:
    result: Tensor = self.conv(x)
    return _sum(self.canonizer_sum, x, result) if self.use_res_connect else result


def _mobilenet_v3(self: mobilenetv3.InvertedResidual, x: Tensor) -> Tensor:
    result: Tensor = self.block(x)
    return _sum(self.canonizer_sum, x, result) if self.use_res_connect else result


def _mnasnet(self: mnasnet._InvertedResidual, x: Tensor) -> Tensor:
    result: Tensor = self.layers(x)
    return _sum(self.canonizer_sum, x, result) if self.apply_residual else result


def _regnet(self: regnets.ResBottleneckBlock, x: Tensor) -> Tensor:
    identity = x if self.proj is None else self.proj(x)
    result: Tensor = self.activation(_sum(self.canonizer_sum, identity, self.f(x)))
    return result


def _convnext(self: convnext.CNBlock, x: Tensor) -> Tensor:
    result: Tensor = self.block(x)
    return _sum(self.canonizer_sum, x, _pass(result, self.layer_scale * result))


def _squeeze_excitation(self: SqueezeExcitation, x: Tensor) -> Tensor:
    return _pass(x, self._scale(x) * x)


def _norm(self: nn.Module, x: Tensor) -> Tensor:
    normalised: Tensor = type(self).forward(self, x)  # that of the class, not this one
    return _pass(x, normalised)


_FORWARDS: Mapping[tuple[type[nn.Module], ...], Callable[..., Tensor]] = {
    (mobilenetv2.InvertedResidual,): _mobilenet_v2,
    (mobilenetv3.InvertedResidual, efficientnet.MBConv, efficientnet.FusedMBConv): _mobilenet_v3,
    (mnasnet._InvertedResidual,): _mnasnet,
    (regnets.ResBottleneckBlock,): _regnet,
    (convnext.CNBlock,): _convnext,
    (SqueezeExcitation,): _squeeze_excitation,
    (_BatchNorm, nn.LayerNorm, nn.GroupNorm): _norm,
}
