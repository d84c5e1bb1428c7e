"""A network described: what it does with a picture, found out by running it once.

The description holds every operation on tensors that are made from the picture, in order, with
what it reads, between which numbers its outputs lie, and, for the modules of the network, which
output is theirs and where its units stand. It is made at the level of operations, so it does not
matter whose blocks a network is built of.
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from atlas.errors import UserError, one_line
from atlas.trace.axes import Axis
from atlas.trace.batches import not_alone, several, unlike
from atlas.trace.bounds import Bounds, BoundsMode
from atlas.trace.following import (
    PICTURE,
    Arguments,
    Call,
    Following,
    RefusedError,
    Value,
    compiler_is_there,
    mapped,
    tensors,
)
from atlas.trace.sights import ReceptiveField, Tracker, receptive_field
from atlas.trace.state import answers_by, changed, kept, state_of, summary

REPEATED = "is used more than once for a picture, so it has no one map"
"""The problem of a layer with shared weights."""


@dataclass(frozen=True)
class Operation:
    """One operation on tensors that are made from the picture."""

    number: int
    name: str
    """`conv2d`, `add`: the same whatever way it is called."""
    place: str
    """Name of the innermost module that carries it out; empty for the network itself."""
    function: Callable[..., Any]
    arguments: Arguments
    """What it is called with; `Value`s in place of tensors that are made from the picture."""
    inputs: tuple[Value, ...]
    """Those values, in order."""
    shapes: tuple[tuple[int, ...], ...]
    """Shapes of the inputs; 1 for a dimension along which one number was expanded."""
    outputs: tuple[tuple[int, ...], ...]
    """Shapes of the outputs."""
    bounds: tuple[Bounds, ...]
    """Between which numbers the inputs lie, whatever the picture."""
    numbers: tuple[bool, ...]
    """Which inputs are floating-point numbers, not indices or conditions."""
    placed: tuple[bool, ...]
    """Which inputs are known to have a value for each place, and not one for the whole picture."""
    pooled: bool = False
    """Whether its outputs are known to have one value for the whole picture."""

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument by its place or its name."""
        positional, named = self.arguments
        if len(positional) > place:
            return positional[place]
        return named.get(name, default)

    def __str__(self) -> str:
        return f"{self.name} in {self.place}" if self.place else self.name


@dataclass(frozen=True)
class Layer:
    """A module's output."""

    value: Value | None
    shape: tuple[int, ...]
    field: ReceptiveField | None
    problem: str = ""
    """Why it has no maps of channels; empty if it has."""


@dataclass(frozen=True)
class Trace:
    """What a network does with a picture."""

    operations: tuple[Operation, ...]
    layers: Mapping[str, Layer]
    """Layers by the modules' names, in the order in which they are done."""
    modules: tuple[str, ...]
    """Names of all modules of the network."""
    convolutions: frozenset[str]
    """Names of those of torch's classes of convolutions, or of classes derived from them."""
    output: Value
    """What the network returns."""
    decisions: tuple[bool, ...]
    """What the network has asked of the picture (`if x.max() > 1`), and the answers."""
    readers: Mapping[Value, tuple[int, ...]]
    """Numbers of the operations that read a value."""

    def of(self, value: Value) -> Operation:
        """Return the operation whose output a value is."""
        return self.operations[value.operation]


def record(module: nn.Module, picture: Tensor) -> Trace:
    """Run `module` on `picture` and describe what it does.

    It is run on another picture as well: what it does must be the same. And it is run on both at
    once: layers must have maps of each picture by itself.

    Parameters
    ----------
    module : nn.Module
        A classifier in eval mode.
    picture : Tensor
        (1, channels, height, width); its numbers do not matter.

    Raises
    ------
    RefusedError
        The network does something that cannot be followed.
    UserError
        It fails, with the layer in which it does.
    """
    other = unlike(picture)
    _keeps_nothing(module, picture, other)
    compiler = compiler_is_there()
    trace = _recorded(module, picture)
    if compiler_is_there() and not compiler:  # it compiled a part of itself, which ran as such
        trace = _recorded(module, picture)
    _compare(trace, _recorded(module, other))
    usable = [name for name, layer in trace.layers.items() if not layer.problem]
    problems = not_alone(module, usable, picture, other)
    return replace(trace, layers={
        name: Layer(None, (), None, problems[name]) if name in problems else layer
        for name, layer in trace.layers.items()
    })  # fmt: skip


