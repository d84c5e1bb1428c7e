"""What happens to the target when concepts are taken away.

A channel is set to zero or to its mean over the pre-pass at every position; or the region of
its heat map is blurred in the picture. Relevance is a claim about what matters, and this is
its test: taking away by falling relevance should lower the target sooner than random orders,
than the order of activation, and than the reverse (cf. Samek et al. 2017, region perturbation).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision.transforms.v2.functional import gaussian_blur

from atlas.explain.conditional import Measured, shares
from atlas.store.evidence import Concept, Course, Curve, Effect, Kind, Order

BATCH = 32

BLUR = 1 / 10
"""Standard deviation of the blur, of the picture's side."""

Answers = Callable[[Tensor], Tensor]
"""From (N, channels) or (N, height, width) booleans, what is taken away, to logits (N, classes)."""


def without_channels(module: nn.Module, layer: str, image: Tensor, fill: Tensor) -> Answers:
    """Return a function that gives the logits without some channels of a layer.

    Parameters
    ----------
    module : nn.Module
        The network.
    layer : str
        Whose output is changed.
    image : Tensor
        (1, 3, height, width), preprocessed.
    fill : Tensor
        (channels,): the value that takes the place of a channel's output everywhere.
    """
    part = module.get_submodule(layer)
    picture = image.contiguous(memory_format=torch.channels_last)

    def answers(taken: Tensor) -> Tensor:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            shape = (1,) * (output.ndim - 2)
            return torch.where(
                taken.view(*taken.shape, *shape), fill.to(output).view(1, -1, *shape), output
            )

        handle = part.register_forward_hook(hook)
        try:
            with torch.no_grad(), _Joined():
                logits: Tensor = module(picture)
        finally:
            handle.remove()
        return logits

    return answers


