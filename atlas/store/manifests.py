"""What stands in manifest.json, as far as readers rely on it.

Other fields may stand there: nobody reads them but people.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict

LAYERS = 100_000

_STRICT = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

_Text = Annotated[str, StringConstraints(max_length=1 << 16)]
_Count = Annotated[int, Field(ge=0, lt=2**62)]
_Side = Annotated[int, Field(ge=1, le=16_383)]
_Step = Annotated[int, Field(ge=-(10**6), le=10**6)]
_Number = Annotated[float, Field(ge=-1e30, le=1e30)]
_Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Two = Annotated[list[_Step], Field(min_length=2, max_length=2)]
_Place = Annotated[float, Field(ge=-1e6, le=1e6)]
_TwoPlaces = Annotated[list[_Place], Field(min_length=2, max_length=2)]
_Sides = _Side | Annotated[list[_Side], Field(min_length=2, max_length=2)]
_Colours = Annotated[list[_Number], Field(min_length=1, max_length=3)]
_Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")]
_Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,200}-[0-9a-f]{8}$")]


class ModelRecord(TypedDict):
    """The network."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    name: _Text
    weights: _Text
    weights_sha256: _Sha256


class DataRecord(TypedDict, total=False):
    """Where the pictures came from; what is not known is null."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    source: _Text
    config: _Text | None
    revision: _Text | None
    split: _Text | None
    fingerprint: _Text | None


class PreprocessingRecord(TypedDict):
    """How a picture became the network's input."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    resize: _Sides | None
    crop: _Sides
    mean: _Colours
    std: _Colours
    interpolation: _Text


class ScoreRecord(TypedDict):
    """The score by which references were chosen, by activation."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    aggregate: Literal["max", "sum"]
    normalize: bool


class RelevanceRecord(ScoreRecord):
    """The score by which references were chosen, by relevance."""

    target: Literal["label", "predicted"]
    composite: _Text


class SkipRecord(TypedDict):
    """A picture that was not read."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    key: _Text
    reason: _Text


class ImagesRecord(TypedDict):
    """How many pictures were measured."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    seen: _Count
    labelled: _Count
    correct: _Count
    skipped: _Count
    skips: list[SkipRecord]
    reasons: NotRequired[dict[_Text, _Count]]
    left_out: NotRequired[dict[_Text, _Count]]


class IndexRecord(TypedDict):
    """The index of patches."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    encoder: _Text
    dimension: Annotated[int, Field(ge=1, le=1 << 20)]
    factory: _Text
    recall_at_10: _Number


class ReceptiveFieldRecord(TypedDict):
    """What a unit of a layer sees."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    size: _TwoPlaces
    stride: _TwoPlaces
    start: _TwoPlaces
    whole: NotRequired[bool]


class CheckRecord(TypedDict):
    """What was looked at before the pass."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    name: _Text
    passed: bool | None
    says: _Text


class ReadRecord(TypedDict):
    """What a layer reads, by its weights."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    inputs: _Count
    left_out: dict[_Text, _Count]
    problem: _Text


class Manifest(TypedDict, total=False):
    """A manifest of an atlas that may not be finished."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    id: _Id
    model: ModelRecord
    data: DataRecord
    preprocessing: PreprocessingRecord
    layers: Annotated[list[_Text], Field(max_length=LAYERS)]
    activation: ScoreRecord
    relevance: RelevanceRecord
    k: Annotated[int, Field(ge=1, le=1 << 20)]
    modes: list[Literal["activation", "relevance"]]
    bands: Annotated[int, Field(ge=0, le=1 << 20)]
    measured: _Day
    maps: dict[str, _Two]
    images: ImagesRecord
    labels: _Text
    checks: list[CheckRecord]
    conservation: dict[str, _Number]
    index: IndexRecord
    receptive_fields: dict[str, ReceptiveFieldRecord]
    depths: dict[str, _Number]
    weights: dict[str, ReadRecord]
    influences: _Text
    recipe: dict[str, Any]
    versions: dict[str, _Text]
    stages: dict[str, _Text]
    files: dict[str, _Text]


FINISHED = (
    "id", "model", "data", "preprocessing", "layers", "activation", "relevance", "k", "images",
    "index", "receptive_fields", "maps",
)  # fmt: skip
"""Fields of an atlas whose stages are done."""

_MANIFEST: TypeAdapter[Any] = TypeAdapter(Manifest)


def finished(manifest: Mapping[str, Any], stages: Sequence[str]) -> bool:
    """Say whether all stages are done."""
    return all(stage in manifest.get("stages", {}) for stage in stages)


def problem(manifest: Mapping[str, Any], stages: Sequence[str]) -> str | None:
    """Return what is wrong with a manifest; None if nothing is.

    Parameters
    ----------
    manifest : mapping
        As it was read.
    stages : sequence of str
        Those of a finished atlas.
    """
    try:
        _MANIFEST.validate_python(manifest)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))[:120]}: {first['msg'][:80]}"
    if finished(manifest, stages):
        missing = [name for name in FINISHED if name not in manifest]
        if missing:
            return f"{missing[0]} is missing"
        if "source" not in manifest["data"]:
            return "data.source is missing"
        layers = manifest["layers"]
        if not layers or len(set(layers)) != len(layers):
            return "layers are none, or one of them twice"
        for name in ("receptive_fields", "maps"):
            if unknown := [layer for layer in layers if layer not in manifest[name]]:
                return f"{name} lacks {unknown[0][:80]}"
    return None
