"""Between which numbers the values of a tensor lie, whatever the picture.

It follows from how a network is made: what comes out of a ReLU is never negative, what comes
out of a sigmoid lies between 0 and 1, and so on through pools, sums and products. The values of
the one picture that is run through it play no part.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from atlas.trace.following import tensors

aten = torch.ops.aten


class Bounds(NamedTuple):
    """The lowest and the highest value that is possible."""

    low: float = -math.inf
    high: float = math.inf

    @property
    def never_negative(self) -> bool:
        """Whether no value is below 0."""
        return self.low >= 0

    @property
    def signed(self) -> bool:
        """Whether there may be values on both sides of 0."""
        return self.low < 0 < self.high

    @property
    def finite(self) -> bool:
        """Whether there is a lowest and a highest value."""
        return self.low > -math.inf and self.high < math.inf


ANY = Bounds()

_RANGES = {
    aten.sigmoid: Bounds(0, 1),
    aten.hardsigmoid: Bounds(0, 1),
    aten._softmax: Bounds(0, 1),
    aten._log_softmax: Bounds(-math.inf, 0),
    aten.log_sigmoid_forward: Bounds(-math.inf, 0),
    aten.tanh: Bounds(-1, 1),
    aten.erf: Bounds(-1, 1),
    aten.erfc: Bounds(0, 2),
    aten.special_ndtr: Bounds(0, 1),
    aten.softplus: Bounds(0),
    aten.abs: Bounds(0),
    aten.sqrt: Bounds(0),
    aten.rsqrt: Bounds(0),
    aten.linalg_vector_norm: Bounds(0),
    aten.silu: Bounds(-0.2785),
    aten.gelu: Bounds(-0.1701),
    aten.hardswish: Bounds(-0.375),
    aten.mish: Bounds(-0.3089),
}
"""What these functions give of anything."""

_KEEP = {
    aten.max_pool2d_with_indices, aten.max_pool3d_with_indices, aten.adaptive_max_pool2d,
    aten._adaptive_avg_pool2d, aten._adaptive_avg_pool3d,
    aten.mean, aten.amax, aten.amin, aten.max, aten.min, aten.cat, aten.stack,
    aten.where, aten.view, aten._unsafe_view, aten.reshape, aten.flatten,
    aten.squeeze, aten.unsqueeze, aten.expand, aten.permute, aten.transpose, aten.t, aten.slice,
    aten.select, aten.split, aten.split_with_sizes, aten.unbind, aten.index, aten.gather,
    aten.clone, aten.detach, aten.alias, aten._to_copy, aten.roll, aten.flip, aten.repeat,
    aten.pixel_shuffle, aten.pixel_unshuffle, aten.reflection_pad2d, aten.replication_pad2d,
    aten.upsample_nearest2d, aten.upsample_bilinear2d, aten._upsample_nearest_exact2d,
    aten.as_strided, aten.index_select, aten.channel_shuffle, aten.native_dropout,
}  # fmt: skip
"""What these give lies between the lowest and the highest of what they take."""


def _relu(x: Bounds) -> Bounds:
    return Bounds(max(x.low, 0), max(x.high, 0))


def _clamped(x: Bounds, low: float | None, high: float | None) -> Bounds:
    low = -math.inf if low is None else low
    high = math.inf if high is None else high
    return Bounds(min(max(x.low, low), high), min(max(x.high, low), high))


def _times(x: Bounds, y: Bounds) -> Bounds:
    ends = [0.0 if 0 in (a, b) else a * b for a in x for b in y]
    return Bounds(min(ends), max(ends))


def _plus(x: Bounds, y: Bounds) -> Bounds:
    return Bounds(x.low + y.low, x.high + y.high)


class BoundsMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While entered, learns of every tensor between which numbers it lies."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known: dict[int, tuple[Tensor, Bounds]] = {}  # with the tensors: ids stay unique

    def of(self, tensor: Tensor) -> Bounds:
        """Return what is known of a tensor."""
        return self._known[id(tensor)][1] if id(tensor) in self._known else ANY

    def learn(self, tensor: Tensor, bounds: Bounds) -> None:
        """Note what is known of a tensor."""
        self._known[id(tensor)] = tensor, bounds

    def constant(self, tensor: Tensor) -> None:
        """Note that a tensor is the same for every picture."""
        plain = tensor.layout == torch.strided and not tensor.is_meta
        if plain and tensor.is_floating_point() and tensor.numel():
            low, high = torch.aminmax(tensor.detach())
            self.learn(tensor, Bounds(float(low), float(high)))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        result = func(*args, **options)
        bounds = self._after(func.overloadpacket, args, options)
        for made in tensors(result):
            self.learn(made, bounds)
        return result

    def _after(self, packet: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Bounds:
        """Return the bounds of what an operation gives."""
        name = str(packet).removeprefix("aten.")
        plain = getattr(aten, name.rstrip("_"), packet) if name.endswith("_") else packet
        if plain in _RANGES:
            return _RANGES[plain]
        read = [self.of(one) for one in tensors((args, options)) if one.dtype != torch.bool]
        if plain in _KEEP and read:
            return Bounds(min(x.low for x in read), max(x.high for x in read))
        rule = _RULES.get(plain)
        if rule is None or not args:
            return ANY
        bounds = [self._number(one) for one in args]
        return rule(bounds, args, options)

    def _number(self, argument: Any) -> Bounds:
        if isinstance(argument, Tensor):
            return self.of(argument)
        if isinstance(argument, (int, float)) and not isinstance(argument, bool):
            return Bounds(argument, argument)
        return ANY


Rule = Callable[[Sequence[Bounds], Sequence[Any], Mapping[str, Any]], Bounds]


def _add(bounds: Sequence[Bounds], args: Sequence[Any], options: Mapping[str, Any]) -> Bounds:
    alpha = options.get("alpha", args[2] if len(args) > 2 else 1)
    return _plus(bounds[0], _times(bounds[1], Bounds(alpha, alpha)))


def _subtract(bounds: Sequence[Bounds], args: Sequence[Any], options: Mapping[str, Any]) -> Bounds:
    alpha = options.get("alpha", args[2] if len(args) > 2 else 1)
    return _plus(bounds[0], _times(bounds[1], Bounds(-alpha, -alpha)))


def _divide(bounds: Sequence[Bounds], args: Sequence[Any], options: Mapping[str, Any]) -> Bounds:
    low, high = bounds[1]
    if options.get("rounding_mode") or not (low > 0 or high < 0):
        return Bounds(0) if bounds[0].low >= 0 and low >= 0 else ANY
    return _times(bounds[0], Bounds(1 / high, 1 / low))


def _sum(bounds: Sequence[Bounds], args: Sequence[Any], options: Mapping[str, Any]) -> Bounds:
    return Bounds(0 if bounds[0].low >= 0 else -math.inf, 0 if bounds[0].high <= 0 else math.inf)


def _power(bounds: Sequence[Bounds], args: Sequence[Any], options: Mapping[str, Any]) -> Bounds:
    exponent = args[1]
    even = isinstance(exponent, (int, float)) and exponent % 2 == 0
    return Bounds(0) if even or bounds[0].low >= 0 else ANY


def _exponential(base: float) -> Rule:
    def power(exponent: float) -> float:
        try:
            return math.pow(base, exponent)
        except OverflowError:
            return math.inf

    return lambda bounds, *_: Bounds(power(bounds[0].low), power(bounds[0].high))


def _hardtanh(bounds: Sequence[Bounds], args: Sequence[Any], options: Mapping[str, Any]) -> Bounds:
    low, high = (*args[1:], *(-1, 1)[len(args) - 1 :])[:2]
    return _clamped(bounds[0], low, high)


def _clamp(bounds: Sequence[Bounds], args: Sequence[Any], options: Mapping[str, Any]) -> Bounds:
    low, high = (*args[1:], None, None)[:2]
    low, high = options.get("min", low), options.get("max", high)
    numbers = [None if isinstance(one, Tensor) else one for one in (low, high)]
    return _clamped(bounds[0], *numbers)


def _padded(bounds: Sequence[Bounds], args: Sequence[Any], options: Mapping[str, Any]) -> Bounds:
    value = args[2] if len(args) > 2 else 0
    return Bounds(min(bounds[0].low, value), max(bounds[0].high, value))


def _with_zeros(
    bounds: Sequence[Bounds], args: Sequence[Any], options: Mapping[str, Any]
) -> Bounds:
    return Bounds(min(bounds[0].low, 0), max(bounds[0].high, 0))


_RULES: Mapping[Any, Rule] = {
    aten.relu: lambda bounds, *_: _relu(bounds[0]),
    aten.add: _add,
    aten.sub: _subtract,
    aten.rsub: lambda bounds, args, options: _subtract(bounds[1::-1], args, options),
    aten.mul: lambda bounds, *_: _times(bounds[0], bounds[1]),
    aten.div: _divide,
    aten.neg: lambda bounds, *_: Bounds(-bounds[0].high, -bounds[0].low),
    aten.sum: _sum,
    aten.pow: _power,
    aten.square: lambda *_: Bounds(0),
    aten.exp: _exponential(math.e),
    aten.exp2: _exponential(2),
    aten.hardtanh: _hardtanh,
    aten.clamp: _clamp,
    aten.minimum: lambda bounds, *_: Bounds(*map(min, bounds[0], bounds[1])),
    aten.maximum: lambda bounds, *_: Bounds(*map(max, bounds[0], bounds[1])),
    aten.clamp_min: lambda bounds, args, _: _clamped(bounds[0], args[1], None),
    aten.clamp_max: lambda bounds, args, _: _clamped(bounds[0], None, args[1]),
    aten.constant_pad_nd: _padded,
    aten.avg_pool2d: _with_zeros,
    aten.avg_pool3d: _with_zeros,
}
