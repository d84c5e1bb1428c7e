"""scores.jsonl: every test of a name that was ever done; it only grows.

There are two tests. `SIDES` asks whether a name fits the references by relevance and those by
activation; `RANGE` whether it fits pictures from the whole range of the channel's activation.
A record carries the name that was tested, the model, what was shown and each answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from atlas.errors import UserError
from atlas.store import bounds, journal, states
from atlas.store.directory import MODES, SCORES_FILE, Mode, Store

SIDES, RANGE = "sides", "range"

_Test = TypeVar("_Test")

ONE_SIDED = 0.25
"""A name that fits no more than this share of the references of the other side is one-sided."""

FITTING = 0.8
"""A name that fits at least this share of the references of both sides fits both."""


@dataclass(frozen=True)
class SideTest:
    """Whether a name fits the references of both modes."""

    key: str
    layer: str
    channel: int
    name: str
    by: str
    """Id of the model that gave the name, and was asked."""
    revision: str | None
    side: Mode
    """From whose references the name was made."""
    fits: Mapping[Mode, Annotated[float, Field(ge=0, le=1)]]
    """Share of the references of each mode that fit it."""
    answers: Mapping[Mode, Sequence[Annotated[float, Field(ge=0, le=1)]]] = field(
        default_factory=dict
    )
    """What the model answered to each reference that it was shown; not in older records."""
    references: Mapping[Mode, Sequence[int]] = field(default_factory=dict)
    """The rows of these references in references.parquet."""

    @property
    def other(self) -> Mode:
        """The mode whose references the name was not made from."""
        return "activation" if self.side == "relevance" else "relevance"

    @property
    def one_sided(self) -> bool:
        """Whether the name does not fit what it was not made from."""
        return self.fits.get(self.other, 1.0) <= ONE_SIDED

    @property
    def both(self) -> bool:
        """Whether the name fits the references of either mode."""
        return len(self.fits) == len(MODES) and min(self.fits.values()) >= FITTING


_SIDES: TypeAdapter[list[SideTest]] = TypeAdapter(list[SideTest])

_Share = Annotated[float, Field(ge=-1e-6, le=1 + 1e-6)]
_Correlation = Annotated[float, Field(ge=-1 - 1e-6, le=1 + 1e-6)]


class RangeTest(TypedDict):
    """How well a name holds on the whole range: what goes into channels.parquet, and more."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    key: str
    name: str
    ap: _Share
    ap_low: _Share
    ap_high: _Share
    f1: _Share
    f1_low: _Share
    f1_high: _Share
    correlation: _Correlation
    correlation_low: _Correlation
    correlation_high: _Correlation
    base_rate: _Share
    borrowed_ap: _Share
    frequent_ap: _Share


class ShownTest(RangeTest):
    """A test on the whole range with the pictures that were shown; all lists are of one length."""

    layer: str
    channel: int
    images: list[Annotated[int, Field(ge=0)]]
    answers: list[Annotated[float, Field(ge=0, le=1)]]
    activations: list[float]
    positive: list[bool]


_SHOWN: TypeAdapter[list[ShownTest]] = TypeAdapter(list[ShownTest])
_RANGES: TypeAdapter[list[RangeTest]] = TypeAdapter(list[RangeTest])


def fitting(answers: Sequence[float]) -> float:
    """Return the share of answers that are yes rather than no."""
    return sum(answer > 0.5 for answer in answers) / len(answers)


def append(store: Store, records: Iterable[dict[str, Any]]) -> None:
    """Add records of the atlas as it is now."""
    state = states.now(store)
    made = {"atlas": state.atlas, "network": state.network}
    journal.append(store.root / SCORES_FILE, [{**record, **made} for record in records])


def every(store: Store, test: str) -> list[dict[str, Any]]:
    """Return all records of a test, of whatever state of the atlas, in their order."""
    records = journal.read(store.root / SCORES_FILE)
    return [record for record in records if record.get("test") == test]


def valid(store: Store, test: str) -> list[dict[str, Any]]:
    """Return the records of a test that speak of the atlas as it is now, in their order."""
    state = states.now(store)
    return [record for record in every(store, test) if state.has(record.get("atlas"))]


def sides(store: Store) -> list[SideTest]:
    """Return the tests on both sides that speak of the atlas as it is now, in their order.

    Raises
    ------
    UserError
        One of them is not as this package writes them.
    """
    return _checked(store, SIDES, _SIDES)


def ranges(store: Store) -> list[RangeTest]:
    """Return the tests on the whole range that speak of the atlas as it is now, in their order.

    Raises
    ------
    UserError
        One of them is not as this package writes them.
    """
    return _checked(store, RANGE, _RANGES)


def shown(store: Store) -> list[ShownTest]:
    """Return the same with what was shown and answered; records that lack it are left out.

    Raises
    ------
    UserError
        One of them is not as this package writes them.
    """
    records = [record for record in valid(store, RANGE) if "images" in record]
    try:
        tests = _SHOWN.validate_python(records)
    except ValidationError as error:
        raise _damaged(store, RANGE, error) from error
    lists = ("answers", "activations", "positive")
    for test in tests:
        if any(len(test[name]) != len(test["images"]) for name in lists):  # type: ignore[literal-required]
            wrong = f"a test of {test['layer']}:{test['channel']} has lists of several lengths"
            raise bounds.damaged(store.root / SCORES_FILE, wrong)
    return tests


def _checked(store: Store, test: str, form: TypeAdapter[list[_Test]]) -> list[_Test]:
    try:
        return form.validate_python(valid(store, test))
    except ValidationError as error:
        raise _damaged(store, test, error) from error


def _damaged(store: Store, test: str, error: ValidationError) -> UserError:
    _, *where = error.errors()[0]["loc"]
    kind = "on both sides" if test == SIDES else "on the whole range"
    wrong = f"a test {kind}, {'.'.join(map(str, where))}: {error.errors()[0]['msg']}"
    return bounds.damaged(store.root / SCORES_FILE, wrong)
