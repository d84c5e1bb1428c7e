"""How often are names from labels false? Where the truth is known, and with shuffled labels.

    python benchmarks/labels.py [--photos DIR] [--draws 20] [--out DIR]

1. A drawn world whose classes have superclasses that the network was given channels for: the demo
   network with one more layer, `families`. Its channels add up the evidence for the values of a
   superclass ("warm": red, orange, yellow, pink), or for one value, or, most of them, random
   mixtures of the evidence for grounds, which no label knows. A name that is given to a channel of
   grounds is false, and so is one that shares less than half of its classes with what the
   channel was made for (Jaccard).
2. Drawn activations of 1,000 channels over 2,000 pictures of ImageNet's classes: a tenth is higher
   for one of WordNet's superclasses, by half to three standard deviations, the rest is noise. A
   name of noise is false, and so is one whose pictures are mostly not of the superclass.
3. Photographs of ImageNet's classes through EfficientNet-Lite0, if a folder with them is given
   (`--photos`, files named `n01440764_tench.JPEG`): names with WordNet's superclasses.

For 1 and 3 the labels are then dealt out anew to the pictures, again and again: every name that is
given now is false.
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from atlas import pipeline
from atlas.data import imagenet
from atlas.data.hierarchy import superclasses
from atlas.demo.network import MEAN, PLANTED, SIZE, STD, DemoNetwork, load
from atlas.demo.world import ATTRIBUTES, CLASSES
from atlas.pipeline.annotating import _probe
from atlas.pipeline.inputs import Inputs
from atlas.probe import formulas
from atlas.probe.probe import measure_responses
from atlas.recipe import load as load_recipe
from atlas.recipe import recorded
from atlas.store import Store, names, open_store

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "warm": ("red", "orange", "yellow", "pink"),
    "cold": ("green", "turquoise", "blue", "purple"),
    "watery": ("turquoise", "blue"),
    "fiery": ("red", "orange"),
    "lined": ("striped", "zigzag"),
    "regular": ("checked", "dotted"),
    "rounded": ("circle", "heart"),
    "edged": ("square", "triangle"),
}
"""Superclasses of the drawn world, each of values of one attribute."""

LABELLED = ("shape", "texture", "colour")
GROUNDS = 120
"""Channels of the layer `families` that no label says anything about."""

SAME = 0.5
"""A name with at least so much in common with what the channel was made for is right."""


def planted() -> list[str]:
    """Return what each channel of `families` was made for: a family, a value, or a ground."""
    values = [value for kind in LABELLED for value in ATTRIBUTES[kind]]
    return [*FAMILIES, *values, *(f"ground {number}" for number in range(GROUNDS))]


class Families(nn.Module):
    """The demo network with the layer `families` before its head, which does not read it."""

    def __init__(self, network: DemoNetwork) -> None:
        super().__init__()
        self.network = network
        self.families = nn.Conv2d(len(PLANTED), len(planted()), kernel_size=1, bias=False)
        random = np.random.default_rng(0)
        weight = torch.zeros(len(planted()), len(PLANTED))
        for row, name in enumerate(planted()):
            for column, place in enumerate(PLANTED):
                kind, value = place.split(":")
                if value in FAMILIES.get(name, (name,)):
                    weight[row, column] = 1.0
                elif name.startswith("ground") and kind == "background":
                    weight[row, column] = random.normal()
        self.families.weight.data.copy_(weight[:, :, None, None])

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the class logits; `families` adds nothing to them."""
        planted = self.network.planted(self.network.features(pictures))
        logits: Tensor = self.network.classifier(self.network.evidence(planted))
        return logits + 0 * self.families(torch.relu(planted)).mean(dim=(1, 2, 3))[:, None]


def make() -> nn.Module:
    """Return the network as a recipe loads it."""
    network = Families(load()).eval()
    network.preprocessing = {"resize": SIZE, "crop": SIZE, "mean": list(MEAN), "std": list(STD)}
    return network


def classes_of(name: str) -> frozenset[int]:
    """Return the classes that a family or a value stands for; none for a ground."""
    values = FAMILIES.get(name, (name,))
    return frozenset(n for n, words in enumerate(CLASSES) if set(words.split()) & set(values))


