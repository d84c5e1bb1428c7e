"""What an explanation rests on: every number, as it stands in evidence.json.

Words, figures and pages are made from this and from nothing else. Each part has an id, by
which a sentence says what it rests on: `prediction`, `target`, `layer:NAME`, `c1`, `c2`, ...
(concepts), `flow:c1`, `effect:c1`, `curve:NAME:KIND`, `overlap:c1:c2`, `together:c1:c2`,
`contrast`, `truth`, `context:c1`, and where another class is asked for `counterfactual`, `leave`,
`become`.
"""

import json
import math
import re
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from atlas.errors import UserError, one_line
from atlas.store import bounds, files
from atlas.store.checks import NameState
from atlas.store.counterfactual import ConceptStep, Counterfactual, problem
from atlas.store.fields import Count, Edge, Id, Number, Sha256, Side, Slug, Tied

VERSION = 3
"""Others are refused: what they say could not be checked."""

T = TypeVar("T")

Kind = Literal["zero", "mean", "blur"]
KINDS: tuple[Kind, ...] = ("zero", "mean", "blur")
"""Interventions: a channel set to zero, to its mean over the pre-pass, its region blurred. The
mean is left out where it does what zero does: outputs are taken before the activation function,
and most means are negative there; and of factors."""

Order = Literal["relevance", "activation", "reverse", "random"]
ORDERS: tuple[Order, ...] = ("relevance", "activation", "reverse", "random")

EXPLANATIONS = "explanations"
"""Directory of the explanations in that of the atlas."""

FILE = "evidence.json"


@dataclass(frozen=True)
class Picture:
    """The picture that is explained."""

    name: str
    """Name of the file."""
    sha256: Sha256
    """Digest of the file's content."""
    width: Annotated[int, Field(ge=1, lt=1 << 31)]
    height: Annotated[int, Field(ge=1, lt=1 << 31)]
    """In pixels, before it became the network's input."""
    side: Side | tuple[Side, Side]
    """Side of the square that the network saw, or height and width of what was no square."""

    @property
    def seen(self) -> tuple[int, int]:
        """Width and height of what the network saw."""
        if isinstance(self.side, int):
            return self.side, self.side
        height, width = self.side
        return width, height


@dataclass(frozen=True)
class Guess:
    """One of the network's answers."""

    label: Count
    name: str
    rank: Count
    """Place among the outputs, from 1, the highest logit first; classes that tie share one."""
    probability: Number
    """Softmax over all outputs."""
    logit: Number
    tied: Tied
    """How many classes have this logit, up to rounding. Where that is several for the first place,
    the network cannot decide between them, and which stands first means nothing."""


@dataclass(frozen=True)
class Target(Guess):
    """The output that is explained."""

    chosen: Literal["predicted", "asked"]


@dataclass(frozen=True)
class LayerEvidence:
    """A layer as a whole."""

    id: Id
    layer: str
    channels: Count
    absolute: Number
    """Sum over the channels of |relevance|: the denominator of every share of this layer."""
    relevance: Number
    """Sum over the channels of relevance; the target's logit, but for biases and stabilisers."""
    conserved: Number
    """`relevance` divided by the target's logit."""
    chosen: Count
    """How many channels are explained as concepts."""
    coverage: Number
    """The explained channels' part of `absolute`."""
    of: str | None = None
    """The layer that factors are directions of; None where this is about channels. Factors stand
    wherever this or a `Concept` speaks of channels then."""
    residual: Number | None = None
    """The part of the layer's |relevance|, unit by unit, that no factor holds; None of channels."""
    same_answer: Number | None = None
    """In which part of `tested` pictures of the data the network answers the same from the factors
    alone; None of channels."""
    tested: Count = 0
    basis_sha256: Sha256 | None = None
    """Which factors they are: `atlas.store.bases.Basis.digest`; None of channels. Other factors can
    have the same addresses later."""

    @property
    def host(self) -> str:
        """The layer itself, or the one that factors are of."""
        return self.of or self.layer

    @property
    def parts(self) -> str:
        """What it consists of, in words."""
        return "factors" if self.of else "channels"


@dataclass(frozen=True)
class Standing:
    """How a value stands among the pictures of the pre-pass."""

    value: Number
    """The channel's score here, by the aggregation and normalisation of the atlas."""
    higher: Count
    """How many pictures of the pre-pass scored higher, as far as its references show."""
    pictures: Count
    """How many pictures there were."""
    percentile: Number | None
    """Share of the pictures that did not score higher, 0 to 100; of scores of 0, which all silent
    pictures have, half of the silent ones count. None where it is unknown."""
    exact: bool
    """Whether `higher` is exact; below the last reference it is the least that it can be."""


