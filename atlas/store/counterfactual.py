"""What it would take for a network to give another answer, as evidence.json has it.

A *counterfactual* is the fewest concepts whose change makes another answer: those that are taken
away so that the answer leaves its class, and those whose maps are copied from a real picture so
that it becomes another class (Goyal et al. 2019 copy positions, Akula et al. 2021, CX-ToM, add and
delete concepts as *fault-lines*).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from atlas.store.fields import Count, Edge, Id, Probability, Tied

ROUNDED = 1e-5
"""More than all probability that two of six digits may be together."""


@dataclass(frozen=True)
class ConceptStep:
    """One more concept that is changed, with all of the steps before it."""

    address: str
    layer: str
    channel: Count
    name: str | None
    concept: str | None
    """Its id, if it is one of the concepts."""
    probability: Probability
    """Probability of the class that is asked for, after this step."""
    own: Probability
    """Probability of the class of the answer as it was."""
    answer: Count
    answer_name: str
    """The class that the network then gives the highest logit."""
    tied: Tied
    """How many classes then tie for the highest logit; see `atlas.store.evidence.Effect`."""


@dataclass(frozen=True)
class ConceptChanges:
    """Concepts that are changed one after another."""

    id: Id
    """`leave` or `become`."""
    steps: tuple[ConceptStep, ...]
    """Each brings the answer nearest to what is wanted; none is left out that is needed."""
    count: Count
    """How many those are."""
    reached: bool
    """Whether the class of the answer is then no longer alone at the top, or the one that is asked
    for is."""
    fewest: bool
    """Whether all smaller sets of concepts were tried and none did it."""
    among: Count
    """How many concepts of the layer could be changed."""
    tried: Count
    """How many sets of concepts were tried."""


@dataclass(frozen=True)
class SourcePicture:
    """The real picture that maps were copied from."""

    image: Count
    """Its row in images.parquet."""
    key: str
    """Its key in the data."""
    down: Edge
    right: Edge
    """By how many units of the layer its maps were moved, so that what speaks for its class lies
    where what speaks for the answer lies in the picture that is explained."""


@dataclass(frozen=True)
class Counterfactual:
    """What it would take for the answer to be another."""

    id: Id
    layer: str
    """The layer, or set of factors, whose concepts are changed."""
    label: Count
    name: str
    """The class that is asked for."""
    probability: Probability
    """Probability of this class in the picture as it is."""
    leave: ConceptChanges
    """Concepts that are taken away."""
    become: ConceptChanges | None
    """Concepts whose maps are copied; None without a picture to copy from."""
    source: SourcePicture | None
    pictures: Count
    """How many pictures of the class were tried."""

    @property
    def changes(self) -> tuple[ConceptChanges, ...]:
        """The changes that were searched for."""
        return (self.leave, self.become) if self.become else (self.leave,)

    def called(self, name: Callable[[int, str], str]) -> "Counterfactual":
        """Return the same with what `name` makes of the numbers and names of classes."""

        def renamed(changes: ConceptChanges) -> ConceptChanges:
            steps = (replace(one, answer_name=name(one.answer, one.answer_name))
                     for one in changes.steps)  # fmt: skip
            return replace(changes, steps=tuple(steps))

        return replace(
            self,
            name=name(self.label, self.name),
            leave=renamed(self.leave),
            become=self.become and renamed(self.become),
        )

    @property
    def steps(self) -> Iterator[ConceptStep]:
        """The steps of all changes."""
        return (step for change in self.changes for step in change.steps)


def problem(
    found: Counterfactual, answer: int, concepts: Mapping[str, str], layers: Mapping[str, int]
) -> str | None:
    """Return what of it leads nowhere, or is not what it says.

    Parameters
    ----------
    found : Counterfactual
        Read from a file.
    answer : int
        The class of the network's answer.
    concepts : mapping
        Addresses of the concepts that the evidence has, by their ids.
    layers : mapping
        How many channels or factors its layers have, by name.
    """
    if found.layer not in layers:
        return f"there is no layer {found.layer[:40]!r}"
    copied = {found.become is not None, found.source is not None, found.pictures > 0}
    if len(copied) > 1 or found.label == answer:
        return "maps were copied from no picture, or for the answer itself"
    wrong = [
        *(_astray(found, changes, id_, answer)
          for changes, id_ in zip(found.changes, ("leave", "become"), strict=False)),
        *("more could be changed than there are" for changes in found.changes
          if changes.among > layers[found.layer]),
        *(_lost(found, step, concepts) for step in found.steps),
    ]  # fmt: skip
    return next((one for one in wrong if one), None)


def _astray(found: Counterfactual, changes: ConceptChanges, id_: str, answer: int) -> str | None:
    """Return what changes say of themselves that is not so."""
    last = (changes.steps[-1].answer, changes.steps[-1].tied) if changes.steps else (answer, 1)
    done = last != (answer, 1) if changes is found.leave else last == (found.label, 1)
    if changes.id != id_:
        return f"changes are called {changes.id[:40]!r}"
    if len({step.channel for step in changes.steps}) != len(changes.steps):
        return f"{id_} has the same concept twice"
    if len(changes.steps) != changes.count or changes.count > changes.among:
        return f"{id_} has another number of steps"
    if changes.reached != done or (changes.fewest and not done):
        return f"{id_} has another answer in the end"
    return None


def _lost(found: Counterfactual, step: ConceptStep, concepts: Mapping[str, str]) -> str | None:
    """Return what a step is about that is not there."""
    if step.layer != found.layer:
        return f"{step.address[:40]!r} is not in {found.layer[:40]}"
    if step.concept is not None and concepts.get(step.concept) != step.address:
        return f"{step.concept[:40]!r} is not the concept {step.address[:40]}"
    if step.probability + step.own > 1 + ROUNDED:
        return f"{step.address[:40]} leaves two classes more than all probability"
    return None
