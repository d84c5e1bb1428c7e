"""What must hold for any network before its relevance is believed, looked at in every run.

Each check looks at what happened, not at what the plan meant: at the network's own answers,
at sums of relevance before and after each operation, at what changes where when a part of the
picture is changed.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from atlas.errors import one_line
from atlas.relevance.answers import (
    Check,
    finite,
    in_float64,
    kind_of_output,
    noise_like,
    same_in_batch,
    same_logits,
    same_when_repeated,
    some_of,
)
from atlas.relevance.engine import CPU_BLOCK, PREDICTED, RelevanceEngine
from atlas.relevance.gates import find_gates
from atlas.relevance.plan import plan as make_plan
from atlas.relevance.rules import Relevances
from atlas.relevance.standing import BEYOND_ALL, RIGHT, SILENT, Reaction, reactions, verdict
from atlas.relevance.tape import Instrumented, follow, path_to
from atlas.store import Mode
from atlas.trace.following import PICTURE, RefusedError, Value
from atlas.trace.sights import ReceptiveField

CONSERVED = 1e-2
"""At most this part of the relevance of an operation may be gained or lost there."""

STABLE = 0.01
"""At most this part of a layer's relevance may be rounding, in float32, in any picture."""

COMPOSITE = "epsilon_plus"
"""The rules by which gates are found where relevance is not measured."""


def check(
    model: Instrumented,
    images: Tensor,
    fields: Mapping[str, ReceptiveField],
    together: int = CPU_BLOCK,
) -> Iterator[Check]:
    """Look at a network and its relevance on a few pictures.

    Parameters
    ----------
    model : Instrumented
        The network with the layers of the atlas. Without rules (a pre-pass by activation alone)
        relevance is not looked at.
    images : Tensor
        (pictures, colours, height, width), preprocessed; at least one.
    fields : mapping
        Where the units of each layer are taken to stand.
    together : int
        How many pictures go through the network at once.
    """
    images = images.to(model.dtype)
    yield (answers := finite(model.module, images))
    if not answers.passed:
        return
    yield same_when_repeated(model.module, images)
    yield same_in_batch(model, images, together)
    yield same_logits(model, images)
    yield kind_of_output(model, images)
    if model.plan.reached:
        yield from conserved(model, images)
    yield placed(model, images, fields)
    if model.plan.reached:
        yield stable(model, images)


@dataclass(frozen=True)
class Balance:
    """What became of relevance at each operation."""

    gap: float
    """The largest part of what came to an operation that was gained or lost there."""
    where: str
    """The operation."""
    fed: tuple[str, ...]
    """Products whose gate took relevance."""
    gated: int
    """Products of a gate and something else."""
    equal: tuple[str, ...]
    """Products of two factors that both took relevance, as neither or both are gates."""


def balance(model: Instrumented, images: Tensor) -> Balance:
    """Compare what comes to each operation with what it hands on and biases take."""
    trace = model.plan.trace
    tape = follow(model, images, path_to(model.plan, [PICTURE]), lambda layer, output: None)
    worst, where = 0.0, ""
    fed: list[str] = []
    gated: list[str] = []
    equal: list[str] = []
    gates = find_gates(trace)

    def audit(number: int, outputs: Relevances, inputs: Relevances, taken: float) -> None:
        nonlocal worst, where
        operation = trace.operations[number]
        came, size = _totals(outputs)
        went, _ = _totals(inputs)
        gap = abs(came - went - taken) / max(size, 1e-30)
        if not gap <= worst:  # also where it is not a number
            worst, where = gap, str(operation)
        if operation.name == "mul" and len(operation.inputs) == 2:
            are_gates = [value in gates for value in operation.inputs]
            takes = [part is not None and bool(part.abs().sum() > 0) for part in inputs]
            if are_gates[0] != are_gates[1]:
                gated.append(str(operation))
                if takes[are_gates.index(True)]:
                    fed.append(str(operation))
            elif all(takes):
                equal.append(str(operation))

    logits = tape.logits
    best = logits.argmax(dim=1, keepdim=True)
    start = torch.zeros_like(logits).scatter_(1, best, logits.gather(1, best).abs())
    tape.back({model.plan.head.logits: start}, audit=audit)
    return Balance(worst, where, tuple(fed), len(gated), tuple(equal))


def conserved(model: Instrumented, images: Tensor) -> Iterator[Check]:
    """Look whether each operation hands on what comes to it, and gates get nothing.

    Of every cut of the network follows then that it has what came in, up to what biases and
    stabilisers took above it.
    """
    found = balance(model, images)
    if found.gap <= CONSERVED:
        says = f"each operation hands on what comes to it, up to biases, to {found.gap:.1e}"
    else:
        says = (
            f"relevance is gained or lost in {found.where}: {found.gap:.1%} of what comes to it, "
            f"more than {CONSERVED:.0%}"
        )
    yield Check("conserved", found.gap <= CONSERVED, says)
    if found.fed:
        yield Check("gates", False, f"relevance goes into the gate of {found.fed[0]}")
        return
    says = "no product has a gate"
    if found.gated:
        says = f"gates take no relevance (products with a gate: {found.gated})"
    if found.equal:
        says += (
            f"; both factors take half where none or each is a gate (such products: "
            f"{len(found.equal)}, {some_of(found.equal)})"
        )
    yield Check("gates", True, says)


def _totals(parts: Relevances) -> tuple[float, float]:
    """Return the sum of relevances, and of their sizes."""
    known = [part.double() for part in parts if part is not None]
    return sum(float(p.sum()) for p in known), sum(float(p.abs().sum()) for p in known)


