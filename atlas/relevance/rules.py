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
    first: Name | None
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


class Layer:
    """A convolution and its rule.

    Parameters
    ----------
    part : nn.Conv2d
        With padding by zeros.
    rule : {"plus", "gamma", "epsilon", "flat"}
        How relevance goes through it.
    nonnegative : bool
        Whether no input is ever negative, as behind a ReLU.
    """

    def __init__(self, part: nn.Conv2d, rule: Name, nonnegative: bool) -> None:
        self.weight = part.weight.detach()
        self.bias = None if part.bias is None else part.bias.detach()
        self.stride, self.dilation, self.groups = part.stride, part.dilation, part.groups
        around = padding(part)
        assert around is not None, "a convolution that `atlas.relevance.fused.unsupported` refuses"
        self.padding = around
        b = self.weight.new_zeros(part.out_channels) if self.bias is None else self.bias
        w = self.weight
        self._terms: list[tuple[Callable[[Tensor], Tensor], Tensor]]
        if rule == "plus":
            # Negative inputs times negative weights count as well (alpha1-beta0), if there are any.
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
        self._z_positive = rule in ("plus", "flat")
        # Where no z is negative, the stabiliser can be added with the bias, for nothing.
        self._z_bias = b + EPSILON if self._z_positive else b

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        return self._convolve(x, self.weight, self.bias)

    def back(self, x: Tensor, relevance: Tensor) -> Tensor:
        """Return the relevance of the inputs.

        Parameters
        ----------
        x : Tensor
            (B, C, H, W).
        relevance : Tensor
            Of the outputs, (B, C', H', W').
        """
        z = self.denominator(x)
        return self.spread(x, torch.div(relevance, z, out=z))

    def denominator(self, x: Tensor) -> Tensor:
        """Return z_j, stabilised, (B, C', H', W'): what relevance is divided by."""
        bias: Tensor | None = self._z_bias
        z = None
        for part, weight in self._terms:
            term = self._convolve(part(x), weight, bias)
            z, bias = (term if z is None else z.add_(term)), None
        assert z is not None
        return z if self._z_positive else stabilise_(z)

    def spread(self, x: Tensor, s: Tensor) -> Tensor:
        """Return R_i = x_i' sum_j w_ij' s_j for `s` of the shape of the output."""
        result = None
        for part, weight in self._terms:
            inputs = part(x)
            term = self._transposed(s, inputs, weight).mul_(inputs)
            result = term if result is None else result.add_(term)
        assert result is not None
        return result

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def _transposed(self, s: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Return sum_j w_ij s_j, of the shape of `x`."""
        result: Tensor = torch.ops.aten.convolution_backward(
            s, x, weight, None, self.stride, self.padding, self.dilation,
            False, (0, 0), self.groups, (True, False, False),
        )[0]  # fmt: skip
        return result


def _same(x: Tensor) -> Tensor:
    return x


def _positive(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def _negative(x: Tensor) -> Tensor:
    return x.clamp(max=0)


def padding(part: nn.Conv2d) -> tuple[int, int] | None:
    """Return the zeros on each side by rows and columns; None if sides differ."""
    if isinstance(part.padding, tuple):
        return part.padding[0], part.padding[1]
    if part.padding == "valid":
        return 0, 0
    rows, columns = ((k - 1) * d for k, d in zip(part.kernel_size, part.dilation, strict=True))
    return None if rows % 2 or columns % 2 else (rows // 2, columns // 2)


def stabilise_(z: Tensor) -> Tensor:
    """Move `z` away from zero in place, zero itself upwards, as zennit does."""
    return z.add_(torch.where(z < 0, -EPSILON, EPSILON).to(z.dtype))


class Convolution(Function):
    """A convolution with its `Layer`'s rule."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Layer) -> Tensor:
        """Return the layer's output."""
        ctx.save_for_backward(x)
        ctx.layer = layer
        return layer.forward(x)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None]:
        """Return the relevance of the inputs."""
        (x,) = ctx.saved_tensors
        return ctx.layer.back(x, relevance), None
