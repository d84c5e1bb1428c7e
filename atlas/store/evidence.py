"""What an explanation rests on: every number, as it stands in evidence.json.

Words, figures and pages are made from this and from nothing else. Each part has an id, by
which a sentence says what it rests on: `prediction`, `target`, `layer:NAME`, `c1`, `c2`, ...
(concepts), `flow:c1`, `effect:c1`, `curve:NAME:KIND`, `overlap:c1:c2`, `context:c1`, `doubt:KIND`.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from atlas.errors import UserError
from atlas.store import files

VERSION = 1

T = TypeVar("T")

Kind = Literal["zero", "mean", "blur"]
KINDS: tuple[Kind, ...] = ("zero", "mean", "blur")
"""Interventions: a channel set to zero, to its mean over the pre-pass, its region blurred."""

Order = Literal["relevance", "activation", "reverse", "random"]
ORDERS: tuple[Order, ...] = ("relevance", "activation", "reverse", "random")

EXPLANATIONS = "explanations"
"""Their directory in that of the atlas."""

FILE = "evidence.json"


@dataclass(frozen=True)
class Picture:
    """The picture that is explained."""

    name: str
    """Of the file."""
    sha256: str
    """Of the file's content."""
    width: int
    height: int
    """In pixels, before it became the network's input."""
    side: int
    """Of the square that the network saw."""


@dataclass(frozen=True)
class Guess:
    """One of the network's answers."""

    label: int
    name: str
    rank: int
    """From 1, the highest logit first."""
    probability: float
    """Softmax over all outputs."""
    logit: float


@dataclass(frozen=True)
class Target(Guess):
    """The output that is explained."""

    chosen: Literal["predicted", "asked"]


@dataclass(frozen=True)
class Layer:
    """A layer as a whole."""

    id: str
    layer: str
    channels: int
    absolute: float
    """Sum over the channels of |relevance|: the denominator of every share of this layer."""
    relevance: float
    """Sum over the channels of relevance; the target's logit, but for biases and stabilisers."""
    conserved: float
    """`relevance` divided by the target's logit."""
    chosen: int
    """How many channels are explained as concepts."""
    coverage: float
    """Their part of `absolute`."""


@dataclass(frozen=True)
class Standing:
    """How a value stands among the pictures of the pre-pass."""

    value: float
    """The channel's score here, by the aggregation and normalisation of the atlas."""
    higher: int
    """How many pictures of the pre-pass scored higher, as far as its references tell."""
    pictures: int
    """Of how many."""
    percentile: float
    """Share of the pictures that did not score higher, 0 to 100 ..."""
    exact: bool
    """... or the most it can be: below the last reference scores are unknown."""


@dataclass(frozen=True)
class Region:
    """Where in the picture a concept's relevance is."""

    where: str
    """`upper left`, ..., `centre`, or `all over`."""
    area: float
    """Share of the picture that holds half of the heat map's mass."""
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 around that, in pixels of the square, half-open."""


@dataclass(frozen=True)
class Concept:
    """A channel that carries relevance for the target."""

    id: str
    address: str
    layer: str
    channel: int
    rank: int
    """By |share| among the layer's channels, from 1."""
    name: str | None
    """None: it has no name, and its address stands for it."""
    description: str | None
    score: float | None
    """How well the name tells the channel's pictures from others (AUPRC), if it was scored."""
    direction: Literal["for", "against"]
    """Whether the relevance for the target is positive."""
    relevance: float
    share: float
    """Of the layer's sum of |relevance|, with its sign."""
    usual: float | None
    """Mean share of this channel over the target class's pictures in the pre-pass."""
    usual_pictures: int
    """How many those were."""
    typical: bool | None
    """Whether the usual share has the same sign and at least a third of the size."""
    activation: Standing | None
    relevance_standing: Standing | None
    peak: tuple[int, int]
    """Row and column of the unit with the highest |relevance|."""
    field: tuple[int, int, int, int]
    """What that unit can see: x0, y0, x1, y1 in pixels of the square, half-open."""
    region: Region
    map: str
    """File of the heat map."""


@dataclass(frozen=True)
class Overlap:
    """How much of two concepts' heat maps lies at the same places, 0 to 1."""

    id: str
    first: str
    second: str
    overlap: float


