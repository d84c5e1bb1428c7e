"""Checks of what a network answers: one finite answer for a picture, which are its logits."""

import contextlib
import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atlas.errors import one_line
from atlas.relevance.endings import not_logits
from atlas.relevance.plan import plan as make_plan
from atlas.relevance.tape import Instrumented, follow, instrument, path_to
from atlas.trace.batches import differ, sampled, unlike
from atlas.trace.following import PICTURE
from atlas.trace.state import changed, state_of

SAME = 1e-4
"""Answers are the same if they differ by at most this part of the largest."""

EXACT = 1e-9
"""The same in float64."""

TOGETHER = 5
"""How many pictures are looked at together and alone."""

STRONG = 1000
"""How much stronger than pictures noise is where logits are distinguished from probabilities."""

REPEATS = 3
"""How many times more the same pictures are shown."""


_INSTEAD = "; let it return what goes into that"


@dataclass(frozen=True)
class Check:
    """What was looked at, and whether it holds."""

    name: str
    passed: bool | None
    """None: what would be seen could not be measured."""
    says: str
    """The outcome in one sentence, with the number that was seen."""


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
    """Look whether one picture has one answer, and whether the network keeps something of it."""
    one = module(images.clone())  # which the network may overwrite
    before = state_of(module, maps=False)
    gap = max(gap_between(module(images.clone()), one) for _ in range(REPEATS))
    if gap <= SAME and (name := changed(before, state_of(module, maps=False))):
        return Check(
            "repeated", False,
            f"the network changes {name!r} of its own each time it is called, on which its answers "
            "may depend: let it keep no count of its calls",
        )  # fmt: skip
    if gap <= SAME:
        return Check("repeated", True, "the same picture has the same answer when it comes again")
    return Check(
        "repeated", False,
        f"the network gives one picture two answers (they differ by {gap:.1e} of the largest): is "
        "something random left on, as dropout?",
    )  # fmt: skip


@torch.no_grad()
def same_in_batch(model: Instrumented, images: Tensor, together: int) -> Check:
    """Look whether a picture's answer depends on the pictures beside it, at any place.

    As many are looked at as go through the network at once. Where answers do not depend on it,
    neither must maps: what layers have at a picture's place must be its own.
    """
    batch = torch.cat([images, images.flip(-1), unlike(images)])[:TOGETHER]
    gap, rounding = _gap_among_others(model, batch, together), ""
    if gap > SAME and model.dtype == torch.float32:
        with contextlib.suppress(Exception):  # of a network that computes in float32 only
            exact = in_float64(model)
            if _gap_among_others(exact, batch.double(), together) <= EXACT:
                model, batch, rounding = exact, batch.double(), f" ({gap:.1e} in float32: rounding)"
    if gap <= SAME or rounding:
        if others := _mixed(model, batch):
            return Check(
                "alone", False,
                f"maps of {some_of(others)} at the place of a picture are not its own, or change "
                "with the pictures beside it: leave such layers out of model.layers",
            )  # fmt: skip
        says = f"a picture's answer does not depend on those beside it{rounding}"
        return Check("alone", True, says)
    return Check(
        "alone", False,
        f"a picture's answer changes by {gap:.1e} of the largest with the pictures beside it, or "
        "its place among them: does the network normalise by the batch (batch norm in train mode "
        "or without statistics), or compute with the number or the order of pictures?",
    )  # fmt: skip


def _gap_among_others(model: Instrumented, batch: Tensor, together: int) -> float:
    """Return how far answers alone are from those among others, in parts of the largest."""
    module = model.module
    alone = torch.cat([module(batch[i : i + 1].clone()) for i in range(len(batch))])
    places = torch.arange(max(together, len(batch)), device=batch.device) % len(batch)
    whole, turned = module(batch[places]), module(batch[places.flip(0)]).flip(0)
    return max(gap_between(whole, alone[places]), gap_between(turned, alone[places]))


