"""What it would take for the answer to be another class.

The answer *leaves* its class when concepts are taken away. It *becomes* another one when maps of
concepts are copied from a real picture that the network takes for that class: what is added by
hand, as strong as is usual, is nothing that the network knows and reaches a class far more seldom.
Maps are moved so that what speaks for the one class comes to lie where what speaks for the other
does. (Goyal et al. 2019, Counterfactual Visual Explanations, copy positions of a layer so; Akula et
al. 2021, CX-ToM, delete and add concepts.)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from atlas.errors import UserError
from atlas.explain import bases, interventions, ties
from atlas.explain.background import Background
from atlas.explain.bases import FactorSet
from atlas.explain.conditional import Measured, propagate
from atlas.explain.fewest import ChangeGoal, Outcomes, fewest
from atlas.explain.interventions import Answers
from atlas.relevance.tape import Instrumented
from atlas.store.counterfactual import ConceptChanges, ConceptStep, Counterfactual, SourcePicture
from atlas.store.evidence import Concept

MANY = 128
"""All concepts are tried where there are no more than these."""

PROMISING = 64
"""So many concepts are tried, those that promise most, where there are more than `MANY`: a layer
of a thousand channels and a network that runs a picture in 0.05 s would take ten minutes a line."""


class SameAnswerError(UserError):
    """The class that is asked for is the answer already."""


@dataclass(frozen=True)
class ConceptLayer:
    """The channels of a layer, or its factors, in a network."""

    model: Instrumented
    name: str
    """The name of the layer, or of the set of factors."""
    factors: FactorSet | None

    def measured(self, image: Tensor, target: int) -> Measured:
        """Measure a picture, (1, colours, height, width)."""
        own = {} if self.factors is None else {self.name: self.factors}
        return bases.seen(propagate(self.model, image, target), own)

    def output(self, measured: Measured) -> Tensor:
        """Return the output of the layer, (channels, h, w)."""
        return measured.activation[self.name if self.factors is None else self.factors.layer]

    def without(self, image: Tensor, measured: Measured) -> Answers:
        """Return what gives the logits without some concepts of a picture."""
        output = self.output(measured)
        if self.factors is None:
            return interventions.with_channels(self.model, self.name, image, 0 * output)
        found = measured.activation[self.name]
        return bases.without_factors(self.model, image, self.factors, output, found)

    def copied(self, image: Tensor, measured: Measured, other: "RealPicture") -> Answers:
        """Return what gives the logits with the maps of some concepts from another picture."""
        if self.factors is None:
            return interventions.with_channels(self.model, self.name, image, other.output)
        own = self.factors.shared(self.output(measured), measured.activation[self.name])
        more = self.factors.shared(other.output, other.maps) - own
        return bases.with_factors(self.model, image, self.factors, more)


@dataclass(frozen=True)
class RealPicture:
    """A picture of the atlas from which maps may be copied."""

    image: int
    """Its row in images.parquet."""
    key: str
    output: Tensor
    """The output of the layer, (channels, h, w)."""
    maps: Tensor
    """Maps of all concepts, (concepts, h, w): of channels, or coefficients of factors."""
    speaks: Tensor
    """How much each concept speaks for its class: relevance, (concepts,)."""
    centre: tuple[float, float] | None
    """Where what speaks for its class lies: row and column; None where nothing does."""
    tied: int
    """How many classes tie for its answer; 1 where its class is alone."""

    def moved(self, down: int, right: int) -> "RealPicture":
        """Return the same with all maps moved by so many units."""
        output, maps = (moved(one, down, right) for one in (self.output, self.maps))
        return replace(self, output=output, maps=maps)


@dataclass(frozen=True)
class Asked:
    """The class that is asked for, and real pictures that the network takes for it."""

    label: int
    basis: ConceptLayer
    pictures: tuple[RealPicture, ...]

    def check(self, logits: Tensor, names: Sequence[str]) -> None:
        """Refuse to ask for the answer itself, or where there is none.

        Raises
        ------
        SameAnswerError
            It is, or several classes tie.
        """
        answer = int(logits.argmax())
        _, tied = ties.tops(logits[None], answer)[0]
        if tied > 1:
            raise SameAnswerError(
                f"the network cannot decide between {tied} classes for it: there is no answer that "
                "could change, so leave --to out"
            )
        if answer == self.label:
            raise SameAnswerError(
                f"the network takes it for {names[answer]!r}: ask for another class with --to"
            )


def real_picture(
    basis: ConceptLayer, image: int, key: str, views: Tensor, label: int
) -> RealPicture:
    """Measure a picture to copy from.

    Parameters
    ----------
    basis : ConceptLayer
        Whose maps are wanted.
    image, key : int, str
        Its row in images.parquet, and its key.
    views : Tensor
        (1, colours, height, width), preprocessed.
    label : int
        The class that the network takes it for.
    """
    measured = basis.measured(views, label)
    relevance = measured.relevance[basis.name]
    maps = measured.activation[basis.name]
    speaks = relevance.sum(dim=(1, 2))
    _, tied = ties.tops(measured.logits[None], label)[0]
    return RealPicture(image, key, basis.output(measured), maps, speaks, centre(relevance), tied)


def counterfactual(
    asked: Asked,
    image: Tensor,
    measured: Measured,
    concepts: Sequence[Concept],
    background: Background,
) -> Counterfactual:
    """Find what it would take for the answer to be a class that is asked for.

    Parameters
    ----------
    asked : Asked
        The class, not the answer's.
    image : Tensor
        (1, colours, height, width), preprocessed.
    measured : Measured
        The same picture, measured with the basis of `asked`.
    concepts : sequence of Concept
        The concepts of the explanation.
    background : Background
        Knows the names.
    """
    layer, own = asked.basis.name, int(measured.logits.argmax())
    maps = measured.activation[layer]
    asked_for = _AskedFor(measured, own, asked.label, layer, concepts, background)
    relevance = (
        measured.relevance[layer] if measured.target == own else measured.relevance_for(own, layer)
    )
    speaks = relevance.sum(dim=(1, 2))
    against = measured.relevance_for(asked.label, layer).sum(dim=(1, 2))
    without = _Way(maps, speaks - against, asked.basis.without(image, measured))
    leave = asked_for.changes("leave", [without], _left(own), lambda last: last != (own, 1))
    assert leave is not None, "there is one way to take concepts away"
    shifts = [_shift(one.centre, centre(relevance)) for one in asked.pictures]
    others = [one.moved(*by) for one, by in zip(asked.pictures, shifts, strict=True)]
    ways = [
        _Way(maps - one.maps, speaks + one.speaks, asked.basis.copied(image, measured, one))
        for one in others
    ]
    become, source = (
        asked_for.changes("become", ways, _reached(asked.label), (asked.label, 1).__eq__),
        None,
    )
    if become is not None:
        chosen = become[1]
        source = SourcePicture(asked.pictures[chosen].image, asked.pictures[chosen].key,
                               *shifts[chosen])  # fmt: skip
    return Counterfactual(
        "counterfactual", layer, asked.label, background.classes[asked.label],
        float(measured.head.probabilities(measured.logits.float())[asked.label]),
        leave[0], become and become[0], source, len(asked.pictures),
    )  # fmt: skip


@dataclass(frozen=True)
class _Way:
    """A way to change concepts: by taking them away, or by maps of one picture."""

    difference: Tensor
    """What is changed of each concept's map, (concepts, h, w)."""
    promise: Tensor
    """How much a change may bring: relevance that goes or comes, (concepts,)."""
    answers: Answers

    def goal(self, outcomes: Callable[[Tensor], Outcomes]) -> ChangeGoal:
        """Return what is to be reached by the concepts that differ, the most promising of many."""
        every = _differing(self.difference)
        some = every
        if len(every) > MANY:
            best = self.promise[[*every]].argsort(descending=True, stable=True)[:PROMISING]
            some = tuple(sorted(every[at] for at in best.tolist()))
        return ChangeGoal(
            partial(_tried, self.answers, outcomes), some, len(self.difference), some == every
        )


