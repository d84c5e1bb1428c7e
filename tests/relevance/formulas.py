"""Relevance from the formulas, in float64: what engines are judged against.

Slow and plain on purpose, and independent of `atlas`. The network runs once under a
`TorchFunctionMode`, which sees every function of torch that it calls, whoever calls it. Each
function that computes with the picture is replaced by an autograd function with the same value
whose *gradient is the relevance* of its inputs; functions that only move values keep their own
gradient. One backward pass then gives the relevance everywhere.

With inputs x_i, weights w_ij and biases b_j, and s_j = R_j / (z_j + 1e-6 away from zero):

    z+        z_j = sum_i x_i^+ w_ij^+ + x_i^- w_ij^- + b_j^+
              R_i = x_i^+ sum_j w_ij^+ s_j + x_i^- sum_j w_ij^- s_j
    epsilon   z_j = sum_i x_i w_ij + b_j,     R_i = x_i sum_j w_ij s_j
    flat      z_j = sum_i 1,                  R_i = sum_j s_j

References: Bach et al. 2015 (epsilon, alpha-beta), Montavon et al. 2019 (gamma, which rule where),
Lapuschkin et al. 2019 (flat), Arras et al. 2017 (gates), zennit 0.5 (sums, averages, merged norms).
"""

import copy
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node as GraphNode
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

EPSILON = 1e-6
GAMMA = 0.25
COMPOSITES = {
    "epsilon_plus_flat": ("plus", True),
    "epsilon_plus": ("plus", False),
    "epsilon_gamma_flat": ("gamma", True),
    "epsilon_gamma": ("gamma", False),
    "epsilon_epsilon_flat": ("epsilon", True),
    "epsilon_epsilon": ("epsilon", False),
}
"""Rule of convolutions; whether the first operation with weights has flat."""

INFINITE = math.inf


class Refused(Exception):  # noqa: N818 - it says what happened to the network
    """Relevance arrives at an operation that has no rule."""


class Relevances(NamedTuple):
    """What `relevances` gives."""

    logits: Tensor
    """(B, outputs): where relevance starts, before a softmax or sigmoid at the end."""

    channels: dict[str, Tensor]
    """By layer (B, C), summed over positions, at the layer's output."""

    picture: Tensor
    """(B,): all that reaches the picture."""

    operations: Counter[tuple[str, str]]
    """How often a function had a rule: (function, rule)."""


def relevances(
    module: nn.Module,
    images: Tensor,
    layers: Sequence[str],
    targets: Tensor | None = None,
    composite: str = "epsilon_plus_flat",
) -> Relevances:
    """Compute the relevance of every channel of `layers` for one output of each picture.

    Parameters
    ----------
    module : nn.Module
        In evaluation mode, which gives logits (B, outputs); a copy in float64 is run.
    images : Tensor
        (B, C, H, W).
    layers : sequence of str
        Names of submodules with outputs (B, C, ...).
    targets : Tensor, optional
        int64 (B,); the largest output otherwise.

    Raises
    ------
    Refused
        Relevance arrives at an operation without a rule.
    """
    network = copy.deepcopy(module).double().eval().requires_grad_(False)
    convolution, flat = COMPOSITES[composite]
    rules = Rules(convolution, flat)
    picture = images.detach().double().requires_grad_()
    arrived: dict[str, Tensor] = {}
    shapes: dict[str, tuple[int, ...]] = {}

    def capture(name: str) -> Callable[..., None]:
        def arrives(relevance: Tensor | None) -> None:
            if relevance is None:  # behind a gate
                return
            summed = relevance.flatten(2).sum(dim=2) if relevance.ndim > 2 else relevance
            arrived[name] = arrived[name] + summed if name in arrived else summed.clone()

        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            shapes[name] = tuple(output.shape[:2])
            if output.requires_grad:
                output.register_hook(arrives)

        return hook

    for name in layers:
        network.get_submodule(name).register_forward_hook(capture(name))
    with torch.enable_grad():
        start = picture.clone()
        start.facts = Facts(raw=True)
        with rules:
            output = network(start)
    if not isinstance(output, Tensor):
        raise Refused(f"the network returns a {type(output).__name__}")
    facts = facts_of(output)
    logits = output if facts.before is None else facts.before
    values = logits.detach().clone()
    chosen = values.argmax(dim=1) if targets is None else targets
    initial = torch.zeros_like(values).scatter_(1, chosen[:, None], 1.0) * values
    _guard(logits)
    torch.autograd.backward(logits, initial)
    for name in layers:
        arrived.setdefault(name, torch.zeros(shapes[name], dtype=torch.float64))
    total = picture.grad.flatten(1).sum(dim=1)
    return Relevances(values, arrived, total, rules.operations)


# --- what is known of a tensor that depends on the picture ------------------------------------


@dataclass
class Read:
    """Who read the output of a weighted operation, if it was a norm or a half of one."""

    scale: Tensor | None = None
    shift: Tensor | None = None
    then: "Origin | None" = None
    whole: bool = False
    """Whether it was a batch norm."""