def in_float64(model: Instrumented) -> Instrumented:
    """Return a copy that computes in float64; some networks cannot be copied, or do so."""
    module = copy.deepcopy(model.module).double()
    rules = make_plan(model.plan.trace, model.plan.composite, torch.float64)
    return instrument(module, rules, list(model.layers), torch.float64)


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
    gap = gap_between(output, own) if isinstance(output, Tensor) else float("inf")
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
    says, unseen = _no_logits(model, images)
    if says:
        return Check(
            "start", False,
            f"what the network returns {says}",
        )  # fmt: skip
    if unseen:
        return Check(
            "start", None,
            "what the network returns is taken for logits, and whether it is could be looked at "
            f"with pictures alone: on noise {STRONG} times as strong the network fails ({unseen})",
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


def _no_logits(model: Instrumented, images: Tensor) -> tuple[str, str]:
    """Return why what relevance would start from is no logit; "" if it is one.

    And what the network raises where it takes no noise.
    """
    head = model.plan.head
    if says := not_logits(model.plan.trace, head):
        before = "is" if head.kind == "logits" else f"comes from a {head.kind} of what is"
        return f"{before} no logit: behind its last weights it {says}{_INSTEAD}", ""
    if head.kind != "logits":
        return "", ""
    noise = torch.stack(noise_like(images))
    given = torch.cat([images, noise, STRONG * noise, -STRONG * images[:1]])
    unseen = ""
    try:
        outputs = model.module(given.to(images.dtype)).double()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # as a network may of numbers that no picture has
        unseen = f"{type(error).__name__}: {one_line(error)[:120]}"
        outputs = model.module(torch.cat([images, unlike(images)])).double()
    return _probabilities(outputs) or _taken_away(outputs), unseen


def _taken_away(outputs: Tensor) -> str:
    """Return what shows that the largest of the outputs is always the same; "" if nothing does."""
    outputs = outputs[torch.isfinite(outputs).all(dim=1)]
    if outputs.shape[1] == 1 or not len(outputs) or bool((outputs == outputs[:1]).all()):
        return ""
    best = outputs.amax(dim=1)
    if float(best.max() - best.min()) > SAME * float(outputs.abs().max()):
        return ""
    level = float(best.mean())
    if abs(level) > SAME * float(outputs.abs().max()):
        return (
            f"is at most {level:.3g} for every picture, also for noise, so that it says nothing of "
            "the picture: is the network trained, and are these its logits?"
        )
    return (
        f"is at most {level:.3g} for every picture, as after the largest was taken away, and "
        f"relevance has nothing to start from{_INSTEAD}"
    )


def _probabilities(outputs: Tensor) -> str:
    """Return what shows that outputs (pictures, classes) are probabilities; "" if nothing does."""
    outputs = outputs[torch.isfinite(outputs).all(dim=1)]  # what is too strong says nothing
    if not len(outputs) or bool((outputs == outputs[:1]).all()):
        return ""
    low, high, sums = float(outputs.min()), float(outputs.max()), outputs.sum(dim=1)
    total = float(sums.mean())
    if outputs.shape[1] > 1 and low >= 0 and float((sums - total).abs().max()) <= SAME * total:
        says = f"is never negative and adds up to {total:.3g}"
    elif low >= 0 and high <= 1:
        says = "lies between 0 and 1"
    else:
        return ""
    kind = "these are probabilities, no logits"
    return f"{says} for every picture, also for noise: {kind}{_INSTEAD}"


def noise_like(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return two pictures of noise, some of it coarse, about as bright as others.

    Their numbers lie between those of the pictures, unless these have hardly any contrast.
    """
    chance = torch.Generator().manual_seed(0)
    shape = (2, *images.shape[1:])
    coarse = torch.randn(2, images.shape[1], 8, 8, generator=chance)
    smooth = F.interpolate(coarse, size=shape[2:], mode="bilinear")
    noise = (smooth + torch.randn(shape, generator=chance)).to(images)
    spread = images.float().std().clamp(min=0.1).to(images)
    noise = noise * spread + images.mean()
    low, high = images.min(), images.max()
    one, other = noise.clamp(low, high) if high - low > spread else noise
    return one, other


def gap_between(one: Tensor, other: Tensor) -> float:
    """Return the largest difference, in parts of the largest value."""
    one, other = one.double(), other.double()
    gap = float((one - other).abs().max() / other.abs().max().clamp(min=1e-12))
    return float("inf") if math.isnan(gap) else gap


def some_of(names: Sequence[str]) -> str:
    """Return a few names for a line, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
