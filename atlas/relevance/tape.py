"""Going over a network forward and back, operation by operation.

The network's own code is run; each operation on tensors of the picture is carried out by the step
that the plan has for it, and what the steps keep is gone through backwards. PyTorch's gradients
play no part but in the steps that use them, so it does not matter whether the network switches
them off, overwrites tensors or recomputes them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from atlas.relevance.plan import Plan
from atlas.relevance.rules import Passed, Proportional, Relevances, Step
from atlas.relevance.weighted import Convolved, Flat
from atlas.trace.following import PICTURE, Call, Following, RefusedError, Value, tensors

Audit = Callable[[int, Relevances, Relevances, float], None]

See = Callable[[str, Tensor], None]
"""Called with a layer and a tensor of its output's shape."""


@dataclass(frozen=True)
class Instrumented:
    """A network as it is run: its code, its layers, and what is done with its operations."""

    module: nn.Module
    plan: Plan
    layers: Mapping[str, Value]
    """The layers that are looked at, by name, in the order of the forward pass."""
    dtype: torch.dtype = torch.float32

    def input(self, images: Tensor) -> Tensor:
        """Return pictures as the network takes them."""
        return images.to(self.dtype).contiguous(memory_format=torch.channels_last)


def instrument(
    module: nn.Module, plan: Plan, layers: Sequence[str], dtype: torch.dtype = torch.float32
) -> Instrumented:
    """Make a network ready to be gone over.

    Parameters
    ----------
    module : nn.Module
        In `dtype`.
    plan : Plan
        Trace of the same network.
    layers : sequence of str
        Those to look at, in the order of the forward pass.
    dtype : torch.dtype
        In which is computed, also by the plan's rules.
    """
    values = {name: plan.trace.layers[name].value for name in layers}
    found = {name: value for name, value in values.items() if value is not None}
    return Instrumented(module, plan, found, dtype)


def follow(
    model: Instrumented, images: Tensor, recorded: frozenset[int], see: See, keep: bool = False
) -> "Tape":
    """Run the network forward, and keep what is needed to go back over it.

    Parameters
    ----------
    model : Instrumented
        The network.
    images : Tensor
        (pictures, colours, height, width), preprocessed.
    recorded : frozenset of int
        The operations to go back over.
    see : callable
        Called with each layer's activation.
    keep : bool
        Whether the tape is gone back over more than once.
    """
    tape = Tape(model, recorded, keep)
    with torch.no_grad(), _Running(model.input(images), tape, see) as running:
        tape.output = model.module(running.picture)
    return tape


@dataclass
class Tape:
    """A forward pass, to be gone back over."""

    model: Instrumented
    recorded: frozenset[int]
    keep: bool
    kept: dict[int, Any] = field(default_factory=dict)
    """What the steps of operations remember, by number."""
    found: Tensor | None = None
    """The network's own logits, once it has come to them."""
    output: Tensor | None = None
    """What the network returned."""

    @property
    def logits(self) -> Tensor:
        """The network's own logits (pictures, outputs)."""
        assert self.found is not None, "a course without logits is refused when it is recorded"
        return self.found

    @torch.no_grad()
    def back(
        self,
        start: Mapping[Value, Tensor],
        arrived: Callable[[str, Tensor], None] = lambda layer, relevance: None,
        copies: bool = False,
        audit: Audit | None = None,
    ) -> dict[Value, Tensor]:
        """Send relevance down.

        Parameters
        ----------
        start : mapping
            Relevance of some values.
        arrived : callable
            Called with each layer that relevance comes to, and its relevance.
        copies : bool
            Whether each relevance is many for the one picture, in a dimension in front.
        audit : callable, optional
            Called with each operation's number, the relevance of its outputs and its inputs, and
            how much biases and stabilisers took.

        Returns
        -------
        dict
            What has come to values that no recorded operation has made: the picture.
        """
        plan = self.model.plan
        relevance = dict(start)
        own: set[Value] = set()  # sums that were made here, which may be added to in place
        names: dict[Value, list[str]] = {}
        for layer, value in self.model.layers.items():
            names.setdefault(value, []).append(layer)
        stations = self.recorded | {value.operation for value in names}
        for number in sorted(stations, reverse=True):
            operation = plan.trace.operations[number]
            made = [Value(number, i) for i in range(len(operation.outputs))]
            for value in made:
                for layer in names.get(value, ()) if value in relevance else ():
                    arrived(layer, relevance[value])
            if number not in self.recorded:
                continue
            outputs = [relevance.pop(value, None) for value in made]
            kept = self.kept[number] if self.keep else self.kept.pop(number)
            if all(one is None for one in outputs):
                continue
            step = plan.steps[number]
            inputs = step.back(kept, outputs, copies)
            if audit is not None:
                audit(number, outputs, inputs, step.taken(kept, outputs))
            for value, part in zip(operation.inputs, inputs, strict=True):
                if part is None or not self._wanted(value, names):
                    continue
                if value not in relevance:
                    relevance[value] = part
                elif value in own:
                    relevance[value].add_(part)
                else:
                    relevance[value] = relevance[value] + part
                    own.add(value)
        return relevance

    def _wanted(self, value: Value, names: Mapping[Value, object]) -> bool:
        return value.operation in self.recorded or value in names or value == PICTURE


