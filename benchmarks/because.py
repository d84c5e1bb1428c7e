"""How right is what is said of why channels respond: of their weights, and of what they react to.

    python benchmarks/because.py [--atlas build/out/demo]

On the demo atlas, where it is known what channels mean. Of the weights: how often the names of a
channel's strongest inputs say what it means (beside the most frequent meaning, and beside names
dealt out anew); how high the names score that they disagree with; and whether knocking the named
inputs out lowers a channel more than others do. Of the influences: how well they tell the kinds of
channels apart (area under the curve), how right the words are, and whether they stand in the order
in which activations drop when the same pictures are drawn anew with another colour, texture or
shape.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from naming import all_shown, drawn_again, truths
from PIL import Image
from rightness import KINDS, understood
from sklearn.metrics import roc_auc_score
from torch import Tensor

from atlas.demo.network import PLANTED, preprocess
from atlas.demo.world import ATTRIBUTES, draw
from atlas.influences.measuring import chosen_references, relative_to_layer
from atlas.pipeline.inputs import Inputs
from atlas.recipe import recorded
from atlas.relevance.engine import PREDICTED, measure
from atlas.store import Store, byweights, open_store, standing
from atlas.store.influence import WORTH_A_WORD

OF = {"hue": "colour", "texture": "texture", "shape": "shape"}
"""The attribute of the drawn world that a change takes away."""

APART = 0.2
"""Drops that differ by more than this are told apart by the drawings."""

PICTURES = 96
"""Drawn ones on which inputs are knocked out."""

Numbers = npt.NDArray[np.float64]


class Channels:
    """The channels of the atlas with what is known of them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.table = store.table("channels").to_pydict()
        self.layers = np.array(self.table["layer"])
        addresses = list(zip(self.table["layer"], self.table["channel"], strict=True))
        pictures = drawn_again(store)
        self.pictures = pictures
        known = truths(all_shown(store, pictures, "activation"), pictures)
        nothing = (frozenset[tuple[str, str]](), False, ("", ""))
        self.truth = [known.get(address, nothing) for address in addresses]
        for row, (layer, channel) in enumerate(addresses):
            if layer == "planted":
                kind, value = PLANTED[channel].split(":")
                self.truth[row] = (frozenset({(kind, value)}), True, (kind, value))

    def clear(self, *layers: str) -> list[int]:
        """Return the rows of the clear channels of some layers."""
        return [
            row
            for row, (_, clear, _) in enumerate(self.truth)
            if clear and self.layers[row] in layers
        ]


def voted(channels: Channels, random: np.random.Generator) -> None:
    """Print how right the names of inputs are about the channels that they go into."""
    print(f"{'meaning by the weights':<26}{'channels':>9}{'right':>7}{'majority':>9}{'dealt':>7}")
    dealt = dict(channels.table)
    order = np.arange(len(channels.layers))
    for layer in dict.fromkeys(channels.layers.tolist()):
        mine = np.flatnonzero(channels.layers == layer)
        order[mine] = random.permutation(mine)
    dealt["name"] = [channels.table["name"][row] for row in order]
    said = [byweights.votes(table) for table in (channels.table, dealt)]
    for layer in ("features.30", "features.37", "features.40", "planted"):
        rows = channels.clear(layer)
        means = [channels.truth[row][2] for row in rows]
        right = [np.mean([_first(s[row]) == channels.truth[row][2] for row in rows]) for s in said]
        majority = Counter(means).most_common(1)[0][1] / len(rows)
        print(f"{layer:<26}{len(rows):>9}{right[0]:>7.2f}{majority:>9.2f}{right[1]:>7.2f}")


def _first(words: tuple[str, ...]) -> tuple[str, str] | None:
    """Return what the first word says; one of a ground is one without saying so."""
    if not words:
        return None
    grounds = ATTRIBUTES["background"]
    word = f"{words[0]} background" if words[0] in grounds else words[0]
    return next(iter(understood(word)), None)


