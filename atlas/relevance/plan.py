"""What is done with each operation of a network while relevance goes through it.

From the description of a network (`atlas.trace.record.Trace`) and the name of a composite follow:
where relevance starts, which norms become part of the layer before them, which operations
relevance passes and by which rule. An operation without a rule is refused by its name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.utils import _ntuple

from atlas.errors import UserError
from atlas.relevance.endings import behind_last_weights
from atlas.relevance.gates import Gates, features_of, find_gates
from atlas.relevance.merging import Norm, find_added, find_norms, find_turned, merge_norm
from atlas.relevance.normalising import norms_by_hand
from atlas.relevance.rules import (
    RULES,
    Divided,
    Halved,
    Mixed,
    Moved,
    Passed,
    Proportional,
    Rules,
    Step,
    Summed,
)
from atlas.relevance.weighted import Convolution, Convolved, Flat, Geometry
from atlas.trace.following import OF_TYPE, RefusedError, Value
from atlas.trace.head import CURVED, LEAVING, Head, find_head
from atlas.trace.kinds import ATTENTION, KINDS, WEIGHTED
from atlas.trace.record import Operation, Trace


@dataclass(frozen=True)
class Plan:
    """A network's operations with their rules."""

    trace: Trace
    composite: str | None
    """The name of the rules; None for a network that is only run forward."""
    head: Head
    """The logits, from where relevance starts."""
    steps: Mapping[int, Step]
    """Rules by the number of the operation; others are carried out as they are."""
    merged: Mapping[int, int]
    """Norms (and what else is merged) by their number: that of the layer they belong to."""
    ends: Mapping[int, Value]
    """The output of the norm of each layer that has one, by the layer's number."""
    reached: frozenset[Value]
    """The values that relevance comes to."""

    def shown(self, value: Value) -> Value:
        """Return where a layer's output with its norm is to be seen in a run without rules."""
        return self.ends.get(value.operation, value)


def plan(trace: Trace, composite: str | None, dtype: torch.dtype = torch.float32) -> Plan:
    """Give each operation that relevance passes its rule.

    Parameters
    ----------
    trace : Trace
        Trace of the network in float32.
    composite : str or None
        One of `atlas.relevance.rules.RULES`; None for a network that is only run forward, where
        nothing can be refused and norms are merged all the same.
    dtype : torch.dtype
        In which the rules compute.

    Raises
    ------
    RefusedError
        Relevance would have to pass an operation that has no rule.
    UserError
        No composite has this name.
    """
    if composite is not None and composite not in RULES:
        known = ", ".join(sorted(RULES))
        raise UserError(f"no composite {composite!r}: relevance.composite is one of {known}")
    head = find_head(trace)
    norms = find_norms(trace)
    merged = {number: found.layer for found in norms for number in found.operations}
    rules = RULES[composite or "epsilon_epsilon"]
    making = _Making(
        trace,
        rules,
        dtype,
        {one.layer: one for one in norms},
        _weighted(trace),
        find_gates(trace),
        norms_by_hand(trace),
        {one.layer: one for one in find_turned(trace, norms)} if composite is not None else {},
        find_added(trace) if composite is not None else {},
        behind_last_weights(trace, head),
    )
    steps: dict[int, Step] = {
        **{
            number: Passed(0, len(trace.operations[number].inputs), identity=True)
            for number in merged
        },
        **{found.layer: making.step(trace.operations[found.layer]) for found in norms},
    }
    reached: set[Value] = set()
    if composite is not None:
        reached.add(head.logits)
        for operation in reversed(trace.operations[: head.logits.operation + 1]):
            made = (Value(operation.number, i) for i in range(len(operation.outputs)))
            if reached.isdisjoint(made):
                continue
            if operation.number not in steps:
                steps[operation.number] = making.step(operation)
            receivers = _receivers(steps[operation.number])
            reached |= {operation.inputs[i] for i in receivers}
    ends = {found.layer: found.end for found in norms}
    return Plan(trace, composite, head, steps, merged, ends, frozenset(reached))


