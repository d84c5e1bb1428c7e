"""Where units react to the picture, measured on the network itself.

Two pictures are put together at a line: left of it stands the one, right of it the other. A unit
that sees nothing right of the line answers as to the one picture, and of all others it shows how
far they are moved from the one answer to the other. With lines at several columns and rows this
says of every unit of every layer, in a few forward passes, from where in the picture it reacts.

What does not say where a unit stands is held as it is for the first of the two pictures: what
relevance does not go through (gates), values that are one for the whole picture, and statistics.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from atlas.relevance.tape import Instrumented, expected, queried
from atlas.trace.following import Call, Following, Value, mapped, tensors
from atlas.trace.record import Operation
from atlas.trace.sights import ReceptiveField

LINES = 6
"""At so many columns, and as many rows, pictures are put together."""

ROUNDING = 1024
"""Channels that change by less than so many last digits of the largest answer do not answer."""

RIGHT, SILENT, BEYOND_ALL = "right", "silent", "beyond"
"""Verdicts: units stand where they are taken to stand; nothing is known, since none answers, or
since they also see something of the whole picture that could not be held."""

OUTSIDE = 0.01
"""At most this part of a unit's change may come from outside its box."""

APART, ALONG = 0.3, 0.3
"""Where the middles of what units react to are spread by the first part of their places or more,
they correlate with them by the second at least."""

BEYOND = 1.5
"""They are not spread by more than so many times their places."""

ANSWERING = 0.1
"""A unit answers if it changes from picture to picture at least by this part of what is usual."""


@dataclass(frozen=True)
class Reaction:
    """From where the units of a layer react; the first dimension is (rows, columns)."""

    lines: tuple[Tensor, Tensor]
    """Where pictures are put together, (LINES,), in pixels: what comes before is of the first."""
    first: Tensor
    """(2, LINES, height, width): how far answers are from those to the first picture, in parts of
    what units change from the one picture to the other."""
    second: Tensor
    """The same of the second picture."""
    answers: Tensor
    """(height, width): whether a unit answers to these pictures."""

    def centres(self) -> Tensor:
        """Return the middle of what each unit reacts to, (2, height, width), in pixels."""
        behind = self.first / (self.first + self.second).clamp(min=1e-30)
        found = []
        for part, lines in zip(behind, self.lines, strict=True):
            edge = lines.new_zeros(1)
            places = torch.cat([edge, lines, lines[:1] + lines[-1:]])  # lines are symmetrical
            ends = torch.ones_like(part[:1]), torch.zeros_like(part[:1])
            found.append(torch.trapezoid(torch.cat([ends[0], part, ends[1]]), places, dim=0))
        return torch.stack(found)


@torch.no_grad()
def reactions(
    model: Instrumented, one: Tensor, other: Tensor, going: Collection[Value] | None
) -> dict[str, Reaction]:
    """Measure from where the units of each layer with maps react.

    Parameters
    ----------
    model : Instrumented
        The network with its layers and rules; it is run as it is, without these.
    one, other : Tensor
        Two pictures, (colours, height, width).
    going : collection of Value or None
        What is not held: the values that relevance comes to. None: nothing is held but what is one
        value for the whole picture, and statistics.
    """
    found: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}
    lines = tuple(_lines(side) for side in one.shape[1:])
    for axis, places in enumerate(lines):
        before = torch.arange(one.shape[1 + axis]) < places[:, None]  # (LINES, side)
        shape = (len(places), 1, -1, 1) if axis == 0 else (len(places), 1, 1, -1)
        joined = torch.where(before.view(shape).to(one.device), one, other)
        batch = torch.cat([one[None], other[None], joined])
        with _Holding(model, model.input(batch), going, found) as running:
            model.module(running.picture)
    result = {}
    for name, (rows, columns) in found.items():
        first, second = (torch.stack([rows[i], columns[i]]) for i in (0, 1))
        result[name] = Reaction((lines[0], lines[1]), first, second, rows[2] & columns[2])
    return result