def flagged(channels: Channels) -> None:
    """Print how high names score that the weights agree with, and others."""
    table = channels.table
    names = standing.tested_names(table)
    said = byweights.votes(table)
    agree = [byweights.agree(name, words) for name, words in zip(names, said, strict=True)]
    scores = np.array([np.nan if one is None else one for one in table["score_ap"]], float)
    print(f"\n{'average precision of names':<30}{'channels':>9}{'mean':>7}{'features.40':>13}")
    for what, flag in (("the weights agree", True), ("they disagree", False), ("no word", None)):
        mine = np.array([one is flag for one in agree]) & ~np.isnan(scores)
        last = mine & (channels.layers == "features.40")
        of_last = f"{scores[last].mean():.2f} ({last.sum()})" if last.any() else "-"
        print(f"{what:<30}{mine.sum():>9}{scores[mine].mean():>7.3f}{of_last:>13}")


def knocked_out(channels: Channels, inputs: Inputs, random: np.random.Generator) -> None:
    """Print how often channels drop more without their named inputs than without others."""
    module = inputs.network.module
    stages: list[tuple[str, Callable[[Tensor], Tensor]]] = [
        (f"features.{n}", module.features[n : n + 2]) for n in (34, 37, 40)
    ] + [("planted", module.planted)]
    pictures = preprocess(
        torch.from_numpy(np.stack([draw(3, index).image for index in range(PICTURES)]))
    )
    print(f"\n{'without the named inputs':<26}{'channels':>9}{'lower':>7}{'drop':>7}{'others':>8}")
    starts = {"features.34": 34, "features.37": 37, "features.40": 40, "planted": 43}
    for layer, apply in stages:
        before = module.features[: starts[layer]](pictures)
        rows = np.flatnonzero(channels.layers == layer)
        drops_ = []
        for row in rows.tolist():
            of = channels.table["made_of"][row]
            below = channels.layers[of[0]]
            first = int(np.flatnonzero(channels.layers == below)[0])
            named = [other - first for other in of]
            rest = [*({*range(before.shape[1])} - {*named})]
            channel = channels.table["channel"][row]
            whole = apply(before)[:, channel].amax(dim=(1, 2))
            best = whole.topk(8).indices
            if whole[best].mean() <= 0:
                continue
            kept = []
            for without in (named, random.choice(rest, len(named), replace=False).tolist()):
                changed = before[best].clone()
                changed[:, without] = 0
                kept.append(apply(changed)[:, channel].amax(dim=(1, 2)).clamp(min=0).mean())
            drops_.append([1 - float(one / whole[best].mean()) for one in kept])
        found = np.array(drops_)
        lower = (found[:, 0] > found[:, 1]).mean()
        mean = found.mean(axis=0)
        print(f"{layer:<26}{len(found):>9}{lower:>7.2f}{mean[0]:>7.2f}{mean[1]:>8.2f}")


def influenced(channels: Channels) -> tuple[Numbers, Numbers]:
    """Print how well influences tell channels apart; return them, and the relative ones."""
    columns = [channels.table[name] for name in ("influence", "influence_relative")]
    raw, relative = (
        np.array([[np.nan if one is None else one[kind] for kind in OF] for one in column])
        for column in columns
    )
    known = ~np.isnan(raw).any(axis=1)
    clear = known & np.array([one[1] for one in channels.truth])
    single = clear & np.array([len(one[0]) == 1 for one in channels.truth])
    head = ("of one kind", "AUC", "relative", "all clear", "relative")
    print(f"\n{'influence':<12}{''.join(f'{one:>12}' for one in head)}")
    for column, (kind, of) in enumerate(OF.items()):
        has = np.array([of in {kind for kind, _ in one[0]} for one in channels.truth])
        parts = ((single, raw), (single, relative), (clear, relative))
        aucs = [roc_auc_score(has[rows], values[rows, column]) for rows, values in parts]
        print(
            f"{kind:<12}{single.sum():>12}{aucs[0]:>12.2f}{aucs[1]:>12.2f}{clear.sum():>12}"
            f"{aucs[2]:>12.2f}"
        )
        if kind in WORTH_A_WORD:
            drop, spreads = WORTH_A_WORD[kind]
            said = clear & (raw[:, column] >= drop) & (relative[:, column] >= spreads)
            print(f"{'':<12}said of {said.sum()} channels, right for {has[said].mean():.2f}")
    return raw, relative


