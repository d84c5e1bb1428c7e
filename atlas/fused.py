"""The fast engine: LRP with one forward, one of positive parts and one backward pass.

The same numbers as `atlas.relevance.ZennitEngine`, several times faster, because

- behind a ReLU nothing is negative, so half of the z+ rule vanishes (`atlas.rules`),
- nothing is computed below the lowest recorded layer,
- tensors lie in memory with channels last, as fast kernels want them,
- little is kept between forward and backward pass.

It works on a copy of the module that shares what is large; the module itself stays as it is.
"""

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torchvision.models.resnet import BasicBlock, Bottleneck
from zennit.canonizers import Canonizer
from zennit.layer import Sum
from zennit.types import Activation, AvgPool
from zennit.types import Convolution as AnyConvolution

from atlas import rules
from atlas.errors import UserError
from atlas.relevance import PREDICTED, Visit
from atlas.rules import RULES, ConvolutionRule

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}

SCALE: Mapping[torch.dtype, float] = {torch.float16: 2.0**8}
"""The initial relevance is multiplied by this, and maps divided by it: float16 knows nothing
between 0 and 6e-8. A power of two changes no digit."""

INPUT = "input"
"""What `visit` is told in place of a layer for the relevance of the picture."""


def unsupported(module: nn.Module, composite: str) -> str | None:
    """Return why `FusedEngine` cannot do what `ZennitEngine` can, in a few words; None if it can.

    Parameters
    ----------
    module : nn.Module
        A prepared classifier.
    composite : str
        As in the recipe.
    """
    if composite not in RULES:
        return f"it does not have the composite {composite}"
    for name, part in module.named_modules():
        kind = type(part).__name__
        if isinstance(part, AnyConvolution | nn.Linear):
            if type(part).forward not in (nn.Conv2d.forward, nn.Linear.forward):
                return f"{name} is a {kind}"
            if parametrize.is_parametrized(part):
                return f"the weights of {name} are computed"
        if isinstance(part, nn.Conv2d) and (
            part.padding_mode != "zeros" or rules.padding(part) is None
        ):
            return f"{name} pads with other than zeros, or more on one side"
        if isinstance(part, nn.MultiheadAttention):
            return f"{name} is a {kind}"
    return None


class FusedEngine:
    """Layer-wise relevance propagation; see `atlas.relevance.Engine`.

    Parameters
    ----------
    module : nn.Module
        A prepared classifier for which `unsupported` has nothing to say.
    layers : sequence of str
        Whose maps are visited.
    composite : str
        A name in `atlas.rules.RULES`.
    canonizers : sequence of Canonizer
        From `atlas.canonize.canonizers`; they are applied to the copy.
    dtype : {"float32", "bfloat16", "float16"}
        Of weights, activations and relevance. Maps are visited in this type, but those of
        float16 in float32.
    picture : bool
        Whether the relevance of the picture is visited as well, as `INPUT`.
    """

    def __init__(
        self,
        module: nn.Module,
        layers: Sequence[str],
        composite: str,
        canonizers: Sequence[Canonizer] = (),
        dtype: str = "float32",
        picture: bool = False,
    ) -> None:
        if problem := unsupported(module, composite):
            raise UserError(f"the fast engine cannot explain this network: {problem}")
        self._rules = RULES[composite]
        self._dtype = DTYPES[dtype]
        self._scale = SCALE.get(self._dtype, 1.0)
        self._picture = picture
        self._module = private_copy(module, self._dtype)
        for canonizer in canonizers:
            canonizer.apply(self._module)
        self._ready = False
        self._visit: Visit | None = None
        self._roots: list[Tensor] = []
        """Where the graph begins: what relevance is wanted of, lowest first."""
        for name in layers:
            self._module.get_submodule(name).register_forward_hook(self._recorder(name))

    def __call__(self, images: Tensor, targets: Tensor, visit: Visit) -> Tensor:
        """Visit the maps of every layer and return the logits in float32."""
        images = images.to(self._dtype, memory_format=torch.channels_last)
        if not self._ready:
            put_rules(self._module, self._rules, images[:1])
            self._ready = True
        self._visit = visit
        try:
            with torch.enable_grad():
                if self._picture:
                    images = self._root(images)
                    self._watch(INPUT, images)
                logits: Tensor = self._module(images)
            chosen = torch.where(targets == PREDICTED, logits.argmax(dim=1), targets)[:, None]
            initial = torch.zeros_like(logits)
            initial.scatter_(1, chosen, logits.detach().gather(1, chosen) * self._scale)
            torch.autograd.backward(logits, initial, inputs=self._roots)
        finally:
            self._visit = None
            self._roots.clear()
        return logits.detach().float()

    def _recorder(self, name: str) -> Callable[[nn.Module, object, Tensor], Tensor]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            if self._visit is None:  # the trial run of `put_rules`
                return output
            self._visit(name, "activation", self._as_maps(output.detach()))
            if not output.requires_grad:  # nothing below is recorded
                output = self._root(output)
            self._watch(name, output)
            return output

        return hook

    def _root(self, tensor: Tensor) -> Tensor:
        tensor = tensor.detach().requires_grad_()
        self._roots.append(tensor)
        return tensor

    def _watch(self, name: str, output: Tensor) -> None:
        visit = self._visit
        assert visit is not None

        def hook(relevance: Tensor) -> None:
            maps = self._as_maps(relevance)
            visit(name, "relevance", maps / self._scale if self._scale != 1 else maps)

        output.register_hook(hook)  # type: ignore[no-untyped-call]

    def _as_maps(self, output: Tensor) -> Tensor:
        """Give the output of a linear layer (pictures, channels) two positions of extent one."""
        if self._dtype == torch.float16:
            output = output.float()
        return output if output.ndim == 4 else output[:, :, None, None]


