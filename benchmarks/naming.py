"""How right are the names that a vision-language model gives? Measured where the truth is known.

    python benchmarks/naming.py [--vlm ID] [--atlas DIR] [--prompt patches] [--side 224] ...

Five tests, each with its controls beside it:

1. Sheets of patches from an unseen part of the demo world that share one, two, three or no
   attributes, as many for each value.
2. The planted layer of the demo atlas, and its natural channels that are clear, subsampled so
   that every meaning is as frequent.
3. Detection: does a patch show this?
4. Scores of names on the whole range of activations, as `atlas score` gives them, beside names
   that say nothing of the channel; how right such scores are on channels that are drawn (`--drawn`
   prints that alone, which needs no model); and what a name scores that is too broad or too narrow.
5. Both sides: channels whose references by activation a name contradicts, and whether it is said.

A name is exact when it says all that the patches share and nothing else. The controls are the
most frequent name, and the same names dealt out anew to other channels or sheets. The names from
labels stand beside them; they know the labels, which a vision-language model does not.
"""

import argparse
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image
from rightness import (
    KINDS,
    Concept,
    Named,
    Scores,
    Truths,
    dealt_anew,
    exact,
    majority,
    per_attribute,
    score_rows,
    side_rows,
    understood,
)
from sklearn.metrics import average_precision_score

from atlas import pipeline, prompts, vlm
from atlas.demo.truth import CLEAR_LIFT, CLEAR_PURITY, base_rates, meaning, shown
from atlas.demo.world import ATTRIBUTES, DrawnPicture, draw
from atlas.naming import answers
from atlas.patches import views
from atlas.recipe import recorded
from atlas.store import MODES, NAMES_FILE, SCORES_FILE, Store, names, nametests, open_store
from atlas.vlm import Request, Vlm

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import estimates

SEED = 9_000


# Sheets


def patch(picture: DrawnPicture, side: int, random: np.random.Generator) -> Image.Image:
    """Cut the object out with some ground around it, dimmed where it is not."""
    ys, xs = np.nonzero(picture.mask)
    size = int(min(max(np.ptp(ys), np.ptp(xs)) * random.uniform(1.1, 1.5), 112))
    corner = [
        int(np.clip((v.min() + v.max() - size) / 2 + random.uniform(-5, 5), 0, 112 - size))
        for v in (xs, ys)
    ]
    box = (corner[0], corner[1], corner[0] + size, corner[1] + size)
    cut = Image.fromarray(picture.image).crop(box).resize((side, side), Image.Resampling.BICUBIC)
    mask = Image.fromarray(picture.mask.astype(np.uint8) * 255).crop(box)
    return views.dim(cut, np.asarray(mask.resize((16, 16), Image.Resampling.BOX)))


class Supply:
    """Pictures by their attributes."""

    def __init__(self, count: int) -> None:
        self.pictures = [draw(SEED, index) for index in range(count)]
        self.by_value: dict[tuple[str, str], set[int]] = defaultdict(set)
        for row, picture in enumerate(self.pictures):
            for item in picture.attributes.items():
                self.by_value[item].add(row)

    def having(self, concept: Concept) -> list[int]:
        """Return the rows of the pictures with all these values."""
        rows = set(range(len(self.pictures)))
        for item in concept:
            rows &= self.by_value[item]
        return sorted(rows)


def sheet_concepts(random: np.random.Generator, each: int) -> list[tuple[str, Concept]]:
    """Return groups and concepts, as many for each value of a kind."""
    concepts = []
    for kind in KINDS[:3]:
        for value in ATTRIBUTES[kind]:
            concepts += [(kind, frozenset({(kind, value)}))] * each
    for pair in (("colour", "texture"), ("colour", "shape"), ("texture", "shape")):
        for values in product(*(ATTRIBUTES[kind] for kind in pair)):
            concepts.append(("two attributes", frozenset(zip(pair, values, strict=True))))
    triples = list(product(*(ATTRIBUTES[kind] for kind in KINDS[:3])))
    for row in random.permutation(len(triples))[: 6 * each]:
        concepts.append(("three attributes", frozenset(zip(KINDS[:3], triples[row], strict=True))))
    concepts += [("no clear concept", frozenset())] * (6 * each)
    return concepts


def drawn_sheet(
    supply: Supply, concept: Concept, count: int, random: np.random.Generator
) -> list[int]:
    """Draw pictures that share the concept and nothing else."""
    having = supply.having(concept)
    while True:
        rows = random.choice(having, count, replace=len(having) < count).tolist()
        counts = Counter(item for row in rows for item in supply.pictures[row].attributes.items())
        others = {i for i, n in counts.items() if i[0] in KINDS and n >= CLEAR_PURITY * count}
        if others - set(concept) == set():
            return rows


def ask(model: Vlm, requests: Sequence[Request]) -> list[Concept]:
    """Return what the model says."""
    said = [
        answers.parse(raw, request.text)
        for raw, request in zip(model.ask(requests), requests, strict=True)
    ]
    return [understood(answer.name) for answer in said]


