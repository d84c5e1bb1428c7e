"""Rules of layer-wise relevance propagation (LRP) as functions with a backward pass of their own.

Each computes what the layer computes; going back, it takes the relevance R of the outputs
and returns that of the inputs. With inputs x_i, weights w_ij and biases b_j (Bach et al.
2015; Montavon et al. 2019):

    z_j = sum_i x_i' w_ij' + b_j'          the primes are the rule's
    s_j = R_j / (z_j +- eps)               away from zero, plus where z_j = 0
    R_i = x_i' sum_j w_ij' s_j

`z` is computed again in the backward pass, so that only `x` is kept in the meantime.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F
from zennit.canonizers import Canonizer
from zennit.composites import LAYER_MAP_BASE, SpecialFirstLayerMapComposite
from zennit.core import Composite
from zennit.rules import Epsilon, Flat, Gamma, ZPlus
from zennit.types import Convolution as AnyConvolution
from zennit.types import Linear as AnyLinear

EPSILON = 1e-6
GAMMA = 0.25

Name = Literal["plus", "gamma", "epsilon", "flat"]


@dataclass(frozen=True)
class Rules:
    """Which rule goes where; linear layers have epsilon, pools and residual sums norm."""

    convolution: Name
    first: Name | None = None
    """Of the first convolution or linear layer, if it is not like the others."""

    def composite(self, canonizers: Sequence[Canonizer]) -> Composite:
        """Return the same for zennit."""
        hooks = {"plus": ZPlus, "gamma": Gamma, "epsilon": Epsilon, "flat": Flat}
        layers = [
            *LAYER_MAP_BASE,
            (AnyConvolution, hooks[self.convolution]()),
            (nn.Linear, Epsilon()),
        ]
        first = [(AnyLinear, hooks[self.first]())] if self.first else []
        return SpecialFirstLayerMapComposite(layers, first, canonizers=list(canonizers))


RULES: Mapping[str, Rules] = {
    f"epsilon_{convolution}" + ("_flat" if first else ""): Rules(convolution, first)
    for convolution in ("plus", "gamma", "epsilon")
    for first in ("flat", None)
}
"""By the name of the composite in a recipe; where zennit has the same name, it means the same."""


class ConvolutionRule:
    """A convolution, and how relevance goes through it.

    Parameters
    ----------
    part : nn.Conv2d
        With padding by zeros.
    rule : {"plus", "gamma", "epsilon", "flat"}
        plus (also called alpha1-beta0): only what adds to z_j, so w' = max(w, 0) where
        inputs are positive, min(w, 0) where they are negative, b' = max(b, 0).
        gamma: w' = w + 0.25 max(w, 0), b' likewise. epsilon: w' = w, b' = b.
        flat: x' = w' = 1, b' = 0.
    nonnegative : bool
        Whether no input is ever negative, as behind a ReLU: then plus needs just the
        positive weights.
    """

    def __init__(self, part: nn.Conv2d, rule: Name, nonnegative: bool = False) -> None:
        sides = padding(part)
        assert sides is not None
        self._padding = sides
        self._stride, self._dilation, self._groups = part.stride, part.dilation, part.groups
        self._weight = w = part.weight.detach()
        self._bias = None if part.bias is None else part.bias.detach()
        b = w.new_zeros(part.out_channels) if self._bias is None else self._bias
        self._terms: list[tuple[Callable[[Tensor], Tensor], Tensor]]
        if rule == "plus":
            self._terms = [(_same if nonnegative else _positive, w.clamp(min=0))]
            self._terms += [] if nonnegative else [(_negative, w.clamp(max=0))]
            b = b.clamp(min=0)
        elif rule == "gamma":
            self._terms = [(_same, w + GAMMA * w.clamp(min=0))]
            b = b + GAMMA * b.clamp(min=0)
        elif rule == "epsilon":
            self._terms = [(_same, w)]
        else:
            self._terms = [(torch.ones_like, torch.ones_like(w))]
            b = torch.zeros_like(b)
        # Where z cannot be negative, eps comes with the bias and so costs nothing.
        self._stable = rule in ("plus", "flat")
        self._z_bias = b + EPSILON if self._stable else b

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (B, C', H', W') for inputs (B, C, H, W)."""
        return self._convolve(x, self._weight, self._bias)

    def back(self, x: Tensor, relevance: Tensor) -> Tensor:
        """Return the relevance of the inputs `x` (B, C, H, W) from that of the outputs."""
        (first, weight), *others = self._terms
        z = self._convolve(first(x), weight, self._z_bias)
        for inputs, weight in others:
            z += self._convolve(inputs(x), weight, None)
        s = torch.div(relevance, z if self._stable else stabilise_(z), out=z)
        result = self._transposed(s, first(x), self._terms[0][1])
        for inputs, weight in others:
            result += self._transposed(s, inputs(x), weight)
        return result

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(x, weight, bias, self._stride, self._padding, self._dilation, self._groups)

    def _transposed(self, s: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Return x_i sum_j w_ij s_j."""
        result: Tensor = torch.ops.aten.convolution_backward(
            s, x, weight, None, self._stride, self._padding, self._dilation,
            False, (0, 0), self._groups, (True, False, False),
        )[0]  # fmt: skip
        return result.mul_(x)


def _same(x: Tensor) -> Tensor:
    return x


def _positive(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def _negative(x: Tensor) -> Tensor:
    return x.clamp(max=0)


def padding(part: nn.Conv2d) -> tuple[int, int] | None:
    """Return how many zeros are put on either side, by rows and columns; None if sides differ."""
    if isinstance(part.padding, tuple):
        return part.padding[0], part.padding[1]
    if part.padding == "valid":
        return 0, 0
    rows, columns = ((k - 1) * d for k, d in zip(part.kernel_size, part.dilation, strict=True))
    return None if rows % 2 or columns % 2 else (rows // 2, columns // 2)


def stabilise_(z: Tensor) -> Tensor:
    """Move `z` away from zero in place, and zero itself upwards."""
    return z.add_(torch.where(z < 0, -EPSILON, EPSILON).to(z.dtype))


class Convolution(Function):
    """A convolution under its rule."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: ConvolutionRule) -> Tensor:
        """Return the outputs."""
        ctx.save_for_backward(x)
        ctx.rule = rule
        return rule.forward(x)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None]:
        """Return the relevance of the inputs."""
        (x,) = ctx.saved_tensors
        return ctx.rule.back(x, relevance), None


