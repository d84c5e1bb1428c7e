"""How right is what is said of what it would take for the demo network to give another answer.

    python benchmarks/why_not.py [--atlas build/out/demo] [--pictures 60]

On an atlas of the demo that has factors, and pictures of a world that nobody has seen, each with
three targets: classes that differ from its own in one, two and three attributes. Prints how often
the target is reached by copying the maps of factors from a real picture, in how many steps, and how
many of them mean a value that differs; how often the answer leaves its class without one factor or
two; whether smaller sets of factors do it too (tried again by other code); and what the network
says to the same picture drawn anew with just the values that the factors mean. Then, what separates
the pairs of classes that the network confuses most.
"""

import argparse
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from factors import meanings, outputs, truths

from atlas.demo.network import DemoNetwork, load, preprocess
from atlas.demo.world import ATTRIBUTES, CLASSES, DrawnPicture, class_index, draw
from atlas.explain.background import Background
from atlas.explain.conditional import Measured
from atlas.explain.counterfactuals import Asked, ConceptLayer, centre, counterfactual, moved
from atlas.explain.fewest import EXHAUSTIVE
from atlas.factors.concepts import FactorConcepts
from atlas.model.networks import Network
from atlas.pipeline.explaining import asking
from atlas.pipeline.inputs import Inputs
from atlas.recipe import recorded
from atlas.relevance.engine import PREDICTED
from atlas.relevance.plan import plan
from atlas.relevance.tape import instrument
from atlas.site.catalogue import Catalogue
from atlas.site.separating import Separations
from atlas.store import Store, bases, open_store
from atlas.store.bases import Basis
from atlas.store.counterfactual import Counterfactual
from atlas.store.joined import joined

UNSEEN, TABLE, CONFUSED = 77, 700, 4_000
"""A world that neither network nor factors have seen; pictures of it for the meanings of factors,
and for pairs of classes that are confused."""

KINDS = ("colour", "texture", "shape")

BY_CHANNELS = 12
"""Pictures that are tried by channels too, which takes longer."""


@dataclass(frozen=True)
class Tried:
    """One picture and one target, with what was found."""

    index: int
    picture: DrawnPicture
    measured: Measured
    asked: Asked
    found: Counterfactual

    @property
    def words(self) -> dict[str, str]:
        """The values of the target."""
        return dict(zip(KINDS, CLASSES[self.asked.label].split(), strict=True))

    @property
    def differing(self) -> list[str]:
        """The attributes in which the target differs."""
        return [kind for kind in KINDS if self.words[kind] != self.picture.attributes[kind]]

    def differs(self, meaning: str) -> bool:
        """Say whether a meaning, `colour:red`, is a value by which the two classes differ."""
        kind, _, word = meaning.partition(":")
        values = {self.words.get(kind), self.picture.attributes.get(kind)}
        return kind in self.differing and word in values

    def answer_redrawn(self, network: DemoNetwork, named: list[str], *, new: bool) -> int:
        """Return the answer to the picture drawn anew with what the copied factors mean.

        With `new`, only those values change that a factor means and the target has; else every
        attribute of which a factor means a value becomes as in the target.
        """
        pairs = [one.partition(":")[::2] for one in named if one]
        instead = {
            kind: self.words[kind]
            for kind, word in pairs
            if kind in KINDS and (not new or word == self.words[kind])
        }
        return answer(network, draw(UNSEEN, self.index, instead=instead))


def answer(network: DemoNetwork, picture: DrawnPicture) -> int:
    """Return the network's answer to a picture."""
    return int(network(preprocess(torch.from_numpy(picture.image)[None])).argmax())


def targets(picture: DrawnPicture, random: np.random.Generator) -> list[int]:
    """Return a class that differs in one attribute, one that does in two, and one in all three."""
    found = []
    for many in (1, 2, 3):
        other = dict(picture.attributes)
        for kind in random.permutation(KINDS)[:many].tolist():
            values = [value for value in ATTRIBUTES[kind] if value != picture.attributes[kind]]
            other[kind] = values[int(random.integers(len(values)))]
        found.append(class_index(other))
    return found


