"""The same relevance as zennit's, with a fraction of the arithmetic.

Zennit runs each convolution again for positive and for negative inputs, forward and backward,
though what comes out of a ReLU is never negative. Here a convolution costs its forward pass,
one more with the positive weights, and one backward; nothing is computed below the lowest
layer that is asked for. Rules stand in for the gradient of a module while the engine runs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle
from zennit.canonizers import Canonizer
from zennit.layer import Sum
from zennit.types import Activation, AvgPool
from zennit.types import Convolution as AnyConvolution
from zennit.types import Linear as Weighted

from atlas.relevance.engine import PREDICTED, Visit, as_maps
from atlas.relevance.rules import RULES, Convolution, Layer, padding, stabilise_
from atlas.relevance.signs import never_negative


@dataclass(frozen=True)
class Norm:
    """Relevance in proportion to contributions, for average pools and residual sums."""

    output: Callable[[Tensor], Tensor]
    """The module's own forward."""

    def relevance(self, x: Tensor, relevance: Tensor) -> Tensor:
        """Return the relevance of the inputs."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            z = self.output(x)
        share = relevance / stabilise_(z.detach().clone())
        (gradient,) = torch.autograd.grad(z, x, share)
        return gradient * x.detach()


@dataclass(frozen=True)
class Epsilon:
    """The epsilon rule of a linear layer (Bach et al. 2015, eq. 58)."""

    module: nn.Linear

    def output(self, x: Tensor) -> Tensor:
        """Return what the layer gives."""
        return F.linear(x, self.module.weight, self.module.bias)

    def relevance(self, x: Tensor, relevance: Tensor) -> Tensor:
        """Return the relevance of the inputs."""
        share = relevance / stabilise_(self.output(x))
        return share.matmul(self.module.weight).mul_(x)


class _Ruled(Function):
    """A module whose gradient is the relevance of its inputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: Norm | Epsilon) -> Tensor:
        ctx.save_for_backward(x)
        ctx.rule = rule
        return rule.output(x)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return ctx.rule.relevance(x, relevance), None


