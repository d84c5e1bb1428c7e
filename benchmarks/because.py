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
from atlas.influences.changes import CHANGES
from atlas.influences.measuring import chosen_references
from atlas.pipeline.inputs import Inputs
from atlas.recipe import recorded
from atlas.relevance.engine import PREDICTED, measure
from atlas.store import Store, byweights, open_store, standing
from atlas.store.influence import WORTH_A_WORD

OF = {"hue": "colour", "texture": "texture", "shape": "shape"}
"""The attribute of the drawn world that a change takes away."""

RESAMPLES = 500
"""How often a channel's references are drawn anew, to say which drops are told apart: those between
which the 95 % interval of the difference has no 0. Others are ties."""

OTHERS = 3
"""Other values that an attribute gets, where pictures are drawn anew."""

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


def influenced(channels: Channels) -> None:
    """Print how well influences tell channels apart, and how right the words are.

    Words also at levels that are chosen on the channels of even numbers and tried on the others.
    """
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
            even = np.array(channels.table["channel"]) % 2 == 0
            levels = chosen_levels(raw[:, column], relative[:, column], has, clear & even)
            said = (
                clear & ~even & (raw[:, column] >= levels[0]) & (relative[:, column] >= levels[1])
            )
            print(f"{'':<12}by {levels}, chosen on even channels: said of {said.sum()} odd ones, "
                  f"right for {has[said].mean():.2f}")  # fmt: skip


def chosen_levels(
    raw: Numbers, relative: Numbers, has: npt.NDArray[np.bool_], rows: npt.NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the drop and the spreads at which most is said of channels that is right for 0.9."""
    best, most = (1.0, 3.0), 0
    for drop in np.arange(0.2, 0.91, 0.1):
        for spreads in np.arange(0, 3.01, 0.5):
            said = rows & (raw >= drop) & (relative >= spreads)
            if said.sum() > most and has[said].mean() >= 0.9:
                best, most = (round(float(drop), 1), float(spreads)), int(said.sum())
    return best


def redrawn(channels: Channels, inputs: Inputs) -> None:
    """Print how far influences stand in the order of drops on pictures that are drawn anew."""
    seen = outputs(channels, inputs)
    clear = np.array([one[1] for one in channels.truth])
    clear &= (seen[:, :, 0].sum(axis=1) > 0) & ~np.isnan(seen).any(axis=(1, 2))
    numbers = np.array(channels.table["channel"])
    half = len(OF)
    random = np.random.default_rng(0)
    rows = random.integers(0, seen.shape[1], (RESAMPLES, seen.shape[1]))
    print(
        f"\n{'order as drawn anew':<26}{'all pairs':>10}{'ties':>7}{'others':>9}{'same first':>12}"
    )
    for what, mine in (
        ("all clear channels", clear),
        ("even channels", clear & (numbers % 2 == 0)),
        ("odd channels", clear & (numbers % 2 == 1)),
    ):
        same, tied = [], []
        values = seen[mine]
        drop = dropped(values)
        again = np.stack([dropped(values[:, one]) for one in rows])
        for a, b in combinations(range(half), 2):
            ours, theirs = (drop[:, a + n] - drop[:, b + n] for n in (0, half))
            ends = np.quantile(
                again[:, :, a + half] - again[:, :, b + half], (0.025, 0.975), axis=0
            )
            same += (ours * theirs > 0).tolist()
            tied += ((ends[0] <= 0) & (ends[1] >= 0)).tolist()
        apart = np.array(same)[~np.array(tied)]
        top = drop[:, :half].argmax(axis=1) == drop[:, half:].argmax(axis=1)
        print(
            f"{what:<26}{np.mean(same):>10.2f}{np.mean(tied):>7.2f}{apart.mean():>9.2f}"
            f"{top.mean():>12.2f}  ({mine.sum()} channels, {len(same)} pairs)"
        )


def dropped(values: Numbers) -> Numbers:
    """Return drops (channels, kinds) from outputs (channels, references, 1 + kinds)."""
    sums = values.sum(axis=1)
    found: Numbers = 1 - sums[:, 1:] / np.maximum(sums[:, :1], 1e-9)
    return found


def outputs(channels: Channels, inputs: Inputs) -> Numbers:
    """Return what channels give on their references, as they are, changed and drawn anew.

    float64 (channels, references, 1 + kinds + kinds), never negative; NaN where there are fewer
    references. Drawn anew is with the same dice and `OTHERS` other values of the attribute, whose
    mean counts.
    """
    store, network = channels.store, inputs.network
    recipe = inputs.recipe
    count = recipe.influences.references
    chosen = chosen_references(store, count)
    numbers = store.table("images")["index"].to_pylist()
    found = np.full((len(channels.layers), count, 1 + 2 * len(OF)), np.nan)
    filled = np.zeros(len(channels.layers), int)
    first = {layer: int(np.argmax(channels.layers == layer)) for layer in channels.layers}
    for row, wanted in chosen.items():
        drawn = channels.pictures[row]
        own = Image.fromarray(drawn.image)
        random = np.random.default_rng([0, row])
        views = [own, *(CHANGES[kind](own, random) for kind in OF)]
        for of in OF.values():
            others = [value for value in ATTRIBUTES[of] if value != drawn.attributes[of]]
            for value in random.choice(others, OTHERS, replace=False):
                instead = {of: str(value)}
                again = draw(recipe.data.seed, numbers[row], instead=instead)
                views.append(Image.fromarray(again.image))
        batch = network.preprocessing.tensor(views)
        largest: dict[str, list[Numbers]] = {}

        def visit(at: slice, layer: str, mode: str, maps: Tensor) -> None:
            values = maps.flatten(2).amax(dim=2).clamp(min=0).double().numpy()
            largest.setdefault(layer, []).append(values)  # noqa: B023

        measure(inputs.activations, batch, torch.full((len(views),), PREDICTED), visit)
        for layer, parts in largest.items():
            values = np.concatenate(parts)
            anew = values[1 + len(OF) :].reshape(len(OF), OTHERS, -1).mean(axis=1)
            values = np.concatenate([values[: 1 + len(OF)], anew])
            stop = first[layer] + values.shape[1]
            mine = np.array([one for one in wanted if first[layer] <= one < stop], int)
            found[mine, filled[mine]] = values[:, mine - first[layer]].T
            filled[mine] += 1
    return found


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
    influenced(channels)
    redrawn(channels, inputs)
    print(f"\n{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