def pictures_of(text: str, shown: Mapping[str, npt.NDArray[np.bool_]]) -> npt.NDArray[np.bool_]:
    """Return where a combination of labels, read from the left, is true."""
    parts = re.split(r" (AND NOT|AND|OR) ", text)
    names = [part if part in shown else part.strip("()") for part in parts[::2]]
    opposite = names[0] not in shown
    found = shown[names[0].removeprefix("NOT ")]
    found = ~found if opposite else found
    for sign, name in zip(parts[1::2], names[1:], strict=True):
        other = shown[name]
        found = found | other if sign == "OR" else found & (other if sign == "AND" else ~other)
    return found


def index(recipe: str, out: Path, *settings: str) -> Store:
    """Return an atlas without relevance, indexed unless it is there."""
    if (out / "manifest.json").exists() and open_store(out).finished:
        return open_store(out)
    few = ["prepass.modes=['activation']", "prepass.k=4"]
    return pipeline.index(load_recipe(recipe, [*few, *settings]), out)


def shuffled(
    store: Store, hierarchy: str, draws: int
) -> tuple[int, list[tuple[int, float]], list[formulas.Formula | None]]:
    """Deal the labels out anew; return what that gives, and what the labels as they are give.

    Returns
    -------
    tuple
        How many labels count; for each draw the number of names and the smallest p; and what is
        found with the labels as they are.
    """
    recipe = recorded(store.manifest())
    responses = measure_responses(
        store, _probe(Inputs(recipe)), recipe.naming.pictures, recipe.seed
    )
    classes = formulas.class_names(store)
    above = superclasses(hierarchy, classes).classes
    labelled = np.array(store.table("images")["label"].to_pylist())[responses.images]
    known = formulas.labels(classes, labelled.tolist(), above)
    found = formulas.best(known, responses.values)
    random = np.random.default_rng(1)
    given = []
    for _ in range(draws):
        dealt: npt.NDArray[np.int64] = random.permutation(labelled)
        chance = formulas.best(formulas.labels(classes, dealt.tolist(), above), responses.values)
        tested = [one for one in chance if one is not None]
        given.append((sum(one.passes for one in tested), min(one.p for one in tested)))
    return len(known.names), given, found


def report_draws(labels: int, given: list[tuple[int, float]]) -> None:
    """Print what shuffled labels gave."""
    none = sum(count == 0 for count, _ in given)
    print(f"{labels} labels count. Shuffled: no name in {none} of {len(given)} draws", end="; ")
    print(
        f"names by draw {[count for count, _ in given]}, smallest p {min(p for _, p in given):.1e}"
    )


def drawn_world(out: Path, draws: int) -> None:
    """Measure false discovery where the truth is known."""
    pairs = [
        f"{name},{family}"
        for family in FAMILIES
        for name in (CLASSES[number] for number in sorted(classes_of(family)))
    ]
    hierarchy = out / "families.csv"
    hierarchy.write_text("child,parent\n" + "\n".join(pairs))
    store = index(
        "demo", out / "world", f"model.name={Path(__file__).resolve()}:make",
        "model.layers=['families']", "data.limit=1200", "data.seed=3", "prepass.k=8",
        f"model.classes={_class_file(out)}", "patches.layer=''",
    )  # fmt: skip
    recipe = recorded(store.manifest(), ["naming.method=labels", f"data.hierarchy={hierarchy}"])
    print("named:", pipeline.name(store, recipe))
    last = {record.channel: record for record in names.read(store)}
    above = {value: classes_of(value) for kind in LABELLED for value in ATTRIBUTES[kind]}
    above |= {family: classes_of(family) for family in FAMILIES}
    above |= {name: frozenset([number]) for number, name in enumerate(CLASSES)}
    labels = {name: np.isin(np.arange(len(CLASSES)), sorted(own)) for name, own in above.items()}
    rows: dict[str, Counter[str]] = {}
    for channel, name in enumerate(planted()):
        record = last[channel]
        kind = "ground" if name.startswith("ground") else "family" if name in FAMILIES else "value"
        counts = rows.setdefault(kind, Counter())
        counts["channels"] += 1
        if record.status != "named":
            continue
        counts["named"] += 1
        every = np.arange(len(CLASSES))
        said = frozenset(every[pictures_of(record.details["formula"], labels)].tolist())
        truth = classes_of(name)
        counts["exact"] += truth == said
        right = len(truth & said) >= SAME * len(truth | said)
        counts["false"] += not right
        if truth != said:
            print(f"  {name}: {record.details['formula']}, AUC {record.details['auc']}")
    print("| channels made for | channels | named | exactly | false |\n|:--|--:|--:|--:|--:|")
    words = {"family": "a superclass", "value": "one value", "ground": "grounds (no label)"}
    for kind, counts in rows.items():
        numbers = " | ".join(str(counts[one]) for one in ("channels", "named", "exact", "false"))
        print(f"| {words[kind]} | {numbers} |")
    named, false = (sum(counts[one] for counts in rows.values()) for one in ("named", "false"))
    print(f"false discovery: {false} of {named} names, {false / max(named, 1):.1%}")
    count, given, _ = shuffled(store, str(hierarchy), draws)
    report_draws(count, given)


