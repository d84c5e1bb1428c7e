"""What the guard of other words for claims lets through, alone and with a judge.

    python benchmarks/narrating.py
    python benchmarks/narrating.py --judge demo/vlm
    python benchmarks/narrating.py --atlas DIR

`rephrasings.txt` was written before the guard. Every second line of each kind was held back: its
figures were printed, its sentences were not looked at while the guard was written. What comes later
in the file was written after the guard; kinds of mistakes that it showed were mended. The last part
is held out: it was written before the guard was made anew and looked at once, afterwards.

With `--atlas`, how long the texts by rules of an atlas's explanations are, and whether those for
everyone name each concept whose removal changes the answer or takes more than a fifth of the
probability.
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from atlas.explain.claims.making import claims
from atlas.explain.models import Judge
from atlas.explain.narrative.compose import compose
from atlas.explain.narrative.guard import objection
from atlas.explain.narrative.rephrasing import differs
from atlas.store import evidence
from atlas.store.claims import PLACEHOLDER, Slot, SlotKind, Wording
from atlas.vlm import Loading, language

FILE = Path(__file__).with_name("rephrasings.txt")
KINDS = {"+": "honest", "-": "false", "!": "aimed"}
HALVES = ("seen", "held back", "later", "third writer", "held out")

_SLOTS: dict[str, SlotKind] = {
    "class": "class", "other": "class", "answer": "class", "first": "concept",
    "strongest": "concept", "concept": "concept", "share": "share", "usual": "share",
    "rest": "share", "before": "probability", "after": "probability", "less": "probability",
    "more": "probability", "probability": "probability", "logit": "logit", "reduced": "logit",
    "rank": "count", "place": "place", "truth": "class", "layer": "layer", "chosen": "count",
    "channels": "count", "coverage": "share", "steps": "count", "draws": "count",
    "feed": "concept", "here": "logit", "there": "logit", "area": "share", "overlap": "share",
    "random": "logit", "activation": "logit", "relevance": "logit", "deciding": "count",
}  # fmt: skip


@dataclass(frozen=True)
class Rephrasing:
    """Other words for a claim."""

    wording: Wording
    text: str
    kind: str
    half: str


def rephrasings() -> Iterator[Rephrasing]:
    """Yield the sentences of the corpus."""
    wording = Wording("", ())
    seen = dict.fromkeys(KINDS, 0)
    later = 0
    for line in FILE.read_text("utf-8").splitlines():
        sign, text = line[:1], line[2:]
        if sign == "=":
            keys = dict.fromkeys(PLACEHOLDER.findall(text))
            slots = [Slot(key, _SLOTS[re.sub(r"\d", "", key)], "", "") for key in keys]
            wording = Wording(text, tuple(slots))
        elif sign in KINDS:
            seen[sign] += 1
            half = HALVES[later or seen[sign] % 2 == 0]
            yield Rephrasing(wording, text, KINDS[sign], half)
        if line.startswith("##"):
            later = {"## not": 3, "## hel": 4}.get(line[:6], 2)


def shares_passed(half: str, judge: Judge | None = None) -> dict[str, float]:
    """Return by kind which share of a half is let through."""
    passed: dict[str, list[bool]] = {}
    for one in rephrasings():
        if one.half == half:
            wrong = objection(one.wording, one.text)
            if wrong is None and judge is not None:
                wrong = differs(one.wording, one.text, judge)
            passed.setdefault(one.kind, []).append(wrong is None)
    return {kind: sum(all_) / len(all_) for kind, all_ in passed.items()}


def said(root: Path) -> None:
    """Print for each explanation of an atlas what decides, whether it is said, and the lengths."""
    print("| explanation | words for everyone | for experts | deciding concepts | said |")
    print("|:--|--:|--:|--:|--:|")
    for folder in sorted((root / evidence.EXPLANATIONS).iterdir()):
        if not (folder / evidence.FILE).is_file():
            continue
        found = evidence.read(folder)
        limit = 0.8 * found.target.probability
        zero = {one.id: found.effect(one.id, "zero") for one in found.concepts}
        deciding = [
            one for one in found.concepts
            if found.changed(zero[one.id]) or zero[one.id].probability < limit
        ]  # fmt: skip
        everyone, expert = (
            " ".join(sentence.text for sentence in text.sentences)
            for text in compose(claims(found))
        )
        named = [
            one for one in deciding if (f"“{one.name}”" if one.name else one.address) in everyone
        ]
        print(
            f"| {folder.name} | {len(everyone.split())} | {len(expert.split())} | {len(deciding)} "
            f"| {len(named)} |"
        )


def main(judge: str) -> None:
    """Print the table of what is let through."""
    model = language.load(Loading(judge)) if judge else None
    asked: list[tuple[str, Judge | None]] = [("the guard alone", None)]
    if model is not None:
        asked.append((f"the guard and {judge}", model))
    kinds = {"honest": "honest", "false": "false, natural", "aimed": "false, aimed at the guard"}
    print("| let through | half | " + " | ".join(kinds.values()) + " |\n|:--|:--|--:|--:|--:|")
    for name, who in asked:
        for half in HALVES:
            found = shares_passed(half, who)
            cells = " | ".join(f"{100 * found[kind]:.0f} %" for kind in kinds)
            print(f"| {name} | {half} | {cells} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--judge", default="")
    parser.add_argument("--atlas", type=Path)
    given = parser.parse_args()
    if given.atlas:
        said(given.atlas)
    else:
        main(given.judge)
