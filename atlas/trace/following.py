"""Following a picture through a network, operation by operation.

`torch` informs a `TorchFunctionMode` of every function that is called on tensors, whoever calls it:
layers, functions, operators, other people's blocks. A tensor that is made from the picture is
*live* and carries a mark that says which operation made it. So the same run of operations is
found for any batch, and what is not live (weights, however they are computed) is a constant.

Nothing is overwritten while a picture is followed: an operation that works in place is carried
out beside its tensor, and the tensor is given the result afterwards.
"""

import inspect
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType, TracebackType
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from atlas.errors import UserError

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class RefusedError(UserError):
    """A network does something that cannot be followed, or has no rule of relevance."""


class Value(NamedTuple):
    """A tensor made from the picture: the output of an operation."""

    operation: int
    output: int = 0


PICTURE = Value(-1)

_SAME = {
    "multiply": "mul", "truediv": "div", "divide": "div", "true_divide": "div", "subtract": "sub",
    "clip": "clamp", "concat": "cat", "concatenate": "cat", "absolute": "abs", "negative": "neg",
    "swapaxes": "transpose", "swapdims": "transpose", "moveaxis": "movedim", "rtruediv": "rdiv",
    "upsample": "interpolate", "upsample_nearest": "interpolate",
    "upsample_bilinear": "interpolate",
    "radd": "add", "rmul": "mul", "rdiv": "rdiv", "greater": "gt", "less": "lt",
    "log_sigmoid": "logsigmoid", "sgn": "sign", "special_expit": "sigmoid",
    "special_softmax": "softmax", "special_log_softmax": "log_softmax",
}  # fmt: skip
"""Names of one operation."""

_AUGMENTED = {
    f"__i{name}__": f"__{name}__"
    for name in ("add", "sub", "mul", "truediv", "div", "pow", "matmul", "and", "or", "xor")
}
"""Operators that overwrite their first operand (`x += y`), with those that do not."""

_VIEWS: Mapping[str, Callable[..., Any]] = {
    "view": torch.Tensor.reshape,
    "view_as": torch.Tensor.reshape_as,
}
"""Views need an order of the values in memory which pictures here may have otherwise."""

_TAKES_OUT = {"item", "tolist", "numpy", "array", "float", "int", "index", "complex", "dlpack"}
"""Functions that turn tensors into something else, which cannot be followed."""

_OF_SHAPE = {
    "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like",
    "new_zeros", "new_ones", "new_full", "new_empty", "new_tensor",
}  # fmt: skip
"""Functions that take the shape of a tensor alone."""

OF_TYPE = frozenset(("to", "type_as", "expand_as", "view_as", "reshape_as"))
"""Functions that take type, device or shape of a tensor they get besides the first."""

_DECIDE = {"bool", "equal", "allclose", "is_nonzero", "contains"}
"""Functions that answer yes or no by the values of tensors."""

_runs = itertools.count()


class _Memory:
    """Tensors that share memory; what overwrites one of them changes the others."""

    overwritten = ""


@dataclass(frozen=True)
class _Mark:
    run: int
    value: Value
    memory: _Memory


@dataclass(frozen=True)
class Call:
    """A function about to be called on live tensors."""

    number: int
    """Number of the operation, counted from 0 over the run."""
    name: str
    """Name of the operation: `conv2d`, `add`, whatever way it is called."""
    function: Callable[..., Any]
    """What computes it without overwriting anything."""
    arguments: Arguments
    live: Sequence[Tensor]
    """The tensors among the arguments that are made from the picture, in order."""
    inputs: Sequence[Value]
    """What they are."""

    def __call__(self) -> Any:
        """Carry it out."""
        positional, named = self.arguments
        return self.function(*positional, **named)


def compiler_is_there() -> bool:
    """Return whether torch's compiler was imported, which is slow: else nothing is compiled."""
    return "torch._dynamo" in sys.modules