@dataclass(frozen=True)
class Region:
    """Where in the picture a concept's relevance is."""

    where: str
    """`upper left`, ..., `centre`, or `all over`."""
    area: Number
    """Share of the picture that holds half of the heat map's mass."""
    box: tuple[Edge, Edge, Edge, Edge]
    """x0, y0, x1, y1 around that, in pixels of what the network saw, half-open."""


@dataclass(frozen=True)
class Concept:
    """A channel, or a factor, that carries relevance for the target."""

    id: Id
    address: str
    layer: str
    channel: Count
    rank: Count
    """Place by |share| among the layer's channels, from 1."""
    name: str | None
    """None: it has no name, and its address stands for it."""
    description: str | None
    score: Number | None
    """Average precision of the name over all pictures, if it was scored."""
    direction: Literal["for", "against"]
    """Whether the relevance for the target is positive."""
    relevance: Number
    share: Number
    """Part of the layer's sum of |relevance|, with its sign."""
    usual: Number | None
    """Mean share of this channel over the target class's pictures in the pre-pass."""
    usual_pictures: Count
    """How many those were."""
    typical: bool | None
    """Whether the usual share has the same sign and at least a third of the size."""
    activation: Standing | None
    relevance_standing: Standing | None
    peak: tuple[Count, Count]
    """Row and column of the unit with the highest |relevance|."""
    field: tuple[Edge, Edge, Edge, Edge]
    """What that unit can see: x0, y0, x1, y1 in pixels of what the network saw, half-open."""
    region: Region
    map: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,20}\.webp$")]
    """File of the heat map."""
    state: NameState | None = None
    """How far the name can be relied on; None without one, and in older files."""


@dataclass(frozen=True)
class Overlap:
    """How much of two concepts' heat maps lies at the same places, 0 to 1."""

    id: Id
    first: str
    second: str
    overlap: Number


@dataclass(frozen=True)
class Feed:
    """A lower channel through which a concept's relevance comes."""

    address: str
    layer: str
    channel: Count
    name: str | None
    concept: str | None
    """Its id, if it is one of the concepts."""
    share: Number
    """Part of the lower layer's sum of |relevance conditioned on the concept|, with its sign."""


@dataclass(frozen=True)
class Flow:
    """What feeds a concept."""

    id: Id
    concept: str
    layer: str
    """The lower layer."""
    feeds: tuple[Feed, ...]


@dataclass(frozen=True)
class Effect:
    """What happens to the target when one concept is taken away."""

    kind: Kind
    probability: Number
    logit: Number
    answer: Count
    """The class that the network then gives the highest logit; of several that tie for it the one
    that stands first without the change, or else the one with the lowest number."""
    answer_name: str
    """Name of the class `answer`."""
    tied: Tied
    """How many classes then have the highest logit, up to rounding. Where they are several, none
    is the answer: the network cannot decide between them."""


@dataclass(frozen=True)
class Effects:
    """The effects of taking away one concept, by each kind of intervention."""

    id: Id
    concept: str
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class Together:
    """What happens to the target when two concepts that lie at the same places go together."""

    id: Id
    first: str
    second: str
    """Ids of concepts."""
    probability: Number
    logit: Number
    answer: Count
    answer_name: str
    tied: Tied
    """As in `Effect`; both channels are set to zero."""


@dataclass(frozen=True)
class Difference:
    """What one channel of the last layer does for the target and for another class."""

    address: str
    layer: str
    channel: Count
    name: str | None
    concept: str | None
    """Its id, if it is one of the concepts."""
    relevance: Number
    """For the target: its logit, redistributed."""
    other_relevance: Number
    """For the other class, likewise."""
    margin: Number
    """Target's logit minus the other's, with the channel set to zero; 0 where they tie."""


@dataclass(frozen=True)
class Contrast:
    """Why this class and not another that is asked for, or else the network's best other one."""

    id: Id
    label: Count
    name: str
    probability: Number
    logit: Number
    """Logit of the other class."""
    margin: Number
    """Target's logit minus the other's; 0 where they tie."""
    differences: tuple[Difference, ...]
    """By falling |relevance for the target minus relevance for the other|."""


@dataclass(frozen=True)
class Course:
    """The target while channels of a layer are taken away one after another."""

    order: Order
    draws: Count
    """Random orders that the values are means of; 1 for the others."""
    taken: tuple[str, ...]
    """Addresses in their order; empty for random orders."""
    probability: tuple[Number, ...]
    """Before the first step and after each."""
    logit: tuple[Number, ...]
    area_probability: Number
    """Mean over the steps (trapezia): the lower, the sooner what matters was gone."""
    area_logit: Number