class _Running(Following):
    """Carries out each operation by its step."""

    def __init__(self, picture: Tensor, tape: Tape, see: See) -> None:
        super().__init__(picture)
        self._tape = tape
        self._see = see
        self._decisions = 0
        self._names: dict[int, list[tuple[str, int]]] = {}
        for name, value in tape.model.layers.items():
            self._names.setdefault(value.operation, []).append((name, value.output))

    def decided(self, call: Call, answer: bool) -> None:
        """Refuse a network that decides otherwise than when it was traced."""
        known = self._tape.model.plan.trace.decisions
        if self._decisions >= len(known) or known[self._decisions] != answer:
            raise RefusedError(
                "the network decides by the values of a picture (if x.max() > ...) what it "
                "computes, and otherwise than before: it cannot be measured"
            )
        self._decisions += 1

    def compute(self, call: Call) -> Any:
        """Carry out an operation."""
        tape, plan = self._tape, self._tape.model.plan
        if not expected(plan, call):
            return queried(plan, call)
        step = plan.steps.get(call.number)
        if isinstance(step, Convolved):
            _has_its_weights(plan, call)
        if step is None or not (call.number in tape.recorded or _substitutes(step)):
            result = call()
        else:
            result, kept = step.forward(call)
            if call.number in tape.recorded:
                tape.kept[call.number] = kept
        for name, output in self._names.get(call.number, ()):
            made = list(tensors(result))[output]
            self._see(name, made.detach())  # a view: the network may give `made` other values
        if call.number == plan.head.logits.operation:
            tape.found = list(tensors(result))[plan.head.logits.output].detach()
        return result


def expected(plan: Plan, call: Call) -> bool:
    """Return whether a call is the operation that the network's description has in its place."""
    operations = plan.trace.operations
    known = operations[call.number] if call.number < len(operations) else None
    return known is not None and known.name == call.name and known.inputs == tuple(call.inputs)


def _has_its_weights(plan: Plan, call: Call) -> None:
    """Refuse a convolution whose weights have another shape than for one picture."""
    known = plan.trace.operations[call.number]
    one, other = known.argument(1, "weight"), replace(known, arguments=call.arguments)
    weight = other.argument(1, "weight")
    if isinstance(one, Tensor) and isinstance(weight, Tensor) and one.shape != weight.shape:
        raise RefusedError(
            f"{known} has other weights for several pictures than for one, as where they are "
            "repeated for each picture: let it be a convolution of all pictures with one weight"
        )


def queried(plan: Plan, call: Call) -> Any:
    """Return what a call gives that makes no tensor, such as a shape.

    Raises
    ------
    RefusedError
        It makes one: the network computes otherwise than it did on another picture.
    """
    result = call()
    if next(tensors(result), None) is None:
        return result
    operations = plan.trace.operations
    usual = str(operations[call.number]) if call.number < len(operations) else "nothing more"
    raise RefusedError(
        f"the network computes otherwise than on another picture: {call.name} instead of {usual}; "
        "a network whose course depends on the picture, on how many there are or on chance cannot "
        "be measured"
    )


def _substitutes(step: Step) -> bool:
    """Return whether a step computes something else than the operation itself."""
    return (
        isinstance(step, Convolved)
        or (isinstance(step, Passed) and step.identity)
        or (isinstance(step, (Proportional, Flat)) and step.function is not None)
    )


def path_to(plan: Plan, values: Iterable[Value]) -> frozenset[int]:
    """Return the operations that relevance passes on its way to some values."""
    above = set(values)
    passed = set()
    for operation in plan.trace.operations[: plan.head.logits.operation + 1]:
        made = {Value(operation.number, i) for i in range(len(operation.outputs))}
        if not above.isdisjoint(operation.inputs) and not plan.reached.isdisjoint(made):
            passed.add(operation.number)
            above |= made
    return frozenset(passed)