class Following(TorchFunctionMode):
    """While entered, knows every tensor that is made from the picture.

    Parameters
    ----------
    picture : Tensor
        (B, channels, height, width): the network's input. Pass `following.picture` to the
        network, which is the same.
    """

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        self._run = next(_runs)
        self._count = 0
        self._eager = torch.compiler.set_stance("force_eager") if compiler_is_there() else None
        """Compiled functions inside a network run as they are written."""
        self.refusal: RefusedError | None = None
        """What was refused where TorchScript makes a text of every error."""
        self._recorded = False
        """Whether PyTorch records gradients of something that was overwritten."""
        self.picture = torch.ops.aten.alias(picture)  # a tensor of its own, with the same strides
        self._mark(self.picture, PICTURE, _Memory())

    def __enter__(self) -> Self:
        if self._eager:
            self._eager.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        if self._eager:
            self._eager.__exit__(kind, error, trace)

    def compute(self, call: Call) -> Any:
        """Return what an operation gives. Subclasses see each operation here."""
        return call()

    def made_constant(self, result: Any, args: Sequence[Any], options: Mapping[str, Any]) -> None:
        """Note that something was made which has nothing of the picture but shapes."""

    def decided(self, call: Call, answer: bool) -> None:
        """Note that the network asks something of the picture, on which its course may depend."""

    def rebound(self, tensor: Tensor, result: Tensor) -> None:
        """Note that `tensor` holds the values of `result` from now on."""

    def value(self, tensor: Tensor) -> Value | None:
        """Return which output of which operation a tensor is; None for constants."""
        mark = self._mark_of(tensor)
        return None if mark is None else mark.value

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Carry out a function, and number it if it reads live tensors."""
        options = dict(kwargs or {})
        if self._recorded:
            args, options = mapped(_now, args), mapped(_now, options)
        if torch._C._functorch.maybe_current_level() is not None:
            raise RefusedError(
                f"{function_name(func)} is called inside a transform of torch.func (vmap, grad, "
                "jvp), whose tensors cannot be followed: call it on all pictures at once"
            )
        with torch.inference_mode(mode=False):  # whatever the network says: results are kept
            live = [one for one in tensors((args, options)) if self._mark_of(one) is not None]
            name = function_name(func)
            constant = name in OF_TYPE and bool(args) and all(one is not args[0] for one in live)
            if not live or constant or name in _OF_SHAPE:
                result = func(*args, **options)
                self.made_constant(result, args, options)
                return result
            return self._follow(func, args, options, live)

    def _follow(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        options: dict[str, Any],
        live: list[Tensor],
    ) -> Any:
        name = function_name(func)
        _in_full_precision(name, live[0].device.type)
        if isinstance(func, OpOverload):
            self.refusal = RefusedError(
                f"{name} is called by something that cannot be followed (TorchScript, or an "
                "operator of its own): give the network as Python code that calls functions of "
                f"torch (torch.{name}, not torch.ops.aten.{name})"
            )
            raise self.refusal
        if options.get("out") is not None:
            raise RefusedError(f"{name}(out=...) writes where it cannot be followed")
        marks = [self._mark_of(one) for one in live]
        for mark in marks:
            if mark is not None and mark.memory.overwritten:
                raise RefusedError(
                    f"{name} reads a view of a tensor that {mark.memory.overwritten} has "
                    "overwritten in place: make a new tensor there (x = x + y, not x += y or "
                    "x.add_(y); torch.cat, not x[:, :4] += y)"
                )
        plain, arguments, target = beside(func, args, options)
        if target is not None and self._mark_of(target) is None:
            raise RefusedError(
                f"{name}_ writes what is made from the picture into a tensor that is not: make a "
                f"new tensor there ({name}, without the underscore)"
            )
        call = Call(
            self._count, name, plain, arguments, live, [mark.value for mark in marks if mark]
        )
        result = self.compute(call)
        outputs = list(tensors(result))
        if not outputs:
            if isinstance(result, bool) and name in _DECIDE:
                self.decided(call, result)
            if name in _TAKES_OUT:
                raise RefusedError(
                    f"{name} takes values out of the tensors of torch: compute with tensors there "
                    "(x / x.amax(), not x / x.amax().item())"
                )
            if name == "setitem" or getattr(func, "__name__", "") == "__set__":
                raise RefusedError(
                    "a part of a tensor is overwritten (x[...] = ...): write it with torch.cat or "
                    "torch.where"
                )
            return result
        self._count += 1
        if target is not None:
            (made,) = outputs
            mark = self._mark_of(target)
            assert mark is not None
            mark.memory.overwritten = f"{name}_"
            if made.requires_grad and made is not target:  # it is needed for the gradients
                self._recorded = True
                self._mark(made, Value(call.number), _Memory())
                target._concept_atlas_now = made  # type: ignore[attr-defined]
            else:
                target.data = made
            self.rebound(target, made)
            self._mark(target, Value(call.number), _Memory())
            return target
        return self._marked(result, call)

    def _marked(self, result: Any, call: Call) -> Any:
        """Mark the tensors of a result; none is one of the arguments themselves."""
        places = itertools.count()
        shared = {one.untyped_storage()._cdata: self._memory_of(one) for one in call.live}

        def mark(one: Any) -> Any:
            if not isinstance(one, Tensor):
                return one
            if self._mark_of(one) is not None or isinstance(one, torch.nn.Parameter):
                fresh = one.view_as(one)
                self.rebound(fresh, one)
                one = fresh
            memory = shared.get(one.untyped_storage()._cdata) or _Memory()
            self._mark(one, Value(call.number, next(places)), memory)
            return one

        return mapped(mark, result)

    def _mark(self, tensor: Tensor, value: Value, memory: _Memory) -> None:
        tensor._concept_atlas = _Mark(self._run, value, memory)  # type: ignore[attr-defined]

    def _mark_of(self, tensor: Tensor) -> _Mark | None:
        mark: _Mark | None = getattr(tensor, "_concept_atlas", None)
        return mark if mark is not None and mark.run == self._run else None

    def _memory_of(self, tensor: Tensor) -> _Memory:
        mark = self._mark_of(tensor)
        assert mark is not None
        return mark.memory


def _in_full_precision(name: str, device: str) -> None:
    """Refuse what is called under autocast."""
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        raise RefusedError(
            f"{name} is called under torch.autocast, in half precision: take that out of the "
            "network's forward (relevance is computed in float32)"
        )


def _now(tensor: Tensor) -> Tensor:
    """Return what a tensor was overwritten with last, if gradients are recorded; else itself."""
    while (made := getattr(tensor, "_concept_atlas_now", None)) is not None:
        tensor = made
    return tensor


def tensors(structure: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples, lists and dicts."""
    if isinstance(structure, Tensor):
        yield structure
    elif isinstance(structure, (tuple, list)):
        for part in structure:
            yield from tensors(part)
    elif isinstance(structure, Mapping):
        for part in structure.values():
            yield from tensors(part)