@dataclass(frozen=True)
class _AskedFor:
    """Finds changes, and puts what was found into evidence."""

    measured: Measured
    own: int
    label: int
    layer: str
    concepts: Sequence[Concept]
    background: Background

    def changes(
        self,
        id_: str,
        ways: Sequence[_Way],
        outcomes: Callable[[Tensor], Outcomes],
        done: Callable[[tuple[int, int]], bool],
    ) -> tuple[ConceptChanges, int] | None:
        """Return the fewest changes by some ways, and by which; None without a way.

        `done` says of an answer, and of how many tie for it, whether it is what is wanted.
        """
        if not ways:
            return None
        found = fewest([way.goal(outcomes) for way in ways])
        if found is None:
            return ConceptChanges(id_, (), 0, reached=False, fewest=False, among=0, tried=0), 0
        steps = tuple(self._steps(found.changed, ways[found.goal].answers))
        reached = done((steps[-1].answer, steps[-1].tied))
        among = len(_differing(ways[found.goal].difference))
        changes = ConceptChanges(
            id_, steps, len(steps), reached, reached and found.fewest, among, found.tried
        )
        return changes, found.goal

    def _steps(self, changed: Sequence[int], answers: Answers) -> Iterator[ConceptStep]:
        one = torch.eye(len(self.measured.activation[self.layer]), dtype=torch.int)[[*changed]]
        logits = interventions.answered(answers, one.cumsum(dim=0) > 0)
        chances = self.measured.head.probabilities(logits)
        known = {concept.address: concept.id for concept in self.concepts}
        for channel, chance, (answer, tied) in zip(
            changed, chances.tolist(), ties.tops(logits, self.own), strict=True
        ):
            address = f"{self.layer}:{channel}"
            yield ConceptStep(
                address, self.layer, channel, self.background.name(self.layer, channel).name,
                known.get(address), chance[self.label], chance[self.own], answer,
                self.background.classes[answer], tied,
            )  # fmt: skip