@torch.no_grad()
def _keeps_nothing(module: nn.Module, picture: Tensor, other: Tensor) -> None:
    """Refuse a network that keeps from one call what its answers to the next may depend on."""
    try:
        module(picture.clone())  # which may fill tables without harm
        tensors, before = state_of(module, attributes=False), state_of(module, tensors=False)
        module(other.clone())
    except Exception:  # whatever a user's own network raises: it will again, where that is reported
        return
    if name := changed(tensors, state_of(module, attributes=False)):
        raise RefusedError(
            f"the network changes {name!r} of its own when it is called, on which its answers may "
            "depend: give it as it is after training, and let it keep its parameters and buffers"
        )
    now = {one.name: one.value for one in kept(module)}
    others = {name for name, value in now.items() if before.get(name) != summary(value)}
    maps = {name for name in others if isinstance(now[name], Tensor)}
    if counts := sorted(others - maps):
        raise RefusedError(
            f"the network changes {counts[0]!r} of its own each time it is called, on which its "
            "answers may depend: let it keep no count of its calls, and nothing of them"
        )
    if name := answers_by(module, picture, maps):
        raise RefusedError(
            f"the network keeps {name!r} from one picture to the next, and its answers depend on "
            "it: let it keep nothing of the pictures before"
        )


@torch.no_grad()
def _recorded(module: nn.Module, picture: Tensor) -> Trace:
    with _Recorder(picture) as recorder:
        for name, part in module.named_modules():
            recorder.watch(name, part)
        output = recorder.run(module)
    value = recorder.value(output) if isinstance(output, Tensor) else None
    if value is None:
        raise RefusedError(
            "what the network returns is not made from the picture by functions of torch"
        )
    readers: dict[Value, tuple[int, ...]] = {}
    for operation in recorder.operations:
        for read in set(operation.inputs):
            readers[read] = (*readers.get(read, ()), operation.number)
    parts = {name: part for name, part in module.named_modules() if name}
    convolutions = frozenset(name for name, part in parts.items() if isinstance(part, _ConvNd))
    return Trace(
        tuple(recorder.operations), recorder.layers, tuple(parts), convolutions, value,
        tuple(recorder.decisions), readers,
    )  # fmt: skip


def _compare(trace: Trace, other: Trace) -> None:
    """Look whether a network does the same with another picture."""
    pairs = itertools.zip_longest(trace.operations, other.operations)
    for one, two in pairs:
        if one is None or two is None or (one.name, one.inputs) != (two.name, two.inputs):
            raise RefusedError(
                f"the network computes otherwise on another picture: {two or 'nothing more'} "
                f"instead of {one or 'nothing more'}; a network whose course depends on the "
                "picture or on chance cannot be measured"
            )
        if not all(map(_same, _constants(one.arguments), _constants(two.arguments))):
            raise RefusedError(
                f"{one} reads numbers that change with the picture, or by chance, but are not "
                "made from it by functions of torch that can be followed (another thread, a kind "
                "of tensor of its own, random numbers)"
            )
    if trace.decisions != other.decisions:
        raise RefusedError(
            "the network decides by the values of a picture (if x.max() > ...) what it computes: "
            "it cannot be measured"
        )


def _constants(structure: Any) -> list[Any]:
    """Return the tensors and numbers in arguments, in order."""
    if isinstance(structure, Mapping):
        structure = tuple(structure.values())
    if isinstance(structure, (tuple, list)) and not isinstance(structure, Value):
        return [one for part in structure for one in _constants(part)]
    return [structure] if isinstance(structure, (Tensor, int, float)) else []