def _receivers(step: Step) -> Sequence[int]:
    """Return which live inputs get relevance."""
    if isinstance(step, (Passed, Proportional)):
        return [step.to]
    if isinstance(step, (Moved, Mixed)):
        return step.wanted
    if isinstance(step, Divided):
        return range(step.inputs)
    if isinstance(step, Summed):
        return [0, 1]
    return [0]


_ATTENDING = (
    "where two tensors that are made from the picture are multiplied as matrices (attention over "
    "places or channels, bilinear pooling)"
)

# Rules ------------------------------------------------------------------------------------


def _weighted(trace: Trace) -> frozenset[Value]:
    """Return the values that a convolution or linear layer has had a part in."""
    behind: set[Value] = set()
    for operation in trace.operations:
        own = KINDS.get(operation.name) in WEIGHTED and not sums_up(operation)
        if own or any(value in behind for value in operation.inputs):
            behind |= {Value(operation.number, i) for i in range(len(operation.outputs))}
    return frozenset(behind)


@dataclass(frozen=True)
class _Making:
    """Makes the step of each operation."""

    trace: Trace
    rules: Rules
    dtype: torch.dtype
    norms: Mapping[int, Norm]
    weighted: frozenset[Value]
    gates: Gates
    centred: Mapping[int, int]
    turned: Mapping[int, Norm]
    added: Mapping[int, Tensor]
    ending: frozenset[int]
    """Operations behind the last weights."""

    def step(self, operation: Operation) -> Step:
        """Return the rule of an operation that relevance passes."""
        make: Mapping[str, Callable[[Operation], Step]] = {
            "convolution": self._convolution,
            "linear": self._linear,
            "matrix": self._matrix,
            "product": self._product,
            "quotient": self._quotient,
            "sum": self._sum,
            "average": lambda one: Proportional(_first(one), len(one.inputs)),
            "passing": self._passing,
            "affine": self._affine,
            "halved": lambda one: Halved(one.argument(1, "dim", -1)),
            "moving": self._moving,
        }
        kind = KINDS.get(operation.name)
        ends = operation.number in self.ending and not any(operation.placed)
        if kind is None and ends and operation.name in CURVED:
            raise RefusedError(
                "what the network returns is no logit: behind its last weights it computes "
                f"{operation}; let it return what goes into that"
            )
        if kind is None:
            raise _refused(operation)
        if (y := self.centred.get(operation.number)) is not None:
            return Passed(y, len(operation.inputs))
        return make[kind](operation)

    def _cast(self, one: Tensor | None) -> Tensor | None:
        return None if one is None else one.detach().to(self.dtype)

    def _convolution(self, operation: Operation) -> Step:
        weight, bias, geometry = convolution_of(operation)
        if isinstance(weight, Value) or isinstance(bias, Value):
            raise _refused(operation, "with weights that depend on the picture")
        if len(operation.shapes[0]) != weight.ndim:
            raise _refused(operation, "for single pictures without a batch")
        turned = self.turned.get(operation.number)
        norm = self.norms.get(operation.number, turned)
        if norm is None and sums_up(operation):
            return Proportional(0, 1)
        if norm is not None:
            weight, bias = merge_norm(weight, bias, norm, geometry)
        first = operation.inputs[0] not in self.weighted and self.rules.first
        convolution = Convolution(
            cast(Tensor, self._cast(weight)), self._cast(bias), geometry,
            first or self.rules.convolution, operation.bounds[0].never_negative,
        )  # fmt: skip
        return Convolved(convolution, as_it_is=turned is not None)

    def _linear(self, operation: Operation) -> Step:
        to = _first(operation)
        if len(operation.inputs) != 1:
            raise _refused(operation, "where several of its tensors depend on the picture")
        flat = self.rules.first and operation.inputs[to] not in self.weighted
        turned = self.turned.get(operation.number)
        norm = self.norms.get(operation.number, turned)
        if norm is None or (flat and turned is not None):
            return Flat() if flat else Proportional(to, 1)
        if operation.name == "addmm":
            bias, weight = operation.argument(0, "input"), operation.argument(2, "mat2").T
        else:
            weight, bias = operation.argument(1, "weight"), operation.argument(2, "bias")
        scale, shift = (one.to(weight.device) for one in (norm.scale, norm.shift))
        whole = weight.double() * scale[:, None]
        offset = shift + (0 if bias is None else bias.double() * scale)
        w, b = cast(Tensor, self._cast(whole)), self._cast(offset)

        def merged(x: Tensor) -> Tensor:
            return F.linear(x, w, b)

        return Flat(merged) if flat else Proportional(to, 1, merged, as_it_is=turned is not None)

    def _matrix(self, operation: Operation) -> Step:
        if len(operation.inputs) == 1:
            if operation.inputs[0] not in self.weighted and self.rules.first:
                raise _refused(operation, "where it reads the picture itself")
            return Proportional(0, 1, added=self.added.get(operation.number))
        gates = [i for i, one in enumerate(operation.inputs) if one in self.gates]
        if len(gates) == 2:  # a tanh is the signal of a softmax, as of a sigmoid
            gates = [i for i in gates if not operation.bounds[i].signed]
        gated = len(operation.inputs) == 2 and len(gates) == 1
        if gated and not _compares_places(self.trace, operation.inputs[gates[0]]):
            return Proportional(1 - gates[0], 2)
        raise _refused(operation, _ATTENDING)

    def _product(self, operation: Operation) -> Step:
        count = len(operation.inputs)
        if operation.numbers.count(True) == 1:  # the others are conditions
            return Passed(_first(operation), count)
        features = features_of(operation, self.gates)
        return Divided(count) if features is None else Passed(features, count)

    def _quotient(self, operation: Operation) -> Step:
        numerator, divisor = operation.argument(0, "input"), operation.argument(1, "other")
        if not isinstance(numerator, Value) or (operation.name == "rdiv"):
            raise _refused(operation, "where only the divisor depends on the picture")
        return Passed(0, 2 if isinstance(divisor, Value) else 1)

    def _sum(self, operation: Operation) -> Step:
        if len(operation.inputs) == 1:
            return Passed(0, 1)
        if any(isinstance(one, Value) for one in operation.arguments[1].values()):
            raise _refused(operation, "with summands given by name")
        alpha = operation.argument(2, "alpha", 1)
        factors = {"add": (1, alpha), "sub": (1, -alpha), "rsub": (-alpha, 1)}[operation.name]
        never = all(
            one.never_negative if factor >= 0 else one.high <= 0
            for one, factor in zip(operation.bounds, factors, strict=True)
        )
        return Summed(factors, never)

    def _passing(self, operation: Operation) -> Step:
        numbers = [i for i, number in enumerate(operation.numbers) if number]
        given = operation.arguments[0]
        if operation.name in OF_TYPE:
            numbers = [i for i in numbers if i == 0]
        if not numbers:
            raise _refused(operation, "where it reads no numbers but whole ones, or conditions")
        if numbers != [0] or (given and not isinstance(given[0], Value)):
            raise _refused(operation, "with parameters that depend on the picture")
        return Passed(0, len(operation.inputs))

    def _affine(self, operation: Operation) -> Step:
        """Return the rule of x + a * b, x + a / b, x + w * (y - x), and x with y added in places.

        They are linear in x and y, and in that factor of a product which is no gate.
        """
        count = len(operation.inputs)
        given = operation.arguments[0]
        by_name = any(isinstance(one, Value) for one in operation.arguments[1].values())
        if by_name or len(set(operation.inputs)) < count:
            raise _refused(operation, "with one tensor in several places, or given by name")
        weighs: list[Value] = []
        live = [one for one in given[1:3] if isinstance(one, Value)]
        if operation.name == "addcmul" and len(live) == 2:
            weighs = [one for one in live if one in self.gates]
        elif operation.name == "addcdiv" and isinstance(given[2], Value):
            weighs = live[1:]
        elif operation.name == "lerp" and isinstance(given[2], Value):
            weighs = [given[2]]
        unclear = {
            "addcmul": len(live) == 2 and len(weighs) != 1,
            "addcdiv": isinstance(given[2], Value) and len(live) == 1,
            "lerp": isinstance(given[2], Value) and (count < 2 or given[2] not in self.gates),
            "index_add": False,
        }[operation.name]
        if unclear:
            raise _refused(operation, "where no factor is a gate: write it as a sum and a product")
        wanted = tuple(
            i
            for i, (one, number) in enumerate(zip(operation.inputs, operation.numbers, strict=True))
            if number and one not in weighs
        )
        # Between a constant and something else, the gate decides how much of each there is.
        constant = operation.name == "index_add" or (operation.name == "lerp" and bool(weighs))
        alone = len(wanted) == 1 and not constant
        return Passed(wanted[0], count) if alone else Mixed(wanted, count)

    def _moving(self, operation: Operation) -> Step:
        wanted = tuple(
            i
            for i, (value, number) in enumerate(
                zip(operation.inputs, operation.numbers, strict=True)
            )
            if number and value not in operation.inputs[:i]
        )
        if not wanted:
            raise _refused(operation, "where it moves no numbers")
        return Moved(wanted, len(operation.inputs))


