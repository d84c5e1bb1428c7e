"""What each of torch's operations does to positions: what its output sees of a picture.

The rules serve `atlas.trace.sights`. A rule is given one operation that was carried out and
returns what the elements of its output see, or gives up (`LostError`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch._ops import OpOverload

from atlas.trace import moves, windows
from atlas.trace.axes import LostError, Sight, united
from atlas.trace.executed import ExecutedOperation, carried

aten = torch.ops.aten


def _elementwise(call: ExecutedOperation) -> Sight:
    """Broadcast: dimensions are counted from the last."""
    sights = []
    for tensor, sight in call.seen:
        more = len(call.shape) - tensor.ndim
        to = {dim: dim + more for dim in range(tensor.ndim)}
        sights.append(carried(sight, tensor.shape, to, call.shape))
    return united(sights, call.everything)


def _norm(call: ExecutedOperation) -> Sight:
    """Batch norm: of each element by itself; by statistics of the picture if none are given."""
    sight = _elementwise(call)
    return _beyond(sight) if call.argument(5, False) else sight


def _group_norm(call: ExecutedOperation) -> Sight:
    """Normalise each element by itself, by statistics of the picture."""
    return _beyond(_elementwise(call))


def _beyond(sight: Sight) -> Sight:
    return replace(sight[0], whole=True), replace(sight[1], whole=True)


def _softmax(call: ExecutedOperation) -> Sight:
    """Weigh each element by itself, by the sum along a dimension that may have positions."""
    shape, sight = call.only()
    dim = call.argument(1, 0) % len(shape)
    rows, columns = (
        replace(axis, whole=True) if axis.count > 1 and axis.within(shape) == dim else axis
        for axis in sight
    )
    return rows, columns


def _layer_norm(call: ExecutedOperation) -> Sight:
    """Normalise each element by itself, by statistics over the last dimensions."""
    shape, sight = call.only()
    first = len(shape) - len(call.args[1])
    dims = [axis.within(shape) if axis.count > 1 else None for axis in sight]
    rows, columns = (
        axis if dim is None or dim < first else replace(axis, whole=True)
        for axis, dim in zip(sight, dims, strict=True)
    )
    return rows, columns


def _halved(call: ExecutedOperation) -> Sight:
    """Gate one half of a dimension, which must not be one of positions, by the other."""
    shape, sight = call.only()
    halved = call.argument(1, -1) % len(shape)
    same = {dim: dim for dim in range(len(shape)) if dim != halved}
    return carried(sight, shape, same, call.shape)


def rule_of(operation: OpOverload) -> Callable[[ExecutedOperation], Sight] | None:
    """Return the rule of an operation; None if it is not known where positions go."""
    rule = RULES.get(operation.overloadpacket)
    pointwise = torch.Tag.pointwise in operation.tags
    return _elementwise if rule is None and pointwise else rule


def _product(call: ExecutedOperation) -> Sight:
    """Multiply matrices, (n, k) by (k, m), or (b, n, k) by (b, k, m).

    Of positions along k, if both have them there, one sum over all is left; if they meet weights,
    they are mixed.
    """
    live = {id(tensor): sight for tensor, sight in call.seen}
    left, right = call.args[-2:]
    last = len(call.shape) - 1
    sights = []
    for tensor, other, summed in ((left, right, last), (right, left, last - 1)):
        if id(tensor) not in live:
            continue
        shape, sight = tensor.shape, live[id(tensor)]
        axes = []
        for axis, whole in zip(sight, call.everything, strict=True):
            if axis.count > 1 and axis.within(shape) == summed:
                if id(other) not in live:
                    raise LostError
                axes.append(whole)
            else:
                axes.append(axis)
        kept = {dim: dim for dim in range(last + 1) if dim != summed}
        sights.append(carried((axes[0], axes[1]), shape, kept, call.shape))
    if len(sights) != len(call.seen):
        raise LostError
    return united(sights, call.everything)


RULES: Mapping[Any, Callable[[ExecutedOperation], Sight]] = (
    {
        aten.convolution: windows.convolution,
        aten.max_pool2d_with_indices: windows.max_pool,
        aten.avg_pool2d: windows.average_pool,
        aten.avg_pool3d: windows.average_pool,
        aten._adaptive_avg_pool2d: windows.adaptive_pool,
        aten.upsample_nearest2d: windows.nearest,
        aten._upsample_nearest_exact2d: windows.nearest_exact,
        aten.upsample_bilinear2d: windows.between(1),
        aten._upsample_bilinear2d_aa: windows.between(1),
        aten.upsample_bicubic2d: windows.between(2),
        aten._upsample_bicubic2d_aa: windows.between(2),
        aten.pixel_shuffle: windows.shuffle,
        aten.pixel_unshuffle: windows.unshuffle,
        aten.reflection_pad2d: moves.pad,
        aten.replication_pad2d: moves.pad,
        aten.channel_shuffle: _elementwise,
        aten.native_channel_shuffle: _elementwise,
        aten.glu: _halved,
        aten.native_group_norm: _group_norm,
        aten.adaptive_max_pool2d: windows.adaptive_pool,
        aten.mean: moves.reduced(),
        aten.sum: moves.reduced(),
        aten.amax: moves.reduced(),
        aten.amin: moves.reduced(),
        aten.max: moves.reduced(),
        aten.min: moves.reduced(),
        aten.var: moves.reduced(),
        aten.std: moves.reduced(),
        aten.var_mean: moves.reduced(),
        aten.std_mean: moves.reduced(),
        aten.logsumexp: moves.reduced(),
        aten.linalg_vector_norm: moves.reduced(2),
        aten.native_batch_norm: _norm,
        aten.cudnn_batch_norm: _norm,
        aten.miopen_batch_norm: _norm,
        aten._native_batch_norm_legit_no_training: _elementwise,
        aten.native_layer_norm: _layer_norm,
        aten.addmm: _product,
        aten.mm: _product,
        aten.bmm: _product,
        aten._softmax: _softmax,
        aten._log_softmax: _softmax,
        aten.im2col: windows.im2col,
        aten.unfold: windows.unfold,
        aten.slice: moves.cut_out,
        aten.split: moves.split,
        aten.split_with_sizes: moves.split,
        aten.select: moves.select,
        aten.unbind: moves.select,
        aten.stack: moves.stack,
        aten.repeat: moves.repeat,
        aten.index_select: moves.index_select,
        aten.flip: moves.flip,
        aten.cumsum: moves.along,
        aten.cat: moves.concatenate,
        aten.constant_pad_nd: moves.pad,
        aten.permute: moves.permute,
        aten.transpose: moves.transpose,
        aten.t: moves.transpose,
    }
    | {
        getattr(aten, name): moves.reshape
        for name in ("view", "_unsafe_view", "squeeze", "unsqueeze", "squeeze_", "unsqueeze_")
    }
    | {
        getattr(aten, name + ending): _elementwise
        for name in (
            *("add", "sub", "rsub", "mul", "div", "pow", "maximum", "minimum", "where", "copy"),
            *("relu", "leaky_relu", "elu", "celu", "silu", "gelu", "mish", "hardtanh", "hardswish"),
            *("hardsigmoid", "sigmoid", "tanh", "softplus", "clamp", "clamp_min", "clamp_max"),
            *("abs", "neg", "exp", "log", "sqrt", "rsqrt", "square", "reciprocal", "_prelu_kernel"),
            *("addcmul", "addcdiv", "lerp", "erf", "sin", "cos", "atan", "log_sigmoid_forward"),
            *("gt", "ge", "lt", "le", "eq", "ne", "logical_not", "logical_and", "logical_or"),
            *("masked_fill", "threshold", "hardshrink", "softshrink", "log1p", "expm1"),
            *("clone", "alias", "detach", "_to_copy", "expand", "native_dropout"),
        )
        for ending in ("", "_")
        if hasattr(aten, name + ending)
    }
)
"""The rule of each operation, whatever its overload; after others positions are lost."""