@dataclass(frozen=True)
class Feed:
    """A lower channel through which a concept's relevance comes."""

    address: str
    layer: str
    channel: int
    name: str | None
    concept: str | None
    """Its id, if it is one of the concepts."""
    share: float
    """Of the lower layer's sum of |relevance conditioned on the concept|, with its sign."""


@dataclass(frozen=True)
class Flow:
    """What feeds a concept."""

    id: str
    concept: str
    layer: str
    """The lower layer."""
    feeds: tuple[Feed, ...]


@dataclass(frozen=True)
class Effect:
    """What happens to the target when one concept is taken away."""

    kind: Kind
    probability: float
    logit: float
    answer: int
    """The class that the network then gives the highest logit ..."""
    answer_name: str
    """... and its name."""


@dataclass(frozen=True)
class Effects:
    """The effects of taking away one concept, by each kind of intervention."""

    id: str
    concept: str
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class Course:
    """The target while channels of a layer are taken away one after another."""

    order: Order
    draws: int
    """Random orders that the values are means of; 1 for the others."""
    taken: tuple[str, ...]
    """Addresses in their order; empty for random orders."""
    probability: tuple[float, ...]
    """Before the first step and after each."""
    logit: tuple[float, ...]
    area_probability: float
    """Mean over the steps (trapezia): the lower, the sooner what matters was gone."""
    area_logit: float


@dataclass(frozen=True)
class Curve:
    """An intervention on one layer, in several orders."""

    id: str
    layer: str
    kind: Kind
    courses: tuple[Course, ...]


@dataclass(frozen=True)
class Context:
    """What a vision-language model says of a concept in this picture. Not measured."""

    id: str
    concept: str
    shows: bool | None
    """None: the answer was neither yes nor no."""
    text: str
    by: str


@dataclass(frozen=True)
class Doubt:
    """Something to be careful about."""

    id: str
    text: str


@dataclass(frozen=True)
class Evidence:
    """All of it."""

    version: int
    id: str
    atlas: str
    named: bool
    """Whether any channel of the atlas has a name; otherwise addresses stand for them."""
    picture: Picture
    prediction: tuple[Guess, ...]
    target: Target
    layers: tuple[Layer, ...]
    concepts: tuple[Concept, ...]
    overlaps: tuple[Overlap, ...]
    flow: tuple[Flow, ...]
    effects: tuple[Effects, ...]
    curves: tuple[Curve, ...]
    context: tuple[Context, ...]
    doubts: tuple[Doubt, ...]

    def concept(self, id_: str) -> Concept:
        """Return the concept with this id."""
        return next(concept for concept in self.concepts if concept.id == id_)

    def effect(self, concept: str, kind: Kind) -> Effect:
        """Return the effect of taking away one concept."""
        found = next(one for one in self.effects if one.concept == concept)
        return next(effect for effect in found.effects if effect.kind == kind)

    @property
    def ids(self) -> frozenset[str]:
        """Everything that a sentence can rest on."""
        parts = (self.layers, self.concepts, self.overlaps, self.flow, self.effects, self.curves)
        named = {item.id for part in (*parts, self.context, self.doubts) for item in part}
        return frozenset(named | {"prediction", "target"})


_ADAPTER = TypeAdapter(Evidence)


def write(evidence: Evidence, folder: Path) -> None:
    """Write evidence.json; numbers have six significant digits."""
    files.write_text(folder / FILE, dumps(asdict(evidence)))


def dumps(value: Any) -> str:
    """Return a JSON value as indented text; a number that is none becomes null."""
    return json.dumps(json_ready(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read(folder: Path) -> Evidence:
    """Read evidence.json.

    Raises
    ------
    UserError
        It is missing or is not what `write` writes.
    """
    return parsed(_ADAPTER, folder / FILE)


def parsed(adapter: TypeAdapter[T], path: Path) -> T:
    """Return what a JSON file of an explanation says; see `read` for errors."""
    try:
        return adapter.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"{path} cannot be read: explain the picture again") from error


def rounded(value: float) -> float:
    """Return `value` with six significant digits, as evidence.json has it."""
    return float(f"{value:.6g}")


def json_ready(value: Any) -> Any:
    """Return nested values with rounded numbers; what is not finite becomes None."""
    if isinstance(value, dict):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    if isinstance(value, float):
        return rounded(value) if math.isfinite(value) else None
    return value