def without_regions(module: nn.Module, image: Tensor) -> Answers:
    """Return a function that gives the logits with regions of the picture blurred."""
    sigma = BLUR * image.shape[-1]
    size = 2 * int(2 * sigma) + 1
    blurred = gaussian_blur(image, [size, size], [sigma, sigma])

    def answers(taken: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = torch.where(taken[:, None], blurred, image)
            logits: Tensor = module(hidden.contiguous(memory_format=torch.channels_last))
        return logits

    return answers


class _Joined(TorchFunctionMode):
    """Lets N versions of one branch meet the single version of another.

    Below the changed layer there is one picture, above it there are N. Sums broadcast by
    themselves; concatenations do not.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (torch.cat, torch.concat):
            parts, *rest = args
            count = max(len(part) for part in parts)
            args = ([part.expand(count, *part.shape[1:]) for part in parts], *rest)
        return func(*args, **(kwargs or {}))


def area(values: Sequence[float]) -> float:
    """Return the mean height of a curve over equal steps, by trapezia."""
    if len(values) == 1:
        return values[0]
    inner = sum(values) - (values[0] + values[-1]) / 2
    return inner / (len(values) - 1)


def channel_curve(
    answers: Answers,
    measured: Measured,
    layer: str,
    kind: Kind,
    steps: int,
    draws: int,
    generator: torch.Generator,
) -> Curve:
    """Take away `steps` channels of a layer one after another, in every order."""
    share = shares(measured.relevance[layer]).cpu()
    strength = measured.activation[layer].amax(dim=(1, 2)).cpu()
    orders: dict[Order, list[Tensor]] = {
        "relevance": [share.argsort(descending=True, stable=True)],
        "activation": [strength.argsort(descending=True, stable=True)],
        "reverse": [share.argsort(stable=True)],
        "random": [torch.randperm(len(share), generator=generator) for _ in range(draws)],
    }
    masks = {
        order: [_cumulative(one[:steps], torch.eye(len(share), dtype=torch.bool)) for one in many]
        for order, many in orders.items()
    }
    taken: dict[Order, tuple[str, ...]] = {
        order: tuple(f"{layer}:{channel}" for channel in many[0][:steps].tolist())
        for order, many in orders.items()
        if order != "random"
    }
    return _curve(answers, measured, layer, kind, masks, taken)


def region_curve(
    answers: Answers,
    measured: Measured,
    layer: str,
    regions: Tensor,
    concepts: Sequence[Concept],
    draws: int,
    generator: torch.Generator,
) -> Curve:
    """Blur the regions (N, height, width) of a layer's concepts one after another.

    The random orders blur regions of the same shapes elsewhere: each is moved around the
    picture, which has no edges for it.
    """
    strength = [float(measured.activation[layer][one.channel].amax()) for one in concepts]
    share = [one.share for one in concepts]
    count = len(concepts)
    orders: dict[Order, list[int]] = {
        "relevance": sorted(range(count), key=lambda i: -share[i]),
        "activation": sorted(range(count), key=lambda i: -strength[i]),
        "reverse": sorted(range(count), key=lambda i: share[i]),
    }
    masks = {o: [_cumulative(torch.tensor(order), regions)] for o, order in orders.items()}
    masks["random"] = [
        _cumulative(torch.randperm(count, generator=generator), _moved(regions, generator))
        for _ in range(draws)
    ]
    taken: dict[Order, tuple[str, ...]] = {
        o: tuple(concepts[i].address for i in order) for o, order in orders.items()
    }
    return _curve(answers, measured, layer, "blur", masks, taken)


def alone(
    answers: Mapping[Kind, Answers], taken: Mapping[Kind, Tensor], target: int, names: Sequence[str]
) -> list[tuple[Effect, ...]]:
    """Return the effects of taking away each concept alone.

    Parameters
    ----------
    answers : mapping
        By the kind of intervention.
    taken : mapping
        By the kind: (N, ...), what each of N concepts takes away.
    target : int
        The output.
    names : sequence of str
        Of all outputs.

    Returns
    -------
    list of tuples
        For each concept its effects in the order of `answers`.
    """
    columns = []
    for kind, answer in answers.items():
        logits = _all(answer, taken[kind])
        rows = zip(
            logits.softmax(dim=1)[:, target].tolist(),
            logits[:, target].tolist(),
            logits.argmax(dim=1).tolist(),
            strict=True,
        )
        columns.append([Effect(kind, p, logit, best, names[best]) for p, logit, best in rows])
    return list(zip(*columns, strict=True))


def _curve(
    answers: Answers,
    measured: Measured,
    layer: str,
    kind: Kind,
    masks: Mapping[Order, list[Tensor]],
    taken: Mapping[Order, tuple[str, ...]],
) -> Curve:
    every = torch.cat([mask for many in masks.values() for mask in many])
    logits = _all(answers, every.to(measured.logits.device))
    whole = measured.logits.float()[None]
    courses = []
    at = 0
    for order, many in masks.items():
        draws = []
        for mask in many:
            draws.append(torch.cat([whole, logits[at : at + len(mask)]]))
            at += len(mask)
        stacked = torch.stack(draws)  # (draws, steps + 1, classes)
        probability = stacked.softmax(dim=2)[:, :, measured.target].mean(dim=0).tolist()
        logit = stacked[:, :, measured.target].mean(dim=0).tolist()
        courses.append(
            Course(
                order, len(many), taken.get(order, ()), tuple(probability), tuple(logit),
                area(probability), area(logit),
            )
        )  # fmt: skip
    return Curve(f"curve:{layer}:{kind}", layer, kind, tuple(courses))


def _all(answers: Answers, taken: Tensor) -> Tensor:
    return torch.cat([answers(part) for part in torch.split(taken, BATCH)]).float()


def _cumulative(order: Tensor, single: Tensor) -> Tensor:
    """Return what is taken away after each step: unions of `single` in `order`."""
    return single[order].int().cumsum(dim=0) > 0


def _moved(regions: Tensor, generator: torch.Generator) -> Tensor:
    """Return each region somewhere else."""
    height, width = regions.shape[1:]
    return torch.stack([
        region.roll(
            (int(torch.randint(height, (), generator=generator)),
             int(torch.randint(width, (), generator=generator))), (0, 1))
        for region in regions
    ])  # fmt: skip