def all_tried(
    layer: ConceptLayer, store: Store, network: Network, background: Background, count: int
) -> list[Tried]:
    """Return what was found for some pictures, three targets each."""
    random = np.random.default_rng(0)
    known: dict[int, Asked] = {}
    found = []
    for index in range(count):
        picture = draw(UNSEEN, index)
        image = preprocess(torch.from_numpy(picture.image)[None])
        measured = layer.measured(image, PREDICTED)
        for target in targets(picture, random):
            if target not in known:
                known[target] = asking(store, network, layer, target)
            one = counterfactual(known[target], image, measured, [], background)
            found.append(Tried(index, picture, measured, known[target], one))
    return found


def smaller_does(one: Tried, network: DemoNetwork, basis: Basis) -> bool:
    """Say whether fewer factors would do, by the network's own modules from the layer on."""
    become, directions = one.found.become, torch.from_numpy(basis.directions)
    assert become is not None, "every class has pictures"
    output = one.measured.activation[basis.layer].clamp(min=0)
    before = one.measured.activation[basis.name]
    here = centre(one.measured.relevance[basis.name])
    for picture in one.asked.pictures:
        by = [round(to - at) for to, at in zip(here or (), picture.centre or (), strict=True)]
        after = moved(picture.maps, *by)
        for size in range(1, become.count):
            sets = torch.tensor(list(combinations(range(len(before)), size)))
            chosen = torch.zeros(len(sets), len(before)).scatter(1, sets, 1.0)
            changed = torch.einsum("nk,khw,kc->nchw", chosen, after - before, directions)
            evidence = network.evidence(network.planted((output + changed).clamp(min=0)))
            if one.asked.label in network.classifier(evidence).argmax(dim=1).tolist():
                return True
    return False


def copied(found: list[Tried], means: list[str], network: DemoNetwork, basis: Basis) -> None:
    """Print how targets are reached."""
    print(
        f"{'attributes':>10}{'lines':>7}{'reached':>9}{'steps':>7}{'most':>6}"
        f"{'of a value that differs':>25}{'none smaller':>14}"
        f"{'redrawn':>9}{'new values':>12}{'target':>8}"
    )
    for many in (1, 2, 3, 0):
        mine = [one for one in found if many in (0, len(one.differing))]
        done = [one for one in mine if one.found.become and one.found.become.reached]
        steps = [one.found.become.count for one in done if one.found.become]
        meant = [[means[step.channel] for step in one.found.become.steps] for one in done
                 if one.found.become]  # fmt: skip
        right = [
            one.differs(value) for one, some in zip(done, meant, strict=True) for value in some
        ]
        short = [one for one, count in zip(done, steps, strict=True) if count <= EXHAUSTIVE]
        least = [not smaller_does(one, network, basis) for one in short]
        redrawn, new = (
            [
                one.answer_redrawn(network, some, new=only) == one.asked.label
                for one, some in zip(done, meant, strict=True)
            ]
            for only in (False, True)
        )
        whole = [
            answer(network, draw(UNSEEN, one.index, instead=one.words)) == one.asked.label
            for one in done
        ]
        print(
            f"{many or 'all':>10}{len(mine):>7}{len(done) / len(mine):>9.2f}"
            f"{np.median(steps):>7.0f}{max(steps):>6}{np.mean(right):>25.2f}"
            f"{np.mean(least):>7.2f} of {len(short):>3}"
            f"{np.mean(redrawn):>9.2f}{np.mean(new):>12.2f}{np.mean(whole):>8.2f}"
        )
    print("  “redrawn”: every attribute of which a copied factor means a value is as in the target")
    print(
        "  “new values”: only values of the target that a copied factor means; “target”: all of it"
    )


def left(found: list[Tried]) -> None:
    """Print how many factors have to go for another answer."""
    once = {one.index: one.found.leave for one in found}.values()
    counts = Counter(one.count for one in once if one.reached)
    shown = ", ".join(f"{counts[n]} by {n}" for n in sorted(counts))
    print(
        f"\nThe answer leaves its class in {sum(counts.values())} of {len(once)} pictures: {shown}"
    )