class ActivationEngine:
    """Visits activations alone: no graph, channels last; see `atlas.relevance.Engine`.

    Parameters
    ----------
    module : nn.Module
        A prepared classifier.
    layers : sequence of str
        Whose maps are visited.
    dtype : {"float32", "bfloat16", "float16"}
        Of weights and activations.
    """

    def __init__(self, module: nn.Module, layers: Sequence[str], dtype: str = "float32") -> None:
        self._dtype = DTYPES[dtype]
        self._module = private_copy(module, self._dtype)
        self._visit: Visit | None = None
        for name in layers:
            self._module.get_submodule(name).register_forward_hook(self._recorder(name))

    def __call__(self, images: Tensor, targets: Tensor, visit: Visit) -> Tensor:
        """Visit the activations of every layer and return the logits in float32."""
        self._visit = visit
        try:
            with torch.inference_mode():
                images = images.to(self._dtype, memory_format=torch.channels_last)
                logits: Tensor = self._module(images)
                return logits.float()
        finally:
            self._visit = None

    def _recorder(self, name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            assert self._visit is not None
            maps = output if output.ndim == 4 else output[:, :, None, None]
            self._visit(name, "activation", maps)

        return hook


def private_copy(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a copy with weights in `dtype` and channels last; what fits already is shared."""
    memo: dict[int, Any] = {}
    for part in module.modules():
        if isinstance(part, _BatchNorm):  # variances keep their precision
            memo |= {
                id(value): value for value in (*part._parameters.values(),) if value is not None
            }
            memo |= {id(value): value for value in part._buffers.values() if value is not None}
            continue
        for value in part._buffers.values():
            if value is not None:
                memo[id(value)] = _converted(value, dtype)
        for parameter in part._parameters.values():
            if parameter is not None:
                value = _converted(parameter.detach(), dtype)
                memo[id(parameter)] = nn.Parameter(value, requires_grad=False)
    result = copy.deepcopy(module, memo)
    return result.eval()


def _converted(value: Tensor, dtype: torch.dtype) -> Tensor:
    if not value.is_floating_point():
        return value
    if value.ndim == 4:
        return value.to(dtype, memory_format=torch.channels_last)
    return value.to(dtype)


# Rules in place of forward passes ---------------------------------------------------------


def put_rules(module: nn.Module, chosen: rules.Rules, picture: Tensor) -> None:
    """Give each part of `module` its rule, for good.

    Parameters
    ----------
    module : nn.Module
        A copy that nobody else uses, canonized.
    chosen : Rules
        Which rules.
    picture : Tensor
        (1, 3, height, width) for a trial run, to see where nothing is ever negative.
    """
    found = observe(module, picture)
    first = chosen.first
    for part in module.modules():
        forward: Callable[..., Tensor] | None = None
        if isinstance(part, BasicBlock | Bottleneck):
            forward = _residual(part)
        elif isinstance(part, Activation):
            replaced = isinstance(part, nn.ReLU) and part in found.overwritable
            forward = _applied(rules.Pass, torch.relu_ if replaced else part.forward)
        elif isinstance(part, Sum | AvgPool):
            forward = _applied(rules.Norm, part.forward)
        elif isinstance(part, nn.MaxPool2d) and not part.return_indices:
            forward = _applied(rules.MaxPool, part)
        elif isinstance(part, nn.Conv2d):
            rule = ConvolutionRule(part, first or chosen.convolution, part in found.nonnegative)
            forward, first = _applied(rules.Convolution, rule), None
        elif isinstance(part, nn.Linear):
            function = rules.LinearFlat if first == "flat" else rules.LinearEpsilon
            forward, first = _applied(function, part.weight, part.bias), None
        if forward is not None:
            part.forward = forward


def _applied(function: type[torch.autograd.Function], *options: object) -> Callable[..., Tensor]:
    def forward(x: Tensor) -> Tensor:
        result: Tensor = function.apply(x, *options)
        return result

    return forward


def _residual(block: BasicBlock | Bottleneck) -> Callable[[Tensor], Tensor]:
    """Return the forward pass of torchvision's block with `rules.Residual` for its sum."""
    names = ["conv1", "bn1", "relu", "conv2", "bn2"]
    names += ["relu", "conv3", "bn3"] if isinstance(block, Bottleneck) else []
    parts = [getattr(block, name) for name in names]

    def forward(x: Tensor) -> Tensor:
        result = x
        for part in parts:
            result = part(result)
        identity = x if block.downsample is None else block.downsample(x)
        output: Tensor = block.relu(rules.Residual.apply(identity, result))
        return output

    return forward


# What is seen in a trial run --------------------------------------------------------------

aten = torch.ops.aten

CLAMPING = {
    getattr(aten, name + ending)
    for name in ("relu", "sigmoid", "hardsigmoid", "softplus", "abs", "square", "exp", "_softmax")
    for ending in ("", "_")
    if hasattr(aten, name + ending)
}
"""Operations whose output is never negative."""

KEEPING = {
    getattr(aten, name)
    for name in (
        *("max_pool2d_with_indices", "max_pool2d", "avg_pool2d", "_adaptive_avg_pool2d"),
        *("adaptive_max_pool2d", "mean", "sum", "amax", "cat", "stack", "view", "_unsafe_view"),
        *("reshape", "expand", "permute", "transpose", "t", "squeeze", "unsqueeze", "select"),
        *("slice", "split", "split_with_sizes", "clone", "alias", "detach", "native_dropout"),
        *("channel_shuffle", "native_channel_shuffle", "upsample_nearest2d", "maximum"),
    )
}
"""Operations whose output is not negative if no tensor that they read is."""

SCALED = {aten.add, aten.add_, aten.mul, aten.mul_, aten.div, aten.div_}
"""The same, if no number among their arguments is negative either."""

LOWER_BOUND = {aten.clamp, aten.clamp_, aten.clamp_min, aten.hardtanh, aten.hardtanh_}
"""Operations whose second argument bounds the output from below."""

FRESH = {aten.convolution, aten.add, aten.sum}
"""Operations whose output nothing keeps for the backward pass: others may write over it."""


class Observed(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches each operation of a forward pass, by its kind and never by its numbers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nonnegative: set[nn.Module] = set()
        """Layers none of whose inputs is ever negative."""
        self.overwritable: set[nn.Module] = set()
        """ReLUs that may write over their input: nobody else reads it."""
        self._kept: list[Tensor] = []  # so that no id is used twice
        self._never_negative: set[int] = set()
        self._fresh: set[int] = set()
        self._readers: Counter[int] = Counter()
        self._calls: list[tuple[nn.Module, int, bool]] = []

    def before(self, part: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Forward pre-hook."""
        key = id(inputs[0])
        self._calls.append((part, key, key in self._never_negative))

    def conclude(self) -> None:
        """Fill the results: what holds in each call of a part."""
        called = {part for part, _, _ in self._calls}
        self.nonnegative = called - {part for part, _, never in self._calls if not never}
        self.overwritable = called - {
            part
            for part, key, _ in self._calls
            if key not in self._fresh or self._readers[key] != 1
        }

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        output = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs))
        read = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        made = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        kind = func.overloadpacket
        never = self._is_never_negative(kind, args, leaves, read)
        self._kept += read + made
        self._readers.update({id(tensor) for tensor in read})
        if func._schema.is_mutable and not never:  # other views of it may be known by now
            self._never_negative.clear()
        if never:
            self._never_negative.update(map(id, made))
        if kind in FRESH:
            self._fresh.update(map(id, made))
        return output

    def _is_never_negative(
        self, kind: Any, args: tuple[Any, ...], leaves: list[Any], read: list[Tensor]
    ) -> bool:
        if kind in CLAMPING:
            return True
        if kind in LOWER_BOUND and len(args) > 1 and isinstance(args[1], int | float):
            return args[1] >= 0
        if kind is aten.constant_pad_nd and any(isinstance(n, float) and n < 0 for n in leaves):
            return False
        if kind in SCALED and any(isinstance(n, int | float) and n < 0 for n in leaves):
            return False
        known = kind in KEEPING or kind in SCALED or kind is aten.constant_pad_nd
        return known and all(id(tensor) in self._never_negative for tensor in read)


@torch.no_grad()
def observe(module: nn.Module, picture: Tensor) -> Observed:
    """Watch `module` in a forward pass of one picture (1, 3, height, width)."""
    seen = Observed()
    handles = [
        part.register_forward_pre_hook(seen.before)
        for part in module.modules()
        if isinstance(part, nn.Conv2d | nn.ReLU)
    ]
    try:
        with seen:
            module(picture)
    finally:
        for handle in handles:
            handle.remove()
    seen.conclude()
    return seen
