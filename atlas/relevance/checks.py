"""What must hold for any network before its relevance is believed, looked at in every run.

Each check looks at what happened, not at what the plan meant: at the network's own answers,
at sums of relevance before and after each operation, at what changes where when a part of the
picture is changed.
"""

import copy
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atlas.errors import one_line
from atlas.relevance.engine import PREDICTED, RelevanceEngine
from atlas.relevance.gates import find_gates
from atlas.relevance.plan import plan as make_plan
from atlas.relevance.rules import Relevances
from atlas.relevance.standing import BEYOND_ALL, RIGHT, SILENT, Reaction, reactions, verdict
from atlas.relevance.tape import Instrumented, follow, instrument, path_to
from atlas.store import Mode
from atlas.trace.batches import differ, sampled
from atlas.trace.following import PICTURE, RefusedError, Value
from atlas.trace.head import squashed_by
from atlas.trace.record import record
from atlas.trace.sights import ReceptiveField

SAME = 1e-4
"""Answers are the same if they differ by at most this part of the largest."""

TOGETHER = 5
"""Pictures that are looked at together and alone."""

CONSERVED = 1e-2
"""At most this part of the relevance of an operation may be gained or lost there."""

STABLE = 0.01
"""At most this part of a layer's relevance may be rounding, in float32."""

STRONG = 1000
"""How much stronger than pictures noise is where logits are told from probabilities."""

COMPOSITE = "epsilon_plus"
"""The rules by which gates are found where relevance is not measured."""

REPEATS = 3
"""How many times more the same pictures are shown."""


@dataclass(frozen=True)
class Check:
    """What was looked at, and whether it holds."""

    name: str
    passed: bool | None
    """None: what would be seen could not be measured."""
    says: str
    """The outcome in one sentence, with the number that was seen."""