def _compares_places(trace: Trace, gate: Value) -> bool:
    """Return whether a gate comes from comparing places of the picture with each other."""
    above, seen = [gate], set()
    while above:
        value = above.pop()
        if value.operation < 0 or value in seen:
            continue
        seen.add(value)
        operation = trace.of(value)
        kind = KINDS.get(operation.name)
        if kind == "matrix" and len(operation.inputs) > 1:
            return True
        if kind not in WEIGHTED:
            above += operation.inputs
    return False


def _first(operation: Operation) -> int:
    """Return the first live input that is numbers."""
    return operation.numbers.index(True)


def _refused(operation: Operation, where: str = "") -> RefusedError:
    place = f" in layer {operation.place!r}" if operation.place else ""
    if operation.name in ("rdiv", "reciprocal", "rsqrt") and not where:
        where = "where only the divisor depends on the picture"
    if operation.name in (*LEAVING, "softmin") and not where:
        where = "inside a network: let it return its logits"
    if operation.name in ATTENTION and not where:
        where = _ATTENDING
    return RefusedError(
        f"the operation {operation.name!r}{place} has no rule of relevance{where and ' '}{where}: "
        "choose another network, or measure without relevance: "
        'prepass.modes = ["activation"]'
    )


def sums_up(operation: Operation) -> bool:
    """Return whether all weights of a convolution are one number: it adds up, as averages do."""
    if KINDS.get(operation.name) != "convolution":
        return False
    weight, bias, geometry = convolution_of(operation)
    if geometry.transposed or bias is not None or not isinstance(weight, Tensor):
        return False
    return weight[0].numel() > 1 and bool((weight == weight.flatten()[0]).all())