def name_sheets(
    model: Vlm, supply: Supply, options: argparse.Namespace, random: np.random.Generator
) -> tuple[list[Named], list[Named]]:
    """Name the sheets, and the same patches shuffled among the sheets of a group."""
    text = prompts.naming(options.prompt, "dimmed", "separate", options.references, 0).text
    concepts = sheet_concepts(random, options.each)
    sheets = [
        [
            patch(supply.pictures[row], options.side, random)
            for row in drawn_sheet(supply, concept, options.references, random)
        ]
        for _, concept in concepts
    ]
    shuffled: list[list[Image.Image]] = [[] for _ in sheets]
    for group in dict.fromkeys(group for group, _ in concepts):
        rows = [row for row, (other, _) in enumerate(concepts) if other == group]
        pool = [image for row in rows for image in sheets[row]]
        order = random.permutation(len(pool))
        for number, row in enumerate(rows):
            part = order[number * options.references : (number + 1) * options.references]
            shuffled[row] = [pool[place] for place in part]
    results = []
    for images in (sheets, shuffled):
        said = ask(model, [Request(views_, text) for views_ in images])
        results.append([
            Named(group, truth, one)
            for (group, truth), one in zip(concepts, said, strict=True)
        ])  # fmt: skip
    return results[0], results[1]


# Channels


def drawn_again(store: Store) -> dict[int, DrawnPicture]:
    """Return the stored pictures with the truth about them, by their rows."""
    seed = store.manifest()["recipe"]["data"]["seed"]
    indices = store.table("images")["index"].to_pylist()
    return {row: draw(seed, index) for row, index in enumerate(indices)}


Seen = Mapping[tuple[str, int], Sequence[Mapping[str, str]]]
"""Of each channel what its references of one mode show."""


def all_shown(store: Store, pictures: Mapping[int, DrawnPicture], mode: str) -> Seen:
    """Return what the references of each channel show."""
    seen: dict[tuple[str, int], list[Mapping[str, str]]] = defaultdict(list)
    for row in store.table("references").to_pylist():
        if row["mode"] == mode:
            box = (row["x0"], row["y0"], row["x1"], row["y1"])
            seen[row["layer"], row["channel"]].append(shown(pictures[row["image"]], box))
    return seen


def truths(seen: Seen, pictures: Mapping[int, DrawnPicture]) -> Truths:
    """Return what the references of each channel share, whether it is clear, and its meaning."""
    rates = base_rates([picture.attributes for picture in pictures.values()])
    result = {}
    for address, references in seen.items():
        counts = Counter(item for one in references for item in one.items())
        shared = frozenset(
            item
            for item, count in counts.items()
            if item[0] in KINDS
            and count >= CLEAR_PURITY * len(references)
            and count >= CLEAR_LIFT * rates[item] * len(references)
        )
        found = meaning(references, rates)
        clear = found.clear and found.kind in KINDS
        result[address] = (shared, clear, (found.kind, found.value))
    return result


