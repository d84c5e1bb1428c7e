"""How clear and how varied the channels of the demo network are.

    python benchmarks/demo_world.py [--pictures N] [--seed SEED] [--weights FILE | --untrained]

Prints, for pictures that the network was not trained on: its accuracy; how many channels are
clear (at least 0.8 of their 16 strongest references share an attribute value), by layer and by
attribute; which meanings are most frequent; and how many channels of the last block, and
which planted ones, single out one value (average precision).
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from atlas.demo.network import PLANTED, SIZE, WEIGHTS, DemoNetwork, load, preprocess
from atlas.demo.truth import PlantedMeaning, base_rates, meaning, shown
from atlas.demo.world import ATTRIBUTES, CLASSES, DrawnPicture, draw
from atlas.trace.record import record
from atlas.trace.sights import ReceptiveField

REFERENCES = 16
SELECTIVE = 0.8
KINDS = ("colour", "shape", "texture", "background", "position")


def measure(network: DemoNetwork, pictures: list[DrawnPicture]) -> tuple[dict[str, Tensor], ...]:
    """Return, by layer, the maximum and its position: two tensors of shape (pictures, channels).

    The layer "logits" holds the class logits and their argmax.
    """
    peaks: dict[str, list[Tensor]] = {}
    places: dict[str, list[Tensor]] = {}

    def note(name: str, x: Tensor) -> None:
        top = x.flatten(2).max(dim=2)
        peaks.setdefault(name, []).append(top.values)
        places.setdefault(name, []).append(top.indices)

    with torch.inference_mode():
        for start in range(0, len(pictures), 100):
            images = np.stack([picture.image for picture in pictures[start : start + 100]])
            x = preprocess(torch.from_numpy(images))
            for name, layer in network.features.named_children():
                x = layer(x)
                if isinstance(layer, nn.Conv2d):
                    note(f"features.{name}", x)
            x = network.planted(x)
            note("planted", x)
            logits = network.classifier(network.evidence(x))
            peaks.setdefault("logits", []).append(logits)
            places.setdefault("logits", []).append(logits.argmax(dim=1, keepdim=True))
    return (
        {name: torch.cat(parts) for name, parts in peaks.items()},
        {name: torch.cat(parts) for name, parts in places.items()},
    )


def channel_meanings(
    peaks: Tensor, places: Tensor, pictures: list[DrawnPicture], field: ReceptiveField
) -> list[PlantedMeaning]:
    """Return the meaning of each channel of a layer, from what lies under its patches."""
    rates = base_rates([picture.attributes for picture in pictures])
    cells = SIZE // field.stride[0]
    meanings = []
    for channel in range(peaks.shape[1]):
        seen = []
        for image in peaks[:, channel].topk(REFERENCES).indices.tolist():
            y, x = divmod(int(places[image, channel]), cells)
            seen.append(shown(pictures[image], field.box(y, x, (SIZE, SIZE))))
        meanings.append(meaning(seen, rates))
    return meanings


def precisions(scores: Tensor, pictures: list[DrawnPicture]) -> npt.NDArray[np.float64]:
    """Return the average precision of each channel (rows) for each planted value (columns)."""
    table = np.zeros((scores.shape[1], len(PLANTED)))
    for column, planted in enumerate(PLANTED):
        kind, value = planted.split(":")
        truth = np.array([picture.attributes[kind] == value for picture in pictures])
        for row in range(scores.shape[1]):
            table[row, column] = average_precision_score(truth, scores[:, row].numpy())
    return table


def print_accuracy(logits: Tensor, pictures: list[DrawnPicture]) -> None:
    """Print how often the predicted class and its attributes are right."""
    words = [CLASSES[label].split() for label in logits.argmax(dim=1).tolist()]
    print("\nAccuracy on held-out pictures")
    for column, kind in enumerate(("colour", "texture", "shape")):
        right = [w[column] == p.attributes[kind] for w, p in zip(words, pictures, strict=True)]
        print(f"  {kind:<12}{np.mean(right):8.3f}   chance {1 / len(ATTRIBUTES[kind]):.3f}")
    labels = [p.label for p in pictures]
    whole = np.mean(logits.argmax(dim=1).numpy() == np.array(labels))
    print(f"  {'class':<12}{whole:8.3f}   chance {1 / len(CLASSES):.3f}")


def print_clear(by_layer: dict[str, list[PlantedMeaning]]) -> None:
    """Print the clear channels by layer and kind, and the most frequent meanings."""
    print("\nClear channels, by layer and kind")
    print(f"  {'layer':<14}{'all':>6}{'clear':>7}" + "".join(f"{kind:>12}" for kind in KINDS))
    everything = [m for meanings in by_layer.values() for m in meanings]
    for name, meanings in [*by_layer.items(), ("sum", everything)]:
        clear = [m for m in meanings if m.clear]
        counts = Counter(m.kind for m in clear)
        row = "".join(f"{counts[kind]:>12}" for kind in KINDS)
        print(f"  {name:<14}{len(meanings):>6}{len(clear):>7}{row}")
    clear = [m for m in everything if m.clear]
    values = Counter((m.kind, m.value) for m in clear)
    patterned = sum(n for (kind, v), n in values.items() if kind == "texture" and v != "plain")
    print(f"  of the textures, {patterned} are not plain")
    print("\nMeanings of the clear channels")
    for (kind, value), count in values.most_common():
        print(f"  {kind + ':' + value:<24}{count:>5}{count / len(clear):>8.1%}")


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=4_000, help="(default: 4000)")
    parser.add_argument("--seed", type=int, default=2_000, help="world to draw (default: 2000)")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--untrained", action="store_true", help="random weights, as a control")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    network = DemoNetwork().eval() if arguments.untrained else load(arguments.weights)
    pictures = [draw(arguments.seed, index) for index in range(arguments.pictures)]
    peaks, places = measure(network, pictures)
    print(f"{len(pictures)} pictures of world {arguments.seed}; {REFERENCES} references a channel")
    print_accuracy(peaks["logits"], pictures)

    convolutions = [name for name in peaks if name.startswith("features.")]
    layers = record(network, torch.zeros(1, 3, SIZE, SIZE)).layers
    fields = {name: layers[name].field for name in convolutions}
    print_clear(
        {
            name: channel_meanings(peaks[name], places[name], pictures, field)
            for name, field in fields.items()
        }
    )

    print(f"\nChannels of the last block with average precision >= {SELECTIVE} for one value")
    for name in list(fields)[-3:]:
        table = precisions(peaks[name], pictures)
        best = table.argmax(axis=1)[table.max(axis=1) >= SELECTIVE]
        kinds = Counter(PLANTED[column].split(":")[0] for column in best)
        print(f"  {name:<14}{sum(kinds.values()):>4} of {len(table)}   {dict(kinds)}")
    print("\nAverage precision of the planted channels for their own value")
    own = precisions(peaks["planted"], pictures).diagonal()
    for planted, precision in zip(PLANTED, own, strict=True):
        print(f"  {planted:<24}{precision:8.3f}")


if __name__ == "__main__":
    main()