def convolution_of(operation: Operation) -> tuple[Any, Any, Geometry]:
    """Return weight, bias and geometry of a convolution, by whatever function it is called."""
    get = operation.argument
    weight, bias = get(1, "weight"), get(2, "bias")
    count = len(weight.shape) - 2 if isinstance(weight, Tensor) else 2
    many: Callable[[Any], tuple[int, ...]] = _ntuple(count)  # type: ignore[no-untyped-call]
    transposed = "transpose" in operation.name
    if operation.name == "convolution":
        stride, padding, dilation = get(3, "stride"), get(4, "padding"), get(5, "dilation")
        transposed, out, groups = get(6, "transposed"), get(7, "output_padding"), get(8, "groups")
    elif transposed:
        stride, padding, out = (
            get(3, "stride", 1),
            get(4, "padding", 0),
            get(5, "output_padding", 0),
        )
        groups, dilation = get(6, "groups", 1), get(7, "dilation", 1)
    else:
        stride, padding, dilation = get(3, "stride", 1), get(4, "padding", 0), get(5, "dilation", 1)
        groups, out = get(6, "groups", 1), 0
    around: tuple[int, ...] = ()
    if isinstance(padding, str):
        total = [0] * count
        if padding == "same" and isinstance(weight, Tensor):
            total = [(k - 1) * d for k, d in zip(weight.shape[2:], many(dilation), strict=True)]
        padding = tuple(one // 2 for one in total)
        if any(one % 2 for one in total):  # torch adds the odd zero at the end
            around = tuple(x for one in reversed(total) for x in (one // 2, one - one // 2))
            padding = (0,) * count
    return weight, bias, Geometry(
        many(stride), many(padding), many(dilation), transposed, many(out), groups, around
    )  # fmt: skip
