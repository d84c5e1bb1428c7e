"""What happens to the target when concepts are taken away.

A channel is set to zero or to its mean over the pre-pass at every position; or the region of
its heat map is blurred in the picture. Relevance is a claim about what matters, and this is
its test: taking away by falling relevance should lower the target sooner than random orders,
than the order of activation, and than the reverse (cf. Samek et al. 2017, region perturbation).
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from atlas.explain import ties
from atlas.explain.conditional import Measured, shares
from atlas.relevance import changed
from atlas.relevance.tape import Instrumented
from atlas.store.evidence import Concept, Course, Curve, Effect, Kind, Order

BATCH = 32

ALIKE = 1e-4
"""Logits are the same within so much of their size."""

BLUR = 1 / 10
"""Standard deviation of the blur, of the picture's shorter side."""

Answers = Callable[[Tensor], Tensor]
"""From (N, channels) or (N, height, width) booleans, what is taken away, to logits (N, classes)."""


def without_channels(model: Instrumented, layer: str, image: Tensor, fill: Tensor) -> Answers:
    """Return a function that gives the logits without some channels of a layer.

    Parameters
    ----------
    model : Instrumented
        The network.
    layer : str
        Whose output is changed.
    image : Tensor
        (1, colours, height, width), preprocessed.
    fill : Tensor
        (channels,): the value that takes the place of a channel's output everywhere.
    """
    return with_channels(model, layer, image, fill[:, None, None])


def with_channels(model: Instrumented, layer: str, image: Tensor, others: Tensor) -> Answers:
    """Return a function that gives the logits with other outputs of some channels of a layer.

    Parameters
    ----------
    model, layer, image
        As `without_channels` takes them.
    others : Tensor
        (channels, h, w) or (channels, 1, 1): what takes the place of the layer's output.
    """

    def change(output: Tensor, mask: Tensor) -> Tensor:
        shape = (1,) * (output.ndim - 2)
        other = others if shape else others[:, 0, 0]
        return torch.where(mask.view(*mask.shape, *shape), other.to(output)[None], output)

    return with_changes(model, layer, image, change)


def with_changes(
    model: Instrumented, layer: str, image: Tensor, change: Callable[[Tensor, Tensor], Tensor]
) -> Answers:
    """Return a function that gives the logits with a layer's output changed in several ways.

    Parameters
    ----------
    model, layer, image
        As `without_channels` takes them.
    change : callable
        From the layer's output and a mask, bool (N, concepts), to N outputs.
    """
    under = changed.under_versions(model, image, layer)

    def answers(taken: Tensor) -> Tensor:
        mask = taken.to(image.device)
        return changed.logits(model, under(len(mask)), layer, lambda output: change(output, mask))

    return answers


def without_regions(model: Instrumented, image: Tensor) -> Answers:
    """Return a function that gives the logits with regions of the picture blurred."""
    from torchvision.transforms.v2.functional import gaussian_blur  # noqa: PLC0415 (slow to import)

    sigma = BLUR * min(image.shape[-2:])
    size = 2 * int(2 * sigma) + 1
    blurred = gaussian_blur(image, [size, size], [sigma, sigma])

    def answers(taken: Tensor) -> Tensor:
        return changed.logits(model, torch.where(taken[:, None], blurred, image))

    return answers


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
    answers: Mapping[Kind, Answers],
    taken: Mapping[Kind, Tensor],
    measured: Measured,
    names: Sequence[str],
) -> list[tuple[Effect, ...]]:
    """Return the effects of taking away each concept alone.

    Parameters
    ----------
    answers : mapping
        By the kind of intervention.
    taken : mapping
        By the kind: (N, ...), what each of N concepts takes away.
    measured : Measured
        The picture as it is.
    names : sequence of str
        Of all outputs.

    Returns
    -------
    list of tuples
        For each concept its effects in the order of `answers`.
    """
    head, target = measured.head, measured.target
    own = int(measured.logits.argmax())
    columns = []
    for kind, answer in answers.items():
        logits = answered(answer, taken[kind])
        rows = zip(
            head.probabilities(logits)[:, target].tolist(),
            logits[:, target].tolist(),
            ties.tops(logits, own),
            strict=True,
        )
        columns.append(
            [Effect(kind, p, logit, best, names[best], tied) for p, logit, (best, tied) in rows]
        )
    return list(zip(*columns, strict=True))


def alike(effects: Sequence[Effect]) -> bool:
    """Return whether setting a channel to its mean does what setting it to zero does.

    It does where an activation function cuts both off, as outputs are taken before it.
    """
    zero, mean = (next(one for one in effects if one.kind == kind) for kind in ("zero", "mean"))
    near = max(abs(zero.logit), 1.0) * ALIKE
    same = (zero.answer, zero.tied) == (mean.answer, mean.tied)
    return same and abs(zero.logit - mean.logit) <= near


def answered(answers: Answers, taken: Tensor) -> Tensor:
    """Return the logits (N, classes) without each of N sets, a few at a time."""
    return torch.cat([answers(part) for part in torch.split(taken, BATCH)]).float()


def _curve(
    answers: Answers,
    measured: Measured,
    layer: str,
    kind: Kind,
    masks: Mapping[Order, list[Tensor]],
    taken: Mapping[Order, tuple[str, ...]],
) -> Curve:
    every = torch.cat([mask for many in masks.values() for mask in many])
    logits = answered(answers, every.to(measured.logits.device))
    whole = measured.logits.float()[None]
    courses = []
    at = 0
    for order, many in masks.items():
        draws = []
        for mask in many:
            draws.append(torch.cat([whole, logits[at : at + len(mask)]]))
            at += len(mask)
        stacked = torch.stack(draws)  # (draws, steps + 1, classes)
        probability = (
            measured.head.probabilities(stacked)[:, :, measured.target].mean(dim=0).tolist()
        )
        logit = stacked[:, :, measured.target].mean(dim=0).tolist()
        courses.append(
            Course(
                order, len(many), taken.get(order, ()), tuple(probability), tuple(logit),
                area(probability), area(logit),
            )
        )  # fmt: skip
    return Curve(f"curve:{layer}:{kind}", layer, kind, tuple(courses))


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