@dataclass
class Origin:
    """The weighted operation that a tensor comes from, and its readers so far."""

    channels: int
    readers: list[Read] = field(default_factory=list)

    def norm(self) -> tuple[Tensor, Tensor] | None:
        """Return scale and shift (C,) of what scales and shifts the output and alone reads it.

        A batch norm, or products and sums with constants up to the last that adds something or
        turns some signs: one positive number for each channel changes no relevance.
        """
        found, origin = None, self
        scale, shift = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        while origin is not None and len(origin.readers) == 1:
            (read,) = origin.readers
            if read.scale is None and read.shift is None:
                break
            by = torch.ones(1) if read.scale is None else read.scale
            scale, shift = scale * by, shift * by
            if read.shift is not None:
                shift = shift + read.shift
            known, added = found or (torch.ones(1), torch.zeros(1))
            further = scale / known
            turns = bool((further <= 0).any()) and bool((further != further[0]).any())
            if read.whole or turns or bool(((shift - further * added).abs() > 1e-12).any()):
                found = scale, shift
            origin = read.then
        return found


@dataclass(frozen=True)
class Facts:
    """What is known of a tensor by how it was made."""

    low: float = -INFINITE
    high: float = INFINITE
    raw: bool = False
    """Whether a path from the picture has no operation with weights yet."""
    origin: Origin | None = None
    before: Tensor | None = None
    """What went into the softmax or sigmoid that gave this tensor."""
    gate: bool = False
    """Whether it is made of gates and constants alone."""
    zero: float = 0.0
    """What shifts, scales and clips by plain numbers, before this, make of zero."""
    power: object = None
    """The same object for exp(z) and for its sum."""

    @property
    def bounded(self) -> bool:
        return self.low > -INFINITE and self.high < INFINITE

    @property
    def signed(self) -> bool:
        """Whether it may be on either side of zero."""
        return self.low < 0 < self.high


def depends(x: object) -> bool:
    """Whether `x` is computed from the picture; parameters require no gradient."""
    return isinstance(x, Tensor) and x.requires_grad


def facts_of(x: Any) -> Facts:
    """Return what is known of a tensor or a number."""
    if depends(x):
        return getattr(x, "facts", Facts())
    if isinstance(x, Tensor):
        return Facts(float(x.min()), float(x.max()), gate=True) if x.numel() else Facts(gate=True)
    return Facts(float(x), float(x), gate=True)


def hull(*facts: Facts) -> Facts:
    """Return what holds for a tensor of values of several."""
    return Facts(
        min(f.low for f in facts), max(f.high for f in facts), raw=any(f.raw for f in facts),
        gate=all(f.gate for f in facts), power=facts[0].power if len(facts) == 1 else None,
    )  # fmt: skip


def clips(known: Facts, low: float, high: float, zero: float) -> bool:
    """Whether a function with these bounds is a hard sigmoid and no clipped ReLU."""
    return not known.bounded and low > -INFINITE and high < INFINITE and low < zero < high