def name_channels(
    store: Store, options: argparse.Namespace, method: str
) -> tuple[dict[tuple[str, int], Concept], Scores, Scores]:
    """Name all channels of a copy of the atlas.

    Returns
    -------
    tuple
        What is said of each channel; the records of their tests on the whole range; their rows of
        channels.parquet.
    """
    overrides = [
        f"naming.method={method}", f"naming.vlm={options.vlm}", f"naming.prompt={options.prompt}",
        f"naming.side={options.side}", f"naming.references={options.references}",
        f"naming.contrast={options.contrast}", f"naming.mode={options.mode}",
        f"naming.batch_size={options.batch}",
        f"naming.max_tokens={options.tokens}", "naming.senses=false", "naming.pictures=4000",
        f"scoring.prompt={options.fits}",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "atlas"
        shutil.copytree(
            store.root, copy, ignore=shutil.ignore_patterns("site", NAMES_FILE, SCORES_FILE)
        )
        here = open_store(copy)
        recipe = recorded(here.manifest(), overrides)
        pipeline.name(here, recipe)
        said = {
            (record.layer, record.channel): understood(record.name)
            for record in names.read(here)
            if record.whole
        }
        if method != "vlm":
            return said, {}, {}
        pipeline.score(here, recipe)
        tests = {
            (one["layer"], one["channel"]): one for one in nametests.valid(here, nametests.RANGE)
        }
        rows = {(row["layer"], row["channel"]): row for row in here.table("channels").to_pylist()}
        return said, tests, rows


def channel_groups(truth: Truths, random: np.random.Generator) -> dict[str, list[tuple[str, int]]]:
    """Return the planted channels, the clear natural ones in balance, and the unclear ones."""
    natural: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
    groups: dict[str, list[tuple[str, int]]] = {"planted": [], "clear": [], "not clear": []}
    for address, (shared, clear, what) in truth.items():
        if address[0] == "planted":
            groups["planted"].append(address)
        elif clear:
            natural[what].append(address)
        elif not shared:
            groups["not clear"].append(address)
    most = int(np.median([len(addresses) for addresses in natural.values()]))
    for addresses in natural.values():
        order = random.permutation(len(addresses))[:most]
        groups["clear"] += [addresses[row] for row in order]
    return groups


# Detection


def detect(
    model: Vlm, supply: Supply, options: argparse.Namespace, random: np.random.Generator
) -> dict[str, float]:
    """Return the average precision of telling patches that show a value from those that do not."""
    result = {}
    for kind in KINDS[:3]:
        requests, truth = [], []
        for value in ATTRIBUTES[kind]:
            text = prompts.fitting(options.fits, "dimmed", value).text
            for row in random.choice(len(supply.pictures), 12 * options.each // 6, replace=False):
                picture = supply.pictures[row]
                requests.append(Request([patch(picture, options.side, random)], text))
                truth.append(picture.attributes[kind] == value)
        result[kind] = float(average_precision_score(truth, model.yes(requests)))
        result[f"{kind}, chance"] = float(np.mean(truth))
    return result


# Tables


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table; numbers with three digits."""
    print(f"\n{title}\n")
    print("| " + " | ".join(head) + " |")
    print("|:--" + "|--:" * (len(head) - 1) + "|")
    for row in rows:
        cells = [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row]
        print("| " + " | ".join(cells) + " |")


def options_given() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vlm", default="demo/vlm")
    parser.add_argument("--atlas", type=Path, default=Path("build/out/demo"))
    parser.add_argument("--prompt", default="brief")
    parser.add_argument("--fits", default="fits-brief")
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--references", type=int, default=16)
    parser.add_argument("--mode", choices=["relevance", "activation"], default="relevance")
    parser.add_argument("--contrast", type=int, default=0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--each", type=int, default=12, help="sheets for each value")
    parser.add_argument("--channels", type=int, default=600, help="drawn ones")
    parser.add_argument("--drawn", action="store_true", help="only what needs no model")
    return parser.parse_args()


def main() -> None:
    """Print the tables."""
    options = options_given()
    estimates.drawn_alone(options.channels, print_table)
    if options.drawn:
        return
    random = np.random.default_rng(0)
    loading = vlm.Loading(options.vlm, batch_size=options.batch, max_tokens=options.tokens)
    model = vlm.load(loading)
    supply = Supply(6_000)
    print(
        f"{options.vlm}, prompt {options.prompt}, {options.references} references by {options.mode}"
    )

    sheets, shuffled = name_sheets(model, supply, options, random)
    rows = []
    for group in [*dict.fromkeys(one.group for one in sheets), "all"]:
        mine = [one for one in sheets if group in (one.group, "all")]
        mixed = [one for one in shuffled if group in (one.group, "all")]
        rows.append([group, len(mine), exact(mine), majority(mine), exact(mixed)])
    print_table(
        "Sheets of an unseen world", ["they share", "sheets", "exact", "majority", "shuffled"], rows
    )
    print_table(
        "The same by attribute", ["attribute", "precision", "recall"], per_attribute(sheets)
    )

    store = open_store(options.atlas)
    pictures = drawn_again(store)
    seen = {mode: all_shown(store, pictures, mode) for mode in MODES}
    truth = truths(seen[options.mode], pictures)
    active = truths(seen["activation"], pictures)
    groups = channel_groups(truth, random)
    said, tests, table = name_channels(store, options, "vlm")
    methods = {"vlm": said, "labels": name_channels(store, options, "labels")[0]}
    rows, tables = [], []
    for group, addresses in groups.items():
        for method, said in methods.items():
            named = [Named(group, truth[a][0], said.get(a, frozenset())) for a in addresses]
            if not named:
                continue
            control = dealt_anew(named, random)
            rows.append([group, method, len(named), exact(named), majority(named), control])
            if (group, method) == ("clear", "vlm"):
                tables = per_attribute(named)
    print_table(
        "Channels of the demo atlas",
        ["channels", "named by", "number", "exact", "majority", "dealt anew"],
        rows,
    )
    print_table("Clear natural channels by attribute", ["attribute", "precision", "recall"], tables)
    found = detect(model, supply, options, random)
    rows = [[kind, found[kind], found[f"{kind}, chance"]] for kind in KINDS[:3]]
    print_table("Detection: average precision", ["attribute", "AUPRC", "chance"], rows)
    print_table(
        "Scores of names on all pictures",
        ["clear channels", "number", "AP", "anything", "borrowed", "most frequent", "tested"],
        score_rows(truth, active, table),
    )
    clear = {address: one[0] for address, one in active.items() if one[1] and one[0]}
    print_table(
        "The truth about activation references on the same trials, widened and narrowed",
        ["clear channels", "number", "right", "broad", "narrow", "above broad", "above narrow"],
        estimates.demo_controls(clear, tests, pictures, random),
    )
    print_table(
        "Both sides of channels, by the truth",
        ["", "number", "share"],
        side_rows(seen["relevance"], seen["activation"], table),
    )


if __name__ == "__main__":
    main()