def _same(one: Any, two: Any) -> bool:
    """Return whether two constants are the same but for rounding."""
    if not isinstance(one, Tensor) or not isinstance(two, Tensor):
        return bool(one == two) or one != one  # noqa: PLR0124 (not a number is the same as itself)
    if one is two:
        return True
    if one.shape != two.shape or one.dtype != two.dtype:
        return False
    if one.layout != torch.strided:
        return one.layout == two.layout and _same(one.to_dense(), two.to_dense())
    if not one.is_floating_point() or not one.numel():
        return torch.equal(one, two)
    largest = float(one.abs().max())
    return torch.allclose(one, two, rtol=0, atol=1e-5 * largest, equal_nan=True)


class _Recorder(Following):
    """Writes down what is done."""

    def __init__(self, picture: Tensor) -> None:
        super().__init__(picture)
        self.operations: list[Operation] = []
        self.layers: dict[str, Layer] = {}
        self.decisions: list[bool] = []
        self._tracker = Tracker(self.picture)
        self._bounds = BoundsMode()
        self._handles: list[Any] = []
        self._places: list[str] = []

    def __enter__(self) -> "_Recorder":
        self._tracker.__enter__()  # type: ignore[no-untyped-call]
        self._bounds.__enter__()  # type: ignore[no-untyped-call]
        super().__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self._bounds.__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        self._tracker.__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()

    def watch(self, name: str, part: nn.Module) -> None:
        """Look at what a module gives."""
        begin = functools.partial(self._begun, name=name)
        self._handles.append(part.register_forward_pre_hook(begin, prepend=False))
        self._handles.append(part.register_forward_hook(functools.partial(self._done, name)))

    def run(self, module: nn.Module) -> Any:
        """Run the network; whatever it raises is reported in one line."""
        try:
            return module(self.picture)
        except UserError as error:
            raise RefusedError(f"{self._where()}: {error}") from error
        except Exception as error:  # whatever a user's own network raises
            if self.refusal is not None:
                raise RefusedError(f"{self._where()}: {self.refusal}") from error
            raise UserError(
                f"{self._where()} fails on a picture of {tuple(self.picture.shape[1:])}: "
                f"{type(error).__name__}: {one_line(error)[:200]}"
            ) from error

    def _where(self) -> str:
        inner = self._places[-1] if self._places else ""
        return f"layer {inner!r} of the network" if inner else "the network"

    def _begun(self, part: nn.Module, inputs: object, name: str) -> None:
        self._places.append(name)

    def _done(self, name: str, part: nn.Module, inputs: object, output: object) -> None:
        while self._places.pop() != name:  # a failure inside that the network has caught
            pass
        if not name:
            return
        if name in self.layers:
            problem = REPEATED
        elif not isinstance(output, Tensor) or output.ndim not in (2, 4):
            problem = "has no maps: its output is neither (B, C, H, W) nor (B, C)"
        elif (value := self.value(output)) is None:
            problem = "does not depend on the picture"
        elif len(output) != 1:
            problem = several(len(output))
        elif value == PICTURE:
            problem = "is the picture itself"
        elif not self._tracker.is_map(output):
            problem = "has no maps: rows and columns are not the last dimensions"
        else:
            sight = self._tracker.sight(output) or self._tracker.everything
            field = receptive_field(sight, output.shape)
            self.layers[name] = Layer(value, tuple(output.shape), field)
            return
        self.layers[name] = Layer(None, (), None, problem)

    def compute(self, call: Call) -> Any:
        """Write an operation down and carry it out."""
        positional, named = call.arguments
        if "dropout" in call.name and _left_on(call):
            raise RefusedError(f"{call.name} is left on, so that chance decides: switch it off")
        for one in tensors(call.arguments):
            if self.value(one) is not None:
                continue
            if self._tracker.sight(one) is not None:
                raise RefusedError(
                    f"{call.name} reads a tensor that is made from the picture by something that "
                    "cannot be followed (an operator of its own, NumPy)"
                )
            if one.numel() <= 65_536:
                self._bounds.constant(one)
        keep: Callable[[Tensor], Any] = lambda one: value if (value := self.value(one)) else one  # noqa: E731
        template = mapped(keep, positional), mapped(keep, named)
        bounds = tuple(self._bounds.of(one) for one in call.live)
        result = call()
        made = list(tensors(result))
        for one in made:
            if self._tracker.sight(one) is None:  # written to where that is not seen
                self._tracker.learn(one, self._tracker.lost(call.name))
            elif not any(map(self._lost, call.live)) and (lost := self._lost(one)):
                self._tracker.learn(one, self._tracker.lost(_said(call, lost)))
        if made:
            self.operations.append(
                Operation(
                    call.number, call.name, self._places[-1] if self._places else "",
                    call.function, template, tuple(call.inputs),
                    tuple(_extents(one) for one in call.live),
                    tuple(tuple(one.shape) for one in made), bounds,
                    tuple(one.is_floating_point() for one in call.live),
                    tuple(self._is_placed(one) for one in call.live),
                    all(self._is_pooled(one) for one in made),
                )
            )  # fmt: skip
        return result

    def _lost(self, tensor: Tensor) -> str:
        """Return by what the positions of a tensor were lost; "" if they were not."""
        return next((axis.lost for axis in self._tracker.sight(tensor) or () if axis.lost), "")

    def _is_placed(self, tensor: Tensor) -> bool:
        sight = self._tracker.sight(tensor) or self._tracker.everything
        return any(axis.count > 1 for axis in sight)

    def _is_pooled(self, tensor: Tensor) -> bool:
        sight = self._tracker.sight(tensor)
        whole = self._tracker.everything
        return sight is not None and all(map(Axis.pooled, sight, whole))

    def made_constant(self, result: Any, args: Sequence[Any], options: Mapping[str, Any]) -> None:
        """Mark what is computed from weights: its last digits are others on other machines."""
        given = list(tensors((args, options)))
        of_shape = any(self.value(one) is not None for one in given)
        for one in tensors(result):
            if of_shape:
                self._tracker.forget(one)
            if any(isinstance(x, nn.Parameter) or is_computed(x) for x in given):
                one._concept_atlas_computed = True  # type: ignore[attr-defined]

    def decided(self, call: Call, answer: bool) -> None:
        """Record an answer that the network got from the picture."""
        self.decisions.append(answer)

    def rebound(self, tensor: Tensor, result: Tensor) -> None:
        """Learn that a tensor holds other values, with what they see and their bounds."""
        if (sight := self._tracker.sight(result)) is not None:
            self._tracker.learn(tensor, sight)
        self._bounds.learn(tensor, self._bounds.of(result))


def _said(call: Call, lost: str) -> str:
    """Return by what positions were lost, as the network's code calls it."""
    positional, named = call.arguments
    modes = [one for one in (*positional, *named.values()) if one in ("circular", "wrap")]
    _, bracket, reason = lost.partition(" (")
    return f"{call.name}{' in circles' if modes else ''}{bracket}{reason}"


def _extents(tensor: Tensor) -> tuple[int, ...]:
    """Return how many numbers there are along each dimension."""
    pairs = zip(tensor.shape, tensor.stride(), strict=True)
    return tuple(1 if step == 0 else length for length, step in pairs)


def is_computed(constant: Tensor) -> bool:
    """Return whether a constant was computed from weights while the network was run."""
    return bool(getattr(constant, "_concept_atlas_computed", False))


def _left_on(call: Call) -> bool:
    """Return whether a dropout drops something."""
    positional, named = call.arguments
    chance = positional[1] if len(positional) > 1 else named.get("p", 0.5)
    on = positional[2] if len(positional) > 2 else named.get("training", named.get("train", True))
    return bool(on) and chance > 0