def verdict(
    found: Sequence[Reaction], field: ReceptiveField, size: tuple[int, int], held: bool
) -> str:
    """Return whether units stand where `field` says, or in words why not.

    Parameters
    ----------
    found : sequence of Reaction
        Of one layer, to several pairs of pictures.
    field : ReceptiveField
        Where its units are taken to stand.
    size : (int, int)
        Height and width of the pictures.
    held : bool
        Whether gates were held. If they were not, units behind them react to what lies elsewhere.
    """
    answers = torch.stack([one.answers for one in found]).any(dim=0)
    if not bool(answers.any()):
        return SILENT
    units = [(y, x) for y in range(answers.shape[0]) for x in range(answers.shape[1])]
    boxes = torch.tensor([field.box(*unit, size) for unit in units]).view(*answers.shape, 4)
    outside = max(_outside(one, boxes) for one in found)
    if outside > OUTSIDE:
        says = f"up to {min(outside, 1):.0%} of what they answer to lies elsewhere"
        return BEYOND_ALL if field.whole and not held else says
    stand = torch.tensor([field.middle(*unit) for unit in units]).T.view(2, *answers.shape)
    counts = torch.stack([one.answers for one in found]).float()
    centres = sum(one.centres() * n for one, n in zip(found, counts, strict=True))
    centres = centres / counts.sum(dim=0).clamp(min=1)
    for axis, side in enumerate(size):
        if answers.shape[axis] == 1 or not field.stride[axis]:
            continue
        places, seen = stand[axis][answers].clamp(0, side), centres[axis][answers]
        spread = float(places.std(correction=0))
        apart = float(seen.std(correction=0)) / max(spread, 1e-30)
        along = float(torch.corrcoef(torch.stack([places, seen]))[0, 1])
        if apart > BEYOND or (apart >= APART and along < ALONG):
            return "what they answer to does not move as their patches do"
    return RIGHT


def _outside(found: Reaction, boxes: Tensor) -> float:
    """Return the largest part of a unit's change that comes from outside its box."""
    largest = 0.0
    for axis, lines in enumerate(found.lines):
        low, high = boxes[..., 1 - axis], boxes[..., 3 - axis]
        for i, line in enumerate(lines):
            for apart, alone in ((found.first, high <= line), (found.second, low >= line)):
                gaps = apart[axis, i][alone & found.answers]
                largest = max(largest, float(gaps.max()) if len(gaps) else 0.0)
    return largest


def _lines(side: int) -> Tensor:
    """Return the middles of even parts of a side, whole pixels."""
    return ((torch.arange(LINES) + 0.5) * side / LINES).round()


class _Holding(Following):
    """Runs the network, with gates and statistics of the first picture for all."""

    def __init__(
        self,
        model: Instrumented,
        pictures: Tensor,
        going: Collection[Value] | None,
        found: dict[str, list[tuple[Tensor, Tensor, Tensor]]],
    ) -> None:
        super().__init__(pictures)
        self._plan, self._found, self._count_of = model.plan, found, len(pictures)
        self._going = going
        self._names: dict[int, list[tuple[str, int]]] = {}
        for name, value in model.layers.items():
            shown = model.plan.shown(value)
            self._names.setdefault(shown.operation, []).append((name, shown.output))

    def compute(self, call: Call) -> Any:
        """Carry out an operation."""
        plan = self._plan
        if not expected(plan, call):
            return queried(plan, call)
        operation = plan.trace.operations[call.number]
        result = self._held(call, operation, call())
        for name, output in self._names.get(call.number, ()):
            maps = list(tensors(result))[output].detach()
            if maps.ndim == 4:
                self._found.setdefault(name, []).append(_compared(maps))
        return result

    def _held(self, call: Call, operation: Operation, result: Any) -> Any:
        """Return a result as it is if only what has positions is another."""
        made = list(tensors(result))
        shapes = dict(zip(map(id, made), operation.outputs, strict=True))
        if operation.pooled or not self._goes(operation):
            return mapped(lambda one: self._first(one, shapes[id(one)]), result)
        scale = _SCALES.get(operation.name)
        if scale is None or len(call.live) != 1 or not isinstance(result, Tensor):
            return result
        (x,), given = call.live, operation.argument
        reference = self._first(x, operation.shapes[0])
        factor = scale(reference, given)
        if factor is None:
            return result
        return self._first(result, operation.outputs[0]) + (x - reference) * factor

    def _goes(self, operation: Operation) -> bool:
        """Return whether what an operation makes is not held."""
        made = (Value(operation.number, i) for i in range(len(operation.outputs)))
        return self._going is None or any(value in self._going for value in made)

    def _first(self, one: Tensor, shape: Sequence[int]) -> Tensor:
        """Return the first picture's part of a tensor for all; `shape` is that of one picture."""
        count = self._count_of
        whole = [*shape]
        for dim, length in enumerate(shape):
            if one.shape[dim] == count * length and one.shape[dim] != length:
                apart = (*whole[:dim], count, *whole[dim:])
                first = one.reshape(apart).narrow(dim, 0, 1)
                return first.expand(apart).reshape(one.shape).clone()
        return one