def redrawn(channels: Channels, inputs: Inputs, raw: Numbers, relative: Numbers) -> None:
    """Print how far influences stand in the order of drops on pictures that are drawn anew."""
    store, network = channels.store, inputs.network
    recipe = inputs.recipe
    chosen = chosen_references(store, recipe.influences.references)
    numbers = store.table("images")["index"].to_pylist()
    seed = recipe.data.seed

    def other(of: str, row: int) -> Image.Image:
        own = channels.pictures[row].attributes[of]
        values = [value for value in ATTRIBUTES[of] if value != own]
        value = values[int(np.random.default_rng([0, row]).integers(len(values)))]
        return Image.fromarray(draw(seed, numbers[row], instead={of: value}).image)

    sums = np.zeros((len(channels.layers), 1 + len(OF)))
    first = {layer: int(np.argmax(channels.layers == layer)) for layer in channels.layers}
    for row, wanted in chosen.items():
        views = [Image.fromarray(channels.pictures[row].image)]
        views += [other(of, row) for of in OF.values()]
        batch = network.preprocessing.tensor(views)

        def visit(at: slice, layer: str, mode: str, maps: Tensor) -> None:
            largest = maps.flatten(2).amax(dim=2).clamp(min=0).numpy()
            stop = first[layer] + largest.shape[1]
            mine = np.array([one for one in wanted if first[layer] <= one < stop], int)  # noqa: B023
            sums[mine, at] += largest[:, mine - first[layer]].T

        measure(inputs.activations, batch, torch.full((len(views),), PREDICTED), visit)
    whole = sums[:, :1]
    drawn = 1 - np.divide(sums[:, 1:], whole, out=np.full((len(sums), len(OF)), np.nan),
                          where=whole > 0)  # fmt: skip
    drawn_relative = np.stack([relative_to_layer(one, channels.layers) for one in drawn.T], axis=1)
    clear = np.array([one[1] for one in channels.truth]) & ~np.isnan(raw).any(axis=1)
    clear &= ~np.isnan(drawn).any(axis=1)
    print(f"\n{'order as drawn anew':<26}{'all pairs':>10}{'told apart':>12}{'same first':>12}")
    for what, ours, theirs, least in (
        ("drops", raw, drawn, APART),
        ("relative to the layer", relative, drawn_relative, 1.0),
    ):
        same, apart = [], []
        for a, b in combinations(range(len(OF)), 2):
            mine, known = (values[clear, a] - values[clear, b] for values in (ours, theirs))
            agree = mine * known > 0
            same += agree.tolist()
            apart += agree[np.abs(known) > least].tolist()
        top = ours[clear].argmax(axis=1) == theirs[clear].argmax(axis=1)
        print(f"{what:<26}{np.mean(same):>10.2f}{np.mean(apart):>12.2f}{top.mean():>12.2f}"
              f"  ({clear.sum()} channels, {len(apart)} of {len(same)} pairs)")  # fmt: skip


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atlas", type=Path, default=Path("build/out/demo"))
    store = open_store(parser.parse_args().atlas)
    torch.set_grad_enabled(False)
    random = np.random.default_rng(0)
    begun = time.perf_counter()
    channels = Channels(store)
    inputs = Inputs(recorded(store.manifest()))
    assert set(OF.values()) <= set(KINDS)
    voted(channels, random)
    flagged(channels)
    knocked_out(channels, inputs, random)
    raw, relative = influenced(channels)
    redrawn(channels, inputs, raw, relative)
    print(f"\n{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