def check(
    model: Instrumented, images: Tensor, fields: Mapping[str, ReceptiveField]
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
    """
    images = images.to(model.dtype)
    yield (answers := finite(model.module, images))
    if not answers.passed:
        return
    yield same_when_repeated(model.module, images)
    yield same_in_batch(model, images)
    yield same_logits(model, images)
    yield kind_of_output(model, images)
    if model.plan.reached:
        yield from conserved(model, images)
    yield placed(model, images, fields)
    if model.plan.reached:
        yield stable(model, images)


@torch.no_grad()
def finite(module: nn.Module, images: Tensor) -> Check:
    """Look whether answers are numbers."""
    answers = module(images.clone())
    if bool(torch.isfinite(answers).all()):
        return Check("finite", True, "all answers are finite numbers")
    return Check(
        "finite", False,
        "the network answers with what is no finite number (masked classes? damaged weights?)",
    )  # fmt: skip


@torch.no_grad()
def same_when_repeated(module: nn.Module, images: Tensor) -> Check:
    """Look whether one picture has one answer."""
    one = module(images.clone())  # which the network may overwrite
    gap = max(_gap(module(images.clone()), one) for _ in range(REPEATS))
    if gap <= SAME:
        return Check("repeated", True, "the same picture has the same answer when it comes again")
    return Check(
        "repeated", False,
        f"the network gives one picture two answers (they differ by {gap:.1e} of the largest): is "
        "something random left on, as dropout?",
    )  # fmt: skip


@torch.no_grad()
def same_in_batch(model: Instrumented, images: Tensor) -> Check:
    """Look whether a picture's answer depends on the pictures beside it, at any place.

    Where it does not, neither must its maps: what layers have at its place must be its own.
    """
    module = model.module
    batch = torch.cat([images, images.flip(-1), -images])[:TOGETHER]
    alone = torch.cat([module(batch[i : i + 1].clone()) for i in range(len(batch))])
    turned = module(batch.flip(0)).flip(0)
    gap = max(_gap(module(batch.clone()), alone), _gap(turned, alone))
    if gap <= SAME:
        if others := _mixed(model, batch):
            return Check(
                "alone", False,
                f"maps of {_some(others)} at the place of a picture are not its own, or change "
                "with the pictures beside it: leave such layers out of model.layers",
            )  # fmt: skip
        return Check("alone", True, "a picture's answer does not depend on those beside it")
    return Check(
        "alone", False,
        f"a picture's answer changes by {gap:.1e} of the largest with the pictures beside it, or "
        "its place among them: does the network normalise by the batch (batch norm in train mode "
        "or without statistics)?",
    )  # fmt: skip


def _mixed(model: Instrumented, batch: Tensor) -> list[str]:
    """Return the layers whose maps of a picture are others in a batch."""

    def maps(pictures: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}

        def see(layer: str, output: Tensor) -> None:
            found[layer] = sampled(output)

        follow(model, pictures, frozenset(), see)
        return found

    together, alone = maps(batch), [maps(batch[i : i + 1]) for i in (0, len(batch) - 1)]
    return [
        layer
        for layer, found in together.items()
        if len(found) != len(batch)
        or any(differ(own[layer][0], found[i]) for own, i in zip(alone, (0, -1), strict=True))
    ]


@torch.no_grad()
def same_logits(model: Instrumented, images: Tensor) -> Check:
    """Look whether the engine computes the user's network and no other."""
    whole = path_to(model.plan, [PICTURE]) if model.plan.reached else frozenset()
    tape = follow(model, images, whole, lambda layer, output: None)
    output = tape.output
    own = model.module(images.clone())
    gap = _gap(output, own) if isinstance(output, Tensor) else float("inf")
    allowed = SAME if model.dtype.itemsize >= 4 else 0.05
    if gap <= allowed:
        says = f"the answers measured are the network's own to {gap:.1e} of the largest"
        return Check("logits", True, says)
    return Check(
        "logits", False,
        f"the answers measured differ from the network's own by {gap:.1e} of the largest, more "
        f"than {allowed:.0e}: set prepass.dtype = \"float64\", if the network computes in no other "
        "precision itself",
    )  # fmt: skip


@torch.no_grad()
def kind_of_output(model: Instrumented, images: Tensor) -> Check:
    """Say from where relevance starts, and look whether probabilities are taken for logits.

    With the pictures and noise also many times as strong: logits grow with it, probabilities do
    not.
    """
    head = model.plan.head
    if head.kind == "logits":
        noise = torch.stack(_noise(images))
        given = torch.cat([images, noise, STRONG * noise, -STRONG * images[:1]])
        says = _probabilities(model.module(given.to(images.dtype)).double())
        if not says and (name := squashed_by(model.plan.trace)):
            says = f"comes out of {name}, scaled or shifted"
        if says:
            return Check(
                "start", False,
                f"what the network returns {says}: these are probabilities, no logits; let it "
                "return what goes into its last function (softmax, sigmoid)",
            )  # fmt: skip
    if head.outputs == 1:
        says = "the network returns one number: its sign decides between two classes"
    elif head.kind == "softmax":
        says = "the network ends in a softmax: relevance starts before it"
    elif head.kind == "sigmoid":
        says = (
            "the network ends in sigmoids: relevance starts before them, and classes do not "
            "exclude each other"
        )
    else:
        says = "what the network returns is taken for logits"
    return Check("start", True, says)


def _probabilities(outputs: Tensor) -> str:
    """Return what shows that outputs (pictures, classes) are probabilities; "" if nothing does."""
    outputs = outputs[torch.isfinite(outputs).all(dim=1)]  # what is too strong says nothing
    if not len(outputs) or bool((outputs == outputs[:1]).all()):
        return ""
    low, high, sums = float(outputs.min()), float(outputs.max()), outputs.sum(dim=1)
    total = float(sums.mean())
    if outputs.shape[1] > 1 and low >= 0 and float((sums - total).abs().max()) <= SAME * total:
        return f"is never negative and adds up to {total:.3g} for every picture, also for noise"
    if low >= 0 and high <= 1:
        return "lies between 0 and 1 for every picture, also for noise"
    return ""


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
            f"{len(found.equal)}, {_some(found.equal)})"
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
    pairs = [(images[0], images[1] if len(images) > 1 else images[0].flip(-1, -2)), _noise(images)]
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
            f"units of {_some(list(wrong))} do not stand where their patches would be cut out "
            f"({name}: {why}): leave such layers out of model.layers",
        )  # fmt: skip
    silent = [name for name, why in verdicts.items() if why == SILENT]
    if silent:
        return Check(
            "placed", None,
            f"units of {_some(silent)} answer neither to the first pictures nor to noise, so it "
            "could not be measured where they stand",
        )  # fmt: skip
    beyond = [name for name, why in verdicts.items() if why == BEYOND_ALL]
    if beyond:
        return Check(
            "placed", None,
            f"units of {_some(beyond)} answer to something of the whole picture, besides what lies "
            "where their patches are cut out",
        )  # fmt: skip
    return Check("placed", True, "what units answer to lies where their patches are cut out")


