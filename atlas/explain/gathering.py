"""From one picture to its evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from atlas.explain import bases, contrasting, flow, interventions, regions, ties
from atlas.explain.background import Background, typical
from atlas.explain.bases import FactorSet
from atlas.explain.conditional import Measured, propagate, shares
from atlas.explain.counterfactuals import Asked, ConceptLayer, counterfactual
from atlas.recipe import Explain
from atlas.relevance.engine import PREDICTED
from atlas.relevance.tape import Instrumented
from atlas.store.evidence import (
    VERSION,
    Concept,
    Curve,
    Effects,
    Evidence,
    Flow,
    Guess,
    Kind,
    LayerEvidence,
    Overlap,
    Picture,
    Target,
)

GUESSES = 5
"""Answers of the network that evidence lists."""

LAST_COVERAGE = 0.9
"""The coverage that is listed of the layer nearest to the answer, which says most."""


@dataclass(frozen=True)
class Subject:
    """A network with what explains it."""

    model: Instrumented
    layers: tuple[str, ...]
    """Those that are explained, in the order of the forward pass."""
    background: Background
    settings: Explain
    bases: Mapping[str, FactorSet] = field(default_factory=dict)
    """Which of `layers` are sets of factors."""

    def host(self, name: str) -> str:
        """Return the layer itself, or the one that factors are of."""
        return self.bases[name].layer if name in self.bases else name

    @property
    def changed(self) -> ConceptLayer:
        """The concepts of which it is said what it would take for another answer.

        The factors nearest to the answer; without any, the channels of the last layer.
        """
        name = next((one for one in reversed(self.layers) if one in self.bases), self.layers[-1])
        return ConceptLayer(self.model, name, self.bases.get(name))

    def without(self, name: str, image: Tensor, measured: Measured) -> interventions.Answers:
        """Return what gives the logits with channels of a layer, or factors, set to zero."""
        if (factors := self.bases.get(name)) is not None:
            output, found = measured.activation[factors.layer], measured.activation[name]
            return bases.without_factors(self.model, image, factors, output, found)
        fill = torch.zeros(len(measured.relevance[name]))
        return interventions.without_channels(self.model, name, image, fill)


@dataclass(frozen=True)
class Gathered:
    """Evidence with the heat maps that belong to it."""

    evidence: Evidence
    heat: Tensor
    """Relevance of each pixel for the target, (height, width)."""
    maps: Tensor
    """Relevance of each pixel conditioned on each concept, (concepts, height, width)."""


def gather(
    subject: Subject,
    image: Tensor,
    picture: Picture,
    id_: str,
    target: int = PREDICTED,
    label: int | None = None,
    asked: Asked | None = None,
) -> Gathered:
    """Measure everything about one picture.

    Parameters
    ----------
    subject : Subject
        What explains.
    image : Tensor
        (1, channels, height, width), preprocessed.
    picture : Picture
        What the evidence says about the file.
    id_ : str
        Of the explanation.
    target : int
        The output to explain, or `atlas.relevance.engine.PREDICTED`.
    label : int, optional
        The output that is right by the picture's label.
    asked : Asked, optional
        Another class, of which it is asked what it would take for the answer to be that.

    Raises
    ------
    SameAnswerError
        The class that is asked for is the answer, or several classes tie for it.
    """
    background, settings = subject.background, subject.settings
    measured = bases.seen(propagate(subject.model, image, target), subject.bases)
    if asked is not None:
        asked.check(measured.logits, background.classes)
    guesses, last = _guesses(measured, background), subject.layers[-1]
    end = contrasting.End(last, subject.without(last, image, measured), measured)
    other = contrasting.contrast(end, guesses, background, asked.label if asked else None)
    turning = {last: contrasting.turning(other)}
    chosen = {
        name: _chosen(name, measured, subject, turning.get(name, [])) for name in subject.layers
    }
    layers = [_layer(name, measured, subject, chosen[name]) for name in subject.layers]
    concepts: list[Concept] = []
    flows: list[Flow] = []
    maps = [measured.heat.new_zeros(0, *measured.heat.shape)]
    for position, layer in enumerate(layers):
        if not (channels := [*chosen[layer.layer]]):
            continue
        lower = [n for n in subject.layers[:position] if n not in subject.bases]
        below = lower[-1:]
        conditioned = measured.condition(layer.layer, channels, below)
        maps.append(conditioned.heat)
        inside = regions.holding(regions.mass(conditioned.heat)).cpu()
        new = [
            _concept(f"c{len(concepts) + row + 1}", chosen[layer.layer][channel], channel, layer,
                     measured, inside[row], background, (image.shape[-2], image.shape[-1]))
            for row, channel in enumerate(channels)
        ]  # fmt: skip
        flows += [
            flow.feeds(one, name, passing[row], concepts, background, settings.feeders)
            for name, passing in conditioned.below.items()
            for row, one in enumerate(new)
        ]
        concepts += new
    heat = torch.cat(maps)
    effects, curves = _interventions(subject, image, measured, concepts, heat)
    evidence = Evidence(
        version=VERSION,
        id=id_,
        atlas=str(background.manifest["id"]),
        named=background.named,
        picture=picture,
        prediction=tuple(guesses[:GUESSES]),
        target=_target(measured, guesses, target),
        layers=tuple(layers),
        concepts=tuple(concepts),
        overlaps=tuple(_overlaps(concepts, heat)),
        flow=tuple(flows),
        effects=tuple(effects),
        curves=tuple(curves),
        context=(),
        contrast=contrasting.linked(other, concepts),
        together=contrasting.together(end, concepts, heat, background.classes),
        truth=next((guess for guess in guesses if guess.label == label), None),
        counterfactual=counterfactual(asked, image, measured, concepts, background)
        if asked
        else None,
    )
    return Gathered(evidence, measured.heat, heat)


def _chosen(
    name: str, measured: Measured, subject: Subject, turning: Sequence[int]
) -> dict[int, int]:
    """Return which channels of a layer, or factors, are concepts, with their ranks.

    Those that hold most of the relevance; and those that decide between two classes, however little
    of it they hold.
    """
    settings = subject.settings
    last = subject.host(name) == subject.host(subject.layers[-1])
    coverage = max(settings.coverage, LAST_COVERAGE) if last else settings.coverage
    size = shares(measured.relevance[name].double()).abs()
    order = size.argsort(descending=True, stable=True)
    enough = int((size[order].cumsum(dim=0) < coverage).sum()) + 1
    count = min(enough, settings.concepts, int((size > 0).sum()))
    return {
        channel: rank
        for rank, channel in enumerate(order.tolist(), 1)
        if rank <= count or (channel in turning and size[channel] > 0)
    }


def _layer(
    name: str, measured: Measured, subject: Subject, chosen: Mapping[int, int]
) -> LayerEvidence:
    """Sum up a layer, or a set of factors, with the channels that are concepts."""
    factors = subject.bases.get(name)
    relevance = measured.relevance[name].sum(dim=(1, 2)).double()
    absolute = float(relevance.abs().sum())
    held = float(relevance[[*chosen]].abs().sum())
    total, logit = float(relevance.sum()), float(measured.logits[measured.target])
    return LayerEvidence(
        id=f"layer:{name}",
        layer=name,
        channels=len(relevance),
        absolute=absolute,
        relevance=total,
        conserved=total / logit if logit else 0.0,
        chosen=len(chosen),
        coverage=held / max(absolute, 1e-30),
        of=factors.layer if factors else None,
        residual=bases.residual(measured, name, factors) if factors else None,
        same_answer=factors.same_answer if factors else None,
        tested=factors.tested if factors else 0,
        basis_sha256=factors.digest if factors else None,
    )


def _concept(
    id_: str,
    rank: int,
    channel: int,
    layer: LayerEvidence,
    measured: Measured,
    inside: Tensor,
    background: Background,
    size: tuple[int, int],
) -> Concept:
    name = layer.layer
    relevance, activation = measured.relevance[name], measured.activation[name]
    share = float(shares(relevance)[channel])
    usual, pictures = background.usual(measured.target, name, channel)
    called = background.name(name, channel)
    place = int(relevance[channel].abs().argmax())
    y, x = divmod(place, relevance.shape[2])
    scores = {
        "activation": float(background.scores("activation", activation)[channel]),
        "relevance": float(background.scores("relevance", relevance)[channel]),
    }
    return Concept(
        id=id_,
        address=f"{name}:{channel}",
        layer=name,
        channel=channel,
        rank=rank,
        name=called.name,
        description=called.description,
        score=called.score,
        state=called.state,
        direction="for" if share > 0 else "against",
        relevance=float(relevance[channel].sum()),
        share=share,
        usual=usual,
        usual_pictures=pictures,
        typical=typical(share, usual),
        activation=background.standing("activation", name, channel, scores["activation"]),
        relevance_standing=background.standing("relevance", name, channel, scores["relevance"]),
        peak=(y, x),
        field=background.field(name).box(y, x, size),
        region=regions.describe(inside),
        map=f"{id_}.webp",
    )


def _interventions(
    subject: Subject, image: Tensor, measured: Measured, concepts: Sequence[Concept], heat: Tensor
) -> tuple[list[Effects], list[Curve]]:
    """Take away each concept alone, and those of each layer one after another."""
    settings, model = subject.settings, subject.model
    inside = regions.holding(regions.mass(heat))
    blur = interventions.without_regions(model, image)
    effects: list[Effects] = []
    curves: list[Curve] = []
    for name in subject.layers:
        rows = [row for row, one in enumerate(concepts) if one.layer == name]
        if not rows:
            continue
        own = [concepts[row] for row in rows]
        count = len(measured.relevance[name])
        answers: dict[Kind, interventions.Answers] = {
            "zero": subject.without(name, image, measured)
        }
        if name not in subject.bases:
            mean = torch.tensor(subject.background.means(name, count))
            answers["mean"] = interventions.without_channels(model, name, image, mean)
        answers["blur"] = blur
        single = torch.eye(count, dtype=torch.bool, device=image.device)[
            [one.channel for one in own]
        ]
        taken: dict[Kind, Tensor] = {"zero": single, "mean": single, "blur": inside[rows]}
        found = interventions.alone(answers, taken, measured, subject.background.classes)
        if "mean" in answers and all(interventions.alike(several) for several in found):
            found = [tuple(e for e in several if e.kind != "mean") for several in found]
            del answers["mean"]
        effects += [
            Effects(f"effect:{one.id}", one.id, several)
            for one, several in zip(own, found, strict=True)
        ]
        generator = torch.Generator().manual_seed(settings.seed)
        curves += [
            interventions.channel_curve(
                answers[kind], measured, name, kind, len(own), settings.draws, generator
            )
            for kind in answers
            if kind != "blur"
        ]
        curves.append(
            interventions.region_curve(
                blur, measured, name, inside[rows].cpu(), own, settings.draws, generator
            )
        )
    return effects, curves


def _overlaps(concepts: Sequence[Concept], heat: Tensor) -> list[Overlap]:
    common = regions.overlaps(regions.mass(heat)).tolist()
    return [
        Overlap(f"overlap:{one.id}:{other.id}", one.id, other.id, common[i][j])
        for i, one in enumerate(concepts)
        for j, other in enumerate(concepts)
        if i < j
    ]


def _guesses(measured: Measured, background: Background) -> list[Guess]:
    logits = measured.logits
    probability = measured.head.probabilities(logits.float()).tolist()
    order = logits.argsort(descending=True, stable=True).tolist()
    values = logits.tolist()
    place = ties.places(logits.float())
    return [
        Guess(label, background.classes[label], rank, probability[label], values[label], tied)
        for label in order
        for rank, tied in [place[label]]
    ]


def _target(measured: Measured, guesses: Sequence[Guess], asked: int) -> Target:
    guess = next(guess for guess in guesses if guess.label == measured.target)
    return Target(
        guess.label, guess.name, guess.rank, guess.probability, guess.logit, guess.tied,
        "predicted" if asked == PREDICTED else "asked",
    )  # fmt: skip
