"""Evidence drawn by hypothesis: anything that could be measured, and much that never is."""

from hypothesis import strategies as st

from atlas.store import STATES
from atlas.store.counterfactual import (
    ConceptChanges,
    ConceptStep,
    Counterfactual,
    SourcePicture,
)
from atlas.store.evidence import (
    KINDS,
    ORDERS,
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
    Target,
    Together,
)

NAMES = st.sampled_from([
    None, "fur", "ears", "fur", "a “quoted” name", "two\nlines", "31 %", "{before}", "not", "x y z",
    "thin white horizontal stripes on a dark ground",
])  # fmt: skip
CLASSES = [
    "tabby cat", "tiger", "great white shark, white shark, man-eater", "tabby cat", "{class}",
    "“odd”",
]  # fmt: skip
PLACES = st.sampled_from(["all over", "centre", "upper left", "bottom", "right"])
UNIT = st.one_of(
    st.floats(0, 1), st.sampled_from([0.0, 1.0, 0.5, 0.2, 0.8, 0.99999, 1e-9, 0.4999, 0.00051])
)
NUMBER = st.one_of(st.floats(-50, 50), st.sampled_from([0.0, 1e-12, -1e-7, 12.34]))
SHARE = st.one_of(st.floats(-1, 1), st.sampled_from([0.3, -0.3, 1.0, -1e-6]))
TIED = st.sampled_from([1, 1, 1, 2, 3, 240])
"""How many classes have a logit alike."""
OWN = SHARE.filter(lambda share: abs(share) > 1e-9)
"""Of a concept: what has no relevance is none."""


@st.composite
def evidences(draw) -> Evidence:
    """Draw evidence whose parts fit together; its numbers need not."""
    guesses = _guesses(draw)
    target = draw(st.sampled_from(guesses))
    layers, concepts = [], []
    for depth in range(draw(st.integers(1, 3))):
        host = f"features.{3 * depth}"
        names = draw(st.sampled_from([[host], [host], [f"{host}/nmf9"], [f"{host}/nmf9", host]]))
        for name in names:
            chosen = draw(st.integers(0, 5))
            own = (draw(UNIT), draw(NUMBER), draw(NUMBER), chosen, draw(UNIT))
            held = () if name == host else (host, draw(UNIT), draw(st.one_of(st.none(), UNIT)), 96)
            layers.append(LayerEvidence(
                f"layer:{name}", name, chosen + draw(st.integers(0, 9)), *own, *held
            ))  # fmt: skip
            for rank in range(1, chosen + 1):
                concepts.append(_concept(draw, f"c{len(concepts) + 1}", name, rank))
    ids = [one.id for one in concepts]
    calm = guesses[0] if draw(st.booleans()) else None  # nothing changes the answer
    pairs = [(a, b) for n, a in enumerate(ids) for b in ids[n + 1 :]]
    overlaps = [Overlap(f"overlap:{a}:{b}", a, b, draw(UNIT)) for a, b in pairs]
    both = draw(st.lists(st.sampled_from(pairs), max_size=2, unique=True)) if pairs else []
    return Evidence(
        version=VERSION, id="cat-00000000", atlas="net-data-00000000", named=draw(st.booleans()),
        picture=Picture("cat.jpg", "0" * 64, 640, 480, 224), prediction=tuple(guesses),
        target=Target(target.label, target.name, target.rank, target.probability, target.logit,
                      target.tied, draw(st.sampled_from(["predicted", "asked"]))),
        layers=tuple(layers), concepts=tuple(concepts), overlaps=tuple(overlaps),
        flow=tuple(_flow(draw, one, layers) for one in concepts if draw(st.booleans())),
        effects=tuple(_effects(draw, one, calm) for one in concepts),
        curves=tuple(_curve(draw, one) for one in layers if one.chosen),
        context=tuple(
            Context(f"context:{one.id}", one.id, draw(st.sampled_from([True, False, None])),
                    draw(st.sampled_from(["", "two ears", "a “dog”"])), "some-vlm")
            for one in concepts if draw(st.booleans())
        ),
        contrast=_contrast(draw, layers[-1], guesses, target.label),
        together=tuple(
            Together(f"together:{a}:{b}", a, b, draw(UNIT), draw(NUMBER), *_class(draw))
            for a, b in both
        ),
        truth=draw(st.sampled_from([None, *guesses])),
        counterfactual=draw(st.one_of(
            st.none(), counterfactuals(layers[-1].layer, concepts, guesses[0].label)
        )) if guesses[0].tied == 1 else None,
    )  # fmt: skip


@st.composite
def counterfactuals(draw, layer: str, concepts: list[Concept], answer: int) -> Counterfactual:
    """Draw what it would take for another answer: found or not, and by many steps too."""
    label = draw(st.sampled_from([n for n in range(len(CLASSES)) if n != answer]))
    leave = _changes(draw, "leave", layer, concepts, lambda last: last != (answer, 1), answer)
    become = _changes(draw, "become", layer, concepts, lambda last: last == (label, 1), answer)
    source = SourcePicture(draw(st.integers(0, 4000)), "a/b.png", 1, -2)
    copied = (become, source) if draw(st.booleans()) else (None, None)
    return Counterfactual(
        "counterfactual", layer, label, CLASSES[label], draw(UNIT), leave, *copied, 4
    )