def times(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b


def product_bounds(a: Facts, b: Facts) -> tuple[float, float]:
    ends = [times(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    return min(ends), max(ends)


def inverse(a: Facts) -> Facts:
    """Return the bounds of 1 / a."""
    if a.low < 0:
        return Facts()
    return Facts(0.0 if a.high == INFINITE else 1 / a.high, 1 / a.low if a.low > 0 else INFINITE)


# --- autograd functions whose gradient is relevance -------------------------------------------

Back = Callable[[Tensor], Sequence[Tensor | None]]


class Ruled(torch.autograd.Function):
    """A function of `inputs`, whose gradient is what `back` makes of the relevance."""

    @staticmethod
    def forward(ctx, compute, back, *inputs):
        ctx.set_materialize_grads(False)
        ctx.back, ctx.count = back, len(inputs)
        return compute()

    @staticmethod
    def backward(ctx, relevance):
        # None: nobody asked for this value, as for a gate.
        if relevance is None:
            return (None,) * (2 + ctx.count)
        return None, None, *ctx.back(relevance)


def plain(tree: Any) -> Any:
    """Return copies of the tensors in `tree`, which no later operation in place changes."""
    return tree_map(lambda x: x.detach().clone() if depends(x) else x, tree)


def away(z: Tensor) -> Tensor:
    """Move z away from zero, zero itself upwards."""
    return z + EPSILON * torch.where(z < 0, -1.0, 1.0).to(z)


def vjp(f: Callable[..., Tensor], inputs: Sequence[Tensor], s: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of sum_j s_j f(inputs)_j."""
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in inputs]
        return torch.autograd.grad(f(*leaves), leaves, s)


def in_proportion(f: Callable[..., Tensor], inputs: Sequence[Tensor], relevance: Tensor) -> Any:
    """Return R_i = x_i sum_j w_ij R_j / z_j for z = f(inputs), affine in all of them."""
    s = relevance / away(f(*inputs))
    return [x * gradient for x, gradient in zip(inputs, vjp(f, inputs, s), strict=True)]


# --- which function has which rule ------------------------------------------------------------

CONVOLUTIONS = {"conv1d", "conv2d", "conv3d"}
TRANSPOSED = {"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
PRODUCTS_OF_MATRICES = {"matmul", "bmm", "mm", "mv", "einsum", "tensordot", "dot"}
AVERAGES = {
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_avg_pool3d", "mean", "sum", "interpolate", "upsample", "upsample_nearest",
    "upsample_bilinear",
}  # fmt: skip
# With their least value, where they are not monotone.
ACTIVATIONS: dict[str, float | None] = {
    "relu": None, "relu6": None, "hardtanh": None, "leaky_relu": None, "elu": None, "selu": None,
    "celu": None, "tanh": None, "softplus": None, "sigmoid": None, "hardsigmoid": None,
    "threshold": None, "log_sigmoid": None, "logsigmoid": None, "softsign": None, "clamp": None,
    "clip": None, "clamp_min": None, "clamp_max": None, "expit": None,
    "silu": -0.2785, "gelu": -0.17, "mish": -0.3089, "hardswish": -0.375,
    "prelu": -INFINITE, "hardshrink": -INFINITE, "softshrink": -INFINITE, "tanhshrink": -INFINITE,
    "rrelu": -INFINITE,
}  # fmt: skip
# What squashes any number into two bounds is a gate.
SQUASHING = {"sigmoid", "expit", "hardsigmoid", "softmax", "softmin", "tanh", "erf", "softsign",
             "sign", "heaviside", "sin", "cos", "atan", "arctan"}  # fmt: skip
CLIPPING = {"relu", "relu6", "hardtanh", "clamp", "clip", "clamp_min", "clamp_max", "threshold"}
# Functions of one number each that are not activations: their bounds serve to find gates.
MONOTONE = {"exp", "sqrt", "log", "log1p", "expm1", "atan", "arctan", "erf"}
FALLING = {"rsqrt", "reciprocal"}
NORMS = {"layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm"}
MOVES = {
    "view", "view_as", "reshape", "reshape_as", "permute", "transpose", "swapaxes", "swapdims",
    "movedim", "moveaxis", "t", "cat", "concat", "concatenate", "stack", "hstack", "vstack",
    "split", "split_with_sizes", "chunk", "tensor_split", "unsafe_chunk", "narrow", "select",
    "__getitem__", "pad", "expand", "expand_as", "broadcast_to", "flatten", "unflatten",
    "pixel_shuffle", "pixel_unshuffle", "roll", "index_select", "gather", "take_along_dim",
    "squeeze", "unsqueeze", "contiguous", "clone", "flip", "fliplr", "flipud", "rot90", "unbind",
    "repeat", "repeat_interleave", "tile", "unfold", "channel_shuffle", "native_channel_shuffle",
    "to", "type", "type_as", "float", "double", "diagonal", "tril", "triu", "alias", "detach",
    "max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices",
    "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
    "adaptive_max_pool2d_with_indices", "max", "min", "amax", "amin", "maximum", "minimum",
    "where", "masked_fill", "__setitem__", "copy_", "masked_select", "broadcast_tensors",
    "meshgrid", "atleast_2d", "index_put", "constant_pad_nd", "as_strided", "topk", "sort",
}  # fmt: skip
SEEN_AS_MOVES = {"T", "mT", "H", "mH", "data"}
PLAIN = {
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "new_zeros",
    "new_ones", "new_empty", "new_full", "new_tensor", "register_hook",
}  # fmt: skip
DROPOUTS = {
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout",
    "feature_dropout",
}  # fmt: skip
ALIASES = {
    "__add__": "add", "__radd__": "add", "__sub__": "sub", "subtract": "sub", "__rsub__": "rsub",
    "__mul__": "mul", "__rmul__": "mul", "multiply": "mul", "__truediv__": "div",
    "true_divide": "div", "divide": "div", "__rdiv__": "rdiv", "__rtruediv__": "rdiv",
    "__matmul__": "matmul", "__rmatmul__": "rmatmul", "__pow__": "pow", "__neg__": "neg",
    "negative": "neg", "multi_head_attention_forward": "multi_head_attention",
    "_native_multi_head_attention": "multi_head_attention",
    "__iadd__": "add_", "__isub__": "sub_", "__imul__": "mul_", "__itruediv__": "div_",
    "__idiv__": "div_",
}  # fmt: skip


class Rules(TorchFunctionMode):
    """Replaces functions of torch by ones whose gradient is the relevance."""

    def __init__(self, convolution: str, flat: bool) -> None:
        super().__init__()
        self.convolution, self.flat = convolution, flat
        self.operations: Counter[tuple[str, str]] = Counter()

    def __torch_function__(self, func, _types, args=(), kwargs=None):  # noqa: PLR0911
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", str(func))
        if name == "_set_grad_enabled":
            return None  # `no_grad` inside a network changes no value
        if not any(depends(x) for x in tree_leaves((args, kwargs))):
            return func(*args, **kwargs)
        if name == "__get__":
            name = func.__self__.__name__
            if name not in SEEN_AS_MOVES:
                return func(*args, **kwargs)
            if name == "data":
                func, name = torch.Tensor.view_as, "view_as"
                args = (args[0], args[0])
            return self.move(name, func, args, kwargs)
        name = ALIASES.get(name, name)
        if name in PLAIN:
            return func(*args, **kwargs)
        if kwargs.get("out") is not None:
            raise Refused(f"{name} with out=")
        if kwargs.pop("inplace", False):
            return self.in_place(args[0], self.apply(name, func, args, kwargs))
        if name.endswith("_") and not name.endswith("__") and name != "copy_":
            base = name[:-1]
            return self.in_place(
                args[0], self.apply(base, getattr(torch.Tensor, base), args, kwargs)
            )
        return self.apply(name, func, args, kwargs)

    def in_place(self, target: Tensor, result: Tensor) -> Tensor:
        """Write `result` into `target`, where all who hold it see it."""
        if result is target:
            return target
        target.copy_(result)
        target.facts = facts_of(result)
        return target

    def apply(self, name, func, args, kwargs):
        """Return the value of a function of the picture, with its rule."""
        if name in MOVES:
            return self.move(name, func, args, kwargs)
        if name in DROPOUTS:
            training = kwargs.get("training", args[2] if len(args) > 2 else True)
            if training:
                raise Refused(f"{name} that is left on")
            return args[0]
        return self.rule(name)(name, func, args, kwargs)

    def rule(self, name: str) -> Callable[..., Any]:
        """Return the method that has a function's rule."""
        for names, method in (
            (CONVOLUTIONS | TRANSPOSED, self.convolve),
            ({"linear"}, self.linear),
            (PRODUCTS_OF_MATRICES, self.matrices),
            ({"batch_norm"}, self.batch_norm),
            ({"add", "sub", "rsub"}, self.add),
            ({"mul"}, self.multiply),
            ({"div", "rdiv"}, self.divide),
            ({"addcmul"}, self.addcmul),
            ({"glu"}, self.glu),
            (AVERAGES, self.average),
            (ACTIVATIONS.keys() | NORMS | {"neg", "square", "pow"}, self.elementwise),
        ):
            if name in names:
                return method
        return self.without_rule

    def addcmul(self, _name, _func, args, kwargs):
        scaled = self(torch.mul, *args[1:3])
        value = kwargs.get("value", 1)
        return self(torch.add, args[0], scaled if value == 1 else self(torch.mul, scaled, value))

    def glu(self, _name, _func, args, kwargs):
        dim = kwargs.get("dim", args[1] if len(args) > 1 else -1)
        content, gate = self(torch.chunk, args[0], 2, dim)
        return self(torch.mul, content, self(torch.sigmoid, gate))

    def __call__(self, func, *args):
        """Call a function under this mode from one of its own rules."""
        with self:
            return func(*args)

    # -- bookkeeping

    def make(self, name, rule, compute, back, inputs, facts, reads=None):
        """Return the value of `compute`, whose relevance `back` gives to `inputs`."""
        self.operations[name, rule] += 1
        for index, x in enumerate(inputs):
            self.read(x, reads if index == 0 else None)
        result = Ruled.apply(compute, back, *inputs)
        result.facts = facts
        return result

    def read(self, x: Tensor, by: Read | None = None) -> None:
        origin = facts_of(x).origin
        if origin is not None:
            origin.readers.append(by or Read())

    # -- movement

    def move(self, name, func, args, kwargs):
        """Values that only move keep their gradient."""
        if name == "detach":
            func, args = torch.Tensor.view_as, (args[0], args[0])
        sources = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        known = [facts_of(x) for x in sources if x.is_floating_point()]
        if name in ("pad", "constant_pad_nd"):
            value = kwargs.get("value", args[3] if len(args) > 3 else None)
            known.append(facts_of(value or 0.0))
        if name in ("where", "masked_fill", "__setitem__"):
            known += [
                facts_of(x)
                for x in tree_leaves((args[1:], kwargs))
                if isinstance(x, float | int) and not isinstance(x, bool)
            ]
        if name == "unfold":
            known.append(facts_of(0.0))
        result = func(*args, **kwargs)
        facts = hull(*known)
        if name == "copy_":
            facts = facts_of(args[1])
        if name in ("__setitem__", "copy_"):
            args[0].facts = facts
        for x in sources:
            if depends(x) and result is not x:
                self.read(x)
        for out in tree_leaves(result):
            if depends(out) and not any(out is x for x in sources):
                out.facts = facts
        self.operations[name, "moves"] += 1
        return result

    # -- operations with weights

    def convolve(self, name, func, args, kwargs):
        order = ["input", "weight", "bias", "stride", "padding"]
        order += (
            ["output_padding", "groups", "dilation"]
            if name in TRANSPOSED
            else ["dilation", "groups"]
        )
        given = dict(zip(order, args, strict=False)) | kwargs
        x, weight, bias = given.pop("input"), given.pop("weight"), given.pop("bias", None)
        if depends(weight) or depends(bias):
            return self.without_rule(f"{name} with weights from the picture", func, args, kwargs)
        weight = weight.double()
        origin = Origin(weight.shape[0])
        groups = given.get("groups", 1)
        if name in TRANSPOSED:
            origin.channels = weight.shape[1] * groups
        rule = "flat" if self.flat and facts_of(x).raw else self.convolution
        value = plain(x)

        def f(inputs: Tensor, weights: Tensor) -> Tensor:
            return func(inputs, weights, None, **given)

        def back(relevance: Tensor) -> list[Tensor]:
            w = weight
            b = torch.zeros(origin.channels, dtype=w.dtype) if bias is None else bias
            if (norm := origin.norm()) is not None:
                scale, shift = norm
                b = b * scale + shift
                w = scaled_outputs(w, scale, groups, name in TRANSPOSED)
            terms: list[tuple[Tensor, Tensor]]
            if rule == "plus":
                terms = [(value.clamp(min=0), w.clamp(min=0)), (value.clamp(max=0), w.clamp(max=0))]
                b = b.clamp(min=0)
            elif rule == "gamma":
                terms = [(value, w + GAMMA * w.clamp(min=0))]
                b = b + GAMMA * b.clamp(min=0)
            elif rule == "epsilon":
                terms = [(value, w)]
            else:
                terms = [(torch.ones_like(value), torch.ones_like(w))]
                b = torch.zeros_like(b)
            z = sum(f(part, weights) for part, weights in terms)
            z = z + b.view(-1, *[1] * (weight.ndim - 2))
            s = relevance / away(z)
            result = torch.zeros_like(value)
            for part, weights in terms:
                (gradient,) = vjp(lambda inputs, weights=weights: f(inputs, weights), [part], s)
                result += part * gradient
            return [result]

        return self.make(
            name, rule, lambda: func(value, weight, bias, **given), back, [x], Facts(origin=origin)
        )

    def linear(self, _name, func, args, kwargs):
        given = dict(zip(["input", "weight", "bias"], args, strict=False)) | kwargs
        x, weight, bias = given["input"], given["weight"], given.get("bias")
        if depends(weight) or depends(bias):
            return self.without_rule("linear with weights from the picture", func, args, kwargs)
        return self.affine(
            "linear",
            x,
            lambda inputs: func(inputs, weight, bias),
            lambda inputs: func(inputs, torch.ones_like(weight)),
        )

    def affine(self, name, x, f, ones):
        """An affine function `f` of x: epsilon, or flat with `ones` for its weights."""
        value = plain(x)
        result = f(value)
        # Only of a matrix (B, C) are the outputs the channels of a norm.
        origin = Origin(result.shape[1]) if result.ndim == 2 else None
        if origin is None and name != "linear":
            origin = Origin(0)  # of which any constant that is added is the bias
        flat = self.flat and facts_of(x).raw

        def back(relevance: Tensor) -> list[Tensor]:
            if flat:
                inputs = torch.ones_like(value)
                s = relevance / away(ones(inputs))
                return list(vjp(ones, [inputs], s))
            norm = None if origin is None else origin.norm()
            if norm is None:
                return in_proportion(f, [value], relevance)
            scale, shift = norm
            return in_proportion(lambda inputs: f(inputs) * scale + shift, [value], relevance)

        rule = "flat" if flat else "epsilon"
        return self.make(name, rule, lambda: result, back, [x], Facts(origin=origin))

    def matrices(self, name, func, args, kwargs):
        """Products of matrices; one of two factors may be a constant, or a gate."""
        leaves = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        inputs = [x for x in leaves if depends(x)]

        def replaced(tensors: dict[int, Tensor]) -> Tensor:
            new_args, new_kwargs = tree_map(lambda x: tensors.get(id(x), x), (args, kwargs))
            return func(*new_args, **new_kwargs)

        if len(inputs) == 1:
            x = inputs[0]
            constants = {id(c): torch.ones_like(c) for c in leaves if not depends(c)}
            return self.affine(
                name,
                x,
                lambda inputs: replaced({id(x): inputs}),
                lambda inputs: replaced({id(x): inputs} | constants),
            )
        if len(inputs) != 2 or inputs[0] is inputs[1]:
            return self.without_rule(name, func, args, kwargs)
        a, b = inputs
        gates = [facts_of(x).gate for x in inputs]
        if all(gates):  # a tanh is the signal of a softmax
            gates = [not facts_of(x).signed for x in inputs]
        if gates[0] == gates[1]:
            return self.without_rule(name, func, args, kwargs)
        values = {id(a): plain(a), id(b): plain(b)}
        content = b if gates[0] else a

        def back(relevance: Tensor) -> list[Tensor | None]:
            (part,) = in_proportion(
                lambda inputs: replaced(values | {id(content): inputs}),
                [values[id(content)]],
                relevance,
            )
            return [part if x is content else None for x in inputs]

        facts = Facts(raw=facts_of(content).raw)
        return self.make(name, "gated", lambda: replaced(values), back, inputs, facts)

    def batch_norm(self, _name, func, args, kwargs):
        order = ["input", "mean", "variance", "weight", "bias", "training", "momentum", "eps"]
        given = dict(zip(order, args, strict=False)) | {
            {"running_mean": "mean", "running_var": "variance"}.get(k, k): v
            for k, v in kwargs.items()
        }
        x = given["input"]
        reads = None
        if not given.get("training", False):
            scale = (given["variance"] + given.get("eps", 1e-5)).rsqrt()
            if given.get("weight") is not None:
                scale = scale * given["weight"]
            shift = -given["mean"] * scale
            if given.get("bias") is not None:
                shift = shift + given["bias"]
            reads = Read(scale, shift, Origin(len(scale)), whole=True)
        value = plain(x)
        then = None if reads is None else reads.then
        return self.make(
            "batch_norm",
            "passes",
            lambda: func(value, *args[1:], **kwargs),
            lambda relevance: [relevance],
            [x],
            Facts(raw=facts_of(x).raw, gate=facts_of(x).gate, origin=then),
            reads,
        )

    # -- sums, products, quotients

    def add(self, name, _func, args, kwargs):
        a, b = args[:2] if len(args) > 1 else (args[0], kwargs["other"])
        alpha = kwargs.get("alpha", args[2] if len(args) > 2 else 1)
        fa, fb = facts_of(a), facts_of(b)
        signs = {"add": (1.0, alpha), "sub": (1.0, -alpha), "rsub": (-alpha, 1.0)}[name]
        low = high = 0.0
        for facts, sign in zip((fa, fb), signs, strict=True):
            ends = (times(sign, facts.low), times(sign, facts.high))
            low, high = low + min(ends), high + max(ends)
        facts = Facts(
            low, high, raw=(depends(a) and fa.raw) or (depends(b) and fb.raw),
            gate=fa.gate and fb.gate,
        )  # fmt: skip
        numbers = [y for y in (a, b) if not depends(y)]
        if len(numbers) == 1 and not (isinstance(numbers[0], Tensor) and numbers[0].ndim):
            ends = [
                sign * (f.zero if depends(y) else float(y))
                for y, f, sign in zip((a, b), (fa, fb), signs, strict=True)
            ]
            facts = replace(facts, zero=sum(ends), power=fa.power or fb.power)

        def f(x: Any, y: Any) -> Tensor:
            return x * signs[0] + y * signs[1]

        if depends(a) and depends(b):
            x, y = plain(a), plain(b)
            return self.make(
                name, "sum", lambda: f(x, y), lambda r: in_proportion(f, [x, y], r), [a, b], facts
            )
        x, constant = (a, b) if depends(a) else (b, a)
        reads = None
        if signs == (1.0, 1.0) and (shift := per_channel(constant, x)) is not None:
            reads = Read(shift=shift, then=Origin(len(shift)))
            facts = replace(facts, origin=reads.then)
        elif signs == (1.0, 1.0) and (facts_of(x).origin or Origin(1)).channels == 0:
            reads = Read(shift=torch.as_tensor(constant, dtype=torch.float64))
        value, other = plain(a), plain(b)
        return self.make(
            name, "passes", lambda: f(value, other), lambda r: [r.sum_to_size(x.shape)], [x],
            facts, reads,
        )  # fmt: skip

    def multiply(self, _name, _func, args, kwargs):
        a, b = args[:2] if len(args) > 1 else (args[0], kwargs["other"])
        fa, fb = facts_of(a), facts_of(b)
        low, high = product_bounds(fa, fb)
        if a is b:
            low = max(low, 0.0)
        x, y = plain(a), plain(b)

        def compute() -> Tensor:
            return x * y

        if not (depends(a) and depends(b)):
            content, constant = (a, b) if depends(a) else (b, a)
            reads, origin = None, None
            if (scale := per_channel(constant, content)) is not None:
                reads = Read(scale, None, origin := Origin(len(scale)))
            factor = facts_of(constant)
            plain_number = not (isinstance(constant, Tensor) and constant.ndim)
            facts = Facts(
                low, high, raw=facts_of(content).raw, origin=origin, gate=facts_of(content).gate,
                zero=facts_of(content).zero * factor.low if plain_number else 0.0,
            )  # fmt: skip
            return self.make(
                "mul", "passes", compute, lambda r: [r.sum_to_size(content.shape)], [content],
                facts, reads,
            )  # fmt: skip
        shares = shared(a, b)

        def back(relevance: Tensor) -> list[Tensor | None]:
            return [
                (relevance * share).sum_to_size(factor.shape) if share else None
                for factor, share in zip((x, y), shares, strict=True)
            ]

        rule = "gated" if 0.0 in shares else "halves"
        raw = any(f.raw for f, share in zip((fa, fb), shares, strict=True) if share)
        gate = (fa.gate and fb.gate) or (fa.power is not None and fa.power is fb.power)
        return self.make("mul", rule, compute, back, [a, b], Facts(low, high, raw=raw, gate=gate))

    def divide(self, name, func, args, kwargs):
        if kwargs.get("rounding_mode") is not None:
            return self.without_rule("div with rounding", func, args, kwargs)
        a, b = args[:2] if len(args) > 1 else (args[0], kwargs["other"])
        a, b = (b, a) if name == "rdiv" else (a, b)
        fa, fb = facts_of(a), facts_of(b)
        over = inverse(fb)
        if not depends(b):
            over = facts_of(1 / b)
        low, high = product_bounds(fa, over)
        x, y = plain(a), plain(b)
        if not depends(a):
            one_over = Facts(low, high, gate=True, power=fb.power)
            return self.refused("div of a constant", lambda: x / y, [b], one_over)
        inputs, reads = [a, b] if depends(b) else [a], None
        if not depends(b) and (by := per_channel(b, a)) is not None:
            reads = Read(1 / by, None, Origin(len(by)))
        return self.make(
            "div",
            "numerator" if depends(b) else "passes",
            lambda: x / y,
            lambda r: [r.sum_to_size(x.shape), None][: len(inputs)],
            inputs,
            Facts(
                low,
                high,
                raw=fa.raw,
                gate=(fa.gate and fb.gate) or (fa.power is not None and fa.power is fb.power),
                zero=fa.zero / b if isinstance(b, float | int) else 0.0,
                origin=None if reads is None else reads.then,
            ),
            reads,
        )

    # -- the rest

    def average(self, name, func, args, kwargs):
        x, rest = args[0], args[1:]
        if not depends(x):
            return self.without_rule(name, func, args, kwargs)
        value = plain(x)

        def f(inputs: Tensor) -> Tensor:
            return func(inputs, *rest, **kwargs)

        result = f(value)
        known = facts_of(x)
        low, high = min(known.low, 0.0), max(known.high, 0.0)
        if name in ("mean", "adaptive_avg_pool2d"):
            low, high = known.low, known.high
        if name == "sum":
            count = value.numel() // max(result.numel(), 1)
            low, high = times(count, known.low), times(count, known.high)
        if kwargs.get("mode") == "bicubic":
            low, high = -INFINITE, INFINITE
        return self.make(
            name,
            "in proportion",
            lambda: result,
            lambda relevance: in_proportion(f, [value], relevance),
            [x],
            Facts(low, high, raw=known.raw, gate=known.gate, power=known.power),
        )

    def elementwise(self, name, func, args, kwargs):
        """Activation functions, powers and norms: relevance passes unchanged."""
        x = args[0]
        if not depends(x) or any(depends(y) for y in tree_leaves((args[1:], kwargs))):
            return self.without_rule(name, func, args, kwargs)
        value = plain(x)
        known = facts_of(x)
        low, high = -INFINITE, INFINITE
        if name == "neg":
            low, high = -known.high, -known.low
        elif name in ("square", "pow"):
            exponent = 2 if name == "square" else args[1] if len(args) > 1 else kwargs["exponent"]
            even = not isinstance(exponent, Tensor) and exponent % 2 == 0
            if even or known.low >= 0:
                low = 0.0
        elif name in ACTIVATIONS:
            least = ACTIVATIONS[name]
            if least is None:
                ends = torch.tensor([known.low, known.high], dtype=torch.float64)
                low, high = func(ends, *args[1:], **kwargs).tolist()
            else:
                low, high = (0.0 if known.low >= 0 else least), max(known.high, 0.0)
        below = name == "pow" and isinstance(exponent, float | int) and exponent < 0
        gate, zero = known.gate or below or name in SQUASHING, 0.0
        if name in CLIPPING:
            zero = float(func(torch.tensor(known.zero, dtype=torch.float64), *args[1:], **kwargs))
            gate = gate or clips(known, low, high, zero)
        elif name == "neg":
            zero = -known.zero
        before = x if name in ("sigmoid", "expit") else None
        return self.make(
            name,
            "passes",
            lambda: func(value, *args[1:], **kwargs),
            lambda relevance: [relevance],
            [x],
            Facts(low, high, raw=known.raw, before=before, gate=gate, zero=zero),
        )

    def without_rule(self, name, func, args, kwargs):
        """A function that is refused when relevance arrives at it."""
        inputs = [x for x in tree_leaves((args, kwargs)) if depends(x)]
        new_args, new_kwargs = plain((args, kwargs))
        result = func(*new_args, **new_kwargs)
        known = facts_of(inputs[0])
        facts = Facts()
        if name in MONOTONE and len(inputs) == 1:
            ends = torch.tensor([known.low, known.high], dtype=torch.float64)
            if name in ("sqrt", "log"):
                ends = ends.clamp(min=0)
            low, high = func(ends).tolist()
            facts = Facts(low, high)
        elif name in FALLING and known.low >= 0:
            facts = inverse(known)
            if name == "rsqrt":
                facts = Facts(math.sqrt(facts.low), math.sqrt(facts.high))
        elif name in ("softmax", "softmin"):
            facts = Facts(0.0, 1.0)
        elif name in ("abs", "norm", "vector_norm", "linalg_vector_norm", "std", "var"):
            facts = Facts(0.0, INFINITE)
        elif name == "log_softmax":
            facts = Facts(-INFINITE, 0.0)
        gate = (
            name in SQUASHING or name in FALLING or all(facts_of(y).gate for y in inputs)
            or (facts.bounded and not known.bounded and name not in CLIPPING)
        )  # fmt: skip
        power = object() if name == "exp" else known.power if name in FALLING else None
        facts = replace(facts, gate=gate, power=power)
        if name in ("softmax", "log_softmax"):
            facts = replace(facts, before=inputs[0])
        return tree_map(
            lambda out: (
                self.refused(name, lambda: out, inputs, facts)
                if isinstance(out, Tensor) and out.is_floating_point()
                else out
            ),
            result,
        )

    def refused(self, name, compute, inputs, facts):
        def back(relevance: Tensor) -> list[None]:
            if relevance.any():
                raise Refused(name)
            return [None] * len(inputs)

        facts = replace(facts, raw=any(facts_of(x).raw for x in inputs))
        return self.make(name, "without rule", compute, back, inputs, facts)


def scaled_outputs(weight: Tensor, scale: Tensor, groups: int, transposed: bool) -> Tensor:
    """Return the weights of a convolution whose outputs are multiplied by `scale`."""
    if not transposed:
        return weight * scale.view(-1, *[1] * (weight.ndim - 1))
    grouped = weight.view(groups, -1, *weight.shape[1:])
    return (grouped * scale.view(groups, 1, -1, *[1] * (weight.ndim - 2))).view(weight.shape)


def per_channel(constant: Any, x: Tensor) -> Tensor | None:
    """Return the numbers of a constant that has one for each of x's channels (dimension 1)."""
    origin = facts_of(x).origin
    if origin is None or not origin.channels:
        return None
    if not isinstance(constant, Tensor) or not constant.ndim:
        return torch.full((origin.channels,), float(constant), dtype=torch.float64)
    if constant.ndim > x.ndim:
        return None
    shape = [1] * (x.ndim - constant.ndim) + list(constant.shape)
    if shape != [origin.channels if dim == 1 else 1 for dim in range(x.ndim)]:
        return None
    return constant.detach().reshape(-1)


def shared(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Return the shares of two factors in the relevance of their product."""
    fa, fb = facts_of(a), facts_of(b)
    all_a, all_b = (1.0, 0.0), (0.0, 1.0)
    if fa.gate != fb.gate:
        return all_b if fa.gate else all_a
    if fa.gate and fa.signed != fb.signed:  # tanh is the signal of a sigmoid
        return all_a if fa.signed else all_b
    if repeated(a, b) != repeated(b, a):
        return all_b if repeated(a, b) else all_a
    return 0.5, 0.5


def repeated(factor: Tensor, other: Tensor) -> bool:
    """Whether `factor` is the same along a dimension in which `other` has many numbers."""
    if factor.ndim != other.ndim:
        return False

    def extents(x: Tensor) -> list[int]:
        # What was expanded has one number along that dimension.
        return [
            1 if stride == 0 else size for size, stride in zip(x.shape, x.stride(), strict=True)
        ][1:]

    return any(s == 1 < large for s, large in zip(extents(factor), extents(other), strict=True))


# Autograd's own functions in `MOVES`; others were called where the mode does not see them.
MOVING_NODES = (
    "View", "UnsafeView", "Reshape", "Permute", "Transpose", "TBackward", "Cat", "Stack", "Split",
    "Chunk", "Slice", "Select", "Index", "ConstantPad", "ReflectionPad", "ReplicationPad",
    "Expand", "Squeeze", "Unsqueeze", "Clone", "Copy", "Roll", "Flip", "Unbind", "Repeat",
    "PixelShuffle", "PixelUnshuffle", "MaxPool", "AdaptiveMaxPool", "Max", "Min", "Amax", "Amin",
    "Where", "MaskedFill", "ToCopy", "Gather", "Im2Col", "Unfold", "Alias", "AccumulateGrad",
    "Diagonal", "Tril", "Triu", "ChannelShuffle", "NativeChannelShuffle", "AsStrided",
    "MaskedSelect", "Sort", "Topk", "Take", "Ruled", "Circular", "SqueezeBackward", "Maximum",
    "Minimum",
)  # fmt: skip


def _guard(output: Tensor) -> None:
    """Refuse relevance that would go through a function that the mode did not see."""
    seen: set[GraphNode] = set()
    todo = [output.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        todo += [following for following, _ in node.next_functions]
        name = node.name().rpartition("::")[2]
        if not name.startswith(MOVING_NODES):
            node.register_prehook(_raiser(name))


def _raiser(name: str) -> Callable[[tuple[Tensor | None, ...]], None]:
    def hook(arriving: tuple[Tensor | None, ...]) -> None:
        if any(relevance is not None and bool(relevance.any()) for relevance in arriving):
            raise Refused(f"{name}, which torch does not show")

    return hook