class LinearEpsilon(Function):
    """A linear layer under the epsilon rule: w' = w, so that z is the output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the outputs."""
        z = F.linear(x, weight, bias)
        ctx.save_for_backward(x, weight, z)
        return z

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None, None]:
        """Return the relevance of the inputs."""
        x, weight, z = ctx.saved_tensors
        s = relevance / stabilise_(z.clone())
        return (s @ weight).mul_(x), None, None


class LinearFlat(Function):
    """A linear layer under the flat rule: x' = w' = 1, so that every z is the input's length."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the outputs."""
        ctx.shape = x.shape
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None, None]:
        """Return the relevance of the inputs."""
        s = relevance / (ctx.shape[-1] + EPSILON)
        return s.sum(dim=-1, keepdim=True).expand(ctx.shape), None, None


class Norm(Function):
    """An average pool or a sum: the epsilon rule, whatever the weights are."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the outputs."""
        ctx.save_for_backward(x)
        ctx.layer = layer
        return layer(x)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None]:
        """Return the relevance of the inputs."""
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            z = ctx.layer(x)
        s = relevance / stabilise_(z.detach().clone())
        return torch.autograd.grad(z, x, s)[0] * x.detach(), None


class Residual(Function):
    """The sum of two summands: norm, without stacking them."""

    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor) -> Tensor:
        """Return the sum."""
        ctx.save_for_backward(one, other)
        return one + other

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the relevance of both."""
        one, other = ctx.saved_tensors
        s = relevance / stabilise_(one + other)
        return one * s, s.mul_(other)


class Pass(Function):
    """An activation: relevance goes through as it is, so that nothing need be kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the outputs."""
        return layer(x.detach())

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None]:
        """Return the relevance of the inputs."""
        return relevance, None


class MaxPool(Function):
    """A max pool: relevance goes where the maximum was, so that only this is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: nn.MaxPool2d) -> Tensor:
        """Return the outputs."""
        ctx.options = (
            layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode
        )  # fmt: skip
        maxima: Tensor
        maxima, indices = F.max_pool2d(x, *ctx.options, return_indices=True)
        ctx.save_for_backward(indices)
        ctx.like = torch.empty_like(x, device="meta")
        return maxima

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None]:
        """Return the relevance of the inputs."""
        (indices,) = ctx.saved_tensors
        # The operation reads shape and layout of the inputs, never their values.
        like = torch.empty_like(ctx.like, device=relevance.device)
        options = [_pair(value) for value in ctx.options[:4]]
        result: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
            relevance, like, *options, ctx.options[4], indices
        )
        return result, None


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