def _changes(draw, id_: str, layer: str, concepts, done, answer: int) -> ConceptChanges:
    known = {one.address: one for one in concepts}
    channels = draw(st.lists(st.integers(10, 59), min_size=1, max_size=12, unique=True))
    own = [one.channel for one in concepts if one.layer == layer]
    channels = list(dict.fromkeys([*(own[:1] if draw(st.booleans()) else []), *channels]))[:12]
    ends = [(n, 1) for n in range(len(CLASSES)) if done((n, 1))]
    last = draw(st.sampled_from([*ends, (answer, 1), (answer, 3), ((answer + 1) % 6, 8)]))
    steps = []
    for n, channel in enumerate(channels, 1):
        address = f"{layer}:{channel}"
        one = known.get(address)
        label, tied = last if n == len(channels) else (answer, 1)
        steps.append(ConceptStep(
            address, layer, channel, one.name if one else draw(NAMES), one and one.id,
            draw(UNIT), draw(UNIT), label, CLASSES[label], tied,
        ))  # fmt: skip
    reached = done(last)
    fewest = reached and draw(st.booleans())
    more = draw(st.integers(0, 20))
    return ConceptChanges(id_, tuple(steps), len(steps), reached, fewest, len(steps) + more, 99)


def _guesses(draw) -> list[Guess]:
    count = draw(st.integers(1, 5))
    chances = sorted((draw(UNIT) for _ in range(count)), reverse=True)
    logits = sorted((draw(NUMBER) for _ in range(count)), reverse=True)
    labels = draw(st.permutations(range(len(CLASSES))))
    found: list[Guess] = []
    while len(found) < count:
        n, tied = len(found), draw(TIED)
        found += [
            Guess(label, CLASSES[label], n + 1, chances[n], logits[n], tied)
            for label in labels[n : min(n + tied, count)]
        ]
    return found


def _class(draw) -> tuple[int, str, int]:
    label = draw(st.integers(0, len(CLASSES) - 1))
    return label, CLASSES[label], draw(TIED)


def _concept(draw, id_: str, layer: str, rank: int) -> Concept:
    channel = 10 * rank + draw(st.integers(0, 9))
    share, usual = draw(OWN), draw(st.one_of(st.none(), SHARE))
    typical = None if usual is None else share * usual > 0 and abs(usual) >= abs(share) / 3
    name = draw(NAMES)
    return Concept(
        id_, f"{layer}:{channel}", layer, channel, rank, name, None,
        draw(st.one_of(st.none(), UNIT)) if name else None, "for" if share > 0 else "against",
        draw(NUMBER), share, usual, 50, typical, None, None, (3, 4), (0, 0, 60, 60),
        Region(draw(PLACES), draw(UNIT), (10, 10, 60, 60)), f"{id_}.webp",
        draw(st.sampled_from([None, *STATES])) if name else None,
    )  # fmt: skip


def _effects(draw, one: Concept, calm: Guess | None) -> Effects:
    kinds = KINDS if draw(st.booleans()) else ("zero", "blur")
    effects = []
    for kind in kinds:
        answer = (calm.label, calm.name, calm.tied) if calm else _class(draw)
        chance = st.one_of(UNIT, st.just(calm.probability)) if calm else UNIT
        effects.append(Effect(kind, draw(chance), draw(NUMBER), *answer))
    return Effects(f"effect:{one.id}", one.id, tuple(effects))


def _flow(draw, one: Concept, layers: list[LayerEvidence]) -> Flow:
    layer = layers[0].layer
    feeds = tuple(
        Feed(f"{layer}:{channel}", layer, channel, draw(NAMES), None, draw(SHARE))
        for channel in range(draw(st.integers(0, 3)))
    )
    return Flow(f"flow:{one.id}", one.id, layer, feeds)


def _curve(draw, layer: LayerEvidence) -> Curve:
    courses = []
    for order in ORDERS:
        logits = tuple(draw(NUMBER) for _ in range(layer.chosen + 1))
        draws = 5 if order == "random" else 1
        courses.append(Course(order, draws, (), logits, logits, draw(UNIT), draw(NUMBER)))
    return Curve(f"curve:{layer.layer}:zero", layer.layer, "zero", tuple(courses))


def _contrast(draw, layer: LayerEvidence, guesses: list[Guess], target: int) -> Contrast | None:
    others = [one for one in guesses if one.label != target]
    if not others or draw(st.booleans()):
        return None
    differences = [
        Difference(f"{layer.layer}:{channel}", layer.layer, channel, draw(NAMES), None,
                   draw(NUMBER), draw(NUMBER), draw(NUMBER))
        for channel in range(draw(st.integers(0, 3)))
    ]  # fmt: skip
    differences.sort(key=lambda one: -abs(one.relevance - one.other_relevance))
    other = others[0]
    return Contrast("contrast", other.label, other.name, other.probability, other.logit,
                    draw(NUMBER), tuple(differences))  # fmt: skip