def confused(network: DemoNetwork, pairs: int) -> list[tuple[int, int]]:
    """Return the pairs of classes that have most of each other's probability, on average."""
    sums = torch.zeros(len(CLASSES), len(CLASSES), dtype=torch.float64)
    counts = torch.zeros(len(CLASSES), dtype=torch.float64)
    for start in range(0, CONFUSED, 100):
        pictures = [draw(UNSEEN, index) for index in range(start, start + 100)]
        images = torch.from_numpy(np.stack([one.image for one in pictures]))
        labels = torch.tensor([one.label for one in pictures])
        chances = network(preprocess(images)).double().softmax(dim=1)
        sums.index_add_(0, labels, chances)
        counts += labels.bincount(minlength=len(CLASSES))
    mean = sums / counts.clamp(min=1)[:, None]
    both = (mean + mean.T).triu(diagonal=1)
    best = both.flatten().argsort(descending=True)[:pairs].tolist()
    return [divmod(at, len(CLASSES)) for at in best]


def separated(
    store: Store, means: list[str], pairs: Mapping[str, Sequence[tuple[int, int]]]
) -> None:
    """Print whether what separates classes are the values by which they differ."""
    catalogue = Catalogue(joined(store))
    separations = Separations(catalogue)
    print(
        f"\n{'what separates':<34}{'pairs':>6}{'listed':>8}{'a differing value':>19}{'of all':>8}"
    )
    for what, some in pairs.items():
        right, said = [], []
        for one, other in some:
            words = [set(CLASSES[label].split()) for label in (one, other)]
            labels = [catalogue.labels[label] for label in (one, other)]
            for pair in separations.of(labels[0], [labels[1]]):
                listed = [
                    (means[concept.channel.channel].partition(":")[2], side)
                    for side, concepts in enumerate((pair.own, pair.others))
                    for concept in concepts
                ]
                right += [word in words[side] - words[1 - side] for word, side in listed]
                named = {word for word, _ in listed}
                said += [word in named for word in words[0] ^ words[1]]
        print(
            f"{what:<34}{len(some):>6}{len(right):>8}{np.mean(right):>19.2f}{np.mean(said):>8.2f}"
        )
    for one, other in pairs["the 5 most confused"]:
        print(f"  {CLASSES[one]} and {CLASSES[other]}")


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atlas", type=Path, default=Path("build/out/demo"))
    parser.add_argument("--pictures", type=int, default=60, help="(default: 60)")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    store = open_store(arguments.atlas)
    part = bases.factors(store)
    if part is None:
        raise SystemExit(f"{arguments.atlas} has no factors: run `atlas factors` on it first")
    (basis,) = bases.read(part)
    recipe = recorded(store.manifest())
    inputs = Inputs(recipe)
    network, demo = inputs.network, load()
    model = instrument(
        network.module, plan(network.trace, recipe.relevance.composite), [basis.layer]
    )
    pictures = [draw(UNSEEN, number) for number in range(TABLE)]
    means = meanings(basis, outputs(model, pictures), truths(pictures))
    background = Background(joined(store), {basis.name: basis.layer})
    layers = (
        ConceptLayer(model, basis.name, FactorConcepts(basis)),
        ConceptLayer(model, basis.layer, None),
    )
    for layer in layers:
        begun = time.perf_counter()
        pictures_ = arguments.pictures if layer.factors else BY_CHANNELS
        found = all_tried(layer, store, network, background, pictures_)
        seconds = (time.perf_counter() - begun) / len(found)
        tried = sum(change.tried for one in found for change in one.found.changes) / len(found)
        print(f"\n{layer.name}: {seconds:.2f} s and {tried:,.0f} sets a line\n")
        if layer.factors is not None:
            copied(found, means, demo, basis)
        else:
            done = [one.found.become for one in found if one.found.become]
            reached = [one.count for one in done if one.reached]
            print(
                f"reached {len(reached)} of {len(done)}, median {np.median(reached):.0f} channels"
            )
        left(found)
    near = [
        (label, other)
        for label in range(len(CLASSES))
        for other in range(label)
        if len({*CLASSES[label].split()} ^ {*CLASSES[other].split()}) == 2
    ]
    separated(
        store, means, {"the 5 most confused": confused(demo, 5), "all that differ in one": near}
    )


if __name__ == "__main__":
    main()
