"""Measure relevance on many architectures beside an independent computation.

    python benchmarks/networks.py [NAME ...] [--rows build/out/networks.jsonl] [--table]

Names are those of `tests/relevance/zoo.py`, all by default; "timm/*" and the like work. Weights
are random with norms stirred. Each network is a row: what operations it has, how far the engine's
logits are from the network's (of the largest), the largest gap of conservation (what is gained or
lost at an operation, in parts of what comes to it), how far the relevance of channels is from that
computed from the formulas in float64 (`tests/relevance/formulas.py`; of a layer's largest, the
worst of six layers), and time in parts of two forwards and one backward. It is compared twice: in
float64, where a difference is a fault, and in float32, where some networks enlarge rounding. Rows
are written as they are made; one that is there is not measured again.
"""

import argparse
import copy
import fnmatch
import json
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from atlas.errors import UserError
from atlas.relevance import checks
from atlas.relevance.engine import PREDICTED, Engine, RelevanceEngine
from atlas.relevance.plan import plan
from atlas.relevance.tape import Instrumented, instrument
from atlas.store import Mode
from atlas.trace.record import record

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.relevance import zoo
from tests.relevance.formulas import Refused, Relevances, relevances

PICTURES = 2
TIMED = 8
"""Pictures of the batch whose time is taken."""

LARGE = 30_000_000
"""Networks with more parameters are not timed."""

LOGITS = 1e-4
CHANNELS = 1e-3
"""A row is right within these."""


@dataclass(frozen=True)
class Row:
    """What is known of one network; what could not be measured is None."""

    name: str
    size: int = 0
    """Pixels of a side."""
    parameters: int = 0
    operations: str = ""
    logits: float | None = None
    gap: float | None = None
    channels: float | None = None
    """Of the engine in float64."""
    worst: str = ""
    """The layer that `channels` is of."""
    single: float | None = None
    """As `channels`, of the engine in float32."""
    time: float | None = None
    refused: str = ""
    oracle: str = ""
    """Why the independent computation refuses."""
    error: str = ""

    @property
    def verdict(self) -> str:
        """Return "right", "wrong", "refused", "not compared", or "failed".

        Where logits in float32 are not the network's, every run is refused by its check.
        """
        if self.error or self.logits is None:
            return "refused" if self.refused else "failed"
        if self.channels is None:
            return "not compared"
        if self.channels > CHANNELS:
            return "wrong"
        return "right" if self.logits <= LOGITS else "refused"


# --- the only part that knows the engine ------------------------------------------------------


def instrumented(module: nn.Module, layers: Sequence[str], side: int) -> Instrumented:
    """Return a network ready for the engine, in the precision of its weights.

    Raises
    ------
    UserError
        The engine refuses the network.
    """
    dtype = next(module.parameters()).dtype
    trace = record(module.requires_grad_(False), zoo.pictures(1, side).to(dtype))
    rules = plan(trace, "epsilon_plus_flat", dtype)
    reached = [name for name in layers if trace.layers[name].value in rules.reached]
    return instrument(module, rules, reached, dtype)


def with_maps(module: nn.Module, layers: Sequence[str], side: int) -> list[str]:
    """Return the layers that have maps of the picture; others are left out of an atlas."""
    try:
        trace = record(module, zoo.pictures(1, side))
    except UserError:  # which is reported where it is measured
        return list(layers)
    return [name for name in layers if not trace.layers[name].problem]


def operations_of(relevance: Relevances) -> str:
    """Return the kinds of operations with their rules, most frequent first."""
    return ", ".join(
        f"{name} {rule} {count}" for (name, rule), count in relevance.operations.most_common()
    )


# --- measuring --------------------------------------------------------------------------------


def measure(name: str) -> Row:
    """Measure one architecture; a fault of the engine is a row as well."""
    module, size = zoo.build(name)
    row = {"name": name, "size": size, "parameters": sum(p.numel() for p in module.parameters())}
    images = zoo.pictures(PICTURES, size, seed=9)
    layers = with_maps(module, zoo.layers_of(module, images[:1]), size)
    with torch.no_grad():
        logits = module(images)
    chosen = logits.argmax(dim=1)
    try:
        single = instrumented(module, layers, size)
        rough, ours = summed(RelevanceEngine(single), images, chosen)
        if row["parameters"] <= LARGE:
            pictures = zoo.pictures(TIMED, size, seed=9)
            row["time"] = ratio(module, RelevanceEngine(single), pictures)
        double = instrumented(copy.deepcopy(module).double(), layers, size)
        found, _ = summed(RelevanceEngine(double), images.double(), chosen)
        row["gap"] = checks.balance(double, images.double()).gap
    except UserError as reason:
        return Row(**row, refused=str(reason))
    except Exception as error:  # the table says which networks break the engine
        return Row(**row, error=f"{type(error).__name__}: {error}"[:300])
    row["logits"] = float((ours - logits).abs().max() / logits.abs().max())
    try:
        expected = relevances(module, images, layers, chosen)
    except Refused as reason:
        return Row(**row, oracle=str(reason))
    row["operations"] = operations_of(expected)
    row["worst"], row["channels"] = furthest(found, expected)
    _, row["single"] = furthest(rough, expected)
    return Row(**row)