@dataclass(frozen=True)
class Curve:
    """An intervention on one layer, in several orders."""

    id: Id
    layer: str
    kind: Kind
    courses: tuple[Course, ...]


@dataclass(frozen=True)
class Context:
    """What a vision-language model says of a concept in this picture. Not measured."""

    id: Id
    concept: str
    shows: bool | None
    """None: the answer was neither yes nor no."""
    text: str
    by: str


@dataclass(frozen=True)
class Evidence:
    """All of it."""

    version: Count
    id: Slug
    atlas: str
    named: bool
    """Whether any channel of the atlas has a name; otherwise addresses stand for them."""
    picture: Picture
    prediction: tuple[Guess, ...]
    target: Target
    layers: tuple[LayerEvidence, ...]
    concepts: tuple[Concept, ...]
    overlaps: tuple[Overlap, ...]
    flow: tuple[Flow, ...]
    effects: tuple[Effects, ...]
    curves: tuple[Curve, ...]
    context: tuple[Context, ...]
    contrast: Contrast | None = None
    """None where the network has one answer, or no layer has relevance."""
    together: tuple[Together, ...] = ()
    truth: Guess | None = None
    """What the picture shows by the label that its data gives it; None where that is not known."""
    counterfactual: Counterfactual | None = None
    """What it would take for the answer to be a class that is asked for; None where none is."""

    def concept(self, id_: str) -> Concept:
        """Return the concept with this id."""
        return next(concept for concept in self.concepts if concept.id == id_)

    def effect(self, concept: str, kind: Kind) -> Effect:
        """Return the effect of taking away one concept, by `zero` or `blur`."""
        found = next(one for one in self.effects if one.concept == concept)
        return next(effect for effect in found.effects if effect.kind == kind)

    @property
    def undecided(self) -> bool:
        """Whether several classes tie for the answer, so that there is none."""
        return self.prediction[0].tied > 1

    def changed(self, then: "Effect | Together | ConceptStep") -> bool:
        """Return whether the answer is another one then, or there is none where there was one."""
        first = self.prediction[0]
        return (then.answer, then.tied) != (first.label, first.tied)

    @property
    def ids(self) -> frozenset[str]:
        """Everything that a sentence can rest on."""
        parts = (self.layers, self.concepts, self.overlaps, self.flow, self.effects, self.curves)
        named = {item.id for part in (*parts, self.context, self.together) for item in part}
        contrast = {self.contrast.id} if self.contrast else set()
        truth = {"truth"} if self.truth else set()
        other = self.counterfactual
        asked = {other.id, *(change.id for change in other.changes)} if other else set()
        return frozenset(named | contrast | truth | asked | {"prediction", "target"})

    @property
    def feeds(self) -> list[Feed]:
        """The channels that feed concepts."""
        return [feed for flow in self.flow for feed in flow.feeds]

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The channels that speak for one of two classes."""
        return self.contrast.differences if self.contrast else ()

    @property
    def addressed(self) -> list[Concept | Feed | Difference | ConceptStep]:
        """All parts that are about one channel or factor."""
        steps = self.counterfactual.steps if self.counterfactual else ()
        return [*self.concepts, *self.feeds, *self.differences, *steps]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Layers and channels that it speaks of."""
        return [(one.layer, one.channel) for one in self.addressed]

    @property
    def classes(self) -> set[tuple[int, str]]:
        """Numbers and names of the classes that it speaks of."""
        parts = (*self.prediction, self.target, self.truth, self.contrast, self.counterfactual)
        found = {(one.label, one.name) for one in parts if one is not None}
        effects = (one for own in self.effects for one in own.effects)
        steps = self.counterfactual.steps if self.counterfactual else ()
        changed = (*effects, *self.together, *steps)
        return found | {(one.answer, one.answer_name) for one in changed}

    @property
    def last(self) -> LayerEvidence | None:
        """The layer nearest to the answer."""
        return self.layers[-1] if self.layers else None

    def layer(self, name: str) -> LayerEvidence:
        """Return a layer, or a set of factors, by its name."""
        return next(one for one in self.layers if one.layer == name)

    def of_others(self, known: Mapping[str, str]) -> str | None:
        """Return a set of factors that is not the one of its name with this digest, if any."""
        strange = (one.layer for one in self.layers if one.basis_sha256 != known.get(one.layer))
        return next(strange, None)

    def of_layer(self, layer: str) -> list[Concept]:
        """Return the concepts of a layer, by falling |share|."""
        return [one for one in self.concepts if one.layer == layer]