def _class_file(out: Path) -> Path:
    file = out / "classes.json"
    file.write_text(json.dumps(CLASSES))
    return file


def drawn_activations(repeats: int) -> None:
    """Measure false discovery where effects are weak and rare."""
    classes = list(imagenet.names().values())
    above = superclasses("", classes).classes
    chosen = sorted(name for name, below in above.items() if 10 <= len(below) <= 400)
    columns, planted = 1000, 100
    named = false = found = strong = 0
    for repeat in range(repeats):
        random = np.random.default_rng(repeat)
        labelled = random.integers(0, len(classes), 2000)
        values = random.normal(size=(len(labelled), columns))
        truths = [frozenset[int]()] * columns
        effects = np.zeros(columns)
        for column in range(planted):
            truths[column] = above[chosen[random.integers(len(chosen))]]
            effects[column] = random.uniform(0.5, 3)
            values[:, column] += effects[column] * np.isin(labelled, sorted(truths[column]))
        known = formulas.labels(classes, labelled.tolist(), above)
        shown = dict(zip(known.names, known.shown, strict=True))
        for column, one in enumerate(formulas.best(known, values)):
            passes = one is not None and one.passes
            strong += effects[column] >= 2
            found += effects[column] >= 2 and passes
            if one is None or not passes:
                continue
            said = pictures_of(one.text, shown)
            right = np.isin(labelled, sorted(truths[column]))[said].mean() >= SAME
            named += 1
            false += not right
    print(
        f"drawn activations, {repeats} x {columns} channels of which {planted} have an effect: "
        f"{named} names, {false} false, {false / max(named, 1):.1%}; of {strong} effects of at "
        f"least two deviations {found} are named"
    )


def photographs(folder: Path, out: Path, draws: int) -> None:
    """Name EfficientNet-Lite0's channels with WordNet's superclasses."""
    photos = out / "photos"
    for file in sorted(folder.iterdir()):
        (photos / file.stem).mkdir(parents=True, exist_ok=True)
        place = photos / file.stem / file.name
        if not place.exists():
            place.symlink_to(file.resolve())
    store = index("efficientnet-lite0", out / "lite0", f"data.source=folder:{photos}")
    print("named:", pipeline.name(store, recorded(store.manifest(), ["naming.method=labels"])))
    count, given, found = shuffled(store, "", draws)
    layers = store.table("channels")["layer"].to_pylist()
    by_layer: dict[str, list[formulas.Formula | None]] = {}
    for layer, one in zip(layers, found, strict=True):
        by_layer.setdefault(layer, []).append(one)
    print("| layer | channels | named | names |\n|:--|--:|--:|:--|")
    for layer, ones in by_layer.items():
        passing = Counter(one.name for one in ones if one is not None and one.passes)
        said = ", ".join(f"{name} {times}" for name, times in passing.most_common())
        print(f"| {layer} | {len(ones)} | {passing.total()} | {said} |")
    report_draws(count, given)


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--out", type=Path, help="where atlases are kept; else thrown away")
    asked = parser.parse_args()
    out = asked.out or Path(tempfile.mkdtemp())
    out.mkdir(parents=True, exist_ok=True)
    parts: list[Callable[[], None]] = [
        lambda: drawn_world(out, asked.draws),
        lambda: drawn_activations(5),
    ]
    if asked.photos:
        parts.append(lambda: photographs(asked.photos, out, asked.draws))
    for part in parts:
        part()
        sys.stdout.flush()
    if not asked.out:
        shutil.rmtree(out)


if __name__ == "__main__":
    main()