def furthest(found: Mapping[str, Tensor], expected: Relevances) -> tuple[str, float]:
    """Return the layer that differs most, and by how much."""
    differences = {
        layer: difference(found.get(layer, torch.zeros_like(relevance)).double(), relevance)
        for layer, relevance in expected.channels.items()
    }
    worst = max(differences, key=lambda layer: differences[layer])
    return worst, differences[worst]


def difference(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference over channels and pictures, of the largest that is right."""
    largest = expected.abs().max()
    if largest == 0:
        return float(found.abs().max() > 0)
    return float((found - expected).abs().max() / largest)


def summed(engine: Engine, images: Tensor, targets: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return the relevance of channels, summed over positions, and the logits."""
    found: dict[str, Tensor] = {}

    def visit(layer: str, mode: Mode, maps: Tensor) -> None:
        if mode == "relevance":
            found[layer] = maps.detach().sum(dim=(2, 3)).clone()

    logits = engine(images, targets, visit)
    return found, logits


def ratio(module: nn.Module, engine: Engine, images: Tensor) -> float:
    """Return the engine's time in parts of two forward and one backward passes; the best of 3."""
    targets = torch.full((len(images),), PREDICTED)
    module.requires_grad_(False)

    def bare() -> None:
        with torch.no_grad():
            module(images)
        picture = images.clone().requires_grad_()
        module(picture).sum().backward()

    def ours() -> None:
        engine(images, targets, lambda *_: None)

    return min(seconds(ours) for _ in range(3)) / min(seconds(bare) for _ in range(3))


def seconds(run: Callable[[], None]) -> float:
    """Return how long `run` takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


# --- rows and table ---------------------------------------------------------------------------


def load(path: Path) -> dict[str, Row]:
    """Return the rows of a file by name."""
    if not path.exists():
        return {}
    rows = [Row(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    return {row.name: row for row in rows}


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table, and how many are right."""
    lines = [
        "| network | px | operations | logits | gap | channels | in float32 | time | |",
        "|:--|--:|:--|--:|--:|--:|--:|--:|:--|",
    ]
    for row in rows:
        measured = (row.logits, row.gap, row.channels, row.single)
        numbers = ["" if x is None else f"{x:.1e}" for x in measured]
        numbers.append("" if row.time is None else f"{row.time:.2f}")
        seen = (part.split()[0] for part in row.operations.split(", ") if part)
        kinds = ", ".join(dict.fromkeys(seen))
        verdict = row.verdict
        if row.refused or row.error:
            verdict += f": {row.refused or row.error}"
        elif verdict == "refused":
            verdict += " by the check of its logits in float32"
        elif verdict == "not compared":
            verdict += f": the independent computation refuses {row.oracle}"
        elif verdict == "wrong":
            verdict += f" at {row.worst}"
        lines.append(f"| {row.name} | {row.size} | {kinds} | {' | '.join(numbers)} | {verdict} |")
    counts = [f"{sum(r.verdict == v for r in rows)} {v}" for v in ("right", "refused", "wrong")]
    counts += [f"{sum(row.verdict == v for row in rows)} {v}" for v in ("not compared", "failed")]
    return "\n".join([*lines, "", f"{len(rows)} networks: {', '.join(counts)}."])


def main() -> None:
    """Measure the networks that are named and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["*"], help="all by default")
    parser.add_argument("--rows", type=Path, default=Path("build/out/networks.jsonl"))
    parser.add_argument("--table", action="store_true", help="measure nothing, print what is there")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    wanted = [n for n in zoo.names() if any(fnmatch.fnmatch(n, p) for p in options.names)]
    if not wanted:
        sys.exit(f"no network is called {' or '.join(options.names)}: see tests/relevance/zoo.py")
    options.rows.parent.mkdir(parents=True, exist_ok=True)
    done = load(options.rows)
    for name in wanted:
        if name in done or options.table:
            continue
        try:
            row = measure(name)
        except Exception as error:  # the network itself, or the independent computation
            row = Row(name, error=f"{type(error).__name__}: {error}"[:300])
        done[name] = row
        with options.rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")
        print(f"{name}: {row.verdict}", file=sys.stderr, flush=True)
    print(table([done[name] for name in wanted if name in done]))


if __name__ == "__main__":
    main()