class _Passed(Function):
    """An activation function that lets relevance through; it has nothing to remember."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(x)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None]:
        return relevance, None


class _Scale:
    """Keeps small relevances within float16, which ends at 6e-8.

    Propagation is linear in the initial relevance, so any picture's may be multiplied by
    a number and divided by it where it arrives.
    """

    TOTAL = 1024.0
    """Initial relevance of a picture ..."""

    STEEPEST = 8192.0
    """... but at most so many times its logit, by which it is divided in the last layer."""

    def __init__(self) -> None:
        self._factors = torch.empty(0)

    def up(self, initial: Tensor) -> Tensor:
        """Return other initial relevances for the logits `initial` (pictures, 1)."""
        sizes = initial.abs().float()
        totals = (self.STEEPEST * sizes).clamp(max=self.TOTAL)
        self._factors = sizes / totals.clamp(min=torch.finfo(torch.float32).tiny)
        return (totals * initial.sign()).to(initial.dtype)

    def down(self, maps: Tensor) -> Tensor:
        """Return the relevance that maps (pictures, channels, height, width) stand for."""
        return maps.float() * self._factors[:, :, None, None]


def unsupported(module: nn.Module, composite: str) -> str | None:
    """Return why this engine cannot compute the relevance of a network, or None if it can."""
    if composite not in RULES:
        return f"the composite {composite}"
    for name, part in module.named_modules():
        if isinstance(part, AnyConvolution) and not isinstance(part, nn.Conv2d):
            return f"{type(part).__name__} {name}"
        if isinstance(part, nn.Conv2d) and (part.padding_mode != "zeros" or padding(part) is None):
            return f"the padding of {name}"
    first = next((part for part in module.modules() if isinstance(part, Weighted)), None)
    if RULES[composite].first and not isinstance(first, nn.Conv2d):
        return "a first layer that is no convolution"
    return None


class FusedEngine:
    """Layer-wise relevance propagation; see `atlas.relevance.engine.Engine`.

    Parameters
    ----------
    module : nn.Module
        A network that `unsupported` has nothing against.
    layers : sequence of str
        Layers whose maps are visited.
    composite : str
        One of `atlas.relevance.rules.RULES`.
    canonizers : list of zennit Canonizer
        What makes residual sums modules.
    side : int
        Of the input in pixels, for the picture that finds out where values are never negative.
    """

    def __init__(
        self,
        module: nn.Module,
        layers: Sequence[str],
        composite: str,
        canonizers: list[Canonizer],
        side: int,
    ) -> None:
        self._module = module
        self._layers = {name: module.get_submodule(name) for name in layers}
        self._canonizers = canonizers
        picture = next(module.parameters()).new_zeros(1, 3, side, side)
        with self._canonized():
            positive = never_negative(module, picture)
        rules = RULES[composite]
        first = next(part for part in module.modules() if isinstance(part, Weighted))
        self._convolutions = {
            part: Layer(
                part, rules.first if part is first and rules.first else rules.convolution,
                name in positive,
            )
            for name, part in module.named_modules()
            if isinstance(part, nn.Conv2d)
        }  # fmt: skip

    def __call__(self, images: Tensor, targets: Tensor, visit: Visit) -> Tensor:
        """See `Engine`."""
        handles: list[RemovableHandle] = []
        lowest: list[Tensor] = []
        dtype = next(self._module.parameters()).dtype
        images = images.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        scale = _Scale() if dtype == torch.float16 else None
        with self.ruled():
            try:
                for name, layer in self._layers.items():
                    handles.append(
                        layer.register_forward_hook(_visitor(name, visit, lowest, scale))
                    )
                logits: Tensor = self._module(images)
                chosen = torch.where(targets == PREDICTED, logits.argmax(dim=1), targets)
                explained = logits.detach().gather(1, chosen[:, None])
                if scale is not None:
                    explained = scale.up(explained)
                initial = torch.zeros_like(logits).scatter_(1, chosen[:, None], explained)
                torch.autograd.grad(logits, lowest, initial, allow_unused=True)
            finally:
                for handle in handles:
                    handle.remove()
        return logits.detach()

    @contextmanager
    def ruled(self, convolution: type[Function] = Convolution) -> Iterator[nn.Module]:
        """Yield the network with relevance as its gradient, while the context lasts.

        A graph that was made meanwhile can be gone through afterwards.

        Parameters
        ----------
        convolution : type of torch.autograd.Function
            What computes a convolution from its input and its `atlas.relevance.rules.Layer`.
        """
        with self._canonized(), self._replaced(convolution), torch.enable_grad():
            yield self._module

    @contextmanager
    def _canonized(self) -> Iterator[None]:
        applied = [one for canonizer in self._canonizers for one in canonizer.apply(self._module)]
        try:
            yield
        finally:
            for one in reversed(applied):
                one.remove()

    @contextmanager
    def _replaced(self, convolution: type[Function]) -> Iterator[None]:
        """Let every module that has a rule compute by it."""
        ruled = []
        for part in self._module.modules():
            forward = self._forward(part, convolution)
            if forward is not None and "forward" not in vars(part):
                part.forward = forward
                ruled.append(part)
        try:
            yield
        finally:
            for part in ruled:
                del part.forward

    def _forward(
        self, part: nn.Module, convolution: type[Function]
    ) -> Callable[[Tensor], Tensor] | None:
        """Return what stands in for a module's forward, None where its gradient is right."""
        if isinstance(part, nn.Conv2d):
            return _applied(convolution, self._convolutions[part])
        if isinstance(part, nn.Linear):
            return _applied(_Ruled, Epsilon(part))
        if isinstance(part, Activation):
            return _applied(_Passed, part.forward)
        if isinstance(part, (Sum, AvgPool)):
            return _applied(_Ruled, Norm(part.forward))
        return None


def _applied(function: type[Function], rule: object) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        output: Tensor = function.apply(x, rule)
        return output

    return forward


def _visitor(
    name: str, visit: Visit, lowest: list[Tensor], scale: _Scale | None
) -> Callable[[nn.Module, object, Tensor], Tensor]:
    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        visit(name, "activation", as_maps(output.detach()))
        if not output.requires_grad:  # nothing below is asked for: the graph begins here
            output = output.detach().requires_grad_()
            lowest.append(output)

        def arrived(relevance: Tensor) -> None:
            maps = as_maps(relevance)
            visit(name, "relevance", maps if scale is None else scale.down(maps))

        output.register_hook(arrived)  # type: ignore[no-untyped-call]
        return output

    return hook
