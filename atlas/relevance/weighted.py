"""Rules of operations that weigh their inputs with constants: convolutions above all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from atlas.relevance.rules import EPSILON, GAMMA, Name, Relevances, stabilised
from atlas.trace.following import Call


@dataclass(frozen=True)
class Geometry:
    """How a convolution lays its weights over its input."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int
    around: tuple[int, ...] = ()
    """Zeros to add before, as of `torch.nn.functional.pad`, where sides differ."""


class Convolution:
    """A convolution and its rule.

    Parameters
    ----------
    weight, bias : Tensor, Tensor or None
        As `torch.nn.functional.conv2d` takes them (or its like for other dimensions).
    geometry : Geometry
        Strides, paddings and so on.
    rule : {"plus", "gamma", "epsilon", "alpha2_beta1", "flat"}
        How relevance goes through it.
    nonnegative : bool
        Whether no input is ever negative, as behind a ReLU.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, geometry: Geometry, rule: Name, nonnegative: bool
    ) -> None:
        self.weight, self.bias, self.geometry = weight, bias, geometry
        outputs = weight.shape[1] * geometry.groups if geometry.transposed else len(weight)
        b = weight.new_zeros(outputs) if bias is None else bias
        w = weight
        one: Callable[[Tensor], Tensor] = _same if nonnegative else _positive
        below = not nonnegative
        self._signs: list[tuple[float, _Terms]]
        if rule == "plus":
            # Negative inputs times negative weights count as well (alpha1-beta0), if there are any.
            positive = _Terms([(one, w.clamp(min=0))], b.clamp(min=0), "positive")
            if below:
                positive.parts.append((_negative, w.clamp(max=0)))
            self._signs = [(1.0, positive)]
        elif rule == "alpha2_beta1":
            positive = _Terms([(one, w.clamp(min=0))], b.clamp(min=0), "positive")
            negative = _Terms([(one, w.clamp(max=0))], b.clamp(max=0), "negative")
            if below:
                positive.parts.append((_negative, w.clamp(max=0)))
                negative.parts.append((_negative, w.clamp(min=0)))
            self._signs = [(2.0, positive), (-1.0, negative)]
        elif rule == "gamma":
            b = b + GAMMA * b.clamp(min=0)
            self._signs = [(1.0, _Terms([(_same, w + GAMMA * w.clamp(min=0))], b, "any"))]
        elif rule == "epsilon":
            self._signs = [(1.0, _Terms([(_same, w)], b, "any"))]
        else:
            ones = _Terms([(torch.ones_like, torch.ones_like(w))], torch.zeros_like(b), "positive")
            self._signs = [(1.0, ones)]

    def convolve(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        return self._convolve(self._padded(x), self.weight, self.bias)

    def relevance(self, x: Tensor, relevance: Tensor) -> Tensor:
        """Return the relevance of the inputs.

        Parameters
        ----------
        x : Tensor
            (B, C, H, W).
        relevance : Tensor
            Relevance of the outputs, (B, C', H', W').
        """
        z = self.denominators(x)
        shares = [torch.div(relevance, one, out=one) for one in z]
        return self._spread(x, shares)

    def denominators(self, x: Tensor) -> list[Tensor]:
        """Return z_j, stabilised, (B, C', H', W'): what relevance is divided by."""
        found = []
        for _, terms in self._signs:
            bias: Tensor | None = terms.bias
            z = None
            for part, weight in terms.parts:
                term = self._convolve(self._padded(part(x)), weight, bias)
                z, bias = (term if z is None else z.add_(term)), None
            assert z is not None
            found.append(stabilised(z) if terms.sign == "any" else z)
        return found

    def spread(self, x: Tensor, relevance: Tensor, z: Sequence[Tensor]) -> Tensor:
        """Return R_i = x_i' sum_j w_ij' R_j / z_j for `z` from `denominators`."""
        return self._spread(x, [relevance / one for one in z])

    def _spread(self, x: Tensor, shares: Sequence[Tensor]) -> Tensor:
        result = None
        for (factor, terms), s in zip(self._signs, shares, strict=True):
            for part, weight in terms.parts:
                inputs = part(x)
                wide = self._transposed(s, self._padded(inputs), weight)
                term = self._cropped(wide).mul_(inputs)
                if factor != 1:
                    term = term.mul_(factor)
                result = term if result is None else result.add_(term)
        assert result is not None
        return result

    def taken(self, x: Tensor, relevance: Tensor) -> float:
        """Return how much of the relevance biases and stabilisers take, summed."""
        total = 0.0
        for (factor, terms), z in zip(self._signs, self.denominators(x), strict=True):
            own = terms.bias.view(1, -1, *[1] * (z.ndim - 2))  # with the stabiliser, if it is fixed
            if terms.sign == "any":
                own = own + torch.where(z < 0, -EPSILON, EPSILON)
            total += factor * float((relevance * own / z).double().sum())
        return total

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        g = self.geometry
        result: Tensor = torch.convolution(
            x, weight, bias, g.stride, g.padding, g.dilation, g.transposed, g.output_padding,
            g.groups,
        )  # fmt: skip
        return result

    def _transposed(self, s: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Return sum_j w_ij s_j, of the shape of `x`."""
        g = self.geometry
        result: Tensor = torch.ops.aten.convolution_backward(
            s, x, weight, None, g.stride, g.padding, g.dilation, g.transposed, g.output_padding,
            g.groups, (True, False, False),
        )[0]  # fmt: skip
        return result

    def _padded(self, x: Tensor) -> Tensor:
        return F.pad(x, self.geometry.around) if self.geometry.around else x

    def _cropped(self, x: Tensor) -> Tensor:
        around = self.geometry.around
        return F.pad(x, [-one for one in around]) if around else x


@dataclass
class _Terms:
    """A sum of products whose sign is known or not; its bias has the stabiliser in it if it is."""

    parts: list[tuple[Callable[[Tensor], Tensor], Tensor]]
    """What is taken of the inputs, and the weights."""
    bias: Tensor
    sign: Literal["positive", "negative", "any"]

    def __post_init__(self) -> None:
        if self.sign != "any":
            self.bias = self.bias + (EPSILON if self.sign == "positive" else -EPSILON)


@dataclass(frozen=True)
class Convolved:
    """Step of a convolution: relevance goes back by its rule."""

    convolution: Convolution
    as_it_is: bool = False
    """Whether the operation is carried out as it is, and `convolution` is for relevance alone."""

    def forward(self, call: Call) -> tuple[Any, Any]:
        """Carry the convolution out and keep its input."""
        x = call.live[0].to(self.convolution.weight.dtype)
        return call() if self.as_it_is else self.convolution.convolve(x), _Kept(x.detach())

    def back(self, kept: Any, relevances: Relevances, copies: bool) -> Relevances:
        """Return the relevance of the input by the rule of the convolution."""
        (relevance, *_) = relevances
        if relevance is None:
            return [None]
        if not copies:
            return [self.convolution.relevance(kept.x, relevance)]
        if kept.z is None:  # the same for all copies, and for all layers above
            kept.z = self.convolution.denominators(kept.x)
        spread = torch.vmap(lambda one: self.convolution.spread(kept.x, one, kept.z))
        return [spread(relevance)]

    def taken(self, kept: Any, relevances: Relevances) -> float:
        """Return what bias and stabiliser take."""
        (relevance, *_) = relevances
        return 0.0 if relevance is None else self.convolution.taken(kept.x, relevance)


@dataclass
class _Kept:
    x: Tensor
    z: list[Tensor] | None = None


@dataclass(frozen=True)
class Flat:
    """Rule of a linear layer that reads the picture: all inputs get the same part of an output."""

    function: Callable[[Tensor], Tensor] | None = None
    """What stands in for the operation: the layer with a norm merged into it."""

    def forward(self, call: Call) -> tuple[Any, Any]:
        """Carry out the layer and keep the shape of its input."""
        x = call.live[0]
        return call() if self.function is None else self.function(x), x.shape

    def back(self, kept: Any, relevances: Relevances, copies: bool) -> Relevances:
        """Return the same part of the relevance for every input."""
        (relevance, *_) = relevances
        if relevance is None:
            return [None]
        each = relevance.sum(dim=-1, keepdim=True) / (kept[-1] + EPSILON)
        return [each.expand(*relevance.shape[:-1], kept[-1])]

    def taken(self, kept: Any, relevances: Relevances) -> float:
        """Return what the stabiliser takes."""
        (relevance, *_) = relevances
        part = EPSILON / (kept[-1] + EPSILON)
        return 0.0 if relevance is None else float(relevance.double().sum()) * part


def _same(x: Tensor) -> Tensor:
    return x


def _positive(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def _negative(x: Tensor) -> Tensor:
    return x.clamp(max=0)
