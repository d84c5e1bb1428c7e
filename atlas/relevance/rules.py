"""Rules of layer-wise relevance propagation (LRP), one for each kind of operation.

A rule computes what the operation computes; going back, it takes the relevance R of the outputs
and returns that of the inputs. Where inputs are weighted, with inputs x_i, weights w_ij and
biases b_j (Bach et al. 2015; Montavon et al. 2019):

    z_j = sum_i x_i' w_ij' + b_j'          the primes are the rule's
    s_j = R_j / (z_j +- eps)               away from zero, plus where z_j = 0
    R_i = x_i' sum_j w_ij' s_j
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from atlas.trace.following import Call, mapped, tensors

EPSILON = 1e-6
GAMMA = 0.25

Name = Literal["plus", "gamma", "epsilon", "alpha2_beta1", "flat"]
Relevances = Sequence[Tensor | None]


@dataclass(frozen=True)
class Rules:
    """Which rule goes where; linear layers have epsilon, pools and sums go by proportion."""

    convolution: Name
    first: Name | None
    """Rule of a convolution or linear layer that reads the picture, if it is another."""


RULES: Mapping[str, Rules] = {
    f"epsilon_{convolution}" + ("_flat" if first else ""): Rules(convolution, first)
    for convolution in ("plus", "gamma", "epsilon", "alpha2_beta1")
    for first in ("flat", None)
}
"""Rules by the name of the composite in a recipe; zennit means the same by the same name."""


class Step(Protocol):
    """What is done with one operation."""

    def forward(self, call: Call) -> tuple[Any, Any]:
        """Carry it out: return its result, and what `back` needs."""

    def back(self, kept: Any, relevances: Relevances, copies: bool) -> Relevances:
        """Return the relevance of each of the live inputs, None where there is none.

        Parameters
        ----------
        kept : Any
            From `forward`.
        relevances : sequence of (Tensor or None)
            Relevance of each output.
        copies : bool
            Whether each relevance is many for the one picture, in a dimension in front.
        """

    def taken(self, kept: Any, relevances: Relevances) -> float:
        """Return how much of the relevance biases and stabilisers take, summed."""


# Moving on --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Passed:
    """All relevance goes to one input as it is: activation functions, norms, gated features."""

    to: int
    """Which of the live inputs."""
    inputs: int
    identity: bool = False
    """Whether the operation is part of a layer before it: a norm that was merged."""

    def forward(self, call: Call) -> tuple[Any, Any]:
        """Carry the operation out, or hand its input on where it was merged."""
        chosen = call.live[self.to]
        return chosen if self.identity else call(), (chosen.shape, chosen.dtype, chosen.device)

    def back(self, kept: Any, relevances: Relevances, copies: bool) -> Relevances:
        """Return all relevance at one input."""
        shape, dtype, device = kept
        result: list[Tensor | None] = [None] * self.inputs
        relevance = relevances[0]
        if relevance is not None:
            result[self.to] = unbroadcast(relevance, shape, copies).to(device, dtype)
        return result

    def taken(self, kept: Any, relevances: Relevances) -> float:
        """Return 0: nothing is taken by biases or stabilisers."""
        return 0.0


@dataclass(frozen=True)
class Divided:
    """Factors of equal standing have equal parts, as in a product of two features.

    (Arras et al. 2017 give the signal of a gated product all and the gate nothing, which is
    `Passed`; where no factor is a gate, none is preferred.)
    """

    inputs: int

    def forward(self, call: Call) -> tuple[Any, Any]:
        """Carry the operation out and keep the shapes of its inputs."""
        return call(), [one.shape for one in call.live]

    def back(self, kept: Any, relevances: Relevances, copies: bool) -> Relevances:
        """Return equal parts of the relevance for all inputs."""
        (relevance, *_) = relevances
        if relevance is None:
            return [None] * self.inputs
        part = relevance / self.inputs
        return [unbroadcast(part, shape, copies) for shape in kept]

    def taken(self, kept: Any, relevances: Relevances) -> float:
        """Return 0: nothing is taken by biases or stabilisers."""
        return 0.0


@dataclass(frozen=True)
class _Graph:
    """A function carried out so that its gradient can be taken."""

    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    again: Callable[[Callable[[Tensor], Tensor]], Sequence[Tensor]]
    """The outputs for other inputs: what is made of each of these."""

    def gradients(self, relevances: Relevances, copies: bool) -> list[Tensor | None]:
        pairs = [
            (output, relevance)
            for output, relevance in zip(self.outputs, relevances, strict=False)
            if relevance is not None and output.requires_grad
        ]
        if not pairs:
            return [None] * len(self.inputs)
        outputs, given = zip(*pairs, strict=True)
        given = tuple(one.to(output.dtype) for one, output in zip(given, outputs, strict=True))
        return list(
            torch.autograd.grad(
                outputs, self.inputs, given, allow_unused=True, retain_graph=True,
                is_grads_batched=copies,
            )
        )  # fmt: skip


def _graph(call: Call, wanted: Sequence[int]) -> tuple[Any, _Graph]:
    """Carry a call out with a gradient for the live inputs `wanted`; its result has none."""
    own = {id(call.live[i]): call.live[i].detach().requires_grad_() for i in wanted}
    arguments = mapped(lambda one: one, call.arguments)  # lists may grow later, as in DenseNets

    def computed(instead: Mapping[int, Tensor]) -> Any:
        args, options = mapped(lambda one: instead.get(id(one), one), arguments)
        return call.function(*args, **options)

    with torch.enable_grad():
        result = computed(own)

    def again(change: Callable[[Tensor], Tensor]) -> Sequence[Tensor]:
        other = computed({key: change(one.detach()) for key, one in own.items()})
        return list(tensors(other))

    graph = _Graph([own[id(call.live[i])] for i in wanted], list(tensors(result)), again)
    return mapped(Tensor.detach, result), graph


@dataclass(frozen=True)
class Moved:
    """The gradient: what moves values, or chooses among them (Lapuschkin et al. 2016)."""

    wanted: tuple[int, ...]
    """Which live inputs are numbers of the picture."""
    inputs: int

    def forward(self, call: Call) -> tuple[Any, Any]:
        """Carry the operation out so that its gradient can be taken."""
        return _graph(call, self.wanted)

    def back(self, kept: Any, relevances: Relevances, copies: bool) -> Relevances:
        """Return relevance where the values came from, by the gradient."""
        result: list[Tensor | None] = [None] * self.inputs
        for place, gradient in zip(self.wanted, kept.gradients(relevances, copies), strict=True):
            result[place] = gradient
        return result

    def taken(self, kept: Any, relevances: Relevances) -> float:
        """Return what comes to constants that were put in, as in padding: it goes no further."""
        total = 0.0
        outputs = zip(kept.again(torch.clone), kept.again(_nudged), strict=True)
        for relevance, (one, other) in zip(relevances, outputs, strict=False):
            if relevance is not None:
                total += float(relevance.double()[one == other].sum())
        return total


def _nudged(x: Tensor) -> Tensor:
    """Return other numbers close by, far enough not to be rounded to the same ones."""
    step = max(0.001, 8 * torch.finfo(x.dtype).eps)
    return x * (1 + step) + step * x.abs().mean()


# In proportion ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Proportional:
    """Relevance goes back in proportion to contributions: averages, linear layers.

    Interpolations are averages as well. For a linear layer this is the epsilon rule
    (Bach et al. 2015, eq. 58).
    """

    to: int
    inputs: int
    function: Callable[[Tensor], Tensor] | None = None
    """What stands in for the operation: a linear layer with a norm merged into it."""
    as_it_is: bool = False
    """Whether the operation is carried out as it is, and `function` is for relevance alone."""
    added: Tensor | None = None
    """What the network adds to the output afterwards, as a bias."""

    def forward(self, call: Call) -> tuple[Any, Any]:
        """Carry out the operation, or what stands in for it, with its gradient."""
        whole = call
        if self.function is not None:
            whole = replace(call, function=self.function, arguments=((call.live[self.to],), {}))
        if (added := self.added) is not None:
            whole = replace(
                call, function=lambda *one, **by: _plus(call.function(*one, **by), added)
            )
        result, graph = _graph(whole, [self.to])
        return call() if self.as_it_is or added is not None else result, graph

    def back(self, kept: Any, relevances: Relevances, copies: bool) -> Relevances:
        """Return relevance in proportion to input times gradient."""
        result: list[Tensor | None] = [None] * self.inputs
        if relevances[0] is not None:
            shares = relevances[0] / stabilised(kept.outputs[0].detach())
            (gradient,) = kept.gradients([shares], copies)
            assert gradient is not None
            result[self.to] = gradient * kept.inputs[0].detach()
        return result

    def taken(self, kept: Any, relevances: Relevances) -> float:
        """Return what bias and stabiliser take."""
        return _kept_back(kept, relevances)


def _plus(result: Tensor, added: Tensor) -> Tensor:
    return result + added.to(result)


@dataclass(frozen=True)
class Mixed:
    """Relevance goes back in proportion to several inputs at once, as in a weighted sum of them."""

    wanted: tuple[int, ...]
    """Which live inputs are summands; the others are gates that weigh them."""
    inputs: int

    def forward(self, call: Call) -> tuple[Any, Any]:
        """Carry the operation out with a gradient for the summands."""
        return _graph(call, self.wanted)

    def back(self, kept: Any, relevances: Relevances, copies: bool) -> Relevances:
        """Return relevance in proportion to input times gradient."""
        result: list[Tensor | None] = [None] * self.inputs
        if relevances[0] is not None:
            shares = relevances[0] / stabilised(kept.outputs[0].detach())
            gradients = kept.gradients([shares], copies)
            for place, one, gradient in zip(self.wanted, kept.inputs, gradients, strict=True):
                result[place] = None if gradient is None else gradient * one.detach()
        return result

    def taken(self, kept: Any, relevances: Relevances) -> float:
        """Return what constants among the summands and the stabiliser take."""
        return _kept_back(kept, relevances)


def _kept_back(kept: _Graph, relevances: Relevances) -> float:
    """Return what bias and stabiliser take; the bias is what the function gives of nothing."""
    if relevances[0] is None:
        return 0.0
    z = kept.outputs[0].detach()
    bias = kept.again(torch.zeros_like)[0]
    return float((relevances[0] / stabilised(z) * (stabilised(z) - z + bias)).double().sum())


@dataclass(frozen=True)
class Halved:
    """Features and their gate in the halves of one tensor, as of a gated linear unit."""

    dim: int

    def forward(self, call: Call) -> tuple[Any, Any]:
        """Carry the operation out."""
        return call(), None

    def back(self, kept: Any, relevances: Relevances, copies: bool) -> Relevances:
        """Return all relevance at the features, the first half, and none at the gate."""
        (relevance, *_) = relevances
        if relevance is None:
            return [None]
        dim = self.dim + 1 if copies and self.dim >= 0 else self.dim
        return [torch.cat([relevance, torch.zeros_like(relevance)], dim=dim)]

    def taken(self, kept: Any, relevances: Relevances) -> float:
        """Return 0: nothing is taken by biases or stabilisers."""
        return 0.0


@dataclass(frozen=True)
class Summed:
    """Relevance goes back in proportion to the summands, which may be broadcast."""

    factors: tuple[float, ...]
    """Factor by which each summand goes into the sum: 1, -1 in a difference, `alpha`."""
    nonnegative: bool
    """Whether the sum is never negative."""

    def forward(self, call: Call) -> tuple[Any, Any]:
        """Carry the sum out and keep the summands."""
        return call(), [one.detach() for one in call.live]

    def back(self, kept: Any, relevances: Relevances, copies: bool) -> Relevances:
        """Return relevance in proportion to the summands."""
        (relevance, *_) = relevances
        if relevance is None:
            return [None] * len(kept)
        one, other = kept
        z = torch.add(one, other, alpha=self.factors[1]) if self.factors[0] == 1 else (
            self.factors[0] * one + self.factors[1] * other
        )  # fmt: skip
        shares = relevance / (z.add_(EPSILON) if self.nonnegative else stabilised(z))
        return [
            unbroadcast(
                shares * part if factor == 1 else shares * part * factor, part.shape, copies
            )
            for part, factor in zip(kept, self.factors, strict=True)
        ]

    def taken(self, kept: Any, relevances: Relevances) -> float:
        """Return what the stabiliser takes."""
        if relevances[0] is None:
            return 0.0
        z = sum(part.double() * factor for part, factor in zip(kept, self.factors, strict=True))
        return float((relevances[0].double() * (1 - z / stabilised(z))).sum())


def stabilised(z: Tensor) -> Tensor:
    """Return `z` moved away from zero, zero itself upwards, as zennit does."""
    return z + torch.where(z < 0, -EPSILON, EPSILON).to(z.dtype)


def unbroadcast(relevance: Tensor, shape: Sequence[int], copies: bool) -> Tensor:
    """Sum relevance over the dimensions along which a tensor of `shape` was broadcast."""
    front = relevance.shape[:1] if copies else ()
    wanted = (*front, *[1] * (relevance.ndim - len(front) - len(shape)), *shape)
    if tuple(relevance.shape) == wanted:
        return relevance
    dims = [i for i, (a, b) in enumerate(zip(relevance.shape, wanted, strict=True)) if a != b]
    return relevance.sum(dim=dims, keepdim=True).reshape(*front, *shape)
