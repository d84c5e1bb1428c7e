"""audit.json: how far maps of what an answer rests on hold, measured on an atlas's own pictures.

It is no part of what decides the atlas id. Its own SHA-256 stands in it, of all that it says.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from atlas.errors import UserError
from atlas.store import files
from atlas.store.evidence import dumps, json_ready, parsed

VERSION = 1
FILE = "audit.json"

Measure = Literal["mass", "rank", "deletion", "insertion", "infidelity", "sensitivity"]
Better = Literal["lower", "higher"]

_Number = Annotated[float, Field(ge=-1e30, le=1e30)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=0, lt=1 << 53)]
_Text = Annotated[str, Field(max_length=300)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class MeasureFacts:
    """How a measure is read."""

    better: Better
    """Which end is the good one."""
    low: float
    """The least that it can be."""
    high: float | None
    """The most; None where there is no end."""


MEASURES: Mapping[Measure, MeasureFacts] = {
    "mass": MeasureFacts("higher", 0.0, 1.0),
    "rank": MeasureFacts("higher", 0.0, 1.0),
    "deletion": MeasureFacts("lower", 0.0, 1.0),
    "insertion": MeasureFacts("higher", 0.0, 1.0),
    "infidelity": MeasureFacts("lower", 0.0, 1.0),
    "sensitivity": MeasureFacts("lower", 0.0, None),
}
"""The measures in the order in which they are shown."""

TITLES: Mapping[str, str] = {
    "lrp": "LRP (relevance, as the atlas has it)",
    "factors": "Factors (the relevance that is in them)",
    "sobol": "Sobol attribution",
    "grad-cam": "Grad-CAM",
    "grad-cam++": "Grad-CAM++",
    "smooth-grad-cam++": "Smooth Grad-CAM++",
    "integrated-gradients": "Integrated gradients",
    "occlusion": "Occlusion",
    "random": "Control: noise",
    "centre": "Control: the centre",
    "edges": "Control: edges of the picture",
}
"""The maps, in the order in which they are shown."""


@dataclass(frozen=True)
class Figure:
    """One measure of one map."""

    map: str
    measure: Measure
    mean: _Number
    """Over the pictures."""
    low: _Number | None
    """Ends of the 95 % interval of the mean; None where the pictures are too few for one."""
    high: _Number | None
    pictures: _Count
    """How many it was measured on."""


@dataclass(frozen=True)
class Audit:
    """audit.json."""

    version: int
    atlas: _Text
    """Id of the atlas."""
    sha256: _Sha256
    """Digest of all else."""
    pictures: tuple[_Count, ...]
    """Rows of images.parquet."""
    seed: _Count
    composite: _Text | None
    """The rules of relevance; None where it could not be had."""
    cam_layer: _Text | None
    """The layer of Grad-CAM and its variants."""
    object_share: _Share | None
    """Mean share of a picture that its object covers; None where no truth is known."""
    measures: Mapping[Measure, MeasureFacts]
    """How the measures are read."""
    figures: tuple[Figure, ...]
    """By map, and by measure."""
    left_out: tuple[_Text, ...]
    """What could not be measured, and why."""

    def figure(self, map_: str, measure: Measure) -> Figure | None:
        """Return one figure; None where it was not measured."""
        found = (one for one in self.figures if (one.map, one.measure) == (map_, measure))
        return next(found, None)

    @property
    def maps(self) -> tuple[str, ...]:
        """The maps that were measured, in their order."""
        return tuple(dict.fromkeys(one.map for one in self.figures))

    @property
    def measured(self) -> tuple[Measure, ...]:
        """The measures, in their order."""
        return tuple(name for name in MEASURES if any(one.measure == name for one in self.figures))


_ADAPTER = TypeAdapter(Audit)


def sealed(audit: Audit) -> Audit:
    """Return an audit with the digest of what it says."""
    return replace(audit, sha256=_digest(audit))


def as_json(audit: Audit) -> dict[str, Any]:
    """Return an audit as JSON has it."""
    ready: dict[str, Any] = json_ready(asdict(audit))
    return ready


def text(audit: Audit) -> str:
    """Return what stands in audit.json."""
    return dumps(asdict(audit))


def write(audit: Audit, root: Path) -> None:
    """Write audit.json whole."""
    files.write_text(root / FILE, text(audit))


def read(root: Path) -> Audit | None:
    """Read the audit of an atlas; None where there is none.

    Raises
    ------
    UserError
        It is not what `write` writes.
    """
    path = root / FILE
    if not path.is_file():
        return None
    try:
        audit = parsed(_ADAPTER, path)
    except UserError as error:
        reason = str(error).removesuffix(": explain the picture again")
        raise UserError(f"{reason}: run `atlas audit` again, or delete it") from error
    if wrong := problem(audit):
        raise UserError(f"{path} {wrong}: run `atlas audit` again, or delete it")
    return audit


def problem(audit: Audit) -> str | None:
    """Return what is wrong with an audit that is well-formed."""
    if audit.version != VERSION:
        return f"has version {audit.version}, not {VERSION}"
    if audit.sha256 != _digest(audit):
        return "has changed since it was written"
    if dict(audit.measures) != dict(MEASURES):
        return "says of a measure what is not so"
    pairs = [(one.map, one.measure) for one in audit.figures]
    if len(set(pairs)) != len(pairs) or not {one.map for one in audit.figures} <= TITLES.keys():
        return "has a figure twice, or of an unknown map"
    return next(filter(None, (_wrong(one, len(audit.pictures)) for one in audit.figures)), None)


def _wrong(one: Figure, pictures: int) -> str | None:
    """Return what is wrong with a figure."""
    facts, where = MEASURES[one.measure], f"({one.map}, {one.measure})"
    ends = [end for end in (one.low, one.mean, one.high) if end is not None]
    if sorted(ends) != ends or ends[0] < facts.low:
        return f"has a figure out of its range {where}"
    if facts.high is not None and ends[-1] > facts.high:
        return f"has a figure out of its range {where}"
    return f"has a figure of too many pictures {where}" if one.pictures > pictures else None


def _digest(audit: Audit) -> str:
    content = {key: value for key, value in as_json(audit).items() if key != "sha256"}
    return files.digest(json.dumps(content, sort_keys=True, ensure_ascii=True).encode())
