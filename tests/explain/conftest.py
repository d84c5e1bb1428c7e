"""Evidence made by hand, small enough to see what is true of it."""

import shutil
from pathlib import Path

import pytest

from atlas import pipeline, site
from atlas.recipe import recorded
from atlas.store import Store, open_store
from atlas.store.evidence import (
    VERSION,
    Concept,
    Context,
    Contrast,
    Course,
    Curve,
    Difference,
    Effect,
    Effects,
    Evidence,
    Feed,
    Flow,
    Guess,
    LayerEvidence,
    Overlap,
    Picture,
    Region,
    Standing,
    Target,
    Together,
)

PICTURE = Picture("cat.jpg", "0" * 64, 640, 480, 224)
GUESSES = (
    Guess(0, "tabby cat", 1, 0.931, 12.34, 1),
    Guess(1, "tiger", 2, 0.0412, 9.22, 1),
    Guess(2, "sofa", 3, 0.0101, 7.8, 1),
)


def concept(id_, layer, channel, rank, name, share, usual, where, **changes):
    values = {
        "id": id_, "address": f"{layer}:{channel}", "layer": layer, "channel": channel,
        "rank": rank, "name": name, "description": None, "score": 0.91, "state": name and "tested",
        "direction": "for" if share > 0 else "against", "relevance": share * 20, "share": share,
        "usual": usual, "usual_pictures": 50,
        "typical": share * usual > 0 and abs(usual) >= abs(share) / 3,
        "activation": Standing(8.1, 12, 1000, 98.8, True),
        "relevance_standing": Standing(share, 31, 1000, 96.9, True),
        "peak": (3, 4), "field": (0, 0, 60, 60), "region": Region(where, 0.083, (10, 10, 60, 60)),
        "map": f"{id_}.webp",
    }  # fmt: skip
    return Concept(**{**values, **changes})


def effects(id_, zero, mean, blur):
    rows = zip(("zero", "mean", "blur"), (zero, mean, blur), strict=True)
    return Effects(
        f"effect:{id_}", id_,
        tuple(
            Effect(kind, p, logit, label, GUESSES[label].name, 1)
            for kind, (p, logit, label) in rows
        ),
    )  # fmt: skip


def course(order, draws, taken, probability, logit, area_probability, area_logit):
    return Course(order, draws, taken, probability, logit, area_probability, area_logit)


EVIDENCE = Evidence(
    version=VERSION,
    id="cat-00000000",
    atlas="net-data-00000000",
    named=True,
    picture=PICTURE,
    prediction=GUESSES,
    target=Target(0, "tabby cat", 1, 0.931, 12.34, 1, "predicted"),
    layers=(
        LayerEvidence("layer:features.10", "features.10", 256, 20.0, 11.0, 0.891, 2, 0.312),
        LayerEvidence("layer:features.28", "features.28", 512, 20.0, 12.0, 0.972, 4, 0.634),
    ),
    concepts=(
        concept("c1", "features.10", 7, 1, "stripes", 0.19, 0.21, "centre"),
        concept("c2", "features.10", 40, 2, None, 0.122, 0.1, "upper right"),
        concept("c3", "features.28", 79, 1, "pointed ears", 0.312, 0.281, "upper left"),
        concept("c4", "features.28", 12, 2, "fur", 0.153, 0.03, "all over"),
        concept("c5", "features.28", 301, 3, "cushion", -0.0949, -0.0051, "bottom"),
        concept("c6", "features.28", 5, 4, "whiskers", 0.0741, 0.07, "left"),
    ),
    overlaps=(Overlap("overlap:c3:c6", "c3", "c6", 0.27),),
    flow=(
        Flow("flow:c3", "c3", "features.10", (
            Feed("features.10:7", "features.10", 7, "stripes", "c1", 0.24),
            Feed("features.10:99", "features.10", 99, "edges", None, 0.11),
        )),
    ),
    effects=(
        effects("c1", (0.902, 11.8, 0), (0.91, 11.9, 0), (0.85, 11.0, 0)),
        effects("c2", (0.924, 12.1, 0), (0.93, 12.2, 0), (0.9, 11.5, 0)),
        effects("c3", (0.412, 9.31, 1), (0.55, 9.9, 0), (0.3, 8.4, 1)),
        effects("c4", (0.871, 11.2, 0), (0.88, 11.4, 0), (0.7, 10.2, 0)),
        effects("c5", (0.965, 13.2, 0), (0.95, 12.9, 0), (0.94, 12.5, 0)),
        effects("c6", (0.928, 12.2, 0), (0.93, 12.3, 0), (0.9, 11.9, 0)),
    ),
    curves=(
        Curve("curve:features.28:zero", "features.28", "zero", (
            course("relevance", 1, ("features.28:79",), (0.93, 0.41, 0.2, 0.1, 0.05),
                   (12.34, 9.3, 7.0, 5.1, 4.2), 0.3, 6.98),
            course("activation", 1, ("features.28:5",), (0.93, 0.9, 0.8, 0.7, 0.6),
                   (12.34, 12.0, 11.0, 10.1, 9.8), 0.79, 10.8),
            course("reverse", 1, ("features.28:301",), (0.93, 0.97, 0.97, 0.97, 0.98),
                   (12.34, 13.2, 13.4, 13.5, 13.6), 0.96, 13.3),
            course("random", 5, (), (0.93, 0.92, 0.91, 0.9, 0.89),
                   (12.34, 12.3, 12.1, 12.0, 11.9), 0.91, 12.1),
        )),
    ),
    context=(Context("context:c3", "c3", True, "two ears against the sofa", "some-vlm"),),
    together=(Together("together:c3:c6", "c3", "c6", 0.35, 9.0, 1, "tiger", 1),),
    contrast=Contrast("contrast", 1, "tiger", 0.0412, 9.22, 3.12, (
        Difference("features.28:79", "features.28", 79, "pointed ears", "c3", 6.24, 1.1, -0.4),
        Difference("features.28:301", "features.28", 301, "cushion", "c5", -1.9, -0.2, 4.1),
    )),
)  # fmt: skip


@pytest.fixture(scope="session")
def example() -> Evidence:
    """Evidence about a picture of a cat."""
    return EVIDENCE


@pytest.fixture(scope="session")
def named(built, tmp_path_factory) -> Path:
    """A copy of the atlas in which every second channel has a name."""
    root = tmp_path_factory.mktemp("named") / "tiny"
    shutil.copytree(built, root)
    give_names(Store(root))
    return root


def give_names(store: Store) -> None:
    rows = store.table("channels").num_rows
    names = [f"concept {row}" if row % 2 == 0 else None for row in range(rows)]
    store.extend_table(
        "channels",
        {
            "name": names,
            "description": [name and f"It shows {name}." for name in names],
            "score_ap": [0.9 if row % 4 == 0 else 0.4 for row in range(rows)],
        },
    )


@pytest.fixture(scope="session")
def built_pages(named, pictures, tmp_path_factory) -> Path:
    """An atlas with names, three explanations and its site."""
    root = tmp_path_factory.mktemp("pages") / "tiny"
    shutil.copytree(named, root)
    shutil.rmtree(root / "explanations", ignore_errors=True)
    store = open_store(root)
    paths = sorted(pictures.rglob("*.png"))[:3]
    assert len(pipeline.explain(store, recorded(store.manifest()), paths, None).done) == 3
    site.render(store)
    site.build(store)
    return root