def _compared(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compare answers (pictures, channels, height, width) with those to the first two."""
    one, other, joined = maps[:1], maps[1:2], maps[2:]
    least = ROUNDING * torch.finfo(maps.dtype).eps * maps[:2].abs().amax()
    usual = (one - other).abs().mean(dim=(0, 2, 3))
    weights = torch.where(usual > least, 1 / usual.clamp(min=torch.finfo(usual.dtype).tiny), 0)

    def apart(two: Tensor, from_: Tensor) -> Tensor:
        gaps = (two - from_).abs_()
        return torch.einsum("nchw,c->nhw", gaps, weights).float().cpu()

    change = apart(one, other)[0]
    mean = change.mean().clamp(min=1e-30)
    scale = change.clamp(min=mean)
    return apart(joined, one) / scale, apart(joined, other) / scale, change > ANSWERING * mean


# Norms whose statistics are of the picture: output minus shift, in parts of the input.


def _layer_norm(x: Tensor, given: Any) -> Tensor:
    dims = tuple(range(-len(given(1, "normalized_shape")), 0))
    weight, eps = given(2, "weight"), given(4, "eps", 1e-5)
    scale = (x.var(dim=dims, correction=0, keepdim=True) + eps).rsqrt()
    return _weighted(scale, weight)


def _group_norm(x: Tensor, given: Any) -> Tensor:
    groups, weight, eps = given(1, "num_groups"), given(2, "weight"), given(4, "eps", 1e-5)
    apart = x.reshape(len(x), groups, -1)
    scale = (apart.var(dim=2, correction=0) + eps).rsqrt()
    return _of_channels(scale.repeat_interleave(x.shape[1] // groups, dim=1), weight, x)


def _instance_norm(x: Tensor, given: Any) -> Tensor:
    mean, variance = given(1, "running_mean"), given(2, "running_var")
    weight, eps = given(3, "weight"), given(7, "eps", 1e-5)
    if not given(5, "use_input_stats", True) and mean is not None:
        scale = (variance + eps).rsqrt().expand(len(x), -1)
    else:
        scale = (x.flatten(2).var(dim=2, correction=0) + eps).rsqrt()
    return _of_channels(scale, weight, x)


def _batch_norm(x: Tensor, given: Any) -> Tensor | None:
    """By its own statistics: what is given as channels of one picture may be those of several."""
    if not given(5, "training", False) or any(given(i, "") is not None for i in range(1, 5)):
        return None
    scale = (x.transpose(0, 1).flatten(1).var(dim=1, correction=0) + given(7, "eps", 1e-5)).rsqrt()
    return _of_channels(scale[None], None, x)


def _of_channels(scale: Tensor, weight: Tensor | None, x: Tensor) -> Tensor:
    whole = _weighted(scale, weight)
    return whole.reshape(*whole.shape, *[1] * (x.ndim - 2))


def _weighted(scale: Tensor, weight: Tensor | None) -> Tensor:
    return scale if weight is None else scale * weight


def _rms_norm(x: Tensor, given: Any) -> Tensor:
    dims = tuple(range(-len(given(1, "normalized_shape")), 0))
    weight, eps = given(2, "weight"), given(3, "eps")
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    scale = (x.square().mean(dim=dims, keepdim=True) + eps).rsqrt()
    return _weighted(scale, weight)


def _normalize(x: Tensor, given: Any) -> Tensor:
    order, dim, eps = given(1, "p", 2.0), given(2, "dim", 1), given(3, "eps", 1e-12)
    length: Tensor = torch.linalg.vector_norm(x, order, dim, keepdim=True)
    return 1 / length.clamp(min=eps)


_SCALES: Mapping[str, Any] = {
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "rms_norm": _rms_norm,
    "normalize": _normalize,
}