def _reached(model: Instrumented) -> Collection[Value]:
    """Return the values that relevance comes to; none if it cannot go through the network."""
    try:
        return model.plan.reached or make_plan(model.plan.trace, COMPOSITE).reached
    except RefusedError:
        return ()


def _noise(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return two pictures of noise, some of it coarse, about as bright as others."""
    chance = torch.Generator().manual_seed(0)
    shape = (2, *images.shape[1:])
    coarse = torch.randn(2, images.shape[1], 8, 8, generator=chance)
    smooth = F.interpolate(coarse, size=shape[2:], mode="bilinear")
    noise = (smooth + torch.randn(shape, generator=chance)).to(images)
    spread = images.float().std().clamp(min=0.1).to(images)
    one, other = noise * spread + images.mean()
    return one, other


def stable(model: Instrumented, images: Tensor) -> Check:
    """Look whether relevance is more than rounding.

    Where summands cancel, or a sum crosses zero before an activation function, relevance can
    depend on the last digits of the numbers. It is compared with that in float64.
    """
    plan, layers = model.plan, list(model.layers)
    if model.dtype == torch.float64:
        return Check("stable", True, "relevance is computed in float64")
    try:
        module = copy.deepcopy(model.module).double()
        trace = record(module, images[:1].double())
        rules = make_plan(trace, plan.composite, torch.float64)
        exact = instrument(module, rules, layers, torch.float64)
        own, right = (_shares(one, images[:1]) for one in (model, exact))
    except Exception as error:  # a network that cannot be copied, or computes in float32 only
        return Check("stable", True, f"not compared with float64: {one_line(error)[:120]}")
    gaps = {
        name: float((own[name] - share).abs().sum()) if name in own else 1.0
        for name, share in right.items()
    }
    worst = max(gaps, key=lambda name: gaps[name])
    if gaps[worst] <= STABLE:
        says = f"the shares of channels are those in float64 to {gaps[worst]:.1e} of their sum"
        return Check("stable", True, says)
    return Check(
        "stable", False,
        f"{gaps[worst]:.0%} of the relevance of layer {worst} is rounding (summands cancel each "
        'other): set prepass.dtype = "float64", which takes twice the time or more',
    )  # fmt: skip


def _shares(model: Instrumented, image: Tensor) -> dict[str, Tensor]:
    """Return each channel's share of its layer's relevance, of a picture's predicted class."""
    found: dict[str, Tensor] = {}

    def visit(layer: str, mode: Mode, maps: Tensor) -> None:
        if mode == "relevance":
            sums = maps.double().sum(dim=(2, 3))
            found[layer] = sums / sums.abs().sum().clamp(min=1e-30)

    RelevanceEngine(model)(image, torch.full((1,), PREDICTED, device=image.device), visit)
    return found


def _gap(one: Tensor, other: Tensor) -> float:
    """Return the largest difference, in parts of the largest value."""
    gap = float(
        (one.float() - other.float()).abs().max() / other.float().abs().max().clamp(min=1e-12)
    )
    return float("inf") if math.isnan(gap) else gap


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