def placed(model: Instrumented, images: Tensor, fields: Mapping[str, ReceptiveField]) -> Check:
    """Look whether units stand where patches are cut out.

    Measured on the network itself (`atlas.relevance.standing`), with two of the pictures and with
    two of noise. Where units do not answer to either, nothing contradicts their places, and the
    outcome is not known. Nor is it where gates see the whole picture that are not known to be
    gates, which is so only if relevance has no rule. Where positions were lost, patches are whole
    pictures, and cannot be wrong.
    """
    known = {name: one for name, one in fields.items() if not one.lost or any(one.stride)}
    pairs = [
        (images[0], images[1] if len(images) > 1 else images[0].flip(-1, -2)),
        noise_like(images),
    ]
    size = (images.shape[2], images.shape[3])
    reached = _reached(model)
    held = {name for name, value in model.layers.items() if value in reached}
    verdicts: dict[str, str] = {}
    for names, going in ((known.keys() & held, reached), (known.keys() - held, None)):
        found: dict[str, list[Reaction]] = {}
        for one, other in pairs if names else ():
            for name, reaction in reactions(model, one, other, going).items():
                found.setdefault(name, []).append(reaction)
        for name in [one for one in known if one in names and one in found]:
            if found[name][0].answers.numel() > 1:
                verdicts[name] = verdict(found[name], known[name], size, going is not None)
    unknown = (SILENT, BEYOND_ALL)
    wrong = {name: why for name, why in verdicts.items() if why not in (RIGHT, *unknown)}
    if wrong:
        name, why = next(iter(wrong.items()))
        return Check(
            "placed", False,
            f"units of {some_of(list(wrong))} do not stand where their patches would be cut out "
            f"({name}: {why}): leave such layers out of model.layers",
        )  # fmt: skip
    silent = [name for name, why in verdicts.items() if why == SILENT]
    if silent:
        return Check(
            "placed", None,
            f"units of {some_of(silent)} answer neither to the first pictures nor to noise, so it "
            "could not be measured where they stand",
        )  # fmt: skip
    beyond = [name for name, why in verdicts.items() if why == BEYOND_ALL]
    if beyond:
        return Check(
            "placed", None,
            f"units of {some_of(beyond)} answer to something of the whole picture, besides what "
            "lies where their patches are cut out",
        )  # fmt: skip
    return Check("placed", True, "what units answer to lies where their patches are cut out")


def _reached(model: Instrumented) -> Collection[Value]:
    """Return the values that relevance comes to; none if it cannot go through the network."""
    try:
        return model.plan.reached or make_plan(model.plan.trace, COMPOSITE).reached
    except RefusedError:
        return ()


def stable(model: Instrumented, images: Tensor) -> Check:
    """Look whether relevance is more than rounding.

    Where summands cancel, or a sum crosses zero before an activation function, relevance can
    depend on the last digits of the numbers: in one picture by a thousand times more than in the
    next. The picture is taken whose relevance changes most when half of its pixels change in
    their last digit, which shows it to within a few times, and is compared with that in float64.
    """
    if model.dtype == torch.float64:
        return Check("stable", True, "relevance is computed in float64")
    last = torch.finfo(model.dtype).eps
    chance = torch.Generator().manual_seed(0)
    some = torch.randint(0, 2, images.shape, generator=chance).to(images)
    own, near = _shares(model, images), _shares(model, images * (1 - 2 * last * some))
    moved = torch.stack([gaps.cpu() for gaps in _gaps(own, near).values()]).amax(dim=0)
    picture = slice(int(moved.argmax()), int(moved.argmax()) + 1)
    try:
        right = _shares(in_float64(model), images[picture])
    except Exception as error:  # a network that cannot be copied, or computes in float32 only
        return Check("stable", True, f"not compared with float64: {one_line(error)[:120]}")
    found = _gaps({name: share[picture] for name, share in own.items()}, right)
    gaps = {name: float(gap) for name, gap in found.items()}
    worst = max(gaps, key=lambda name: gaps[name])
    of = f" in the worst of {len(images)} pictures" if len(images) > 1 else ""
    if gaps[worst] <= STABLE:
        says = f"the shares of channels are those in float64 to {gaps[worst]:.1e} of their sum{of}"
        return Check("stable", True, says)
    return Check(
        "stable", False,
        f"{gaps[worst]:.0%} of the relevance of layer {worst}{of} is rounding (summands cancel "
        'each other): set prepass.dtype = "float64", which takes twice the time or more',
    )  # fmt: skip


def _gaps(own: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return how far each layer's shares are off in each picture; 1 where they are no numbers."""
    return {
        name: (own[name] - share).abs().sum(dim=1).nan_to_num(nan=1.0)
        if name in own
        else torch.ones(len(share))
        for name, share in right.items()
    }


def _shares(model: Instrumented, images: Tensor) -> dict[str, Tensor]:
    """Return each channel's share of its layer's relevance (pictures, channels).

    It is that for the predicted class. An atlas ranks pictures by these shares, so that rounding
    counts as it does there, also where nearly all of a layer's relevance cancels.
    """
    found: dict[str, Tensor] = {}

    def visit(layer: str, mode: Mode, maps: Tensor) -> None:
        if mode == "relevance":
            sums = maps.double().sum(dim=(2, 3))
            found[layer] = sums / sums.abs().sum(dim=1, keepdim=True).clamp(min=1e-30)

    predicted = torch.full((len(images),), PREDICTED, device=images.device)
    RelevanceEngine(model)(images.to(model.dtype), predicted, visit)
    return found