_ADAPTER = TypeAdapter(Evidence)


def write(evidence: Evidence, folder: Path) -> None:
    """Write evidence.json; numbers have six significant digits."""
    files.write_text(folder / FILE, dumps(asdict(evidence)))


def dumps(value: Any) -> str:
    """Return a JSON value as indented text; a number that is none becomes null."""
    return json.dumps(json_ready(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def folders(root: Path) -> list[Path]:
    """Return the folders of the explanations of an atlas, in order."""
    place = root / EXPLANATIONS
    found = place.iterdir() if place.is_dir() else ()
    return sorted(one for one in found if one.is_dir() and re.fullmatch(r"[a-z0-9-]+", one.name))


def read(folder: Path) -> Evidence:
    """Read evidence.json.

    Raises
    ------
    UserError
        It is missing or is not what `write` writes.
    """
    path = folder / FILE
    evidence = parsed(_ADAPTER, path)
    if evidence.version != VERSION:
        raise UserError(
            f"{path} is of version {evidence.version}, not {VERSION}: explain the picture again"
        )
    if wrong := _wrong(evidence):
        raise UserError(f"{path} does not fit together ({wrong}): explain the picture again")
    return evidence


def _wrong(evidence: Evidence) -> str | None:
    """Return what in the parts of evidence leads nowhere."""
    concepts = {concept.id: concept.address for concept in evidence.concepts}
    layers = {layer.layer: layer.channels for layer in evidence.layers}
    if len(concepts) != len(evidence.concepts) or len(layers) != len(evidence.layers):
        return "two parts have one id"
    named = [
        *(id_ for pair in evidence.overlaps for id_ in (pair.first, pair.second)),
        *(flow.concept for flow in evidence.flow),
        *(effects.concept for effects in evidence.effects),
        *(context.concept for context in evidence.context),
        *(id_ for pair in evidence.together for id_ in (pair.first, pair.second)),
        *(one.concept for one in evidence.differences if one.concept is not None),
        *(feed.concept for feed in evidence.feeds if feed.concept is not None),
    ]
    if unknown := [id_ for id_ in named if id_ not in concepts]:
        return f"there is no concept {unknown[0][:40]!r}"
    at = [
        *(concept.layer for concept in evidence.concepts),
        *(flow.layer for flow in evidence.flow),
        *(curve.layer for curve in evidence.curves),
        *(feed.layer for feed in evidence.feeds),
        *(one.layer for one in evidence.differences),
    ]
    if unknown := [layer for layer in at if layer not in layers]:
        return f"there is no layer {unknown[0][:40]!r}"
    other = evidence.counterfactual
    if not evidence.prediction or (other is not None and evidence.undecided):
        return "there is no answer"
    if wrong := _wrong_addresses(evidence):
        return wrong
    astray = problem(other, evidence.prediction[0].label, concepts, layers) if other else None
    return astray or _wrong_tests(evidence, concepts.keys())


def _wrong_addresses(evidence: Evidence) -> str | None:
    for one in evidence.addressed:
        if one.address != f"{one.layer}:{one.channel}":
            return f"{one.address[:40]!r} is not the address of {one.layer[:40]}:{one.channel}"
    return None


def _wrong_tests(evidence: Evidence, concepts: Set[str]) -> str | None:
    """Return which intervention or course is missing."""
    tested = {one.concept: {effect.kind for effect in one.effects} for one in evidence.effects}
    if unknown := [id_ for id_ in concepts if not {"zero", "blur"} <= tested.get(id_, set())]:
        return f"it does not say what each intervention on {min(unknown)[:40]} does"
    for curve in evidence.curves:
        lengths = {len(course.logit) for course in curve.courses}
        lengths |= {len(course.probability) for course in curve.courses}
        if len(lengths) != 1 or 0 in lengths:
            return f"{curve.id[:40]} has courses of several lengths"
    return None


def parsed(adapter: TypeAdapter[T], path: Path) -> T:
    """Return what a JSON file of an explanation says; see `read` for errors."""
    try:
        return adapter.validate_python(bounds.read_json(path))
    except (OSError, ValueError, RecursionError) as error:
        reason = one_line(error)
        if isinstance(error, ValidationError):
            where = ".".join(map(str, error.errors()[0]["loc"]))
            reason = f"{where}: {error.errors()[0]['msg']}"
        raise UserError(
            f"{path} cannot be read ({reason[:200]}): explain the picture again"
        ) from error


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