def _tried(answers: Answers, outcomes: Callable[[Tensor], Outcomes], changed: Tensor) -> Outcomes:
    return outcomes(answers(changed).float())


def _left(own: int) -> Callable[[Tensor], Outcomes]:
    """Return what says of logits whether the answer's class is no longer alone at the top."""
    return lambda logits: (ties.lead(logits, own) <= 0, -logits.log_softmax(dim=1)[:, own])


def _reached(label: int) -> Callable[[Tensor], Outcomes]:
    """Return what says of logits whether a class is ahead of all others."""
    return lambda logits: (ties.lead(logits, label) > 0, logits.log_softmax(dim=1)[:, label])


def _differing(maps: Tensor) -> tuple[int, ...]:
    """Return the concepts whose maps are not zero everywhere."""
    return tuple(maps.flatten(1).ne(0).any(dim=1).nonzero()[:, 0].tolist())


def centre(relevance: Tensor) -> tuple[float, float] | None:
    """Return the centre of mass of what speaks for a class, (concepts, h, w); None without any."""
    mass = relevance.float().sum(dim=0).clamp(min=0).double()
    whole = float(mass.sum())
    if whole <= 0:
        return None
    rows, columns = (torch.arange(side, device=mass.device).double() for side in mass.shape)
    down, right = float(mass.sum(dim=1) @ rows), float(mass.sum(dim=0) @ columns)
    return down / whole, right / whole


def _shift(start: tuple[float, float] | None, end: tuple[float, float] | None) -> tuple[int, int]:
    if start is None or end is None:
        return 0, 0
    return round(end[0] - start[0]), round(end[1] - start[1])


def moved(maps: Tensor, down: int, right: int) -> Tensor:
    """Return maps (concepts, h, w) moved by so many units; what comes in is zero."""
    height, width = maps.shape[1:]
    result = torch.zeros_like(maps)
    if abs(down) < height and abs(right) < width:
        rows = slice(max(down, 0), height + min(down, 0))
        columns = slice(max(right, 0), width + min(right, 0))
        result[:, rows, columns] = maps[
            :, max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
        ]
    return result