def mapped(change: Callable[[Any], Any], structure: Any) -> Any:
    """Return nested tuples, lists and dicts with `change` made to every tensor."""
    if isinstance(structure, Tensor):
        return change(structure)
    if isinstance(structure, (tuple, list)):
        parts = [mapped(change, part) for part in structure]
        if isinstance(structure, tuple) and hasattr(structure, "_fields"):
            return type(structure)(*parts)
        if type(structure) in (tuple, list):
            return type(structure)(parts)
        return type(structure)(parts)  # torch.Size, and what torch.max gives
    if isinstance(structure, dict):
        return {key: mapped(change, part) for key, part in structure.items()}
    return structure


def function_name(func: Callable[..., Any]) -> str:
    """Return an operation's one name: of `torch.add`, `Tensor.add_`, `x + y`, `x += y`: `add`."""
    name = str(getattr(func, "__name__", type(func).__name__))
    if name in ("__get__", "__set__"):  # an attribute, as `x.T`
        name = str(getattr(getattr(func, "__self__", None), "__name__", name))
    name = _AUGMENTED.get(name, name).partition(".")[0].strip("_")
    return _SAME.get(name, name)


def beside(
    func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[Callable[..., Any], Arguments, Tensor | None]:
    """Return a call that overwrites nothing.

    Returns
    -------
    function, arguments, tensor
        What to call instead, with what, and the tensor that the original would overwrite with
        the result; None if it overwrites none.
    """
    if isinstance(func, FunctionType) and "inplace" in _parameters(func):
        given = dict(zip(_parameters(func), args, strict=False)) | options
        if not given.get("inplace"):
            return func, (args, options), None
        return func, ((), given | {"inplace": False}), next(iter(given.values()))
    name = str(getattr(func, "__name__", ""))
    function = _in_any_order(name, (*args, *options.values())) or func
    if not _overwrites(name):
        return function, (args, options), None
    target = args[0] if args else options.get("input", options.get("self"))
    if (plain := _without_underscore(name)) is not None:
        return plain, (args, options), target
    copied = (target.clone(), *args[1:]) if isinstance(target, Tensor) else args
    return func, (copied, options), target


def _in_any_order(name: str, given: Sequence[Any]) -> Callable[..., Any] | None:
    """Return what does the same as a view for any order of the values in memory."""
    of_type = any(isinstance(one, torch.dtype) for one in given)  # the bytes seen as other numbers
    return None if of_type else _VIEWS.get(name)


def _overwrites(name: str) -> bool:
    plain = name.partition(".")[0]
    return name in _AUGMENTED or (plain.endswith("_") and not plain.endswith("__"))


def _without_underscore(name: str) -> Callable[..., Any] | None:
    """Return the function that does the same as `name`, but overwrites nothing."""
    plain = _AUGMENTED.get(name, name.partition(".")[0].rstrip("_"))
    for home in (torch.Tensor, torch, F):
        found: Callable[..., Any] | None = getattr(home, plain, None)
        if callable(found):
            return found
    return None


_known_parameters: dict[Callable[..., Any], tuple[str, ...]] = {}


def _parameters(func: FunctionType) -> tuple[str, ...]:
    if func not in _known_parameters:
        try:
            _known_parameters[func] = tuple(inspect.signature(func).parameters)
        except ValueError:  # it wraps a function of C, as that of `x ** y`
            _known_parameters[func] = ()
    return _known_parameters[func]
