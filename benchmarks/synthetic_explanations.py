"""Explanations of real size for the benchmark of the site: 24 concepts in 3 layers each."""

import shutil
from pathlib import Path

import numpy as np

from atlas.explain.claims.making import claims
from atlas.explain.narrative.compose import compose
from atlas.store import Store, narrative
from atlas.store import claims as stored_claims
from atlas.store import evidence as e
from atlas.store.table import rows as table_rows

LAYERS = 3
CONCEPTS = 8


def write(store: Store, count: int, picture: Path) -> None:
    """Write `count` explanations by channels of the atlas; all show the same `picture`."""
    random = np.random.default_rng(1)
    manifest = store.manifest()
    table = store.table("channels").select(["layer", "channel", "name"]).to_pylist()
    layers = manifest["layers"][-LAYERS:]
    names = store.table("classes", ["name"])["name"].to_pylist()
    rows = {layer: [row for row in table if row["layer"] == layer] for layer in layers}
    for number in range(count):
        folder = store.root / e.EXPLANATIONS / f"picture-{number:08x}"
        folder.mkdir(parents=True, exist_ok=True)
        found = _evidence(manifest["id"], folder.name, names, rows, random)
        for name in ("picture.webp", "heat.webp", *(concept.map for concept in found.concepts)):
            shutil.copyfile(picture, folder / name)
        e.write(found, folder)
        written = e.read(folder)
        claimed = claims(written)
        stored_claims.write(claimed, folder)
        narrative.write(compose(claimed), folder, table_rows(written))


def _evidence(
    atlas: str, name: str, names: list[str], rows: dict, random: np.random.Generator
) -> e.Evidence:
    guesses = tuple(e.Guess(n, names[n], n + 1, 0.9 / (n + 1), 12.0 - n, 1) for n in range(5))
    concepts, flow, effects, curves = [], [], [], []
    for layer, channels in rows.items():
        chosen = [channels[n] for n in random.choice(len(channels), CONCEPTS, replace=False)]
        for rank, row in enumerate(chosen, 1):
            concepts.append(_concept(f"c{len(concepts) + 1}", row, rank))
            flow.append(_flow(concepts[-1], chosen[:3]))
            effects.append(_effects(concepts[-1].id, names[0]))
        curves += [_curve(layer, kind) for kind in e.KINDS]
    return e.Evidence(
        version=e.VERSION, id=name, atlas=atlas, named=True,
        picture=e.Picture(f"{name}.jpg", "0" * 64, 640, 480, 224), prediction=guesses,
        target=e.Target(0, names[0], 1, 0.9, 12.0, 1, "predicted"),
        layers=tuple(
            e.LayerEvidence(f"layer:{layer}", layer, len(channels), 20.0, 11.0, 0.9, CONCEPTS, 0.6)
            for layer, channels in rows.items()
        ),
        concepts=tuple(concepts), overlaps=(), flow=tuple(flow), effects=tuple(effects),
        curves=tuple(curves), context=(),
    )  # fmt: skip


def _concept(name: str, row: dict, rank: int) -> e.Concept:
    return e.Concept(
        id=name, address=f"{row['layer']}:{row['channel']}", layer=row["layer"],
        channel=row["channel"], rank=rank, name=row["name"], description=None, score=0.8,
        state="tested",
        direction="for", relevance=3.0 / rank, share=0.2 / rank, usual=0.1, usual_pictures=50,
        typical=True, activation=e.Standing(8.0, 12, 1000, 98.8, True),
        relevance_standing=e.Standing(0.2, 31, 1000, 96.9, True), peak=(3, 4),
        field=(0, 0, 60, 60), region=e.Region("centre", 0.08, (10, 10, 60, 60)),
        map=f"{name}.webp",
    )  # fmt: skip


def _flow(concept: e.Concept, feeders: list[dict]) -> e.Flow:
    feeds = tuple(
        e.Feed(f"{r['layer']}:{r['channel']}", r["layer"], r["channel"], r["name"], None, 0.2)
        for r in feeders
    )
    return e.Flow(f"flow:{concept.id}", concept.id, concept.layer, feeds)


def _effects(concept: str, answer: str) -> e.Effects:
    effects = tuple(e.Effect(kind, 0.5, 9.0, 0, answer, 1) for kind in e.KINDS)
    return e.Effects(f"effect:{concept}", concept, effects)


def _curve(layer: str, kind: e.Kind) -> e.Curve:
    falling = tuple(0.9 ** (n + 1) for n in range(CONCEPTS + 1))
    courses = tuple(
        e.Course(order, 1, (), falling, tuple(12 * p for p in falling), 0.5, 6.0)
        for order in e.ORDERS
    )
    return e.Curve(f"curve:{layer}:{kind}", layer, kind, courses)
